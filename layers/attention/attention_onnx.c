/* How attention is written in ONNX: heads as an axis, two products and a softmax. */
#include "attention_family.h"

#include <cvr/plugin/formats/onnx.h>
#include <math.h>

/* (N,L,D) -> (N,heads,L,E), or with `turned` (N,heads,E,L) */
static int32_t split_heads(const cvr_onnx *o, cvr_onnx_value x, int turned, cvr_onnx_value *out, cvr_error *err) {
    static const int64_t heads_first[4] = {0, 2, 1, 3}, turned_too[4] = {0, 2, 3, 1};
    const int64_t heads = ((const cvr_attention_attrs *)o->attrs)->num_heads;
    const cvr_onnx_dim dims[4] = {cvr_onnx_axis(o, x, 0), cvr_onnx_axis(o, x, 1), cvr_onnx_size(heads),
                                  cvr_onnx_size(o->type(o, x)->shape[2] / heads)};
    cvr_onnx_value split = 0;
    CVR_TRY(cvr_onnx_reshape(o, x, dims, 4, &split, err));
    return cvr_onnx_transpose(o, split, turned ? turned_too : heads_first, 4, out, err);
}

/* The logarithms of the sums are for gradients alone. */
static int32_t write_attention(const cvr_onnx *o, cvr_error *err) {
    static const int64_t heads_back[4] = {0, 2, 1, 3};
    const int64_t heads = ((const cvr_attention_attrs *)o->attrs)->num_heads,
                  features = o->type(o, o->inputs[0])->shape[2] / heads;
    const cvr_onnx_attr last = cvr_onnx_int("axis", -1);
    cvr_onnx_dim dims[CVR_MAX_RANK];
    cvr_onnx_value q = 0, k = 0, v = 0, scaled = 0, s = 0, p = 0, y = 0, joined = 0, out = o->outputs[0];
    CVR_TRY(split_heads(o, o->inputs[0], 0, &q, err));
    CVR_TRY(split_heads(o, o->inputs[1], 1, &k, err));
    CVR_TRY(split_heads(o, o->inputs[2], 0, &v, err));
    CVR_TRY(cvr_onnx_with(o, "Mul", q, 1 / sqrt((double)features), &scaled, err));
    CVR_TRY(cvr_onnx_emit2(o, "MatMul", scaled, k, &s, err));
    CVR_TRY(cvr_onnx_emit(o, "Softmax", &s, 1, &last, 1, &p, err));
    CVR_TRY(cvr_onnx_emit2(o, "MatMul", p, v, &y, err));
    CVR_TRY(cvr_onnx_transpose(o, y, heads_back, 4, &joined, err));
    return cvr_onnx_reshape(o, joined, dims, cvr_onnx_axes(o, out, dims), &out, err);
}

static const void *on_integers(const char *name) {
    static const cvr_int8_trait int8 = {.struct_size = sizeof int8,
                                        .op = "scaled_dot_product_attention_int8",
                                        .activations = 7,
                                        .flags = CVR_INT8_SHARED};
    return strcmp(name, CVR_TRAIT_INT8) == 0 ? &int8 : cvr_traits_mixed_recompute(name);
}

CVR_ONNX_AXES_TRAITS(attention_traits, write_attention, attention_axes, on_integers)
