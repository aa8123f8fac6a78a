/*
 * The focal losses on the CPU (see <cvr/plugin/ops/loss.h>). That of a softmax does its powers once a row; that of each
 * class by itself once an element. Losses are summed in double for each block.
 */
#include "loss_rows.h"

#include <cvr/plugin/ops/loss_math.h>

typedef struct focal_job {
    loss_rows r;
    double alpha, gamma;
    double scale; /* backward: grad / norm */
    float *lse, *dx;
    double *partial; /* (blocks, 2): sums of losses, and of weights or of rows that count */
} focal_job;

static focal_job focal_open(const cvr_kernel_args *a) {
    const cvr_focal_attrs *attrs = a->attrs;
    focal_job job = {.r = loss_rows_open(a, attrs->ignore_index),
                     .alpha = attrs->alpha,
                     .gamma = attrs->gamma,
                     .partial = a->workspace};
    job.r.weight = cpu_floats(a, 2);
    return job;
}

static uint64_t partial_workspace(const cvr_signature *sig) {
    return (uint64_t)loss_rows_of(sig->inputs[0]).blocks * 2 * sizeof(double);
}

/* Sums of the blocks, in their order. */
static void add_blocks(const focal_job *job, double sums[2]) {
    sums[0] = sums[1] = 0;
    for (int64_t b = 0; b < job->r.blocks; b++) {
        sums[0] += job->partial[2 * b];
        sums[1] += job->partial[2 * b + 1];
    }
}

/* ---- of a softmax ---- */

static void focal_task(void *ctx, uint64_t task, uint32_t worker) {
    (void)worker;
    const focal_job *job = ctx;
    const loss_rows *r = &job->r;
    double loss = 0, norm = 0;
    for (int64_t i = (int64_t)task * r->block; i < loss_rows_end(r, task); i++) {
        const float *const x = r->x + i * r->classes;
        const double lse = loss_row_lse(x, r->classes);
        const int64_t t = r->target[i];
        job->lse[i] = (float)lse;
        if (t == r->ignore_index) continue;
        const double log_p = (double)x[t] - lse, w = (double)loss_weight(r, t);
        loss -= w * cvr_focal_easy(-expm1(fmin(log_p, 0)), job->gamma) * log_p;
        norm += w;
    }
    job->partial[2 * task] = loss;
    job->partial[2 * task + 1] = norm;
}

static int32_t focal_run(const cvr_kernel_args *a, cvr_error *err) {
    focal_job job = focal_open(a);
    double sums[2];
    job.lse = a->outputs[1]->data;
    CVR_TRY(loss_rows_check_all("focal_loss", &job.r, err));
    cpu_run(a->pool, job.r.blocks, focal_task, &job);
    add_blocks(&job, sums);
    *(float *)a->outputs[0]->data = (float)(sums[1] > 0 ? sums[0] / sums[1] : 0);
    *(float *)a->outputs[2]->data = (float)sums[1];
    return CVR_OK;
}

/* dx_c = s * ([c = t] - p_c) */
static void focal_back_task(void *ctx, uint64_t task, uint32_t worker) {
    (void)worker;
    const focal_job *job = ctx;
    const loss_rows *r = &job->r;
    for (int64_t i = (int64_t)task * r->block; i < loss_rows_end(r, task); i++) {
        const float *const x = r->x + i * r->classes, lse = job->lse[i];
        float *const dx = job->dx + i * r->classes;
        const int64_t t = r->target[i];
        if (t == r->ignore_index) {
            memset(dx, 0, (uint64_t)r->classes * sizeof *dx);
            continue;
        }
        const double log_p = fmin((double)x[t] - (double)lse, 0);
        const float s =
            (float)(job->scale * (double)loss_weight(r, t) * cvr_focal_slope(log_p, -expm1(log_p), job->gamma));
        CPU_INDEPENDENT
        for (int64_t c = 0; c < r->classes; c++) dx[c] = -s * cpu_exp(x[c] - lse);
        dx[t] += s;
    }
}

static int32_t focal_back_run(const cvr_kernel_args *a, cvr_error *err) {
    const float norm = *(const float *)a->inputs[4]->data, grad = *(const float *)a->inputs[5]->data;
    focal_job job = focal_open(a);
    job.lse = a->inputs[3]->data;
    job.dx = a->outputs[0]->data;
    job.scale = norm > 0 ? (double)grad / (double)norm : 0;
    CVR_TRY(loss_rows_check_all("focal_loss_backward", &job.r, err));
    cpu_run(a->pool, job.r.blocks, focal_back_task, &job);
    return CVR_OK;
}

/* ---- of each class by itself ---- */

/* r^gamma, r = 1 - q */
static inline float easy(float rest, float gamma) {
    return gamma == 2 ? rest * rest : gamma == 0 ? 1 : powf(rest, gamma);
}

/* log q of z = x where the row is the class, else -x */
static inline float log_sigmoid(float z) {
    return -(log1pf(cpu_exp(-fabsf(z))) + (z < 0 ? -z : 0));
}

static inline float alpha_of(const focal_job *job, int is) {
    return job->alpha < 0 ? 1 : (float)(is ? job->alpha : 1 - job->alpha);
}

static inline int is_class(const loss_rows *r, int64_t t, int64_t c) {
    return r->classes == 1 ? t == 1 : t == c;
}

static void sigmoid_task(void *ctx, uint64_t task, uint32_t worker) {
    (void)worker;
    const focal_job *job = ctx;
    const loss_rows *r = &job->r;
    const float gamma = (float)job->gamma;
    double loss = 0, counted = 0;
    for (int64_t i = (int64_t)task * r->block; i < loss_rows_end(r, task); i++) {
        const float *const x = r->x + i * r->classes;
        float row = 0;
        if (r->target[i] == r->ignore_index) continue;
        for (int64_t c = 0; c < r->classes; c++) {
            const int is = is_class(r, r->target[i], c);
            const float z = is ? x[c] : -x[c], rest = cpu_sigmoid(-z);
            row -= loss_weight(r, c) * alpha_of(job, is) * easy(rest, gamma) * log_sigmoid(z);
        }
        loss += (double)row;
        counted += 1;
    }
    job->partial[2 * task] = loss;
    job->partial[2 * task + 1] = counted;
}

static int32_t sigmoid_run(const cvr_kernel_args *a, cvr_error *err) {
    focal_job job = focal_open(a);
    double sums[2], weights = 0;
    CVR_TRY(loss_rows_check_all("sigmoid_focal_loss", &job.r, err));
    for (int64_t c = 0; c < job.r.classes; c++) weights += (double)loss_weight(&job.r, c);
    cpu_run(a->pool, job.r.blocks, sigmoid_task, &job);
    add_blocks(&job, sums);
    const double norm = sums[1] * weights;
    *(float *)a->outputs[0]->data = (float)(norm > 0 ? sums[0] / norm : 0);
    *(float *)a->outputs[1]->data = (float)norm;
    return CVR_OK;
}

/* dl / dx = a * sign * r^gamma * (gamma * q * log q - r), r = 1 - q, sign that of dz / dx */
static void sigmoid_back_task(void *ctx, uint64_t task, uint32_t worker) {
    (void)worker;
    const focal_job *job = ctx;
    const loss_rows *r = &job->r;
    const float gamma = (float)job->gamma, scale = (float)job->scale;
    for (int64_t i = (int64_t)task * r->block; i < loss_rows_end(r, task); i++) {
        const float *const x = r->x + i * r->classes;
        float *const dx = job->dx + i * r->classes;
        const int64_t t = r->target[i];
        for (int64_t c = 0; c < r->classes; c++) {
            const int is = is_class(r, t, c);
            const float z = is ? x[c] : -x[c], rest = cpu_sigmoid(-z), log_q = log_sigmoid(z);
            const float d = alpha_of(job, is) * easy(rest, gamma) * (gamma * (1 - rest) * log_q - rest);
            dx[c] = t == r->ignore_index ? 0 : scale * loss_weight(r, c) * (is ? d : -d);
        }
    }
}

static int32_t sigmoid_back_run(const cvr_kernel_args *a, cvr_error *err) {
    const float norm = *(const float *)a->inputs[3]->data, grad = *(const float *)a->inputs[4]->data;
    focal_job job = focal_open(a);
    job.dx = a->outputs[0]->data;
    job.scale = norm > 0 ? (double)grad / (double)norm : 0;
    (void)err;
    cpu_run(a->pool, job.r.blocks, sigmoid_back_task, &job);
    return CVR_OK;
}

static const cpu_kernel kernels[] = {
    {"focal_loss", focal_run, partial_workspace, loss_rows_support, 0, CPU_KERNEL_FLAGS, NULL},
    {"focal_loss_backward", focal_back_run, NULL, loss_rows_support, 1, CPU_KERNEL_FLAGS, NULL},
    {"sigmoid_focal_loss", sigmoid_run, partial_workspace, loss_rows_support, 0, CPU_KERNEL_FLAGS, NULL},
    {"sigmoid_focal_loss_backward", sigmoid_back_run, NULL, loss_rows_support, 1, CPU_KERNEL_FLAGS, NULL},
};
const cpu_kernel_table cpu_loss_focal_kernels = {kernels, sizeof kernels / sizeof *kernels};
