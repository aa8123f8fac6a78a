/* How activations are written in ONNX: by its own op where the opset has one, else by their program. */
#include "activation_family.h"

#include <cvr/plugin/formats/onnx.h>
#include <cvr/plugin/ops/activation_steps.h>
#include <cvr/plugin/ops/elementwise.h>

static int32_t write_program(const cvr_onnx *o, void (*steps)(const void *, cvr_steps *), cvr_error *err) {
    cvr_steps s = {.struct_size = sizeof s};
    cvr_onnx_value out = o->outputs[0];
    steps(o->attrs, &s);
    return o->program(o, &s, o->inputs, o->n_inputs, &out, err);
}

static int32_t write_relu(const cvr_onnx *o, cvr_error *err) {
    return cvr_onnx_op(o, "Relu", NULL, 0, err);
}

static int32_t write_relu6(const cvr_onnx *o, cvr_error *err) {
    cvr_onnx_value in[3] = {o->inputs[0], 0, 0}, out = o->outputs[0];
    CVR_TRY(cvr_onnx_f32(o, 0, &in[1], err));
    CVR_TRY(cvr_onnx_f32(o, 6, &in[2], err));
    return cvr_onnx_emit(o, "Clip", in, 3, NULL, 0, &out, err);
}

static int32_t write_leaky_relu(const cvr_onnx *o, cvr_error *err) {
    const cvr_onnx_attr alpha = cvr_onnx_float("alpha", ((const cvr_leaky_relu_attrs *)o->attrs)->negative_slope);
    return cvr_onnx_op(o, "LeakyRelu", &alpha, 1, err);
}

static int32_t write_sigmoid(const cvr_onnx *o, cvr_error *err) {
    return cvr_onnx_op(o, "Sigmoid", NULL, 0, err);
}

static int32_t write_tanh(const cvr_onnx *o, cvr_error *err) {
    return cvr_onnx_op(o, "Tanh", NULL, 0, err);
}

static int32_t emit_hardsigmoid(const cvr_onnx *o, cvr_onnx_value *out, cvr_error *err) {
    const cvr_onnx_attr attrs[2] = {cvr_onnx_float("alpha", 1.0 / 6), cvr_onnx_float("beta", 0.5)};
    return cvr_onnx_emit(o, "HardSigmoid", o->inputs, 1, attrs, 2, out, err);
}

static int32_t write_hardsigmoid(const cvr_onnx *o, cvr_error *err) {
    cvr_onnx_value out = o->outputs[0];
    return emit_hardsigmoid(o, &out, err);
}

static int32_t write_hardswish(const cvr_onnx *o, cvr_error *err) {
    cvr_onnx_value gate = 0, out = o->outputs[0];
    if (o->opset >= 14) return cvr_onnx_op(o, "HardSwish", NULL, 0, err);
    CVR_TRY(emit_hardsigmoid(o, &gate, err));
    return cvr_onnx_emit2(o, "Mul", o->inputs[0], gate, &out, err);
}

static int32_t write_silu(const cvr_onnx *o, cvr_error *err) {
    cvr_onnx_value gate = 0, out = o->outputs[0];
    CVR_TRY(cvr_onnx_emit1(o, "Sigmoid", o->inputs[0], &gate, err));
    return cvr_onnx_emit2(o, "Mul", o->inputs[0], gate, &out, err);
}

/* x * tanh(ln(1 + exp(x))) */
static int32_t write_mish(const cvr_onnx *o, cvr_error *err) {
    cvr_onnx_value soft = 0, gate = 0, out = o->outputs[0];
    if (o->opset >= 18) return cvr_onnx_op(o, "Mish", NULL, 0, err);
    CVR_TRY(cvr_onnx_emit1(o, "Softplus", o->inputs[0], &soft, err));
    CVR_TRY(cvr_onnx_emit1(o, "Tanh", soft, &gate, err));
    return cvr_onnx_emit2(o, "Mul", o->inputs[0], gate, &out, err);
}

static int32_t write_gelu(const cvr_onnx *o, cvr_error *err) {
    const int64_t approximate = ((const cvr_gelu_attrs *)o->attrs)->approximate;
    const cvr_onnx_attr how = cvr_onnx_string("approximate", approximate == CVR_GELU_TANH ? "tanh" : "none");
    if (o->opset >= 20) return cvr_onnx_op(o, "Gelu", &how, 1, err);
    return write_program(o, cvr_gelu_steps, err);
}

static int32_t write_softmax(const cvr_onnx *o, cvr_error *err) {
    const cvr_onnx_attr axis = cvr_onnx_int("axis", ((const cvr_softmax_attrs *)o->attrs)->dim);
    return cvr_onnx_op(o, "Softmax", &axis, 1, err);
}

static int32_t write_log_softmax(const cvr_onnx *o, cvr_error *err) {
    const cvr_onnx_attr axis = cvr_onnx_int("axis", ((const cvr_softmax_attrs *)o->attrs)->dim);
    return cvr_onnx_op(o, "LogSoftmax", &axis, 1, err);
}

static void elementwise_steps(const void *attrs, cvr_steps *s) {
    cvr_elementwise_steps(attrs, s);
}

static int32_t write_elementwise(const cvr_onnx *o, cvr_error *err) {
    return write_program(o, elementwise_steps, err);
}

#define TRAIT(name_) const cvr_onnx_trait activation_##name_##_onnx = {sizeof(cvr_onnx_trait), write_##name_};
TRAIT(relu)
TRAIT(relu6)
TRAIT(leaky_relu)
TRAIT(sigmoid)
TRAIT(tanh)
TRAIT(hardsigmoid)
TRAIT(hardswish)
TRAIT(silu)
TRAIT(mish)
TRAIT(gelu)
TRAIT(elementwise)
/* The axes beside that over which it sums. */
static void tie_softmax(const cvr_axes *a) {
    const cvr_softmax_attrs *attrs = a->attrs;
    for (uint32_t i = 0; i < a->inputs[0]->rank; i++)
        if (i != attrs->dim) cvr_axes_tie(a, 0, i, CVR_AXES_OUTPUT, i);
}
static const cvr_axes_trait softmax_axes = {sizeof softmax_axes, tie_softmax, NULL, 0};

CVR_ONNX_AXES_TRAITS(activation_softmax_traits, write_softmax, softmax_axes, cvr_traits_mixed_recompute)
CVR_ONNX_AXES_TRAITS(activation_log_softmax_traits, write_log_softmax, softmax_axes, cvr_traits_mixed_recompute)
