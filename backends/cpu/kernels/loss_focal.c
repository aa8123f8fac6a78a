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

/* dx_c = s * ([c = t] - p_c); dx has p. In place: x of the target is read before. */
static void focal_back_rows(const focal_job *job, int64_t from, int64_t to) {
    const loss_rows *r = &job->r;
    const int64_t n = r->classes;
    float s[LOSS_SPAN];
    for (int64_t i = from; i < to; i++) {
        const int64_t t = r->target[i];
        s[i - from] = 0;
        if (t == r->ignore_index) continue;
        const double log_p = fmin((double)r->x[i * n + t] - (double)job->lse[i], 0);
        s[i - from] =
            (float)(job->scale * (double)loss_weight(r, t) * cvr_focal_slope(log_p, -expm1(log_p), job->gamma));
    }
    loss_rows_softmax(r, from, to, job->lse, job->dx + from * n);
    for (int64_t i = from; i < to; i++) {
        float *const dx = job->dx + i * n;
        const float scale = s[i - from];
        for (int64_t c = 0; c < n; c++) dx[c] *= -scale;
        if (r->target[i] != r->ignore_index) dx[r->target[i]] += scale;
    }
}

static void focal_back_task(void *ctx, uint64_t task, uint32_t worker) {
    (void)worker;
    const focal_job *job = ctx;
    const int64_t end = loss_rows_end(&job->r, task), step = loss_span_rows(&job->r);
    for (int64_t from = (int64_t)task * job->r.block; from < end; from += step)
        focal_back_rows(job, from, cpu_min(from + step, end));
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

/* log(1 + e), 0 <= e <= 1, to the last digits also where 1 + e is 1 (Kahan's quotient). */
static inline float log_one_and(float e) {
    const float u = 1 + e, more = u - 1;
    return more > 0 ? cvr_math_log(u) * (e / (more > 0 ? more : 1)) : e;
}

/* log q, q = 1 / (1 + exp(-z)); log (1 - q) is log q - z, which spares the powers their branches. */
static inline float log_sigmoid(float z) {
    return -(log_one_and(cpu_exp(-fabsf(z))) + (z < 0 ? -z : 0));
}

static inline float sigmoid_loss(float z, float gamma) {
    const float log_q = log_sigmoid(z);
    return -cpu_exp(gamma * (log_q - z)) * log_q;
}

/* By z: r^gamma * (gamma * q * log q - r), r = 1 - q */
static inline float sigmoid_slope(float z, float gamma) {
    const float log_q = log_sigmoid(z), log_r = log_q - z, r = cpu_exp(log_r);
    return cpu_exp(gamma * log_r) * (gamma * (1 - r) * log_q - r);
}

/* What it counts that a row is the class, or is not. */
static float alpha_of(const focal_job *job, int is) {
    return job->alpha < 0 ? 1 : (float)(is ? job->alpha : 1 - job->alpha);
}

/* The place of the row's own class; -1: it has none. */
static int64_t own_place(const loss_rows *r, int64_t target) {
    return r->classes == 1 ? target - 1 : target;
}

/* Rows are looked at a few at once, as if none were of any class, z = -x: one loop over all their scores, however short
 * a row is. What the own class of each row has is put in its place afterwards. */
/* l: the losses of all classes of rows `from` to `to`. */
static void sigmoid_losses(const focal_job *job, int64_t from, int64_t to, float *l) {
    const loss_rows *r = &job->r;
    const int64_t n = (to - from) * r->classes;
    const float *const x = r->x + from * r->classes;
    const float gamma = (float)job->gamma, other = alpha_of(job, 0), own = alpha_of(job, 1);
    for (int64_t k = 0; k < n; k++) l[k] = other * sigmoid_loss(-x[k], gamma);
    for (int64_t i = from; i < to; i++) {
        const int64_t at = own_place(r, r->target[i]) + (i - from) * r->classes;
        if (r->target[i] != r->ignore_index && own_place(r, r->target[i]) >= 0)
            l[at] = own * sigmoid_loss(x[at], gamma);
    }
}

static void sigmoid_task(void *ctx, uint64_t task, uint32_t worker) {
    (void)worker;
    const focal_job *job = ctx;
    const loss_rows *r = &job->r;
    const int64_t end = loss_rows_end(r, task), step = loss_span_rows(r), n = r->classes;
    float l[LOSS_SPAN];
    double loss = 0, counted = 0;
    for (int64_t from = (int64_t)task * r->block; from < end; from += step) {
        const int64_t to = cpu_min(from + step, end);
        sigmoid_losses(job, from, to, l);
        for (int64_t i = from; i < to; i++) {
            const float *const row = l + (i - from) * n;
            if (r->target[i] == r->ignore_index) continue;
            loss += r->weight ? cpu_dot(row, r->weight, n) : cpu_sum(row, n);
            counted += 1;
        }
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

/* dl / dx is the slope by z of the own class, and of all others, where z = -x, less it. In place: slopes of own classes
 * are taken before the rest is written. */
static void sigmoid_slopes(const focal_job *job, int64_t from, int64_t to) {
    const loss_rows *r = &job->r;
    const int64_t classes = r->classes, n = (to - from) * classes;
    const float *const x = r->x + from * classes;
    const float gamma = (float)job->gamma, other = (float)job->scale * alpha_of(job, 0);
    float *const dx = job->dx + from * classes, own[LOSS_SPAN];
    for (int64_t i = from; i < to; i++) {
        const int64_t at = own_place(r, r->target[i]);
        if (r->target[i] != r->ignore_index && at >= 0)
            own[i - from] = (float)job->scale * alpha_of(job, 1) * sigmoid_slope(x[(i - from) * classes + at], gamma);
    }
    CPU_INDEPENDENT
    for (int64_t k = 0; k < n; k++) dx[k] = -other * sigmoid_slope(-x[k], gamma);
    for (int64_t i = from; i < to; i++) {
        float *const row = dx + (i - from) * classes;
        const int64_t at = own_place(r, r->target[i]);
        if (r->target[i] == r->ignore_index)
            memset(row, 0, (uint64_t)classes * sizeof *row);
        else if (at >= 0)
            row[at] = own[i - from];
        for (int64_t c = 0; r->weight && c < classes; c++) row[c] *= r->weight[c];
    }
}

static void sigmoid_back_task(void *ctx, uint64_t task, uint32_t worker) {
    (void)worker;
    const focal_job *job = ctx;
    const int64_t end = loss_rows_end(&job->r, task), step = loss_span_rows(&job->r);
    for (int64_t from = (int64_t)task * job->r.block; from < end; from += step)
        sigmoid_slopes(job, from, cpu_min(from + step, end));
}

static int32_t sigmoid_back_run(const cvr_kernel_args *a, cvr_error *err) {
    const float norm = *(const float *)a->inputs[3]->data, grad = *(const float *)a->inputs[4]->data;
    focal_job job = focal_open(a);
    job.dx = a->outputs[0]->data;
    job.scale = norm > 0 ? (double)grad / (double)norm : 0;
    CVR_TRY(loss_rows_check_all("sigmoid_focal_loss_backward", &job.r, err));
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
