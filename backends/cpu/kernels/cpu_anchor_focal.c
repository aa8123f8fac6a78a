/*
 * The focal loss of anchors on the CPU (see <cvr/plugin/ops/detect_loss.h>). There are some hundred thousand anchors
 * with a score for each class, of which next to all are of no class: one loop takes all scores of a few rows for that,
 * and what a row's own class has is put in its place afterwards. Losses are summed in double for each block of rows;
 * the workspace holds these sums, which are added in the order of the blocks.
 */
#include "cpu_loops.h"
#include "cpu_math.h"

#include <cvr/plugin/ops/detect_loss_math.h>

#define MOST_CLASSES 1024
#define SPAN 2048 /* scores that are looked at at once: a loss of each is on the stack */

typedef struct focal_job {
    const float *x;        /* (N,A,K) */
    const int64_t *target; /* (N,A) */
    int64_t rows, classes; /* A, K */
    int64_t block, blocks; /* rows of a task; tasks of a picture */
    float gamma, own, other;
    double *partial; /* (N, blocks) */
    const float *norm;
    double grad;
    float *dx;
} focal_job;

static void cut(const cvr_tensor *x, focal_job *job) {
    job->rows = x->shape[1];
    job->classes = x->shape[2];
    job->block = cpu_max(1, CPU_SPAN / cpu_max(1, job->classes));
    job->blocks = cpu_ceil_div(job->rows, job->block);
}

static int32_t focal_open(const char *op, const cvr_kernel_args *a, focal_job *job, cvr_error *err) {
    const cvr_anchor_focal_attrs *const attrs = a->attrs;
    cut(a->inputs[0], job);
    job->x = a->inputs[0]->data;
    job->target = a->inputs[1]->data;
    job->gamma = (float)attrs->gamma;
    job->own = (float)(attrs->alpha < 0 ? 1 : attrs->alpha);
    job->other = (float)(attrs->alpha < 0 ? 1 : 1 - attrs->alpha);
    for (int64_t i = 0; i < cpu_numel(a->inputs[1]); i++)
        if (job->target[i] < -2 || job->target[i] >= job->classes)
            return cvr_fail(err, CVR_ERR_INVALID, "%s: target %lld, but there are %lld classes; check the labels", op,
                            (long long)job->target[i], (long long)job->classes);
    return CVR_OK;
}

static int32_t supports(const cvr_signature *sig, cvr_error *reason) {
    const int64_t k = sig->inputs[0]->shape[2];
    if (k >= 1 && k <= MOST_CLASSES) return CVR_OK;
    return cvr_fail(reason, CVR_ERR_UNSUPPORTED, "no class, or more than %d", MOST_CLASSES);
}

/* ---- one score ---- */

/* Of a score that no row's class asks for: p = sigmoid(x), rest = 1 - p, soft = -log(1 - p) = log(1 + exp(x)). */
typedef struct score {
    float p, rest, soft, power; /* power: p^gamma */
} score;

/* With e = exp(-|x|) and s = e / (2 + e), log(1 + e) = 2 * (s + s^3/3 + s^5/5 ...), s <= 1/3: no digit is lost where e
 * is small. One division gives 1 / (1 + e) and 1 / (2 + e). */
static inline score score_of(float x, float gamma, int square) {
    const float e = cpu_exp(-fabsf(x)), both = 1 / ((1 + e) * (2 + e));
    const float inverse = both * (2 + e), s = e * (both * (1 + e)), t = s * s;
    const float tail = t * (1.0f / 7 + t * (1.0f / 9 + t * (1.0f / 11 + t * (1.0f / 13))));
    const float log_more = 2 * s * (1 + t * (1.0f / 3 + t * (1.0f / 5 + tail)));
    score v;
    v.p = x < 0 ? e * inverse : inverse;
    v.rest = x < 0 ? inverse : e * inverse;
    v.soft = log_more + (x < 0 ? 0 : x);
    v.power = square ? v.p * v.p : cpu_exp(gamma * ((x < 0 ? x : 0) - log_more));
    return v;
}

/* p^gamma * -log(1 - p) */
static inline float loss_of(float x, float gamma, int square) {
    const score v = score_of(x, gamma, square);
    return v.power * v.soft;
}

/* By x: p^gamma * (gamma * (1 - p) * -log(1 - p) + p) */
static inline float slope_of(float x, float gamma, int square) {
    const score v = score_of(x, gamma, square);
    return v.power * (gamma * v.rest * v.soft + v.p);
}

/* ---- forward ---- */

/* l: the losses of rows `from` to `to` of all pictures' rows, those that count for nothing 0. */
static void losses(const focal_job *job, int64_t from, int64_t to, float *l) {
    const int64_t classes = job->classes, n = (to - from) * classes;
    const float *const x = job->x + from * classes;
    const float gamma = job->gamma, other = job->other;
    if (gamma == 2)
        for (int64_t k = 0; k < n; k++) l[k] = other * loss_of(x[k], 2, 1);
    else
        for (int64_t k = 0; k < n; k++) l[k] = other * loss_of(x[k], gamma, 0);
    for (int64_t i = from; i < to; i++) {
        const int64_t t = job->target[i], at = (i - from) * classes;
        if (t >= 0) l[at + t] = job->own * loss_of(-x[at + t], gamma, gamma == 2);
        if (t < -1) memset(l + at, 0, (uint64_t)classes * sizeof *l);
    }
}

/* Task: a block of one picture's rows. */
static void focal_task(void *ctx, uint64_t task, uint32_t worker) {
    const focal_job *job = ctx;
    const int64_t n = (int64_t)task / job->blocks, first = (int64_t)task % job->blocks * job->block;
    const int64_t end = n * job->rows + cpu_min(first + job->block, job->rows), step = SPAN / job->classes;
    float l[SPAN];
    double sum = 0;
    (void)worker;
    for (int64_t from = n * job->rows + first; from < end; from += step) {
        const int64_t to = cpu_min(from + step, end);
        losses(job, from, to, l);
        sum += cpu_sum(l, (to - from) * job->classes);
    }
    job->partial[task] = sum;
}

static uint64_t focal_workspace(const cvr_signature *sig) {
    focal_job job;
    cut(sig->inputs[0], &job);
    return (uint64_t)(sig->inputs[0]->shape[0] * job.blocks) * sizeof(double);
}

static int32_t focal_run(const cvr_kernel_args *a, cvr_error *err) {
    const int64_t pictures = a->inputs[0]->shape[0];
    float *const norm = a->outputs[1]->data;
    focal_job job = {.partial = a->workspace};
    double loss = 0;
    CVR_TRY(focal_open("anchor_focal_loss", a, &job, err));
    cvr_detect_target_norm(a->attrs, a->inputs[1], norm);
    cpu_run(a->pool, pictures * job.blocks, focal_task, &job);
    for (int64_t n = 0; n < pictures; n++) {
        double sum = 0;
        for (int64_t b = 0; b < job.blocks; b++) sum += job.partial[n * job.blocks + b];
        loss += sum * cvr_detect_share(norm[n]);
    }
    *(float *)a->outputs[0]->data = (float)loss;
    return CVR_OK;
}

/* ---- backward ---- */

/* In place: the slope of each row's own class is taken before the rest is written. */
static void slopes(const focal_job *job, int64_t from, int64_t to, float scale) {
    const int64_t classes = job->classes, n = (to - from) * classes;
    const float *const x = job->x + from * classes;
    const float gamma = job->gamma, other = scale * job->other;
    float *const dx = job->dx + from * classes, own[SPAN];
    for (int64_t i = from; i < to; i++)
        if (job->target[i] >= 0)
            own[i - from] = -scale * job->own * slope_of(-x[(i - from) * classes + job->target[i]], gamma, gamma == 2);
    if (gamma == 2) {
        CPU_INDEPENDENT
        for (int64_t k = 0; k < n; k++) dx[k] = other * slope_of(x[k], 2, 1);
    } else {
        CPU_INDEPENDENT
        for (int64_t k = 0; k < n; k++) dx[k] = other * slope_of(x[k], gamma, 0);
    }
    for (int64_t i = from; i < to; i++) {
        float *const row = dx + (i - from) * classes;
        if (job->target[i] >= 0) row[job->target[i]] = own[i - from];
        if (job->target[i] < -1) memset(row, 0, (uint64_t)classes * sizeof *row);
    }
}

static void back_task(void *ctx, uint64_t task, uint32_t worker) {
    const focal_job *job = ctx;
    const int64_t n = (int64_t)task / job->blocks, first = (int64_t)task % job->blocks * job->block;
    const int64_t end = n * job->rows + cpu_min(first + job->block, job->rows), step = SPAN / job->classes;
    const float scale = (float)(job->grad * cvr_detect_share(job->norm[n]));
    (void)worker;
    for (int64_t from = n * job->rows + first; from < end; from += step)
        slopes(job, from, cpu_min(from + step, end), scale);
}

static int32_t back_run(const cvr_kernel_args *a, cvr_error *err) {
    focal_job job = {
        .norm = a->inputs[2]->data, .grad = (double)*(const float *)a->inputs[3]->data, .dx = a->outputs[0]->data};
    CVR_TRY(focal_open("anchor_focal_loss_backward", a, &job, err));
    cpu_run(a->pool, a->inputs[0]->shape[0] * job.blocks, back_task, &job);
    return CVR_OK;
}

static const cpu_kernel kernels[] = {
    {"anchor_focal_loss", focal_run, focal_workspace, supports, 0, CPU_KERNEL_FLAGS, NULL},
    {"anchor_focal_loss_backward", back_run, NULL, supports, 1, CPU_KERNEL_FLAGS, NULL},
};
const cpu_kernel_table cpu_anchor_focal_kernels = {kernels, sizeof kernels / sizeof *kernels};
