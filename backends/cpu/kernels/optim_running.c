/*
 * What stands around the updates of parameters on the CPU: gradients that are added up, running means, vetoes, the norm
 * of all gradients and their scaling (see <cvr/plugin/ops/optim.h>). As in optim.c, a node's tensors stand in a row,
 * and spans of that row are the tasks. Sums are kept for each task and added in the tasks' order.
 */
#include "cpu_loops.h"

#include <cvr/plugin/idle.h>
#include <cvr/plugin/ops/optim.h>
#include <math.h>

#define LINE 16 /* floats of a cache line: no two tasks write to one */
#define MOST 63

/* to (n) changes by from (n): to = keep * to + take * from */
typedef struct row_tensor {
    float *to;
    const float *from;
    int64_t n, place; /* elements; where they stand in the row */
} row_tensor;

typedef struct row_job row_job;
typedef void (*row_fn)(const row_job *job, const row_tensor *t, int64_t first, int64_t n, uint64_t task);
struct row_job {
    row_fn fn;
    row_tensor tensors[MOST];
    int64_t n_tensors, n;
    float keep, take;
    double *sums; /* of each task */
};

static void row_task(void *ctx, uint64_t task, uint32_t worker) {
    (void)worker;
    const row_job *job = ctx;
    const int64_t begin = (int64_t)task * CPU_SPAN, end = begin + CPU_SPAN;
    for (int64_t i = 0; i < job->n_tensors; i++) {
        const row_tensor *t = &job->tensors[i];
        const int64_t first = cpu_max(begin - t->place, 0), last = cpu_min(end - t->place, t->n);
        if (first < last) job->fn(job, t, first, last - first, task);
    }
}

static void put_in_row(row_job *job, float *to, const float *from, int64_t n) {
    job->tensors[job->n_tensors++] = (row_tensor){to, from, n, job->n};
    job->n += cpu_ceil_div(n, LINE) * LINE;
}

static void blend(const row_job *job, const row_tensor *t, int64_t first, int64_t n, uint64_t task) {
    (void)task;
    float *restrict to = t->to + first;
    const float *restrict from = t->from + first;
    const float keep = job->keep, take = job->take;
    if (keep == 0 && take == 1)
        memcpy(to, from, (size_t)n * sizeof *to);
    else if (keep == 1 && take == 1)
        for (int64_t i = 0; i < n; i++) to[i] += from[i];
    else
        for (int64_t i = 0; i < n; i++) to[i] = keep * to[i] + take * from[i];
}

/* Counters: the mean, cut to a whole number. */
static void blend_counters(const cvr_kernel_args *a, uint32_t to, float keep, float take) {
    int64_t *x = a->inputs[to]->data;
    const int64_t *y = a->inputs[to + 1]->data;
    for (int64_t i = 0; i < cpu_numel(a->inputs[to]); i++) x[i] = (int64_t)(keep * (float)x[i] + take * (float)y[i]);
}

/* All pairs behind input 0. */
static int32_t blend_all(const cvr_kernel_args *a, double keep, double take) {
    row_job job = {.fn = blend, .keep = (float)keep, .take = (float)take};
    if (keep == 1 && take == 0) return CVR_OK;
    for (uint32_t i = 1; i < a->n_inputs; i += 2) {
        if (a->inputs[i]->dtype == CVR_F32)
            put_in_row(&job, a->inputs[i]->data, a->inputs[i + 1]->data, cpu_numel(a->inputs[i]));
        else
            blend_counters(a, i, job.keep, job.take);
    }
    cpu_run(a->pool, cpu_spans(job.n), row_task, &job);
    return CVR_OK;
}

static int32_t accumulate_run(const cvr_kernel_args *a, cvr_error *err) {
    (void)err;
    int64_t micro_step;
    memcpy(&micro_step, a->inputs[0]->data, sizeof micro_step);
    return blend_all(a, micro_step != 0, 1);
}

static int32_t average_run(const cvr_kernel_args *a, cvr_error *err) {
    (void)err;
    const double weight = (double)*(const float *)a->inputs[0]->data;
    return blend_all(a, 1 - weight, weight);
}

/* ---- vetoes ---- */

static int says_no(const cvr_tensor *veto, int finite) {
    if (veto->dtype == CVR_I64) return !finite && *(const int64_t *)veto->data != 0;
    if (veto->dtype == CVR_I32) return !finite && *(const int32_t *)veto->data != 0;
    const float number = *(const float *)veto->data;
    return finite ? !isfinite(number) : number != 0;
}

static int32_t guard_run(const cvr_kernel_args *a, cvr_error *err) {
    (void)err;
    const cvr_update_guard_attrs *s = a->attrs;
    void *const to = a->outputs[0]->data;
    int no = 0;
    for (uint32_t i = 1; i < a->n_inputs; i++) no = no || says_no(a->inputs[i], s->finite != 0);
    memcpy(to, a->inputs[0]->data, a->inputs[0]->dtype == CVR_I64 ? sizeof(int64_t) : sizeof(float));
    if (no && a->outputs[0]->dtype == CVR_I64) *(int64_t *)to = (int64_t)s->idle;
    if (no && a->outputs[0]->dtype == CVR_F32) *(float *)to = (float)s->idle;
    return CVR_OK;
}

/* ---- the norm of all gradients ---- */

static void squares(const row_job *job, const row_tensor *t, int64_t first, int64_t n, uint64_t task) {
    job->sums[task] += cpu_dot(t->from + first, t->from + first, n);
}

static int64_t row_length(uint32_t n_inputs, const cvr_tensor *const *inputs) {
    int64_t n = 0;
    for (uint32_t i = 0; i < n_inputs; i++) n += cpu_ceil_div(cpu_numel(inputs[i]), LINE) * LINE;
    return n;
}

static uint64_t squares_workspace(const cvr_signature *sig) {
    return (uint64_t)cpu_spans(row_length(sig->n_inputs, sig->inputs)) * sizeof(double);
}

static int32_t squares_run(const cvr_kernel_args *a, cvr_error *err) {
    (void)err;
    row_job job = {.fn = squares, .sums = a->workspace};
    double sum = 0;
    for (uint32_t i = 0; i < a->n_inputs; i++) put_in_row(&job, NULL, a->inputs[i]->data, cpu_numel(a->inputs[i]));
    const int64_t tasks = cpu_spans(job.n);
    for (int64_t i = 0; i < tasks; i++) job.sums[i] = 0;
    cpu_run(a->pool, tasks, row_task, &job);
    for (int64_t i = 0; i < tasks; i++) sum += job.sums[i];
    *(float *)a->outputs[0]->data = (float)sum;
    return CVR_OK;
}

static int32_t clip_run(const cvr_kernel_args *a, cvr_error *err) {
    (void)err;
    const cvr_gradient_clip_attrs *s = a->attrs;
    const float norm = sqrtf(*(const float *)a->inputs[0]->data), factor = (float)s->max_norm / (norm + 1e-6f);
    *(float *)a->outputs[0]->data = factor > 1 ? 1 : factor; /* NaN stays */
    *(float *)a->outputs[1]->data = norm;
    return CVR_OK;
}

static void scale(const row_job *job, const row_tensor *t, int64_t first, int64_t n, uint64_t task) {
    (void)task;
    float *to = t->to + first;
    const float *from = t->from + first, take = job->take;
    CPU_INDEPENDENT
    for (int64_t i = 0; i < n; i++) to[i] = take * from[i];
}

static int32_t scale_run(const cvr_kernel_args *a, cvr_error *err) {
    (void)err;
    row_job job = {.fn = scale, .take = *(const float *)a->inputs[1]->data};
    put_in_row(&job, a->outputs[0]->data, a->inputs[0]->data, cpu_numel(a->inputs[0]));
    cpu_run(a->pool, cpu_spans(job.n), row_task, &job);
    return CVR_OK;
}

static const cpu_kernel kernels[] = {
    {"gradient_accumulate", accumulate_run, NULL, NULL, 0, CPU_KERNEL_FLAGS, NULL},
    {"average_update", average_run, NULL, NULL, 0, CPU_KERNEL_FLAGS, NULL},
    {"update_guard", guard_run, NULL, NULL, 0, CPU_KERNEL_FLAGS, NULL},
    {"gradient_sum_squares", squares_run, squares_workspace, NULL, 0, CPU_KERNEL_FLAGS, NULL},
    {"gradient_clip_factor", clip_run, NULL, NULL, 0, CPU_KERNEL_FLAGS, NULL},
    {"gradient_scale", scale_run, NULL, NULL, 1, CPU_KERNEL_FLAGS, NULL},
};
const cpu_kernel_table cpu_optim_running_kernels = {kernels, sizeof kernels / sizeof *kernels};
