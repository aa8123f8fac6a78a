/*
 * Gathering, appending and leaving out rows on the CPU (see <cvr/plugin/ops/detect.h>). Whole rows are copied. What
 * only reads at an index is cut into spans of the result's rows; what adds up at an index is a task for each picture,
 * in rising order of the index's places, and one task in all where pictures share the rows, so that no two tasks write
 * one row. No workspace.
 */
#include "detect_keys.h"

#include <cvr/plugin/ops/detect.h>

#define SPAN 1024 /* rows */

typedef struct rows_job {
    const cvr_kernel_args *a;
    const int32_t *index;
    int64_t pictures, picks; /* N, B */
    int64_t rows, columns;   /* that can be named, and numbers of one */
    int64_t shared;
    size_t size; /* bytes of a row */
} rows_job;

static int32_t check_index(const char *op, const rows_job *job, cvr_error *err) {
    for (int64_t i = 0; i < job->pictures * job->picks; i++)
        if (job->index[i] >= job->rows)
            return cvr_fail(err, CVR_ERR_INVALID, "%s: row %d of %lld", op, job->index[i], (long long)job->rows);
    return CVR_OK;
}

/* ---- gather_rows ---- */

static void gather_task(void *ctx, uint64_t task, uint32_t worker) {
    (void)worker;
    const rows_job *job = ctx;
    const char *x = job->a->inputs[0]->data;
    const int64_t first = (int64_t)task * SPAN, end = cpu_min(first + SPAN, job->pictures * job->picks);
    char *out = (char *)job->a->outputs[0]->data + (size_t)first * job->size;
    for (int64_t i = first; i < end; i++, out += job->size) {
        const int64_t from = (job->shared ? 0 : i / job->picks * job->rows) + job->index[i];
        if (job->index[i] < 0)
            memset(out, 0, job->size);
        else
            memcpy(out, x + (size_t)from * job->size, job->size);
    }
}

static int32_t gather_run(const cvr_kernel_args *a, cvr_error *err) {
    const int64_t *shape = a->outputs[0]->shape;
    rows_job job = {.a = a, .index = a->inputs[1]->data, .pictures = shape[0], .picks = shape[1]};
    job.shared = ((const cvr_gather_attrs *)a->attrs)->shared;
    job.rows = a->inputs[0]->shape[job.shared ? 0 : 1];
    job.size = (size_t)(a->outputs[0]->rank == 3 ? shape[2] : 1) * cvr_dtype_size(a->outputs[0]->dtype);
    CVR_TRY(check_index("gather_rows", &job, err));
    cpu_run(a->pool, cpu_ceil_div(job.pictures * job.picks, SPAN), gather_task, &job);
    return CVR_OK;
}

/* dx[index[i]] += grad[i], in rising order of i: a picture at a time, or all where they share the rows. */
static void gather_backward_task(void *ctx, uint64_t task, uint32_t worker) {
    (void)worker;
    const rows_job *job = ctx;
    const int64_t first = (int64_t)task * job->picks, n = job->shared ? job->pictures * job->picks : job->picks;
    const float *grad = (const float *)job->a->inputs[0]->data + first * job->columns;
    float *dx = (float *)job->a->outputs[0]->data + (int64_t)task * job->rows * job->columns;
    memset(dx, 0, (size_t)(job->rows * job->columns) * sizeof *dx);
    for (int64_t i = 0; i < n; i++, grad += job->columns) {
        const int64_t row = job->index[first + i];
        for (int64_t k = 0; k < job->columns && row >= 0; k++) dx[row * job->columns + k] += grad[k];
    }
}

static int32_t gather_backward_run(const cvr_kernel_args *a, cvr_error *err) {
    const cvr_gather_rows_attrs *attrs = a->attrs;
    const int64_t *shape = a->inputs[0]->shape;
    rows_job job = {.a = a,
                    .index = a->inputs[1]->data,
                    .pictures = shape[0],
                    .picks = shape[1],
                    .rows = attrs->rows,
                    .columns = a->inputs[0]->rank == 3 ? shape[2] : 1,
                    .shared = attrs->shared};
    CVR_TRY(check_index("gather_rows_backward", &job, err));
    cpu_run(a->pool, attrs->shared ? 1 : job.pictures, gather_backward_task, &job);
    return CVR_OK;
}

/* ---- append_rows ---- */

static void append_task(void *ctx, uint64_t task, uint32_t worker) {
    (void)worker;
    const cvr_kernel_args *a = ctx;
    const int64_t *shape = a->outputs[0]->shape, n = (int64_t)task, row = shape[2];
    const int64_t first = ((const int32_t *)a->inputs[1]->data)[n], second = ((const int64_t *)a->inputs[3]->data)[n];
    float *out = (float *)a->outputs[0]->data + n * shape[1] * row;
    memcpy(out, detect_picture(a->inputs[0], n), (size_t)(first * row) * sizeof *out);
    memcpy(out + first * row, detect_picture(a->inputs[2], n), (size_t)(second * row) * sizeof *out);
    memset(out + (first + second) * row, 0, (size_t)((shape[1] - first - second) * row) * sizeof *out);
    ((int32_t *)a->outputs[1]->data)[n] = (int32_t)(first + second);
}

static int32_t append_run(const cvr_kernel_args *a, cvr_error *err) {
    const int64_t pictures = a->outputs[0]->shape[0];
    cvr_kernel_args copy = *a;
    for (int64_t n = 0; n < pictures; n++) {
        const int64_t first = ((const int32_t *)a->inputs[1]->data)[n];
        const int64_t second = ((const int64_t *)a->inputs[3]->data)[n];
        CVR_TRY(detect_check_count("append_rows", n, first, a->inputs[0]->shape[1], err));
        CVR_TRY(detect_check_count("append_rows", n, second, a->inputs[2]->shape[1], err));
    }
    cpu_run(a->pool, pictures, append_task, &copy);
    return CVR_OK;
}

/* ---- cut_match ---- */

static void cut_task(void *ctx, uint64_t task, uint32_t worker) {
    (void)worker;
    const cvr_kernel_args *a = ctx;
    const int64_t rows = a->inputs[0]->shape[1], count = ((const int32_t *)a->inputs[1]->data)[task];
    int32_t *out = (int32_t *)a->outputs[0]->data + (int64_t)task * rows;
    memcpy(out, (const int32_t *)a->inputs[0]->data + (int64_t)task * rows, (size_t)count * sizeof *out);
    for (int64_t i = count; i < rows; i++) out[i] = CVR_MATCH_BETWEEN;
}

static int32_t cut_run(const cvr_kernel_args *a, cvr_error *err) {
    const int64_t pictures = a->inputs[0]->shape[0], rows = a->inputs[0]->shape[1];
    cvr_kernel_args copy = *a;
    for (int64_t n = 0; n < pictures; n++)
        CVR_TRY(detect_check_count("cut_match", n, ((const int32_t *)a->inputs[1]->data)[n], rows, err));
    cpu_run(a->pool, (uint64_t)pictures, cut_task, &copy);
    return CVR_OK;
}

static const cpu_kernel kernels[] = {
    {"gather_rows", gather_run, NULL, NULL, 0, CPU_KERNEL_FLAGS, NULL},
    {"gather_rows_backward", gather_backward_run, NULL, NULL, 0, CPU_KERNEL_FLAGS, NULL},
    {"append_rows", append_run, NULL, NULL, 0, CPU_KERNEL_FLAGS, NULL},
    {"cut_match", cut_run, NULL, NULL, 0, CPU_KERNEL_FLAGS, NULL},
};
const cpu_kernel_table cpu_detect_rows_kernels = {kernels, sizeof kernels / sizeof *kernels};
