/*
 * Losses that add up one number an element (<cvr/plugin/ops/loss.h>): elementwise programs and sums of their results.
 */
#include "device_ops.h"

#include <cvr/plugin/ops/loss.h>

/* ---- sums of one program ---- */

static uint64_t total_workspace(uint64_t n) {
    return device_padded(4 * n) + device_columns_workspace(n, 1);
}

static double divisor_of(const void *reduction, const cvr_tensor *x) {
    return *(const int64_t *)reduction == CVR_LOSS_MEAN ? (double)device_numel(x) : 1;
}

/* loss = the sum of the program's results over all of x, divided. */
static int32_t total(const cvr_kernel_args *a, const device_program *p, const void *reduction, const cvr_recorder *r,
                     cvr_error *err) {
    const cvr_tensor *x = a->inputs[0];
    cvr_tensor each = *x;
    each.dtype = CVR_F32;
    each.data = a->workspace;
    CVR_TRY(device_program_run(p, r, &each, err));
    return device_total(r, device_address(each.data), CVR_F32, device_numel(x), 0, 1 / divisor_of(reduction, x),
                        device_address(a->outputs[0]->data),
                        (char *)a->workspace + device_padded(4 * (uint64_t)device_numel(x)), err);
}

static uint64_t loss_workspace(const cvr_signature *sig) {
    return total_workspace(device_numel(sig->inputs[0]));
}

/* ---- distances ---- */

/* d = x - target, of inputs 0 and 1 */
static uint32_t distance(device_program *p, const cvr_kernel_args *a) {
    const uint32_t x = device_input(p, a->inputs[0]), target = device_input(p, a->inputs[1]);
    return cvr_step2(&p->steps, CVR_STEP_SUB, x, target);
}

/* d > 0 ? g : d < 0 ? -g : 0, and NaN of NaN */
static uint32_t signed_by(cvr_steps *s, uint32_t d, uint32_t g) {
    const uint32_t zero = cvr_constant(s, 0), rest = cvr_step2(s, CVR_STEP_MUL, d, zero);
    const uint32_t below = cvr_step4(s, CVR_STEP_SELECT_GT, zero, d, cvr_step1(s, CVR_STEP_NEG, g), rest);
    return cvr_step4(s, CVR_STEP_SELECT_GT, d, zero, g, below);
}

/* g = grad / divisor, of input `i` */
static uint32_t shared_gradient(device_program *p, const cvr_kernel_args *a, uint32_t i, const void *reduction) {
    const uint32_t grad = device_input(p, a->inputs[i]);
    const float share = (float)(1 / divisor_of(reduction, a->inputs[0]));
    return cvr_step2(&p->steps, CVR_STEP_MUL, grad, cvr_constant(&p->steps, share));
}

static int32_t record_mse(const cvr_kernel_args *a, const cvr_recorder *r, cvr_error *err) {
    device_program p = device_program_begin();
    const uint32_t d = distance(&p, a);
    (void)cvr_step2(&p.steps, CVR_STEP_MUL, d, d);
    return total(a, &p, &((const cvr_loss_attrs *)a->attrs)->reduction, r, err);
}

static int32_t record_mse_backward(const cvr_kernel_args *a, const cvr_recorder *r, cvr_error *err) {
    device_program p = device_program_begin();
    const uint32_t d = distance(&p, a);
    const uint32_t g = shared_gradient(&p, a, 2, &((const cvr_loss_attrs *)a->attrs)->reduction);
    (void)cvr_step2(&p.steps, CVR_STEP_MUL, cvr_step2(&p.steps, CVR_STEP_ADD, g, g), d);
    return device_program_run(&p, r, a->outputs[0], err);
}

/* |d| < beta ? d * d / (2 * beta) : |d| - beta / 2; l1_loss has beta 0 */
static int32_t smooth(const cvr_kernel_args *a, double beta, const void *reduction, const cvr_recorder *r,
                      cvr_error *err) {
    device_program p = device_program_begin();
    cvr_steps *s = &p.steps;
    const uint32_t d = distance(&p, a);
    const uint32_t size = cvr_step1(s, CVR_STEP_ABS, d);
    if (beta > 0) {
        const uint32_t square = cvr_step2(s, CVR_STEP_MUL, d, d);
        const uint32_t curve = cvr_step2(s, CVR_STEP_MUL, square, cvr_constant(s, (float)(0.5 / beta)));
        const uint32_t line = cvr_step2(s, CVR_STEP_SUB, size, cvr_constant(s, (float)(0.5 * beta)));
        (void)cvr_step4(s, CVR_STEP_SELECT_GT, cvr_constant(s, (float)beta), size, curve, line);
    }
    return total(a, &p, reduction, r, err);
}

/* |d| < beta ? g * d / beta : g * sign(d) */
static int32_t smooth_backward(const cvr_kernel_args *a, double beta, const void *reduction, const cvr_recorder *r,
                               cvr_error *err) {
    device_program p = device_program_begin();
    cvr_steps *s = &p.steps;
    const uint32_t d = distance(&p, a), g = shared_gradient(&p, a, 2, reduction), line = signed_by(s, d, g);
    if (beta > 0) {
        const uint32_t curve =
            cvr_step2(s, CVR_STEP_MUL, cvr_step2(s, CVR_STEP_MUL, g, d), cvr_constant(s, (float)(1 / beta)));
        (void)cvr_step4(s, CVR_STEP_SELECT_GT, cvr_constant(s, (float)beta), cvr_step1(s, CVR_STEP_ABS, d), curve,
                        line);
    }
    return device_program_run(&p, r, a->outputs[0], err);
}

static int32_t record_l1(const cvr_kernel_args *a, const cvr_recorder *r, cvr_error *err) {
    return smooth(a, 0, &((const cvr_loss_attrs *)a->attrs)->reduction, r, err);
}
static int32_t record_l1_backward(const cvr_kernel_args *a, const cvr_recorder *r, cvr_error *err) {
    return smooth_backward(a, 0, &((const cvr_loss_attrs *)a->attrs)->reduction, r, err);
}
static int32_t record_smooth(const cvr_kernel_args *a, const cvr_recorder *r, cvr_error *err) {
    const cvr_smooth_l1_loss_attrs *attrs = (const cvr_smooth_l1_loss_attrs *)a->attrs;
    return smooth(a, attrs->beta, &attrs->reduction, r, err);
}
static int32_t record_smooth_backward(const cvr_kernel_args *a, const cvr_recorder *r, cvr_error *err) {
    const cvr_smooth_l1_loss_attrs *attrs = (const cvr_smooth_l1_loss_attrs *)a->attrs;
    return smooth_backward(a, attrs->beta, &attrs->reduction, r, err);
}

/* ---- bce_with_logits ---- */

/* 1 + (pos_weight - 1) * target */
static uint32_t positive_weight(device_program *p, const cvr_tensor *weight, uint32_t target) {
    cvr_steps *s = &p->steps;
    const uint32_t one = cvr_constant(s, 1);
    if (!weight) return one;
    const uint32_t more = cvr_step2(s, CVR_STEP_SUB, device_input(p, weight), one);
    return cvr_step2(s, CVR_STEP_ADD, one, cvr_step2(s, CVR_STEP_MUL, more, target));
}

/* (1 - target) * x + w * log(1 + exp(-x)), the logarithm as log(1 + exp(-|x|)) + max(-x, 0) */
static int32_t record_bce(const cvr_kernel_args *a, const cvr_recorder *r, cvr_error *err) {
    device_program p = device_program_begin();
    cvr_steps *s = &p.steps;
    const uint32_t x = device_input(&p, a->inputs[0]), target = device_input(&p, a->inputs[1]);
    const uint32_t w = positive_weight(&p, device_in(a, 2), target), one = cvr_constant(s, 1);
    const uint32_t tail = cvr_step1(s, CVR_STEP_EXP, cvr_step1(s, CVR_STEP_NEG, cvr_step1(s, CVR_STEP_ABS, x)));
    const uint32_t log = cvr_step1(s, CVR_STEP_LOG, cvr_step2(s, CVR_STEP_ADD, one, tail));
    const uint32_t below = cvr_step2(s, CVR_STEP_MAX, cvr_step1(s, CVR_STEP_NEG, x), cvr_constant(s, 0));
    const uint32_t other = cvr_step2(s, CVR_STEP_MUL, cvr_step2(s, CVR_STEP_SUB, one, target), x);
    (void)cvr_step2(s, CVR_STEP_ADD, other, cvr_step2(s, CVR_STEP_MUL, w, cvr_step2(s, CVR_STEP_ADD, log, below)));
    return total(a, &p, &((const cvr_loss_attrs *)a->attrs)->reduction, r, err);
}

/* g * ((1 - target) - w / (1 + exp(x))) */
static int32_t record_bce_backward(const cvr_kernel_args *a, const cvr_recorder *r, cvr_error *err) {
    device_program p = device_program_begin();
    cvr_steps *s = &p.steps;
    const uint32_t x = device_input(&p, a->inputs[0]), target = device_input(&p, a->inputs[1]);
    const uint32_t w = positive_weight(&p, a->inputs[2], target), one = cvr_constant(s, 1);
    const uint32_t g = shared_gradient(&p, a, 3, &((const cvr_loss_attrs *)a->attrs)->reduction);
    const uint32_t below = cvr_step2(s, CVR_STEP_ADD, one, cvr_step1(s, CVR_STEP_EXP, x));
    const uint32_t share = cvr_step2(s, CVR_STEP_DIV, w, below);
    (void)cvr_step2(s, CVR_STEP_MUL, g, cvr_step2(s, CVR_STEP_SUB, cvr_step2(s, CVR_STEP_SUB, one, target), share));
    return device_program_run(&p, r, a->outputs[0], err);
}

const device_op device_loss_ops[] = {DEVICE_OP("mse_loss", record_mse, .workspace = loss_workspace),
                                     DEVICE_OP("mse_loss_backward", record_mse_backward),
                                     DEVICE_OP("l1_loss", record_l1, .workspace = loss_workspace),
                                     DEVICE_OP("l1_loss_backward", record_l1_backward),
                                     DEVICE_OP("smooth_l1_loss", record_smooth, .workspace = loss_workspace),
                                     DEVICE_OP("smooth_l1_loss_backward", record_smooth_backward),
                                     DEVICE_OP("bce_with_logits", record_bce, .workspace = loss_workspace),
                                     DEVICE_OP("bce_with_logits_backward", record_bce_backward),
                                     {.op = NULL}};
