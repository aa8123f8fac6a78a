/* Broadcasting as an op of its own, and its transpose: `expand` repeats, `sum_to` adds what was repeated. */
#include "arith_family.h"

static const cvr_attr_desc shape_attr = CVR_ATTR_INIT(INTS, "shape", NULL, "the output's shape", .count = CVR_MAX_RANK);
static const cvr_attr_desc dim_attr =
    CVR_ATTR_INIT(INTS, "dim", NULL, "axes that the input may lack", .count = CVR_MAX_RANK);
static const cvr_attr_desc scale_attr = CVR_ATTR_INIT(FLOAT, "scale", NULL, "factor");
static const cvr_attr_desc *const sum_to_attrs[] = {&shape_attr};
static const cvr_attr_desc *const expand_attrs[] = {&shape_attr, &dim_attr, &scale_attr};

static int32_t set_shape(cvr_type *y, int64_t rank, const int64_t *shape, cvr_error *err) {
    if (rank < 0 || rank > (int64_t)CVR_MAX_RANK)
        return cvr_fail(err, CVR_ERR_INVALID, "a shape of %lld axes", (long long)rank);
    cvr_type_set(y, CVR_F32, (uint32_t)rank, shape);
    return CVR_OK;
}

/* Whether `small` broadcasts to exactly `large`. */
static int broadcasts_to(const cvr_type *small, const cvr_type *large) {
    if (small->rank > large->rank) return 0;
    for (uint32_t i = 0; i < small->rank; i++) {
        const int64_t have = small->shape[i], want = large->shape[i + large->rank - small->rank];
        if (have != want && have != 1) return 0;
    }
    return 1;
}

/* ---- sum_to ---- */

static int32_t sum_to_infer(const cvr_infer_args *a, cvr_error *err) {
    const cvr_sum_to_attrs *attrs = a->attrs;
    const cvr_type *x = a->inputs[0], *times = a->n_inputs > 1 ? a->inputs[1] : NULL;
    CVR_TRY(arith_check_f32("sum_to", a, err));
    CVR_TRY(set_shape(a->outputs[0], attrs->rank, attrs->shape, err));
    if (times && (times->rank != x->rank || memcmp(times->shape, x->shape, sizeof x->shape) != 0))
        return cvr_fail(err, CVR_ERR_INVALID, "sum_to: the two factors must have one shape");
    if (broadcasts_to(a->outputs[0], x)) return CVR_OK;
    return cvr_fail(err, CVR_ERR_INVALID, "sum_to: the shape asked for does not broadcast to the input's");
}

/* y = sum of a * b: da = expand(grad) * b, db = expand(grad) * a; without b: da = expand(grad) */
static int32_t sum_to_grad(const cvr_builder *b, cvr_grad_args *a, cvr_error *err) {
    const int product = a->n_inputs > 1 && a->inputs[1] != CVR_NONE;
    const cvr_type *x = b->type(b, a->inputs[0]);
    cvr_expand_attrs attrs = {.rank = x->rank, .scale = 1};
    memcpy(attrs.shape, x->shape, sizeof attrs.shape);
    for (uint32_t i = 0; i <= (uint32_t)product; i++) {
        if (!a->needs[i]) continue;
        const cvr_value inputs[2] = {a->grad_outputs[0], product ? a->inputs[1 - i] : CVR_NONE};
        if (product)
            CVR_TRY(cvr_emit(b, "mul_broadcast", NULL, 0, inputs, 2, &a->grad_inputs[i], err));
        else
            CVR_TRY(cvr_emit(b, "expand", &attrs, sizeof attrs, inputs, 1, &a->grad_inputs[i], err));
    }
    return CVR_OK;
}

int32_t arith_sum_to(const cvr_builder *b, cvr_value v, cvr_value times, cvr_value like, cvr_value *out,
                     cvr_error *err) {
    const cvr_type *t = b->type(b, like), *from = b->type(b, v);
    const cvr_value inputs[2] = {v, times};
    if (times == CVR_NONE && t->rank == from->rank && memcmp(t->shape, from->shape, sizeof t->shape) == 0) {
        *out = v;
        return CVR_OK;
    }
    cvr_sum_to_attrs attrs = {.rank = t->rank};
    memcpy(attrs.shape, t->shape, sizeof attrs.shape);
    return cvr_emit(b, "sum_to", &attrs, sizeof attrs, inputs, times == CVR_NONE ? 1 : 2, out, err);
}

/* y: a's elements (or products) added where they broadcast from */
static int32_t sum_to_run(const cvr_kernel_args *a, cvr_error *err) {
    (void)err;
    const cvr_tensor *x = a->inputs[0], *y = a->outputs[0];
    const float *p = x->data, *q = a->n_inputs > 1 && a->inputs[1] ? a->inputs[1]->data : NULL;
    int64_t x_step[CVR_MAX_RANK], y_step[CVR_MAX_RANK], own[CVR_MAX_RANK];
    arith_steps(x->rank, x->shape, x_step);
    arith_broadcast_steps(y, x->rank, y_step);
    arith_steps(y->rank, y->shape, own);
    /* For each output, the sum over the axes along which it repeats: those axes' sizes, and 1 on the others. */
    int64_t inner[CVR_MAX_RANK], outer[CVR_MAX_RANK];
    for (uint32_t i = 0; i < x->rank; i++) {
        inner[i] = y_step[i] == 0 ? x->shape[i] : 1;
        outer[i] = y_step[i] == 0 ? 1 : x->shape[i];
    }
    const int64_t n_outer = cvr_numel(x->rank, outer), n_inner = cvr_numel(x->rank, inner);
    for (int64_t o = 0; o < n_outer; o++) {
        const int64_t base = arith_at(x->rank, outer, x_step, o);
        double sum = 0;
        for (int64_t i = 0; i < n_inner; i++) {
            const int64_t at = base + arith_at(x->rank, inner, x_step, i);
            sum += q ? (double)p[at] * q[at] : p[at];
        }
        ((float *)y->data)[arith_at(x->rank, outer, y_step, o)] = (float)sum;
    }
    return CVR_OK;
}

/* ---- expand ---- */

/* x with all of the output's axes; those in `dim` that it lacks are put in with size 1. */
static int32_t align(const cvr_expand_attrs *attrs, uint32_t rank, const int64_t *shape, int64_t *axes) {
    int64_t lacks = 0;
    if ((int64_t)rank != attrs->rank)
        for (int64_t i = 0; i < attrs->n_dim; i++) lacks |= (int64_t)1 << attrs->dim[i];
    uint32_t next = 0;
    for (int64_t i = 0; i < attrs->rank; i++) {
        if (lacks >> i & 1)
            axes[i] = -1;
        else if (next < rank)
            axes[i] = next++;
        else
            return CVR_ERR_INVALID;
        if (axes[i] >= 0 && shape[axes[i]] != 1 && shape[axes[i]] != attrs->shape[i]) return CVR_ERR_INVALID;
    }
    return next == rank ? CVR_OK : CVR_ERR_INVALID;
}

static int32_t expand_infer(const cvr_infer_args *a, cvr_error *err) {
    const cvr_expand_attrs *attrs = a->attrs;
    const cvr_type *x = a->inputs[0];
    int64_t axes[CVR_MAX_RANK];
    CVR_TRY(arith_check_f32("expand", a, err));
    CVR_TRY(set_shape(a->outputs[0], attrs->rank, attrs->shape, err));
    int fits = attrs->n_dim >= 0 && attrs->n_dim <= (int64_t)CVR_MAX_RANK;
    for (int64_t i = 0; fits && i < attrs->n_dim; i++) fits = attrs->dim[i] >= 0 && attrs->dim[i] < attrs->rank;
    if (fits && align(attrs, x->rank, x->shape, axes) == CVR_OK) return CVR_OK;
    return cvr_fail(err, CVR_ERR_INVALID, "expand: the input does not broadcast to the shape asked for");
}

/* dx = scale * grad, summed over the repeated axes */
static int32_t expand_grad(const cvr_builder *b, cvr_grad_args *a, cvr_error *err) {
    const cvr_expand_attrs *attrs = a->attrs;
    const cvr_type *x = b->type(b, a->inputs[0]);
    cvr_expand_attrs scale = {.rank = x->rank, .scale = attrs->scale};
    cvr_reduce_attrs reduce = {.keepdim = (int64_t)x->rank == attrs->rank};
    int64_t axes[CVR_MAX_RANK];
    cvr_value grad = a->grad_outputs[0];
    memcpy(scale.shape, x->shape, sizeof scale.shape);
    CVR_TRY(align(attrs, x->rank, x->shape, axes));
    for (int64_t i = 0; i < attrs->rank; i++)
        if (axes[i] < 0 || x->shape[axes[i]] != attrs->shape[i]) reduce.dim[reduce.n_dim++] = i;
    if (reduce.n_dim > 0) CVR_TRY(cvr_emit(b, "sum", &reduce, sizeof reduce, &grad, 1, &grad, err));
    return cvr_emit(b, "expand", &scale, sizeof scale, &grad, 1, &a->grad_inputs[0], err);
}

/* y[i] = scale * x[i without the repeated axes] */
static int32_t expand_run(const cvr_kernel_args *a, cvr_error *err) {
    (void)err;
    const cvr_expand_attrs *attrs = a->attrs;
    const cvr_tensor *x = a->inputs[0], *y = a->outputs[0];
    int64_t axes[CVR_MAX_RANK], own[CVR_MAX_RANK], x_step[CVR_MAX_RANK], y_step[CVR_MAX_RANK];
    arith_steps(x->rank, x->shape, own);
    arith_steps(y->rank, y->shape, y_step);
    (void)align(attrs, x->rank, x->shape, axes);
    for (uint32_t i = 0; i < y->rank; i++) x_step[i] = axes[i] < 0 || x->shape[axes[i]] == 1 ? 0 : own[axes[i]];
    const int64_t n = cvr_numel(y->rank, y->shape);
    for (int64_t i = 0; i < n; i++) {
        const float v = ((const float *)x->data)[arith_at(y->rank, y->shape, x_step, i)];
        ((float *)y->data)[arith_at(y->rank, y->shape, y_step, i)] = (float)(attrs->scale * v);
    }
    return CVR_OK;
}

static double flops(const cvr_infer_args *a) {
    return (double)cvr_numel(a->inputs[0]->rank, a->inputs[0]->shape);
}

static const cvr_reference_op ops[] = {
    {.op = {.struct_size = sizeof(cvr_op_desc),
            .name = "sum_to",
            .version = 1,
            .trait = cvr_traits_mixed,
            .min_inputs = 1,
            .max_inputs = 2,
            .n_outputs = 1,
            .n_attrs = 1,
            .attrs = sum_to_attrs,
            .optional = 2,
            .infer = sum_to_infer,
            .grad = sum_to_grad,
            .flops = flops,
            .doc = "the transpose of broadcasting: sum of a (or a * b) over what `shape` would repeat"},
     .reference = {sizeof(cvr_cpu_fn), sum_to_run}},
    {.op = {.struct_size = sizeof(cvr_op_desc),
            .name = "expand",
            .version = 1,
            .trait = arith_expand_traits,
            .min_inputs = 1,
            .max_inputs = 1,
            .n_outputs = 1,
            .n_attrs = 3,
            .attrs = expand_attrs,
            .infer = expand_infer,
            .grad = expand_grad,
            .flops = flops,
            .doc = "scale * x, repeated to `shape`"},
     .reference = {sizeof(cvr_cpu_fn), expand_run}},
};

const arith_family arith_expand = {ops, NULL, sizeof ops / sizeof *ops, 0};
