/* How convolutions are written in ONNX: Conv and ConvTranspose, which have the same weights. */
#include "conv_family.h"

#include <cvr/plugin/formats/onnx.h>

/* dilations, group, kernel_shape, pads (top, left, bottom, right), strides; returns their number */
static uint32_t put_attrs(const cvr_onnx *o, const cvr_conv2d_attrs *conv, int64_t pads[4], cvr_onnx_attr *attrs) {
    const cvr_type *weight = o->type(o, o->inputs[1]);
    for (int i = 0; i < 4; i++) pads[i] = conv->padding[i % 2];
    attrs[0] = cvr_onnx_ints("dilations", conv->dilation, 2);
    attrs[1] = cvr_onnx_int("group", conv->groups);
    attrs[2] = cvr_onnx_ints("kernel_shape", &weight->shape[2], 2);
    attrs[3] = cvr_onnx_ints("pads", pads, 4);
    attrs[4] = cvr_onnx_ints("strides", conv->stride, 2);
    return 5;
}

static int32_t write_conv(const cvr_onnx *o, cvr_error *err) {
    cvr_onnx_attr attrs[5];
    int64_t pads[4];
    const uint32_t n = put_attrs(o, o->attrs, pads, attrs);
    return cvr_onnx_op(o, "Conv", attrs, n, err);
}

static int32_t write_transpose(const cvr_onnx *o, cvr_error *err) {
    const cvr_conv_transpose2d_attrs *a = o->attrs;
    cvr_onnx_attr attrs[6];
    int64_t pads[4];
    uint32_t n = put_attrs(o, &a->conv, pads, attrs);
    if (a->output_padding[0] || a->output_padding[1])
        attrs[n++] = cvr_onnx_ints("output_padding", a->output_padding, 2);
    return cvr_onnx_op(o, "ConvTranspose", attrs, n, err);
}

static const void *on_integers(const char *name) {
    static const cvr_int8_trait int8 = {
        .struct_size = sizeof int8, .op = "conv2d_int8", .activations = 1, .weight = 2, .bias = 4};
    return strcmp(name, CVR_TRAIT_INT8) == 0 ? &int8 : cvr_traits_mixed_recompute(name);
}

CVR_ONNX_AXES_TRAITS(conv2d_traits, write_conv, conv2d_axes, on_integers)

static const void *transposed_on_integers(const char *name) {
    static const cvr_int8_trait int8 = {.struct_size = sizeof int8,
                                        .op = "conv_transpose2d_int8",
                                        .activations = 1,
                                        .weight = 2,
                                        .bias = 4,
                                        .flags = CVR_INT8_TRANSPOSED};
    return strcmp(name, CVR_TRAIT_INT8) == 0 ? &int8 : cvr_traits_mixed_recompute(name);
}

CVR_ONNX_AXES_TRAITS(conv_transpose2d_traits, write_transpose, conv_transpose2d_axes, transposed_on_integers)
