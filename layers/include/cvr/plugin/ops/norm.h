/*
 * Attributes of the normalisation ops, version 1 (plugin "layer_norm"). All tensors are f32 unless said otherwise,
 * shapes are logical. Semantics: torch.nn.functional.batch_norm, layer_norm and group_norm, and torchvision's
 * LayerNorm2d. The variance of a set is its mean squared distance from the mean (biased), invstd = 1 / sqrt(var + eps).
 *
 * batch_norm2d            x (N,C,H,W), [weight (C)], [bias (C)], [running_mean (C)], [running_var (C)],
 *                         [num_batches_tracked () i64] -> y (N,C,H,W), mean (C), invstd (C)
 *     mean, var over n,h,w (M = N*H*W > 1 elements); y = (x - mean[c]) * invstd[c] * weight[c] + bias[c]
 *     In place: running_mean = (1-momentum) * running_mean + momentum * mean,
 *     running_var = (1-momentum) * running_var + momentum * var * M / (M-1), num_batches_tracked += 1
 * batch_norm2d_backward   x, grad (N,C,H,W), [weight (C)], mean (C), invstd (C) -> dx (N,C,H,W), dweight (C), dbias (C)
 *     xhat = (x - mean[c]) * invstd[c], dbias = sum of grad, dweight = sum of grad * xhat, over n,h,w
 *     dx = weight[c] * invstd[c] * (grad - dbias[c] / M - xhat * dweight[c] / M); no attributes
 *
 * batch_norm2d_inference  x (N,C,H,W), [weight (C)], [bias (C)], running_mean (C), running_var (C) -> y (N,C,H,W)
 *     y = (x - running_mean[c]) / sqrt(running_var[c] + eps) * weight[c] + bias[c]
 * batch_norm2d_inference_backward  [x (N,C,H,W)], grad (N,C,H,W), [weight (C)], running_mean (C), running_var (C)
 *                         -> dx (N,C,H,W), dweight (C), dbias (C)
 *     dx = grad * weight[c] / sqrt(running_var[c] + eps); dweight, dbias as above, and 0 without x
 *
 * Fused, by passes; activation a is none, relu, relu6 or, with batch_norm2d_act, _apply and _backward_sums where there
 * is no residual, silu (CVR_ACTIVATION_*); cvr_batch_norm2d_act_attrs for the first three: batch_norm2d_act        the
 * inputs of batch_norm2d, [residual (N,C,H,W)], [mean (C), var (C)]
 *                         -> y (N,C,H,W), mean (C), invstd (C)
 *     y = a(batch_norm2d(x) + residual); mean and var are x's, where whoever made x has them already (conv2d_stats):
 *     no gradient flows to them, as x's gradient has their part in it
 * batch_norm2d_act_backward  x, grad (N,C,H,W), [weight (C)], mean (C), invstd (C), y (N,C,H,W), [bias (C)]
 *                         -> dx (N,C,H,W), dweight (C), dbias (C): batch_norm2d_backward of a_backward(y, grad)
 *     Without a residual y is what x, mean, invstd, weight and bias make; a kernel may make it anew and not read it.
 * batch_norm2d_add_act_backward  the same inputs, with the y of a sum -> dx, dweight, dbias, dresidual (N,C,H,W)
 *
 * batch_norm2d_backward_sums  x, grad (N,C,H,W), [weight (C)], mean (C), invstd (C), [bias (C)], [y (N,C,H,W)]
 *                         -> g (N,C,H,W), dweight (C), dbias (C); cvr_batch_norm2d_apply_attrs
 *     g = a_backward(y, grad), y where it is absent what batch_norm2d_apply makes, and with silu, where it is always
 *     absent, silu_backward(what batch_norm2d_apply makes without it, grad); dbias = sum of g, dweight = sum of g *
 * xhat, over n,h,w batch_norm2d_backward_apply  x, g (N,C,H,W), [weight (C)], mean (C), invstd (C), dweight (C), dbias
 * (C)
 *                         -> dx (N,C,H,W) as batch_norm2d_backward; no attributes
 *     Together these two are batch_norm2d_act_backward, or with y, batch_norm2d_add_act_backward, whose dresidual is g;
 *     with silu they are batch_norm2d_act's gradient by themselves, so that silu's is computed once.
 *
 * batch_norm2d_stats      x (N,C,H,W) -> mean (C), var (C), over n,h,w; no attributes
 *
 * batch_norm2d_apply      x (N,C,H,W), [weight (C)], [bias (C)], mean (C), invstd (C), [residual (N,C,H,W)]
 *                         -> y (N,C,H,W); cvr_batch_norm2d_apply_attrs
 *     y = a((x - mean[c]) * (invstd[c] * weight[c]) + bias[c] + residual): what batch_norm2d and batch_norm2d_act gave,
 *     to the bit, from the numbers that they left.
 *
 * layer_norm              x, [weight], [bias] -> y like x, mean (G), invstd (G); cvr_layer_norm_attrs
 *     mean, var over the axes from `begin` up to but without `end`; the others make G groups, numbered row-major in
 *     their logical order. weight and bias have the shape of the axes begin..end-1, row-major (rank 4: as abi.h says).
 *     y = (x - mean[g]) * invstd[g] * weight + bias
 * layer_norm_backward     x, grad, [weight], mean (G), invstd (G) -> dx, dweight, dbias; cvr_layer_norm_attrs
 *     With xhat = (x - mean) * invstd and e = grad * weight, over the D elements of a group:
 *     dx = invstd * (e - sum(e) / D - xhat * sum(e * xhat) / D)
 *     dweight = sum over groups of grad * xhat, dbias = sum over groups of grad
 *
 * group_norm              x (N,C,...), [weight (C)], [bias (C)] -> y like x, mean (N,G), invstd (N,G)
 *     mean, var over the C/G channels of group g and all positions; y = (x - mean[n,g]) * invstd[n,g] * weight[c] +
 *     bias[c]
 * group_norm_backward     x, grad, [weight (C)], mean (N,G), invstd (N,G) -> dx, dweight (C), dbias (C)
 *     as layer_norm_backward, with dweight and dbias summed over n and all positions
 *
 * l2_norm2d               x (N,C,H,W) -> y like x; cvr_l2_norm2d_attrs
 *     y = x / max(|x|, eps), |x| = sqrt(sum of x^2) over the channels of a pixel
 * l2_norm2d_backward      x, grad -> dx: (grad - y * sum of grad * y) / |x|, grad / eps where |x| <= eps
 */
#ifndef CVR_PLUGIN_OPS_NORM_H
#define CVR_PLUGIN_OPS_NORM_H

#include <cvr/plugin/abi.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct cvr_batch_norm2d_attrs {
    double momentum;
    double eps;
} cvr_batch_norm2d_attrs;

#define CVR_ACTIVATION_NONE 0
#define CVR_ACTIVATION_RELU 1
#define CVR_ACTIVATION_RELU6 2
#define CVR_ACTIVATION_SILU 3 /* only of the ops of this file that say so */

typedef struct cvr_batch_norm2d_act_attrs {
    double momentum;
    double eps;
    int64_t activation; /* CVR_ACTIVATION_* */
} cvr_batch_norm2d_act_attrs;

/* batch_norm2d_apply and batch_norm2d_backward_sums. */
typedef struct cvr_batch_norm2d_apply_attrs {
    int64_t activation; /* CVR_ACTIVATION_* */
} cvr_batch_norm2d_apply_attrs;

/* batch_norm2d_inference and its backward. */
typedef struct cvr_batch_norm2d_inference_attrs {
    double eps;
} cvr_batch_norm2d_inference_attrs;

/* layer_norm and its backward. 0 <= begin < end <= rank. */
typedef struct cvr_layer_norm_attrs {
    int64_t begin;
    int64_t end;
    double eps;
} cvr_layer_norm_attrs;

/* group_norm and its backward. */
typedef struct cvr_group_norm_attrs {
    int64_t num_groups;
    double eps;
} cvr_group_norm_attrs;

/* l2_norm2d and its backward. */
typedef struct cvr_l2_norm2d_attrs {
    double eps;
} cvr_l2_norm2d_attrs;

#ifdef __cplusplus
}
#endif

CVR_STATIC_ASSERT(sizeof(cvr_batch_norm2d_attrs) == 16, "cvr_batch_norm2d_attrs has padding");
CVR_STATIC_ASSERT(sizeof(cvr_batch_norm2d_act_attrs) == 24, "cvr_batch_norm2d_act_attrs has padding");
CVR_STATIC_ASSERT(sizeof(cvr_batch_norm2d_apply_attrs) == 8, "cvr_batch_norm2d_apply_attrs has padding");
CVR_STATIC_ASSERT(sizeof(cvr_batch_norm2d_inference_attrs) == 8, "cvr_batch_norm2d_inference_attrs has padding");
CVR_STATIC_ASSERT(sizeof(cvr_layer_norm_attrs) == 24, "cvr_layer_norm_attrs has padding");
CVR_STATIC_ASSERT(sizeof(cvr_group_norm_attrs) == 16, "cvr_group_norm_attrs has padding");
CVR_STATIC_ASSERT(sizeof(cvr_l2_norm2d_attrs) == 8, "cvr_l2_norm2d_attrs has padding");

#endif
