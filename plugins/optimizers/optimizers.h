/* What the files of the plugin "optimizers" share: an update op with its reference kernel, and optimizers that emit it.
 */
#ifndef CVR_PLUGINS_OPTIMIZERS_H
#define CVR_PLUGINS_OPTIMIZERS_H

#include <cvr/plugin/ops/optim.h>
#include <cvr/plugin/plugin.h>

#include <math.h>

/* What one file adds. `multi` is the rest of the multi-tensor op that op's trait names: what optimizer_many() cannot
 * tell from `op`. Without the trait there is none. */
typedef struct optimizer_family {
    cvr_op_desc op;
    cvr_op_desc multi;
    cvr_cpu_fn reference;
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

/* An op that stands beside the updates, with its reference. */
typedef struct running_op {
    cvr_op_desc op;
    cvr_cpu_fn reference;
} running_op;
extern const running_op optimizer_running[2];

/* The inputs of every update op, before its state; lr and step are what the updates of many parameters share. */
enum { IN_PARAM, IN_GRAD, IN_LR, IN_STEP, IN_STATE };
#define OPTIMIZER_SHARED (1u << IN_LR | 1u << IN_STEP)

/* The attributes that every update op has first. */
extern const cvr_attr_desc optimizer_decay_attr, optimizer_factor_attr;

/* param, grad and state: f32 of one shape and order; lr () f32, step () i64. */
int32_t optimizer_infer(const cvr_infer_args *a, cvr_error *err);

/* State of the parameter's shape and order that starts at zero. */
int32_t optimizer_state(const cvr_builder *b, cvr_value param, const char *name, cvr_value *out, cvr_error *err);

/* Adds the op: param, grad, lr, step, then n_state values. */
int32_t optimizer_emit(const cvr_builder *b, const cvr_update_args *args, const char *op, const void *attrs,
                       uint64_t attrs_size, const cvr_value *state, uint32_t n_state, cvr_error *err);

/*
 * The op that updates many parameters: lr, step, then every parameter's `own` inputs (param, grad, state). It means
 * what its decomposition says: the op of one parameter, once for each.
 */
cvr_op_desc optimizer_many(const optimizer_family *f);
int32_t optimizer_many_infer(const cvr_infer_args *a, uint32_t own, cvr_error *err);
int32_t optimizer_many_decompose(const cvr_builder *b, const cvr_decompose_args *a, const char *op, uint64_t attrs_size,
                                 uint32_t own, cvr_error *err);
double optimizer_many_flops(const cvr_infer_args *a, uint32_t own, double flops);

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

static inline double optimizer_lr(const cvr_kernel_args *a) {
    return *(const float *)a->inputs[IN_LR]->data;
}

static inline int64_t optimizer_step(const cvr_kernel_args *a) {
    return *(const int64_t *)a->inputs[IN_STEP]->data;
}

static inline int64_t optimizer_numel(const cvr_kernel_args *a) {
    return cvr_numel(a->inputs[IN_PARAM]->rank, a->inputs[IN_PARAM]->shape);
}

#endif
