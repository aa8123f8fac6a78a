/*
 * Attributes of the update ops, version 1 (plugin "optimizers"). All tensors are f32 and have the parameter's shape and
 * memory order, but for lr () f32 and step () i64 (0 at the first). No outputs: param and the state after `step` change
 * in place. Semantics: torch.optim, in its order of operations. g starts as grad; lr is the input times lr_factor, an
 * attribute that every update op has second.
 *
 * sgd_update      param, grad, lr, step, [momentum_buffer]; cvr_sgd_update_attrs
 *     g += weight_decay * param
 *     momentum != 0: buf = step == 0 ? g : momentum * buf + (1-dampening) * g; g = nesterov ? g + momentum * buf : buf
 *     param -= lr * g
 * adam_update     param, grad, lr, step, exp_avg, exp_avg_sq; cvr_adam_update_attrs
 *     decoupled (AdamW): param *= 1 - lr * weight_decay; else (Adam): g += weight_decay * param
 *     exp_avg += (1-beta1) * (g - exp_avg); exp_avg_sq = beta2 * exp_avg_sq + (1-beta2) * g * g; with t = step + 1:
 *     param -= lr / (1 - beta1^t) * exp_avg / (sqrt(exp_avg_sq) / sqrt(1 - beta2^t) + eps)
 * rmsprop_update  param, grad, lr, step, square_avg, [momentum_buffer], [grad_avg]; cvr_rmsprop_update_attrs
 *     g += weight_decay * param; square_avg = alpha * square_avg + (1-alpha) * g * g
 *     centered (where grad_avg is): grad_avg += (1-alpha) * (g - grad_avg), v = square_avg - grad_avg^2; else
 *     v = square_avg
 *     g /= sqrt(v) + eps
 *     momentum > 0 (where momentum_buffer is): buf = momentum * buf + g, g = buf
 *     param -= lr * g
 *
 * sgd_update_many, adam_update_many, rmsprop_update_many: the same of many parameters with equal attributes, in one
 * node: lr, step, then for each param, grad and its state, as many inputs as it may have (absent ones, too).
 *
 * gradient_accumulate   micro_step () i64, then pairs: sum, gradient: sum = micro_step == 0 ? gradient : sum + gradient
 * average_update        weight () f32, then pairs: average, value, both f32 or both i64:
 *     average = (1-weight) * average + weight * value; 0 leaves it, 1 copies; i64: cut to a whole number
 *
 * Of the plugin "gradient_clip":
 * gradient_sum_squares  up to 63 tensors -> () : the sum of x * x over all elements
 * gradient_clip_factor  sum () -> factor (), norm (): norm = sqrt(sum), factor = min(1, max_norm / (norm + 1e-6));
 *                       cvr_gradient_clip_attrs
 * gradient_scale        x, factor () -> factor * x
 */
#ifndef CVR_PLUGIN_OPS_OPTIM_H
#define CVR_PLUGIN_OPS_OPTIM_H

#include <cvr/plugin/abi.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct cvr_sgd_update_attrs {
    double weight_decay;
    double lr_factor;
    double momentum;
    double dampening;
    int64_t nesterov; /* 0 or 1 */
} cvr_sgd_update_attrs;

typedef struct cvr_adam_update_attrs {
    double weight_decay;
    double lr_factor;
    double betas[2];
    double eps;
    int64_t decoupled; /* 0 or 1 */
} cvr_adam_update_attrs;

typedef struct cvr_rmsprop_update_attrs {
    double weight_decay;
    double lr_factor;
    double alpha;
    double eps;
    double momentum;
} cvr_rmsprop_update_attrs;

typedef struct cvr_gradient_clip_attrs {
    double max_norm;
} cvr_gradient_clip_attrs;

#ifdef __cplusplus
}
#endif

CVR_STATIC_ASSERT(sizeof(cvr_sgd_update_attrs) == 40, "cvr_sgd_update_attrs has padding");
CVR_STATIC_ASSERT(sizeof(cvr_adam_update_attrs) == 48, "cvr_adam_update_attrs has padding");
CVR_STATIC_ASSERT(sizeof(cvr_rmsprop_update_attrs) == 40, "cvr_rmsprop_update_attrs has padding");
CVR_STATIC_ASSERT(sizeof(cvr_gradient_clip_attrs) == 8, "cvr_gradient_clip_attrs has padding");

#endif
