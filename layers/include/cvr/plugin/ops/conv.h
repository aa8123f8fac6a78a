/*
 * Attributes of the convolution ops, version 1 (plugin "layer_conv"). All tensors are f32, shapes are logical; see
 * abi.h for the memory of rank-4 values. Semantics: torch.nn.functional.conv2d and conv_transpose2d.
 *
 * With sh, sw = stride, ph, pw = padding, dh, dw = dilation, and channel c of group g = k / (K / groups):
 *
 * conv2d                  x (N,C,H,W), weight (K,C/groups,R,S), [bias (K)] -> y (N,K,P,Q)
 *     y[n,k,p,q] = bias[k] + sum over c,r,s of x[n,c,p*sh-ph+r*dh,q*sw-pw+s*dw] * weight[k,c,r,s], 0 outside of x
 *     P = floor((H + 2*ph - dh*(R-1) - 1) / sh) + 1, Q likewise
 * conv2d_backward_input   grad (N,K,P,Q), weight (K,C/groups,R,S) -> (N,C,H,W), H and W from `input_size`
 *     dx[n,c,h,w] = sum over k,r,s with h = p*sh-ph+r*dh, w = q*sw-pw+s*dw of grad[n,k,p,q] * weight[k,c,r,s]
 * conv2d_backward_weight  x (N,C,H,W), grad (N,K,P,Q) -> (K,C/groups,R,S), R and S from `kernel_size`
 *     dweight[k,c,r,s] = sum over n,p,q of grad[n,k,p,q] * x[n,c,p*sh-ph+r*dh,q*sw-pw+s*dw]
 *     P and Q may be smaller than conv2d would make them: the missing positions count as zero
 * conv2d_backward_bias    grad (N,K,P,Q) -> (K); no attributes
 *     dbias[k] = sum over n,p,q of grad[n,k,p,q]
 *
 * conv_transpose2d        x (N,C,H,W), weight (C,K/groups,R,S), [bias (K)] -> y (N,K,P,Q)
 *     y[n,k,p,q] = bias[k] + sum over c,r,s with p = h*sh-ph+r*dh, q = w*sw-pw+s*dw of x[n,c,h,w] * weight[c,k,r,s]
 *     P = (H-1)*sh - 2*ph + dh*(R-1) + output_padding + 1, Q likewise
 * conv_transpose2d_backward_input  grad (N,K,P,Q), weight (C,K/groups,R,S) -> (N,C,H,W), H and W from `input_size`
 *     dx[n,c,h,w] = sum over k,r,s of grad[n,k,h*sh-ph+r*dh,w*sw-pw+s*dw] * weight[c,k,r,s]: a conv2d, cut to (H,W)
 * The weight's gradient is conv2d_backward_weight(x = grad, grad = x), the bias's is conv2d_backward_bias(grad).
 *
 * Fused, by passes:
 * conv2d_stats            the inputs of conv2d -> y (N,K,P,Q), mean (K), var (K); cvr_conv2d_attrs
 *     y = conv2d(x); mean, var = batch_norm2d_stats(y), for the batch norm that follows in training
 * conv2d_backward_input_norm  grad (N,K,P,Q), weight (K,C/groups,R,S), [other (N,C,H,W)], x (N,C,H,W), [scale (C)],
 *                         mean (C), invstd (C), [shift (C)], [y (N,C,H,W)] -> g (N,C,H,W), dscale (C), dshift (C)
 *     batch_norm2d_backward_sums of x and conv2d_backward_input(grad, weight) + other, for the batch norm (scale,
 *     shift) whose output the convolution read; cvr_conv2d_backward_input_norm_attrs
 * conv2d_act              x, weight, [bias (K)], [scale (K)], [shift (K)], [mean (K), var (K)], [residual (N,K,P,Q)]
 *                         -> y (N,K,P,Q); cvr_conv2d_act_attrs; scale and shift only with mean and var, and without a
 *                         gradient of theirs
 *     y = a((conv2d(x) - mean[k]) / sqrt(var[k] + eps) * scale[k] + shift[k] + residual), a as in ops/norm.h
 */
#ifndef CVR_PLUGIN_OPS_CONV_H
#define CVR_PLUGIN_OPS_CONV_H

#include <cvr/plugin/abi.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Pairs are (height, width) everywhere. */
typedef struct cvr_conv2d_attrs {
    int64_t stride[2];
    int64_t padding[2];
    int64_t dilation[2];
    int64_t groups;
} cvr_conv2d_attrs;

/* conv2d_backward_input and conv_transpose2d_backward_input. */
typedef struct cvr_conv2d_backward_input_attrs {
    cvr_conv2d_attrs conv;
    int64_t input_size[2];
} cvr_conv2d_backward_input_attrs;

typedef struct cvr_conv2d_backward_input_norm_attrs {
    cvr_conv2d_backward_input_attrs conv;
    int64_t activation; /* CVR_ACTIVATION_* of ops/norm.h */
} cvr_conv2d_backward_input_norm_attrs;

typedef struct cvr_conv2d_backward_weight_attrs {
    cvr_conv2d_attrs conv;
    int64_t kernel_size[2];
} cvr_conv2d_backward_weight_attrs;

typedef struct cvr_conv_transpose2d_attrs {
    cvr_conv2d_attrs conv;
    int64_t output_padding[2];
} cvr_conv_transpose2d_attrs;

typedef struct cvr_conv2d_act_attrs {
    cvr_conv2d_attrs conv;
    double eps;
    int64_t activation; /* CVR_ACTIVATION_* of ops/norm.h */
} cvr_conv2d_act_attrs;

#ifdef __cplusplus
}
#endif

CVR_STATIC_ASSERT(sizeof(cvr_conv2d_attrs) == 56, "cvr_conv2d_attrs has padding");
CVR_STATIC_ASSERT(sizeof(cvr_conv2d_backward_input_attrs) == 72, "cvr_conv2d_backward_input_attrs has padding");
CVR_STATIC_ASSERT(sizeof(cvr_conv2d_backward_input_norm_attrs) == 80,
                  "cvr_conv2d_backward_input_norm_attrs has padding");
CVR_STATIC_ASSERT(sizeof(cvr_conv2d_backward_weight_attrs) == 72, "cvr_conv2d_backward_weight_attrs has padding");
CVR_STATIC_ASSERT(sizeof(cvr_conv2d_act_attrs) == 72, "cvr_conv2d_act_attrs has padding");
CVR_STATIC_ASSERT(sizeof(cvr_conv_transpose2d_attrs) == 72, "cvr_conv_transpose2d_attrs has padding");

#endif
