/* Adam (Kingma and Ba, 2015) and AdamW (Loshchilov and Hutter, 2019): torch.optim. Formulas in ops/optim.h. */
#include "optimizers.h"

static const cvr_attr_desc betas_attr = {.struct_size = sizeof betas_attr,
                                         .name = "betas",
                                         .kind = CVR_ATTR_FLOAT,
                                         .count = 2,
                                         .flags = CVR_ATTR_MIN | CVR_ATTR_MAX,
                                         .default_text = "0.9,0.999",
                                         .min = 0,
                                         .max = 0.99999999999,
                                         .doc = "memory of the mean gradient and of its mean square"};
static const cvr_attr_desc eps_attr = {.struct_size = sizeof eps_attr,
                                       .name = "eps",
                                       .kind = CVR_ATTR_FLOAT,
                                       .count = 1,
                                       .flags = CVR_ATTR_MIN,
                                       .default_text = "1e-08",
                                       .min = 0,
                                       .doc = "added to the root of the mean square"};
static const cvr_attr_desc decoupled_attr = {.struct_size = sizeof decoupled_attr,
                                             .name = "decoupled",
                                             .kind = CVR_ATTR_BOOL,
                                             .count = 1,
                                             .doc = "weight decay acts on the parameter, not on the gradient"};
static const cvr_attr_desc *const op_attrs[] = {&optimizer_decay_attr, &optimizer_factor_attr, &betas_attr, &eps_attr,
                                                &decoupled_attr};
static const cvr_attr_desc *const attrs_[] = {&betas_attr, &eps_attr};

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
    CVR_TRY(optimizer_state(b, args->param, "exp_avg", &state[0], err));
    CVR_TRY(optimizer_state(b, args->param, "exp_avg_sq", &state[1], err));
    return optimizer_emit(b, args, "adam_update", &call, sizeof call, state, 2, err);
}

static int32_t emit_adam(const cvr_builder *b, const cvr_update_args *args, cvr_error *err) {
    return emit(b, args, 0, err);
}

static int32_t emit_adamw(const cvr_builder *b, const cvr_update_args *args, cvr_error *err) {
    return emit(b, args, 1, err);
}

#define FLOPS 14.0 /* of an element */
#define OWN 4u     /* inputs of each of many parameters */

static double flops(const cvr_infer_args *a) {
    return FLOPS * (double)cvr_numel(a->inputs[0]->rank, a->inputs[0]->shape);
}

static double many_flops(const cvr_infer_args *a) {
    return optimizer_many_flops(a, OWN, FLOPS);
}

static int32_t many_infer(const cvr_infer_args *a, cvr_error *err) {
    return optimizer_many_infer(a, OWN, err);
}

static int32_t many_decompose(const cvr_builder *b, cvr_decompose_args *a, cvr_error *err) {
    return optimizer_many_decompose(b, a, "adam_update", sizeof(cvr_adam_update_attrs), OWN, err);
}

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

static const cvr_multi_tensor_trait multi_tensor = {sizeof multi_tensor, "adam_update_many", OPTIMIZER_SHARED};
CVR_DEFINE_TRAITS(traits, {CVR_TRAIT_MULTI_TENSOR, &multi_tensor})

const optimizer_family optimizer_adam = {
    .op = {.struct_size = sizeof(cvr_op_desc),
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
    .multi = {.infer = many_infer,
              .decompose = many_decompose,
              .flops = many_flops,
              .doc = "adam_update of many parameters in one node"},
    .reference = {sizeof(cvr_cpu_fn), run},
    .n_optimizers = 2,
    .optimizers = optimizers,
};
