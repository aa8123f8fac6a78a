/*
 * overlap_loss on the CPU (see <cvr/plugin/ops/loss.h>): the sums I, P and T of each class are taken by blocks, in f32
 * over a few rows and in double beyond, and added up in the blocks' order.
 */
#include "loss_rows.h"

#include <cvr/plugin/ops/loss_math.h>

#define ROWS_IN_F32 32

typedef struct overlap_job {
    loss_rows r;
    const cvr_overlap_attrs *attrs;
    float *lse, *dx;
    const float *slopes;
    double *sums; /* forward: (blocks, 3, classes) */
    float grad;
} overlap_job;

/* ---- forward ---- */

/* p of a row, and its lse. */
static float row_softmax(const float *x, int64_t n, float *p) {
    float max;
    if (n == 1) {
        const double lse = loss_softplus(*x);
        *p = cpu_exp(*x - (float)lse);
        return (float)lse;
    }
    const double sum = loss_row_exp(x, n, p, &max);
    const float scale = (float)(1 / sum);
    for (int64_t c = 0; c < n; c++) p[c] *= scale;
    return (float)((double)max + log(sum));
}

static void forward_task(void *ctx, uint64_t task, uint32_t worker) {
    (void)worker;
    const overlap_job *job = ctx;
    const loss_rows *r = &job->r;
    const int64_t n = r->classes, end = loss_rows_end(r, task);
    double *const both = job->sums + (int64_t)task * 3 * n, *const predicted = both + n, *const truth = predicted + n;
    float p[LOSS_MOST_CLASSES], sum[LOSS_MOST_CLASSES];
    memset(both, 0, (uint64_t)(3 * n) * sizeof *both);
    for (int64_t from = (int64_t)task * r->block; from < end; from += ROWS_IN_F32) {
        const int64_t to = cpu_min(from + ROWS_IN_F32, end);
        memset(sum, 0, (uint64_t)n * sizeof *sum);
        for (int64_t i = from; i < to; i++) {
            const int64_t t = r->target[i];
            job->lse[i] = row_softmax(r->x + i * n, n, p);
            if (t == r->ignore_index) continue;
            for (int64_t c = 0; c < n; c++) sum[c] += p[c];
            if (n == 1 && t == 0) continue;
            both[loss_place(r, t)] += (double)p[loss_place(r, t)];
            truth[loss_place(r, t)] += 1;
        }
        for (int64_t c = 0; c < n; c++) predicted[c] += (double)sum[c];
    }
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

/* dx_c = grad * p_c * (d_c - mean), d_c = slopes(0,c) * [c = t] + slopes(1,c), mean = sum of p_k * d_k */
static void backward_row(const overlap_job *job, const float *x, int64_t i, float *dx) {
    const int64_t n = job->r.classes, t = job->r.target[i];
    const float *const even = job->slopes + n, lse = job->lse[i], grad = job->grad;
    const int64_t own = n > 1 || t == 1 ? loss_place(&job->r, t) : -1;
    CPU_INDEPENDENT
    for (int64_t c = 0; c < n; c++) dx[c] = cpu_exp(x[c] - lse);
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
    for (int64_t i = (int64_t)task * r->block; i < loss_rows_end(r, task); i++) {
        float *const dx = job->dx + i * r->classes;
        if (r->target[i] == r->ignore_index)
            memset(dx, 0, (uint64_t)r->classes * sizeof *dx);
        else
            backward_row(job, r->x + i * r->classes, i, dx);
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
