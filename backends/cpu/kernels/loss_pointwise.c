/*
 * Losses that compare element by element, on the CPU (see <cvr/plugin/ops/loss.h>), d = x - target:
 *     squared d^2;  absolute |d|;  smooth 0.5 d^2 / beta where |d| < beta, else |d| - 0.5 beta;
 *     binary cross entropy with logits (1 - y) x + (1 + (w - 1) y) log(1 + exp(-x)), y the target, w its pos_weight
 * Backward is g times the derivative, g being the gradient of the loss with its factor of reduction.
 */
#include "cpu_loops.h"
#include "cpu_math.h"

#include <cvr/plugin/ops/loss.h>

typedef struct point_job point_job;
/* out[i]: the loss of element i of the span; or g * its derivative. `first`: the span's place in the tensor. */
typedef void (*point_fn)(const point_job *job, int64_t first, int64_t n, float *out);

struct point_job {
    const float *x, *target, *pos_weight;
    int64_t n, n_weights; /* pos_weight repeats along memory */
    float beta, g;
    point_fn fn;
    float *dx;
    double *partial;
};

/* ---- the losses ---- */

static void square(const point_job *job, int64_t first, int64_t n, float *out) {
    const float *x = job->x + first, *y = job->target + first;
    for (int64_t i = 0; i < n; i++) out[i] = (x[i] - y[i]) * (x[i] - y[i]);
}

static void square_back(const point_job *job, int64_t first, int64_t n, float *out) {
    const float *x = job->x + first, *y = job->target + first, g = job->g;
    CPU_INDEPENDENT
    for (int64_t i = 0; i < n; i++) out[i] = 2 * g * (x[i] - y[i]);
}

static void absolute(const point_job *job, int64_t first, int64_t n, float *out) {
    const float *x = job->x + first, *y = job->target + first;
    for (int64_t i = 0; i < n; i++) out[i] = fabsf(x[i] - y[i]);
}

/* sign(0) = 0 */
static inline float signed_g(float d, float g) {
    const float low = d < 0 ? -g : 0;
    return d > 0 ? g : low;
}

static void absolute_back(const point_job *job, int64_t first, int64_t n, float *out) {
    const float *x = job->x + first, *y = job->target + first, g = job->g;
    CPU_INDEPENDENT
    for (int64_t i = 0; i < n; i++) out[i] = signed_g(x[i] - y[i], g);
}

static void smooth(const point_job *job, int64_t first, int64_t n, float *out) {
    const float *x = job->x + first, *y = job->target + first, beta = job->beta;
    for (int64_t i = 0; i < n; i++) {
        const float d = fabsf(x[i] - y[i]), near = 0.5f * d * d / beta, far = d - 0.5f * beta;
        out[i] = d < beta ? near : far;
    }
}

static void smooth_back(const point_job *job, int64_t first, int64_t n, float *out) {
    const float *x = job->x + first, *y = job->target + first, beta = job->beta, g = job->g;
    CPU_INDEPENDENT
    for (int64_t i = 0; i < n; i++) {
        const float d = x[i] - y[i], near = g * d / beta, far = signed_g(d, g);
        out[i] = fabsf(d) < beta ? near : far;
    }
}

/* pos_weight - 1 of each element of a span */
static void weights_less_one(const point_job *job, int64_t first, int64_t n, float *w) {
    for (int64_t i = 0; i < n; i++) w[i] = job->pos_weight ? job->pos_weight[(first + i) % job->n_weights] - 1 : 0;
}

#define BCE_BLOCK 256

/* (1-y) * x + (1 + (w-1) * y) * log(1 + exp(-x)) */
static void bce(const point_job *job, int64_t first, int64_t n, float *out) {
    float w[BCE_BLOCK];
    for (int64_t b = 0; b < n; b += BCE_BLOCK) {
        const int64_t m = cpu_min(BCE_BLOCK, n - b);
        const float *x = job->x + first + b, *y = job->target + first + b;
        weights_less_one(job, first + b, m, w);
        for (int64_t i = 0; i < m; i++) {
            const float softplus = log1pf(cpu_exp(-fabsf(x[i]))) + (x[i] < 0 ? -x[i] : 0);
            out[b + i] = (1 - y[i]) * x[i] + (1 + w[i] * y[i]) * softplus;
        }
    }
}

/* g * ((1-y) - (1 + (w-1) * y) * (1 - sigmoid(x))) */
static void bce_back(const point_job *job, int64_t first, int64_t n, float *out) {
    const float g = job->g;
    float w[BCE_BLOCK];
    for (int64_t b = 0; b < n; b += BCE_BLOCK) {
        const int64_t m = cpu_min(BCE_BLOCK, n - b);
        const float *x = job->x + first + b, *y = job->target + first + b;
        weights_less_one(job, first + b, m, w);
        CPU_INDEPENDENT
        for (int64_t i = 0; i < m; i++) out[b + i] = g * ((1 - y[i]) - (1 + w[i] * y[i]) * cpu_sigmoid(-x[i]));
    }
}

/* ---- tasks ---- */

static void loss_task(void *ctx, uint64_t task, uint32_t worker) {
    (void)worker;
    const point_job *job = ctx;
    const int64_t first = (int64_t)task * CPU_SPAN, end = cpu_min(first + CPU_SPAN, job->n);
    float loss[CPU_SUM_BLOCK];
    double sum = 0;
    for (int64_t i = first; i < end; i += CPU_SUM_BLOCK) {
        const int64_t n = cpu_min(CPU_SUM_BLOCK, end - i);
        job->fn(job, i, n, loss);
        sum += cpu_sum(loss, n);
    }
    job->partial[task] = sum;
}

static void gradient_task(void *ctx, uint64_t task, uint32_t worker) {
    (void)worker;
    const point_job *job = ctx;
    const int64_t first = (int64_t)task * CPU_SPAN;
    job->fn(job, first, cpu_min(CPU_SPAN, job->n - first), job->dx + first);
}

static uint64_t forward_workspace(const cvr_signature *sig) {
    return (uint64_t)cpu_spans(cpu_numel(sig->inputs[0])) * sizeof(double);
}

static point_job job_of(const cvr_kernel_args *a, point_fn fn) {
    return (point_job){
        .x = a->inputs[0]->data, .target = a->inputs[1]->data, .n = cpu_numel(a->inputs[0]), .n_weights = 1, .fn = fn};
}

static void take_pos_weight(const cvr_kernel_args *a, point_job *job) {
    job->pos_weight = cpu_floats(a, 2);
    if (job->pos_weight) job->n_weights = cpu_numel(a->inputs[2]);
}

static int32_t forward(const cvr_kernel_args *a, point_job *job, int64_t reduction) {
    double total = 0;
    job->partial = a->workspace;
    cpu_run(a->pool, cpu_spans(job->n), loss_task, job);
    for (int64_t i = 0; i < cpu_spans(job->n); i++) total += job->partial[i];
    *(float *)a->outputs[0]->data = (float)(total / (reduction == CVR_LOSS_MEAN ? (double)job->n : 1));
    return CVR_OK;
}

static int32_t backward(const cvr_kernel_args *a, point_job *job, uint32_t grad, int64_t reduction) {
    const double g = *(const float *)a->inputs[grad]->data;
    job->g = (float)(g / (reduction == CVR_LOSS_MEAN ? (double)job->n : 1));
    job->dx = a->outputs[0]->data;
    cpu_run(a->pool, cpu_spans(job->n), gradient_task, job);
    return CVR_OK;
}

static int64_t reduction_of(const cvr_kernel_args *a) {
    return ((const cvr_loss_attrs *)a->attrs)->reduction;
}

static int32_t mse_run(const cvr_kernel_args *a, cvr_error *err) {
    (void)err;
    point_job job = job_of(a, square);
    return forward(a, &job, reduction_of(a));
}

static int32_t mse_backward_run(const cvr_kernel_args *a, cvr_error *err) {
    (void)err;
    point_job job = job_of(a, square_back);
    return backward(a, &job, 2, reduction_of(a));
}

static int32_t l1_run(const cvr_kernel_args *a, cvr_error *err) {
    (void)err;
    point_job job = job_of(a, absolute);
    return forward(a, &job, reduction_of(a));
}

static int32_t l1_backward_run(const cvr_kernel_args *a, cvr_error *err) {
    (void)err;
    point_job job = job_of(a, absolute_back);
    return backward(a, &job, 2, reduction_of(a));
}

static int32_t smooth_l1_run(const cvr_kernel_args *a, cvr_error *err) {
    (void)err;
    const cvr_smooth_l1_loss_attrs *attrs = a->attrs;
    point_job job = job_of(a, smooth);
    job.beta = (float)attrs->beta;
    return forward(a, &job, attrs->reduction);
}

static int32_t smooth_l1_backward_run(const cvr_kernel_args *a, cvr_error *err) {
    (void)err;
    const cvr_smooth_l1_loss_attrs *attrs = a->attrs;
    point_job job = job_of(a, smooth_back);
    job.beta = (float)attrs->beta;
    return backward(a, &job, 2, attrs->reduction);
}

static int32_t bce_run(const cvr_kernel_args *a, cvr_error *err) {
    (void)err;
    point_job job = job_of(a, bce);
    take_pos_weight(a, &job);
    return forward(a, &job, reduction_of(a));
}

static int32_t bce_backward_run(const cvr_kernel_args *a, cvr_error *err) {
    (void)err;
    point_job job = job_of(a, bce_back);
    take_pos_weight(a, &job);
    return backward(a, &job, 3, reduction_of(a));
}

static const cpu_kernel kernels[] = {
    {"mse_loss", mse_run, forward_workspace, NULL, 0, CPU_KERNEL_FLAGS, NULL},
    {"mse_loss_backward", mse_backward_run, NULL, NULL, 3, CPU_KERNEL_FLAGS, NULL},
    {"l1_loss", l1_run, forward_workspace, NULL, 0, CPU_KERNEL_FLAGS, NULL},
    {"l1_loss_backward", l1_backward_run, NULL, NULL, 3, CPU_KERNEL_FLAGS, NULL},
    {"smooth_l1_loss", smooth_l1_run, forward_workspace, NULL, 0, CPU_KERNEL_FLAGS, NULL},
    {"smooth_l1_loss_backward", smooth_l1_backward_run, NULL, NULL, 3, CPU_KERNEL_FLAGS, NULL},
    {"bce_with_logits", bce_run, forward_workspace, NULL, 0, CPU_KERNEL_FLAGS, NULL},
    {"bce_with_logits_backward", bce_backward_run, NULL, NULL, 3, CPU_KERNEL_FLAGS, NULL},
};
const cpu_kernel_table cpu_loss_pointwise_kernels = {kernels, sizeof kernels / sizeof *kernels};
