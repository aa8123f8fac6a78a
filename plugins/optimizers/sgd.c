/* Stochastic gradient descent with momentum (Sutskever et al., 2013): torch.optim.SGD. Formulas in ops/optim.h. */
#include "optimizers.h"

static const cvr_attr_desc momentum_attr = {.struct_size = sizeof momentum_attr,
                                            .name = "momentum",
                                            .kind = CVR_ATTR_FLOAT,
                                            .count = 1,
                                            .flags = CVR_ATTR_MIN,
                                            .default_text = "0",
                                            .min = 0,
                                            .doc = "share of the last update that is kept"};
static const cvr_attr_desc dampening_attr = {.struct_size = sizeof dampening_attr,
                                             .name = "dampening",
                                             .kind = CVR_ATTR_FLOAT,
                                             .count = 1,
                                             .default_text = "0",
                                             .doc = "share of the gradient that momentum leaves out"};
static const cvr_attr_desc nesterov_attr = {.struct_size = sizeof nesterov_attr,
                                            .name = "nesterov",
                                            .kind = CVR_ATTR_BOOL,
                                            .count = 1,
                                            .default_text = "no",
                                            .doc = "look ahead along the momentum"};
static const cvr_attr_desc *const op_attrs[] = {&optimizer_decay_attr, &optimizer_factor_attr, &momentum_attr,
                                                &dampening_attr, &nesterov_attr};
static const cvr_attr_desc *const attrs_[] = {&momentum_attr, &dampening_attr, &nesterov_attr};

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
    const int first = optimizer_step(a) == 0;
    for (int64_t i = 0; i < optimizer_numel(a); i++) {
        double g = grad[i] + s->weight_decay * param[i];
        if (buf) {
            const double v = first ? g : s->momentum * buf[i] + (1 - s->dampening) * g;
            buf[i] = (float)v;
            g = s->nesterov ? g + s->momentum * v : v;
        }
        param[i] = (float)(param[i] - lr * g);
    }
    return CVR_OK;
}

static int32_t emit(const cvr_builder *b, const cvr_update_args *args, cvr_error *err) {
    const sgd_settings *s = args->attrs;
    const cvr_sgd_update_attrs call = {args->weight_decay, args->lr_factor, s->momentum, s->dampening, s->nesterov};
    cvr_value buffer = CVR_NONE;
    if (s->nesterov && (s->momentum <= 0 || s->dampening != 0))
        return cvr_fail(err, CVR_ERR_USAGE, "sgd: nesterov needs a momentum above 0 and no dampening");
    if (s->momentum != 0) CVR_TRY(optimizer_state(b, args->param, "momentum_buffer", &buffer, err));
    return optimizer_emit(b, args, "sgd_update", &call, sizeof call, &buffer, s->momentum != 0, err);
}

#define FLOPS 6.0 /* of an element */
#define OWN 3u    /* inputs of each of many parameters */

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
    return optimizer_many_decompose(b, a, "sgd_update", sizeof(cvr_sgd_update_attrs), OWN, err);
}

static const cvr_optimizer_desc sgd = {.struct_size = sizeof sgd,
                                       .name = "sgd",
                                       .doc = "stochastic gradient descent with momentum",
                                       .n_attrs = 3,
                                       .attrs = attrs_,
                                       .default_lr = 1e-3,
                                       .emit = emit};
static const cvr_optimizer_desc *const optimizers[] = {&sgd};

static const cvr_multi_tensor_trait multi_tensor = {sizeof multi_tensor, "sgd_update_many", OPTIMIZER_SHARED};
CVR_DEFINE_TRAITS(traits, {CVR_TRAIT_MULTI_TENSOR, &multi_tensor})

const optimizer_family optimizer_sgd = {
    .op = {.struct_size = sizeof(cvr_op_desc),
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
    .multi = {.infer = many_infer,
              .decompose = many_decompose,
              .flops = many_flops,
              .doc = "sgd_update of many parameters in one node"},
    .reference = {sizeof(cvr_cpu_fn), run},
    .n_optimizers = 1,
    .optimizers = optimizers,
};
