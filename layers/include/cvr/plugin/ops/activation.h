/*
 * Attributes of the activation ops, version 1 (plugin "layer_activation"). All tensors are f32. Semantics:
 * torch.nn.functional. An op has no attributes where no struct is named.
 *
 * Elementwise, x -> y of the same shape. Each has an X_backward with inputs (saved, grad) -> dx, where `saved` is the
 * forward's output y where the gradient can be told from it, else its input x:
 *     op           y                                     saved  dx
 *     relu         max(x, 0)                             y      y > 0 ? grad : 0
 *     relu6        min(max(x, 0), 6)                     y      0 < y < 6 ? grad : 0
 *     leaky_relu   x > 0 ? x : negative_slope * x        x      x > 0 ? grad : negative_slope * grad
 *                  (y may stand for x where negative_slope >= 0); cvr_leaky_relu_attrs
 *     sigmoid      1 / (1 + exp(-x))                     y      grad * y * (1 - y)
 *     tanh         tanh(x)                               y      grad * (1 - y * y)
 *     hardsigmoid  min(max(x + 3, 0), 6) / 6             y      0 < y < 1 ? grad / 6 : 0
 *     hardswish    x * min(max(x + 3, 0), 6) / 6         x      x <= -3 ? 0 : x < 3 ? grad * (x / 3 + 1 / 2) : grad
 *     silu         x * s, s = sigmoid(x)                 x      grad * s * (1 + x * (1 - s))
 *     mish         x * t, t = tanh(ln(1 + exp(x)))      x      grad * (t + x * sigmoid(x) * (1 - t * t))
 *     gelu         x * P(x); cvr_gelu_attrs              x      grad * (P(x) + x * p(x))
 *                  none: P(x) = (1 + erf(x / sqrt(2))) / 2, p its derivative
 *                  tanh: P(x) = (1 + tanh(sqrt(2 / pi) * (x + 0.044715 * x^3))) / 2, p its derivative
 * relu of NaN is NaN, as in PyTorch; so is that of the others.
 *
 * Along axis `dim` (0 <= dim < rank); cvr_softmax_attrs for all four:
 * softmax               x -> y = exp(x - max) / sum of exp(x - max)
 * softmax_backward      y, grad -> dx = y * (grad - sum of grad * y)
 * log_softmax           x -> y = x - max - log(sum of exp(x - max))
 * log_softmax_backward  y, grad -> dx = grad - exp(y) * sum of grad
 */
#ifndef CVR_PLUGIN_OPS_ACTIVATION_H
#define CVR_PLUGIN_OPS_ACTIVATION_H

#include <cvr/plugin/abi.h>

#ifdef __cplusplus
extern "C" {
#endif

/* leaky_relu and its backward. */
typedef struct cvr_leaky_relu_attrs {
    double negative_slope;
} cvr_leaky_relu_attrs;

#define CVR_GELU_NONE 0
#define CVR_GELU_TANH 1

/* gelu and its backward. */
typedef struct cvr_gelu_attrs {
    int64_t approximate; /* CVR_GELU_* */
} cvr_gelu_attrs;

typedef struct cvr_softmax_attrs {
    int64_t dim;
} cvr_softmax_attrs;

#ifdef __cplusplus
}
#endif

CVR_STATIC_ASSERT(sizeof(cvr_leaky_relu_attrs) == 8, "cvr_leaky_relu_attrs has padding");
CVR_STATIC_ASSERT(sizeof(cvr_gelu_attrs) == 8, "cvr_gelu_attrs has padding");
CVR_STATIC_ASSERT(sizeof(cvr_softmax_attrs) == 8, "cvr_softmax_attrs has padding");

#endif
