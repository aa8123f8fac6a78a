/* How dense ops are written in ONNX: rows by Gemm, more axes by MatMul. */
#include "linear_family.h"

#include <cvr/plugin/formats/onnx.h>

/* y = x weight^T + bias */
static int32_t write_linear(const cvr_onnx *o, cvr_error *err) {
    static const int64_t swap[2] = {1, 0};
    const cvr_onnx_attr transposed = cvr_onnx_int("transB", 1);
    cvr_onnx_value out = o->outputs[0], weight = 0, product = 0;
    const int32_t has_bias = o->n_inputs > 2 && o->inputs[2];
    if (o->type(o, o->inputs[0])->rank == 2) return cvr_onnx_op(o, "Gemm", &transposed, 1, err);
    CVR_TRY(cvr_onnx_transpose(o, o->inputs[1], swap, 2, &weight, err));
    if (!has_bias) return cvr_onnx_emit2(o, "MatMul", o->inputs[0], weight, &out, err);
    CVR_TRY(cvr_onnx_emit2(o, "MatMul", o->inputs[0], weight, &product, err));
    return cvr_onnx_emit2(o, "Add", product, o->inputs[2], &out, err);
}

/* x, or with its last two axes swapped */
static int32_t swapped(const cvr_onnx *o, cvr_onnx_value x, int64_t swap, cvr_onnx_value *out, cvr_error *err) {
    const int64_t rank = o->type(o, x)->rank;
    int64_t perm[CVR_MAX_RANK];
    *out = x;
    if (!swap) return CVR_OK;
    for (int64_t i = 0; i < rank; i++) perm[i] = i < rank - 2 ? i : 2 * rank - 3 - i;
    *out = 0;
    return cvr_onnx_transpose(o, x, perm, (uint32_t)rank, out, err);
}

static int32_t write_matmul(const cvr_onnx *o, cvr_error *err) {
    const cvr_matmul_attrs *a = o->attrs;
    cvr_onnx_value out = o->outputs[0], in[2];
    CVR_TRY(swapped(o, o->inputs[0], a->transpose_a, &in[0], err));
    CVR_TRY(swapped(o, o->inputs[1], a->transpose_b, &in[1], err));
    return cvr_onnx_emit2(o, "MatMul", in[0], in[1], &out, err);
}

static const void *on_integers(const char *name) {
    static const cvr_int8_trait int8 = {
        .struct_size = sizeof int8, .op = "linear_int8", .activations = 1, .weight = 2, .bias = 4};
    return strcmp(name, CVR_TRAIT_INT8) == 0 ? &int8 : cvr_traits_mixed_recompute(name);
}

CVR_ONNX_AXES_TRAITS(linear_traits, write_linear, linear_axes, on_integers)
CVR_ONNX_AXES_TRAITS(matmul_traits, write_matmul, matmul_axes, cvr_traits_mixed)
