/*
 * Attributes of the loss ops, version 1 (plugin "layer_loss"). All tensors are f32 unless said otherwise; a loss is a
 * scalar (). Semantics: torch.nn.functional.
 *
 * cross_entropy           x (N,C,...), target (N,...) i64, [weight (C)] -> loss (), lse (N,...), norm ();
 *                         cvr_cross_entropy_attrs
 *     x has rank 2 to 4. At a position with class t = target, over the classes c, with s = label_smoothing and
 *     w = weight (1 where absent): lse = log(sum of exp(x_c))
 *     l = (1-s) * w_t * (lse - x_t) + s / C * sum of w_c * (lse - x_c); 0 where target = ignore_index
 *     loss = sum(l) / norm, norm = sum of the w_t that count (mean; 0 / 0 is NaN, as in PyTorch) or 1 (sum)
 *     A target that is neither ignore_index nor in [0, C) is an error that names it.
 * cross_entropy_backward  x, target, [weight], lse, norm, grad () -> dx like x; cvr_cross_entropy_attrs
 *     dx_c = grad / norm * (exp(x_c - lse) * ((1-s) * w_t + s / C * sum of w) - (1-s) * w_t * [c = t] - s / C * w_c)
 *
 * bce_with_logits         x, target like x, [pos_weight] -> loss (); cvr_loss_attrs
 *     l = (1-target) * x + (1 + (pos_weight-1) * target) * log(1 + exp(-x)); loss = sum(l) / (number of elements, or 1)
 *     pos_weight has one element, or one a channel: (C) for x (N,C), (C,1,1) for x (N,C,H,W). No gradient for target.
 * bce_with_logits_backward  x, target, [pos_weight], grad () -> dx; cvr_loss_attrs
 *     dx = g * ((1-target) - (1 + (pos_weight-1) * target) * (1 - sigmoid(x))), g = grad / (number of elements, or 1)
 *
 * mse_loss, l1_loss       x, target like x -> loss (): mean or sum of d * d or of |d|, d = x - target; cvr_loss_attrs
 * smooth_l1_loss          likewise of |d| < beta ? d * d / (2 * beta) : |d| - beta / 2; cvr_smooth_l1_loss_attrs
 * X_backward              x, target, grad () -> dx; the forward's attributes. With g as above:
 *     mse_loss 2 * g * d; l1_loss g * sign(d); smooth_l1_loss |d| < beta ? g * d / beta : g * sign(d)
 */
#ifndef CVR_PLUGIN_OPS_LOSS_H
#define CVR_PLUGIN_OPS_LOSS_H

#include <cvr/plugin/abi.h>

#ifdef __cplusplus
extern "C" {
#endif

#define CVR_LOSS_MEAN 0
#define CVR_LOSS_SUM 1

typedef struct cvr_cross_entropy_attrs {
    double label_smoothing; /* 0 <= s <= 1 */
    int64_t ignore_index;
    int64_t reduction; /* CVR_LOSS_* */
} cvr_cross_entropy_attrs;

typedef struct cvr_loss_attrs {
    int64_t reduction; /* CVR_LOSS_* */
} cvr_loss_attrs;

typedef struct cvr_smooth_l1_loss_attrs {
    double beta; /* >= 0; 0: l1_loss */
    int64_t reduction;
} cvr_smooth_l1_loss_attrs;

#ifdef __cplusplus
}
#endif

CVR_STATIC_ASSERT(sizeof(cvr_cross_entropy_attrs) == 24, "cvr_cross_entropy_attrs has padding");
CVR_STATIC_ASSERT(sizeof(cvr_loss_attrs) == 8, "cvr_loss_attrs has padding");
CVR_STATIC_ASSERT(sizeof(cvr_smooth_l1_loss_attrs) == 16, "cvr_smooth_l1_loss_attrs has padding");

#endif
