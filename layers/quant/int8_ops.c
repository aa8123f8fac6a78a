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

static const cvr_attr_desc output_padding = CVR_ATTR_INIT(INT, "output_padding", "0",
                                                          "rows and columns added at the end of the output", .count = 2,
                                                          CVR_ATTR_AT_LEAST(0)),
                           target = CVR_ATTR_INIT(INT, "size", NULL, "height,width of the output", .count = 2,
                                                  CVR_ATTR_BETWEEN(1, 1 << 30)),
                           scale_factor = CVR_ATTR_INIT(FLOAT, "scale_factor", "0",
                                                        "step between pixels, inverted; 0: the ratio of the sizes",
                                                        .count = 2, CVR_ATTR_AT_LEAST(0)),
                           mode = CVR_ATTR_INIT(CHOICE, "mode", "nearest", "how pixels between pixels are made",
                                                .choices = "nearest|bilinear"),
                           corners = CVR_ATTR_INIT(BOOL, "align_corners", "no",
                                                   "corner pixels stay where they are (bilinear)");

#define REQUANT &x_scale, &x_zero, &b_scale, &b_zero, &y_scale, &y_zero
static const cvr_attr_desc *const requant_attrs[] = {REQUANT};
static const cvr_attr_desc *const conv_attrs[] = {REQUANT, &stride, &padding, &dilation, &groups};
static const cvr_attr_desc *const max_attrs[] = {REQUANT, &kernel_size, &stride, &padding, &dilation, &ceil_mode};
static const cvr_attr_desc *const avg_attrs[] = {REQUANT,    &kernel_size, &stride, &padding,
                                                 &ceil_mode, &count_pad,   &divisor};
static const cvr_attr_desc *const adaptive_attrs[] = {REQUANT, &size};
static const cvr_attr_desc *const transposed_attrs[] = {REQUANT,   &stride, &padding,
                                                        &dilation, &groups, &output_padding};
static const cvr_attr_desc *const upsample_attrs[] = {REQUANT, &target, &scale_factor, &mode, &corners};

/* Two for every multiply-add. */
static double product_flops(const cvr_infer_args *a) {
    const cvr_type *w = a->inputs[1], *y = a->outputs[0];
    return 2.0 * (double)cvr_numel(y->rank, y->shape) * (double)cvr_numel(w->rank - 1, &w->shape[1]);
}

/* Of a transposed convolution, which multiplies each pixel of x with the whole weight. */
static double transposed_flops(const cvr_infer_args *a) {
    const cvr_type *x = a->inputs[0], *w = a->inputs[1];
    return 2.0 * (double)(x->shape[0] * x->shape[2] * x->shape[3]) * (double)cvr_numel(w->rank, w->shape);
}

static const cvr_attr_desc num_heads =
    CVR_ATTR_INIT(INT, "num_heads", NULL, "heads side by side in the last axis", CVR_ATTR_AT_LEAST(1));
static const cvr_attr_desc *const attention_attrs[] = {REQUANT, &num_heads};

/* Two products of (L,E) with (S,E) a head. */
static double attention_flops(const cvr_infer_args *a) {
    const cvr_type *q = a->inputs[0];
    return 4.0 * (double)cvr_numel(3, q->shape) * (double)a->inputs[1]->shape[1];
}

#define INT8_OP(name_, flags_, min_, max_, optional_, attrs_, stem_, flops_, doc_)                                     \
    {                                                                                                                  \
        .op = {.struct_size = sizeof(cvr_op_desc),                                                                     \
               .name = name_,                                                                                          \
               .version = 1,                                                                                           \
               .flags = flags_,                                                                                        \
               .trait = cvr_traits_mixed_f32,                                                                          \
               .min_inputs = min_,                                                                                     \
               .max_inputs = max_,                                                                                     \
               .n_outputs = 1,                                                                                         \
               .n_attrs = sizeof attrs_ / sizeof *attrs_,                                                              \
               .attrs = attrs_,                                                                                        \
               .optional = optional_,                                                                                  \
               .infer = int8_##stem_##_infer,                                                                          \
               .flops = flops_,                                                                                        \
               .doc = doc_},                                                                                           \
        .reference = {                                                                                                 \
            sizeof(cvr_cpu_fn),                                                                                        \
            int8_##stem_##_run                                                                                         \
        }                                                                                                              \
    }

const cvr_reference_op int8_ops[INT8_OPS] = {
    INT8_OP("conv2d_int8", 0, 3, 4, 8, conv_attrs, conv, product_flops,
            "conv2d of u8 by i8, sums in i32, requantised to u8 (ONNX Runtime's QLinearConv)"),
    INT8_OP("conv_transpose2d_int8", 0, 3, 4, 8, transposed_attrs, transposed, transposed_flops,
            "conv_transpose2d of u8 by i8, sums in i32, requantised to u8"),
    INT8_OP("linear_int8", CVR_OP_ORDER_AWARE, 3, 4, 8, requant_attrs, linear, product_flops,
            "linear of u8 by i8, sums in i32, requantised to u8 (ONNX Runtime's QGemm)"),
    INT8_OP("add_int8", CVR_OP_ORDER_AWARE, 2, 2, 0, requant_attrs, add, quant_count_elements,
            "sum of two u8 of different scales (ONNX Runtime's QLinearAdd)"),
    INT8_OP("max_pool2d_int8", 0, 1, 1, 0, max_attrs, max_pool, quant_count_elements, "largest u8 of every window"),
    INT8_OP("avg_pool2d_int8", 0, 1, 1, 0, avg_attrs, avg_pool, quant_count_elements,
            "mean of the u8 of every window (ONNX Runtime's QLinearAveragePool)"),
    INT8_OP("adaptive_avg_pool2d_int8", 0, 1, 1, 0, adaptive_attrs, adaptive_pool, quant_count_elements,
            "means of u8 down to a size (ONNX Runtime's QLinearGlobalAveragePool)"),
    INT8_OP("upsample_int8", 0, 1, 1, 0, upsample_attrs, upsample, quant_count_elements,
            "nearest or bilinear resize of u8"),
    INT8_OP("requantize_int8", CVR_OP_ORDER_FREE, 1, 1, 0, requant_attrs, requantize, quant_count_elements,
            "u8 of one scale as u8 of another"),
    {.op = {.struct_size = sizeof(cvr_op_desc),
            .name = "scaled_dot_product_attention_int8",
            .version = 1,
            .trait = cvr_traits_mixed_f32,
            .min_inputs = 3,
            .max_inputs = 3,
            .n_outputs = 1,
            .n_attrs = sizeof attention_attrs / sizeof *attention_attrs,
            .attrs = attention_attrs,
            .infer = int8_attention_infer,
            .flops = attention_flops,
            .doc = "attention of u8, both products in whole numbers"},
     .reference = {sizeof(cvr_cpu_fn), int8_attention_run},
     .workspace = int8_attention_workspace},
};
