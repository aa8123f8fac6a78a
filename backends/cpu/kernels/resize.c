/* Upsampling on the CPU (see <cvr/plugin/ops/resize.h>): rows of pixels as tasks, channels in the inner loop. */
#include "kernels.h"

#include <cvr/plugin/ops/resize.h>

#define CHANNELS 64 /* of a task of the backward pass */

/* An output coordinate's two source coordinates and their weights; nearest: lo = hi, weights 1 and 0. */
typedef struct lerp {
    int64_t lo, hi;
    float w_lo, w_hi;
} lerp;

typedef struct axis_map {
    int64_t in, out, mode, align_corners;
    float step;
} axis_map;

typedef struct resize_job {
    const float *from; /* x, or grad */
    float *to;         /* y, or dx */
    int64_t channels;
    axis_map axis[2]; /* height, width */
} resize_job;

static axis_map map_axis(const cvr_upsample_attrs *attrs, int axis, int64_t in, int64_t out) {
    axis_map m = {in, out, attrs->mode, attrs->align_corners, 0};
    if (m.align_corners)
        m.step = out > 1 ? (float)(in - 1) / (float)(out - 1) : 0.0f;
    else if (attrs->scale_factor[axis] > 0)
        m.step = (float)(1.0 / attrs->scale_factor[axis]);
    else
        m.step = (float)in / (float)out;
    return m;
}

static lerp source_of(const axis_map *m, int64_t i) {
    if (m->in == m->out) return (lerp){i, i, 1, 0};
    if (m->mode == CVR_UPSAMPLE_NEAREST) {
        const int64_t at = m->out == 2 * m->in ? i / 2 : cpu_min((int64_t)((float)i * m->step), m->in - 1);
        return (lerp){at, at, 1, 0};
    }
    float u = m->align_corners ? (float)i * m->step : ((float)i + 0.5f) * m->step - 0.5f;
    if (u < 0) u = 0;
    const int64_t lo = cpu_min((int64_t)u, m->in - 1);
    float t = u - (float)lo;
    if (t > 1) t = 1;
    return (lerp){lo, lo < m->in - 1 ? lo + 1 : lo, 1 - t, t};
}

/* Task: a row of output pixels. */
static void upsample_task(void *ctx, uint64_t task, uint32_t worker) {
    const resize_job *job = ctx;
    const axis_map *h = &job->axis[0], *w = &job->axis[1];
    const int64_t n = (int64_t)task / h->out, channels = job->channels;
    const lerp row = source_of(h, (int64_t)task % h->out);
    const float *image = job->from + n * h->in * w->in * channels;
    float *restrict y = job->to + (int64_t)task * w->out * channels;
    (void)worker;
    for (int64_t q = 0; q < w->out; q++, y += channels) {
        const lerp col = source_of(w, q);
        const float *a = image + (row.lo * w->in + col.lo) * channels,
                    *b = image + (row.lo * w->in + col.hi) * channels;
        const float *c = image + (row.hi * w->in + col.lo) * channels,
                    *d = image + (row.hi * w->in + col.hi) * channels;
        if (h->mode == CVR_UPSAMPLE_NEAREST)
            memcpy(y, a, (size_t)channels * sizeof *y);
        else
            for (int64_t i = 0; i < channels; i++)
                y[i] = row.w_lo * (col.w_lo * a[i] + col.w_hi * b[i]) + row.w_hi * (col.w_lo * c[i] + col.w_hi * d[i]);
    }
}

/* to[i] += weight * from[i] */
static inline void add_scaled(float *restrict to, const float *restrict from, float weight, int64_t n) {
    for (int64_t i = 0; i < n; i++) to[i] += weight * from[i];
}

/* Task: a block of channels of one image, so that all that adds to a pixel does so in one order. */
static void backward_task(void *ctx, uint64_t task, uint32_t worker) {
    const resize_job *job = ctx;
    const axis_map *h = &job->axis[0], *w = &job->axis[1];
    const int64_t channels = job->channels, blocks = cpu_ceil_div(channels, CHANNELS);
    const int64_t n = (int64_t)task / blocks, c0 = (int64_t)task % blocks * CHANNELS;
    const int64_t width = cpu_min(CHANNELS, channels - c0);
    float *dx = job->to + n * h->in * w->in * channels + c0;
    const float *grad = job->from + n * h->out * w->out * channels + c0;
    (void)worker;
    for (int64_t i = 0; i < h->in * w->in; i++) memset(dx + i * channels, 0, (size_t)width * sizeof *dx);
    for (int64_t p = 0; p < h->out; p++) {
        const lerp row = source_of(h, p);
        for (int64_t q = 0; q < w->out; q++, grad += channels) {
            const lerp col = source_of(w, q);
            add_scaled(dx + (row.lo * w->in + col.lo) * channels, grad, row.w_lo * col.w_lo, width);
            if (h->mode == CVR_UPSAMPLE_NEAREST) continue;
            add_scaled(dx + (row.lo * w->in + col.hi) * channels, grad, row.w_lo * col.w_hi, width);
            add_scaled(dx + (row.hi * w->in + col.lo) * channels, grad, row.w_hi * col.w_lo, width);
            add_scaled(dx + (row.hi * w->in + col.hi) * channels, grad, row.w_hi * col.w_hi, width);
        }
    }
}

static resize_job make_job(const cvr_kernel_args *a, const cvr_tensor *in, const cvr_tensor *out) {
    const cvr_upsample_attrs *attrs = a->attrs; /* the first attributes of both ops */
    resize_job job = {.from = a->inputs[0]->data, .to = a->outputs[0]->data, .channels = in->shape[1]};
    for (int i = 0; i < 2; i++) job.axis[i] = map_axis(attrs, i, in->shape[2 + i], out->shape[2 + i]);
    return job;
}

/* x (N,C,H,W) -> y (N,C,P,Q) */
static int32_t upsample_run(const cvr_kernel_args *a, cvr_error *err) {
    resize_job job = make_job(a, a->inputs[0], a->outputs[0]);
    (void)err;
    a->pool->run(a->pool, (uint64_t)(a->outputs[0]->shape[0] * job.axis[0].out), upsample_task, &job);
    return CVR_OK;
}

/* grad (N,C,P,Q) -> dx (N,C,H,W) */
static int32_t backward_run(const cvr_kernel_args *a, cvr_error *err) {
    resize_job job = make_job(a, a->outputs[0], a->inputs[0]);
    (void)err;
    const int64_t blocks = cpu_ceil_div(job.channels, CHANNELS);
    a->pool->run(a->pool, (uint64_t)(a->outputs[0]->shape[0] * blocks), backward_task, &job);
    return CVR_OK;
}

static const cpu_kernel kernels[] = {
    {"upsample", upsample_run, NULL, NULL, 0, CPU_KERNEL_FLAGS, 1},
    {"upsample_backward", backward_run, NULL, NULL, 0, CPU_KERNEL_FLAGS, 1},
};
const cpu_kernel_table cpu_resize_kernels = {kernels, sizeof kernels / sizeof *kernels};
