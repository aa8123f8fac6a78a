/* Optimizers' updates (<cvr/plugin/ops/optim.h>) by update.k: one parameter, or many in one node. */
#include "device_ops.h"

#include <cvr/plugin/ops/optim.h>

/* Inputs of an update, and of one of many, where the shared ones come first. */
enum { IN_PARAM, IN_GRAD, IN_LR, IN_STEP, IN_STATE };
enum { MANY_LR, MANY_STEP, MANY_FIRST };

static int32_t run_update(update_params *p, uint32_t what, const cvr_recorder *r, cvr_error *err) {
    const uint32_t constants[] = {what};
    uint64_t groups = 0;
    for (uint32_t i = 0; i < p->count; i++) {
        p->group[i] = (uint32_t)groups;
        groups += device_groups(p->n[i], 4 * DEVICE_GROUP);
    }
    return DEVICE_LAUNCH(r, update, p, constants, groups, err);
}

static void add_param(update_params *p, const cvr_tensor *param, const cvr_tensor *grad,
                      const cvr_tensor *const state[3]) {
    const uint32_t i = p->count++;
    p->param[i] = device_address(param->data);
    p->gradient[i] = device_address(grad->data);
    p->n[i] = device_numel(param);
    p->first[i] = state[0] ? device_address(state[0]->data) : 0;
    p->second[i] = state[1] ? device_address(state[1]->data) : 0;
    p->third[i] = state[2] ? device_address(state[2]->data) : 0;
}

/* The op's tensors, `own` a parameter (param, grad, state...); as many dispatches as the table needs. */
static int32_t run_all(update_params *p, uint32_t what, const cvr_kernel_args *a, uint32_t own, const cvr_recorder *r,
                       cvr_error *err) {
    const int many = own != 0;
    p->rate = device_at(a, many ? MANY_LR : IN_LR);
    p->step = device_at(a, many ? MANY_STEP : IN_STEP);
    if (!many) {
        const cvr_tensor *const state[3] = {device_in(a, IN_STATE), device_in(a, IN_STATE + 1),
                                            device_in(a, IN_STATE + 2)};
        add_param(p, a->inputs[IN_PARAM], a->inputs[IN_GRAD], state);
        return run_update(p, what, r, err);
    }
    for (uint32_t i = MANY_FIRST; i < a->n_inputs; i += own) {
        const cvr_tensor *state[3] = {NULL, NULL, NULL};
        for (uint32_t k = 2; k < own; k++) state[k - 2] = device_in(a, i + k);
        add_param(p, a->inputs[i], a->inputs[i + 1], state);
        if (p->count < UPDATE_MOST && i + own < a->n_inputs) continue;
        CVR_TRY(run_update(p, what, r, err));
        p->count = 0;
    }
    return CVR_OK;
}

static float log_of(double beta) {
    return beta > 0 ? (float)log(beta) : -100.0f;
}

static void set_betas(update_params *p, const double betas[2]) {
    p->beta1 = (float)betas[0];
    p->beta2 = (float)betas[1];
    p->log_beta1 = log_of(betas[0]);
    p->log_beta2 = log_of(betas[1]);
}

static update_params sgd_params(const void *attrs) {
    const cvr_sgd_update_attrs *s = (const cvr_sgd_update_attrs *)attrs;
    return (update_params){.decay = (float)s->weight_decay,
                           .rate_factor = (float)s->lr_factor,
                           .momentum = (float)s->momentum,
                           .dampening = (float)s->dampening,
                           .nesterov = s->nesterov != 0};
}

static update_params adam_params(const void *attrs) {
    const cvr_adam_update_attrs *s = (const cvr_adam_update_attrs *)attrs;
    update_params p = {.decay = (float)s->weight_decay,
                       .rate_factor = (float)s->lr_factor,
                       .eps = (float)s->eps,
                       .decoupled = s->decoupled != 0};
    set_betas(&p, s->betas);
    return p;
}

static update_params rmsprop_params(const void *attrs) {
    const cvr_rmsprop_update_attrs *s = (const cvr_rmsprop_update_attrs *)attrs;
    return (update_params){.decay = (float)s->weight_decay,
                           .rate_factor = (float)s->lr_factor,
                           .beta2 = (float)s->alpha,
                           .eps = (float)s->eps,
                           .momentum = (float)s->momentum};
}

static update_params nadam_params(const void *attrs) {
    const cvr_nadam_update_attrs *s = (const cvr_nadam_update_attrs *)attrs;
    update_params p = {.decay = (float)s->weight_decay,
                       .rate_factor = (float)s->lr_factor,
                       .eps = (float)s->eps,
                       .decoupled = s->decoupled != 0,
                       .log_shrink = (float)(log(0.96) * s->momentum_decay)};
    set_betas(&p, s->betas);
    return p;
}

static update_params lion_params(const void *attrs) {
    const cvr_lion_update_attrs *s = (const cvr_lion_update_attrs *)attrs;
    update_params p = {.decay = (float)s->weight_decay, .rate_factor = (float)s->lr_factor};
    set_betas(&p, s->betas);
    return p;
}

/* A single update, and many: `own_` inputs of each parameter. */
#define UPDATE(name_, what_, own_)                                                                                     \
    static int32_t name_##_update(const cvr_kernel_args *a, const cvr_recorder *r, cvr_error *err) {                   \
        update_params p = name_##_params(a->attrs);                                                                    \
        return run_all(&p, what_, a, 0, r, err);                                                                       \
    }                                                                                                                  \
    static int32_t name_##_update_many(const cvr_kernel_args *a, const cvr_recorder *r, cvr_error *err) {              \
        update_params p = name_##_params(a->attrs);                                                                    \
        return run_all(&p, what_, a, own_, r, err);                                                                    \
    }
UPDATE(sgd, UPDATE_SGD, 3)
UPDATE(adam, UPDATE_ADAM, 4)
UPDATE(rmsprop, UPDATE_RMSPROP, 5)
UPDATE(nadam, UPDATE_NADAM, 4)
UPDATE(lion, UPDATE_LION, 3)

/* ---- running sums and means: pairs ---- */

static int32_t run_pairs(const cvr_kernel_args *a, uint32_t what, int of_i64, update_params *p, const cvr_recorder *r,
                         cvr_error *err) {
    static const cvr_tensor *const none[3] = {NULL, NULL, NULL};
    p->count = 0;
    for (uint32_t i = 1; i + 1 < a->n_inputs; i += 2)
        if ((a->inputs[i]->dtype == CVR_I64) == of_i64) add_param(p, a->inputs[i], a->inputs[i + 1], none);
    return p->count ? run_update(p, what, r, err) : CVR_OK;
}

static int32_t record_accumulate(const cvr_kernel_args *a, const cvr_recorder *r, cvr_error *err) {
    update_params p = {.step = device_at(a, 0)};
    return run_pairs(a, UPDATE_ACCUMULATE, 0, &p, r, err);
}

static int32_t record_average(const cvr_kernel_args *a, const cvr_recorder *r, cvr_error *err) {
    update_params p = {.rate = device_at(a, 0), .rate_factor = 1};
    CVR_TRY(run_pairs(a, UPDATE_AVERAGE, 0, &p, r, err));
    return run_pairs(a, UPDATE_AVERAGE_I64, 1, &p, r, err);
}

/* ---- by the lengths of parameter and move ---- */

/* Two sums of squares, then partial sums, then what moves the parameter. */
static uint64_t move_at(uint64_t n) {
    return 64 + device_padded(device_columns_workspace(n, 1));
}

static uint64_t lars_workspace(const cvr_signature *sig) {
    return move_at(device_numel(sig->inputs[IN_PARAM]));
}

static uint64_t lamb_workspace(const cvr_signature *sig) {
    const uint64_t n = device_numel(sig->inputs[IN_PARAM]);
    return move_at(n) + 4 * n;
}

static int32_t sum_squares(uint64_t x, uint32_t n, uint64_t to, void *partials, const cvr_recorder *r, cvr_error *err) {
    device_columns c = {.what = COLUMNS_PRODUCT,
                        .type_x = CVR_F32,
                        .type_b = CVR_F32,
                        .p = {.x = x, .b = x, .rows = n, .columns = 1},
                        .finish = {.out0 = to, .factor = 1}};
    return device_columns_run(&c, r, partials, err);
}

static int32_t find_norms(update_params *p, const cvr_kernel_args *a, uint64_t move, const cvr_recorder *r,
                          cvr_error *err) {
    char *const room = (char *)a->workspace;
    const uint32_t n = device_numel(a->inputs[IN_PARAM]);
    p->norms = device_address(room);
    CVR_TRY(sum_squares(device_at(a, IN_PARAM), n, p->norms, room + 64, r, err));
    return sum_squares(move, n, p->norms + sizeof(float), room + 64, r, err);
}

static int32_t record_lars(const cvr_kernel_args *a, const cvr_recorder *r, cvr_error *err) {
    const cvr_lars_update_attrs *s = (const cvr_lars_update_attrs *)a->attrs;
    update_params p = {.decay = (float)s->weight_decay,
                       .rate_factor = (float)s->lr_factor,
                       .momentum = (float)s->momentum,
                       .dampening = (float)s->dampening,
                       .nesterov = s->nesterov != 0,
                       .trust = (float)s->trust_coeff,
                       .eps = (float)s->eps,
                       .adapts = s->weight_decay != 0 || s->always_adapt};
    CVR_TRY(find_norms(&p, a, device_at(a, IN_GRAD), r, err));
    return run_all(&p, UPDATE_LARS, a, 0, r, err);
}

static int32_t record_lamb(const cvr_kernel_args *a, const cvr_recorder *r, cvr_error *err) {
    const cvr_lamb_update_attrs *s = (const cvr_lamb_update_attrs *)a->attrs;
    static const cvr_tensor *const none[3] = {NULL, NULL, NULL};
    const cvr_tensor *param = a->inputs[IN_PARAM];
    cvr_tensor move = *param;
    update_params p = {.decay = (float)s->weight_decay,
                       .rate_factor = (float)s->lr_factor,
                       .eps = (float)s->eps,
                       .adapts = s->weight_decay != 0 || s->always_adapt,
                       .rate = device_at(a, IN_LR),
                       .step = device_at(a, IN_STEP)};
    move.data = (char *)a->workspace + move_at(device_numel(param));
    const cvr_tensor *const state[3] = {a->inputs[IN_STATE], a->inputs[IN_STATE + 1], &move};
    set_betas(&p, s->betas);
    add_param(&p, param, a->inputs[IN_GRAD], state);
    CVR_TRY(run_update(&p, UPDATE_LAMB, r, err));
    CVR_TRY(find_norms(&p, a, device_address(move.data), r, err));
    p.count = 0;
    add_param(&p, param, &move, none);
    return run_update(&p, UPDATE_MOVE, r, err);
}

/* Parameters, gradients and what belongs to them are f32 whatever the network computes in. */
#define UPDATE_OP(op_, record_, ...) DEVICE_OP(op_, record_, .supports = device_supports_all_f32, ##__VA_ARGS__)
#define UPDATE_OPS(name_)                                                                                              \
    UPDATE_OP(#name_ "_update", name_##_update), UPDATE_OP(#name_ "_update_many", name_##_update_many)
const device_op device_update_ops[] = {UPDATE_OPS(sgd),
                                       UPDATE_OPS(adam),
                                       UPDATE_OPS(rmsprop),
                                       UPDATE_OPS(nadam),
                                       UPDATE_OPS(lion),
                                       UPDATE_OP("lars_update", record_lars, .workspace = lars_workspace),
                                       UPDATE_OP("lamb_update", record_lamb, .workspace = lamb_workspace),
                                       UPDATE_OP("gradient_accumulate", record_accumulate),
                                       UPDATE_OP("average_update", record_average),
                                       {.op = NULL}};
