/*
 * The elementwise activation ops. What they compute is said in ops/activation_steps.h alone, as programs of the closed
 * machine; their reference kernels run these programs.
 */
#include "activation_family.h"

#include <cvr/plugin/ops/activation_steps.h>
#include <cvr/plugin/ops/elementwise.h>

typedef void (*steps_fn)(const void *attrs, cvr_steps *out);

static int32_t run_steps(const cvr_kernel_args *a, steps_fn write) {
    cvr_steps s = {.struct_size = sizeof s};
    write(a->attrs, &s);
    return cvr_elementwise_run(a, &s);
}

static double unary_flops(const cvr_infer_args *a) {
    return (double)cvr_numel(a->inputs[0]->rank, a->inputs[0]->shape);
}

/* What an op says of itself, and its reference kernel. A gradient is not made again: nobody keeps it. */
#define PROGRAM(name_, ...)                                                                                            \
    static const cvr_elementwise_trait name_##_program = {sizeof(cvr_elementwise_trait), cvr_##name_##_steps, NULL};   \
    CVR_DEFINE_TRAITS(name_##_traits, {CVR_TRAIT_ELEMENTWISE, &name_##_program},                                       \
                      {CVR_TRAIT_COUNTS, &cvr_counts_elementwise}, __VA_ARGS__)                                        \
    static int32_t name_##_run(const cvr_kernel_args *a, cvr_error *err) {                                             \
        (void)err;                                                                                                     \
        return run_steps(a, cvr_##name_##_steps);                                                                      \
    }
#define ACTIVATION(name_)                                                                                              \
    PROGRAM(name_, {CVR_TRAIT_RECOMPUTE, &cvr_recompute_itself}, {CVR_TRAIT_ONNX, &activation_##name_##_onnx})         \
    PROGRAM(name_##_backward, {CVR_TRAIT_PRECISION, &cvr_precision_first})

/* Of bounds, which are what quantising to u8 does. */
static const cvr_int8_trait clamps = {
    .struct_size = sizeof clamps, .activations = 1, .flags = CVR_INT8_SAME | CVR_INT8_CLAMP};
#define CLAMP(name_)                                                                                                   \
    PROGRAM(name_, {CVR_TRAIT_RECOMPUTE, &cvr_recompute_itself}, {CVR_TRAIT_ONNX, &activation_##name_##_onnx},         \
            {CVR_TRAIT_INT8, &clamps})                                                                                 \
    PROGRAM(name_##_backward, {CVR_TRAIT_PRECISION, &cvr_precision_first})

CLAMP(relu)
CLAMP(relu6)
ACTIVATION(leaky_relu)
ACTIVATION(sigmoid)
ACTIVATION(tanh)
ACTIVATION(hardsigmoid)
ACTIVATION(hardswish)
ACTIVATION(silu)
ACTIVATION(mish)
ACTIVATION(gelu)

/* The descriptors of an activation and its gradient. In both, output 0 may take the place of any input. */
#define OPS(name_, n_attrs_, attrs_, doc_, backward_doc_)                                                              \
    {.op = {.struct_size = sizeof(cvr_op_desc),                                                                        \
            .name = #name_,                                                                                            \
            .version = 1,                                                                                              \
            .flags = CVR_OP_ORDER_FREE,                                                                                \
            .min_inputs = 1,                                                                                           \
            .max_inputs = 1,                                                                                           \
            .n_outputs = 1,                                                                                            \
            .n_attrs = n_attrs_,                                                                                       \
            .attrs = attrs_,                                                                                           \
            .infer = activation_infer,                                                                                 \
            .grad = activation_##name_##_grad,                                                                         \
            .flops = unary_flops,                                                                                      \
            .doc = doc_,                                                                                               \
            .trait = name_##_traits},                                                                                  \
     .reference = {sizeof(cvr_cpu_fn), name_##_run},                                                                   \
     .inplace = 1},                                                                                                    \
    {                                                                                                                  \
        .op = {.struct_size = sizeof(cvr_op_desc),                                                                     \
               .name = #name_ "_backward",                                                                             \
               .version = 1,                                                                                           \
               .flags = CVR_OP_ORDER_FREE,                                                                             \
               .min_inputs = 2,                                                                                        \
               .max_inputs = 2,                                                                                        \
               .n_outputs = 1,                                                                                         \
               .n_attrs = n_attrs_,                                                                                    \
               .attrs = attrs_,                                                                                        \
               .infer = activation_backward_infer,                                                                     \
               .flops = unary_flops,                                                                                   \
               .doc = backward_doc_,                                                                                   \
               .trait = name_##_backward_traits},                                                                      \
        .reference = {sizeof(cvr_cpu_fn), name_##_backward_run}, .inplace = 3                                          \
    }

const cvr_reference_op activation_unary_ops[] = {
    OPS(relu, 0, NULL, "y = max(x, 0)", "dx = y > 0 ? grad : 0"),
    OPS(relu6, 0, NULL, "y = min(max(x, 0), 6)", "dx = 0 < y < 6 ? grad : 0"),
    OPS(leaky_relu, 1, activation_slope_attrs, "y = x > 0 ? x : negative_slope * x",
        "dx = x > 0 ? grad : negative_slope * grad"),
    OPS(sigmoid, 0, NULL, "y = 1 / (1 + exp(-x))", "dx = grad * y * (1 - y)"),
    OPS(tanh, 0, NULL, "y = tanh(x)", "dx = grad * (1 - y * y)"),
    OPS(hardsigmoid, 0, NULL, "y = relu6(x + 3) / 6", "dx = 0 < y < 1 ? grad / 6 : 0"),
    OPS(hardswish, 0, NULL, "y = x * relu6(x + 3) / 6", "dx = grad * (x / 3 + 1 / 2) where |x| < 3"),
    OPS(silu, 0, NULL, "y = x * sigmoid(x)", "dx = grad * s * (1 + x * (1 - s)), s = sigmoid(x)"),
    OPS(mish, 0, NULL, "y = x * t, t = tanh(ln(1 + exp(x)))", "dx = grad * (t + x * sigmoid(x) * (1 - t * t))"),
    OPS(gelu, 1, activation_gelu_attrs, "y = x * Phi(x)", "dx = grad * (Phi(x) + x * phi(x))"),
};
const uint32_t activation_n_unary_ops = sizeof activation_unary_ops / sizeof *activation_unary_ops;
