/* Clipping of gradients (<cvr/plugin/ops/optim.h>): sums of squares, and programs of few numbers. */
#include "device_ops.h"

#include <cvr/plugin/ops/optim.h>

/* The squares' sum of each tensor, one behind the other, and then theirs. */
static uint64_t squares_workspace(const cvr_signature *sig) {
    uint64_t most = device_columns_workspace(sig->n_inputs, 1);
    for (uint32_t i = 0; i < sig->n_inputs; i++) {
        const uint64_t bytes = device_columns_workspace(device_numel(sig->inputs[i]), 1);
        most = bytes > most ? bytes : most;
    }
    return 256 + most;
}

static int32_t record_squares(const cvr_kernel_args *a, const cvr_recorder *r, cvr_error *err) {
    const uint64_t sums = device_address(a->workspace);
    char *const partials = (char *)a->workspace + 256;
    for (uint32_t i = 0; i < a->n_inputs; i++)
        CVR_TRY(device_total(r, device_at(a, i), a->inputs[i]->dtype, device_numel(a->inputs[i]), 1, 1, sums + 4 * i,
                             partials, err));
    return device_total(r, sums, CVR_F32, a->n_inputs, 0, 1, device_address(a->outputs[0]->data), partials, err);
}

/* norm = sqrt(sum), factor = min(1, max_norm / (norm + 1e-6)) */
static int32_t record_factor(const cvr_kernel_args *a, const cvr_recorder *r, cvr_error *err) {
    const float most = (float)((const cvr_gradient_clip_attrs *)a->attrs)->max_norm;
    device_program p = device_program_begin(), q = device_program_begin();
    (void)cvr_step1(&p.steps, CVR_STEP_SQRT, device_input(&p, a->inputs[0]));
    CVR_TRY(device_program_run(&p, r, a->outputs[1], err));
    cvr_steps *s = &q.steps;
    const uint32_t norm = cvr_step2(s, CVR_STEP_ADD, device_input(&q, a->outputs[1]), cvr_constant(s, 1e-6f));
    (void)cvr_step2(s, CVR_STEP_MIN, cvr_constant(s, 1), cvr_step2(s, CVR_STEP_DIV, cvr_constant(s, most), norm));
    return device_program_run(&q, r, a->outputs[0], err);
}

static int32_t record_scale(const cvr_kernel_args *a, const cvr_recorder *r, cvr_error *err) {
    device_program p = device_program_begin();
    const uint32_t x = device_input(&p, a->inputs[0]), factor = device_input(&p, a->inputs[1]);
    (void)cvr_step2(&p.steps, CVR_STEP_MUL, x, factor);
    return device_program_run(&p, r, a->outputs[0], err);
}

/* ---- each unit by itself: an index along axis 0, or a tensor of rank 0 or 1 as a whole ---- */

static int64_t units_of(const cvr_tensor *x) {
    return x->rank < 2 ? 1 : x->shape[0];
}

/* A number for each unit, in the workspace; it broadcasts to the gradient. */
static cvr_tensor unit_numbers(const cvr_tensor *x, char *at) {
    cvr_tensor t = *x;
    t.dtype = CVR_F32;
    for (uint32_t i = x->rank < 2 ? 0 : 1; i < x->rank; i++) t.shape[i] = 1;
    t.data = at;
    return t;
}

static uint64_t units_workspace(const cvr_signature *sig) {
    return 2 * device_padded(4 * (uint64_t)units_of(sig->inputs[0]));
}

/* grad * min(1, most / max(|grad|, 1e-6)), most = clip_factor * max(|param|, 1e-3) */
static int32_t record_units(const cvr_kernel_args *a, const cvr_recorder *r, cvr_error *err) {
    const cvr_tensor *grad = a->inputs[0], *param = a->inputs[1];
    const uint32_t axes = ((UINT32_C(1) << grad->rank) - 1) & ~(grad->rank < 2 ? 0u : 1u);
    char *const room = (char *)a->workspace;
    const cvr_tensor of_grad = unit_numbers(grad, room);
    const cvr_tensor of_param = unit_numbers(grad, room + device_padded(4 * (uint64_t)units_of(grad)));
    device_program p = device_program_begin();
    cvr_steps *s = &p.steps;
    CVR_TRY(device_squares_axes(r, grad, &of_grad, axes, err));
    CVR_TRY(device_squares_axes(r, param, &of_param, axes, err));
    const uint32_t g = device_input(&p, grad);
    const uint32_t norm = cvr_step1(s, CVR_STEP_SQRT, device_input(&p, &of_grad));
    const uint32_t size = cvr_step1(s, CVR_STEP_SQRT, device_input(&p, &of_param));
    const uint32_t most =
        cvr_step2(s, CVR_STEP_MUL, cvr_step2(s, CVR_STEP_MAX, size, cvr_constant(s, 1e-3f)),
                  cvr_constant(s, (float)((const cvr_gradient_clip_units_attrs *)a->attrs)->clip_factor));
    const uint32_t ratio = cvr_step2(s, CVR_STEP_DIV, most, cvr_step2(s, CVR_STEP_MAX, norm, cvr_constant(s, 1e-6f)));
    const uint32_t by = cvr_step4(s, CVR_STEP_SELECT_GT, most, norm, cvr_constant(s, 1), ratio);
    (void)cvr_step2(s, CVR_STEP_MUL, g, by);
    return device_program_run(&p, r, a->outputs[0], err);
}

const device_op device_clip_ops[] = {DEVICE_OP("gradient_sum_squares", record_squares, .workspace = squares_workspace),
                                     DEVICE_OP("gradient_clip_factor", record_factor),
                                     DEVICE_OP("gradient_scale", record_scale),
                                     DEVICE_OP("gradient_clip_units", record_units, .workspace = units_workspace),
                                     {.op = NULL}};
