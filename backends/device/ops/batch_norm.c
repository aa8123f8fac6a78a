/* Batch norm: sums over columns (columns.c), and elementwise programs for what is made of them. Fused ops decompose. */
#include "device_ops.h"

#include <cvr/plugin/ops/norm.h>

/* The channels of x as columns. */
static device_columns columns_of(const cvr_tensor *x, uint32_t what) {
    const uint32_t channels = (uint32_t)x->shape[1];
    return (device_columns){
        .what = what,
        .type_x = x->dtype,
        .p = {.x = device_address(x->data), .rows = device_numel(x) / channels, .columns = channels},
        .finish = {.factor = 1}};
}

static uint64_t channels_workspace(const cvr_signature *sig) {
    const cvr_tensor *x = sig->inputs[0] ? sig->inputs[0] : sig->inputs[1];
    return device_columns_workspace(device_numel(x) / (uint64_t)x->shape[1], (uint64_t)x->shape[1]);
}

/* ---- forward ---- */

/* What a program of normalisation reads; NULL where there is none. `var` in place of `invstd`. */
typedef struct norm_operands {
    const cvr_tensor *x, *weight, *bias, *mean, *invstd, *var, *residual;
    double eps;
    int64_t activation;
} norm_operands;

/* invstd, or 1 / sqrt(var + eps) */
static uint32_t invstd_of(device_program *p, const cvr_tensor *invstd, const cvr_tensor *var, double eps) {
    if (invstd) return device_input_channels(p, invstd);
    const uint32_t v = device_input_channels(p, var);
    return cvr_step1(&p->steps, CVR_STEP_RSQRT,
                     cvr_step2(&p->steps, CVR_STEP_ADD, v, cvr_constant(&p->steps, (float)eps)));
}

/* y = a((x - mean) * (invstd * weight) + bias + residual) */
static int32_t normalise(const norm_operands *o, const cvr_recorder *r, const cvr_tensor *y, cvr_error *err) {
    device_program p = device_program_begin();
    cvr_steps *s = &p.steps;
    const uint32_t x = device_input(&p, o->x), mean = device_input_channels(&p, o->mean);
    uint32_t scale = invstd_of(&p, o->invstd, o->var, o->eps);
    if (o->weight) scale = cvr_step2(s, CVR_STEP_MUL, scale, device_input_channels(&p, o->weight));
    uint32_t v = cvr_step2(s, CVR_STEP_MUL, cvr_step2(s, CVR_STEP_SUB, x, mean), scale);
    if (o->bias) v = cvr_step2(s, CVR_STEP_ADD, v, device_input_channels(&p, o->bias));
    if (o->residual) v = cvr_step2(s, CVR_STEP_ADD, v, device_input(&p, o->residual));
    (void)device_activation(&p, o->activation, v);
    return device_program_run(&p, r, y, err);
}

static int32_t record_stats(const cvr_kernel_args *a, const cvr_recorder *r, cvr_error *err) {
    device_columns c = columns_of(a->inputs[0], COLUMNS_STATS);
    c.second = FINISH_PLAIN;
    c.finish.out0 = device_address(a->outputs[0]->data);
    c.finish.out1 = device_address(a->outputs[1]->data);
    return device_columns_run(&c, r, a->workspace, err);
}

static int32_t record_batch_norm(const cvr_kernel_args *a, const cvr_recorder *r, cvr_error *err) {
    const cvr_batch_norm2d_attrs *attrs = (const cvr_batch_norm2d_attrs *)a->attrs;
    device_columns c = columns_of(a->inputs[0], COLUMNS_STATS);
    const double n = c.p.rows;
    c.second = FINISH_OF_VAR;
    c.finish.out0 = device_address(a->outputs[1]->data);
    c.finish.out1 = device_address(a->outputs[2]->data);
    c.finish.running_mean = device_at(a, 3);
    c.finish.running_var = device_at(a, 4);
    c.finish.batches = device_at(a, 5);
    c.finish.momentum = (float)attrs->momentum;
    c.finish.unbiased = (float)(n / (n - 1));
    c.finish.eps = (float)attrs->eps;
    CVR_TRY(device_columns_run(&c, r, a->workspace, err));
    const norm_operands o = {.x = a->inputs[0],
                             .weight = device_in(a, 1),
                             .bias = device_in(a, 2),
                             .mean = a->outputs[1],
                             .invstd = a->outputs[2]};
    return normalise(&o, r, a->outputs[0], err);
}

static int32_t record_inference(const cvr_kernel_args *a, const cvr_recorder *r, cvr_error *err) {
    const norm_operands o = {.x = a->inputs[0],
                             .weight = device_in(a, 1),
                             .bias = device_in(a, 2),
                             .mean = a->inputs[3],
                             .var = a->inputs[4],
                             .eps = ((const cvr_batch_norm2d_inference_attrs *)a->attrs)->eps};
    return normalise(&o, r, a->outputs[0], err);
}

static int32_t record_apply(const cvr_kernel_args *a, const cvr_recorder *r, cvr_error *err) {
    const norm_operands o = {.x = a->inputs[0],
                             .weight = device_in(a, 1),
                             .bias = device_in(a, 2),
                             .mean = a->inputs[3],
                             .invstd = a->inputs[4],
                             .residual = device_in(a, 5),
                             .activation = ((const cvr_batch_norm2d_apply_attrs *)a->attrs)->activation};
    return normalise(&o, r, a->outputs[0], err);
}

/* ---- backward ---- */

/* dx = invstd * weight * (g - (dbias + (x - mean) * invstd * dweight) / M) */
static int32_t apply_backward(const cvr_tensor *const in[7], const cvr_recorder *r, const cvr_tensor *dx,
                              cvr_error *err) {
    const float share = (float)(1 / (double)(device_numel(dx) / (uint32_t)dx->shape[1]));
    device_program p = device_program_begin();
    cvr_steps *s = &p.steps;
    const uint32_t x = device_input(&p, in[0]), g = device_input(&p, in[1]);
    const uint32_t mean = device_input_channels(&p, in[3]), invstd = device_input_channels(&p, in[4]);
    const uint32_t dweight = device_input_channels(&p, in[5]), dbias = device_input_channels(&p, in[6]);
    const uint32_t xhat = cvr_step2(s, CVR_STEP_MUL, cvr_step2(s, CVR_STEP_SUB, x, mean), invstd);
    const uint32_t sums = cvr_step2(s, CVR_STEP_ADD, dbias, cvr_step2(s, CVR_STEP_MUL, xhat, dweight));
    const uint32_t rest = cvr_step2(s, CVR_STEP_SUB, g, cvr_step2(s, CVR_STEP_MUL, sums, cvr_constant(s, share)));
    const uint32_t scale = in[2] ? cvr_step2(s, CVR_STEP_MUL, invstd, device_input_channels(&p, in[2])) : invstd;
    (void)cvr_step2(s, CVR_STEP_MUL, rest, scale);
    return device_program_run(&p, r, dx, err);
}

static int32_t record_backward_apply(const cvr_kernel_args *a, const cvr_recorder *r, cvr_error *err) {
    return apply_backward(a->inputs, r, a->outputs[0], err);
}

/* dweight and dbias of x, grad, weight, mean, invstd; `g`: what the activation lets through is kept there. */
static int32_t backward_sums(const cvr_kernel_args *a, int64_t activation, const cvr_tensor *g, const cvr_recorder *r,
                             cvr_error *err) {
    device_columns c = columns_of(a->inputs[0], COLUMNS_NORM);
    c.type_b = a->inputs[1]->dtype;
    c.activation = (uint32_t)activation;
    c.second = FINISH_SCALE;
    c.p.b = device_at(a, 1);
    c.p.weight = device_at(a, 2);
    c.p.mean = device_at(a, 3);
    c.p.scale = c.finish.scale = device_at(a, 4);
    if (g) {
        c.p.bias = device_at(a, 5);
        c.p.y = device_at(a, 6);
        c.p.g = device_address(g->data);
    }
    c.finish.out0 = device_address(a->outputs[2]->data);
    c.finish.out1 = device_address(a->outputs[1]->data);
    return device_columns_run(&c, r, a->workspace, err);
}

static int32_t record_backward_sums(const cvr_kernel_args *a, const cvr_recorder *r, cvr_error *err) {
    return backward_sums(a, ((const cvr_batch_norm2d_apply_attrs *)a->attrs)->activation, a->outputs[0], r, err);
}

static int32_t record_backward(const cvr_kernel_args *a, const cvr_recorder *r, cvr_error *err) {
    const cvr_tensor *const in[7] = {a->inputs[0], a->inputs[1],  a->inputs[2], a->inputs[3],
                                     a->inputs[4], a->outputs[1], a->outputs[2]};
    CVR_TRY(backward_sums(a, CVR_ACTIVATION_NONE, NULL, r, err));
    return apply_backward(in, r, a->outputs[0], err);
}

/* dx = grad * weight / sqrt(var + eps) */
static int32_t inference_dx(const cvr_kernel_args *a, const cvr_recorder *r, cvr_error *err) {
    device_program p = device_program_begin();
    const uint32_t g = device_input(&p, a->inputs[1]);
    uint32_t scale = invstd_of(&p, NULL, a->inputs[4], ((const cvr_batch_norm2d_inference_attrs *)a->attrs)->eps);
    if (a->inputs[2]) scale = cvr_step2(&p.steps, CVR_STEP_MUL, scale, device_input_channels(&p, a->inputs[2]));
    (void)cvr_step2(&p.steps, CVR_STEP_MUL, g, scale);
    return device_program_run(&p, r, a->outputs[0], err);
}

/* Without x, dweight and dbias are 0. */
static int32_t record_inference_backward(const cvr_kernel_args *a, const cvr_recorder *r, cvr_error *err) {
    const cvr_tensor *dweight = a->outputs[1], *dbias = a->outputs[2];
    CVR_TRY(inference_dx(a, r, err));
    if (!a->inputs[0]) {
        CVR_TRY(device_zero(r, dweight, err));
        return device_zero(r, dbias, err);
    }
    device_columns c = columns_of(a->inputs[0], COLUMNS_NORM);
    c.type_b = a->inputs[1]->dtype;
    c.second = FINISH_OF_VAR;
    c.p.b = device_at(a, 1);
    c.p.mean = device_at(a, 3);
    c.finish.scale = device_at(a, 4);
    c.finish.eps = (float)((const cvr_batch_norm2d_inference_attrs *)a->attrs)->eps;
    c.finish.out0 = device_address(dbias->data);
    c.finish.out1 = device_address(dweight->data);
    return device_columns_run(&c, r, a->workspace, err);
}

static int32_t vectors_are_f32(const cvr_signature *sig, cvr_error *reason) {
    return device_supports_f32(sig, 2, 5, reason);
}

#define NORM_BACKWARD(name_, record_)                                                                                  \
    DEVICE_OP(name_, record_, .workspace = channels_workspace, .supports = vectors_are_f32)

const device_op device_norm_ops[] = {DEVICE_OP("batch_norm2d_stats", record_stats, .workspace = channels_workspace),
                                     DEVICE_OP("batch_norm2d", record_batch_norm, .workspace = channels_workspace),
                                     DEVICE_OP("batch_norm2d_inference", record_inference, .inplace = 1),
                                     DEVICE_OP("batch_norm2d_apply", record_apply, .inplace = 1),
                                     NORM_BACKWARD("batch_norm2d_backward", record_backward),
                                     NORM_BACKWARD("batch_norm2d_backward_sums", record_backward_sums),
                                     DEVICE_OP("batch_norm2d_backward_apply", record_backward_apply, .inplace = 3),
                                     NORM_BACKWARD("batch_norm2d_inference_backward", record_inference_backward),
                                     {.op = NULL}};
