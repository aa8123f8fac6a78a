/* Which elements of axes belong together where elements are moved, joined and cut out (cvr/plugin/axes.h). */
#include "shape_family.h"

#define OUT CVR_AXES_OUTPUT

/*
 * Row-major elements under another shape: axes fall into blocks of equal size, here `n` axes of one port from `axis` on
 * that are one axis of another. Of those only one may lose elements, or the rest would be no block any more: the one
 * that nothing fixes so far, and of several the last. Element i of it is `inner` elements of the one axis, again and
 * again.
 */
static void tie_block(const cvr_axes *a, uint32_t port, uint32_t axis, uint32_t n, uint32_t whole,
                      uint32_t whole_axis) {
    const int64_t *shape = cvr_axes_type(a, port)->shape;
    uint32_t chosen = axis + n;
    for (uint32_t i = axis + n; i-- > axis && chosen == axis + n;)
        if (shape[i] > 1 && !a->fixed(a, port, i)) chosen = i;
    if (chosen == axis + n) return;
    int64_t inner = 1, outer = 1;
    for (uint32_t i = axis; i < chosen; i++) outer *= shape[i];
    for (uint32_t i = chosen + 1; i < axis + n; i++) inner *= shape[i];
    for (int64_t o = 0; o < outer; o++) {
        const cvr_axis_run x = {port, chosen, 0, 1, inner}, y = {whole, whole_axis, o * shape[chosen] * inner, 1, 1};
        a->tie(a, &x, &y, shape[chosen] * inner);
    }
}

/* Where the end of a block is: the fewest axes from p and q on that have the same number of elements. */
static void block_end(const cvr_type *x, const cvr_type *y, uint32_t *p, uint32_t *q) {
    int64_t in = x->shape[(*p)++], out = y->shape[(*q)++];
    while (in != out && *p < CVR_MAX_RANK && *q < CVR_MAX_RANK) {
        if (in < out && *p < x->rank)
            in *= x->shape[(*p)++];
        else if (*q < y->rank)
            out *= y->shape[(*q)++];
        else
            return;
    }
}

static void tie_view(const cvr_axes *a) {
    const cvr_type *x = a->inputs[0], *y = a->outputs[0];
    for (uint32_t p = 0, q = 0; p < x->rank && q < y->rank;) {
        const uint32_t from = p, to = q;
        block_end(x, y, &p, &q);
        if (p - from == 1 && q - to == 1)
            cvr_axes_tie(a, 0, from, OUT, to);
        else if (q - to == 1)
            tie_block(a, 0, from, p - from, OUT, to);
        else if (p - from == 1)
            tie_block(a, OUT, to, q - to, 0, from);
    }
}

static void narrow_view(const cvr_axes *a, void *attrs) {
    cvr_view_attrs *view = attrs;
    for (int64_t i = 0; i < view->rank; i++) view->shape[i] = cvr_axes_left(a, OUT, (uint32_t)i);
}

/* C of unflatten's (N,C,H,W) */
static void narrow_unflatten(const cvr_axes *a, void *attrs) {
    ((cvr_unflatten_attrs *)attrs)->chw[0] = cvr_axes_left(a, OUT, 1);
}

/* Axis 1 has C*H*W elements: all of a channel stay or go. */
static void tie_order(const cvr_axes *a, const int64_t chw[3]) {
    const cvr_axis_run channel = {0, 1, 0, chw[1] * chw[2], chw[1] * chw[2]}, element = {0, 1, 0, 1, 1};
    cvr_axes_tie_same(a);
    a->tie(a, &channel, &element, chw[0] * chw[1] * chw[2]);
}

static void tie_to_logical(const cvr_axes *a) {
    tie_order(a, a->inputs[0]->order);
}

static void tie_from_logical(const cvr_axes *a) {
    tie_order(a, ((const cvr_unflatten_attrs *)a->attrs)->chw);
}

static void narrow_from_logical(const cvr_axes *a, void *attrs) {
    cvr_unflatten_attrs *to = attrs;
    to->chw[0] = cvr_axes_left(a, OUT, 1) / (to->chw[1] * to->chw[2]);
}

static void tie_to_tokens(const cvr_axes *a) {
    cvr_axes_tie(a, 0, 1, OUT, 2);
}

static void tie_from_tokens(const cvr_axes *a) {
    cvr_axes_tie(a, 0, 2, OUT, 1);
}

static void tie_permute(const cvr_axes *a) {
    const cvr_permute_attrs *attrs = a->attrs;
    for (uint32_t i = 0; i < a->inputs[0]->rank; i++) cvr_axes_tie(a, 0, (uint32_t)attrs->dims[i], OUT, i);
}

static void tie_concat(const cvr_axes *a) {
    const uint32_t dim = (uint32_t)((const cvr_concat_attrs *)a->attrs)->dim;
    int64_t start = 0;
    for (uint32_t k = 0; k < a->n_inputs; k++) {
        const cvr_axis_run x = {k, dim, 0, 1, 1}, y = {OUT, dim, start, 1, 1};
        a->tie(a, &x, &y, a->inputs[k]->shape[dim]);
        start += a->inputs[k]->shape[dim];
        for (uint32_t i = 0; i < a->inputs[k]->rank; i++)
            if (i != dim) cvr_axes_tie(a, k, i, OUT, i);
    }
}

static void tie_slice(const cvr_axes *a) {
    const cvr_slice_attrs *s = a->attrs;
    const cvr_axis_run x = {0, (uint32_t)s->dim, s->start, s->step, 1}, y = {OUT, (uint32_t)s->dim, 0, 1, 1};
    for (uint32_t i = 0; i < a->inputs[0]->rank; i++)
        if (i != s->dim) cvr_axes_tie(a, 0, i, OUT, i);
    if (s->step == 1) a->tie(a, &x, &y, s->length); /* else what is skipped would have to go in step */
}

static void narrow_slice(const cvr_axes *a, void *attrs) {
    cvr_slice_attrs *s = attrs;
    const uint32_t dim = (uint32_t)s->dim;
    if (s->step != 1) return;
    s->length = cvr_axes_left(a, OUT, dim);
    s->start = a->left(a, 0, dim, 0, s->start);
    s->size = cvr_axes_left(a, 0, dim);
}

static void tie_take_rows(const cvr_axes *a) {
    cvr_axes_tie(a, 0, 1, OUT, 1);
}

const cvr_axes_trait shape_flatten_axes = {sizeof shape_flatten_axes, tie_view, NULL, 0};
const cvr_axes_trait shape_unflatten_axes = {sizeof shape_unflatten_axes, tie_view, narrow_unflatten, 0};
const cvr_axes_trait shape_view_axes = {sizeof shape_view_axes, tie_view, narrow_view, 0};
const cvr_axes_trait shape_to_logical_axes = {sizeof shape_to_logical_axes, tie_to_logical, NULL, 0};
const cvr_axes_trait shape_from_logical_axes = {sizeof shape_from_logical_axes, tie_from_logical, narrow_from_logical,
                                                0};
const cvr_axes_trait shape_to_tokens_axes = {sizeof shape_to_tokens_axes, tie_to_tokens, NULL, 0};
const cvr_axes_trait shape_from_tokens_axes = {sizeof shape_from_tokens_axes, tie_from_tokens, NULL, 0};
const cvr_axes_trait shape_permute_axes = {sizeof shape_permute_axes, tie_permute, NULL, 0};
const cvr_axes_trait shape_concat_axes = {sizeof shape_concat_axes, tie_concat, NULL, 0};
const cvr_axes_trait shape_slice_axes = {sizeof shape_slice_axes, tie_slice, narrow_slice, 0};
const cvr_axes_trait shape_take_rows_axes = {sizeof shape_take_rows_axes, tie_take_rows, NULL, 0};
