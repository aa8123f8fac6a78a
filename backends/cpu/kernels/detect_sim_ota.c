/*
 * SimOTA and the losses that follow from it on the CPU (see <cvr/plugin/ops/detect.h>, detect_loss.h), with the
 * reference's bits. A picture is a task of sim_ota, which has its own part of the workspace, room for all rows as
 * candidates; and one of anchor_quality_loss, whose sums in double the workspace holds. Its gradient is cut into spans
 * of rows, which lie one behind the other, K numbers each.
 */
#include "cpu_loops.h"

#include <cvr/plugin/ops/detect_loss_math.h>
#include <cvr/plugin/ops/sim_ota_math.h>

/* ---- sim_ota ---- */

static void ota_task(void *ctx, uint64_t task, uint32_t worker) {
    const cvr_kernel_args *a = ctx;
    const uint64_t bytes = cvr_sim_ota_bytes(a->inputs[0]->shape[1]);
    cvr_sim_ota_picture p;
    (void)worker;
    cvr_sim_ota_open(a, (int64_t)task, (char *)a->workspace + task * bytes, &p);
    cvr_sim_ota(&p);
}

static int32_t ota_run(const cvr_kernel_args *a, cvr_error *err) {
    cvr_kernel_args copy = *a;
    CVR_TRY(cvr_sim_ota_check(a, err));
    cpu_run(a->pool, a->inputs[0]->shape[0], ota_task, &copy);
    return CVR_OK;
}

static uint64_t ota_workspace(const cvr_signature *sig) {
    return (uint64_t)sig->inputs[0]->shape[0] * cvr_sim_ota_bytes(sig->inputs[0]->shape[1]);
}

/* ---- anchor_quality_loss ---- */

typedef struct quality_job {
    const float *x, *quality, *norm; /* (N,A,K), (N,A), (N) */
    const int64_t *target;           /* (N,A) */
    int64_t pictures, rows, classes, block;
    double *sum; /* (N) */
    double grad;
    float *dx;
} quality_job;

static quality_job quality_open(const cvr_kernel_args *a) {
    const cvr_tensor *x = a->inputs[0];
    quality_job job = {.x = x->data,
                       .target = a->inputs[1]->data,
                       .quality = a->inputs[2]->data,
                       .pictures = x->shape[0],
                       .rows = x->shape[1],
                       .classes = x->shape[2]};
    job.block = cpu_max(CPU_SPAN / cpu_max(job.classes, 1), 1);
    return job;
}

static void quality_task(void *ctx, uint64_t task, uint32_t worker) {
    const quality_job *job = ctx;
    const int64_t first = (int64_t)task * job->rows;
    double sum = 0;
    (void)worker;
    for (int64_t row = first; row < first + job->rows; row++)
        if (job->target[row] >= 0)
            sum +=
                cvr_detect_quality_loss(job->x + row * job->classes, job->classes, job->target[row], job->quality[row]);
    job->sum[task] = sum;
}

static int32_t quality_run(const cvr_kernel_args *a, cvr_error *err) {
    quality_job job = quality_open(a);
    float *const norm = a->outputs[1]->data;
    double loss = 0;
    CVR_TRY(cvr_detect_check_targets("anchor_quality_loss", a, err));
    cvr_detect_quality_norm(a->attrs, a->inputs[1], norm);
    job.sum = a->workspace;
    cpu_run(a->pool, job.pictures, quality_task, &job);
    for (int64_t n = 0; n < job.pictures; n++) loss += job.sum[n] * cvr_detect_share(norm[n]);
    *(float *)a->outputs[0]->data = (float)loss;
    return CVR_OK;
}

static void quality_back_task(void *ctx, uint64_t task, uint32_t worker) {
    const quality_job *job = ctx;
    const int64_t first = (int64_t)task * job->block, end = cpu_min(first + job->block, job->pictures * job->rows);
    (void)worker;
    for (int64_t row = first; row < end; row++)
        cvr_detect_quality_slope(job->x + row * job->classes, job->classes, job->target[row], job->quality[row],
                                 job->grad * cvr_detect_share(job->norm[row / job->rows]),
                                 job->dx + row * job->classes);
}

static int32_t quality_back_run(const cvr_kernel_args *a, cvr_error *err) {
    quality_job job = quality_open(a);
    CVR_TRY(cvr_detect_check_targets("anchor_quality_loss_backward", a, err));
    job.norm = a->inputs[3]->data;
    job.grad = *cpu_floats(a, 4);
    job.dx = a->outputs[0]->data;
    cpu_run(a->pool, cpu_ceil_div(job.pictures * job.rows, job.block), quality_back_task, &job);
    return CVR_OK;
}

static uint64_t quality_workspace(const cvr_signature *sig) {
    return (uint64_t)sig->inputs[0]->shape[0] * sizeof(double);
}

static const cpu_kernel kernels[] = {
    {"sim_ota", ota_run, ota_workspace, NULL, 0, CPU_KERNEL_FLAGS, NULL},
    {"anchor_quality_loss", quality_run, quality_workspace, NULL, 0, CPU_KERNEL_FLAGS, NULL},
    {"anchor_quality_loss_backward", quality_back_run, NULL, NULL, 1, CPU_KERNEL_FLAGS, NULL},
};
const cpu_kernel_table cpu_detect_sim_ota_kernels = {kernels, sizeof kernels / sizeof *kernels};
