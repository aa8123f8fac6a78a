/* The elementwise activation ops with their reference kernels, in double and one element at a time. */
#include "activation.h"

#include <math.h>

typedef double (*forward_fn)(double x, const void *attrs);
typedef double (*backward_fn)(double saved, double grad, const void *attrs);

/* x, y: any shape */
static int32_t map(const cvr_kernel_args *a, forward_fn f) {
    const float *x = a->inputs[0]->data;
    float *y = a->outputs[0]->data;
    const int64_t n = cvr_numel(a->inputs[0]->rank, a->inputs[0]->shape);
    for (int64_t i = 0; i < n; i++) y[i] = (float)f(x[i], a->attrs);
    return CVR_OK;
}

/* saved, grad, dx: any one shape */
static int32_t map_backward(const cvr_kernel_args *a, backward_fn f) {
    const float *saved = a->inputs[0]->data, *grad = a->inputs[1]->data;
    float *dx = a->outputs[0]->data;
    const int64_t n = cvr_numel(a->inputs[0]->rank, a->inputs[0]->shape);
    for (int64_t i = 0; i < n; i++) dx[i] = (float)f(saved[i], grad[i], a->attrs);
    return CVR_OK;
}

/* Comparisons are written so that NaN passes through, as in PyTorch. */
static double clamp_six(double x) {
    const double low = x < 0 ? 0 : x;
    return low > 6 ? 6 : low;
}

static double relu(double x, const void *attrs) {
    (void)attrs;
    return x < 0 ? 0 : x;
}

static double relu_back(double y, double g, const void *attrs) {
    (void)attrs;
    return y > 0 ? g : 0;
}

static double relu6(double x, const void *attrs) {
    (void)attrs;
    return clamp_six(x);
}

static double relu6_back(double y, double g, const void *attrs) {
    (void)attrs;
    return y > 0 && y < 6 ? g : 0;
}

static double leaky_relu(double x, const void *attrs) {
    const cvr_leaky_relu_attrs *a = attrs;
    return x > 0 ? x : (double)(float)a->negative_slope * x;
}

static double leaky_relu_back(double x, double g, const void *attrs) {
    const cvr_leaky_relu_attrs *a = attrs;
    return x > 0 ? g : (double)(float)a->negative_slope * g;
}

static double sigmoid(double x, const void *attrs) {
    (void)attrs;
    return 1 / (1 + exp(-x));
}

static double sigmoid_back(double y, double g, const void *attrs) {
    (void)attrs;
    return g * y * (1 - y);
}

static double tanh_(double x, const void *attrs) {
    (void)attrs;
    return tanh(x);
}

static double tanh_back(double y, double g, const void *attrs) {
    (void)attrs;
    return g * (1 - y * y);
}

static double hardsigmoid(double x, const void *attrs) {
    (void)attrs;
    return clamp_six(x + 3) / 6;
}

static double hardsigmoid_back(double y, double g, const void *attrs) {
    (void)attrs;
    return y > 0 && y < 1 ? g / 6 : 0;
}

static double hardswish(double x, const void *attrs) {
    (void)attrs;
    return x * clamp_six(x + 3) / 6;
}

static double hardswish_back(double x, double g, const void *attrs) {
    (void)attrs;
    if (x <= -3) return 0;
    return x < 3 ? g * (x / 3 + 0.5) : g;
}

static double silu(double x, const void *attrs) {
    (void)attrs;
    return x / (1 + exp(-x));
}

static double silu_back(double x, double g, const void *attrs) {
    (void)attrs;
    const double s = 1 / (1 + exp(-x));
    return g * s * (1 + x * (1 - s));
}

#define SQRT_HALF 0.70710678118654752440
#define SQRT_2_OVER_PI 0.79788456080286535588
#define GELU_CUBE 0.044715

static double gelu(double x, const void *attrs) {
    const cvr_gelu_attrs *a = attrs;
    if (a->approximate == CVR_GELU_NONE) return 0.5 * x * (1 + erf(x * SQRT_HALF));
    return 0.5 * x * (1 + tanh(SQRT_2_OVER_PI * (x + GELU_CUBE * x * x * x)));
}

/* d/dx x * P(x) = P(x) + x * P'(x) */
static double gelu_back(double x, double g, const void *attrs) {
    const cvr_gelu_attrs *a = attrs;
    if (a->approximate == CVR_GELU_NONE) {
        const double density = 0.5 * SQRT_2_OVER_PI * exp(-0.5 * x * x);
        return g * (0.5 * (1 + erf(x * SQRT_HALF)) + x * density);
    }
    const double t = tanh(SQRT_2_OVER_PI * (x + GELU_CUBE * x * x * x));
    const double slope = 0.5 * (1 - t * t) * SQRT_2_OVER_PI * (1 + 3 * GELU_CUBE * x * x);
    return g * (0.5 * (1 + t) + x * slope);
}

double activation_formula(uint64_t code, double a, double b, const void *attrs) {
    static const struct {
        forward_fn forward;
        backward_fn backward;
    } formulas[CVR_STEP_ACTIVATIONS] = {{relu, relu_back},
                                        {relu6, relu6_back},
                                        {leaky_relu, leaky_relu_back},
                                        {sigmoid, sigmoid_back},
                                        {tanh_, tanh_back},
                                        {hardsigmoid, hardsigmoid_back},
                                        {hardswish, hardswish_back},
                                        {silu, silu_back},
                                        {gelu, gelu_back},
                                        {gelu, gelu_back}};
    const uint64_t i = code - CVR_STEP_RELU;
    if (i < CVR_STEP_ACTIVATIONS) return formulas[i].forward(a, attrs);
    return formulas[i - CVR_STEP_ACTIVATIONS].backward(a, b, attrs);
}

/* ---- kernels ---- */

static int32_t relu_run(const cvr_kernel_args *a, cvr_error *err) {
    (void)err;
    return map(a, relu);
}

static int32_t relu_backward_run(const cvr_kernel_args *a, cvr_error *err) {
    (void)err;
    return map_backward(a, relu_back);
}

static int32_t relu6_run(const cvr_kernel_args *a, cvr_error *err) {
    (void)err;
    return map(a, relu6);
}

static int32_t relu6_backward_run(const cvr_kernel_args *a, cvr_error *err) {
    (void)err;
    return map_backward(a, relu6_back);
}

static int32_t leaky_relu_run(const cvr_kernel_args *a, cvr_error *err) {
    (void)err;
    return map(a, leaky_relu);
}

static int32_t leaky_relu_backward_run(const cvr_kernel_args *a, cvr_error *err) {
    (void)err;
    return map_backward(a, leaky_relu_back);
}

static int32_t sigmoid_run(const cvr_kernel_args *a, cvr_error *err) {
    (void)err;
    return map(a, sigmoid);
}

static int32_t sigmoid_backward_run(const cvr_kernel_args *a, cvr_error *err) {
    (void)err;
    return map_backward(a, sigmoid_back);
}

static int32_t tanh_run(const cvr_kernel_args *a, cvr_error *err) {
    (void)err;
    return map(a, tanh_);
}

static int32_t tanh_backward_run(const cvr_kernel_args *a, cvr_error *err) {
    (void)err;
    return map_backward(a, tanh_back);
}

static int32_t hardsigmoid_run(const cvr_kernel_args *a, cvr_error *err) {
    (void)err;
    return map(a, hardsigmoid);
}

static int32_t hardsigmoid_backward_run(const cvr_kernel_args *a, cvr_error *err) {
    (void)err;
    return map_backward(a, hardsigmoid_back);
}

static int32_t hardswish_run(const cvr_kernel_args *a, cvr_error *err) {
    (void)err;
    return map(a, hardswish);
}

static int32_t hardswish_backward_run(const cvr_kernel_args *a, cvr_error *err) {
    (void)err;
    return map_backward(a, hardswish_back);
}

static int32_t silu_run(const cvr_kernel_args *a, cvr_error *err) {
    (void)err;
    return map(a, silu);
}

static int32_t silu_backward_run(const cvr_kernel_args *a, cvr_error *err) {
    (void)err;
    return map_backward(a, silu_back);
}

static int32_t gelu_run(const cvr_kernel_args *a, cvr_error *err) {
    (void)err;
    return map(a, gelu);
}

static int32_t gelu_backward_run(const cvr_kernel_args *a, cvr_error *err) {
    (void)err;
    return map_backward(a, gelu_back);
}

static double unary_flops(const cvr_infer_args *a) {
    return (double)cvr_numel(a->inputs[0]->rank, a->inputs[0]->shape);
}

/* In both kinds, output 0 may take the place of any input. */
#define FORWARD(name_, grad_, run_, n_attrs_, attrs_, step_, steps_, doc_)                                             \
    {                                                                                                                  \
        {.struct_size = sizeof(cvr_op_desc),                                                                           \
         .name = name_,                                                                                                \
         .version = 1,                                                                                                 \
         .flags = CVR_OP_ORDER_FREE | CVR_OP_AGAIN,                                                                    \
         .min_inputs = 1,                                                                                              \
         .max_inputs = 1,                                                                                              \
         .n_outputs = 1,                                                                                               \
         .n_attrs = n_attrs_,                                                                                          \
         .attrs = attrs_,                                                                                              \
         .infer = activation_infer,                                                                                    \
         .grad = grad_,                                                                                                \
         .flops = unary_flops,                                                                                         \
         .doc = doc_,                                                                                                  \
         .step = step_,                                                                                                \
         .steps = steps_},                                                                                             \
            {sizeof(cvr_cpu_fn), run_}, 1                                                                              \
    }
#define BACKWARD(name_, run_, n_attrs_, attrs_, step_, steps_, doc_)                                                   \
    {                                                                                                                  \
        {.struct_size = sizeof(cvr_op_desc),                                                                           \
         .name = name_,                                                                                                \
         .version = 1,                                                                                                 \
         .flags = CVR_OP_ORDER_FREE,                                                                                   \
         .min_inputs = 2,                                                                                              \
         .max_inputs = 2,                                                                                              \
         .n_outputs = 1,                                                                                               \
         .n_attrs = n_attrs_,                                                                                          \
         .attrs = attrs_,                                                                                              \
         .infer = activation_backward_infer,                                                                           \
         .flops = unary_flops,                                                                                         \
         .doc = doc_,                                                                                                  \
         .step = step_,                                                                                                \
         .steps = steps_},                                                                                             \
            {sizeof(cvr_cpu_fn), run_}, 3                                                                              \
    }

const activation_op activation_unary_ops[] = {
    FORWARD("relu", activation_relu_grad, relu_run, 0, NULL, CVR_STEP_RELU, NULL, "y = max(x, 0)"),
    BACKWARD("relu_backward", relu_backward_run, 0, NULL, CVR_STEP_BACKWARD(CVR_STEP_RELU), NULL,
             "dx = y > 0 ? grad : 0"),
    FORWARD("relu6", activation_relu6_grad, relu6_run, 0, NULL, CVR_STEP_RELU6, NULL, "y = min(max(x, 0), 6)"),
    BACKWARD("relu6_backward", relu6_backward_run, 0, NULL, CVR_STEP_BACKWARD(CVR_STEP_RELU6), NULL,
             "dx = 0 < y < 6 ? grad : 0"),
    FORWARD("leaky_relu", activation_leaky_relu_grad, leaky_relu_run, 1, activation_slope_attrs, 0,
            activation_leaky_relu_steps, "y = x > 0 ? x : negative_slope * x"),
    BACKWARD("leaky_relu_backward", leaky_relu_backward_run, 1, activation_slope_attrs, 0,
             activation_leaky_relu_backward_steps, "dx = x > 0 ? grad : negative_slope * grad"),
    FORWARD("sigmoid", activation_sigmoid_grad, sigmoid_run, 0, NULL, CVR_STEP_SIGMOID, NULL, "y = 1 / (1 + exp(-x))"),
    BACKWARD("sigmoid_backward", sigmoid_backward_run, 0, NULL, CVR_STEP_BACKWARD(CVR_STEP_SIGMOID), NULL,
             "dx = grad * y * (1 - y)"),
    FORWARD("tanh", activation_tanh_grad, tanh_run, 0, NULL, CVR_STEP_TANH, NULL, "y = tanh(x)"),
    BACKWARD("tanh_backward", tanh_backward_run, 0, NULL, CVR_STEP_BACKWARD(CVR_STEP_TANH), NULL,
             "dx = grad * (1 - y * y)"),
    FORWARD("hardsigmoid", activation_hardsigmoid_grad, hardsigmoid_run, 0, NULL, CVR_STEP_HARDSIGMOID, NULL,
            "y = relu6(x + 3) / 6"),
    BACKWARD("hardsigmoid_backward", hardsigmoid_backward_run, 0, NULL, CVR_STEP_BACKWARD(CVR_STEP_HARDSIGMOID), NULL,
             "dx = 0 < y < 1 ? grad / 6 : 0"),
    FORWARD("hardswish", activation_hardswish_grad, hardswish_run, 0, NULL, CVR_STEP_HARDSWISH, NULL,
            "y = x * relu6(x + 3) / 6"),
    BACKWARD("hardswish_backward", hardswish_backward_run, 0, NULL, CVR_STEP_BACKWARD(CVR_STEP_HARDSWISH), NULL,
             "dx = grad * (x / 3 + 1 / 2) where |x| < 3"),
    FORWARD("silu", activation_silu_grad, silu_run, 0, NULL, CVR_STEP_SILU, NULL, "y = x * sigmoid(x)"),
    BACKWARD("silu_backward", silu_backward_run, 0, NULL, CVR_STEP_BACKWARD(CVR_STEP_SILU), NULL,
             "dx = grad * s * (1 + x * (1 - s)), s = sigmoid(x)"),
    FORWARD("gelu", activation_gelu_grad, gelu_run, 1, activation_gelu_attrs, 0, activation_gelu_steps,
            "y = x * Phi(x)"),
    BACKWARD("gelu_backward", gelu_backward_run, 1, activation_gelu_attrs, 0, activation_gelu_backward_steps,
             "dx = grad * (Phi(x) + x * phi(x))"),
};
const uint32_t activation_n_unary_ops = sizeof activation_unary_ops / sizeof *activation_unary_ops;
