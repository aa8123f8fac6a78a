/* RMSprop (Hinton's lecture 6e, 2012; centred: Graves, 2013): torch.optim.RMSprop. Formulas in ops/optim.h. */
#include "optimizers.h"

static const cvr_attr_desc alpha_attr = {.struct_size = sizeof alpha_attr,
                                         .name = "alpha",
                                         .kind = CVR_ATTR_FLOAT,
                                         .count = 1,
                                         .flags = CVR_ATTR_MIN,
                                         .default_text = "0.99",
                                         .min = 0,
                                         .doc = "memory of the mean square"};
static const cvr_attr_desc centered_attr = {.struct_size = sizeof centered_attr,
                                            .name = "centered",
                                            .kind = CVR_ATTR_BOOL,
                                            .count = 1,
                                            .default_text = "no",
                                            .doc = "divide by the standard deviation instead of the root mean square"};
static const cvr_attr_desc *const op_attrs[] = {&optimizer_decay_attr, &optimizer_factor_attr, &alpha_attr,
                                                &optimizer_eps_attr, &optimizer_momentum_attr};
static const cvr_attr_desc *const attrs_[] = {&alpha_attr, &optimizer_eps_attr, &optimizer_momentum_attr,
                                              &centered_attr};

/* As attrs_ packs it. */
typedef struct rmsprop_settings {
    double alpha, eps, momentum;
    int64_t centered;
} rmsprop_settings;

static int32_t run(const cvr_kernel_args *a, cvr_error *err) {
    (void)err;
    const cvr_rmsprop_update_attrs *s = a->attrs;
    float *param = optimizer_data(a, IN_PARAM), *square = optimizer_data(a, IN_STATE);
    float *buf = optimizer_data(a, IN_STATE + 1), *mean = optimizer_data(a, IN_STATE + 2);
    const float *grad = optimizer_data(a, IN_GRAD);
    const double lr = optimizer_lr(a) * s->lr_factor;
    if (optimizer_is_idle(a)) return CVR_OK;
    for (int64_t i = 0; i < optimizer_numel(a); i++) {
        const double g = grad[i] + s->weight_decay * param[i];
        double v = s->alpha * square[i] + (1 - s->alpha) * g * g;
        square[i] = (float)v;
        if (mean) {
            const double m = mean[i] + (1 - s->alpha) * (g - mean[i]);
            mean[i] = (float)m;
            v -= m * m;
        }
        double update = g / (sqrt(v) + s->eps);
        if (buf) {
            update += s->momentum * buf[i];
            buf[i] = (float)update;
        }
        param[i] = (float)(param[i] - lr * update);
    }
    return CVR_OK;
}

static int32_t emit(const cvr_builder *b, const cvr_update_args *args, cvr_error *err) {
    const rmsprop_settings *s = args->attrs;
    const cvr_rmsprop_update_attrs call = {args->weight_decay, args->lr_factor, s->alpha, s->eps, s->momentum};
    cvr_value state[3] = {CVR_NONE, CVR_NONE, CVR_NONE};
    CVR_TRY(optimizer_state(b, args->param, "square_avg", &state[0], err));
    if (s->momentum > 0) CVR_TRY(optimizer_state(b, args->param, "momentum_buffer", &state[1], err));
    if (s->centered) CVR_TRY(optimizer_state(b, args->param, "grad_avg", &state[2], err));
    return optimizer_emit(b, args, "rmsprop_update", &call, sizeof call, state, 3, err);
}

OPTIMIZER_DEFINE_MANY("rmsprop_update", cvr_rmsprop_update_attrs, 5u, 14.0)

static const cvr_optimizer_desc rmsprop = {.struct_size = sizeof rmsprop,
                                           .name = "rmsprop",
                                           .doc = "gradient divided by its running root mean square",
                                           .n_attrs = 4,
                                           .attrs = attrs_,
                                           .default_lr = 1e-2,
                                           .emit = emit};
static const cvr_optimizer_desc *const optimizers[] = {&rmsprop};

const optimizer_family optimizer_rmsprop = {
    .update.op = {.struct_size = sizeof(cvr_op_desc),
                  .name = "rmsprop_update",
                  .version = 1,
                  .flags = CVR_OP_ORDER_FREE,
                  .min_inputs = 5,
                  .max_inputs = 7,
                  .n_attrs = 5,
                  .attrs = op_attrs,
                  .mutates = 1u << IN_PARAM | 1u << IN_STATE | 1u << (IN_STATE + 1) | 1u << (IN_STATE + 2),
                  .optional = 1u << (IN_STATE + 1) | 1u << (IN_STATE + 2),
                  .infer = optimizer_infer,
                  .trait = traits,
                  .flops = flops,
                  .doc = "param -= lr * g / (sqrt(mean of g^2) + eps), with momentum, centred or not"},
    .update.reference = {sizeof(cvr_cpu_fn), run},
    .multi = OPTIMIZER_MANY("rmsprop_update"),
    .n_optimizers = 1,
    .optimizers = optimizers,
};
