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
 *
 * Losses of segmentation: x, target and weight as cross_entropy has them, and targets that are no class are refused as
 * there. p_c = softmax(x)_c. With one class, C = 1, the target is 0 or 1 and p = sigmoid(x). Positions whose target is
 * ignore_index count for nothing; where all are ignored the loss is 0. W = sum of the weights w_c.
 *
 * overlap_loss            x, target, [weight] -> loss (), lse (N,...), slopes (2,C); cvr_overlap_attrs
 *     Over all positions that count, for each class: I = sum of p_c * [target = c], P = sum of p_c, T = sum of
 *     [target = c], score = (I + smooth) / (I + alpha * (P - I) + beta * (T - I) + smooth),
 *     l_c = 1 - score, or -log(score) with log_loss; 0 where T = 0. loss = (sum of w_c * l_c / W) ^ gamma.
 *     Dice is alpha = beta = 0.5, Jaccard alpha = beta = 1.
 *     lse: log(sum of exp(x)), with one class log(1 + exp(x)). slopes: dloss/dI and dloss/dP of each class.
 * overlap_loss_backward   x, target, lse, slopes, grad () -> dx; cvr_overlap_attrs
 *     d_c = slopes(0,c) * [target = c] + slopes(1,c); dx_c = grad * p_c * (d_c - sum of p_k * d_k); 0 where ignored
 *
 * focal_loss              x, target, [weight] -> loss (), lse (N,...), norm (); cvr_focal_attrs, alpha is not looked at
 *     l = -w_t * (1 - p_t)^gamma * log p_t, t = target; loss = sum(l) / norm, norm = sum of the w_t. C >= 2.
 * focal_loss_backward     x, target, [weight], lse, norm, grad () -> dx; cvr_focal_attrs
 *     s = w_t * (gamma * p_t * (1 - p_t)^(gamma-1) * log p_t - (1 - p_t)^gamma); dx_c = grad / norm * s * ([c = t] -
 * p_c)
 *
 * sigmoid_focal_loss      x, target, [weight] -> loss (), norm (); cvr_focal_attrs
 *     Each class by itself against all others: y = [target = c], q = sigmoid(x_c) where y, else 1 - sigmoid(x_c),
 *     a = alpha where y, else 1 - alpha (1 for both where alpha < 0), l_c = -a * (1 - q)^gamma * log q.
 *     loss = sum over positions and classes of w_c * l_c / norm, norm = W * (positions that count)
 * sigmoid_focal_loss_backward  x, target, [weight], norm, grad () -> dx; cvr_focal_attrs
 *
 * lovasz_loss             x, target, [weight] -> loss (), slope like x; cvr_lovasz_attrs
 *     The Lovasz extension of the Jaccard loss: for each class that stands in the target, errors |[target = c] - p_c|
 * in falling order (equal ones by position), dotted with the growth of the Jaccard loss as each position is taken for
 *     wrong; the mean over these classes, by weight. With one class: errors 1 - x * (2 * target - 1), where above 0.
 *     slope: dloss/dx
 * lovasz_loss_backward    slope, grad () -> dx = grad * slope
 *
 * hard_targets            x, target -> target, of which easy positions are ignore_index; cvr_hard_targets_attrs
 *     Kept are positions with p_t < thresh, and those of the min_kept smallest p_t, with all that are equal to the
 * largest of these. C >= 2. No gradient.
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

typedef struct cvr_overlap_attrs {
    double alpha, beta; /* what a false positive and a false negative count, >= 0 */
    double gamma;       /* > 0 */
    double smooth;      /* >= 0 */
    int64_t log_loss;   /* 0 or 1 */
    int64_t ignore_index;
} cvr_overlap_attrs;

typedef struct cvr_focal_attrs {
    double alpha; /* 0..1; below 0: none */
    double gamma; /* >= 0 */
    int64_t ignore_index;
} cvr_focal_attrs;

typedef struct cvr_lovasz_attrs {
    int64_t ignore_index;
} cvr_lovasz_attrs;

typedef struct cvr_hard_targets_attrs {
    double thresh; /* 0..1 */
    int64_t min_kept;
    int64_t ignore_index;
} cvr_hard_targets_attrs;

#ifdef __cplusplus
}
#endif

CVR_STATIC_ASSERT(sizeof(cvr_cross_entropy_attrs) == 24, "cvr_cross_entropy_attrs has padding");
CVR_STATIC_ASSERT(sizeof(cvr_loss_attrs) == 8, "cvr_loss_attrs has padding");
CVR_STATIC_ASSERT(sizeof(cvr_smooth_l1_loss_attrs) == 16, "cvr_smooth_l1_loss_attrs has padding");
CVR_STATIC_ASSERT(sizeof(cvr_overlap_attrs) == 48, "cvr_overlap_attrs has padding");
CVR_STATIC_ASSERT(sizeof(cvr_focal_attrs) == 24, "cvr_focal_attrs has padding");
CVR_STATIC_ASSERT(sizeof(cvr_lovasz_attrs) == 8, "cvr_lovasz_attrs has padding");
CVR_STATIC_ASSERT(sizeof(cvr_hard_targets_attrs) == 24, "cvr_hard_targets_attrs has padding");

#endif
