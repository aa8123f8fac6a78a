/*
 * Losses of rows of scores: cross entropy and the focal losses (<cvr/plugin/ops/loss.h>), by rows_entropy.k and
 * rows_focal.k. Both leave two numbers a row, its loss and its weight, which are added up.
 */
#include "device_ops.h"

#include <cvr/plugin/ops/loss.h>

/* The rows of scores, with target, weight and the class that counts for nothing. */
static rows_params scores_of(const cvr_kernel_args *a, int64_t ignore_index) {
    rows_params p = device_rows_of(a->inputs[0], 2);
    p.target = device_at(a, 1);
    p.weight = device_at(a, 2);
    p.ignored[0] = (uint32_t)(uint64_t)ignore_index;
    p.ignored[1] = (uint32_t)((uint64_t)ignore_index >> 32);
    return p;
}

static rows_params entropy_of(const cvr_kernel_args *a) {
    const cvr_cross_entropy_attrs *attrs = (const cvr_cross_entropy_attrs *)a->attrs;
    rows_params p = scores_of(a, attrs->ignore_index);
    p.smoothing = (float)attrs->label_smoothing;
    return p;
}

static rows_params focal_of(const cvr_kernel_args *a) {
    const cvr_focal_attrs *attrs = (const cvr_focal_attrs *)a->attrs;
    rows_params p = scores_of(a, attrs->ignore_index);
    p.gamma = (float)attrs->gamma;
    p.alpha = (float)attrs->alpha;
    return p;
}

/* Where the workspace has what: two numbers a row, their two sums, partial sums. */
typedef struct entropy_parts {
    uint64_t sums, partials, bytes;
} entropy_parts;

static entropy_parts parts_of(uint32_t rows) {
    entropy_parts p = {.sums = device_padded(UINT64_C(8) * rows)};
    p.partials = p.sums + 64;
    p.bytes = p.partials + device_columns_workspace(rows, 2);
    return p;
}

static uint64_t entropy_workspace(const cvr_signature *sig) {
    return parts_of(device_numel(sig->inputs[0]) / (uint32_t)sig->inputs[0]->shape[1]).bytes;
}

/* loss = sum / norm, norm the weights' sum, or 1 without `mean`; with `empty`, 0 where the norm is 0 */
static int32_t divide_loss(const cvr_tensor *loss, const cvr_tensor *norm, char *sums, int mean, int empty,
                           const cvr_recorder *r, cvr_error *err) {
    cvr_tensor total = *loss, weights = *loss;
    device_program p = device_program_begin(), q = device_program_begin();
    total.data = sums;
    weights.data = sums + sizeof(float);
    const uint32_t w = mean ? device_input(&p, &weights) : cvr_constant(&p.steps, 1);
    (void)cvr_step1(&p.steps, CVR_STEP_COPY, w);
    CVR_TRY(device_program_run(&p, r, norm, err));
    const uint32_t by = device_input(&q, norm), zero = cvr_constant(&q.steps, 0);
    const uint32_t share = cvr_step2(&q.steps, CVR_STEP_DIV, device_input(&q, &total), by);
    if (empty) (void)cvr_step4(&q.steps, CVR_STEP_SELECT_EQ, by, zero, zero, share);
    return device_program_run(&q, r, loss, err);
}

/* Adds up what the rows left, and divides. */
static int32_t sum_rows(const rows_params *p, const cvr_kernel_args *a, const cvr_tensor *norm, int mean, int empty,
                        const cvr_recorder *r, cvr_error *err) {
    const entropy_parts parts = parts_of(p->rows);
    char *const room = (char *)a->workspace;
    device_columns c = {.what = COLUMNS_SUM,
                        .type_x = CVR_F32,
                        .p = {.x = p->losses, .rows = p->rows, .columns = 2},
                        .finish = {.out0 = device_address(room + parts.sums), .factor = 1}};
    CVR_TRY(device_columns_run(&c, r, room + parts.partials, err));
    return divide_loss(a->outputs[0], norm, room + parts.sums, mean, empty, r, err);
}

static int32_t record_entropy(const cvr_kernel_args *a, const cvr_recorder *r, cvr_error *err) {
    const int mean = ((const cvr_cross_entropy_attrs *)a->attrs)->reduction == CVR_LOSS_MEAN;
    rows_params p = entropy_of(a);
    const uint32_t width = device_width(&p.inner, p.rows, p.terms);
    const uint32_t constants[] = {ROWS_ENTROPY, width, a->inputs[0]->dtype, 0, CVR_F32};
    p.lse = device_address(a->outputs[1]->data);
    p.losses = device_address(a->workspace);
    CVR_TRY(DEVICE_LAUNCH(r, rows_entropy, &p, constants, device_rows_groups(&p, width), err));
    return sum_rows(&p, a, a->outputs[2], mean, 0, r, err);
}

/* x, target, [weight], lse, norm, grad -> dx */
static int32_t record_entropy_backward(const cvr_kernel_args *a, const cvr_recorder *r, cvr_error *err) {
    rows_params p = entropy_of(a);
    const uint32_t width = device_width(&p.inner, p.rows, p.terms);
    const uint32_t constants[] = {ROWS_ENTROPY_BACKWARD, width, a->inputs[0]->dtype, 0, a->outputs[0]->dtype};
    p.y = device_address(a->outputs[0]->data);
    p.lse = device_at(a, 3);
    p.norm = device_at(a, 4);
    p.seed = device_at(a, 5);
    return DEVICE_LAUNCH(r, rows_entropy, &p, constants, device_rows_groups(&p, width), err);
}

/* ---- focal losses ---- */

static int32_t run_focal(rows_params *p, uint32_t what, const cvr_kernel_args *a, const cvr_recorder *r,
                         cvr_error *err) {
    const uint32_t width = device_width(&p->inner, p->rows, p->terms);
    const uint32_t constants[] = {what, width, a->inputs[0]->dtype, 0, a->outputs[0]->dtype};
    return DEVICE_LAUNCH(r, rows_focal, p, constants, device_rows_groups(p, width), err);
}

/* -> loss, lse, norm */
static int32_t record_focal(const cvr_kernel_args *a, const cvr_recorder *r, cvr_error *err) {
    rows_params p = focal_of(a);
    p.lse = device_address(a->outputs[1]->data);
    p.losses = device_address(a->workspace);
    CVR_TRY(run_focal(&p, ROWS_FOCAL, a, r, err));
    return sum_rows(&p, a, a->outputs[2], 1, 1, r, err);
}

/* x, target, [weight], lse, norm, grad -> dx */
static int32_t record_focal_backward(const cvr_kernel_args *a, const cvr_recorder *r, cvr_error *err) {
    rows_params p = focal_of(a);
    p.y = device_address(a->outputs[0]->data);
    p.lse = device_at(a, 3);
    p.norm = device_at(a, 4);
    p.seed = device_at(a, 5);
    return run_focal(&p, ROWS_FOCAL_BACKWARD, a, r, err);
}

/* -> loss, norm */
static int32_t record_sigmoid_focal(const cvr_kernel_args *a, const cvr_recorder *r, cvr_error *err) {
    rows_params p = focal_of(a);
    p.losses = device_address(a->workspace);
    CVR_TRY(run_focal(&p, ROWS_SIGMOID_FOCAL, a, r, err));
    return sum_rows(&p, a, a->outputs[1], 1, 1, r, err);
}

/* x, target, [weight], norm, grad -> dx */
static int32_t record_sigmoid_focal_backward(const cvr_kernel_args *a, const cvr_recorder *r, cvr_error *err) {
    rows_params p = focal_of(a);
    p.y = device_address(a->outputs[0]->data);
    p.norm = device_at(a, 3);
    p.seed = device_at(a, 4);
    return run_focal(&p, ROWS_SIGMOID_FOCAL_BACKWARD, a, r, err);
}

static int32_t others_are_f32(const cvr_signature *sig, cvr_error *reason) {
    return device_supports_f32(sig, 2, 5, reason);
}

#define CLASS_LOSS(name_, record_) DEVICE_OP(name_, record_, .supports = others_are_f32, .workspace = entropy_workspace)
#define CLASS_LOSS_BACKWARD(name_, record_) DEVICE_OP(name_, record_, .supports = others_are_f32)
const device_op device_class_loss_ops[] = {
    CLASS_LOSS("cross_entropy", record_entropy),
    CLASS_LOSS_BACKWARD("cross_entropy_backward", record_entropy_backward),
    CLASS_LOSS("focal_loss", record_focal),
    CLASS_LOSS_BACKWARD("focal_loss_backward", record_focal_backward),
    CLASS_LOSS("sigmoid_focal_loss", record_sigmoid_focal),
    CLASS_LOSS_BACKWARD("sigmoid_focal_loss_backward", record_sigmoid_focal_backward),
    {.op = NULL}};
