/*
 * What an optimizer does to parameters, running means and sums, and to gradients before (<cvr/plugin/ops/optim.h>). The
 * results are the new values of what changes, in the order of the inputs; their buffers take the place of the old ones.
 */
#include "emit.h"
#include <cvr/plugin/idle.h>
#include <cvr/plugin/ops/optim.h>
#include <float.h>
#include <math.h>

/* One parameter: what an update reads, and the new values. */
typedef struct update {
    hlo_value param, grad, state[3];
    int has[3];
} update;

/* What all parameters of a node share, from lr and step. */
typedef struct shared {
    hlo_value lr, t; /* t = step + 1, f32 */
    hlo_value is_first, idle;
} shared;

typedef void (*update_fn)(hlo *h, const shared *s, update *u);

static hlo_value times(hlo *h, hlo_value a, double by) {
    return by == 1 ? a : hlo_scale(h, a, by);
}

/* 1 - beta^t, exact also where beta is almost 1. */
static hlo_value correction(hlo *h, const shared *s, double beta) {
    if (beta <= 0) return hlo_f32(h, 1);
    return hlo_unary(h, "negate", hlo_unary(h, "exponential_minus_one", hlo_scale(h, s->t, log(beta))));
}

static hlo_value length_of(hlo *h, hlo_value x) {
    return hlo_unary(h, "sqrt", hlo_sum(h, hlo_mul(h, x, x), (1u << x.rank) - 1));
}

static hlo_value decayed(hlo *h, const update *u, double decay) {
    return decay != 0 ? hlo_add(h, u->grad, hlo_scale(h, u->param, decay)) : u->grad;
}

/* param * (1 - lr * decay) */
static hlo_value shrunk(hlo *h, const shared *s, hlo_value param, double decay) {
    if (decay == 0) return param;
    return hlo_mul(h, param, hlo_sub(h, hlo_f32(h, 1), hlo_scale(h, s->lr, decay)));
}

/* The gradient with its decay; a decoupled one shrinks the parameter instead. */
static hlo_value with_decay(hlo *h, const shared *s, update *u, double decay, int64_t decoupled) {
    if (!decoupled) return decayed(h, u, decay);
    u->param = shrunk(h, s, u->param, decay);
    return u->grad;
}

/* mean += (1 - beta) * (x - mean) */
static hlo_value moved(hlo *h, hlo_value mean, hlo_value x, double beta) {
    return hlo_add(h, mean, hlo_scale(h, hlo_sub(h, x, mean), 1 - beta));
}

/* square = beta * square + (1 - beta) * g * g */
static hlo_value squares(hlo *h, hlo_value square, hlo_value g, double beta) {
    return hlo_add(h, hlo_scale(h, square, beta), hlo_mul(h, hlo_scale(h, g, 1 - beta), g));
}

/* Where momentum takes g; sgd's and lars's. */
static hlo_value along(hlo *h, const shared *s, update *u, hlo_value g, const double settings[2], int64_t nesterov) {
    if (settings[0] == 0 || !u->has[0]) return g;
    const hlo_value kept = hlo_scale(h, u->state[0], settings[0]);
    u->state[0] = hlo_select(h, s->is_first, g, hlo_add(h, kept, times(h, g, 1 - settings[1])));
    return nesterov ? hlo_add(h, g, hlo_scale(h, u->state[0], settings[0])) : u->state[0];
}

static void step_by(hlo *h, const shared *s, update *u, hlo_value d, double factor) {
    u->param = hlo_sub(h, u->param, hlo_mul(h, d, times(h, s->lr, factor)));
}

static void sgd(hlo *h, const shared *s, update *u) {
    const cvr_sgd_update_attrs *a = HLO_ATTRS(cvr_sgd_update_attrs);
    const double settings[2] = {a->momentum, a->dampening};
    step_by(h, s, u, along(h, s, u, decayed(h, u, a->weight_decay), settings, a->nesterov), 1);
}

/* sqrt(square) / sqrt(1 - beta^t) + eps */
static hlo_value adam_below(hlo *h, const shared *s, hlo_value square, double beta, double eps) {
    const hlo_value root = hlo_unary(h, "sqrt", square), by = hlo_unary(h, "sqrt", correction(h, s, beta));
    return hlo_add(h, hlo_div(h, root, by), hlo_f32(h, eps));
}

static void adam(hlo *h, const shared *s, update *u) {
    const cvr_adam_update_attrs *a = HLO_ATTRS(cvr_adam_update_attrs);
    const hlo_value g = with_decay(h, s, u, a->weight_decay, a->decoupled);
    u->state[0] = moved(h, u->state[0], g, a->betas[0]);
    u->state[1] = squares(h, u->state[1], g, a->betas[1]);
    const hlo_value below = adam_below(h, s, u->state[1], a->betas[1], a->eps);
    const hlo_value rate = hlo_div(h, s->lr, correction(h, s, a->betas[0]));
    u->param = hlo_sub(h, u->param, hlo_mul(h, hlo_div(h, u->state[0], below), rate));
}

static void rmsprop(hlo *h, const shared *s, update *u) {
    const cvr_rmsprop_update_attrs *a = HLO_ATTRS(cvr_rmsprop_update_attrs);
    hlo_value g = decayed(h, u, a->weight_decay);
    u->state[0] = squares(h, u->state[0], g, a->alpha);
    hlo_value v = u->state[0];
    if (u->has[2]) {
        u->state[2] = moved(h, u->state[2], g, a->alpha);
        v = hlo_sub(h, v, hlo_mul(h, u->state[2], u->state[2]));
    }
    g = hlo_div(h, g, hlo_add(h, hlo_unary(h, "sqrt", v), hlo_f32(h, a->eps)));
    if (u->has[1]) g = u->state[1] = hlo_add(h, hlo_scale(h, u->state[1], a->momentum), g);
    step_by(h, s, u, g, 1);
}

/* mu_i = beta1 * (1 - 0.96^(i * momentum_decay) / 2), for i = t */
static hlo_value nadam_mu(hlo *h, hlo_value i, const cvr_nadam_update_attrs *a) {
    const hlo_value power = hlo_unary(h, "exponential", hlo_scale(h, i, log(0.96) * a->momentum_decay));
    return hlo_scale(h, hlo_sub(h, hlo_f32(h, 1), hlo_scale(h, power, 0.5)), a->betas[0]);
}

/* All mu are below beta1: after so many steps their product is nothing beside 1. */
static int64_t nadam_terms(double beta) {
    if (beta <= 0) return 1;
    const double n = log(1e-9) / log(beta);
    return n < 1 ? 1 : n > 65536 ? 65536 : (int64_t)n + 1;
}

/* The product of mu_1 to mu_t: of a table of its terms, 1 from t on. */
static hlo_value nadam_product(hlo *h, const shared *s, const cvr_nadam_update_attrs *a) {
    const hlo_value like = {.dtype = CVR_F32, .rank = 1, .shape = {nadam_terms(a->betas[0])}};
    const hlo_value i = hlo_add(h, hlo_iota(h, CVR_F32, like, 0), hlo_f32(h, 1));
    const hlo_value logs = hlo_unary(h, "log", nadam_mu(h, i, a));
    const hlo_value counts = hlo_compare(h, "LE", i, s->t);
    return hlo_unary(h, "exponential", hlo_sum(h, hlo_select(h, counts, logs, hlo_f32(h, 0)), 1));
}

static void nadam(hlo *h, const shared *s, update *u) {
    const cvr_nadam_update_attrs *a = HLO_ATTRS(cvr_nadam_update_attrs);
    const hlo_value one = hlo_f32(h, 1), mu = nadam_mu(h, s->t, a), next = nadam_mu(h, hlo_add(h, s->t, one), a);
    const hlo_value product = a->betas[0] > 0 ? nadam_product(h, s, a) : hlo_f32(h, 0);
    const hlo_value g = with_decay(h, s, u, a->weight_decay, a->decoupled);
    u->state[0] = moved(h, u->state[0], g, a->betas[0]);
    u->state[1] = squares(h, u->state[1], g, a->betas[1]);
    const hlo_value mean = hlo_div(h, u->state[1], correction(h, s, a->betas[1]));
    const hlo_value d = hlo_add(h, hlo_unary(h, "sqrt", mean), hlo_f32(h, a->eps));
    const hlo_value now = hlo_div(h, hlo_mul(h, s->lr, hlo_sub(h, one, mu)), hlo_sub(h, one, product));
    const hlo_value then = hlo_div(h, hlo_mul(h, s->lr, next), hlo_sub(h, one, hlo_mul(h, product, next)));
    const hlo_value by_g = hlo_div(h, hlo_mul(h, g, now), d), by_m = hlo_div(h, hlo_mul(h, u->state[0], then), d);
    u->param = hlo_sub(h, hlo_sub(h, u->param, by_g), by_m);
}

static void lion(hlo *h, const shared *s, update *u) {
    const cvr_lion_update_attrs *a = HLO_ATTRS(cvr_lion_update_attrs);
    const hlo_value mix = hlo_add(h, hlo_scale(h, u->state[0], a->betas[0]), hlo_scale(h, u->grad, 1 - a->betas[0]));
    u->param = shrunk(h, s, u->param, a->weight_decay);
    step_by(h, s, u, hlo_unary(h, "sign", mix), 1);
    u->state[0] = moved(h, u->state[0], u->grad, a->betas[1]);
}

/* a / b, and 1 where either is 0, or nothing is adapted. */
static hlo_value ratio_of(hlo *h, hlo_value a, hlo_value b, hlo_value quotient, int adapts) {
    const hlo_value zero = hlo_f32(h, 0), one = hlo_f32(h, 1);
    if (!adapts) return one;
    const hlo_value both = hlo_binary(h, "and", hlo_compare(h, "GT", a, zero), hlo_compare(h, "GT", b, zero));
    return hlo_select(h, both, quotient, one);
}

static void lamb(hlo *h, const shared *s, update *u) {
    const cvr_lamb_update_attrs *a = HLO_ATTRS(cvr_lamb_update_attrs);
    u->state[0] = moved(h, u->state[0], u->grad, a->betas[0]);
    u->state[1] = squares(h, u->state[1], u->grad, a->betas[1]);
    const hlo_value below = adam_below(h, s, u->state[1], a->betas[1], a->eps);
    hlo_value d = hlo_div(h, hlo_div(h, u->state[0], correction(h, s, a->betas[0])), below);
    if (a->weight_decay != 0) d = hlo_add(h, d, hlo_scale(h, u->param, a->weight_decay));
    const hlo_value size = length_of(h, u->param), length = length_of(h, d);
    const int adapts = a->weight_decay != 0 || a->always_adapt;
    step_by(h, s, u, hlo_mul(h, d, ratio_of(h, size, length, hlo_div(h, size, length), adapts)), 1);
}

static void lars(hlo *h, const shared *s, update *u) {
    const cvr_lars_update_attrs *a = HLO_ATTRS(cvr_lars_update_attrs);
    const double settings[2] = {a->momentum, a->dampening};
    const hlo_value size = length_of(h, u->param), length = length_of(h, u->grad);
    const hlo_value below = hlo_add(h, hlo_add(h, length, hlo_scale(h, size, a->weight_decay)), hlo_f32(h, a->eps));
    const hlo_value quotient = hlo_div(h, hlo_scale(h, size, a->trust_coeff), below);
    const hlo_value ratio = ratio_of(h, size, length, quotient, a->weight_decay != 0 || a->always_adapt);
    const hlo_value g = hlo_mul(h, decayed(h, u, a->weight_decay), ratio);
    step_by(h, s, u, along(h, s, u, g, settings, a->nesterov), 1);
}

/* ---- one parameter, or many in one node ---- */

/* Every update op's attributes begin with these two. */
typedef struct first_attrs {
    double weight_decay, lr_factor;
} first_attrs;

static shared read_shared(hlo *h, uint32_t lr) {
    const hlo_value step = hlo_reshape(h, hlo_input_raw(h, lr + 1), 0, NULL);
    const hlo_value t = hlo_add(h, hlo_convert(h, step, CVR_F32), hlo_f32(h, 1));
    const hlo_value rate = hlo_reshape(h, hlo_input(h, lr), 0, NULL);
    return (shared){times(h, rate, HLO_ATTRS(first_attrs)->lr_factor), t,
                    hlo_compare(h, "EQ", step, hlo_integer(h, CVR_I64, 0)),
                    hlo_compare(h, "LT", step, hlo_integer(h, CVR_I64, 0))};
}

/* Reads param, grad and state from these inputs, and gives the new values; the old ones where the step is below 0,
 * which means that the update was vetoed (<cvr/plugin/idle.h>). */
static void update_one(hlo *h, const shared *s, update_fn fn, const uint32_t *inputs, uint32_t n_state) {
    update u = {.param = hlo_input(h, inputs[0]), .grad = hlo_input(h, inputs[1])};
    for (uint32_t i = 0; i < n_state; i++) {
        u.has[i] = hlo_has(h, inputs[2 + i]);
        if (u.has[i]) u.state[i] = hlo_input(h, inputs[2 + i]);
    }
    const update old = u;
    fn(h, s, &u);
    hlo_result(h, hlo_select(h, s->idle, old.param, u.param));
    for (uint32_t i = 0; i < n_state; i++)
        if (u.has[i]) hlo_result(h, hlo_select(h, s->idle, old.state[i], u.state[i]));
}

static void update_single(hlo *h, update_fn fn, uint32_t n_state) {
    static const uint32_t inputs[5] = {0, 1, 4, 5, 6};
    const shared s = read_shared(h, 2);
    update_one(h, &s, fn, inputs, n_state);
}

static void update_many(hlo *h, update_fn fn, uint32_t n_state) {
    const shared s = read_shared(h, 0);
    for (uint32_t i = 2; i + 1 < h->a->n_inputs; i += 2 + n_state) {
        const uint32_t inputs[5] = {i, i + 1, i + 2, i + 3, i + 4};
        update_one(h, &s, fn, inputs, n_state);
    }
}

#define SINGLE(name_, n_state_)                                                                                        \
    HLO_EMITTER(name_##_update) {                                                                                      \
        update_single(h, name_, n_state_);                                                                             \
    }
#define BOTH(name_, n_state_)                                                                                          \
    SINGLE(name_, n_state_)                                                                                            \
    HLO_EMITTER(name_##_update_many) {                                                                                 \
        update_many(h, name_, n_state_);                                                                               \
    }
BOTH(sgd, 1)
BOTH(adam, 2)
BOTH(rmsprop, 3)
BOTH(nadam, 2)
BOTH(lion, 1)
SINGLE(lamb, 2)
SINGLE(lars, 1)

/* ---- pairs: a running sum or mean, and what goes into it ---- */

HLO_EMITTER(gradient_accumulate) {
    const hlo_value part = hlo_reshape(h, hlo_input_raw(h, 0), 0, NULL);
    const hlo_value begins = hlo_compare(h, "EQ", part, hlo_integer(h, CVR_I64, 0));
    for (uint32_t i = 1; i + 1 < h->a->n_inputs; i += 2) {
        const hlo_value old = hlo_input(h, i), more = hlo_input(h, i + 1);
        hlo_result(h, hlo_select(h, begins, more, hlo_add(h, old, more)));
    }
}

/* What is not kept is not read: it may never have been written. */
static hlo_value blended(hlo *h, hlo_value weight, hlo_value old, hlo_value value) {
    const hlo_value one = hlo_f32(h, 1), keep = hlo_sub(h, one, weight);
    const hlo_value a = hlo_mul(h, hlo_convert(h, old, CVR_F32), keep);
    const hlo_value b = hlo_mul(h, hlo_convert(h, value, CVR_F32), weight);
    const hlo_value all = hlo_compare(h, "EQ", keep, hlo_f32(h, 0)), none = hlo_compare(h, "EQ", weight, hlo_f32(h, 0));
    const hlo_value mix = hlo_select(h, all, b, hlo_add(h, a, b));
    return hlo_select(h, none, old, hlo_convert(h, mix, old.dtype));
}

HLO_EMITTER(average_update) {
    const hlo_value weight = hlo_reshape(h, hlo_input(h, 0), 0, NULL);
    for (uint32_t i = 1; i + 1 < h->a->n_inputs; i += 2)
        hlo_result(h, blended(h, weight, hlo_input_raw(h, i), hlo_input_raw(h, i + 1)));
}

/* ---- vetoes ---- */

static hlo_value says_no(hlo *h, hlo_value veto, int64_t finite) {
    if (veto.dtype != CVR_F32) return hlo_compare(h, "NE", veto, hlo_integer(h, veto.dtype, 0));
    if (!finite) return hlo_compare(h, "NE", veto, hlo_f32(h, 0));
    const hlo_value most = hlo_f32(h, (double)FLT_MAX), size = hlo_unary(h, "abs", veto);
    return hlo_binary(h, "or", hlo_compare(h, "GT", size, most), hlo_compare(h, "NE", veto, veto));
}

HLO_EMITTER(update_guard) {
    const cvr_update_guard_attrs *s = HLO_ATTRS(cvr_update_guard_attrs);
    hlo_value x = hlo_reshape(h, hlo_input_raw(h, 0), 0, NULL);
    const hlo_value idle = x.dtype == CVR_F32 ? hlo_f32(h, s->idle) : hlo_integer(h, CVR_I64, (int64_t)s->idle);
    for (uint32_t i = 1; i < h->a->n_inputs; i++) {
        const hlo_value veto = hlo_reshape(h, hlo_input_raw(h, i), 0, NULL);
        if (s->finite && veto.dtype != CVR_F32) continue;
        x = hlo_select(h, says_no(h, veto, s->finite), idle, x);
    }
    hlo_result(h, x);
}

/* ---- gradients, before the updates ---- */

HLO_EMITTER(gradient_sum_squares) {
    hlo_value sum = hlo_f32(h, 0);
    for (uint32_t i = 0; i < h->a->n_inputs; i++) {
        const hlo_value x = hlo_input(h, i);
        sum = hlo_add(h, sum, hlo_sum(h, hlo_mul(h, x, x), (1u << x.rank) - 1));
    }
    hlo_result(h, sum);
}

HLO_EMITTER(gradient_clip_factor) {
    const hlo_value norm = hlo_unary(h, "sqrt", hlo_reshape(h, hlo_input(h, 0), 0, NULL)), one = hlo_f32(h, 1);
    const hlo_value most = hlo_f32(h, HLO_ATTRS(cvr_gradient_clip_attrs)->max_norm);
    const hlo_value factor = hlo_div(h, most, hlo_add(h, norm, hlo_f32(h, 1e-6)));
    hlo_result(h, hlo_select(h, hlo_compare(h, "GT", factor, one), one, factor));
    hlo_result(h, norm);
}

HLO_EMITTER(gradient_scale) {
    hlo_result(h, hlo_mul(h, hlo_input(h, 0), hlo_reshape(h, hlo_input(h, 1), 0, NULL)));
}

HLO_EMITTER(gradient_clip_units) {
    const hlo_value grad = hlo_input(h, 0), one = hlo_f32(h, 1);
    const int64_t units = grad.rank < 2 ? 1 : grad.shape[0], shape[2] = {units, hlo_count(grad) / units};
    const hlo_value g = hlo_reshape(h, grad, 2, shape), p = hlo_reshape(h, hlo_input(h, 1), 2, shape);
    const hlo_value norm = hlo_unary(h, "sqrt", hlo_sum(h, hlo_mul(h, g, g), 2));
    const hlo_value size = hlo_unary(h, "sqrt", hlo_sum(h, hlo_mul(h, p, p), 2));
    const hlo_value most = hlo_scale(h, hlo_binary(h, "maximum", size, hlo_f32(h, 1e-3)),
                                     HLO_ATTRS(cvr_gradient_clip_units_attrs)->clip_factor);
    const hlo_value by = hlo_div(h, most, hlo_binary(h, "maximum", norm, hlo_f32(h, 1e-6)));
    const hlo_value factor = hlo_select(h, hlo_compare(h, "LT", norm, most), one, by);
    hlo_result(h, hlo_mul(h, g, hlo_expand(h, factor, g, 2)));
}

#define UPDATE(name_) HLO_OP(#name_, name_)
const hlo_op emit_update_ops[] = {UPDATE(sgd_update),           UPDATE(sgd_update_many),
                                  UPDATE(adam_update),          UPDATE(adam_update_many),
                                  UPDATE(rmsprop_update),       UPDATE(rmsprop_update_many),
                                  UPDATE(nadam_update),         UPDATE(nadam_update_many),
                                  UPDATE(lion_update),          UPDATE(lion_update_many),
                                  UPDATE(lamb_update),          UPDATE(lars_update),
                                  UPDATE(gradient_accumulate),  UPDATE(average_update),
                                  UPDATE(update_guard),         UPDATE(gradient_sum_squares),
                                  UPDATE(gradient_clip_factor), UPDATE(gradient_scale),
                                  UPDATE(gradient_clip_units),  {.op = NULL}};
