/* How normalisations are written in ONNX. Where an opset has no op of its own for one, by its formula. */
#include "norm_family.h"

#include <cvr/plugin/formats/onnx.h>

/* n numbers, all `value` */
static int32_t filled(const cvr_onnx *o, double value, int64_t n, cvr_onnx_value *out, cvr_error *err) {
    cvr_onnx_value in[2];
    *out = 0;
    CVR_TRY(cvr_onnx_f32(o, value, &in[0], err));
    CVR_TRY(cvr_onnx_i64(o, n, &in[1], err));
    return cvr_onnx_emit2(o, "Expand", in[0], in[1], out, err);
}

/* Input i, or where it is absent as many numbers as `n`. */
static int32_t input_or(const cvr_onnx *o, uint32_t i, double value, int64_t n, cvr_onnx_value *out, cvr_error *err) {
    *out = i < o->n_inputs ? o->inputs[i] : 0;
    return *out ? CVR_OK : filled(o, value, n, out, err);
}

static int32_t write_batch_norm(const cvr_onnx *o, cvr_error *err) {
    const cvr_onnx_attr eps = cvr_onnx_float("epsilon", ((const cvr_batch_norm2d_inference_attrs *)o->attrs)->eps);
    const int64_t channels = o->type(o, o->inputs[0])->shape[1];
    cvr_onnx_value out = o->outputs[0], in[5] = {o->inputs[0], 0, 0, o->inputs[3], o->inputs[4]};
    CVR_TRY(input_or(o, 1, 1, channels, &in[1], err));
    CVR_TRY(input_or(o, 2, 0, channels, &in[2], err));
    return cvr_onnx_emit(o, "BatchNormalization", in, 5, &eps, 1, &out, err);
}

/* (x - mean) / sqrt(var + eps) * weight + bias over the last n axes */
static int32_t spell_layer_norm(const cvr_onnx *o, cvr_onnx_value x, const int64_t *axes, uint32_t n, double eps,
                                cvr_onnx_value *out, cvr_error *err) {
    const int32_t has_weight = o->n_inputs > 1 && o->inputs[1], has_bias = o->n_inputs > 2 && o->inputs[2];
    cvr_onnx_value mean = 0, moved = 0, square = 0, var = 0, sum = 0, root = 0, y = 0, scaled = 0;
    CVR_TRY(cvr_onnx_reduce(o, "ReduceMean", 18, x, axes, n, 1, &mean, err));
    CVR_TRY(cvr_onnx_emit2(o, "Sub", x, mean, &moved, err));
    CVR_TRY(cvr_onnx_emit2(o, "Mul", moved, moved, &square, err));
    CVR_TRY(cvr_onnx_reduce(o, "ReduceMean", 18, square, axes, n, 1, &var, err));
    CVR_TRY(cvr_onnx_with(o, "Add", var, eps, &sum, err));
    CVR_TRY(cvr_onnx_emit1(o, "Sqrt", sum, &root, err));
    if (!has_weight) return cvr_onnx_emit2(o, "Div", moved, root, out, err);
    CVR_TRY(cvr_onnx_emit2(o, "Div", moved, root, &y, err));
    if (!has_bias) return cvr_onnx_emit2(o, "Mul", y, o->inputs[1], out, err);
    CVR_TRY(cvr_onnx_emit2(o, "Mul", y, o->inputs[1], &scaled, err));
    return cvr_onnx_emit2(o, "Add", scaled, o->inputs[2], out, err);
}

/* Over the last axes of x. */
static int32_t normalise_last(const cvr_onnx *o, cvr_onnx_value x, uint32_t n, double eps, cvr_onnx_value *out,
                              cvr_error *err) {
    const cvr_onnx_attr attrs[2] = {cvr_onnx_int("axis", -(int64_t)n), cvr_onnx_float("epsilon", eps)};
    int64_t axes[CVR_MAX_RANK];
    cvr_onnx_value in[3] = {x, o->n_inputs > 1 ? o->inputs[1] : 0, o->n_inputs > 2 ? o->inputs[2] : 0};
    for (uint32_t i = 0; i < n; i++) axes[i] = (int64_t)i - n;
    if (o->opset < 17 || !in[1]) return spell_layer_norm(o, x, axes, n, eps, out, err);
    return cvr_onnx_emit(o, "LayerNormalization", in, in[2] ? 3 : 2, attrs, 2, out, err);
}

/* Axes begin..end-1 are brought to the end and back where they are not there. */
static int32_t write_layer_norm(const cvr_onnx *o, cvr_error *err) {
    const cvr_layer_norm_attrs *a = o->attrs;
    const int64_t rank = o->type(o, o->inputs[0])->rank, behind = rank - a->end;
    const uint32_t n = (uint32_t)(a->end - a->begin);
    int64_t there[CVR_MAX_RANK], back[CVR_MAX_RANK];
    cvr_onnx_value out = o->outputs[0], x = 0, y = 0;
    if (behind == 0) return normalise_last(o, o->inputs[0], n, a->eps, &out, err);
    for (int64_t i = 0; i < rank; i++) there[i] = i < a->begin ? i : i < a->begin + behind ? i + n : i - behind;
    for (int64_t i = 0; i < rank; i++) back[there[i]] = i;
    CVR_TRY(cvr_onnx_transpose(o, o->inputs[0], there, (uint32_t)rank, &x, err));
    CVR_TRY(normalise_last(o, x, n, a->eps, &y, err));
    return cvr_onnx_transpose(o, y, back, (uint32_t)rank, &out, err);
}

/* Each group as one channel of an instance norm; then scale and shift, (C,1,1). */
static int32_t write_group_norm(const cvr_onnx *o, cvr_error *err) {
    const cvr_group_norm_attrs *a = o->attrs;
    const cvr_type *t = o->type(o, o->inputs[0]);
    const cvr_onnx_attr eps = cvr_onnx_float("epsilon", a->eps);
    cvr_onnx_dim dims[CVR_MAX_RANK], affine[CVR_MAX_RANK];
    cvr_onnx_dim grouped[3] = {cvr_onnx_axis(o, o->inputs[0], 0), cvr_onnx_size(a->num_groups), cvr_onnx_size(1)};
    cvr_onnx_value in[3] = {0, 0, 0}, out = o->outputs[0], y = 0, back = 0;
    const uint32_t rank = cvr_onnx_axes(o, o->inputs[0], dims);
    for (uint32_t i = 1; i < rank; i++) grouped[2].size *= t->shape[i];
    grouped[2].size /= a->num_groups;
    for (uint32_t i = 1; i < rank; i++) affine[i - 1] = cvr_onnx_size(i == 1 ? t->shape[1] : 1);
    CVR_TRY(cvr_onnx_reshape(o, o->inputs[0], grouped, 3, &in[0], err));
    CVR_TRY(filled(o, 1, a->num_groups, &in[1], err));
    CVR_TRY(filled(o, 0, a->num_groups, &in[2], err));
    CVR_TRY(cvr_onnx_emit(o, "InstanceNormalization", in, 3, &eps, 1, &y, err));
    const uint32_t last = o->n_inputs > 2 && o->inputs[2] ? 2 : o->n_inputs > 1 && o->inputs[1] ? 1 : 0;
    CVR_TRY(cvr_onnx_reshape(o, y, dims, rank, last ? &back : &out, err));
    for (uint32_t i = 1; i <= last; i++) {
        cvr_onnx_value weight = 0, next = 0;
        if (!o->inputs[i]) continue;
        CVR_TRY(cvr_onnx_reshape(o, o->inputs[i], affine, rank - 1, &weight, err));
        CVR_TRY(cvr_onnx_emit2(o, i == 1 ? "Mul" : "Add", back, weight, i == last ? &out : &next, err));
        back = next;
    }
    return CVR_OK;
}

/* x / max(|x|, eps) */
static int32_t write_l2_norm(const cvr_onnx *o, cvr_error *err) {
    static const int64_t channels = 1;
    cvr_onnx_value out = o->outputs[0], length = 0, bound = 0;
    CVR_TRY(cvr_onnx_reduce(o, "ReduceL2", 18, o->inputs[0], &channels, 1, 1, &length, err));
    CVR_TRY(cvr_onnx_with(o, "Max", length, ((const cvr_l2_norm2d_attrs *)o->attrs)->eps, &bound, err));
    return cvr_onnx_emit2(o, "Div", o->inputs[0], bound, &out, err);
}

static const void *batch_traits(const char *name) {
    return strcmp(name, CVR_TRAIT_BATCH_NORM) == 0 ? &norm_batch_evaluated : cvr_traits_mixed(name);
}

CVR_ONNX_AXES_TRAITS(norm_batch_inference_traits, write_batch_norm, norm_batch_axes, batch_traits)
CVR_ONNX_AXES_TRAITS(norm_layer_traits, write_layer_norm, norm_layer_axes, cvr_traits_mixed_recompute)
CVR_ONNX_AXES_TRAITS(norm_group_traits, write_group_norm, norm_group_axes, cvr_traits_mixed)
CVR_ONNX_AXES_TRAITS(norm_l2_traits, write_l2_norm, norm_l2_axes, cvr_onnx_alone)
