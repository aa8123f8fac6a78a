/*
 * What a network reads of pictures (see <cvr/plugin/ops/image.h>): spans of elements are tasks. A batch is read and
 * written once, so memory decides the speed.
 */
#include "cpu_loops.h"

#include <cvr/plugin/ops/image.h>

/* ---- normalize_pixels ---- */

#define ROW 768 /* a multiple of 1 to 4 channels and of every vector */

typedef struct pixels_job {
    const uint8_t *x;
    float *y;
    int64_t n;
    float mean[ROW], std[ROW]; /* of each channel, in turn */
} pixels_job;

/* A span is a whole number of rows, so that each begins with channel 0. Divisions, not products with reciprocals: their
 * last bits differ. */
static void pixels_task(void *ctx, uint64_t task, uint32_t worker) {
    (void)worker;
    const pixels_job *job = ctx;
    const int64_t span = CPU_SPAN / ROW * ROW, first = (int64_t)task * span, end = cpu_min(first + span, job->n);
    for (int64_t at = first; at < end; at += ROW) {
        const int64_t n = cpu_min(ROW, end - at);
        const uint8_t *restrict x = job->x + at;
        float *restrict y = job->y + at;
        for (int64_t i = 0; i < n; i++) y[i] = ((float)x[i] / 255.0f - job->mean[i]) / job->std[i];
    }
}

static int32_t pixels_run(const cvr_kernel_args *a, cvr_error *err) {
    const cvr_normalize_pixels_attrs *attrs = a->attrs;
    const cvr_tensor *x = a->inputs[0];
    pixels_job job = {.x = x->data, .y = a->outputs[0]->data, .n = cpu_numel(x)};
    (void)err;
    for (int64_t i = 0; i < ROW; i++) {
        job.mean[i] = (float)attrs->mean[i % x->shape[1]];
        job.std[i] = (float)attrs->std[i % x->shape[1]];
    }
    cpu_run(a->pool, cpu_ceil_div(job.n, CPU_SPAN / ROW * ROW), pixels_task, &job);
    return CVR_OK;
}

/* ---- batch_mix ---- */

typedef struct mix_job {
    const float *x;
    float *y;
    cvr_batch_mix mix;
    int64_t n, height, row, left, right; /* pictures; rows of one; floats of a row, and the box's columns in floats */
} mix_job;

/* One row of one picture. */
static void mix_task(void *ctx, uint64_t task, uint32_t worker) {
    (void)worker;
    const mix_job *job = ctx;
    const int64_t picture = (int64_t)task / job->height, at = (int64_t)task % job->height;
    const int64_t before = (picture + job->n - 1) % job->n, row = job->row;
    const float *restrict x = job->x + (int64_t)task * row, *restrict p = job->x + (before * job->height + at) * row;
    float *restrict y = job->y + (int64_t)task * row;
    if (job->mix.mode == CVR_BATCH_MIX_MIXUP) {
        for (int64_t i = 0; i < row; i++) y[i] = p[i] * job->mix.other + x[i] * job->mix.own;
        return;
    }
    memcpy(y, x, (size_t)row * sizeof *y);
    if (job->mix.mode == CVR_BATCH_MIX_CUTMIX && at >= job->mix.top && at < job->mix.bottom && job->left < job->right)
        memcpy(y + job->left, p + job->left, (size_t)(job->right - job->left) * sizeof *y);
}

static int32_t mix_run(const cvr_kernel_args *a, cvr_error *err) {
    const cvr_tensor *x = a->inputs[0];
    mix_job job = {.x = x->data, .y = a->outputs[0]->data, .n = x->shape[0], .height = x->shape[2]};
    (void)err;
    job.mix = cvr_batch_mix_of(a->inputs[1]->data, x->shape[2], x->shape[3]);
    job.row = x->shape[3] * x->shape[1];
    job.left = job.mix.left * x->shape[1];
    job.right = job.mix.right * x->shape[1];
    cpu_run(a->pool, job.n * job.height, mix_task, &job);
    return CVR_OK;
}

static const cpu_kernel kernels[] = {
    {"normalize_pixels", pixels_run, NULL, NULL, 0, CPU_KERNEL_FLAGS, NULL},
    {"batch_mix", mix_run, NULL, NULL, 0, CPU_KERNEL_FLAGS, NULL},
};
const cpu_kernel_table cpu_image_kernels = {kernels, sizeof kernels / sizeof *kernels};
