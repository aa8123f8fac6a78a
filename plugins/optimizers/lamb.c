/*
 * LAMB (You et al., "Large Batch Optimization for Deep Learning: Training BERT in 76 minutes", 2020), as timm has it
 * but for the norm of all gradients, which is no matter of one parameter: train.clip_grad_norm. Formulas in
 * ops/optim.h.
 */
#include "optimizers.h"

static const cvr_attr_desc eps_attr =
    CVR_ATTR_INIT(FLOAT, "eps", "1e-6", "added to the root of the mean square", CVR_ATTR_AT_LEAST(0));
static const cvr_attr_desc *const op_attrs[] = {&optimizer_decay_attr, &optimizer_factor_attr, &optimizer_betas_attr,
                                                &eps_attr, &optimizer_adapt_attr};
static const cvr_attr_desc *const attrs_[] = {&optimizer_betas_attr, &eps_attr, &optimizer_adapt_attr};

/* As attrs_ packs it. */
typedef struct lamb_settings {
    double betas[2];
    double eps;
    int64_t always_adapt;
} lamb_settings;

/* The direction of element i, of means that are up to date. */
static double direction(const cvr_kernel_args *a, const double correction[2], int64_t i) {
    const cvr_lamb_update_attrs *s = a->attrs;
    const double m = optimizer_data(a, IN_STATE)[i], v = optimizer_data(a, IN_STATE + 1)[i];
    return m / correction[0] / (sqrt(v) / sqrt(correction[1]) + s->eps) +
           s->weight_decay * optimizer_data(a, IN_PARAM)[i];
}

static int32_t run(const cvr_kernel_args *a, cvr_error *err) {
    (void)err;
    const cvr_lamb_update_attrs *s = a->attrs;
    float *param = optimizer_data(a, IN_PARAM), *avg = optimizer_data(a, IN_STATE);
    float *avg_sq = optimizer_data(a, IN_STATE + 1);
    const float *grad = optimizer_data(a, IN_GRAD);
    const double lr = optimizer_lr(a) * s->lr_factor, t = (double)optimizer_step(a) + 1;
    const double correction[2] = {1 - pow(s->betas[0], t), 1 - pow(s->betas[1], t)};
    const int64_t n = optimizer_numel(a);
    double ratio = 1, sum = 0;
    if (optimizer_is_idle(a)) return CVR_OK;
    for (int64_t i = 0; i < n; i++) {
        const double g = grad[i];
        avg[i] = (float)(avg[i] + (1 - s->betas[0]) * (g - avg[i]));
        avg_sq[i] = (float)(s->betas[1] * avg_sq[i] + (1 - s->betas[1]) * g * g);
    }
    for (int64_t i = 0; i < n; i++) sum += direction(a, correction, i) * direction(a, correction, i);
    const double length = optimizer_norm(a, IN_PARAM);
    if ((s->weight_decay != 0 || s->always_adapt) && length > 0 && sum > 0) ratio = length / sqrt(sum);
    for (int64_t i = 0; i < n; i++) param[i] = (float)(param[i] - lr * ratio * direction(a, correction, i));
    return CVR_OK;
}

static int32_t emit(const cvr_builder *b, const cvr_update_args *args, cvr_error *err) {
    const lamb_settings *s = args->attrs;
    const cvr_lamb_update_attrs call = {
        args->weight_decay, args->lr_factor, {s->betas[0], s->betas[1]}, s->eps, s->always_adapt};
    cvr_value state[2];
    CVR_TRY(optimizer_moments(b, args->param, state, err));
    return optimizer_emit(b, args, "lamb_update", &call, sizeof call, state, 2, err);
}

CVR_DEFINE_TRAITS(traits, {CVR_TRAIT_IDLE, &optimizer_idle})

static double flops(const cvr_infer_args *a) {
    return optimizer_flops(a, 27.0);
}

static const cvr_optimizer_desc lamb = {.struct_size = sizeof lamb,
                                        .name = "lamb",
                                        .doc =
                                            "Adam's direction, as long as the parameter's norm says; timm's clips the "
                                            "norm of all gradients to 1: train.clip_grad_norm = 1",
                                        .n_attrs = 3,
                                        .attrs = attrs_,
                                        .default_lr = 1e-3,
                                        .default_weight_decay = 1e-2,
                                        .emit = emit};
static const cvr_optimizer_desc *const optimizers[] = {&lamb};

const optimizer_family optimizer_lamb = {
    .update.op = {.struct_size = sizeof(cvr_op_desc),
                  .name = "lamb_update",
                  .version = 1,
                  .flags = CVR_OP_ORDER_FREE,
                  .min_inputs = 6,
                  .max_inputs = 6,
                  .n_attrs = 5,
                  .attrs = op_attrs,
                  .mutates = 1u << IN_PARAM | 1u << IN_STATE | 1u << (IN_STATE + 1),
                  .infer = optimizer_infer,
                  .trait = traits,
                  .flops = flops,
                  .doc = "param -= lr * |param| / |u| * u, u Adam's direction and weight decay (You et al., 2020)"},
    .update.reference = {sizeof(cvr_cpu_fn), run},
    .n_optimizers = 1,
    .optimizers = optimizers,
};
