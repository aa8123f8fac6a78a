/*
 * softmax and log_softmax on the CPU (see <cvr/plugin/ops/activation.h>). Where the axis is innermost in memory, a line
 * at a time; elsewhere, lines side by side, COLUMNS at a time. bf16 is widened to a worker's buffers, all of a line.
 */
#include "cpu_math.h"
#include "cpu_rows.h"

#include <cvr/plugin/ops/activation.h>

#define COLUMNS 64

/* One line of n elements: b is grad in backward kernels, unused in the others. */
typedef void (*line_fn)(const float *a, const float *b, float *out, int64_t n);
/* `width` lines whose elements are `step` apart. */
typedef void (*columns_fn)(const float *a, const float *b, float *out, int64_t n, int64_t step, int64_t width);

typedef struct softmax_job {
    const void *a, *b; /* b: NULL in forward kernels */
    void *out;
    int bf16;
    float *wide;             /* of each worker: a, in place of which the result comes, and b */
    int64_t outer, n, inner; /* the tensor as it lies in memory, around the axis */
    int64_t lines_per_task;
    line_fn line;
    columns_fn columns;
} softmax_job;

/* ---- lines ---- */

static void softmax_line(const float *x, const float *unused, float *y, int64_t n) {
    (void)unused;
    const float max = cpu_max_of(x, n);
    CPU_INDEPENDENT
    for (int64_t i = 0; i < n; i++) y[i] = cpu_exp(x[i] - max);
    const float scale = (float)(1 / cpu_sum(y, n));
    for (int64_t i = 0; i < n; i++) y[i] *= scale;
}

static void log_softmax_line(const float *x, const float *unused, float *y, int64_t n) {
    (void)unused;
    const float max = cpu_max_of(x, n), log_sum = (float)log(cpu_sum_exp(x, max, n));
    CPU_INDEPENDENT
    for (int64_t i = 0; i < n; i++) y[i] = x[i] - max - log_sum;
}

/* dx = y * (grad - sum of grad * y) */
static void softmax_back_line(const float *y, const float *grad, float *dx, int64_t n) {
    const float dot = (float)cpu_dot(grad, y, n);
    CPU_INDEPENDENT
    for (int64_t i = 0; i < n; i++) dx[i] = y[i] * (grad[i] - dot);
}

/* dx = grad - exp(y) * sum of grad */
static void log_softmax_back_line(const float *y, const float *grad, float *dx, int64_t n) {
    const float sum = (float)cpu_sum(grad, n);
    CPU_INDEPENDENT
    for (int64_t i = 0; i < n; i++) dx[i] = grad[i] - cpu_exp(y[i]) * sum;
}

/* ---- columns ---- */

static void columns_max(const float *x, int64_t n, int64_t step, int64_t width, float *max) {
    for (int64_t k = 0; k < width; k++) max[k] = x[k];
    for (int64_t i = 1; i < n; i++)
        for (int64_t k = 0; k < width; k++) max[k] = x[i * step + k] > max[k] ? x[i * step + k] : max[k];
}

static void columns_sum_exp(const float *x, int64_t n, int64_t step, int64_t width, const float *max, double *sum) {
    for (int64_t k = 0; k < width; k++) sum[k] = 0;
    for (int64_t i = 0; i < n; i++)
        for (int64_t k = 0; k < width; k++) sum[k] += (double)cpu_exp(x[i * step + k] - max[k]);
}

static void softmax_columns(const float *x, const float *unused, float *y, int64_t n, int64_t step, int64_t width) {
    (void)unused;
    float max[COLUMNS] = {0}, scale[COLUMNS];
    double sum[COLUMNS];
    columns_max(x, n, step, width, max);
    columns_sum_exp(x, n, step, width, max, sum);
    for (int64_t k = 0; k < width; k++) scale[k] = (float)(1 / sum[k]);
    for (int64_t i = 0; i < n; i++) {
        CPU_INDEPENDENT
        for (int64_t k = 0; k < width; k++) y[i * step + k] = cpu_exp(x[i * step + k] - max[k]) * scale[k];
    }
}

static void log_softmax_columns(const float *x, const float *unused, float *y, int64_t n, int64_t step, int64_t width) {
    (void)unused;
    float max[COLUMNS] = {0}, log_sum[COLUMNS];
    double sum[COLUMNS];
    columns_max(x, n, step, width, max);
    columns_sum_exp(x, n, step, width, max, sum);
    for (int64_t k = 0; k < width; k++) log_sum[k] = (float)log(sum[k]);
    for (int64_t i = 0; i < n; i++) {
        CPU_INDEPENDENT
        for (int64_t k = 0; k < width; k++) y[i * step + k] = x[i * step + k] - max[k] - log_sum[k];
    }
}

static void softmax_back_columns(const float *y, const float *grad, float *dx, int64_t n, int64_t step, int64_t width) {
    double sum[COLUMNS] = {0};
    for (int64_t i = 0; i < n; i++)
        for (int64_t k = 0; k < width; k++) sum[k] += (double)(grad[i * step + k] * y[i * step + k]);
    for (int64_t i = 0; i < n; i++) {
        CPU_INDEPENDENT
        for (int64_t k = 0; k < width; k++) dx[i * step + k] = y[i * step + k] * (grad[i * step + k] - (float)sum[k]);
    }
}

static void log_softmax_back_columns(const float *y, const float *grad, float *dx, int64_t n, int64_t step,
                                     int64_t width) {
    double sum[COLUMNS] = {0};
    for (int64_t i = 0; i < n; i++)
        for (int64_t k = 0; k < width; k++) sum[k] += (double)grad[i * step + k];
    for (int64_t i = 0; i < n; i++) {
        CPU_INDEPENDENT
        for (int64_t k = 0; k < width; k++)
            dx[i * step + k] = grad[i * step + k] - cpu_exp(y[i * step + k]) * (float)sum[k];
    }
}

/* ---- tasks ---- */

/* Lines side by side at the widest, in floats. */
static int64_t tile_width(int64_t inner) {
    return inner == 1 ? 1 : cpu_min(COLUMNS, inner);
}

/* `width` lines of a tensor of bf16, `inner` apart, to and from a dense tile. */
static void widen(const void *data, int64_t at, const softmax_job *job, int64_t width, float *tile) {
    if (job->inner == 1)
        (void)cpu_row_read(data, 1, at, job->n, tile);
    else
        for (int64_t i = 0; i < job->n; i++) (void)cpu_row_read(data, 1, at + i * job->inner, width, tile + i * width);
}

static void narrow(const softmax_job *job, int64_t at, int64_t width, const float *tile) {
    if (job->inner == 1)
        cpu_row_store(job->out, 1, at, job->n, tile);
    else
        for (int64_t i = 0; i < job->n; i++) cpu_row_store(job->out, 1, at + i * job->inner, width, tile + i * width);
}

/* `width` lines from element `at` on */
static void lines(const softmax_job *job, int64_t at, int64_t width, uint32_t worker) {
    const float *a = (const float *)job->a + at, *b = job->b ? (const float *)job->b + at : a;
    float *out = (float *)job->out + at;
    int64_t step = job->inner;
    if (job->bf16) {
        const int64_t size = job->n * tile_width(job->inner);
        out = job->wide + 2 * worker * size;
        a = out;
        b = job->b ? out + size : a;
        step = width;
        widen(job->a, at, job, width, out);
        if (job->b) widen(job->b, at, job, width, out + size);
    }
    if (job->inner == 1)
        job->line(a, b, out, job->n);
    else
        job->columns(a, b, out, job->n, step, width);
    if (job->bf16) narrow(job, at, width, out);
}

static void line_task(void *ctx, uint64_t task, uint32_t worker) {
    const softmax_job *job = ctx;
    const int64_t first = (int64_t)task * job->lines_per_task, end = cpu_min(first + job->lines_per_task, job->outer);
    for (int64_t i = first; i < end; i++) lines(job, i * job->n, 1, worker);
}

static void columns_task(void *ctx, uint64_t task, uint32_t worker) {
    const softmax_job *job = ctx;
    const int64_t pieces = cpu_ceil_div(job->inner, COLUMNS), first = (int64_t)task % pieces * COLUMNS;
    const int64_t at = (int64_t)task / pieces * job->n * job->inner + first;
    lines(job, at, cpu_min(COLUMNS, job->inner - first), worker);
}

/* How the elements along the axis lie. */
static void axis_of(const cvr_tensor *x, const cvr_softmax_attrs *attrs, int64_t *n, int64_t *inner) {
    int64_t step[CVR_MAX_RANK];
    cpu_steps(x->rank, x->shape, step);
    *n = x->shape[attrs->dim];
    *inner = step[attrs->dim];
}

static uint64_t softmax_workspace(const cvr_signature *sig) {
    int64_t n, inner;
    axis_of(sig->inputs[0], sig->attrs, &n, &inner);
    if (sig->inputs[0]->dtype != CVR_BF16) return 0;
    return sig->n_workers * 2 * (uint64_t)(n * tile_width(inner)) * sizeof(float);
}

static int32_t softmax(const cvr_kernel_args *a, line_fn line, columns_fn columns) {
    const cvr_tensor *x = a->inputs[0];
    softmax_job job = {.a = x->data, .out = a->outputs[0]->data, .line = line, .columns = columns};
    if (a->n_inputs > 1) job.b = a->inputs[1]->data;
    job.bf16 = x->dtype == CVR_BF16;
    job.wide = a->workspace;
    axis_of(x, a->attrs, &job.n, &job.inner);
    if (cpu_numel(x) == 0) return CVR_OK;
    job.outer = cpu_numel(x) / (job.n * job.inner);
    job.lines_per_task = cpu_max(1, CPU_SPAN / job.n);
    if (job.inner == 1)
        cpu_run(a->pool, cpu_ceil_div(job.outer, job.lines_per_task), line_task, &job);
    else
        cpu_run(a->pool, job.outer * cpu_ceil_div(job.inner, COLUMNS), columns_task, &job);
    return CVR_OK;
}

static int32_t softmax_run(const cvr_kernel_args *a, cvr_error *err) {
    (void)err;
    return softmax(a, softmax_line, softmax_columns);
}

static int32_t log_softmax_run(const cvr_kernel_args *a, cvr_error *err) {
    (void)err;
    return softmax(a, log_softmax_line, log_softmax_columns);
}

static int32_t softmax_backward_run(const cvr_kernel_args *a, cvr_error *err) {
    (void)err;
    return softmax(a, softmax_back_line, softmax_back_columns);
}

static int32_t log_softmax_backward_run(const cvr_kernel_args *a, cvr_error *err) {
    (void)err;
    return softmax(a, log_softmax_back_line, log_softmax_back_columns);
}

#define SOFTMAX_FLAGS (CPU_KERNEL_FLAGS | CVR_KERNEL_BF16)
static const cpu_kernel kernels[] = {
    {"softmax", softmax_run, softmax_workspace, cpu_rows_supports, 1, SOFTMAX_FLAGS, NULL},
    {"softmax_backward", softmax_backward_run, softmax_workspace, cpu_rows_supports, 3, SOFTMAX_FLAGS, NULL},
    {"log_softmax", log_softmax_run, softmax_workspace, cpu_rows_supports, 1, SOFTMAX_FLAGS, NULL},
    {"log_softmax_backward", log_softmax_backward_run, softmax_workspace, cpu_rows_supports, 3, SOFTMAX_FLAGS, NULL},
};
const cpu_kernel_table cpu_activation_softmax_kernels = {kernels, sizeof kernels / sizeof *kernels};
