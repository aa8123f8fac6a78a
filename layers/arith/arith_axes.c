/* How sums, products and reductions tie axes (cvr/plugin/axes.h). */
#include "arith_family.h"

#define OUT CVR_AXES_OUTPUT

/* As NumPy broadcasts: aligned at the last axis; one of length 1 is repeated and ties nothing. */
static void tie_broadcast(const cvr_axes *a) {
    const cvr_type *y = a->outputs[0];
    for (uint32_t k = 0; k < 2; k++) {
        const cvr_type *x = a->inputs[k];
        for (uint32_t i = 0; i < x->rank; i++) {
            const uint32_t to = y->rank - x->rank + i;
            if (x->shape[i] == y->shape[to]) cvr_axes_tie(a, k, i, OUT, to);
        }
    }
}

/* x has all axes of the shape, or all but those in `dim`. */
static void tie_expand(const cvr_axes *a) {
    const cvr_expand_attrs *attrs = a->attrs;
    const cvr_type *x = a->inputs[0], *y = a->outputs[0];
    uint32_t from = 0, left_out = 0;
    if (x->rank != y->rank)
        for (int64_t i = 0; i < attrs->n_dim; i++) left_out |= 1u << attrs->dim[i];
    for (uint32_t i = 0; i < y->rank; i++) {
        if (left_out >> i & 1) continue;
        if (x->shape[from] == y->shape[i]) cvr_axes_tie(a, 0, from, OUT, i);
        from++;
    }
}

static void narrow_expand(const cvr_axes *a, void *attrs) {
    cvr_expand_attrs *expand = attrs;
    for (int64_t i = 0; i < expand->rank; i++) expand->shape[i] = cvr_axes_left(a, OUT, (uint32_t)i);
}

/* The axes that are not reduced. */
static void tie_reduce(const cvr_axes *a) {
    const cvr_reduce_attrs *attrs = a->attrs;
    uint32_t reduced = 0, to = 0;
    for (int64_t i = 0; i < attrs->n_dim; i++) reduced |= 1u << attrs->dim[i];
    if (attrs->n_dim == 0) reduced = ~0u;
    for (uint32_t i = 0; i < a->inputs[0]->rank; i++) {
        const int gone = reduced >> i & 1;
        if (!gone) cvr_axes_tie(a, 0, i, OUT, to);
        to += !gone || attrs->keepdim;
    }
}

const cvr_axes_trait arith_add_axes = {sizeof arith_add_axes, tie_broadcast, NULL, CVR_AXES_SUM};
const cvr_axes_trait arith_mul_axes = {sizeof arith_mul_axes, tie_broadcast, NULL, 0};
const cvr_axes_trait arith_expand_axes = {sizeof arith_expand_axes, tie_expand, narrow_expand, 0};
const cvr_axes_trait arith_reduce_axes = {sizeof arith_reduce_axes, tie_reduce, NULL, 0};
