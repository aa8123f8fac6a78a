/* The convolution ops: attributes, gradients, descriptors. Shape rules are in conv_infer.c, meanings in ops/conv.h. */
#include "conv_family.h"

#define SIZE_MAX_ATTR 1073741824.0 /* 2^30: more than any axis */

const cvr_attr_desc conv_stride = CVR_ATTR_INIT(INT, "stride", "1", "step of the kernel: both, or height,width",
                                                .count = 2, CVR_ATTR_BETWEEN(1, SIZE_MAX_ATTR));
const cvr_attr_desc conv_padding = CVR_ATTR_INIT(INT, "padding", "0", "zeros on either side: both, or height,width",
                                                 .count = 2, CVR_ATTR_BETWEEN(0, SIZE_MAX_ATTR));
const cvr_attr_desc conv_dilation = CVR_ATTR_INIT(INT, "dilation", "1", "distance between taps: both, or height,width",
                                                  .count = 2, CVR_ATTR_BETWEEN(1, SIZE_MAX_ATTR));
const cvr_attr_desc conv_groups = CVR_ATTR_INIT(INT, "groups", "1", "groups of channels that do not see each other",
                                                CVR_ATTR_BETWEEN(1, SIZE_MAX_ATTR));
const cvr_attr_desc conv_input_size = CVR_ATTR_INIT(
    INT, "input_size", NULL, "height,width of the gradient that is made", .count = 2, CVR_ATTR_AT_LEAST(1));
static const cvr_attr_desc kernel_size =
    CVR_ATTR_INIT(INT, "kernel_size", NULL, "height,width of the kernel", .count = 2, CVR_ATTR_AT_LEAST(1));
static const cvr_attr_desc output_padding =
    CVR_ATTR_INIT(INT, "output_padding", "0", "rows and columns added at the end of the output", .count = 2,
                  CVR_ATTR_BETWEEN(0, SIZE_MAX_ATTR));

const cvr_attr_desc conv_activation =
    CVR_ATTR_INIT(CHOICE, "activation", "relu", "what is applied after all else", .choices = "none|relu|relu6");

static const cvr_attr_desc *const conv_attrs[] = {&conv_stride, &conv_padding, &conv_dilation, &conv_groups};
static const cvr_attr_desc *const backward_input_attrs[] = {&conv_stride, &conv_padding, &conv_dilation, &conv_groups,
                                                            &conv_input_size};
static const cvr_attr_desc *const backward_weight_attrs[] = {&conv_stride, &conv_padding, &conv_dilation, &conv_groups,
                                                             &kernel_size};
static const cvr_attr_desc *const transpose_attrs[] = {&conv_stride, &conv_padding, &conv_dilation, &conv_groups,
                                                       &output_padding};

/* dweight = conv2d_backward_weight(x, grad), of the size of `weight`. */
static int32_t weight_gradient(const cvr_builder *b, const cvr_conv2d_attrs *conv, const cvr_type *weight, cvr_value x,
                               cvr_value grad, cvr_value *out, cvr_error *err) {
    const cvr_conv2d_backward_weight_attrs attrs = {*conv, {weight->shape[2], weight->shape[3]}};
    return cvr_emit(b, "conv2d_backward_weight", &attrs, sizeof attrs, (const cvr_value[]){x, grad}, 2, out, err);
}

/* Gradients of x by `input_op`, of the weight by its two images, of the bias by a sum. */
static int32_t conv_gradients(const cvr_builder *b, cvr_grad_args *a, const char *input_op, int transposed,
                              cvr_error *err) {
    const cvr_conv2d_attrs *conv = a->attrs; /* the first attributes of all of them */

    const cvr_value x = a->inputs[0], weight = a->inputs[1], grad = a->grad_outputs[0];
    if (grad == CVR_NONE) return CVR_OK;
    if (a->needs[0]) {
        const cvr_type *t = b->type(b, x);
        const cvr_conv2d_backward_input_attrs attrs = {*conv, {t->shape[2], t->shape[3]}};
        CVR_TRY(
            cvr_emit(b, input_op, &attrs, sizeof attrs, (const cvr_value[]){grad, weight}, 2, &a->grad_inputs[0], err));
    }
    if (a->needs[1])
        CVR_TRY(weight_gradient(b, conv, b->type(b, weight), transposed ? grad : x, transposed ? x : grad,
                                &a->grad_inputs[1], err));
    if (a->n_inputs > 2 && a->needs[2])
        CVR_TRY(cvr_emit(b, "conv2d_backward_bias", NULL, 0, &grad, 1, &a->grad_inputs[2], err));
    return CVR_OK;
}

int32_t conv2d_grad(const cvr_builder *b, cvr_grad_args *a, cvr_error *err) {
    return conv_gradients(b, a, "conv2d_backward_input", 0, err);
}

static int32_t conv_transpose2d_grad(const cvr_builder *b, cvr_grad_args *a, cvr_error *err) {
    return conv_gradients(b, a, "conv_transpose2d_backward_input", 1, err);
}

/* Two for every multiply-add: each of the pixels of `pixels` meets a group's share of the weight. */
static double gemm_flops(const cvr_type *pixels, const cvr_type *weight) {
    return 2.0 * (double)pixels->shape[0] * (double)pixels->shape[2] * (double)pixels->shape[3] *
           (double)cvr_numel(4, weight->shape);
}

double conv_flops_by_output(const cvr_infer_args *a) { /* conv2d, conv_transpose2d_backward_input */
    return gemm_flops(a->outputs[0], a->inputs[1]);
}

double conv_flops_by_input(const cvr_infer_args *a) { /* conv2d_backward_input, conv_transpose2d */
    return gemm_flops(a->inputs[0], a->inputs[1]);
}

static double flops_of_weight(const cvr_infer_args *a) {
    return gemm_flops(a->inputs[1], a->outputs[0]);
}

static double flops_of_bias(const cvr_infer_args *a) {
    return (double)cvr_numel(4, a->inputs[0]->shape);
}

const cvr_reference_op conv_ops[CONV_OPS] = {
    {.op = {.struct_size = sizeof(cvr_op_desc),
            .name = "conv2d",
            .version = 1,
            .trait = conv2d_traits,
            .min_inputs = 2,
            .max_inputs = 3,
            .n_outputs = 1,
            .n_attrs = 4,
            .attrs = conv_attrs,
            .optional = 4,
            .infer = conv2d_infer,
            .grad = conv2d_grad,
            .flops = conv_flops_by_output,
            .doc = "y[n,k,p,q] = bias[k] + sum of x[n,c,p*s-pad+r*d,...] * weight[k,c,r,s] "
                   "(torch.nn.functional.conv2d)"},
     .reference = {sizeof(cvr_cpu_fn), conv_forward_run}},
    {.op = {.struct_size = sizeof(cvr_op_desc),
            .name = "conv2d_backward_input",
            .version = 1,
            .trait = cvr_traits_mixed,
            .min_inputs = 2,
            .max_inputs = 2,
            .n_outputs = 1,
            .n_attrs = 5,
            .attrs = backward_input_attrs,
            .infer = conv2d_backward_input_infer,
            .flops = conv_flops_by_input,
            .doc = "gradient of conv2d with respect to x, from grad and weight"},
     .reference = {sizeof(cvr_cpu_fn), conv_transposed_run}},
    {.op = {.struct_size = sizeof(cvr_op_desc),
            .name = "conv2d_backward_weight",
            .version = 1,
            .trait = cvr_traits_mixed_f32,
            .min_inputs = 2,
            .max_inputs = 2,
            .n_outputs = 1,
            .n_attrs = 5,
            .attrs = backward_weight_attrs,
            .infer = conv2d_backward_weight_infer,
            .flops = flops_of_weight,
            .doc = "gradient of conv2d with respect to weight, from x and grad"},
     .reference = {sizeof(cvr_cpu_fn), conv_weight_run}},
    {.op = {.struct_size = sizeof(cvr_op_desc),
            .name = "conv2d_backward_bias",
            .version = 1,
            .trait = cvr_traits_column_sum,
            .min_inputs = 1,
            .max_inputs = 1,
            .n_outputs = 1,
            .infer = conv2d_backward_bias_infer,
            .flops = flops_of_bias,
            .doc = "sum of grad over N, H and W"},
     .reference = {sizeof(cvr_cpu_fn), conv_bias_run}},
    {.op = {.struct_size = sizeof(cvr_op_desc),
            .name = "conv_transpose2d",
            .version = 1,
            .trait = conv_transpose2d_traits,
            .min_inputs = 2,
            .max_inputs = 3,
            .n_outputs = 1,
            .n_attrs = 5,
            .attrs = transpose_attrs,
            .optional = 4,
            .infer = conv_transpose2d_infer,
            .grad = conv_transpose2d_grad,
            .flops = conv_flops_by_input,
            .doc = "conv2d's gradient with respect to its input, as a layer "
                   "(torch.nn.functional.conv_transpose2d)"},
     .reference = {sizeof(cvr_cpu_fn), conv_transposed_run}},
    {.op = {.struct_size = sizeof(cvr_op_desc),
            .name = "conv_transpose2d_backward_input",
            .version = 1,
            .trait = cvr_traits_mixed,
            .min_inputs = 2,
            .max_inputs = 2,
            .n_outputs = 1,
            .n_attrs = 5,
            .attrs = backward_input_attrs,
            .infer = conv_transpose2d_backward_input_infer,
            .flops = conv_flops_by_output,
            .doc = "gradient of conv_transpose2d with respect to x: conv2d of grad, cut to input_size"},
     .reference = {sizeof(cvr_cpu_fn), conv_forward_run}},
};
