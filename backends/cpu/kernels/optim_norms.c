/*
 * Updates that look at norms on the CPU: LAMB, LARS, and adaptive gradient clipping (see <cvr/plugin/ops/optim.h>). A
 * first sweep over the parameter makes the sums of squares, kept for each span and added in the spans' order; a second
 * one moves the parameter. Spans are the tasks, so that results do not depend on threads.
 */
#include "cpu_loops.h"

#include <cvr/plugin/ops/optim.h>
#include <math.h>

enum { IN_PARAM, IN_GRAD, IN_LR, IN_STEP, IN_STATE };

typedef struct norm_job {
    const void *attrs;
    float *param, *state[2];
    const float *grad;
    int64_t n, step;
    double lr, ratio;
    double *sums; /* two of each span */
} norm_job;

static uint64_t norm_workspace(const cvr_signature *sig) {
    return (uint64_t)cpu_spans(cpu_numel(sig->inputs[IN_PARAM])) * 2 * sizeof(double);
}

static norm_job job_of(const cvr_kernel_args *a) {
    const double *first = a->attrs; /* every update's are weight_decay, lr_factor, then its own */
    norm_job job = {.attrs = a->attrs,
                    .param = a->inputs[IN_PARAM]->data,
                    .state = {cpu_floats(a, IN_STATE), cpu_floats(a, IN_STATE + 1)},
                    .grad = a->inputs[IN_GRAD]->data,
                    .n = cpu_numel(a->inputs[IN_PARAM]),
                    .lr = (double)*(const float *)a->inputs[IN_LR]->data * first[1],
                    .ratio = 1,
                    .sums = a->workspace};
    memcpy(&job.step, a->inputs[IN_STEP]->data, sizeof job.step);
    return job;
}

/* [*first, *first + n) of a task; returns n */
static int64_t span_of(const norm_job *job, uint64_t task, int64_t *first) {
    *first = (int64_t)task * CPU_SPAN;
    return cpu_min(CPU_SPAN, job->n - *first);
}

/* Both norms. */
static void take_norms(const cvr_kernel_args *a, norm_job *job, cvr_task_fn sweep, double norm[2]) {
    const int64_t spans = cpu_spans(job->n);
    double sums[2] = {0, 0};
    cpu_run(a->pool, spans, sweep, job);
    for (int64_t i = 0; i < 2 * spans; i++) sums[i % 2] += job->sums[i];
    for (int k = 0; k < 2; k++) norm[k] = sqrt(sums[k]);
}

/* ---- LAMB ---- */

/* u = size * m / (sqrt(v) / root + eps) + decay * p */
typedef struct lamb_step {
    float size, root, eps, decay;
} lamb_step;

static lamb_step lamb_of(const norm_job *job) {
    const cvr_lamb_update_attrs *s = job->attrs;
    const double t = (double)job->step + 1;
    return (lamb_step){(float)(1 / (1 - pow(s->betas[0], t))), (float)sqrt(1 - pow(s->betas[1], t)), (float)s->eps,
                       (float)s->weight_decay};
}

#define LAMB_BLOCK 1024

/* out: (n); at most a block */
static void lamb_direction(const lamb_step *c, const norm_job *job, int64_t at, int64_t n, float *restrict out) {
    const lamb_step s = *c;
    const float *restrict p = job->param + at, *restrict m = job->state[0] + at, *restrict v = job->state[1] + at;
    for (int64_t i = 0; i < n; i++) out[i] = s.size * m[i] / (sqrtf(v[i]) / s.root + s.eps) + s.decay * p[i];
}

static void lamb_means(const cvr_lamb_update_attrs *s, const float *restrict grad, float *restrict avg,
                       float *restrict square, int64_t n) {
    const float take = (float)(1 - s->betas[0]), keep = (float)s->betas[1], take_square = (float)(1 - s->betas[1]);
    for (int64_t i = 0; i < n; i++) {
        const float g = grad[i];
        avg[i] += take * (g - avg[i]);
        square[i] = keep * square[i] + take_square * g * g;
    }
}

static void lamb_sums(void *ctx, uint64_t task, uint32_t worker) {
    const norm_job *job = ctx;
    const lamb_step s = lamb_of(job);
    float u[LAMB_BLOCK];
    int64_t first;
    const int64_t n = span_of(job, task, &first);
    double *sums = job->sums + 2 * task;
    (void)worker;
    lamb_means(job->attrs, job->grad + first, job->state[0] + first, job->state[1] + first, n);
    sums[0] = cpu_dot(job->param + first, job->param + first, n);
    sums[1] = 0;
    for (int64_t b = 0; b < n; b += LAMB_BLOCK) {
        const int64_t m = cpu_min(LAMB_BLOCK, n - b);
        lamb_direction(&s, job, first + b, m, u);
        sums[1] += cpu_dot(u, u, m);
    }
}

static void lamb_move(void *ctx, uint64_t task, uint32_t worker) {
    const norm_job *job = ctx;
    const lamb_step s = lamb_of(job);
    const float size = (float)(job->lr * job->ratio);
    float u[LAMB_BLOCK];
    int64_t first;
    const int64_t n = span_of(job, task, &first);
    (void)worker;
    for (int64_t b = 0; b < n; b += LAMB_BLOCK) {
        const int64_t m = cpu_min(LAMB_BLOCK, n - b);
        float *param = job->param + first + b;
        lamb_direction(&s, job, first + b, m, u);
        for (int64_t i = 0; i < m; i++) param[i] -= size * u[i];
    }
}

static int32_t lamb_run(const cvr_kernel_args *a, cvr_error *err) {
    const cvr_lamb_update_attrs *s = a->attrs;
    norm_job job = job_of(a);
    double norm[2];
    (void)err;
    if (job.step < 0) return CVR_OK; /* vetoed (<cvr/plugin/idle.h>) */
    take_norms(a, &job, lamb_sums, norm);
    if ((s->weight_decay != 0 || s->always_adapt) && norm[0] > 0 && norm[1] > 0) job.ratio = norm[0] / norm[1];
    cpu_run(a->pool, cpu_spans(job.n), lamb_move, &job);
    return CVR_OK;
}

/* ---- LARS ---- */

static void lars_sums(void *ctx, uint64_t task, uint32_t worker) {
    const norm_job *job = ctx;
    int64_t first;
    const int64_t n = span_of(job, task, &first);
    (void)worker;
    job->sums[2 * task] = cpu_dot(job->param + first, job->param + first, n);
    job->sums[2 * task + 1] = cpu_dot(job->grad + first, job->grad + first, n);
}

/* buf = keep * buf + take * g; param -= lr * (along * g + ahead * buf), g = ratio * (grad + decay * param); without a
 * buffer param -= lr * g */
static void lars_move(void *ctx, uint64_t task, uint32_t worker) {
    const norm_job *job = ctx;
    const cvr_lars_update_attrs *s = job->attrs;
    int64_t first;
    const int64_t n = span_of(job, task, &first);
    const float ratio = (float)job->ratio, lr = (float)job->lr, decay = (float)s->weight_decay;
    const float momentum = (float)s->momentum, keep = job->step == 0 ? 0 : momentum;
    const float take = job->step == 0 ? 1 : (float)(1 - s->dampening);
    const float along = s->nesterov ? 1 : 0, ahead = s->nesterov ? momentum : 1;
    float *restrict param = job->param + first, *restrict buf = job->state[0] ? job->state[0] + first : NULL;
    const float *restrict grad = job->grad + first;
    (void)worker;
    for (int64_t i = 0; i < n && !buf; i++) param[i] -= lr * (ratio * (grad[i] + decay * param[i]));
    for (int64_t i = 0; i < n && buf; i++) {
        const float g = ratio * (grad[i] + decay * param[i]), v = keep * buf[i] + take * g;
        buf[i] = v;
        param[i] -= lr * (along * g + ahead * v);
    }
}

static int32_t lars_run(const cvr_kernel_args *a, cvr_error *err) {
    const cvr_lars_update_attrs *s = a->attrs;
    norm_job job = job_of(a);
    double norm[2];
    (void)err;
    if (job.step < 0) return CVR_OK;
    take_norms(a, &job, lars_sums, norm);
    if ((s->weight_decay != 0 || s->always_adapt) && norm[0] > 0 && norm[1] > 0)
        job.ratio = s->trust_coeff * norm[0] / (norm[1] + norm[0] * s->weight_decay + s->eps);
    cpu_run(a->pool, cpu_spans(job.n), lars_move, &job);
    return CVR_OK;
}

/* ---- adaptive gradient clipping ---- */

typedef struct unit_job {
    const float *grad, *param;
    float *out;
    int64_t units, n; /* numbers of a unit, which lie in a row */
    float factor;
} unit_job;

#define UNIT_TASK 4096 /* numbers of a task, at least a unit */

static int64_t units_at_once(const unit_job *job) {
    return cpu_max(1, UNIT_TASK / cpu_max(job->n, 1));
}

/* torch.clamp keeps what is not a number. */
static float at_least(float x, float low) {
    return x < low ? low : x;
}

static void clip_units(void *ctx, uint64_t task, uint32_t worker) {
    const unit_job *job = ctx;
    const int64_t first = (int64_t)task * units_at_once(job), last = cpu_min(first + units_at_once(job), job->units);
    (void)worker;
    for (int64_t u = first; u < last; u++) {
        const float *grad = job->grad + u * job->n, *param = job->param + u * job->n;
        float *out = job->out + u * job->n;
        const float most = at_least(sqrtf((float)cpu_dot(param, param, job->n)), 1e-3f) * job->factor;
        const float norm = sqrtf((float)cpu_dot(grad, grad, job->n));
        const float by = norm < most ? 1 : most / at_least(norm, 1e-6f);
        CPU_INDEPENDENT
        for (int64_t i = 0; i < job->n; i++) out[i] = by * grad[i];
    }
}

static int32_t clip_units_run(const cvr_kernel_args *a, cvr_error *err) {
    const cvr_tensor *x = a->inputs[0];
    const int64_t units = x->rank < 2 ? 1 : x->shape[0];
    unit_job job = {.grad = x->data,
                    .param = a->inputs[1]->data,
                    .out = a->outputs[0]->data,
                    .units = units,
                    .n = cpu_numel(x) / units,
                    .factor = (float)((const cvr_gradient_clip_units_attrs *)a->attrs)->clip_factor};
    (void)err;
    cpu_run(a->pool, cpu_ceil_div(units, units_at_once(&job)), clip_units, &job);
    return CVR_OK;
}

static const cpu_kernel kernels[] = {
    {"lamb_update", lamb_run, norm_workspace, NULL, 0, CPU_KERNEL_FLAGS, NULL},
    {"lars_update", lars_run, norm_workspace, NULL, 0, CPU_KERNEL_FLAGS, NULL},
    {"gradient_clip_units", clip_units_run, NULL, NULL, 1, CPU_KERNEL_FLAGS, NULL},
};
const cpu_kernel_table cpu_optim_norms_kernels = {kernels, sizeof kernels / sizeof *kernels};
