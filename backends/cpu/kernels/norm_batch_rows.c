/*
 * What batch normalisation (norm_batch.c) does to the elements of a row: all tables stand ready, and each loop goes
 * along channels. Loops over bf16 are functions of their own, which widen and round within the loop.
 */
#include "cpu_stream.h"
#include "norm_batch.h"

static char *out_at(const batch_job *job, int64_t at) {
    return (char *)job->out + at * (job->bf16 ? (int64_t)sizeof(uint16_t) : (int64_t)sizeof(float));
}

/* Where to write the result: in its place, or into a buffer that out_store() streams there. */
static void *out_space(const batch_job *job, int64_t at, float *buffer) {
    return job->stream ? (char *)buffer : out_at(job, at);
}

static void out_store(const batch_job *job, int64_t at, int64_t n, const void *row) {
    if (job->stream) cpu_stream_copy(out_at(job, at), row, out_at(job, at + n) - out_at(job, at));
}

/* y = clamp((x - mean) * scale + shift + residual); a NaN stays one. In bf16, in one loop: buffers between several
 * would cost more than they do. */
ALWAYS_INLINE void forward_values(const batch_job *job, int64_t at, int64_t column, int64_t n, int adds, uint16_t *y) {
    const float *mean = batch_table(job, MEAN, column), *scale = batch_table(job, SCALE, column);
    const float *shift = batch_table(job, SHIFT, column);
    const uint16_t *x = (const uint16_t *)job->x + at, *z = adds ? (const uint16_t *)job->residual + at : x;
    const float lo = job->clamp.lo, hi = job->clamp.hi;
    CPU_INDEPENDENT
    for (int64_t k = 0; k < n; k++) {
        float v = (cvr_f32_of_bf16(x[k]) - mean[k]) * scale[k] + shift[k];
        if (adds) v += cvr_f32_of_bf16(z[k]);
        v = v < lo ? lo : v;
        y[k] = cvr_bf16_of_f32(v > hi ? hi : v);
    }
}

ALWAYS_INLINE void forward_floats(const batch_job *job, int64_t at, int64_t column, int64_t n, int adds, float *y) {
    const float *mean = batch_table(job, MEAN, column), *scale = batch_table(job, SCALE, column);
    const float *shift = batch_table(job, SHIFT, column);
    const float *x = (const float *)job->x + at, *z = adds ? (const float *)job->residual + at : x;
    const float lo = job->clamp.lo, hi = job->clamp.hi;
    CPU_INDEPENDENT
    for (int64_t k = 0; k < n; k++) {
        float v = (x[k] - mean[k]) * scale[k] + shift[k];
        if (adds) v += z[k];
        v = v < lo ? lo : v;
        y[k] = v > hi ? hi : v;
    }
}

/* The same in either type. */
static void forward_chunk(const batch_job *job, int64_t at, int64_t column, int64_t n) {
    float buffer[COLUMN_CHUNK];
    void *y = out_space(job, at, buffer);
    if (job->silu)
        batch_silu_forward(job, at, column, n, y);
    else if (job->bf16 && job->residual)
        forward_values(job, at, column, n, 1, y);
    else if (job->bf16)
        forward_values(job, at, column, n, 0, y);
    else if (job->residual)
        forward_floats(job, at, column, n, 1, y);
    else
        forward_floats(job, at, column, n, 0, y);
    out_store(job, at, n, y);
}

/* In f32: one row's gradient before the activation: grad where lo < y < hi, else 0. */
static const float *masked_gradient(const batch_job *job, const float *x, int64_t at, int64_t column, int64_t n,
                                    float *buffer) {
    const float *mean = batch_table(job, MEAN, column), *scale = batch_table(job, SCALE, column);
    const float *shift = batch_table(job, SHIFT, column);
    const float *g = (const float *)job->grad + at;
    const clamp limit = job->clamp;
    if (!job->clamps) {
        memcpy(buffer, g, (size_t)n * sizeof *buffer);
    } else if (job->y) {
        const float *y = (const float *)job->y + at;
        for (int64_t k = 0; k < n; k++) buffer[k] = y[k] > limit.lo && y[k] < limit.hi ? g[k] : 0;
    } else {
        for (int64_t k = 0; k < n; k++) {
            const float v = (x[k] - mean[k]) * scale[k] + shift[k];
            buffer[k] = v > limit.lo && v < limit.hi ? g[k] : 0;
        }
    }
    return buffer;
}

/* Where a gradient's mask comes from. */
enum { MASK_NONE, MASK_X, MASK_Y };

/* In bf16, x and the masked gradient of one row. `masks`: one of the above, a constant. */
ALWAYS_INLINE void gradient_values(const batch_job *job, int64_t at, int64_t column, int64_t n, int masks,
                                   float *restrict xs, float *restrict gs) {
    const float *mean = batch_table(job, MEAN, column), *scale = batch_table(job, SCALE, column);
    const float *shift = batch_table(job, SHIFT, column);
    const uint16_t *x = (const uint16_t *)job->x + at, *grad = (const uint16_t *)job->grad + at;
    const uint16_t *y = masks == MASK_Y ? (const uint16_t *)job->y + at : x;
    const float lo = job->clamp.lo, hi = job->clamp.hi;
    for (int64_t k = 0; k < n; k++) {
        const float xk = cvr_f32_of_bf16(x[k]), g = cvr_f32_of_bf16(grad[k]);
        const float v = masks == MASK_Y ? cvr_f32_of_bf16(y[k]) : (xk - mean[k]) * scale[k] + shift[k];
        const int kept = masks == MASK_NONE || ((v > lo) & (v < hi));
        xs[k] = xk;
        gs[k] = kept ? g : 0;
    }
}

static void gradient_low(const batch_job *job, int64_t at, int64_t column, int64_t n, columns_row *out) {
    if (!job->clamps)
        gradient_values(job, at, column, n, MASK_NONE, out->x_buffer, out->grad_buffer);
    else if (job->y)
        gradient_values(job, at, column, n, MASK_Y, out->x_buffer, out->grad_buffer);
    else
        gradient_values(job, at, column, n, MASK_X, out->x_buffer, out->grad_buffer);
    out->x = out->x_buffer;
    out->grad = out->grad_buffer;
    if (job->masked) cpu_row_store(job->masked, 1, at, n, out->grad_buffer);
}

/* The first pass over x and grad; leaves the masked gradient where the second will look for it. */
void batch_gradient_row(const void *ctx, int64_t at, int64_t column, int64_t n, columns_row *out) {
    const batch_job *job = ctx;
    if (job->silu) {
        batch_silu_gradient(job, at, column, n, out);
        return;
    }
    if (job->bf16) {
        gradient_low(job, at, column, n, out);
        return;
    }
    out->x = (const float *)job->x + at;
    out->grad = (const float *)job->grad + at;
    if (!job->clamps && !job->masked) return;
    out->grad = masked_gradient(job, out->x, at, column, n, out->grad_buffer);
    if (job->masked) memcpy((float *)job->masked + at, out->grad, (size_t)n * sizeof *out->grad);
}

/* dx = grad * grad_scale + (x - mean) * x_scale + offset, in bf16, where `grad` has been masked, or is to be. */
ALWAYS_INLINE void backward_values(const batch_job *job, const void *grad, int64_t at, int64_t column, int64_t n,
                                   int masks, uint16_t *dx) {
    const float *mean = batch_table(job, MEAN, column), *grad_scale = batch_table(job, GRAD_SCALE, column),
                *scale = batch_table(job, SCALE, column);
    const float *x_scale = batch_table(job, X_SCALE, column), *offset = batch_table(job, OFFSET, column);
    const float *shift = batch_table(job, SHIFT, column);
    const uint16_t *x = (const uint16_t *)job->x + at, *grads = (const uint16_t *)grad + at;
    const float lo = job->clamp.lo, hi = job->clamp.hi;
    CPU_INDEPENDENT
    for (int64_t k = 0; k < n; k++) {
        const float far = cvr_f32_of_bf16(x[k]) - mean[k], g = cvr_f32_of_bf16(grads[k]);
        const float v = far * scale[k] + shift[k];
        const int kept = masks == MASK_NONE || ((v > lo) & (v < hi));
        dx[k] = cvr_bf16_of_f32((kept ? g : 0) * grad_scale[k] + far * x_scale[k] + offset[k]);
    }
}

static void backward_floats(const batch_job *job, const void *grad, int64_t at, int64_t column, int64_t n, int masks,
                            float *dx) {
    float buffer[COLUMN_CHUNK];
    const float *mean = batch_table(job, MEAN, column), *grad_scale = batch_table(job, GRAD_SCALE, column);
    const float *x_scale = batch_table(job, X_SCALE, column), *offset = batch_table(job, OFFSET, column);
    const float *x = (const float *)job->x + at, *g = (const float *)grad + at;
    if (masks) g = masked_gradient(job, x, at, column, n, buffer);
    CPU_INDEPENDENT
    for (int64_t k = 0; k < n; k++) dx[k] = g[k] * grad_scale[k] + (x[k] - mean[k]) * x_scale[k] + offset[k];
}

/* The same in either type. */
static void backward_chunk(const batch_job *job, int64_t at, int64_t column, int64_t n) {
    const void *grad = job->masked ? job->masked : job->grad;
    const int masks = job->clamps && !job->masked;
    float buffer[COLUMN_CHUNK];
    void *dx = out_space(job, at, buffer);
    if (!job->bf16)
        backward_floats(job, grad, at, column, n, masks, dx);
    else if (masks)
        backward_values(job, grad, at, column, n, MASK_X, dx);
    else
        backward_values(job, grad, at, column, n, MASK_NONE, dx);
    out_store(job, at, n, dx);
}

void batch_forward_row(void *ctx, int64_t segment, int64_t at, int64_t n) {
    (void)segment;
    for (int64_t k = 0; k < n; k += COLUMN_CHUNK) forward_chunk(ctx, at + k, k, cpu_min(COLUMN_CHUNK, n - k));
}

void batch_backward_row(void *ctx, int64_t segment, int64_t at, int64_t n) {
    (void)segment;
    for (int64_t k = 0; k < n; k += COLUMN_CHUNK) backward_chunk(ctx, at + k, k, cpu_min(COLUMN_CHUNK, n - k));
}
