/* Adam (Kingma and Ba, 2015) and AdamW (Loshchilov and Hutter, 2019): torch.optim. Formulas in ops/optim.h. */
#include "optimizers.h"

static const cvr_attr_desc decoupled_attr = {.struct_size = sizeof decoupled_attr,
                                             .name = "decoupled",
                                             .kind = CVR_ATTR_BOOL,
                                             .count = 1,
                                             .doc = "weight decay acts on the parameter, not on the gradient"};
static const cvr_attr_desc *const op_attrs[] = {&optimizer_decay_attr, &optimizer_factor_attr, &optimizer_betas_attr,
                                                &optimizer_eps_attr, &decoupled_attr};
static const cvr_attr_desc *const attrs_[] = {&optimizer_betas_attr, &optimizer_eps_attr};

/* As attrs_ packs it. */
typedef struct adam_settings {
    double betas[2];
    double eps;
} adam_settings;

static int32_t run(const cvr_kernel_args *a, cvr_error *err) {
    (void)err;
    const cvr_adam_update_attrs *s = a->attrs;
    float *param = optimizer_data(a, IN_PARAM), *avg = optimizer_data(a, IN_STATE);
    float *avg_sq = optimizer_data(a, IN_STATE + 1);
    const float *grad = optimizer_data(a, IN_GRAD);
    const double lr = optimizer_lr(a) * s->lr_factor, t = (double)optimizer_step(a) + 1;
    const double correction[2] = {1 - pow(s->betas[0], t), 1 - pow(s->betas[1], t)};
    if (optimizer_is_idle(a)) return CVR_OK;
    for (int64_t i = 0; i < optimizer_numel(a); i++) {
        double p = param[i], g = grad[i];
        if (s->decoupled)
            p *= 1 - lr * s->weight_decay;
        else
            g += s->weight_decay * p;
        const double m = avg[i] + (1 - s->betas[0]) * (g - avg[i]);
        const double v = s->betas[1] * avg_sq[i] + (1 - s->betas[1]) * g * g;
        avg[i] = (float)m;
        avg_sq[i] = (float)v;
        param[i] = (float)(p - lr / correction[0] * m / (sqrt(v) / sqrt(correction[1]) + s->eps));
    }
    return CVR_OK;
}

static int32_t emit(const cvr_builder *b, const cvr_update_args *args, int64_t decoupled, cvr_error *err) {
    const adam_settings *s = args->attrs;
    const cvr_adam_update_attrs call = {
        args->weight_decay, args->lr_factor, {s->betas[0], s->betas[1]}, s->eps, decoupled};
    cvr_value state[2];
    CVR_TRY(optimizer_moments(b, args->param, state, err));
    return optimizer_emit(b, args, "adam_update", &call, sizeof call, state, 2, err);
}

static int32_t emit_adam(const cvr_builder *b, const cvr_update_args *args, cvr_error *err) {
    return emit(b, args, 0, err);
}

static int32_t emit_adamw(const cvr_builder *b, const cvr_update_args *args, cvr_error *err) {
    return emit(b, args, 1, err);
}

OPTIMIZER_DEFINE_MANY("adam_update", cvr_adam_update_attrs, 4u, 14.0)

static const cvr_optimizer_desc adam = {.struct_size = sizeof adam,
                                        .name = "adam",
                                        .doc = "adaptive moments; weight decay is added to the gradient",
                                        .n_attrs = 2,
                                        .attrs = attrs_,
                                        .default_lr = 1e-3,
                                        .emit = emit_adam};
static const cvr_optimizer_desc adamw = {.struct_size = sizeof adamw,
                                         .name = "adamw",
                                         .doc = "adaptive moments; weight decay shrinks the parameter",
                                         .n_attrs = 2,
                                         .attrs = attrs_,
                                         .default_lr = 1e-3,
                                         .default_weight_decay = 1e-2,
                                         .emit = emit_adamw};
static const cvr_optimizer_desc *const optimizers[] = {&adam, &adamw};

const optimizer_family optimizer_adam = {
    .update.op = {.struct_size = sizeof(cvr_op_desc),
                  .name = "adam_update",
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
                  .doc = "param -= lr * m_hat / (sqrt(v_hat) + eps) (Kingma and Ba, 2015)"},
    .update.reference = {sizeof(cvr_cpu_fn), run},
    .multi = OPTIMIZER_MANY("adam_update"),
    .n_optimizers = 2,
    .optimizers = optimizers,
};
