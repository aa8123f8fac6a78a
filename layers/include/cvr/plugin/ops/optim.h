/*
 * Attributes of the update ops, version 1 (plugin "optimizers"). All tensors are f32 and have the parameter's shape and
 * memory order, but for lr () f32 and step () i64 (0 at the first). No outputs: param and the state after `step` change
 * in place. A step below 0 changes nothing, whatever the other inputs hold (<cvr/plugin/idle.h>). Semantics:
 * torch.optim, in its order of operations. g starts as grad; lr is the input times lr_factor, an attribute that every
 * update op has second.
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
 * nadam_update    param, grad, lr, step, exp_avg, exp_avg_sq; cvr_nadam_update_attrs (torch.optim.NAdam)
 *     weight decay, exp_avg and exp_avg_sq as in adam_update; t = step + 1; mu_t and the product of mu_1 to mu_t from
 *     cvr_nadam_means; d = sqrt(exp_avg_sq / (1 - beta2^t)) + eps
 *     param -= lr * (1 - mu_t) / (1 - product) * g / d + lr * mu_(t+1) / (1 - product * mu_(t+1)) * exp_avg / d
 * lion_update     param, grad, lr, step, exp_avg; cvr_lion_update_attrs
 *     param *= 1 - lr * weight_decay; param -= lr * sign(beta1 * exp_avg + (1-beta1) * g)
 *     exp_avg += (1-beta2) * (g - exp_avg)
 * lamb_update     param, grad, lr, step, exp_avg, exp_avg_sq; cvr_lamb_update_attrs (timm's Lamb)
 *     exp_avg and exp_avg_sq as in adam_update; with t = step + 1:
 *     u = exp_avg / (1 - beta1^t) / (sqrt(exp_avg_sq) / sqrt(1 - beta2^t) + eps) + weight_decay * param
 *     ratio = |param| / |u|, and 1 where either norm is 0, or without weight decay unless always_adapt
 *     param -= lr * ratio * u
 * lars_update     param, grad, lr, step, [momentum_buffer]; cvr_lars_update_attrs (timm's Lars)
 *     ratio = trust_coeff * |param| / (|grad| + weight_decay * |param| + eps), and 1 as in lamb_update
 *     g = ratio * (grad + weight_decay * param); the rest as in sgd_update, after its weight decay
 *
 * sgd_update_many, adam_update_many, rmsprop_update_many, nadam_update_many, lion_update_many: the same of many
 * parameters with equal attributes, in one node: lr, step, then for each param, grad and its state, as many inputs as
 * it may have (absent ones, too).
 *
 * gradient_accumulate   micro_step () i64, then pairs: sum, gradient: sum = micro_step == 0 ? gradient : sum + gradient
 * average_update        weight () f32, then pairs: average, value, both f32 or both i64:
 *     average = (1-weight) * average + weight * value; 0 leaves it, 1 copies; i64: cut to a whole number
 * update_guard          in <cvr/plugin/idle.h>
 *
 * Of the plugin "gradient_clip":
 * gradient_sum_squares  up to 63 tensors -> () : the sum of x * x over all elements
 * gradient_clip_factor  sum () -> factor (), norm (): norm = sqrt(sum), factor = min(1, max_norm / (norm + 1e-6));
 *                       cvr_gradient_clip_attrs
 * gradient_scale        x, factor () -> factor * x
 *
 * Of the plugin "gradient_clip_units" (Brock et al., 2021):
 * gradient_clip_units   grad, param -> grad * min(1, most / max(|grad|, 1e-6)), most = clip_factor * max(|param|, 1e-3)
 *                       norms of each index along axis 0 by itself, of tensors of rank 0 and 1 as a whole;
 *                       cvr_gradient_clip_units_attrs
 */
#ifndef CVR_PLUGIN_OPS_OPTIM_H
#define CVR_PLUGIN_OPS_OPTIM_H

#include <cvr/plugin/abi.h>

#include <math.h>

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

typedef struct cvr_nadam_update_attrs {
    double weight_decay;
    double lr_factor;
    double betas[2];
    double eps;
    double momentum_decay;
    int64_t decoupled; /* 0 or 1 */
} cvr_nadam_update_attrs;

typedef struct cvr_lion_update_attrs {
    double weight_decay;
    double lr_factor;
    double betas[2];
} cvr_lion_update_attrs;

typedef struct cvr_lamb_update_attrs {
    double weight_decay;
    double lr_factor;
    double betas[2];
    double eps;
    int64_t always_adapt; /* 0 or 1 */
} cvr_lamb_update_attrs;

typedef struct cvr_lars_update_attrs {
    double weight_decay;
    double lr_factor;
    double momentum;
    double dampening;
    int64_t nesterov; /* 0 or 1 */
    double trust_coeff;
    double eps;
    int64_t always_adapt; /* 0 or 1 */
} cvr_lars_update_attrs;

typedef struct cvr_gradient_clip_attrs {
    double max_norm;
} cvr_gradient_clip_attrs;

typedef struct cvr_gradient_clip_units_attrs {
    double clip_factor;
} cvr_gradient_clip_units_attrs;

/* What nadam_update takes from the number of its step: mu_t, mu_(t+1) and the product of mu_1 to mu_t, where mu_i =
 * beta1 * (1 - 0.96^(i * momentum_decay) / 2). All are below beta1, so that the product soon is nothing beside 1. */
typedef struct cvr_nadam_means {
    double mu, next, product;
} cvr_nadam_means;

static inline double cvr_nadam_mu(double beta1, double momentum_decay, double i) {
    return beta1 * (1 - 0.5 * pow(0.96, i * momentum_decay));
}

static inline cvr_nadam_means cvr_nadam_means_of(double beta1, double momentum_decay, int64_t step) {
    const double t = (double)step + 1, shrink = pow(0.96, momentum_decay);
    cvr_nadam_means m = {cvr_nadam_mu(beta1, momentum_decay, t), cvr_nadam_mu(beta1, momentum_decay, t + 1), 1};
    double power = shrink;
    for (int64_t i = 0; i <= step && m.product > 1e-20; i++, power *= shrink) m.product *= beta1 * (1 - 0.5 * power);
    return m;
}

#ifdef __cplusplus
}
#endif

CVR_STATIC_ASSERT(sizeof(cvr_sgd_update_attrs) == 40, "cvr_sgd_update_attrs has padding");
CVR_STATIC_ASSERT(sizeof(cvr_adam_update_attrs) == 48, "cvr_adam_update_attrs has padding");
CVR_STATIC_ASSERT(sizeof(cvr_rmsprop_update_attrs) == 40, "cvr_rmsprop_update_attrs has padding");
CVR_STATIC_ASSERT(sizeof(cvr_nadam_update_attrs) == 56, "cvr_nadam_update_attrs has padding");
CVR_STATIC_ASSERT(sizeof(cvr_lion_update_attrs) == 32, "cvr_lion_update_attrs has padding");
CVR_STATIC_ASSERT(sizeof(cvr_lamb_update_attrs) == 48, "cvr_lamb_update_attrs has padding");
CVR_STATIC_ASSERT(sizeof(cvr_lars_update_attrs) == 64, "cvr_lars_update_attrs has padding");
CVR_STATIC_ASSERT(sizeof(cvr_gradient_clip_units_attrs) == 8, "cvr_gradient_clip_units_attrs has padding");
CVR_STATIC_ASSERT(sizeof(cvr_gradient_clip_attrs) == 8, "cvr_gradient_clip_attrs has padding");

#endif
