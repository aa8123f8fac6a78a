/*
 * anchor_cross_entropy and its gradient on the CPU (see <cvr/plugin/ops/detect_loss.h>), with the reference's bits: the
 * losses of all rows by blocks, then which rows are the hardest, a picture at a time. The scores of a row lie side by
 * side. In the workspace are each picture's sum and number of objects, and each row's hardness.
 */
#include "cpu_loops.h"

#include <cvr/plugin/ops/anchor_entropy_math.h>

typedef struct entropy_job {
    const float *x;        /* (N,A,K) */
    const int64_t *target; /* (N,A) */
    int64_t pictures, rows, classes;
    int64_t block; /* rows of a task */
    double negatives;
    float *lse;
    uint8_t *keep;
    /* forward, in the workspace */
    double *sum;        /* (N) */
    int64_t *positives; /* (N) */
    uint32_t *hard;     /* (N,A) */
    /* backward */
    double scale;
    float *dx;
} entropy_job;

static int32_t entropy_open(const cvr_kernel_args *a, entropy_job *job, cvr_error *err) {
    const int64_t *shape = a->inputs[0]->shape;
    job->x = a->inputs[0]->data;
    job->target = a->inputs[1]->data;
    job->pictures = shape[0];
    job->rows = shape[1];
    job->classes = shape[2];
    job->block = cpu_max(1, CPU_SPAN / cpu_max(1, job->classes));
    for (int64_t i = 0; i < job->pictures * job->rows; i++)
        if (job->target[i] >= job->classes)
            return cvr_fail(err, CVR_ERR_INVALID,
                            "anchor_cross_entropy: target %lld, but there are %lld classes; check the labels",
                            (long long)job->target[i], (long long)job->classes);
    return CVR_OK;
}

static int64_t blocks_of(const entropy_job *job) {
    return cpu_ceil_div(job->pictures * job->rows, job->block);
}

/* ---- forward ---- */

static void rows_task(void *ctx, uint64_t task, uint32_t worker) {
    const entropy_job *job = ctx;
    const int64_t from = (int64_t)task * job->block, to = cpu_min(from + job->block, job->pictures * job->rows);
    (void)worker;
    cvr_entropy_open_rows(job->x, job->target, from, to, job->classes, job->lse, job->keep, job->hard);
}

static void picture_task(void *ctx, uint64_t task, uint32_t worker) {
    const entropy_job *job = ctx;
    const int64_t first = (int64_t)task * job->rows;
    (void)worker;
    job->sum[task] =
        cvr_entropy_picture(job->x + first * job->classes, job->target + first, job->rows, job->classes, job->negatives,
                            job->lse + first, job->hard + first, job->keep + first, &job->positives[task]);
}

static uint64_t entropy_workspace(const cvr_signature *sig) {
    const uint64_t pictures = (uint64_t)sig->inputs[0]->shape[0], rows = (uint64_t)sig->inputs[0]->shape[1];
    return pictures * (sizeof(double) + sizeof(int64_t) + rows * sizeof(uint32_t));
}

static int32_t entropy_run(const cvr_kernel_args *a, cvr_error *err) {
    entropy_job job = {.negatives = ((const cvr_anchor_cross_entropy_attrs *)a->attrs)->negatives,
                       .lse = a->outputs[1]->data,
                       .keep = a->outputs[2]->data,
                       .sum = a->workspace};
    double sum = 0, norm = 0;
    CVR_TRY(entropy_open(a, &job, err));
    job.positives = (int64_t *)(job.sum + job.pictures);
    job.hard = (uint32_t *)(job.positives + job.pictures);
    cpu_run(a->pool, blocks_of(&job), rows_task, &job);
    cpu_run(a->pool, job.pictures, picture_task, &job);
    for (int64_t n = 0; n < job.pictures; n++) {
        sum += job.sum[n];
        norm += (double)job.positives[n];
    }
    if (norm < 1) norm = 1;
    *(float *)a->outputs[0]->data = (float)(sum / norm);
    *(float *)a->outputs[3]->data = (float)norm;
    return CVR_OK;
}

/* ---- backward ---- */

static void back_task(void *ctx, uint64_t task, uint32_t worker) {
    const entropy_job *job = ctx;
    const int64_t from = (int64_t)task * job->block, to = cpu_min(from + job->block, job->pictures * job->rows);
    (void)worker;
    for (int64_t i = from; i < to; i++)
        cvr_entropy_slope(job->x + i * job->classes, job->classes, job->target[i], job->lse[i], job->keep[i],
                          job->scale, job->dx + i * job->classes);
}

/* x, target, lse, keep, norm, grad */
static int32_t back_run(const cvr_kernel_args *a, cvr_error *err) {
    entropy_job job = {.lse = a->inputs[2]->data, .keep = a->inputs[3]->data, .dx = a->outputs[0]->data};
    CVR_TRY(entropy_open(a, &job, err));
    job.scale = (double)*cpu_floats(a, 5) / *cpu_floats(a, 4);
    cpu_run(a->pool, blocks_of(&job), back_task, &job);
    return CVR_OK;
}

static const cpu_kernel kernels[] = {
    {"anchor_cross_entropy", entropy_run, entropy_workspace, NULL, 0, CPU_KERNEL_FLAGS, NULL},
    {"anchor_cross_entropy_backward", back_run, NULL, NULL, 1, CPU_KERNEL_FLAGS, NULL},
};
const cpu_kernel_table cpu_detect_entropy_kernels = {kernels, sizeof kernels / sizeof *kernels};
