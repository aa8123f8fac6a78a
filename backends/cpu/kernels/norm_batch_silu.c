/*
 * Batch normalisation with silu (see norm_batch.c): y = v * s, v = (x - mean) * scale + shift, s = 1 / (1 + exp(-v)).
 * Nothing of it is kept: the gradient before silu, g = grad * s * (1 + v * (1 - s)), makes v and s anew from x. It is
 * stored: made once more by the pass after the sums, it took longer than it takes to be read. All numbers are those of
 * activation_unary.c, in the same order: in f32 fusing changes no bit of y and of g.
 */
#include "cpu_math.h"
#include "norm_batch.h"

/* Element k, as a float. `bf16`: a constant. */
ALWAYS_INLINE float value_at(const void *data, int bf16, int64_t k) {
    return bf16 ? cvr_f32_of_bf16(((const uint16_t *)data)[k]) : ((const float *)data)[k];
}

ALWAYS_INLINE void put(void *data, int bf16, int64_t k, float value) {
    if (bf16)
        ((uint16_t *)data)[k] = cvr_bf16_of_f32(value);
    else
        ((float *)data)[k] = value;
}

ALWAYS_INLINE const void *from(const void *data, int bf16, int64_t at) {
    return bf16 ? (const void *)((const uint16_t *)data + at) : (const void *)((const float *)data + at);
}

/* grad * silu'(v) */
ALWAYS_INLINE float slope(float grad, float v) {
    const float s = cpu_sigmoid(v);
    return grad * s * (1 + v * (1 - s));
}

ALWAYS_INLINE void forward(const batch_job *job, int bf16, int64_t at, int64_t column, int64_t n, void *y) {
    const float *mean = batch_table(job, MEAN, column), *scale = batch_table(job, SCALE, column);
    const float *shift = batch_table(job, SHIFT, column);
    const void *x = from(job->x, bf16, at);
    CPU_INDEPENDENT
    for (int64_t k = 0; k < n; k++) {
        const float v = (value_at(x, bf16, k) - mean[k]) * scale[k] + shift[k];
        put(y, bf16, k, v * cpu_sigmoid(v));
    }
}

void batch_silu_forward(const batch_job *job, int64_t at, int64_t column, int64_t n, void *y) {
    if (job->bf16)
        forward(job, 1, at, column, n, y);
    else
        forward(job, 0, at, column, n, y);
}

ALWAYS_INLINE void gradient(const batch_job *job, int bf16, int64_t at, int64_t column, int64_t n, float *restrict xs,
                            float *restrict gs) {
    const float *mean = batch_table(job, MEAN, column), *scale = batch_table(job, SCALE, column);
    const float *shift = batch_table(job, SHIFT, column);
    const void *x = from(job->x, bf16, at), *grad = from(job->grad, bf16, at);
    for (int64_t k = 0; k < n; k++) {
        const float xk = value_at(x, bf16, k);
        xs[k] = xk;
        gs[k] = slope(value_at(grad, bf16, k), (xk - mean[k]) * scale[k] + shift[k]);
    }
}

void batch_silu_gradient(const batch_job *job, int64_t at, int64_t column, int64_t n, columns_row *out) {
    if (job->bf16)
        gradient(job, 1, at, column, n, out->x_buffer, out->grad_buffer);
    else
        gradient(job, 0, at, column, n, out->x_buffer, out->grad_buffer);
    out->x = out->x_buffer;
    out->grad = out->grad_buffer;
    if (job->bf16)
        cpu_row_store(job->masked, 1, at, n, out->grad_buffer);
    else
        memcpy((float *)job->masked + at, out->grad_buffer, (size_t)n * sizeof(float));
}
