/*
 * Convolutions (<cvr/plugin/ops/conv.h>). Memory is (N,H,W,C) and (K,R,S,C), which the dimension numbers say; only
 * grouped gradients move weights. A gradient of the input is a convolution with steps between the elements of what came
 * in, a weight's gradient one over pictures, where channels and pictures change places.
 */
#include "emit.h"
#include "emit_windows.h"

/* In the type of the activations: both bf16, or both f32. */
static hlo_value as(hlo *h, hlo_value v, uint32_t dtype) {
    return hlo_convert(h, v, dtype);
}

static uint32_t type_of_products(const hlo *h) {
    const uint32_t dtype = h->a->inputs[0]->dtype;
    return dtype == CVR_BF16 || dtype == CVR_F16 ? dtype : CVR_F32;
}

static hlo_value with_bias(hlo *h, hlo_value y, uint32_t bias) {
    return hlo_has(h, bias) ? hlo_add(h, y, hlo_along(h, hlo_input(h, bias), y, 3)) : y;
}

static hlo_convolution plain(const cvr_conv2d_attrs *a) {
    hlo_convolution c = {.x_dilation = {1, 1}, .w_dilation = {1, 1}, .step = {1, 1}, .groups = 1, .batch_groups = 1};
    c.groups = a->groups;
    return c;
}

/* Padding that is negative is taken off what it would be taken off. */
static hlo_value cut_padding(hlo *h, hlo_value x, hlo_convolution *c) {
    int64_t low[4] = {0}, high[4] = {0};
    for (int i = 0; i < 2; i++) {
        if (c->low[i] < 0) low[1 + i] = c->low[i];
        if (c->high[i] < 0) high[1 + i] = c->high[i];
        c->low[i] -= low[1 + i];
        c->high[i] -= high[1 + i];
    }
    return hlo_pad(h, x, hlo_scalar(h, x.dtype, 0), low, high, NULL);
}

static hlo_value f32_result(const cvr_tensor *t) {
    hlo_value v = hlo_like(t);
    v.dtype = CVR_F32;
    return v;
}

hlo_value windows_convolve(hlo *h, const cvr_conv2d_attrs *a, hlo_value x, hlo_value weight, hlo_value result) {
    hlo_convolution c = plain(a);
    c.axes = "[b, 0, 1, f]x[o, 0, 1, i]->[b, 0, 1, f]";
    c.result = result;
    for (int i = 0; i < 2; i++) {
        c.step[i] = a->stride[i];
        c.w_dilation[i] = a->dilation[i];
        c.low[i] = a->padding[i];
        c.high[i] = (result.shape[1 + i] - 1) * a->stride[i] + a->dilation[i] * (weight.shape[1 + i] - 1) + 1 -
                    x.shape[1 + i] - a->padding[i];
    }
    x = cut_padding(h, x, &c);
    return hlo_convolve(h, x, weight, &c);
}

HLO_EMITTER(conv2d) {
    const uint32_t dtype = type_of_products(h);
    const hlo_value y = windows_convolve(h, HLO_ATTRS(cvr_conv2d_attrs), as(h, hlo_input_raw(h, 0), dtype),
                                         as(h, hlo_input_raw(h, 1), dtype), f32_result(h->a->outputs[0]));
    hlo_result(h, with_bias(h, y, 2));
}

/* (K,R,S,C/g) as (K/g,R,S,C): what each group's filters have for all channels. */
static hlo_value across_groups(hlo *h, hlo_value w, int64_t groups) {
    if (groups == 1) return w;
    const int64_t k = w.shape[0] / groups, r = w.shape[1], s = w.shape[2], c = w.shape[3];
    const int64_t apart[5] = {groups, k, r, s, c}, together[4] = {k, r, s, groups * c};
    static const uint32_t order[5] = {1, 2, 3, 0, 4};
    return hlo_reshape(h, hlo_transpose(h, hlo_reshape(h, w, 5, apart), order), 4, together);
}

/* x (N,H,W,C) from grad (N,P,Q,K) and weight (K,R,S,C/groups): the transpose of conv2d. */
hlo_value windows_transposed(hlo *h, const cvr_conv2d_attrs *a, hlo_value grad, hlo_value weight, hlo_value result) {
    hlo_convolution c = plain(a);
    int64_t low[4] = {0}, high[4] = {0};
    c.axes = "[b, 0, 1, f]x[i, 0, 1, o]->[b, 0, 1, f]";
    for (int i = 0; i < 2; i++) {
        const int64_t reach = a->dilation[i] * (weight.shape[1 + i] - 1);
        c.x_dilation[i] = a->stride[i];
        c.w_dilation[i] = a->dilation[i];
        c.low[i] = reach - a->padding[i];
        c.high[i] = result.shape[1 + i] - 1 - (grad.shape[1 + i] - 1) * a->stride[i] + a->padding[i];
        /* negative padding is taken off the result instead, since there are gaps between grad's elements */
        low[1 + i] = c.low[i] < 0 ? c.low[i] : 0;
        high[1 + i] = c.high[i] < 0 ? c.high[i] : 0;
        c.low[i] -= low[1 + i];
        c.high[i] -= high[1 + i];
    }
    c.result = result;
    for (int i = 1; i < 3; i++) c.result.shape[i] -= low[i] + high[i];
    weight = hlo_reverse(h, across_groups(h, weight, a->groups), 6);
    const hlo_value x = hlo_convolve(h, grad, weight, &c);
    const hlo_value none = result.dtype == CVR_I32 ? hlo_integer(h, CVR_I32, 0) : hlo_f32(h, 0);
    return hlo_pad(h, x, none, low, high, NULL);
}

HLO_EMITTER(conv2d_backward_input) {
    const uint32_t dtype = type_of_products(h);
    hlo_result(h, windows_transposed(h, &HLO_ATTRS(cvr_conv2d_backward_input_attrs)->conv,
                                     as(h, hlo_input_raw(h, 0), dtype), as(h, hlo_input_raw(h, 1), dtype),
                                     f32_result(h->a->outputs[0])));
}

HLO_EMITTER(conv_transpose2d) {
    const uint32_t dtype = type_of_products(h);
    const hlo_value y =
        windows_transposed(h, &HLO_ATTRS(cvr_conv_transpose2d_attrs)->conv, as(h, hlo_input_raw(h, 0), dtype),
                           as(h, hlo_input_raw(h, 1), dtype), f32_result(h->a->outputs[0]));
    hlo_result(h, with_bias(h, y, 2));
}

HLO_EMITTER(conv_transpose2d_backward_input) {
    const uint32_t dtype = type_of_products(h);
    hlo_result(h,
               windows_convolve(h, &HLO_ATTRS(cvr_conv2d_backward_input_attrs)->conv, as(h, hlo_input_raw(h, 0), dtype),
                                as(h, hlo_input_raw(h, 1), dtype), f32_result(h->a->outputs[0])));
}

HLO_EMITTER(conv2d_backward_weight) {
    const cvr_conv2d_attrs *a = &HLO_ATTRS(cvr_conv2d_backward_weight_attrs)->conv;
    const uint32_t dtype = type_of_products(h);
    hlo_value x = as(h, hlo_input_raw(h, 0), dtype), grad = as(h, hlo_input_raw(h, 1), dtype);
    hlo_convolution c = plain(a);
    c.axes = "[f, 0, 1, b]x[i, 0, 1, o]->[f, 0, 1, b]";
    c.groups = 1;
    c.batch_groups = a->groups;
    c.result = f32_result(h->a->outputs[0]);
    for (int i = 0; i < 2; i++) {
        c.step[i] = a->dilation[i];
        c.w_dilation[i] = a->stride[i];
        c.low[i] = a->padding[i];
        c.high[i] = a->dilation[i] * (c.result.shape[1 + i] - 1) + a->stride[i] * (grad.shape[1 + i] - 1) + 1 -
                    x.shape[1 + i] - a->padding[i];
    }
    x = cut_padding(h, x, &c);
    hlo_result(h, hlo_convolve(h, x, grad, &c));
}

HLO_EMITTER(conv2d_backward_bias) {
    hlo_result(h, hlo_sum(h, hlo_input(h, 0), 7));
}

const hlo_op emit_conv_ops[] = {HLO_OP("conv2d", conv2d),
                                HLO_OP("conv2d_backward_input", conv2d_backward_input),
                                HLO_OP("conv2d_backward_weight", conv2d_backward_weight),
                                HLO_OP("conv2d_backward_bias", conv2d_backward_bias),
                                HLO_OP("conv_transpose2d", conv_transpose2d),
                                HLO_OP("conv_transpose2d_backward_input", conv_transpose2d_backward_input),
                                {.op = NULL}};
