/*
 * hard_targets on the CPU (see <cvr/plugin/ops/loss.h>): the probability of every row's target by blocks, then which
 * are kept.
 */
#include "loss_rows.h"

#include <cvr/plugin/ops/loss_math.h>

typedef struct hard_job {
    loss_rows r;
    float *p; /* (n); 2 where the row is ignored */
} hard_job;

static void probability_task(void *ctx, uint64_t task, uint32_t worker) {
    (void)worker;
    const hard_job *job = ctx;
    const loss_rows *r = &job->r;
    for (int64_t i = (int64_t)task * r->block; i < loss_rows_end(r, task); i++) {
        const float *const x = r->x + i * r->classes;
        const int64_t t = r->target[i];
        job->p[i] = t == r->ignore_index ? 2 : (float)exp((double)x[t] - loss_row_lse(x, r->classes));
    }
}

static uint64_t workspace(const cvr_signature *sig) {
    return (uint64_t)cpu_numel(sig->inputs[1]) * sizeof(float);
}

static int32_t run(const cvr_kernel_args *a, cvr_error *err) {
    const cvr_hard_targets_attrs *attrs = a->attrs;
    hard_job job = {loss_rows_open(a, attrs->ignore_index), a->workspace};
    const int64_t n = job.r.n;
    int64_t *const out = a->outputs[0]->data, below = 0, all = 0;
    float bound = -1;
    CVR_TRY(loss_rows_check_all("hard_targets", &job.r, err));
    cpu_run(a->pool, job.r.blocks, probability_task, &job);
    for (int64_t i = 0; i < n; i++) {
        below += (double)job.p[i] < attrs->thresh;
        all += job.p[i] < 2;
    }
    const int64_t kept = cpu_min(attrs->min_kept, all);
    if (below < kept) bound = cvr_kth_smallest(job.p, n, kept);
    for (int64_t i = 0; i < n; i++) {
        const int easy = (double)job.p[i] >= attrs->thresh && job.p[i] > bound; /* not one that is no number */
        out[i] = easy ? attrs->ignore_index : job.r.target[i];
    }
    return CVR_OK;
}

static const cpu_kernel kernels[] = {
    {"hard_targets", run, workspace, loss_rows_support, 0, CPU_KERNEL_FLAGS, NULL},
};
const cpu_kernel_table cpu_loss_hard_kernels = {kernels, sizeof kernels / sizeof *kernels};
