/* NAdam (Dozat, "Incorporating Nesterov Momentum into Adam", 2016): torch.optim.NAdam. Formulas in ops/optim.h. */
#include "optimizers.h"

static const cvr_attr_desc decay_attr =
    CVR_ATTR_INIT(FLOAT, "momentum_decay", "0.004", "how fast momentum grows to its full share", CVR_ATTR_AT_LEAST(0));
static const cvr_attr_desc decoupled_attr =
    CVR_ATTR_INIT(BOOL, "decoupled_weight_decay", "no", "weight decay acts on the parameter, not on the gradient");
static const cvr_attr_desc *const op_attrs[] = {&optimizer_decay_attr, &optimizer_factor_attr,
                                                &optimizer_betas_attr, &optimizer_eps_attr,
                                                &decay_attr,           &decoupled_attr};
static const cvr_attr_desc *const attrs_[] = {&optimizer_betas_attr, &optimizer_eps_attr, &decay_attr, &decoupled_attr};

/* As attrs_ packs it. */
typedef struct nadam_settings {
    double betas[2];
    double eps, momentum_decay;
    int64_t decoupled;
} nadam_settings;

static int32_t run(const cvr_kernel_args *a, cvr_error *err) {
    (void)err;
    const cvr_nadam_update_attrs *s = a->attrs;
    float *param = optimizer_data(a, IN_PARAM), *avg = optimizer_data(a, IN_STATE);
    float *avg_sq = optimizer_data(a, IN_STATE + 1);
    const float *grad = optimizer_data(a, IN_GRAD);
    const double lr = optimizer_lr(a) * s->lr_factor;
    const double correction = 1 - pow(s->betas[1], (double)optimizer_step(a) + 1);
    const cvr_nadam_means mu = cvr_nadam_means_of(s->betas[0], s->momentum_decay, optimizer_step(a));
    if (optimizer_is_idle(a)) return CVR_OK;
    for (int64_t i = 0; i < optimizer_numel(a); i++) {
        double p = param[i], g = grad[i];
        if (s->decoupled)
            p *= 1 - lr * s->weight_decay;
        else
            g += s->weight_decay * p;
        const double m = avg[i] + (1 - s->betas[0]) * (g - avg[i]);
        const double v = s->betas[1] * avg_sq[i] + (1 - s->betas[1]) * g * g, d = sqrt(v / correction) + s->eps;
        avg[i] = (float)m;
        avg_sq[i] = (float)v;
        p -= lr * (1 - mu.mu) / (1 - mu.product) * g / d;
        param[i] = (float)(p - lr * mu.next / (1 - mu.product * mu.next) * m / d);
    }
    return CVR_OK;
}

static int32_t emit(const cvr_builder *b, const cvr_update_args *args, cvr_error *err) {
    const nadam_settings *s = args->attrs;
    const cvr_nadam_update_attrs call = {args->weight_decay, args->lr_factor, {s->betas[0], s->betas[1]}, s->eps,
                                         s->momentum_decay,  s->decoupled};
    cvr_value state[2];
    CVR_TRY(optimizer_moments(b, args->param, state, err));
    return optimizer_emit(b, args, "nadam_update", &call, sizeof call, state, 2, err);
}

OPTIMIZER_DEFINE_MANY("nadam_update", cvr_nadam_update_attrs, 4u, 17.0)

static const cvr_optimizer_desc nadam = {.struct_size = sizeof nadam,
                                         .name = "nadam",
                                         .doc = "adaptive moments that look ahead along the mean gradient",
                                         .n_attrs = 4,
                                         .attrs = attrs_,
                                         .default_lr = 2e-3,
                                         .emit = emit};
static const cvr_optimizer_desc *const optimizers[] = {&nadam};

const optimizer_family optimizer_nadam = {
    .update.op = {.struct_size = sizeof(cvr_op_desc),
                  .name = "nadam_update",
                  .version = 1,
                  .flags = CVR_OP_ORDER_FREE,
                  .min_inputs = 6,
                  .max_inputs = 6,
                  .n_attrs = 6,
                  .attrs = op_attrs,
                  .mutates = 1u << IN_PARAM | 1u << IN_STATE | 1u << (IN_STATE + 1),
                  .infer = optimizer_infer,
                  .trait = traits,
                  .flops = flops,
                  .doc = "Adam's update with a share of the gradient beside the mean (Dozat, 2016)"},
    .update.reference = {sizeof(cvr_cpu_fn), run},
    .multi = OPTIMIZER_MANY("nadam_update"),
    .n_optimizers = 1,
    .optimizers = optimizers,
};
