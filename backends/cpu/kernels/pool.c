/*
 * Average pooling on the CPU: rows of pixels of what is written as tasks, channels in the inner loop (see
 * <cvr/plugin/ops/pool.h>; pool_max.c has the maximum). A gradient is gathered, row by row or pixel by pixel: each row
 * of dx adds up the windows that it lies in, in their order, so that it is written once and no two tasks meet.
 */
#include "cpu_rows.h"

#include <cvr/plugin/ops/pool.h>

#define CHANNELS 64 /* worked on at once */
#define GROUP 32    /* pixels that floats add up before a double takes over */

/* How the windows of an average lie: fixed ones, or adaptive ones where `stride` is 0. Pairs are (height, width). */
typedef struct windows {
    int64_t in[2], out[2];
    int64_t kernel[2], stride[2], padding[2];
    int64_t include_pad, divisor;
} windows;

/* Elements [lo, hi) of an axis, and how many count towards the divisor. */
typedef struct pool_span {
    int64_t lo, hi, count;
} pool_span;

static pool_span window_span(const windows *w, int axis, int64_t i) {
    if (w->stride[axis] == 0) {
        const int64_t lo = i * w->in[axis] / w->out[axis], hi = cpu_ceil_div((i + 1) * w->in[axis], w->out[axis]);
        return (pool_span){lo, hi, hi - lo};
    }
    const int64_t start = i * w->stride[axis] - w->padding[axis];
    const int64_t end = cpu_min(start + w->kernel[axis], w->in[axis] + w->padding[axis]);
    const int64_t lo = cpu_max(start, 0), hi = cpu_min(end, w->in[axis]);
    return (pool_span){lo, hi, w->include_pad ? end - start : hi - lo};
}

static float window_divisor(const windows *w, pool_span h, pool_span v) {
    return (float)(w->divisor ? w->divisor : h.count * v.count);
}

typedef struct pool_job {
    const cvr_tensor *a; /* x; or grad */
    cvr_tensor *y;       /* y; or dx */
    int bf16;
    windows w;
} pool_job;

static pool_job job_of(const cvr_kernel_args *a) {
    return (pool_job){.a = a->inputs[0], .y = a->outputs[0], .bf16 = a->inputs[0]->dtype == CVR_BF16};
}

static void store_pixel(const pool_job *job, int64_t at, const float *pixel, int64_t n) {
    if (job->bf16)
        cpu_row_store(job->y->data, 1, at, n, pixel);
    else
        memcpy((float *)job->y->data + at, pixel, (size_t)n * sizeof *pixel);
}

/* y[c] = sum of x[c] over the window / divisor, one output pixel, channels [c0, c0 + width). */
static void average_pixel(const pool_job *job, int64_t n, int64_t p, int64_t q, int64_t c0, int64_t width) {
    const windows *w = &job->w;
    const pool_span h = window_span(w, 0, p), v = window_span(w, 1, q);
    const int64_t channels = job->a->shape[1], image = n * w->in[0] * w->in[1] * channels + c0;
    const int64_t across = v.hi - v.lo, pixels = cpu_max(0, h.hi - h.lo) * cpu_max(0, across);
    const float divisor = window_divisor(w, h, v);
    float sum[CHANNELS] = {0}, buffer[CHANNELS];
    double total[CHANNELS];
    if (pixels > GROUP) memset(total, 0, sizeof total);
    for (int64_t k = 0; k < pixels; k++) {
        const int64_t at = image + ((h.lo + k / across) * w->in[1] + v.lo + k % across) * channels;
        const float *from = cpu_row_read(job->a->data, job->bf16, at, width, buffer);
        for (int64_t c = 0; c < width; c++) sum[c] += from[c];
        if (pixels <= GROUP || (k % GROUP != GROUP - 1 && k != pixels - 1)) continue;
        for (int64_t c = 0; c < width; c++) {
            total[c] += (double)sum[c];
            sum[c] = 0;
        }
    }
    for (int64_t c = 0; c < width; c++) sum[c] = (pixels > GROUP ? (float)total[c] : sum[c]) / divisor;
    store_pixel(job, ((n * w->out[0] + p) * w->out[1] + q) * channels + c0, sum, width);
}

static void average_task(void *ctx, uint64_t task, uint32_t worker) {
    const pool_job *job = ctx;
    const int64_t n = (int64_t)task / job->w.out[0], p = (int64_t)task % job->w.out[0];
    (void)worker;
    for (int64_t q = 0; q < job->w.out[1]; q++)
        for (int64_t c0 = 0; c0 < job->y->shape[1]; c0 += CHANNELS)
            average_pixel(job, n, p, q, c0, cpu_min(CHANNELS, job->y->shape[1] - c0));
}

/* The windows [lo, hi) along an axis that pixel i lies in. */
static pool_span windows_of(const windows *w, int axis, int64_t i) {
    const int64_t in = w->in[axis], out = w->out[axis], stride = w->stride[axis];
    if (stride == 0) return (pool_span){i * out / in, cpu_ceil_div((i + 1) * out, in), 0};
    const int64_t at = i + w->padding[axis], before = at - w->kernel[axis];
    return (pool_span){before < 0 ? 0 : before / stride + 1, cpu_min(at / stride + 1, out), 0};
}

/* One pixel of dx: the sum of grad / divisor over its windows. */
static void average_back_pixel(const pool_job *job, int64_t row, int64_t j, int64_t c0, int64_t width) {
    const windows *w = &job->w;
    const int64_t channels = job->y->shape[1], n = row / w->in[0];
    const pool_span ps = windows_of(w, 0, row % w->in[0]), qs = windows_of(w, 1, j);
    float sum[CHANNELS] = {0}, buffer[CHANNELS];
    for (int64_t p = ps.lo; p < ps.hi; p++)
        for (int64_t q = qs.lo; q < qs.hi; q++) {
            const int64_t from = ((n * w->out[0] + p) * w->out[1] + q) * channels + c0;
            const float *grad = cpu_row_read(job->a->data, job->bf16, from, width, buffer);
            const float divisor = window_divisor(w, window_span(w, 0, p), window_span(w, 1, q));
            for (int64_t c = 0; c < width; c++) sum[c] += grad[c] / divisor;
        }
    store_pixel(job, (row * w->in[1] + j) * channels + c0, sum, width);
}

/* Task: one row of dx. A pixel of the same windows as the one before it is the same. */
static void average_backward_task(void *ctx, uint64_t task, uint32_t worker) {
    const pool_job *job = ctx;
    const int64_t channels = job->y->shape[1];
    const size_t bytes = (size_t)channels * (job->bf16 ? sizeof(uint16_t) : sizeof(float));
    char *dx = (char *)job->y->data + task * (uint64_t)job->w.in[1] * bytes;
    pool_span before = {-1, -1, 0};
    (void)worker;
    for (int64_t j = 0; j < job->w.in[1]; j++, dx += bytes) {
        const pool_span now = windows_of(&job->w, 1, j);
        const int same = now.lo == before.lo && now.hi == before.hi;
        before = now;
        if (same) memcpy(dx, dx - bytes, bytes);
        for (int64_t c0 = 0; !same && c0 < channels; c0 += CHANNELS)
            average_back_pixel(job, (int64_t)task, j, c0, cpu_min(CHANNELS, channels - c0));
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
    pool_job job = job_of(a);
    sizes(&job.w, backward ? job.y : job.a, backward ? job.a : job.y);
    if (fixed) fixed_windows(&job.w, a->attrs);
    if (backward)
        a->pool->run(a->pool, (uint64_t)(job.y->shape[0] * job.w.in[0]), average_backward_task, &job);
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

/* The pictures are all f32 or all bf16. */
static int32_t supports(const cvr_signature *sig, cvr_error *reason) {
    const uint32_t dtype = sig->inputs[0]->dtype;
    if ((dtype == CVR_F32 || dtype == CVR_BF16) && sig->outputs[0]->dtype == dtype) return CVR_OK;
    return cvr_fail(reason, CVR_ERR_UNSUPPORTED, "pictures of other or several element types");
}

#define POOL_FLAGS (CPU_KERNEL_FLAGS | CVR_KERNEL_BF16)
static const cpu_kernel kernels[] = {
    {"avg_pool2d", avg_run, NULL, supports, 0, POOL_FLAGS, NULL},
    {"avg_pool2d_backward", avg_backward_run, NULL, supports, 0, POOL_FLAGS, NULL},
    {"adaptive_avg_pool2d", adaptive_run, NULL, supports, 0, POOL_FLAGS, NULL},
    {"adaptive_avg_pool2d_backward", adaptive_backward_run, NULL, supports, 0, POOL_FLAGS, NULL},
};
const cpu_kernel_table cpu_pool_kernels = {kernels, sizeof kernels / sizeof *kernels};
