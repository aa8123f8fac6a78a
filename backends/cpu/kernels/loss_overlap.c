/*
 * overlap_loss on the CPU (see <cvr/plugin/ops/loss.h>): the sums I, P and T of each class are taken by blocks, in f32
 * over a few rows and in double beyond, and added up in the blocks' order.
 */
#include "loss_rows.h"

#include <cvr/plugin/ops/loss_math.h>

#define ROWS_IN_F32 128

typedef struct overlap_job {
    loss_rows r;
    const cvr_overlap_attrs *attrs;
    float *lse, *dx;
    const float *slopes;
    double *sums; /* forward: (blocks, 3, classes) */
    float grad;
} overlap_job;

/* ---- forward ---- */

/* Adds rows `from` to `to`, at most LOSS_SPAN scores, to the sums of a block. */
static void add_rows(const overlap_job *job, int64_t from, int64_t to, double *both) {
    const loss_rows *r = &job->r;
    const int64_t n = r->classes;
    double *const predicted = both + n, *const truth = predicted + n;
    float p[LOSS_SPAN], sum[LOSS_MOST_CLASSES];
    memset(sum, 0, (uint64_t)n * sizeof *sum);
    for (int64_t i = from; i < to; i++) job->lse[i] = (float)loss_row_lse(r->x + i * n, n);
    loss_rows_softmax(r, from, to, job->lse, p);
    for (int64_t i = from; i < to; i++) {
        const float *const row = p + (i - from) * n;
        const int64_t t = r->target[i];
        if (t == r->ignore_index) continue;
        for (int64_t c = 0; c < n; c++) sum[c] += row[c];
        if (n == 1 && t == 0) continue;
        both[loss_place(r, t)] += (double)row[loss_place(r, t)];
        truth[loss_place(r, t)] += 1;
    }
    for (int64_t c = 0; c < n; c++) predicted[c] += (double)sum[c];
}

static void forward_task(void *ctx, uint64_t task, uint32_t worker) {
    (void)worker;
    const overlap_job *job = ctx;
    const int64_t n = 3 * job->r.classes, end = loss_rows_end(&job->r, task);
    const int64_t step = cpu_min(loss_span_rows(&job->r), ROWS_IN_F32);
    double *const sums = job->sums + (int64_t)task * n;
    memset(sums, 0, (uint64_t)n * sizeof *sums);
    for (int64_t from = (int64_t)task * job->r.block; from < end; from += step)
        add_rows(job, from, cpu_min(from + step, end), sums);
}

static uint64_t forward_workspace(const cvr_signature *sig) {
    const loss_rows r = loss_rows_of(sig->inputs[0]);
    return (uint64_t)(r.blocks * 3 * r.classes) * sizeof(double);
}

static int32_t forward_run(const cvr_kernel_args *a, cvr_error *err) {
    const cvr_overlap_attrs *attrs = a->attrs;
    overlap_job job = {.r = loss_rows_open(a, attrs->ignore_index), .lse = a->outputs[1]->data, .sums = a->workspace};
    const int64_t n = 3 * job.r.classes;
    CVR_TRY(loss_rows_check_all("overlap_loss", &job.r, err));
    cpu_run(a->pool, job.r.blocks, forward_task, &job);
    for (int64_t b = 1; b < job.r.blocks; b++)
        for (int64_t i = 0; i < n; i++) job.sums[i] += job.sums[b * n + i];
    *(float *)a->outputs[0]->data =
        cvr_overlap_end(attrs, job.sums, cpu_floats(a, 2), job.r.classes, a->outputs[2]->data);
    return CVR_OK;
}

/* ---- backward ---- */

/* dx_c = grad * p_c * (d_c - mean), d_c = slopes(0,c) * [c = t] + slopes(1,c), mean = sum of p_k * d_k; dx has p. */
static void backward_row(const overlap_job *job, int64_t target, float *dx) {
    const int64_t n = job->r.classes;
    const float *const even = job->slopes + n, grad = job->grad;
    const int64_t own = n > 1 || target == 1 ? loss_place(&job->r, target) : -1;
    const float p = own >= 0 ? dx[own] : 0, more = own >= 0 ? job->slopes[own] : 0;
    const float mean = (float)(cpu_dot(dx, even, n) + (double)p * (double)more);
    CPU_INDEPENDENT
    for (int64_t c = 0; c < n; c++) dx[c] = grad * dx[c] * (even[c] - mean);
    if (own >= 0) dx[own] += grad * p * more;
}

static void backward_task(void *ctx, uint64_t task, uint32_t worker) {
    (void)worker;
    const overlap_job *job = ctx;
    const loss_rows *r = &job->r;
    const int64_t n = r->classes, end = loss_rows_end(r, task), step = loss_span_rows(r);
    for (int64_t from = (int64_t)task * r->block; from < end; from += step) {
        const int64_t to = cpu_min(from + step, end);
        loss_rows_softmax(r, from, to, job->lse, job->dx + from * n);
        for (int64_t i = from; i < to; i++) {
            if (r->target[i] == r->ignore_index)
                memset(job->dx + i * n, 0, (uint64_t)n * sizeof(float));
            else
                backward_row(job, r->target[i], job->dx + i * n);
        }
    }
}

static int32_t backward_run(const cvr_kernel_args *a, cvr_error *err) {
    const cvr_overlap_attrs *attrs = a->attrs;
    overlap_job job = {.r = loss_rows_open(a, attrs->ignore_index),
                       .lse = a->inputs[2]->data,
                       .slopes = a->inputs[3]->data,
                       .grad = *(const float *)a->inputs[4]->data,
                       .dx = a->outputs[0]->data};
    CVR_TRY(loss_rows_check_all("overlap_loss_backward", &job.r, err));
    cpu_run(a->pool, job.r.blocks, backward_task, &job);
    return CVR_OK;
}

static const cpu_kernel kernels[] = {
    {"overlap_loss", forward_run, forward_workspace, loss_rows_support, 0, CPU_KERNEL_FLAGS, NULL},
    {"overlap_loss_backward", backward_run, NULL, loss_rows_support, 1, CPU_KERNEL_FLAGS, NULL},
};
const cpu_kernel_table cpu_loss_overlap_kernels = {kernels, sizeof kernels / sizeof *kernels};
