/* The elementwise activations of torch.nn as layers, and the gradients of their ops (formulas in ops/activation.h).
 */
#include "activation_family.h"

static const cvr_attr_desc negative_slope =
    CVR_ATTR_INIT(FLOAT, "negative_slope", "0.01", "slope for x < 0", .flags = CVR_ATTR_POSITIONAL);
const cvr_attr_desc *const activation_slope_attrs[] = {&negative_slope};

static const cvr_attr_desc approximate =
    CVR_ATTR_INIT(CHOICE, "approximate", "none", "none: by the error function; tanh: its approximation",
                  .choices = "none|tanh", .flags = CVR_ATTR_POSITIONAL);
const cvr_attr_desc *const activation_gelu_attrs[] = {&approximate};

static int32_t check_f32(const cvr_type *t, cvr_error *err) {
    if (t->dtype == CVR_F32) return CVR_OK;
    return cvr_fail(err, CVR_ERR_INVALID, "an activation's input is %s; it must be f32", cvr_dtype_name(t->dtype));
}

int32_t activation_infer(const cvr_infer_args *a, cvr_error *err) {
    *a->outputs[0] = *a->inputs[0];
    return check_f32(a->inputs[0], err);
}

int32_t activation_backward_infer(const cvr_infer_args *a, cvr_error *err) {
    const cvr_type *saved = a->inputs[0], *grad = a->inputs[1];
    *a->outputs[0] = *grad;
    if (saved->rank != grad->rank || memcmp(saved->shape, grad->shape, sizeof saved->shape) != 0)
        return cvr_fail(err, CVR_ERR_INVALID, "an activation's gradient has another shape than its output");
    CVR_TRY(check_f32(saved, err));
    return check_f32(grad, err);
}

/* dx = op(saved, grad) */
static int32_t backward(const cvr_builder *b, cvr_grad_args *a, const char *op, cvr_value saved, uint64_t attrs_size,
                        cvr_error *err) {
    const cvr_value inputs[2] = {saved, a->grad_outputs[0]};
    return cvr_emit(b, op, attrs_size ? a->attrs : NULL, attrs_size, inputs, 2, &a->grad_inputs[0], err);
}

int32_t activation_relu_grad(const cvr_builder *b, cvr_grad_args *a, cvr_error *err) {
    return backward(b, a, "relu_backward", a->outputs[0], 0, err);
}

int32_t activation_relu6_grad(const cvr_builder *b, cvr_grad_args *a, cvr_error *err) {
    return backward(b, a, "relu6_backward", a->outputs[0], 0, err);
}

/* With a slope that is not negative, y has the sign of x: the input's memory is then free for others. */
int32_t activation_leaky_relu_grad(const cvr_builder *b, cvr_grad_args *a, cvr_error *err) {
    const cvr_leaky_relu_attrs *attrs = a->attrs;
    const cvr_value saved = attrs->negative_slope >= 0 ? a->outputs[0] : a->inputs[0];
    return backward(b, a, "leaky_relu_backward", saved, sizeof *attrs, err);
}

int32_t activation_sigmoid_grad(const cvr_builder *b, cvr_grad_args *a, cvr_error *err) {
    return backward(b, a, "sigmoid_backward", a->outputs[0], 0, err);
}

int32_t activation_tanh_grad(const cvr_builder *b, cvr_grad_args *a, cvr_error *err) {
    return backward(b, a, "tanh_backward", a->outputs[0], 0, err);
}

int32_t activation_hardsigmoid_grad(const cvr_builder *b, cvr_grad_args *a, cvr_error *err) {
    return backward(b, a, "hardsigmoid_backward", a->outputs[0], 0, err);
}

int32_t activation_hardswish_grad(const cvr_builder *b, cvr_grad_args *a, cvr_error *err) {
    return backward(b, a, "hardswish_backward", a->inputs[0], 0, err);
}

int32_t activation_silu_grad(const cvr_builder *b, cvr_grad_args *a, cvr_error *err) {
    return backward(b, a, "silu_backward", a->inputs[0], 0, err);
}

int32_t activation_mish_grad(const cvr_builder *b, cvr_grad_args *a, cvr_error *err) {
    return backward(b, a, "mish_backward", a->inputs[0], 0, err);
}

int32_t activation_gelu_grad(const cvr_builder *b, cvr_grad_args *a, cvr_error *err) {
    return backward(b, a, "gelu_backward", a->inputs[0], sizeof(cvr_gelu_attrs), err);
}

/* ---- layers ---- */

static int32_t build_relu(const cvr_builder *b, const void *attrs, const cvr_value *in, uint32_t n_in, cvr_value *out,
                          cvr_error *err) {
    (void)attrs;
    return cvr_emit(b, "relu", NULL, 0, in, n_in, out, err);
}

static int32_t build_relu6(const cvr_builder *b, const void *attrs, const cvr_value *in, uint32_t n_in, cvr_value *out,
                           cvr_error *err) {
    (void)attrs;
    return cvr_emit(b, "relu6", NULL, 0, in, n_in, out, err);
}

static int32_t build_leaky_relu(const cvr_builder *b, const void *attrs, const cvr_value *in, uint32_t n_in,
                                cvr_value *out, cvr_error *err) {
    return cvr_emit(b, "leaky_relu", attrs, sizeof(cvr_leaky_relu_attrs), in, n_in, out, err);
}

static int32_t build_sigmoid(const cvr_builder *b, const void *attrs, const cvr_value *in, uint32_t n_in,
                             cvr_value *out, cvr_error *err) {
    (void)attrs;
    return cvr_emit(b, "sigmoid", NULL, 0, in, n_in, out, err);
}

static int32_t build_tanh(const cvr_builder *b, const void *attrs, const cvr_value *in, uint32_t n_in, cvr_value *out,
                          cvr_error *err) {
    (void)attrs;
    return cvr_emit(b, "tanh", NULL, 0, in, n_in, out, err);
}

static int32_t build_hardsigmoid(const cvr_builder *b, const void *attrs, const cvr_value *in, uint32_t n_in,
                                 cvr_value *out, cvr_error *err) {
    (void)attrs;
    return cvr_emit(b, "hardsigmoid", NULL, 0, in, n_in, out, err);
}

static int32_t build_hardswish(const cvr_builder *b, const void *attrs, const cvr_value *in, uint32_t n_in,
                               cvr_value *out, cvr_error *err) {
    (void)attrs;
    return cvr_emit(b, "hardswish", NULL, 0, in, n_in, out, err);
}

static int32_t build_silu(const cvr_builder *b, const void *attrs, const cvr_value *in, uint32_t n_in, cvr_value *out,
                          cvr_error *err) {
    (void)attrs;
    return cvr_emit(b, "silu", NULL, 0, in, n_in, out, err);
}

static int32_t build_mish(const cvr_builder *b, const void *attrs, const cvr_value *in, uint32_t n_in, cvr_value *out,
                          cvr_error *err) {
    (void)attrs;
    return cvr_emit(b, "mish", NULL, 0, in, n_in, out, err);
}

static int32_t build_gelu(const cvr_builder *b, const void *attrs, const cvr_value *in, uint32_t n_in, cvr_value *out,
                          cvr_error *err) {
    return cvr_emit(b, "gelu", attrs, sizeof(cvr_gelu_attrs), in, n_in, out, err);
}

#define LAYER(name_, build_, n_attrs_, attrs_, doc_)                                                                   \
    {                                                                                                                  \
        .struct_size = sizeof(cvr_layer_desc), .name = name_, .doc = doc_, .n_attrs = n_attrs_, .min_inputs = 1,       \
        .max_inputs = 1, .n_outputs = 1, .attrs = attrs_, .build = build_                                              \
    }

const cvr_layer_desc activation_unary_layers[] = {
    LAYER("relu", build_relu, 0, NULL, "max(x, 0)"),
    LAYER("relu6", build_relu6, 0, NULL, "min(max(x, 0), 6)"),
    LAYER("leaky_relu", build_leaky_relu, 1, activation_slope_attrs, "x where positive, else negative_slope * x"),
    LAYER("sigmoid", build_sigmoid, 0, NULL, "1 / (1 + exp(-x))"),
    LAYER("tanh", build_tanh, 0, NULL, "hyperbolic tangent"),
    LAYER("hardsigmoid", build_hardsigmoid, 0, NULL, "relu6(x + 3) / 6"),
    LAYER("hardswish", build_hardswish, 0, NULL, "x * relu6(x + 3) / 6 (Howard et al., MobileNetV3, 2019)"),
    LAYER("silu", build_silu, 0, NULL, "x * sigmoid(x)"),
    LAYER("mish", build_mish, 0, NULL, "x * tanh(softplus(x)) (Misra, 2019)"),
    LAYER("gelu", build_gelu, 1, activation_gelu_attrs, "x * Phi(x) (Hendrycks and Gimpel, 2016)"),
};
const uint32_t activation_n_unary_layers = sizeof activation_unary_layers / sizeof *activation_unary_layers;
