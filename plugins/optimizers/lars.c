/*
 * LARS (You, Gitman, Ginsburg: "Large Batch Training of Convolutional Networks", 2017), as timm has it. Formulas in
 * ops/optim.h.
 */
#include "optimizers.h"

static const cvr_attr_desc trust_attr =
    CVR_ATTR_INIT(FLOAT, "trust_coeff", "0.001", "length of a step beside the parameter's norm", CVR_ATTR_AT_LEAST(0));
static const cvr_attr_desc eps_attr = CVR_ATTR_INIT(FLOAT, "eps", "1e-8", "added to the norm", CVR_ATTR_AT_LEAST(0));
static const cvr_attr_desc *const op_attrs[] = {&optimizer_decay_attr,
                                                &optimizer_factor_attr,
                                                &optimizer_momentum_attr,
                                                &optimizer_dampening_attr,
                                                &optimizer_nesterov_attr,
                                                &trust_attr,
                                                &eps_attr,
                                                &optimizer_adapt_attr};
static const cvr_attr_desc *const attrs_[] = {
    &optimizer_momentum_attr, &optimizer_dampening_attr, &optimizer_nesterov_attr, &trust_attr, &eps_attr,
    &optimizer_adapt_attr};

/* As attrs_ packs it. */
typedef struct lars_settings {
    double momentum, dampening;
    int64_t nesterov;
    double trust_coeff, eps;
    int64_t always_adapt;
} lars_settings;

static double ratio_of(const cvr_kernel_args *a) {
    const cvr_lars_update_attrs *s = a->attrs;
    const double w = optimizer_norm(a, IN_PARAM), g = optimizer_norm(a, IN_GRAD);
    if ((s->weight_decay == 0 && !s->always_adapt) || !(w > 0) || !(g > 0)) return 1;
    return s->trust_coeff * w / (g + w * s->weight_decay + s->eps);
}

static int32_t run(const cvr_kernel_args *a, cvr_error *err) {
    (void)err;
    const cvr_lars_update_attrs *s = a->attrs;
    float *param = optimizer_data(a, IN_PARAM), *buf = optimizer_data(a, IN_STATE);
    const float *grad = optimizer_data(a, IN_GRAD);
    const double lr = optimizer_lr(a) * s->lr_factor, ratio = ratio_of(a);
    const bool first = optimizer_step(a) == 0;
    if (optimizer_is_idle(a)) return CVR_OK;
    for (int64_t i = 0; i < optimizer_numel(a); i++) {
        const double g = ratio * (grad[i] + s->weight_decay * param[i]);
        const double d = optimizer_along(buf, i, g, first, s->momentum, s->dampening, s->nesterov);
        param[i] = (float)(param[i] - lr * d);
    }
    return CVR_OK;
}

static int32_t emit(const cvr_builder *b, const cvr_update_args *args, cvr_error *err) {
    const lars_settings *s = args->attrs;
    const cvr_lars_update_attrs call = {args->weight_decay, args->lr_factor, s->momentum, s->dampening,
                                        s->nesterov,        s->trust_coeff,  s->eps,      s->always_adapt};
    cvr_value buffer;
    CVR_TRY(optimizer_momentum(b, args->param, s->momentum, s->dampening, s->nesterov, &buffer, err));
    return optimizer_emit(b, args, "lars_update", &call, sizeof call, &buffer, s->momentum != 0, err);
}

CVR_DEFINE_TRAITS(traits, {CVR_TRAIT_IDLE, &optimizer_idle})

static double flops(const cvr_infer_args *a) {
    return optimizer_flops(a, 11.0);
}

static const cvr_optimizer_desc lars = {.struct_size = sizeof lars,
                                        .name = "lars",
                                        .doc = "sgd with steps as long as each parameter's norm says",
                                        .n_attrs = 6,
                                        .attrs = attrs_,
                                        .default_lr = 1,
                                        .emit = emit};
static const cvr_optimizer_desc *const optimizers[] = {&lars};

const optimizer_family optimizer_lars = {
    .update.op = {.struct_size = sizeof(cvr_op_desc),
                  .name = "lars_update",
                  .version = 1,
                  .flags = CVR_OP_ORDER_FREE,
                  .min_inputs = 4,
                  .max_inputs = 5,
                  .n_attrs = 8,
                  .attrs = op_attrs,
                  .mutates = 1u << IN_PARAM | 1u << IN_STATE,
                  .optional = 1u << IN_STATE,
                  .infer = optimizer_infer,
                  .trait = traits,
                  .flops = flops,
                  .doc = "sgd_update of the gradient scaled by norms (You, Gitman, Ginsburg, 2017)"},
    .update.reference = {sizeof(cvr_cpu_fn), run},
    .n_optimizers = 1,
    .optimizers = optimizers,
};
