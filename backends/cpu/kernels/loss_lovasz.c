/*
 * lovasz_loss on the CPU (see <cvr/plugin/ops/loss.h>). For each class: keys, the error's bits above and the position
 * below; a stable radix sort of four passes, whose counts and moves go by blocks; then the walk along the sorted
 * errors, each block from what the ones before it have passed. All sums are taken in the order of the blocks.
 */
#include "loss_rows.h"

#include <cvr/plugin/ops/loss_math.h>

#define SORT_BLOCK 16384 /* keys */
#define DIGITS 256

typedef struct lovasz_job {
    loss_rows r;
    int64_t n, blocks; /* positions, and blocks of keys */
    int64_t c;         /* the class in turn */
    int64_t counted, truth;
    uint32_t shift;
    uint64_t *keys, *other; /* (n) */
    double *partial;        /* (blocks) losses */
    int64_t *passed;        /* (blocks) positions of the class before each block */
    int64_t *digits;        /* (blocks, DIGITS) */
    float *lse;             /* (n) */
    float *slope;           /* like x */
    double scale;
} lovasz_job;

static int64_t sort_blocks(int64_t n) {
    return cpu_ceil_div(n, SORT_BLOCK);
}

static uint64_t workspace(const cvr_signature *sig) {
    const uint64_t n = (uint64_t)cpu_numel(sig->inputs[1]), blocks = (uint64_t)sort_blocks((int64_t)n);
    return n * (2 * sizeof(uint64_t) + sizeof(float)) + blocks * (2 + DIGITS) * sizeof(int64_t);
}

static lovasz_job lovasz_open(const cvr_kernel_args *a) {
    lovasz_job job = {.r = loss_rows_open(a, ((const cvr_lovasz_attrs *)a->attrs)->ignore_index),
                      .slope = a->outputs[1]->data,
                      .keys = a->workspace};
    job.r.weight = cpu_floats(a, 2);
    job.n = job.r.n;
    job.blocks = sort_blocks(job.n);
    job.other = job.keys + job.n;
    job.partial = (double *)(job.other + job.n);
    job.passed = (int64_t *)(job.partial + job.blocks);
    job.digits = job.passed + job.blocks;
    job.lse = (float *)(job.digits + job.blocks * DIGITS);
    return job;
}

static int is_class(const lovasz_job *job, int64_t p) {
    return job->r.classes == 1 ? job->r.target[p] == 1 : job->r.target[p] == job->c;
}

/* ---- errors of one class, in order ---- */

/* |[target = c] - p_c|, or with one class 1 - x * (2 * target - 1); ignored positions come last. */
static void keys_task(void *ctx, uint64_t task, uint32_t worker) {
    (void)worker;
    const lovasz_job *job = ctx;
    const int64_t from = (int64_t)task * SORT_BLOCK, to = cpu_min(from + SORT_BLOCK, job->n);
    int64_t truth = 0;
    for (int64_t p = from; p < to; p++) {
        const float x = job->r.x[p * job->r.classes + job->c];
        const int is = is_class(job, p), counts = job->r.target[p] != job->r.ignore_index;
        const float hinge = 1 - (is ? x : -x), apart = fabsf((float)is - cpu_exp(x - job->lse[p]));
        const uint32_t bits = cvr_falling_bits(job->r.classes == 1 ? hinge : apart);
        job->keys[p] = (uint64_t)(counts ? bits : UINT32_MAX) << 32 | (uint64_t)p;
        truth += is && counts;
    }
    job->passed[task] = truth;
}

static void count_task(void *ctx, uint64_t task, uint32_t worker) {
    (void)worker;
    const lovasz_job *job = ctx;
    const int64_t from = (int64_t)task * SORT_BLOCK, to = cpu_min(from + SORT_BLOCK, job->n);
    int64_t *const digits = job->digits + (int64_t)task * DIGITS;
    memset(digits, 0, DIGITS * sizeof *digits);
    for (int64_t i = from; i < to; i++) digits[job->keys[i] >> job->shift & (DIGITS - 1)]++;
}

static void move_task(void *ctx, uint64_t task, uint32_t worker) {
    (void)worker;
    const lovasz_job *job = ctx;
    const int64_t from = (int64_t)task * SORT_BLOCK, to = cpu_min(from + SORT_BLOCK, job->n);
    int64_t *const next = job->digits + (int64_t)task * DIGITS;
    for (int64_t i = from; i < to; i++) job->other[next[job->keys[i] >> job->shift & (DIGITS - 1)]++] = job->keys[i];
}

/* Counts become places: digit by digit, and of a digit block by block. */
static void place(const lovasz_job *job) {
    int64_t at = 0;
    for (int64_t d = 0; d < DIGITS; d++) {
        for (int64_t b = 0; b < job->blocks; b++) {
            int64_t *const count = &job->digits[b * DIGITS + d], n = *count;
            *count = at;
            at += n;
        }
    }
}

/* By the upper 32 bits; an even number of passes ends where it began. */
static void sort_keys(lovasz_job *job, const cvr_threadpool *pool) {
    for (job->shift = 32; job->shift < 64; job->shift += 8) {
        uint64_t *const swap = job->keys;
        cpu_run(pool, job->blocks, count_task, job);
        place(job);
        cpu_run(pool, job->blocks, move_task, job);
        job->keys = job->other;
        job->other = swap;
    }
}

/* ---- the walk ---- */

static int64_t block_end(const lovasz_job *job, uint64_t task) {
    return cpu_min(((int64_t)task + 1) * SORT_BLOCK, job->counted);
}

static void passed_task(void *ctx, uint64_t task, uint32_t worker) {
    (void)worker;
    const lovasz_job *job = ctx;
    int64_t passed = 0;
    for (int64_t i = (int64_t)task * SORT_BLOCK; i < block_end(job, task); i++)
        passed += is_class(job, (int64_t)(job->keys[i] & UINT32_MAX));
    job->passed[task] = passed;
}

/* The Jaccard loss where `passed` positions of the class and `wrong` others are taken for wrong. */
static double jaccard(const lovasz_job *job, int64_t passed, int64_t wrong) {
    return passed + wrong == 0 ? 0 : 1 - (double)(job->truth - passed) / (double)(job->truth + wrong);
}

static void walk_task(void *ctx, uint64_t task, uint32_t worker) {
    (void)worker;
    const lovasz_job *job = ctx;
    const int64_t from = (int64_t)task * SORT_BLOCK, classes = job->r.classes;
    /* The weight of a single class is divided out again. */
    const float w = loss_weight(&job->r, job->c), weight = classes > 1 ? w : w > 0 ? 1 : 0;
    int64_t passed = job->passed[task], wrong = from - passed;
    double before = jaccard(job, passed, wrong), loss = 0;
    for (int64_t i = from; i < block_end(job, task); i++) {
        const int64_t p = (int64_t)(job->keys[i] & UINT32_MAX);
        const float error = cvr_of_falling_bits((uint32_t)(job->keys[i] >> 32));
        const int is = is_class(job, p);
        passed += is;
        wrong += !is;
        const double now = jaccard(job, passed, wrong), growth = now - before;
        before = now;
        if (classes == 1 && error <= 0) continue;
        loss += (double)error * growth;
        job->slope[p * classes + job->c] = weight * (float)(is ? -growth : growth);
    }
    job->partial[task] = loss;
}

static double class_loss(lovasz_job *job, const cvr_threadpool *pool) {
    int64_t before = 0;
    double loss = 0;
    sort_keys(job, pool);
    cpu_run(pool, job->blocks, passed_task, job);
    for (int64_t b = 0; b < job->blocks; b++) {
        const int64_t n = job->passed[b];
        job->passed[b] = before;
        before += n;
    }
    cpu_run(pool, job->blocks, walk_task, job);
    for (int64_t b = 0; b < job->blocks; b++) loss += job->partial[b];
    return loss;
}

/* ---- the whole ---- */

static void lse_task(void *ctx, uint64_t task, uint32_t worker) {
    (void)worker;
    const lovasz_job *job = ctx;
    const int64_t n = job->r.classes;
    for (int64_t p = (int64_t)task * job->r.block; p < loss_rows_end(&job->r, task); p++) {
        job->lse[p] = (float)loss_row_lse(job->r.x + p * n, n);
        memset(job->slope + p * n, 0, (uint64_t)n * sizeof(float));
    }
}

/* Slopes by p become slopes by x: dx_c = p_c * (d_c - sum of p_k * d_k). */
static void softmax_task(void *ctx, uint64_t task, uint32_t worker) {
    (void)worker;
    const lovasz_job *job = ctx;
    const int64_t n = job->r.classes, end = loss_rows_end(&job->r, task), step = loss_span_rows(&job->r);
    const float scale = (float)job->scale;
    float q[LOSS_SPAN];
    for (int64_t from = (int64_t)task * job->r.block; from < end; from += step) {
        const int64_t to = cpu_min(from + step, end);
        loss_rows_softmax(&job->r, from, to, job->lse, q);
        for (int64_t p = from; p < to; p++) {
            const float *const row = q + (p - from) * n;
            float *const d = job->slope + p * n;
            const float mean = (float)cpu_dot(row, d, n);
            for (int64_t c = 0; c < n; c++) d[c] = scale * row[c] * (d[c] - mean);
        }
    }
}

static int32_t run(const cvr_kernel_args *a, cvr_error *err) {
    lovasz_job job = lovasz_open(a);
    double loss = 0, weights = 0;
    CVR_TRY(loss_rows_check_all("lovasz_loss", &job.r, err));
    cpu_run(a->pool, job.r.blocks, lse_task, &job);
    for (int64_t p = 0; p < job.n; p++) job.counted += job.r.target[p] != job.r.ignore_index;
    for (job.c = 0; job.c < job.r.classes; job.c++) {
        const double w = (double)loss_weight(&job.r, job.c);
        cpu_run(a->pool, job.blocks, keys_task, &job);
        job.truth = 0;
        for (int64_t b = 0; b < job.blocks; b++) job.truth += job.passed[b];
        if (job.r.classes > 1 && job.truth == 0) continue;
        loss += w * class_loss(&job, a->pool);
        weights += w;
    }
    job.scale = weights > 0 ? 1 / weights : 0;
    if (job.r.classes > 1) cpu_run(a->pool, job.r.blocks, softmax_task, &job);
    *(float *)a->outputs[0]->data = (float)(job.scale * loss);
    return CVR_OK;
}

typedef struct scale_job {
    const float *slope;
    float *dx, grad;
    int64_t n;
} scale_job;

static void scale_task(void *ctx, uint64_t task, uint32_t worker) {
    (void)worker;
    const scale_job *job = ctx;
    const int64_t from = (int64_t)task * CPU_SPAN, to = cpu_min(from + CPU_SPAN, job->n);
    CPU_INDEPENDENT
    for (int64_t i = from; i < to; i++) job->dx[i] = job->grad * job->slope[i];
}

static int32_t backward_run(const cvr_kernel_args *a, cvr_error *err) {
    (void)err;
    scale_job job = {a->inputs[0]->data, a->outputs[0]->data, *(const float *)a->inputs[1]->data,
                     cpu_numel(a->inputs[0])};
    cpu_run(a->pool, cpu_spans(job.n), scale_task, &job);
    return CVR_OK;
}

static const cpu_kernel kernels[] = {
    {"lovasz_loss", run, workspace, loss_rows_support, 0, CPU_KERNEL_FLAGS, NULL},
    {"lovasz_loss_backward", backward_run, NULL, NULL, 1, CPU_KERNEL_FLAGS, NULL},
};
const cpu_kernel_table cpu_loss_lovasz_kernels = {kernels, sizeof kernels / sizeof *kernels};
