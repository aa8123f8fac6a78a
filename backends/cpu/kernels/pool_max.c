/*
 * Max pooling on the CPU (see <cvr/plugin/ops/pool.h>), for any window and any number of channels: rows of pixels of
 * what is written as tasks. A gradient is gathered: each row of dx adds up the windows that it lies in, in their order,
 * so that it is written once and no two tasks meet. pool_max_lanes.c has the usual cases.
 */
#include "pool_max.h"

#define CHANNELS 64 /* worked on at once */

static pool_max_job job_of(const cvr_kernel_args *a) {
    return (pool_max_job){
        .attrs = a->attrs, .a = a->inputs[0], .y = a->outputs[0], .bf16 = a->inputs[0]->dtype == CVR_BF16};
}

static void store_pixel(const pool_max_job *job, int64_t at, const float *pixel, int64_t n) {
    if (job->bf16)
        cpu_row_store(job->y->data, 1, at, n, pixel);
    else
        memcpy((float *)job->y->data + at, pixel, (size_t)n * sizeof *pixel);
}

/* best, at = the window's tap `tap` where it is larger or NaN. */
static inline void take_max(float *restrict best, int32_t *restrict at, const float *restrict x, int32_t tap,
                            int64_t n) {
    for (int64_t c = 0; c < n; c++) {
        const int take = (x[c] > best[c]) | (x[c] != x[c]);
        best[c] = take ? x[c] : best[c];
        at[c] = take ? tap : at[c];
    }
}

static void store_index(const cvr_tensor *index, int64_t at, const int32_t *tap, int64_t n) {
    if (index->dtype == CVR_U8)
        for (int64_t c = 0; c < n; c++) ((uint8_t *)index->data)[at + c] = (uint8_t)tap[c];
    else
        memcpy((int32_t *)index->data + at, tap, (size_t)n * sizeof *tap);
}

/* One output pixel (n, p, q), channels [c0, c0 + width). */
static void max_pixel(const pool_max_job *job, int64_t n, int64_t p, int64_t q, int64_t c0, int64_t width) {
    const cvr_max_pool2d_attrs *attrs = job->attrs;
    const int64_t channels = job->a->shape[1], rows = job->a->shape[2], columns = job->a->shape[3];
    const int64_t image = n * rows * columns * channels + c0;
    float best[CHANNELS], buffer[CHANNELS];
    int32_t at[CHANNELS];
    int first = 1;
    for (int64_t r = 0; r < attrs->kernel_size[0]; r++) {
        const int64_t i = p * attrs->stride[0] - attrs->padding[0] + r * attrs->dilation[0];
        if (i < 0 || i >= rows) continue;
        for (int64_t s = 0; s < attrs->kernel_size[1]; s++) {
            const int64_t j = q * attrs->stride[1] - attrs->padding[1] + s * attrs->dilation[1];
            if (j < 0 || j >= columns) continue;
            const int64_t pixel = image + (i * columns + j) * channels;
            const float *from = cpu_row_read(job->a->data, job->bf16, pixel, width, buffer);
            const int32_t tap = (int32_t)(r * attrs->kernel_size[1] + s);
            if (first) {
                memcpy(best, from, (size_t)width * sizeof *best);
                for (int64_t c = 0; c < width; c++) at[c] = tap;
                first = 0;
            } else {
                take_max(best, at, from, tap, width);
            }
        }
    }
    if (first) /* a dilated window can miss x altogether */
        for (int64_t c = 0; c < width; c++) {
            best[c] = -INFINITY;
            at[c] = 0;
        }
    const int64_t to = ((n * job->y->shape[2] + p) * job->y->shape[3] + q) * channels + c0;
    store_pixel(job, to, best, width);
    store_index(job->index, to, at, width);
}

/* Task: one row of output pixels. */
static void max_task(void *ctx, uint64_t task, uint32_t worker) {
    const pool_max_job *job = ctx;
    const int64_t n = (int64_t)task / job->y->shape[2], p = (int64_t)task % job->y->shape[2];
    (void)worker;
    for (int64_t q = 0; q < job->y->shape[3]; q++)
        for (int64_t c0 = 0; c0 < job->y->shape[1]; c0 += CHANNELS)
            max_pixel(job, n, p, q, c0, cpu_min(CHANNELS, job->y->shape[1] - c0));
}

/* x (N,C,H,W) -> y, index (N,C,P,Q) */
static int32_t max_run(const cvr_kernel_args *a, cvr_error *err) {
    pool_max_job job = job_of(a);
    (void)err;
    job.index = a->outputs[1];
    const cvr_task_fn task = pool_max_fits(&job, job.index) ? pool_max_task : max_task;
    a->pool->run(a->pool, (uint64_t)(job.y->shape[0] * job.y->shape[2]), task, &job);
    return CVR_OK;
}

/* dx[c] += grad[c] where the winner is this tap: n channels of an index of bytes or of ints. */
static inline void add_where_u8(float *restrict dx, const float *restrict grad, const uint8_t *restrict index,
                                uint8_t tap, int64_t n) {
    for (int64_t c = 0; c < n; c++) dx[c] += index[c] == tap ? grad[c] : 0.0f;
}

static inline void add_where_i32(float *restrict dx, const float *restrict grad, const int32_t *restrict index,
                                 int32_t tap, int64_t n) {
    for (int64_t c = 0; c < n; c++) dx[c] += index[c] == tap ? grad[c] : 0.0f;
}

static inline void add_where_low(float *restrict dx, const uint16_t *restrict grad, const uint8_t *restrict index,
                                 uint8_t tap, int64_t n) {
    for (int64_t c = 0; c < n; c++) {
        const float g = cvr_f32_of_bf16(grad[c]);
        dx[c] += index[c] == tap ? g : 0.0f;
    }
}

/* The window along the height whose tap r is row i, or -1. */
static int64_t window_of(const cvr_max_pool2d_attrs *attrs, int64_t count, int64_t i, int64_t r) {
    const int64_t start = i + attrs->padding[0] - r * attrs->dilation[0];
    if (start < 0 || start % attrs->stride[0] != 0) return -1;
    return start / attrs->stride[0] < count ? start / attrs->stride[0] : -1;
}

/* One window's gradient, `width` channels at element `from` of grad, into the taps of kernel row r; dx is a row's first
 * pixel, with the channel, and the window's first tap is its pixel j. */
static void scatter_window(const pool_max_job *job, float *dx, int64_t r, int64_t j, int64_t from, int64_t width) {
    const cvr_max_pool2d_attrs *attrs = job->attrs;
    const int64_t channels = job->y->shape[1], columns = job->y->shape[3], across = attrs->kernel_size[1];
    float buffer[CHANNELS];
    const int bytes = job->b->dtype == CVR_U8, bf16_indices = job->bf16 && bytes;
    const float *grad = bf16_indices ? NULL : cpu_row_read(job->a->data, job->bf16, from, width, buffer);
    for (int64_t s = 0; s < across; s++, j += attrs->dilation[1]) {
        if (j < 0 || j >= columns) continue;
        if (bf16_indices)
            add_where_low(dx + j * channels, (const uint16_t *)job->a->data + from,
                          (const uint8_t *)job->b->data + from, (uint8_t)(r * across + s), width);
        else if (bytes)
            add_where_u8(dx + j * channels, grad, (const uint8_t *)job->b->data + from, (uint8_t)(r * across + s),
                         width);
        else
            add_where_i32(dx + j * channels, grad, (const int32_t *)job->b->data + from, (int32_t)(r * across + s),
                          width);
    }
}

/* Task: one row of dx; the last kernel row belongs to the first window. */
static void max_backward_task(void *ctx, uint64_t task, uint32_t worker) {
    const pool_max_job *job = ctx;
    const cvr_max_pool2d_attrs *attrs = job->attrs;
    const cvr_tensor *grad = job->a;
    const int64_t channels = job->y->shape[1], rows = job->y->shape[2], row = job->y->shape[3] * channels;
    float *dx = cpu_row_space(job->y->data, job->bf16, (int64_t)task * row, job->scratch + worker * cpu_line_up(row));
    memset(dx, 0, (size_t)row * sizeof *dx);
    for (int64_t r = attrs->kernel_size[0] - 1; r >= 0; r--) {
        const int64_t p = window_of(attrs, grad->shape[2], (int64_t)task % rows, r);
        const int64_t first = ((int64_t)task / rows * grad->shape[2] + p) * grad->shape[3];
        for (int64_t q = 0; q < grad->shape[3] && p >= 0; q++)
            for (int64_t c = 0; c < channels; c += CHANNELS)
                scatter_window(job, dx + c, r, q * attrs->stride[1] - attrs->padding[1], (first + q) * channels + c,
                               cpu_min(CHANNELS, channels - c));
    }
    cpu_row_store(job->y->data, job->bf16, (int64_t)task * row, row, dx);
}

static uint64_t max_backward_workspace(const cvr_signature *sig) {
    const cvr_tensor *dx = sig->outputs[0];
    const int64_t row = dx->dtype == CVR_BF16 ? cpu_line_up(dx->shape[3] * dx->shape[1]) : 0;
    return (uint64_t)row * sig->n_workers * sizeof(float);
}

/* grad, index (N,C,P,Q) -> dx (N,C,H,W) */
static int32_t max_backward_run(const cvr_kernel_args *a, cvr_error *err) {
    const cvr_max_pool2d_attrs *attrs = a->attrs;
    pool_max_job job = job_of(a);
    (void)err;
    job.b = a->inputs[1];
    job.scratch = a->workspace;
    const int lanes = pool_max_fits(&job, job.b) && attrs->dilation[0] == 1 && attrs->dilation[1] == 1;
    a->pool->run(a->pool, (uint64_t)(job.y->shape[0] * job.y->shape[2]),
                 lanes ? pool_max_backward_task : max_backward_task, &job);
    return CVR_OK;
}

/* The pictures are all f32 or all bf16; only the index, the backward pass's input 1, is neither. */
static int32_t supports(const cvr_signature *sig, cvr_error *reason) {
    const uint32_t dtype = sig->inputs[0]->dtype;
    if ((dtype == CVR_F32 || dtype == CVR_BF16) && sig->outputs[0]->dtype == dtype) return CVR_OK;
    return cvr_fail(reason, CVR_ERR_UNSUPPORTED, "pictures of other or several element types");
}

#define POOL_FLAGS (CPU_KERNEL_FLAGS | CVR_KERNEL_BF16)
static const cpu_kernel kernels[] = {
    {"max_pool2d", max_run, NULL, supports, 0, POOL_FLAGS, NULL},
    {"max_pool2d_backward", max_backward_run, max_backward_workspace, supports, 0, POOL_FLAGS, NULL},
};
const cpu_kernel_table cpu_pool_max_kernels = {kernels, sizeof kernels / sizeof *kernels};
