/* How broadcasting and reductions are written in ONNX; sums and products are elementwise programs. */
#include "arith_family.h"

#include <cvr/plugin/formats/onnx.h>

/* The axes that x has among the output's, size 1 in place of those that it lacks; returns whether it lacks any. */
static int aligned(const cvr_onnx *o, const cvr_expand_attrs *a, cvr_onnx_dim dims[CVR_MAX_RANK]) {
    const cvr_onnx_value x = o->inputs[0];
    const uint32_t rank = o->type(o, x)->rank;
    uint32_t next = 0;
    for (int64_t i = 0; i < a->rank; i++) {
        int lacks = 0;
        for (int64_t k = 0; k < a->n_dim && (int64_t)rank != a->rank; k++) lacks = lacks || a->dim[k] == i;
        dims[i] = lacks ? cvr_onnx_size(1) : cvr_onnx_axis(o, x, next++);
    }
    return (int64_t)rank != a->rank;
}

/* y = scale * x, repeated */
static int32_t write_expand(const cvr_onnx *o, cvr_error *err) {
    const cvr_expand_attrs *a = o->attrs;
    cvr_onnx_dim dims[CVR_MAX_RANK];
    cvr_onnx_value x = o->inputs[0], out = o->outputs[0], shape = 0, repeated = 0;
    if (aligned(o, a, dims)) {
        x = 0;
        CVR_TRY(cvr_onnx_reshape(o, o->inputs[0], dims, (uint32_t)a->rank, &x, err));
    }
    CVR_TRY(cvr_onnx_shape(o, dims, cvr_onnx_axes(o, out, dims), &shape, err));
    if (a->scale == 1) return cvr_onnx_emit2(o, "Expand", x, shape, &out, err);
    CVR_TRY(cvr_onnx_emit2(o, "Expand", x, shape, &repeated, err));
    return cvr_onnx_with(o, "Mul", repeated, a->scale, &out, err);
}

/* No axes stand for all. */
static int32_t write_reduction(const cvr_onnx *o, const char *type, int64_t since, cvr_error *err) {
    static const int64_t all[CVR_MAX_RANK] = {0, 1, 2, 3, 4, 5};
    const cvr_reduce_attrs *a = o->attrs;
    const int64_t *axes = a->n_dim ? a->dim : all;
    const uint32_t n = a->n_dim ? (uint32_t)a->n_dim : o->type(o, o->inputs[0])->rank;
    cvr_onnx_value out = o->outputs[0];
    return cvr_onnx_reduce(o, type, since, o->inputs[0], axes, n, a->keepdim, &out, err);
}

static int32_t write_sum(const cvr_onnx *o, cvr_error *err) {
    return write_reduction(o, "ReduceSum", 13, err);
}

static int32_t write_mean(const cvr_onnx *o, cvr_error *err) {
    return write_reduction(o, "ReduceMean", 18, err);
}

static int32_t write_amax(const cvr_onnx *o, cvr_error *err) {
    return write_reduction(o, "ReduceMax", 18, err);
}

CVR_ONNX_AXES_TRAITS(arith_expand_traits, write_expand, arith_expand_axes, cvr_traits_mixed)
CVR_ONNX_AXES_TRAITS(arith_sum_traits, write_sum, arith_reduce_axes, cvr_traits_mixed)
CVR_ONNX_AXES_TRAITS(arith_mean_traits, write_mean, arith_reduce_axes, cvr_traits_mixed)
CVR_ONNX_AXES_TRAITS(arith_amax_traits, write_amax, arith_reduce_axes, cvr_traits_mixed)
