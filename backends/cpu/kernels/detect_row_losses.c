/*
 * What detection's losses do with the rows that have an object, on the CPU, with the reference's bits (see
 * <cvr/plugin/ops/detect_loss.h>): classes, boxes, centerness. Such rows are few, so a picture is a task, whose rows
 * are added in rising order to one double of the workspace. What writes all rows is cut into spans; rows of all
 * pictures lie one behind the other.
 */
#include "detect_keys.h"

#include <cvr/plugin/ops/box_loss_math.h>
#include <cvr/plugin/ops/detect_loss_math.h>

#define SPAN 4096 /* rows */

typedef struct rows_job {
    const cvr_kernel_args *a;
    cvr_detect_rows r;
    const int64_t *label; /* or NULL */
    int64_t columns;      /* numbers of a row */
    const float *x, *norm;
    double *sum; /* (N) */
    double grad;
    float *dx;
} rows_job;

/* x, anchors, boxes, match */
static int32_t rows_open(const char *op, const cvr_kernel_args *a, rows_job *job, cvr_error *err) {
    job->a = a;
    job->r = cvr_detect_rows_of(a->inputs[1], a->inputs[2], a->inputs[3]);
    job->columns = a->inputs[0]->shape[2];
    job->x = a->inputs[0]->data;
    return cvr_detect_check_matches(op, a->inputs[3], job->r.objects, err);
}

/* Sums of pictures by `task`, and the loss. */
static void rows_sum(rows_job *job, int64_t kind, cvr_task_fn task) {
    const cvr_kernel_args *a = job->a;
    float *norm = a->outputs[1]->data;
    double loss = 0;
    job->sum = a->workspace;
    cvr_detect_match_norm(kind, a->inputs[3], norm);
    cpu_run(a->pool, job->r.n, task, job);
    for (int64_t n = 0; n < job->r.n; n++) loss += job->sum[n] * cvr_detect_share(norm[n]);
    *(float *)a->outputs[0]->data = (float)loss;
}

static void rows_back(rows_job *job, uint32_t norm, cvr_task_fn task) {
    const cvr_kernel_args *a = job->a;
    job->norm = a->inputs[norm]->data;
    job->grad = *cpu_floats(a, norm + 1);
    job->dx = a->outputs[0]->data;
    cpu_run(a->pool, cpu_ceil_div(job->r.n * job->r.rows, SPAN), task, job);
}

static double scale_of(const rows_job *job, int64_t row) {
    return job->grad * cvr_detect_share(job->norm[row / job->r.rows]);
}

static int64_t span_end(const rows_job *job, uint64_t task) {
    return cpu_min(((int64_t)task + 1) * SPAN, job->r.n * job->r.rows);
}

static uint64_t sum_workspace(const cvr_signature *sig) {
    return (uint64_t)sig->inputs[0]->shape[0] * sizeof(double);
}

/* ---- class_targets ---- */

static void class_task(void *ctx, uint64_t task, uint32_t worker) {
    const cvr_kernel_args *a = ctx;
    const cvr_tensor *match = a->inputs[0], *labels = a->inputs[1];
    const int64_t rows = match->shape[1], first = (int64_t)task * SPAN;
    int64_t *y = a->outputs[0]->data;
    (void)worker;
    for (int64_t i = first; i < cpu_min(first + SPAN, match->shape[0] * rows); i++)
        y[i] = cvr_class_target(a->attrs, ((const int32_t *)match->data)[i],
                                (const int64_t *)labels->data + i / rows * labels->shape[1]);
}

static int32_t class_run(const cvr_kernel_args *a, cvr_error *err) {
    cvr_kernel_args copy = *a;
    CVR_TRY(cvr_detect_check_matches("class_targets", a->inputs[0], a->inputs[1]->shape[1], err));
    cpu_run(a->pool, cpu_ceil_div(cpu_numel(a->inputs[0]), SPAN), class_task, &copy);
    return CVR_OK;
}

/* ---- anchor_box_loss ---- */

static int32_t box_open(const char *op, const cvr_kernel_args *a, rows_job *job, cvr_error *err) {
    const int64_t classes = a->inputs[0]->shape[2] / 4;
    CVR_TRY(rows_open(op, a, job, err));
    job->label = detect_optional(a, 4);
    for (int64_t i = 0; job->label && i < job->r.n * job->r.rows; i++)
        if (job->r.match[i] >= 0 && (job->label[i] < 0 || job->label[i] >= classes))
            return cvr_fail(err, CVR_ERR_INVALID, "%s: label %lld, but there are deltas for %lld classes", op,
                            (long long)job->label[i], (long long)classes);
    return CVR_OK;
}

/* slope (4) */
static double box_row(const rows_job *job, int64_t row, int64_t at, double *slope) {
    return cvr_box_row_loss(job->a->attrs, job->x + at, cvr_detect_anchor(&job->r, row),
                            cvr_detect_object(&job->r, row), slope);
}

/* Where the four deltas of a row are. */
static int64_t delta_at(const rows_job *job, int64_t row) {
    return row * job->columns + (job->label ? 4 * job->label[row] : 0);
}

static void box_task(void *ctx, uint64_t task, uint32_t worker) {
    const rows_job *job = ctx;
    const int64_t first = (int64_t)task * job->r.rows;
    double sum = 0, slope[4];
    (void)worker;
    for (int64_t row = first; row < first + job->r.rows; row++)
        if (job->r.match[row] >= 0) sum += box_row(job, row, delta_at(job, row), slope);
    job->sum[task] = sum;
}

static int32_t box_run(const cvr_kernel_args *a, cvr_error *err) {
    rows_job job;
    CVR_TRY(box_open("anchor_box_loss", a, &job, err));
    rows_sum(&job, ((const cvr_anchor_box_loss_attrs *)a->attrs)->norm, box_task);
    return CVR_OK;
}

static void box_back_task(void *ctx, uint64_t task, uint32_t worker) {
    const rows_job *job = ctx;
    const int64_t first = (int64_t)task * SPAN, end = span_end(job, task);
    (void)worker;
    memset(job->dx + first * job->columns, 0, (size_t)((end - first) * job->columns) * sizeof *job->dx);
    for (int64_t row = first; row < end; row++) {
        double slope[4];
        if (job->r.match[row] < 0) continue;
        const int64_t at = delta_at(job, row);
        const double scale = scale_of(job, row);
        (void)box_row(job, row, at, slope);
        for (int i = 0; i < 4; i++) job->dx[at + i] = (float)(scale * slope[i]);
    }
}

/* deltas, anchors, boxes, match, [label], norm, grad */
static int32_t box_back_run(const cvr_kernel_args *a, cvr_error *err) {
    rows_job job;
    CVR_TRY(box_open("anchor_box_loss_backward", a, &job, err));
    rows_back(&job, 5, box_back_task);
    return CVR_OK;
}

/* ---- centerness_loss ---- */

static double centerness_of(const rows_job *job, int64_t row) {
    return cvr_detect_centerness(cvr_detect_anchor(&job->r, row), cvr_detect_object(&job->r, row));
}

static void centerness_task(void *ctx, uint64_t task, uint32_t worker) {
    const rows_job *job = ctx;
    const int64_t first = (int64_t)task * job->r.rows;
    double sum = 0;
    (void)worker;
    for (int64_t row = first; row < first + job->r.rows; row++)
        if (job->r.match[row] >= 0) sum += cvr_detect_bce(job->x[row], centerness_of(job, row));
    job->sum[task] = sum;
}

static int32_t centerness_run(const cvr_kernel_args *a, cvr_error *err) {
    rows_job job;
    CVR_TRY(rows_open("centerness_loss", a, &job, err));
    rows_sum(&job, ((const cvr_centerness_attrs *)a->attrs)->norm, centerness_task);
    return CVR_OK;
}

static void centerness_back_task(void *ctx, uint64_t task, uint32_t worker) {
    const rows_job *job = ctx;
    (void)worker;
    for (int64_t row = (int64_t)task * SPAN; row < span_end(job, task); row++) {
        float dx = 0;
        if (job->r.match[row] >= 0)
            dx = (float)(scale_of(job, row) * (cvr_detect_sigmoid(job->x[row]) - centerness_of(job, row)));
        job->dx[row] = dx;
    }
}

/* x, anchors, boxes, match, norm, grad */
static int32_t centerness_back_run(const cvr_kernel_args *a, cvr_error *err) {
    rows_job job;
    CVR_TRY(rows_open("centerness_loss_backward", a, &job, err));
    rows_back(&job, 4, centerness_back_task);
    return CVR_OK;
}

static const cpu_kernel kernels[] = {
    {"class_targets", class_run, NULL, NULL, 0, CPU_KERNEL_FLAGS, NULL},
    {"anchor_box_loss", box_run, sum_workspace, NULL, 0, CPU_KERNEL_FLAGS, NULL},
    {"anchor_box_loss_backward", box_back_run, NULL, NULL, 0, CPU_KERNEL_FLAGS, NULL},
    {"centerness_loss", centerness_run, sum_workspace, NULL, 0, CPU_KERNEL_FLAGS, NULL},
    {"centerness_loss_backward", centerness_back_run, NULL, NULL, 1, CPU_KERNEL_FLAGS, NULL},
};
const cpu_kernel_table cpu_detect_row_losses_kernels = {kernels, sizeof kernels / sizeof *kernels};
