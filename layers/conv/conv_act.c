/*
 * A convolution with what follows it, as passes fuse it: batch norm by running statistics, a residual, an activation.
 * Formulas in ops/conv.h; the op means what its decomposition says. Its gradient needs nothing of what lies between the
 * convolution and the result: that of relu and relu6 can be told from the result, and a batch norm has none for its
 * scale and shift, which must be frozen.
 */
#include "conv_family.h"

#include <cvr/plugin/ops/norm.h>

static const cvr_attr_desc eps = CVR_ATTR_INIT(FLOAT, "eps", "1e-05", "added to the variance", CVR_ATTR_AT_LEAST(0));
static const cvr_attr_desc *const attrs_of[] = {&conv_stride, &conv_padding, &conv_dilation,
                                                &conv_groups, &eps,          &conv_activation};

enum { X, WEIGHT, BIAS, SCALE, SHIFT, MEAN, VAR, RESIDUAL, INPUTS };

static int32_t act_infer(const cvr_infer_args *a, cvr_error *err) {
    const cvr_conv2d_act_attrs *attrs = a->attrs;
    const cvr_infer_args conv = {
        sizeof conv, &attrs->conv, a->inputs, a->outputs, a->n_inputs < 3 ? a->n_inputs : 3, 1};
    CVR_TRY(conv2d_infer(&conv, err));
    const cvr_type *y = a->outputs[0];
    for (uint32_t i = SCALE; i <= VAR; i++) CVR_TRY(conv_check_vector("conv2d_act", a, i, y, err));
    if ((a->n_inputs > MEAN && a->inputs[MEAN]) != (a->n_inputs > VAR && a->inputs[VAR]))
        return cvr_fail(err, CVR_ERR_INVALID, "conv2d_act: mean and variance come together");
    CVR_TRY(conv_check_like("conv2d_act", a, RESIDUAL, y, err));
    return conv_check_activation("conv2d_act", attrs->activation, err);
}

/* y = a(batch_norm2d_inference(conv2d(x)) + residual) */
static int32_t act_decompose(const cvr_builder *b, cvr_decompose_args *a, cvr_error *err) {
    static const char *const ops[] = {NULL, "relu", "relu6"};
    const cvr_conv2d_act_attrs *attrs = a->attrs;
    cvr_value in[INPUTS] = {CVR_NONE}, *y = &a->outputs[0];
    for (uint32_t i = 0; i < a->n_inputs; i++) in[i] = a->inputs[i];
    CVR_TRY(cvr_emit(b, "conv2d", &attrs->conv, sizeof attrs->conv, in, 3, y, err));
    if (in[MEAN]) {
        const cvr_batch_norm2d_inference_attrs norm = {attrs->eps};
        const cvr_value vectors[5] = {*y, in[SCALE], in[SHIFT], in[MEAN], in[VAR]};
        CVR_TRY(cvr_emit(b, "batch_norm2d_inference", &norm, sizeof norm, vectors, 5, y, err));
    }
    const cvr_value sum[2] = {*y, in[RESIDUAL]};
    if (in[RESIDUAL]) CVR_TRY(cvr_emit(b, "add", NULL, 0, sum, 2, y, err));
    const cvr_value before = *y;
    if (ops[attrs->activation]) CVR_TRY(cvr_emit(b, ops[attrs->activation], NULL, 0, &before, 1, y, err));
    return CVR_OK;
}

/* g, the gradient of what the activation was applied to, which is also the residual's. */
static int32_t before_activation(const cvr_builder *b, const cvr_grad_args *a, cvr_value *g, cvr_error *err) {
    static const char *const ops[] = {NULL, "relu_backward", "relu6_backward"};
    const char *op = ops[((const cvr_conv2d_act_attrs *)a->attrs)->activation];
    const cvr_value pair[2] = {a->outputs[0], a->grad_outputs[0]};
    *g = a->grad_outputs[0];
    return op ? cvr_emit(b, op, NULL, 0, pair, 2, g, err) : CVR_OK;
}

/* dx = g * scale / sqrt(var + eps): it depends on no element of the convolution's result. */
static int32_t before_norm(const cvr_builder *b, const cvr_grad_args *a, cvr_value *g, cvr_error *err) {
    const cvr_batch_norm2d_inference_attrs attrs = {((const cvr_conv2d_act_attrs *)a->attrs)->eps};
    const cvr_value in[5] = {CVR_NONE, *g, a->inputs[SCALE], a->inputs[MEAN], a->inputs[VAR]};
    cvr_value out[3];
    const cvr_op_call call = {.struct_size = sizeof call,
                              .op = "batch_norm2d_inference_backward",
                              .attrs = &attrs,
                              .attrs_size = sizeof attrs,
                              .inputs = in,
                              .outputs = out,
                              .n_inputs = 5,
                              .n_outputs = 3};
    if (a->needs[SCALE] || a->needs[SHIFT])
        return cvr_fail(err, CVR_ERR_UNSUPPORTED, "conv2d_act: no gradient for the scale and shift of a batch norm");
    CVR_TRY(b->emit(b, &call, err));
    *g = out[0];
    return CVR_OK;
}

static int32_t act_grad(const cvr_builder *b, cvr_grad_args *a, cvr_error *err) {
    cvr_value g, sum;
    CVR_TRY(before_activation(b, a, &sum, err));
    g = sum;
    if (a->n_inputs > MEAN && a->inputs[MEAN]) CVR_TRY(before_norm(b, a, &g, err));
    cvr_grad_args conv = *a;
    conv.grad_outputs = &g;
    conv.n_inputs = a->n_inputs < 3 ? a->n_inputs : 3;
    CVR_TRY(conv2d_grad(b, &conv, err));
    if (a->n_inputs > RESIDUAL && a->needs[RESIDUAL]) a->grad_inputs[RESIDUAL] = sum;
    return CVR_OK;
}

const cvr_op_desc conv_act_op = {.struct_size = sizeof(cvr_op_desc),
                                 .name = "conv2d_act",
                                 .version = 1,
                                 .trait = cvr_traits_mixed_recompute,
                                 .min_inputs = 2,
                                 .max_inputs = INPUTS,
                                 .n_outputs = 1,
                                 .n_attrs = 6,
                                 .attrs = attrs_of,
                                 .optional = 0xFC,
                                 .infer = act_infer,
                                 .grad = act_grad,
                                 .decompose = act_decompose,
                                 .flops = conv_flops_by_output,
                                 .doc = "activation(batch_norm2d_inference(conv2d(x)) + residual)"};
