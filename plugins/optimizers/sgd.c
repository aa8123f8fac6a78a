/* Stochastic gradient descent with momentum (Sutskever et al., 2013): torch.optim.SGD. Formulas in ops/optim.h. */
#include "optimizers.h"

static const cvr_attr_desc *const op_attrs[] = {&optimizer_decay_attr, &optimizer_factor_attr, &optimizer_momentum_attr,
                                                &optimizer_dampening_attr, &optimizer_nesterov_attr};
static const cvr_attr_desc *const attrs_[] = {&optimizer_momentum_attr, &optimizer_dampening_attr,
                                              &optimizer_nesterov_attr};

/* As attrs_ packs it. */
typedef struct sgd_settings {
    double momentum, dampening;
    int64_t nesterov;
} sgd_settings;

static int32_t run(const cvr_kernel_args *a, cvr_error *err) {
    (void)err;
    const cvr_sgd_update_attrs *s = a->attrs;
    float *param = optimizer_data(a, IN_PARAM), *buf = optimizer_data(a, IN_STATE);
    const float *grad = optimizer_data(a, IN_GRAD);
    const double lr = optimizer_lr(a) * s->lr_factor;
    const bool first = optimizer_step(a) == 0;
    if (optimizer_is_idle(a)) return CVR_OK;
    for (int64_t i = 0; i < optimizer_numel(a); i++) {
        const double g = grad[i] + s->weight_decay * param[i];
        const double d = optimizer_along(buf, i, g, first, s->momentum, s->dampening, s->nesterov);
        param[i] = (float)(param[i] - lr * d);
    }
    return CVR_OK;
}

static int32_t emit(const cvr_builder *b, const cvr_update_args *args, cvr_error *err) {
    const sgd_settings *s = args->attrs;
    const cvr_sgd_update_attrs call = {args->weight_decay, args->lr_factor, s->momentum, s->dampening, s->nesterov};
    cvr_value buffer;
    CVR_TRY(optimizer_momentum(b, args->param, s->momentum, s->dampening, s->nesterov, &buffer, err));
    return optimizer_emit(b, args, "sgd_update", &call, sizeof call, &buffer, s->momentum != 0, err);
}

OPTIMIZER_DEFINE_MANY("sgd_update", cvr_sgd_update_attrs, 3u, 6.0)

static const cvr_optimizer_desc sgd = {.struct_size = sizeof sgd,
                                       .name = "sgd",
                                       .doc = "stochastic gradient descent with momentum",
                                       .n_attrs = 3,
                                       .attrs = attrs_,
                                       .default_lr = 1e-3,
                                       .emit = emit};
static const cvr_optimizer_desc *const optimizers[] = {&sgd};

const optimizer_family optimizer_sgd = {
    .update.op = {.struct_size = sizeof(cvr_op_desc),
                  .name = "sgd_update",
                  .version = 1,
                  .flags = CVR_OP_ORDER_FREE,
                  .min_inputs = 4,
                  .max_inputs = 5,
                  .n_attrs = 5,
                  .attrs = op_attrs,
                  .mutates = 1u << IN_PARAM | 1u << IN_STATE,
                  .optional = 1u << IN_STATE,
                  .infer = optimizer_infer,
                  .trait = traits,
                  .flops = flops,
                  .doc = "buf = momentum * buf + (1-dampening) * g; param -= lr * buf"},
    .update.reference = {sizeof(cvr_cpu_fn), run},
    .multi = OPTIMIZER_MANY("sgd_update"),
    .n_optimizers = 1,
    .optimizers = optimizers,
};
