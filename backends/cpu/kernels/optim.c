/*
 * Updates of parameters on the CPU (see <cvr/plugin/ops/optim.h>). The parameters of a node stand in a row, and spans
 * of that row are the tasks: a large one makes many tasks, and many small ones make one. Elements do not depend on one
 * another, so where the cuts are never shows in a result. Each update is one loop that reads the parameter, its
 * gradient and its state once and writes them in place; its formula stands above it.
 */
#include "cpu_loops.h"

#include <cvr/plugin/ops/optim.h>
#include <math.h>

enum { IN_PARAM, IN_GRAD, IN_LR, IN_STEP, IN_STATE };
enum { MANY_LR, MANY_STEP, MANY_FIRST };

#define OWN_FEWEST 3 /* inputs of each of many parameters: param, grad, state */
#define MOST_TENSORS ((CVR_MAX_IO - MANY_FIRST) / OWN_FEWEST)
#define LINE 16 /* floats of a cache line: no two tasks write to one */

typedef struct update_tensor {
    float *param;
    const float *grad;
    float *state[3];  /* NULL where absent */
    int64_t n, place; /* elements; where they stand in the row */
} update_tensor;

typedef struct update_job update_job;
typedef void (*update_fn)(const update_job *job, const update_tensor *t, int64_t first, int64_t n);
struct update_job {
    update_fn fn;
    const void *attrs;
    update_tensor tensors[MOST_TENSORS];
    int64_t n_tensors, n, step; /* n: of the row */
    double lr;
};

static void update_task(void *ctx, uint64_t task, uint32_t worker) {
    (void)worker;
    const update_job *job = ctx;
    const int64_t begin = (int64_t)task * CPU_SPAN, end = begin + CPU_SPAN;
    for (int64_t i = 0; i < job->n_tensors; i++) {
        const update_tensor *t = &job->tensors[i];
        const int64_t first = cpu_max(begin - t->place, 0), last = cpu_min(end - t->place, t->n);
        if (first < last) job->fn(job, t, first, last - first);
    }
}

/* Puts a parameter at the row's end; its gradient follows it among the inputs, its state is `state` to `end`. */
static void add_tensor(update_job *job, const cvr_kernel_args *a, uint32_t param, uint32_t state, uint32_t end) {
    update_tensor *t = &job->tensors[job->n_tensors++];
    *t = (update_tensor){.param = a->inputs[param]->data,
                         .grad = a->inputs[param + 1]->data,
                         .n = cpu_numel(a->inputs[param]),
                         .place = job->n};
    for (uint32_t i = state; i < end; i++) t->state[i - state] = cpu_floats(a, i);
    job->n += cpu_ceil_div(t->n, LINE) * LINE;
}

static int32_t run_job(update_job *job, const cvr_kernel_args *a, uint32_t lr, uint32_t step) {
    job->attrs = a->attrs;
    const double *first = a->attrs; /* every update's are weight_decay, lr_factor, then its own */
    job->lr = (double)*(const float *)a->inputs[lr]->data * first[1];
    memcpy(&job->step, a->inputs[step]->data, sizeof job->step);
    if (job->step < 0) return CVR_OK; /* vetoed (<cvr/plugin/idle.h>) */
    cpu_run(a->pool, cpu_spans(job->n), update_task, job);
    return CVR_OK;
}

static int32_t update(const cvr_kernel_args *a, update_fn fn) {
    update_job job = {.fn = fn};
    add_tensor(&job, a, IN_PARAM, IN_STATE, a->n_inputs);
    return run_job(&job, a, IN_LR, IN_STEP);
}

/* lr, step, then `own` inputs of each parameter */
static int32_t update_many(const cvr_kernel_args *a, update_fn fn, uint32_t own) {
    update_job job = {.fn = fn};
    for (uint32_t i = MANY_FIRST; i < a->n_inputs; i += own) add_tensor(&job, a, i, i + 2, i + own);
    return run_job(&job, a, MANY_LR, MANY_STEP);
}

/* param -= lr * (grad + weight_decay * param) */
static void sgd_plain(float *restrict param, const float *restrict grad, int64_t n, float lr, float decay) {
    for (int64_t i = 0; i < n; i++) param[i] -= lr * (grad[i] + decay * param[i]);
}

/* buf = keep * buf + take * g; param -= lr * (along * g + ahead * buf): along, ahead = 1, momentum for Nesterov, else
 * 0, 1 */
static void sgd_momentum(const cvr_sgd_update_attrs *s, int first, float lr, float *restrict param,
                         const float *restrict grad, float *restrict buf, int64_t n) {
    const float decay = (float)s->weight_decay, momentum = (float)s->momentum;
    const float keep = first ? 0 : momentum, take = first ? 1 : (float)(1 - s->dampening);
    const float along = s->nesterov ? 1 : 0, ahead = s->nesterov ? momentum : 1;
    for (int64_t i = 0; i < n; i++) {
        const float g = grad[i] + decay * param[i], v = keep * buf[i] + take * g;
        buf[i] = v;
        param[i] -= lr * (along * g + ahead * v);
    }
}

static void sgd(const update_job *job, const update_tensor *t, int64_t first, int64_t n) {
    const cvr_sgd_update_attrs *s = job->attrs;
    const float lr = (float)job->lr;
    float *param = t->param + first;
    if (t->state[0])
        sgd_momentum(s, job->step == 0, lr, param, t->grad + first, t->state[0] + first, n);
    else
        sgd_plain(param, t->grad + first, n, lr, (float)s->weight_decay);
}

/* The numbers of a step that all elements share. */
typedef struct adam_step {
    float shrink, decay; /* of the parameter; into the gradient */
    float take_avg;      /* 1 - beta1 */
    float keep_square, take_square;
    float size, root, eps; /* lr / (1 - beta1^t), sqrt(1 - beta2^t) */
} adam_step;

static void adam_span(const adam_step *s, float *restrict param, const float *restrict grad, float *restrict avg,
                      float *restrict square, int64_t n) {
    const adam_step c = *s;
    for (int64_t i = 0; i < n; i++) {
        const float p = param[i] * c.shrink, g = grad[i] + c.decay * p;
        const float m = avg[i] + c.take_avg * (g - avg[i]);
        const float v = c.keep_square * square[i] + c.take_square * g * g;
        avg[i] = m;
        square[i] = v;
        param[i] = p - c.size * m / (sqrtf(v) / c.root + c.eps);
    }
}

static void adam(const update_job *job, const update_tensor *t, int64_t first, int64_t n) {
    const cvr_adam_update_attrs *a = job->attrs;
    const double k = (double)job->step + 1; /* `t` of the paper */
    const adam_step s = {
        .shrink = a->decoupled ? (float)(1 - job->lr * a->weight_decay) : 1,
        .decay = a->decoupled ? 0 : (float)a->weight_decay,
        .take_avg = (float)(1 - a->betas[0]),
        .keep_square = (float)a->betas[1],
        .take_square = (float)(1 - a->betas[1]),
        .size = (float)(job->lr / (1 - pow(a->betas[0], k))),
        .root = (float)sqrt(1 - pow(a->betas[1], k)),
        .eps = (float)a->eps,
    };
    adam_span(&s, t->param + first, t->grad + first, t->state[0] + first, t->state[1] + first, n);
}

/* As adam_step; `own` and `mean`: what the gradient and its mean are multiplied with. */
typedef struct nadam_step {
    float shrink, decay, take_avg, keep_square, take_square, own, mean, root, eps;
} nadam_step;

static void nadam_span(const nadam_step *s, float *restrict param, const float *restrict grad, float *restrict avg,
                       float *restrict square, int64_t n) {
    const nadam_step c = *s;
    for (int64_t i = 0; i < n; i++) {
        const float p = param[i] * c.shrink, g = grad[i] + c.decay * p;
        const float m = avg[i] + c.take_avg * (g - avg[i]);
        const float v = c.keep_square * square[i] + c.take_square * g * g;
        avg[i] = m;
        square[i] = v;
        param[i] = p - (c.own * g + c.mean * m) / (sqrtf(v) / c.root + c.eps);
    }
}

static void nadam(const update_job *job, const update_tensor *t, int64_t first, int64_t n) {
    const cvr_nadam_update_attrs *a = job->attrs;
    const cvr_nadam_means mu = cvr_nadam_means_of(a->betas[0], a->momentum_decay, job->step);
    const nadam_step s = {
        .shrink = a->decoupled ? (float)(1 - job->lr * a->weight_decay) : 1,
        .decay = a->decoupled ? 0 : (float)a->weight_decay,
        .take_avg = (float)(1 - a->betas[0]),
        .keep_square = (float)a->betas[1],
        .take_square = (float)(1 - a->betas[1]),
        .own = (float)(job->lr * (1 - mu.mu) / (1 - mu.product)),
        .mean = (float)(job->lr * mu.next / (1 - mu.product * mu.next)),
        .root = (float)sqrt(1 - pow(a->betas[1], (double)job->step + 1)),
        .eps = (float)a->eps,
    };
    nadam_span(&s, t->param + first, t->grad + first, t->state[0] + first, t->state[1] + first, n);
}

/* param = shrink * param - lr * sign(beta1 * avg + (1-beta1) * g); avg += (1-beta2) * (g - avg) */
static void lion(const update_job *job, const update_tensor *t, int64_t first, int64_t n) {
    const cvr_lion_update_attrs *a = job->attrs;
    const float lr = (float)job->lr, shrink = (float)(1 - job->lr * a->weight_decay);
    const float old = (float)a->betas[0], own = (float)(1 - a->betas[0]), take = (float)(1 - a->betas[1]);
    float *restrict param = t->param + first, *restrict avg = t->state[0] + first;
    const float *restrict grad = t->grad + first;
    for (int64_t i = 0; i < n; i++) {
        const float g = grad[i], m = avg[i], u = old * m + own * g;
        /* NaN stays: then neither comparison holds. */
        const float sign = u > 0 ? 1 : u < 0 ? -1 : u;
        param[i] = param[i] * shrink - lr * sign;
        avg[i] = m + take * (g - m);
    }
}

/* g / (sqrt(v) + eps), v the mean square, or less the square of the mean; goes to `out` */
static void rmsprop_direction(const cvr_rmsprop_update_attrs *s, const float *param, const float *grad, float *square,
                              float *mean, float *restrict out, int64_t n) {
    const float decay = (float)s->weight_decay, alpha = (float)s->alpha, take = (float)(1 - s->alpha);
    const float eps = (float)s->eps;
    if (mean) {
        CPU_INDEPENDENT
        for (int64_t i = 0; i < n; i++) {
            const float g = grad[i] + decay * param[i], v = alpha * square[i] + take * g * g;
            const float m = mean[i] + take * (g - mean[i]);
            square[i] = v;
            mean[i] = m;
            out[i] = g / (sqrtf(v - m * m) + eps);
        }
    } else {
        CPU_INDEPENDENT
        for (int64_t i = 0; i < n; i++) {
            const float g = grad[i] + decay * param[i], v = alpha * square[i] + take * g * g;
            square[i] = v;
            out[i] = g / (sqrtf(v) + eps);
        }
    }
}

#define RMSPROP_BLOCK 1024

static void rmsprop(const update_job *job, const update_tensor *t, int64_t first, int64_t n) {
    const cvr_rmsprop_update_attrs *s = job->attrs;
    const float lr = (float)job->lr, momentum = (float)s->momentum;
    float direction[RMSPROP_BLOCK];
    for (int64_t b = first; b < first + n; b += RMSPROP_BLOCK) {
        const int64_t m = cpu_min(RMSPROP_BLOCK, first + n - b);
        float *param = t->param + b, *buf = t->state[1] ? t->state[1] + b : NULL;
        rmsprop_direction(s, param, t->grad + b, t->state[0] + b, t->state[2] ? t->state[2] + b : NULL, direction, m);
        for (int64_t i = 0; buf && i < m; i++) direction[i] = buf[i] = momentum * buf[i] + direction[i];
        for (int64_t i = 0; i < m; i++) param[i] -= lr * direction[i];
    }
}

static int32_t sgd_run(const cvr_kernel_args *a, cvr_error *err) {
    (void)err;
    return update(a, sgd);
}

static int32_t adam_run(const cvr_kernel_args *a, cvr_error *err) {
    (void)err;
    return update(a, adam);
}

static int32_t rmsprop_run(const cvr_kernel_args *a, cvr_error *err) {
    (void)err;
    return update(a, rmsprop);
}

static int32_t nadam_run(const cvr_kernel_args *a, cvr_error *err) {
    (void)err;
    return update(a, nadam);
}

static int32_t lion_run(const cvr_kernel_args *a, cvr_error *err) {
    (void)err;
    return update(a, lion);
}

static int32_t nadam_many_run(const cvr_kernel_args *a, cvr_error *err) {
    (void)err;
    return update_many(a, nadam, 4);
}

static int32_t lion_many_run(const cvr_kernel_args *a, cvr_error *err) {
    (void)err;
    return update_many(a, lion, 3);
}

static int32_t sgd_many_run(const cvr_kernel_args *a, cvr_error *err) {
    (void)err;
    return update_many(a, sgd, 3);
}

static int32_t adam_many_run(const cvr_kernel_args *a, cvr_error *err) {
    (void)err;
    return update_many(a, adam, 4);
}

static int32_t rmsprop_many_run(const cvr_kernel_args *a, cvr_error *err) {
    (void)err;
    return update_many(a, rmsprop, 5);
}

static const cpu_kernel kernels[] = {
    {"sgd_update", sgd_run, NULL, NULL, 0, CPU_KERNEL_FLAGS, NULL},
    {"sgd_update_many", sgd_many_run, NULL, NULL, 0, CPU_KERNEL_FLAGS, NULL},
    {"adam_update", adam_run, NULL, NULL, 0, CPU_KERNEL_FLAGS, NULL},
    {"adam_update_many", adam_many_run, NULL, NULL, 0, CPU_KERNEL_FLAGS, NULL},
    {"rmsprop_update", rmsprop_run, NULL, NULL, 0, CPU_KERNEL_FLAGS, NULL},
    {"rmsprop_update_many", rmsprop_many_run, NULL, NULL, 0, CPU_KERNEL_FLAGS, NULL},
    {"nadam_update", nadam_run, NULL, NULL, 0, CPU_KERNEL_FLAGS, NULL},
    {"nadam_update_many", nadam_many_run, NULL, NULL, 0, CPU_KERNEL_FLAGS, NULL},
    {"lion_update", lion_run, NULL, NULL, 0, CPU_KERNEL_FLAGS, NULL},
    {"lion_update_many", lion_many_run, NULL, NULL, 0, CPU_KERNEL_FLAGS, NULL},
};
const cpu_kernel_table cpu_optim_kernels = {kernels, sizeof kernels / sizeof *kernels};
