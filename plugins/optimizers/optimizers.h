/* What the files of the plugin "optimizers" share: an update op with its reference kernel, and optimizers that emit it.
 */
#ifndef CVR_PLUGINS_OPTIMIZERS_H
#define CVR_PLUGINS_OPTIMIZERS_H

#include <cvr/plugin/idle.h>
#include <cvr/plugin/ops/optim.h>
#include <cvr/plugin/ops/reference.h>

#include <math.h>
#include <stdbool.h>

/* What one file adds. `multi` is the rest of the multi-tensor op that the op's trait names: what optimizer_many()
 * cannot tell from `update`. Without the trait there is none. */
typedef struct optimizer_family {
    cvr_reference_op update;
    cvr_op_desc multi;
    uint32_t n_optimizers;
    uint32_t reserved;
    const cvr_optimizer_desc *const *optimizers;
} optimizer_family;

extern const optimizer_family optimizer_sgd;
extern const optimizer_family optimizer_adam;
extern const optimizer_family optimizer_rmsprop;
extern const optimizer_family optimizer_nadam;
extern const optimizer_family optimizer_lion;
extern const optimizer_family optimizer_lamb;
extern const optimizer_family optimizer_lars;

/* The ops that stand beside the updates, and the one that stands before them. */
extern const cvr_reference_op optimizer_running[2];
extern const cvr_reference_op optimizer_guard;

/* The inputs of every update op, before its state; lr and step are what the updates of many parameters share. */
enum { IN_PARAM, IN_GRAD, IN_LR, IN_STEP, IN_STATE };
#define OPTIMIZER_SHARED (1u << IN_LR | 1u << IN_STEP)

/* The attributes that every update op has first, and those that several have. */
extern const cvr_attr_desc optimizer_decay_attr, optimizer_factor_attr;
extern const cvr_attr_desc optimizer_betas_attr, optimizer_eps_attr;
extern const cvr_attr_desc optimizer_momentum_attr, optimizer_dampening_attr, optimizer_nesterov_attr;
extern const cvr_attr_desc optimizer_adapt_attr;

/* A step below 0 is idle: the update is vetoed. Of an op of one parameter, and of one of many. */
extern const cvr_idle_trait optimizer_idle, optimizer_idle_many;

/* param, grad and state: f32 of one shape and order; lr () f32, step () i64. */
int32_t optimizer_infer(const cvr_infer_args *a, cvr_error *err);

/* State of the parameter's shape and order that starts at zero. */
int32_t optimizer_state(const cvr_builder *b, cvr_value param, const char *name, cvr_value *out, cvr_error *err);

/* Adds the op: param, grad, lr, step, then n_state values. */
int32_t optimizer_emit(const cvr_builder *b, const cvr_update_args *args, const char *op, const void *attrs,
                       uint64_t attrs_size, const cvr_value *state, uint32_t n_state, cvr_error *err);

/* State of Adam and its kin: means of the gradient and of its square. */
int32_t optimizer_moments(const cvr_builder *b, cvr_value param, cvr_value out[2], cvr_error *err);

/* The momentum of SGD and LARS, where it is not 0; Nesterov's wants it above 0, and no dampening. */
int32_t optimizer_momentum(const cvr_builder *b, cvr_value param, double momentum, double dampening, int64_t nesterov,
                           cvr_value *out, cvr_error *err);

/*
 * The op that updates many parameters: lr, step, then every parameter's `own` inputs (param, grad, state). It means
 * what its decomposition says: the op of one parameter, once for each.
 */
cvr_op_desc optimizer_many(const optimizer_family *f);
int32_t optimizer_many_infer(const cvr_infer_args *a, uint32_t own, cvr_error *err);
int32_t optimizer_many_decompose(const cvr_builder *b, const cvr_decompose_args *a, const char *op, uint64_t attrs_size,
                                 uint32_t own, cvr_error *err);
double optimizer_many_flops(const cvr_infer_args *a, uint32_t own, double flops);
double optimizer_flops(const cvr_infer_args *a, double each);

/* Defines what family.multi takes: `own_` inputs of each parameter, `flops_` for each of its elements. */
#define OPTIMIZER_DEFINE_MANY(op_, attrs_type_, own_, flops_)                                                          \
    static double flops(const cvr_infer_args *a) {                                                                     \
        return optimizer_flops(a, flops_);                                                                             \
    }                                                                                                                  \
    static double many_flops(const cvr_infer_args *a) {                                                                \
        return optimizer_many_flops(a, own_, flops_);                                                                  \
    }                                                                                                                  \
    static int32_t many_infer(const cvr_infer_args *a, cvr_error *err) {                                               \
        return optimizer_many_infer(a, own_, err);                                                                     \
    }                                                                                                                  \
    static int32_t many_decompose(const cvr_builder *b, cvr_decompose_args *a, cvr_error *err) {                       \
        return optimizer_many_decompose(b, a, op_, sizeof(attrs_type_), own_, err);                                    \
    }                                                                                                                  \
    static const cvr_multi_tensor_trait multi_tensor = {sizeof multi_tensor, op_ "_many", OPTIMIZER_SHARED};           \
    CVR_DEFINE_TRAITS(traits, {CVR_TRAIT_MULTI_TENSOR, &multi_tensor}, {CVR_TRAIT_IDLE, &optimizer_idle})
#define OPTIMIZER_MANY(op_)                                                                                            \
    {                                                                                                                  \
        .infer = many_infer, .decompose = many_decompose, .flops = many_flops,                                         \
        .doc = op_ " of many parameters in one node"                                                                   \
    }

static inline float *optimizer_data(const cvr_kernel_args *a, uint32_t i) {
    return i < a->n_inputs && a->inputs[i] ? a->inputs[i]->data : NULL;
}

/* The norm of input i, in double. */
static inline double optimizer_norm(const cvr_kernel_args *a, uint32_t i) {
    const float *x = optimizer_data(a, i);
    double sum = 0;
    for (int64_t k = 0; k < cvr_numel(a->inputs[i]->rank, a->inputs[i]->shape); k++) sum += (double)x[k] * x[k];
    return sqrt(sum);
}

/* The step along the momentum of element i, and the momentum itself brought up to date; g where there is none. */
static inline double optimizer_along(float *momentum, int64_t i, double g, bool first, double keep, double dampening,
                                     int64_t nesterov) {
    if (!momentum) return g;
    const double v = first ? g : keep * momentum[i] + (1 - dampening) * g;
    momentum[i] = (float)v;
    return nesterov ? g + keep * v : v;
}

static inline double optimizer_lr(const cvr_kernel_args *a) {
    return *(const float *)a->inputs[IN_LR]->data;
}

static inline int64_t optimizer_step(const cvr_kernel_args *a) {
    return *(const int64_t *)a->inputs[IN_STEP]->data;
}

static inline bool optimizer_is_idle(const cvr_kernel_args *a) {
    return optimizer_step(a) < 0;
}

static inline int64_t optimizer_numel(const cvr_kernel_args *a) {
    return cvr_numel(a->inputs[IN_PARAM]->rank, a->inputs[IN_PARAM]->shape);
}

#endif
