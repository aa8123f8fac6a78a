/*
 * Cross entropy on the CPU (see <cvr/plugin/ops/loss.h>). A position is one softmax over C scores:
 *     lse = max + log(sum over c of exp(x_c - max))
 *     l = (1 - s) * w_t * (lse - x_t) + s / C * sum over c of w_c * (lse - x_c), s = label smoothing
 *
 * Blocks of positions, of about CPU_SPAN scores, are tasks; the scores of a position are the inner loop. They lie side
 * by side in ranks 2 and 4, and `step` apart in the others. Losses are summed in double for each block.
 */
#include "loss_rows.h"

#include <cvr/plugin/ops/loss.h>

/* Scores of a position lie `step` apart; those of ranks 2 and 4 side by side. */
typedef struct entropy_job {
    int64_t positions, per_picture, classes, step, position_step; /* positions: of the whole batch */
    int64_t block, blocks;
    int64_t ignore_index;
    const float *x, *weight, *lse;
    const int64_t *target;
    float *out; /* lse; or dx */
    double *partial;
    double smoothing, total_weight;
    double scale; /* backward: grad / norm */
} entropy_job;

static entropy_job entropy_sizes(const cvr_tensor *x) {
    entropy_job job = {.classes = x->shape[1], .per_picture = 1};
    for (uint32_t i = 2; i < x->rank; i++) job.per_picture *= x->shape[i];
    job.positions = x->shape[0] * job.per_picture;
    job.step = x->rank == 4 ? 1 : job.per_picture;
    job.position_step = x->rank == 4 ? job.classes : 1;
    job.block = cpu_max(1, CPU_SPAN / job.classes);
    job.blocks = cpu_ceil_div(job.positions, job.block);
    return job;
}

static int64_t position_at(const entropy_job *job, int64_t p) {
    return p / job->per_picture * job->per_picture * job->classes + p % job->per_picture * job->position_step;
}

static int32_t check_targets(const entropy_job *job, cvr_error *err) {
    return loss_rows_check("cross_entropy", job->target, job->positions, job->classes, job->ignore_index, err);
}

static double total_weight(const entropy_job *job) {
    return job->weight ? cpu_sum(job->weight, job->classes) : (double)job->classes;
}

static entropy_job entropy_open(const cvr_kernel_args *a) {
    const cvr_cross_entropy_attrs *attrs = a->attrs;
    entropy_job job = entropy_sizes(a->inputs[0]);
    job.x = a->inputs[0]->data;
    job.target = a->inputs[1]->data;
    job.weight = cpu_floats(a, 2);
    job.ignore_index = attrs->ignore_index;
    job.smoothing = attrs->label_smoothing;
    job.total_weight = total_weight(&job);
    return job;
}

/* ---- forward ---- */

/* log(sum of exp(x)) of scores that lie `step` apart */
static double strided_log_sum_exp(const float *x, int64_t n, int64_t step) {
    float max = x[0];
    double sum = 0;
    for (int64_t i = 1; i < n; i++) max = x[i * step] > max ? x[i * step] : max;
    for (int64_t i = 0; i < n; i++) sum += (double)cpu_exp(x[i * step] - max);
    return max + log(sum);
}

static double log_sum_exp(const float *x, int64_t n, int64_t step) {
    if (step != 1) return strided_log_sum_exp(x, n, step);
    const float max = cpu_max_of(x, n);
    return max + log(cpu_sum_exp(x, max, n));
}

/* sum of w_c * (lse - x_c) */
static double spread_loss(const entropy_job *job, const float *x, double lse) {
    double sum = 0;
    if (job->step == 1 && job->weight)
        sum = cpu_dot(x, job->weight, job->classes);
    else if (job->step == 1)
        sum = cpu_sum(x, job->classes);
    else
        for (int64_t c = 0; c < job->classes; c++)
            sum += (double)x[c * job->step] * (job->weight ? (double)job->weight[c] : 1);
    return lse * job->total_weight - sum;
}

/* l = (1-s) * w_t * (lse - x_t) + s / C * sum of w_c * (lse - x_c); partial: sums of l and of w_t */
static void forward_task(void *ctx, uint64_t task, uint32_t worker) {
    (void)worker;
    const entropy_job *job = ctx;
    const int64_t first = (int64_t)task * job->block, end = cpu_min(first + job->block, job->positions);
    double loss = 0, norm = 0;
    for (int64_t p = first; p < end; p++) {
        const float *x = job->x + position_at(job, p);
        const double lse = log_sum_exp(x, job->classes, job->step);
        const int64_t t = job->target[p];
        job->out[p] = (float)lse;
        if (t == job->ignore_index) continue;
        const double own = job->weight ? (double)job->weight[t] : 1;
        norm += own;
        loss += (1 - job->smoothing) * own * (lse - (double)x[t * job->step]);
        if (job->smoothing > 0) loss += job->smoothing / (double)job->classes * spread_loss(job, x, lse);
    }
    job->partial[2 * task] = loss;
    job->partial[2 * task + 1] = norm;
}

static uint64_t forward_workspace(const cvr_signature *sig) {
    return (uint64_t)entropy_sizes(sig->inputs[0]).blocks * 2 * sizeof(double);
}

static int32_t forward_run(const cvr_kernel_args *a, cvr_error *err) {
    const cvr_cross_entropy_attrs *attrs = a->attrs;
    entropy_job job = entropy_open(a);
    double loss = 0, norm = 0;
    CVR_TRY(check_targets(&job, err));
    job.out = a->outputs[1]->data;
    job.partial = a->workspace;
    cpu_run(a->pool, job.blocks, forward_task, &job);
    for (int64_t i = 0; i < job.blocks; i++) {
        loss += job.partial[2 * i];
        norm += job.partial[2 * i + 1];
    }
    if (attrs->reduction == CVR_LOSS_SUM) norm = 1;
    *(float *)a->outputs[0]->data = (float)(loss / norm);
    *(float *)a->outputs[2]->data = (float)norm;
    return CVR_OK;
}

/* ---- backward ---- */

/* dx_c = scale * (exp(x_c - lse) * all - own * [c = t] - even * w_c) */
static void backward_task(void *ctx, uint64_t task, uint32_t worker) {
    (void)worker;
    const entropy_job *job = ctx;
    const int64_t first = (int64_t)task * job->block, end = cpu_min(first + job->block, job->positions);
    const int64_t n = job->classes, step = job->step;
    const double smooth = job->smoothing / (double)n;
    for (int64_t p = first; p < end; p++) {
        const int64_t at = position_at(job, p), t = job->target[p];
        const float *x = job->x + at, lse = job->lse[p];
        float *dx = job->out + at;
        if (t == job->ignore_index) {
            for (int64_t c = 0; c < n; c++) dx[c * step] = 0;
            continue;
        }
        const double own = (1 - job->smoothing) * (job->weight ? (double)job->weight[t] : 1);
        const float all = (float)(job->scale * (own + smooth * job->total_weight));
        const float even = (float)(job->scale * smooth);
        if (step == 1) {
            CPU_INDEPENDENT
            for (int64_t c = 0; c < n; c++) dx[c] = cpu_exp(x[c] - lse) * all;
        } else {
            for (int64_t c = 0; c < n; c++) dx[c * step] = cpu_exp(x[c * step] - lse) * all;
        }
        for (int64_t c = 0; job->smoothing > 0 && c < n; c++)
            dx[c * step] -= job->weight ? even * job->weight[c] : even;
        dx[t * step] -= (float)(job->scale * own);
    }
}

static int32_t backward_run(const cvr_kernel_args *a, cvr_error *err) {
    entropy_job job = entropy_open(a);
    CVR_TRY(check_targets(&job, err));
    job.lse = a->inputs[3]->data;
    job.out = a->outputs[0]->data;
    job.scale = (double)*(const float *)a->inputs[5]->data / (double)*(const float *)a->inputs[4]->data;
    cpu_run(a->pool, job.blocks, backward_task, &job);
    return CVR_OK;
}

static const cpu_kernel kernels[] = {
    {"cross_entropy", forward_run, forward_workspace, NULL, 0, CPU_KERNEL_FLAGS, NULL},
    {"cross_entropy_backward", backward_run, NULL, NULL, 1, CPU_KERNEL_FLAGS, NULL},
};
const cpu_kernel_table cpu_loss_entropy_kernels = {kernels, sizeof kernels / sizeof *kernels};
