/*
 * Upsampling on the CPU (see <cvr/plugin/ops/resize.h>): rows of pixels as tasks, channels in the inner loop, which is
 * vectorised. A result is the weighted sum of four pixels, (1-t)(1-u) x[h,w] + (1-t) u x[h,w+1] + t (1-u) x[h+1,w] +
 * t u x[h+1,w+1]; for the nearest one, t = u = 0. A row of
 * the gradient gathers the rows of grad that came from it, first down, then along, so that no two tasks meet.
 */
#include "cpu_rows.h"
#include "cpu_vec.h"

#include <cvr/plugin/ops/resize.h>

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
    const void *from; /* x, or grad */
    void *to;         /* y, or dx */
    int bf16;         /* both of them; else f32 */
    int64_t channels;
    float *scratch;   /* backward: of each worker, a row of grad's pixels in f32, and where bf16 one of dx's */
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

/* y = the four corners' pixels, elements at[] of x, by their weights; n channels. */
static void mix(const float *x, const int64_t at[4], lerp row, lerp col, float *restrict y, int64_t n) {
    const float *p = x + at[0], *q = x + at[1], *r = x + at[2], *s = x + at[3];
    for (int64_t i = 0; i < n; i++)
        y[i] = row.w_lo * (col.w_lo * p[i] + col.w_hi * q[i]) + row.w_hi * (col.w_lo * r[i] + col.w_hi * s[i]);
}

/* w[0] * a + w[1] * b + w[2] * c + w[3] * d */
static inline vec mix_vec(const vec w[4], vec a, vec b, vec c, vec d) {
    return vec_fma(w[3], d, vec_fma(w[2], c, vec_fma(w[1], b, vec_fma(w[0], a, vec_zero()))));
}

static void mix_low(const uint16_t *x, const int64_t at[4], lerp row, lerp col, uint16_t *y, int64_t n) {
    const float weights[4] = {row.w_lo * col.w_lo, row.w_lo * col.w_hi, row.w_hi * col.w_lo, row.w_hi * col.w_hi};
    vec w[4];
    bf16v p[4];
    for (int k = 0; k < 4; k++) w[k] = vec_set1(weights + k);
    for (int64_t i = 0; i < n; i += 2 * VEC) {
        const int64_t left = n - i;
        for (int k = 0; k < 4; k++)
            p[k] = left >= 2 * VEC ? bf16v_load(x + at[k] + i) : bf16v_load_part(x + at[k] + i, left);
        const vec even = mix_vec(w, bf16v_even(p[0]), bf16v_even(p[1]), bf16v_even(p[2]), bf16v_even(p[3]));
        const vec odd = mix_vec(w, bf16v_odd(p[0]), bf16v_odd(p[1]), bf16v_odd(p[2]), bf16v_odd(p[3]));
        if (left >= 2 * VEC)
            bf16v_store(y + i, bf16v_join(even, odd));
        else
            bf16v_store_part(y + i, bf16v_join(even, odd), left);
    }
}

/* Task: a row of output pixels. */
static void upsample_task(void *ctx, uint64_t task, uint32_t worker) {
    const resize_job *job = ctx;
    const axis_map *h = &job->axis[0], *w = &job->axis[1];
    const int64_t n = (int64_t)task / h->out, channels = job->channels, image = n * h->in * w->in;
    const size_t size = job->bf16 ? sizeof(uint16_t) : sizeof(float);
    const lerp row = source_of(h, (int64_t)task % h->out);
    const int64_t lo = (image + row.lo * w->in) * channels, hi = (image + row.hi * w->in) * channels;
    int64_t y = (int64_t)task * w->out * channels;
    (void)worker;
    for (int64_t q = 0; q < w->out; q++, y += channels) {
        const lerp col = source_of(w, q);
        const int64_t at[4] = {lo + col.lo * channels, lo + col.hi * channels, hi + col.lo * channels,
                               hi + col.hi * channels};
        if (h->mode == CVR_UPSAMPLE_NEAREST)
            memcpy((char *)job->to + (size_t)y * size, (const char *)job->from + (size_t)at[0] * size,
                   (size_t)channels * size);
        else if (job->bf16)
            mix_low(job->from, at, row, col, (uint16_t *)job->to + y, channels);
        else
            mix(job->from, at, row, col, (float *)job->to + y, channels);
    }
}

/* to[i] += weight * from[i] */
static inline void add_scaled(float *restrict to, const float *restrict from, float weight, int64_t n) {
    for (int64_t i = 0; i < n; i++) to[i] += weight * from[i];
}

/* to += weight * n elements of grad from element `at` on */
static void add_row(const resize_job *job, float *to, int64_t at, float weight, int64_t n) {
    float buffer[CPU_ROW];
    for (int64_t k = 0; k < n; k += CPU_ROW) {
        const int64_t width = cpu_min(CPU_ROW, n - k);
        add_scaled(to + k, cpu_row_read(job->from, job->bf16, at + k, width, buffer), weight, width);
    }
}

/* dx += a row of grad, of which each pixel came from one; from element `at` on */
static void add_nearest(const resize_job *job, float *dx, int64_t at) {
    float buffer[CPU_ROW];
    for (int64_t q = 0; q < job->axis[1].out; q++, at += job->channels) {
        float *to = dx + source_of(&job->axis[1], q).lo * job->channels;
        for (int64_t c = 0; c < job->channels; c += CPU_ROW) {
            const int64_t width = cpu_min(CPU_ROW, job->channels - c);
            add_scaled(to + c, cpu_row_read(job->from, job->bf16, at + c, width, buffer), 1, width);
        }
    }
}

/* The first coordinate of the output that sees input coordinate i or one after it: sources never step back. */
static int64_t first_of(const axis_map *m, int64_t i) {
    int64_t lo = 0, hi = m->out;
    while (lo < hi) {
        const int64_t middle = lo + (hi - lo) / 2;
        if (source_of(m, middle).hi < i)
            lo = middle + 1;
        else
            hi = middle;
    }
    return lo;
}

static int64_t grad_row(const resize_job *job) {
    return cpu_line_up(job->axis[1].out * job->channels);
}

static int64_t scratch_floats(const resize_job *job) {
    return grad_row(job) + (job->bf16 ? cpu_line_up(job->axis[1].in * job->channels) : 0);
}

/* Task: a row of dx. */
static void backward_task(void *ctx, uint64_t task, uint32_t worker) {
    const resize_job *job = ctx;
    const axis_map *h = &job->axis[0], *w = &job->axis[1];
    const int64_t channels = job->channels, n = (int64_t)task / h->in, i = (int64_t)task % h->in;
    const int64_t wide = w->out * channels, narrow = w->in * channels, to = (int64_t)task * narrow;
    float *sum = job->scratch + worker * scratch_floats(job);
    float *dx = cpu_row_space(job->to, job->bf16, to, sum + grad_row(job));
    const int nearest = h->mode == CVR_UPSAMPLE_NEAREST;
    if (!nearest) memset(sum, 0, (size_t)wide * sizeof *sum);
    memset(dx, 0, (size_t)narrow * sizeof *dx);
    for (int64_t p = first_of(h, i); p < h->out; p++) {
        const lerp row = source_of(h, p);
        const float weight = (row.lo == i ? row.w_lo : 0) + (row.hi == i ? row.w_hi : 0);
        if (row.lo > i) break;
        if (nearest)
            add_nearest(job, dx, (n * h->out + p) * wide);
        else if (weight != 0)
            add_row(job, sum, (n * h->out + p) * wide, weight, wide);
    }
    for (int64_t q = 0; !nearest && q < w->out; q++) {
        const lerp col = source_of(w, q);
        add_scaled(dx + col.lo * channels, sum + q * channels, col.w_lo, channels);
        if (col.w_hi != 0) add_scaled(dx + col.hi * channels, sum + q * channels, col.w_hi, channels);
    }
    cpu_row_store(job->to, job->bf16, to, narrow, dx);
}

/* `in` and `out` are the smaller and the larger side as the forward pass has them. */
static resize_job job_of(const cvr_upsample_attrs *attrs, const cvr_tensor *in, const cvr_tensor *out) {
    resize_job job = {.bf16 = in->dtype == CVR_BF16, .channels = in->shape[1]};
    for (int i = 0; i < 2; i++) job.axis[i] = map_axis(attrs, i, in->shape[2 + i], out->shape[2 + i]);
    return job;
}

/* x (N,C,H,W) -> y (N,C,P,Q) */
static int32_t upsample_run(const cvr_kernel_args *a, cvr_error *err) {
    resize_job job = job_of(a->attrs, a->inputs[0], a->outputs[0]);
    (void)err;
    job.from = a->inputs[0]->data;
    job.to = a->outputs[0]->data;
    a->pool->run(a->pool, (uint64_t)(a->outputs[0]->shape[0] * job.axis[0].out), upsample_task, &job);
    return CVR_OK;
}

static uint64_t backward_workspace(const cvr_signature *sig) {
    const resize_job job = job_of(sig->attrs, sig->outputs[0], sig->inputs[0]);
    return (uint64_t)scratch_floats(&job) * sig->n_workers * sizeof(float);
}

/* grad (N,C,P,Q) -> dx (N,C,H,W) */
static int32_t backward_run(const cvr_kernel_args *a, cvr_error *err) {
    resize_job job = job_of(a->attrs, a->outputs[0], a->inputs[0]); /* the first attributes of both ops */
    (void)err;
    job.from = a->inputs[0]->data;
    job.to = a->outputs[0]->data;
    job.scratch = a->workspace;
    a->pool->run(a->pool, (uint64_t)(a->outputs[0]->shape[0] * job.axis[0].in), backward_task, &job);
    return CVR_OK;
}

#define RESIZE_FLAGS (CPU_KERNEL_FLAGS | CVR_KERNEL_BF16)
static const cpu_kernel kernels[] = {
    {"upsample", upsample_run, NULL, cpu_rows_supports, 0, RESIZE_FLAGS, NULL},
    {"upsample_backward", backward_run, backward_workspace, cpu_rows_supports, 0, RESIZE_FLAGS, NULL},
};
const cpu_kernel_table cpu_resize_kernels = {kernels, sizeof kernels / sizeof *kernels};
