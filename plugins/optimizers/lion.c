/* Lion (Chen et al., "Symbolic Discovery of Optimization Algorithms", 2023), as timm has it. Formulas in ops/optim.h.
 */
#include "optimizers.h"

static const cvr_attr_desc betas_attr =
    CVR_ATTR_INIT(FLOAT, "betas", "0.9,0.99", "share of the mean gradient in a step; memory of that mean", .count = 2,
                  CVR_ATTR_BETWEEN(0, 0.99999999999));
static const cvr_attr_desc *const op_attrs[] = {&optimizer_decay_attr, &optimizer_factor_attr, &betas_attr};
static const cvr_attr_desc *const attrs_[] = {&betas_attr};

static double sign(double x) {
    return x > 0 ? 1 : x < 0 ? -1 : x; /* NaN stays */
}

static int32_t run(const cvr_kernel_args *a, cvr_error *err) {
    (void)err;
    const cvr_lion_update_attrs *s = a->attrs;
    float *param = optimizer_data(a, IN_PARAM), *avg = optimizer_data(a, IN_STATE);
    const float *grad = optimizer_data(a, IN_GRAD);
    const double lr = optimizer_lr(a) * s->lr_factor;
    if (optimizer_is_idle(a)) return CVR_OK;
    for (int64_t i = 0; i < optimizer_numel(a); i++) {
        const double g = grad[i], m = avg[i], p = param[i] * (1 - lr * s->weight_decay);
        param[i] = (float)(p - lr * sign(s->betas[0] * m + (1 - s->betas[0]) * g));
        avg[i] = (float)(m + (1 - s->betas[1]) * (g - m));
    }
    return CVR_OK;
}

static int32_t emit(const cvr_builder *b, const cvr_update_args *args, cvr_error *err) {
    const double *betas = args->attrs;
    const cvr_lion_update_attrs call = {args->weight_decay, args->lr_factor, {betas[0], betas[1]}};
    cvr_value state;
    CVR_TRY(optimizer_state(b, args->param, "exp_avg", &state, err));
    return optimizer_emit(b, args, "lion_update", &call, sizeof call, &state, 1, err);
}

OPTIMIZER_DEFINE_MANY("lion_update", cvr_lion_update_attrs, 3u, 8.0)

static const cvr_optimizer_desc lion = {.struct_size = sizeof lion,
                                        .name = "lion",
                                        .doc = "the sign of a mean gradient; lr is a third to a tenth of AdamW's, "
                                               "weight decay as much higher",
                                        .n_attrs = 1,
                                        .attrs = attrs_,
                                        .default_lr = 1e-4,
                                        .emit = emit};
static const cvr_optimizer_desc *const optimizers[] = {&lion};

const optimizer_family optimizer_lion = {
    .update.op = {.struct_size = sizeof(cvr_op_desc),
                  .name = "lion_update",
                  .version = 1,
                  .flags = CVR_OP_ORDER_FREE,
                  .min_inputs = 5,
                  .max_inputs = 5,
                  .n_attrs = 3,
                  .attrs = op_attrs,
                  .mutates = 1u << IN_PARAM | 1u << IN_STATE,
                  .infer = optimizer_infer,
                  .trait = traits,
                  .flops = flops,
                  .doc = "param -= lr * sign(beta1 * m + (1-beta1) * g) (Chen et al., 2023)"},
    .update.reference = {sizeof(cvr_cpu_fn), run},
    .multi = OPTIMIZER_MANY("lion_update"),
    .n_optimizers = 1,
    .optimizers = optimizers,
};
