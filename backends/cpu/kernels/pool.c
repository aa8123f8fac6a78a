/* Pooling on the CPU: rows of output pixels as tasks, channels in the inner loop (see <cvr/plugin/ops/pool.h>). */
#include "kernels.h"

#include <cvr/plugin/ops/pool.h>

#define CHANNELS 64 /* worked on at once */

/* How the windows of an average lie: fixed ones, or adaptive ones where `stride` is 0. Pairs are (height, width). */
typedef struct windows {
    int64_t in[2], out[2];
    int64_t kernel[2], stride[2], padding[2];
    int64_t include_pad, divisor;
} windows;

/* Elements [lo, hi) of an axis, and how many count towards the divisor. */
typedef struct span {
    int64_t lo, hi, count;
} span;

static span window_span(const windows *w, int axis, int64_t i) {
    if (w->stride[axis] == 0) {
        const int64_t lo = i * w->in[axis] / w->out[axis], hi = cpu_ceil_div((i + 1) * w->in[axis], w->out[axis]);
        return (span){lo, hi, hi - lo};
    }
    const int64_t start = i * w->stride[axis] - w->padding[axis];
    const int64_t end = cpu_min(start + w->kernel[axis], w->in[axis] + w->padding[axis]);
    const int64_t lo = cpu_max(start, 0), hi = cpu_min(end, w->in[axis]);
    return (span){lo, hi, w->include_pad ? end - start : hi - lo};
}

static float window_divisor(const windows *w, span h, span v) {
    return (float)(w->divisor ? w->divisor : h.count * v.count);
}

typedef struct pool_job {
    const void *attrs;
    const cvr_tensor *a, *b; /* x; or grad and index */
    cvr_tensor *y, *index;   /* y and index; or dx */
    windows w;
} pool_job;

/* ---- max ---- */

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
static void max_pixel(const pool_job *job, int64_t n, int64_t p, int64_t q, int64_t c0, int64_t width) {
    const cvr_max_pool2d_attrs *attrs = job->attrs;
    const int64_t channels = job->a->shape[1], rows = job->a->shape[2], columns = job->a->shape[3];
    const float *x = (const float *)job->a->data + n * rows * columns * channels + c0;
    float best[CHANNELS];
    int32_t at[CHANNELS];
    int first = 1;
    for (int64_t r = 0; r < attrs->kernel_size[0]; r++) {
        const int64_t i = p * attrs->stride[0] - attrs->padding[0] + r * attrs->dilation[0];
        if (i < 0 || i >= rows) continue;
        for (int64_t s = 0; s < attrs->kernel_size[1]; s++) {
            const int64_t j = q * attrs->stride[1] - attrs->padding[1] + s * attrs->dilation[1];
            if (j < 0 || j >= columns) continue;
            const float *from = x + (i * columns + j) * channels;
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
    memcpy((float *)job->y->data + to, best, (size_t)width * sizeof *best);
    store_index(job->index, to, at, width);
}

/* Task: one row of output pixels. */
static void max_task(void *ctx, uint64_t task, uint32_t worker) {
    const pool_job *job = ctx;
    const int64_t n = (int64_t)task / job->y->shape[2], p = (int64_t)task % job->y->shape[2];
    (void)worker;
    for (int64_t q = 0; q < job->y->shape[3]; q++)
        for (int64_t c0 = 0; c0 < job->y->shape[1]; c0 += CHANNELS)
            max_pixel(job, n, p, q, c0, cpu_min(CHANNELS, job->y->shape[1] - c0));
}

/* x (N,C,H,W) -> y, index (N,C,P,Q) */
static int32_t max_run(const cvr_kernel_args *a, cvr_error *err) {
    pool_job job = {.attrs = a->attrs, .a = a->inputs[0], .y = a->outputs[0], .index = a->outputs[1]};
    (void)err;
    a->pool->run(a->pool, (uint64_t)(job.y->shape[0] * job.y->shape[2]), max_task, &job);
    return CVR_OK;
}

/* dx[c] += grad[c] where the winner is this tap. */
static inline void add_where_u8(float *restrict dx, const float *restrict grad, const uint8_t *restrict index,
                                uint8_t tap, int64_t n) {
    for (int64_t c = 0; c < n; c++) dx[c] += index[c] == tap ? grad[c] : 0.0f;
}

static inline void add_where_i32(float *restrict dx, const float *restrict grad, const int32_t *restrict index,
                                 int32_t tap, int64_t n) {
    for (int64_t c = 0; c < n; c++) dx[c] += index[c] == tap ? grad[c] : 0.0f;
}

/* Adds one window's gradient: pixel `from` (in elements, with the channel) of grad to all of dx's pixels in the window.
 */
static void max_scatter(const pool_job *job, float *dx, int64_t p, int64_t q, int64_t from, int64_t width) {
    const cvr_max_pool2d_attrs *attrs = job->attrs;
    const float *grad = (const float *)job->a->data + from;
    const int64_t channels = job->y->shape[1], rows = job->y->shape[2], columns = job->y->shape[3];
    for (int64_t r = 0; r < attrs->kernel_size[0]; r++) {
        const int64_t i = p * attrs->stride[0] - attrs->padding[0] + r * attrs->dilation[0];
        if (i < 0 || i >= rows) continue;
        for (int64_t s = 0; s < attrs->kernel_size[1]; s++) {
            const int64_t j = q * attrs->stride[1] - attrs->padding[1] + s * attrs->dilation[1];
            if (j < 0 || j >= columns) continue;
            const int64_t tap = r * attrs->kernel_size[1] + s;
            float *to = dx + (i * columns + j) * channels;
            if (job->b->dtype == CVR_U8)
                add_where_u8(to, grad, (const uint8_t *)job->b->data + from, (uint8_t)tap, width);
            else
                add_where_i32(to, grad, (const int32_t *)job->b->data + from, (int32_t)tap, width);
        }
    }
}

/* dx (H,W, channels [c0, c0 + width)) of one image = 0 */
static void clear_block(const cvr_tensor *dx, float *at, int64_t width) {
    for (int64_t i = 0; i < dx->shape[2] * dx->shape[3]; i++)
        memset(at + i * dx->shape[1], 0, (size_t)width * sizeof *at);
}

/* Task: a block of channels of one image, so that overlapping windows add in one order. */
static void max_backward_task(void *ctx, uint64_t task, uint32_t worker) {
    const pool_job *job = ctx;
    const cvr_tensor *dx = job->y, *grad = job->a;
    const int64_t channels = dx->shape[1], blocks = cpu_ceil_div(channels, CHANNELS);
    const int64_t n = (int64_t)task / blocks, c0 = (int64_t)task % blocks * CHANNELS;
    const int64_t width = cpu_min(CHANNELS, channels - c0);
    float *to = (float *)dx->data + n * dx->shape[2] * dx->shape[3] * channels + c0;
    (void)worker;
    clear_block(dx, to, width);
    for (int64_t p = 0; p < grad->shape[2]; p++)
        for (int64_t q = 0; q < grad->shape[3]; q++)
            max_scatter(job, to, p, q, ((n * grad->shape[2] + p) * grad->shape[3] + q) * channels + c0, width);
}

/* grad, index (N,C,P,Q) -> dx (N,C,H,W) */
static int32_t max_backward_run(const cvr_kernel_args *a, cvr_error *err) {
    pool_job job = {.attrs = a->attrs, .a = a->inputs[0], .b = a->inputs[1], .y = a->outputs[0]};
    (void)err;
    const int64_t blocks = cpu_ceil_div(job.y->shape[1], CHANNELS);
    a->pool->run(a->pool, (uint64_t)(job.y->shape[0] * blocks), max_backward_task, &job);
    return CVR_OK;
}

/* ---- average ---- */

/* y[c] = sum of x[c] over the window / divisor, one output pixel, channels [c0, c0 + width). */
static void average_pixel(const pool_job *job, int64_t n, int64_t p, int64_t q, int64_t c0, int64_t width) {
    const windows *w = &job->w;
    const span h = window_span(w, 0, p), v = window_span(w, 1, q);
    const int64_t channels = job->a->shape[1];
    const float *x = (const float *)job->a->data + n * w->in[0] * w->in[1] * channels + c0;
    const float divisor = window_divisor(w, h, v);
    float *y = (float *)job->y->data + ((n * w->out[0] + p) * w->out[1] + q) * channels + c0;
    double total[CHANNELS] = {0};
    for (int64_t i = h.lo; i < h.hi; i++) {
        float sum[CHANNELS] = {0};
        for (int64_t j = v.lo; j < v.hi; j++) {
            const float *from = x + (i * w->in[1] + j) * channels;
            for (int64_t c = 0; c < width; c++) sum[c] += from[c];
        }
        for (int64_t c = 0; c < width; c++) total[c] += (double)sum[c];
    }
    for (int64_t c = 0; c < width; c++) y[c] = (float)total[c] / divisor;
}

static void average_task(void *ctx, uint64_t task, uint32_t worker) {
    const pool_job *job = ctx;
    const int64_t n = (int64_t)task / job->w.out[0], p = (int64_t)task % job->w.out[0];
    (void)worker;
    for (int64_t q = 0; q < job->w.out[1]; q++)
        for (int64_t c0 = 0; c0 < job->y->shape[1]; c0 += CHANNELS)
            average_pixel(job, n, p, q, c0, cpu_min(CHANNELS, job->y->shape[1] - c0));
}

/* Adds grad / divisor to every pixel of every window, one image, a block of channels. */
static void average_backward_task(void *ctx, uint64_t task, uint32_t worker) {
    const pool_job *job = ctx;
    const windows *w = &job->w;
    const int64_t channels = job->y->shape[1], blocks = cpu_ceil_div(channels, CHANNELS);
    const int64_t n = (int64_t)task / blocks, c0 = (int64_t)task % blocks * CHANNELS;
    const int64_t width = cpu_min(CHANNELS, channels - c0);
    float *dx = (float *)job->y->data + n * w->in[0] * w->in[1] * channels + c0;
    (void)worker;
    clear_block(job->y, dx, width);
    for (int64_t p = 0; p < w->out[0]; p++)
        for (int64_t q = 0; q < w->out[1]; q++) {
            const span h = window_span(w, 0, p), v = window_span(w, 1, q);
            const float *grad = (const float *)job->a->data + ((n * w->out[0] + p) * w->out[1] + q) * channels + c0;
            const float divisor = window_divisor(w, h, v);
            float share[CHANNELS];
            for (int64_t c = 0; c < width; c++) share[c] = grad[c] / divisor;
            for (int64_t i = h.lo; i < h.hi; i++)
                for (int64_t j = v.lo; j < v.hi; j++) {
                    float *restrict to = dx + (i * w->in[1] + j) * channels;
                    for (int64_t c = 0; c < width; c++) to[c] += share[c];
                }
        }
}

static void sizes(windows *w, const cvr_tensor *in, const cvr_tensor *out) {
    for (int i = 0; i < 2; i++) {
        w->in[i] = in->shape[2 + i];
        w->out[i] = out->shape[2 + i];
    }
}

/* avg_pool2d and its backward share the first attributes; adaptive windows need none. */
static void fixed_windows(windows *w, const cvr_avg_pool2d_attrs *attrs) {
    for (int i = 0; i < 2; i++) {
        w->kernel[i] = attrs->kernel_size[i];
        w->stride[i] = attrs->stride[i];
        w->padding[i] = attrs->padding[i];
    }
    w->include_pad = attrs->count_include_pad;
    w->divisor = attrs->divisor_override;
}

static int32_t average(const cvr_kernel_args *a, int fixed, int backward) {
    pool_job job = {.a = a->inputs[0], .y = a->outputs[0]};
    sizes(&job.w, backward ? job.y : job.a, backward ? job.a : job.y);
    if (fixed) fixed_windows(&job.w, a->attrs);
    const int64_t blocks = cpu_ceil_div(job.y->shape[1], CHANNELS);
    if (backward)
        a->pool->run(a->pool, (uint64_t)(job.y->shape[0] * blocks), average_backward_task, &job);
    else
        a->pool->run(a->pool, (uint64_t)(job.y->shape[0] * job.w.out[0]), average_task, &job);
    return CVR_OK;
}

static int32_t avg_run(const cvr_kernel_args *a, cvr_error *err) {
    (void)err;
    return average(a, 1, 0);
}

static int32_t avg_backward_run(const cvr_kernel_args *a, cvr_error *err) {
    (void)err;
    return average(a, 1, 1);
}

static int32_t adaptive_run(const cvr_kernel_args *a, cvr_error *err) {
    (void)err;
    return average(a, 0, 0);
}

static int32_t adaptive_backward_run(const cvr_kernel_args *a, cvr_error *err) {
    (void)err;
    return average(a, 0, 1);
}

static const cpu_kernel kernels[] = {
    {"max_pool2d", max_run, NULL, NULL, 0, CPU_KERNEL_FLAGS, 1},
    {"max_pool2d_backward", max_backward_run, NULL, NULL, 0, CPU_KERNEL_FLAGS, 1},
    {"avg_pool2d", avg_run, NULL, NULL, 0, CPU_KERNEL_FLAGS, 1},
    {"avg_pool2d_backward", avg_backward_run, NULL, NULL, 0, CPU_KERNEL_FLAGS, 1},
    {"adaptive_avg_pool2d", adaptive_run, NULL, NULL, 0, CPU_KERNEL_FLAGS, 1},
    {"adaptive_avg_pool2d_backward", adaptive_backward_run, NULL, NULL, 0, CPU_KERNEL_FLAGS, 1},
};
const cpu_kernel_table cpu_pool_kernels = {kernels, sizeof kernels / sizeof *kernels};
