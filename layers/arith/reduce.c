/* torch.sum, mean and amax over some logical axes. Formulas in ops/arith.h. */
#include "arith_family.h"

#include <math.h>

static const cvr_attr_desc dim_attr =
    CVR_ATTR_INIT(INTS, "dim", "", "logical axes to reduce; none: all; negative ones count from the last",
                  .count = CVR_MAX_RANK, .flags = CVR_ATTR_POSITIONAL);
static const cvr_attr_desc keepdim_attr = CVR_ATTR_INIT(BOOL, "keepdim", "no", "keep the reduced axes, with size 1");
static const cvr_attr_desc *const reduce_attrs[] = {&dim_attr, &keepdim_attr};

/* Bit i: axis i goes. */
static uint32_t reduced_axes(const cvr_reduce_attrs *attrs, uint32_t rank) {
    uint32_t mask = 0;
    for (int64_t i = 0; i < attrs->n_dim; i++) mask |= 1u << attrs->dim[i];
    return attrs->n_dim == 0 ? (1u << rank) - 1 : mask;
}

static int32_t check(const cvr_reduce_attrs *attrs, const cvr_type *x, cvr_error *err) {
    uint32_t seen = 0;
    int fits = attrs->n_dim >= 0 && attrs->n_dim <= (int64_t)CVR_MAX_RANK;
    for (int64_t i = 0; fits && i < attrs->n_dim; i++) {
        const int64_t d = attrs->dim[i];
        fits = d >= 0 && d < (int64_t)x->rank && !(seen >> d & 1);
        if (fits) seen |= 1u << d;
    }
    if (fits) return CVR_OK;
    return cvr_fail(err, CVR_ERR_INVALID, "a `dim` that the input with its %u axes has not, or that stands twice",
                    x->rank);
}

static int32_t infer(const cvr_infer_args *a, cvr_error *err) {
    const cvr_reduce_attrs *attrs = a->attrs;
    const cvr_type *x = a->inputs[0];
    int64_t shape[CVR_MAX_RANK];
    uint32_t rank = 0;
    CVR_TRY(arith_check_f32("sum, mean or amax", a, err));
    CVR_TRY(check(attrs, x, err));
    const uint32_t mask = reduced_axes(attrs, x->rank);
    for (uint32_t i = 0; i < x->rank; i++)
        if (!(mask >> i & 1) || attrs->keepdim) shape[rank++] = mask >> i & 1 ? 1 : x->shape[i];
    cvr_type_set(a->outputs[0], CVR_F32, rank, shape);
    return CVR_OK;
}

static int32_t amax_infer(const cvr_infer_args *a, cvr_error *err) {
    CVR_TRY(infer(a, err));
    if (cvr_numel(a->inputs[0]->rank, a->inputs[0]->shape) == 0)
        return cvr_fail(err, CVR_ERR_INVALID, "amax: no elements to take the largest of");
    return CVR_OK;
}

/* x, y, grad -> dx: y and grad have the shape that amax gives x */
static int32_t amax_backward_infer(const cvr_infer_args *a, cvr_error *err) {
    cvr_type y = {.struct_size = sizeof y}, *const outputs[1] = {&y};
    const cvr_infer_args forward = {sizeof forward, a->attrs, a->inputs, outputs, a->n_inputs, 1};
    CVR_TRY(infer(&forward, err));
    *a->outputs[0] = *a->inputs[0];
    for (uint32_t i = 1; i < 3; i++)
        if (a->inputs[i]->rank != y.rank || memcmp(a->inputs[i]->shape, y.shape, sizeof y.shape) != 0)
            return cvr_fail(err, CVR_ERR_INVALID, "amax_backward: input %u does not have the reduced shape", i);
    return CVR_OK;
}

/* Elements that go into one output. */
static int64_t count_of(const cvr_reduce_attrs *attrs, uint32_t rank, const int64_t *shape) {
    const uint32_t mask = reduced_axes(attrs, rank);
    int64_t n = 1;
    for (uint32_t i = 0; i < rank; i++) n *= mask >> i & 1 ? shape[i] : 1;
    return n;
}

/* dx = scale * grad, repeated over the reduced axes */
static int32_t emit_expand(const cvr_builder *b, cvr_grad_args *a, int mean, cvr_error *err) {
    const cvr_reduce_attrs *attrs = a->attrs;
    const cvr_type *x = b->type(b, a->inputs[0]);
    cvr_expand_attrs call = {.rank = x->rank, .scale = 1};
    const uint32_t mask = reduced_axes(attrs, x->rank);
    memcpy(call.shape, x->shape, sizeof call.shape);
    for (uint32_t i = 0; i < x->rank; i++)
        if (mask >> i & 1) call.dim[call.n_dim++] = i;
    if (mean) call.scale = 1 / (double)count_of(attrs, x->rank, x->shape);
    return cvr_emit(b, "expand", &call, sizeof call, &a->grad_outputs[0], 1, &a->grad_inputs[0], err);
}

static int32_t sum_grad(const cvr_builder *b, cvr_grad_args *a, cvr_error *err) {
    return emit_expand(b, a, 0, err);
}

static int32_t mean_grad(const cvr_builder *b, cvr_grad_args *a, cvr_error *err) {
    return emit_expand(b, a, 1, err);
}

static int32_t amax_grad(const cvr_builder *b, cvr_grad_args *a, cvr_error *err) {
    const cvr_value inputs[3] = {a->inputs[0], a->outputs[0], a->grad_outputs[0]};
    return cvr_emit(b, "amax_backward", a->attrs, sizeof(cvr_reduce_attrs), inputs, 3, &a->grad_inputs[0], err);
}

/* ---- reference kernels ---- */

/* The outputs, and for each the elements of x that go into it. */
typedef struct reduce_walk {
    uint32_t rank;
    int64_t step[CVR_MAX_RANK];     /* of x */
    int64_t out_step[CVR_MAX_RANK]; /* of y along x's axes; 0 along the reduced ones */
    int64_t outer[CVR_MAX_RANK], inner[CVR_MAX_RANK];
    int64_t n_outer, n_inner;
} reduce_walk;

static reduce_walk walk_of(const cvr_tensor *x, const cvr_tensor *y, const cvr_reduce_attrs *attrs) {
    reduce_walk w = {.rank = x->rank};
    const uint32_t mask = reduced_axes(attrs, x->rank);
    int64_t own[CVR_MAX_RANK];
    uint32_t next = 0;
    arith_steps(x->rank, x->shape, w.step);
    arith_steps(y->rank, y->shape, own);
    for (uint32_t i = 0; i < x->rank; i++) {
        const int gone = mask >> i & 1;
        w.outer[i] = gone ? 1 : x->shape[i];
        w.inner[i] = gone ? x->shape[i] : 1;
        w.out_step[i] = gone ? 0 : own[next];
        next += !gone || attrs->keepdim;
    }
    w.n_outer = cvr_numel(w.rank, w.outer);
    w.n_inner = cvr_numel(w.rank, w.inner);
    return w;
}

/* y = factor * sum of x */
static int32_t sum(const cvr_kernel_args *a, double factor) {
    const reduce_walk w = walk_of(a->inputs[0], a->outputs[0], a->attrs);
    for (int64_t o = 0; o < w.n_outer; o++) {
        const float *x = (const float *)a->inputs[0]->data + arith_at(w.rank, w.outer, w.step, o);
        double total = 0;
        for (int64_t i = 0; i < w.n_inner; i++) total += x[arith_at(w.rank, w.inner, w.step, i)];
        ((float *)a->outputs[0]->data)[arith_at(w.rank, w.outer, w.out_step, o)] = (float)(total * factor);
    }
    return CVR_OK;
}

static int32_t sum_run(const cvr_kernel_args *a, cvr_error *err) {
    (void)err;
    return sum(a, 1);
}

static int32_t mean_run(const cvr_kernel_args *a, cvr_error *err) {
    (void)err;
    return sum(a, 1 / (double)count_of(a->attrs, a->inputs[0]->rank, a->inputs[0]->shape));
}

/* y = the largest x; NaN where there is one */
static int32_t amax_run(const cvr_kernel_args *a, cvr_error *err) {
    (void)err;
    const reduce_walk w = walk_of(a->inputs[0], a->outputs[0], a->attrs);
    for (int64_t o = 0; o < w.n_outer; o++) {
        const float *x = (const float *)a->inputs[0]->data + arith_at(w.rank, w.outer, w.step, o);
        float best = -INFINITY;
        for (int64_t i = 0; i < w.n_inner; i++) {
            const float v = x[arith_at(w.rank, w.inner, w.step, i)];
            if (v > best || isnan(v)) best = v;
        }
        ((float *)a->outputs[0]->data)[arith_at(w.rank, w.outer, w.out_step, o)] = best;
    }
    return CVR_OK;
}

/* dx = grad / (how many x equal y) where x = y, else 0 */
static int32_t amax_backward_run(const cvr_kernel_args *a, cvr_error *err) {
    (void)err;
    const reduce_walk w = walk_of(a->inputs[0], a->inputs[1], a->attrs);
    const float *y = a->inputs[1]->data, *grad = a->inputs[2]->data;
    for (int64_t o = 0; o < w.n_outer; o++) {
        const int64_t at = arith_at(w.rank, w.outer, w.step, o), out = arith_at(w.rank, w.outer, w.out_step, o);
        const float *x = (const float *)a->inputs[0]->data + at;
        float *dx = (float *)a->outputs[0]->data + at;
        int64_t equal = 0;
        for (int64_t i = 0; i < w.n_inner; i++) equal += x[arith_at(w.rank, w.inner, w.step, i)] == y[out];
        for (int64_t i = 0; i < w.n_inner; i++) {
            const int64_t k = arith_at(w.rank, w.inner, w.step, i);
            dx[k] = x[k] == y[out] ? grad[out] / (float)equal : 0;
        }
    }
    return CVR_OK;
}

/* ---- layers ---- */

static int32_t build(const cvr_builder *b, const char *op, const void *attrs, const cvr_value *in, cvr_value *out,
                     cvr_error *err) {
    cvr_reduce_attrs call = *(const cvr_reduce_attrs *)attrs;
    const int64_t rank = b->type(b, in[0])->rank;
    for (int64_t i = 0; i < call.n_dim; i++) call.dim[i] += call.dim[i] < 0 ? rank : 0;
    return cvr_emit(b, op, &call, sizeof call, in, 1, out, err);
}

static int32_t build_sum(const cvr_builder *b, const void *attrs, const cvr_value *in, uint32_t n_in, cvr_value *out,
                         cvr_error *err) {
    (void)n_in;
    return build(b, "sum", attrs, in, out, err);
}

static int32_t build_mean(const cvr_builder *b, const void *attrs, const cvr_value *in, uint32_t n_in, cvr_value *out,
                          cvr_error *err) {
    (void)n_in;
    return build(b, "mean", attrs, in, out, err);
}

static int32_t build_amax(const cvr_builder *b, const void *attrs, const cvr_value *in, uint32_t n_in, cvr_value *out,
                          cvr_error *err) {
    (void)n_in;
    return build(b, "amax", attrs, in, out, err);
}

static double flops(const cvr_infer_args *a) {
    return (double)cvr_numel(a->inputs[0]->rank, a->inputs[0]->shape);
}

#define REDUCE_OP(name_, traits_, n_in_, infer_, grad_, run_, inplace_, doc_)                                          \
    {                                                                                                                  \
        .op = {.struct_size = sizeof(cvr_op_desc),                                                                     \
               .name = name_,                                                                                          \
               .version = 1,                                                                                           \
               .min_inputs = n_in_,                                                                                    \
               .max_inputs = n_in_,                                                                                    \
               .n_outputs = 1,                                                                                         \
               .n_attrs = 2,                                                                                           \
               .attrs = reduce_attrs,                                                                                  \
               .infer = infer_,                                                                                        \
               .grad = grad_,                                                                                          \
               .flops = flops,                                                                                         \
               .doc = doc_,                                                                                            \
               .trait = traits_},                                                                                      \
        .reference = {sizeof(cvr_cpu_fn), run_}, .inplace = inplace_                                                   \
    }

static const cvr_reference_op ops[] = {
    REDUCE_OP("sum", arith_sum_traits, 1, infer, sum_grad, sum_run, 0, "sum over the axes in dim"),
    REDUCE_OP("mean", arith_mean_traits, 1, infer, mean_grad, mean_run, 0, "mean over the axes in dim"),
    REDUCE_OP("amax", arith_amax_traits, 1, amax_infer, amax_grad, amax_run, 0, "largest over the axes in dim"),
    REDUCE_OP("amax_backward", cvr_traits_mixed, 3, amax_backward_infer, NULL, amax_backward_run, 1,
              "dx = grad / (how many x equal y) where x = y"),
};

#define REDUCE_LAYER(name_, build_, doc_)                                                                              \
    {                                                                                                                  \
        .struct_size = sizeof(cvr_layer_desc), .name = name_, .doc = doc_, .n_attrs = 2, .min_inputs = 1,              \
        .max_inputs = 1, .n_outputs = 1, .attrs = reduce_attrs, .build = build_                                        \
    }

static const cvr_layer_desc layers[] = {
    REDUCE_LAYER("sum", build_sum, "sum over the axes in dim"),
    REDUCE_LAYER("mean", build_mean, "mean over the axes in dim"),
    REDUCE_LAYER("amax", build_amax, "largest over the axes in dim"),
};

const arith_family arith_reduce = {ops, layers, sizeof ops / sizeof *ops, sizeof layers / sizeof *layers};
