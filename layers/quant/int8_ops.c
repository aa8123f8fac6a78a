/* Descriptors of the ops on integers: attributes are those of a requantisation, then the op's own. */
#include "quant_family.h"

#include <cvr/plugin/trait.h>

static const cvr_attr_desc x_scale = CVR_ATTR_INIT(FLOAT, "x_scale", NULL, "of input 0", CVR_ATTR_AT_LEAST(0)),
                           x_zero = CVR_ATTR_INIT(INT, "x_zero", "0", "of input 0", CVR_ATTR_BETWEEN(0, 255)),
                           b_scale = CVR_ATTR_INIT(FLOAT, "b_scale", "1", "of a second input", CVR_ATTR_AT_LEAST(0)),
                           b_zero = CVR_ATTR_INIT(INT, "b_zero", "0", "of a second input", CVR_ATTR_BETWEEN(0, 255)),
                           y_scale = CVR_ATTR_INIT(FLOAT, "y_scale", NULL, "of the result", CVR_ATTR_AT_LEAST(0)),
                           y_zero = CVR_ATTR_INIT(INT, "y_zero", "0", "of the result", CVR_ATTR_BETWEEN(0, 255));

static const cvr_attr_desc
    stride = CVR_ATTR_INIT(INT, "stride", "1", "step of the window: both, or height,width", .count = 2,
                           CVR_ATTR_AT_LEAST(1)),
    padding = CVR_ATTR_INIT(INT, "padding", "0", "both, or height,width", .count = 2, CVR_ATTR_AT_LEAST(0)),
    dilation = CVR_ATTR_INIT(INT, "dilation", "1", "both, or height,width", .count = 2, CVR_ATTR_AT_LEAST(1)),
    groups = CVR_ATTR_INIT(INT, "groups", "1", "channels see their own group only", CVR_ATTR_AT_LEAST(1)),
    kernel_size =
        CVR_ATTR_INIT(INT, "kernel_size", NULL, "both, or height,width", .count = 2, CVR_ATTR_BETWEEN(1, 32768.0)),
    ceil_mode = CVR_ATTR_INIT(BOOL, "ceil_mode", "no", "round the output size up"),
    count_pad = CVR_ATTR_INIT(BOOL, "count_include_pad", "yes", "padding counts in the mean"),
    divisor = CVR_ATTR_INIT(INT, "divisor_override", "0", "divide by this; 0: off", CVR_ATTR_AT_LEAST(0)),
    size = CVR_ATTR_INIT(INT, "output_size", NULL, "both, or height,width", .count = 2, CVR_ATTR_AT_LEAST(1));

#define REQUANT &x_scale, &x_zero, &b_scale, &b_zero, &y_scale, &y_zero
static const cvr_attr_desc *const requant_attrs[] = {REQUANT};
static const cvr_attr_desc *const conv_attrs[] = {REQUANT, &stride, &padding, &dilation, &groups};
static const cvr_attr_desc *const max_attrs[] = {REQUANT, &kernel_size, &stride, &padding, &dilation, &ceil_mode};
static const cvr_attr_desc *const avg_attrs[] = {REQUANT,    &kernel_size, &stride, &padding,
                                                 &ceil_mode, &count_pad,   &divisor};
static const cvr_attr_desc *const adaptive_attrs[] = {REQUANT, &size};

/* Two for every multiply-add. */
static double product_flops(const cvr_infer_args *a) {
    const cvr_type *w = a->inputs[1], *y = a->outputs[0];
    return 2.0 * (double)cvr_numel(y->rank, y->shape) * (double)cvr_numel(w->rank - 1, &w->shape[1]);
}

static double element_flops(const cvr_infer_args *a) {
    const cvr_type *x = a->inputs[0];
    return (double)cvr_numel(x->rank, x->shape);
}

const cvr_reference_op int8_ops[INT8_OPS] = {
    {.op = {.struct_size = sizeof(cvr_op_desc),
            .name = "conv2d_int8",
            .version = 1,
            .trait = cvr_traits_mixed_f32,
            .min_inputs = 3,
            .max_inputs = 4,
            .n_outputs = 1,
            .n_attrs = sizeof conv_attrs / sizeof *conv_attrs,
            .attrs = conv_attrs,
            .optional = 8,
            .infer = int8_conv_infer,
            .flops = product_flops,
            .doc = "conv2d of u8 by i8, sums in i32, requantised to u8 (ONNX Runtime's QLinearConv)"},
     .reference = {sizeof(cvr_cpu_fn), int8_conv_run}},
    {.op = {.struct_size = sizeof(cvr_op_desc),
            .name = "linear_int8",
            .version = 1,
            .flags = CVR_OP_ORDER_AWARE,
            .trait = cvr_traits_mixed_f32,
            .min_inputs = 3,
            .max_inputs = 4,
            .n_outputs = 1,
            .n_attrs = sizeof requant_attrs / sizeof *requant_attrs,
            .attrs = requant_attrs,
            .optional = 8,
            .infer = int8_linear_infer,
            .flops = product_flops,
            .doc = "linear of u8 by i8, sums in i32, requantised to u8 (ONNX Runtime's QGemm)"},
     .reference = {sizeof(cvr_cpu_fn), int8_linear_run}},
    {.op = {.struct_size = sizeof(cvr_op_desc),
            .name = "add_int8",
            .version = 1,
            .flags = CVR_OP_ORDER_AWARE,
            .trait = cvr_traits_mixed_f32,
            .min_inputs = 2,
            .max_inputs = 2,
            .n_outputs = 1,
            .n_attrs = sizeof requant_attrs / sizeof *requant_attrs,
            .attrs = requant_attrs,
            .infer = int8_add_infer,
            .flops = element_flops,
            .doc = "sum of two u8 of different scales (ONNX Runtime's QLinearAdd)"},
     .reference = {sizeof(cvr_cpu_fn), int8_add_run}},
    {.op = {.struct_size = sizeof(cvr_op_desc),
            .name = "max_pool2d_int8",
            .version = 1,
            .trait = cvr_traits_mixed_f32,
            .min_inputs = 1,
            .max_inputs = 1,
            .n_outputs = 1,
            .n_attrs = sizeof max_attrs / sizeof *max_attrs,
            .attrs = max_attrs,
            .infer = int8_max_pool_infer,
            .flops = element_flops,
            .doc = "largest u8 of every window"},
     .reference = {sizeof(cvr_cpu_fn), int8_max_pool_run}},
    {.op = {.struct_size = sizeof(cvr_op_desc),
            .name = "avg_pool2d_int8",
            .version = 1,
            .trait = cvr_traits_mixed_f32,
            .min_inputs = 1,
            .max_inputs = 1,
            .n_outputs = 1,
            .n_attrs = sizeof avg_attrs / sizeof *avg_attrs,
            .attrs = avg_attrs,
            .infer = int8_avg_pool_infer,
            .flops = element_flops,
            .doc = "mean of the u8 of every window (ONNX Runtime's QLinearAveragePool)"},
     .reference = {sizeof(cvr_cpu_fn), int8_avg_pool_run}},
    {.op = {.struct_size = sizeof(cvr_op_desc),
            .name = "adaptive_avg_pool2d_int8",
            .version = 1,
            .trait = cvr_traits_mixed_f32,
            .min_inputs = 1,
            .max_inputs = 1,
            .n_outputs = 1,
            .n_attrs = sizeof adaptive_attrs / sizeof *adaptive_attrs,
            .attrs = adaptive_attrs,
            .infer = int8_adaptive_pool_infer,
            .flops = element_flops,
            .doc = "means of u8 down to a size (ONNX Runtime's QLinearGlobalAveragePool)"},
     .reference = {sizeof(cvr_cpu_fn), int8_adaptive_pool_run}},
};
