/* Depthwise convolution: no matrices, a loop over channels, which NHWC keeps together. */
#include "conv2d.h"

#define CHANNELS 64 /* accumulated at once, in registers */

/* The source pixel (y, x) of image n, or NULL outside of it. */
static inline const float *source_pixel(const conv_job *job, int64_t n, int64_t y, int64_t x) {
    if (y < 0 || y >= job->src_size[0] || x < 0 || x >= job->src_size[1]) return NULL;
    return job->src + ((n * job->src_size[0] + y) * job->src_size[1] + x) * job->groups;
}

/* sum[c] += a[c] * b[c] for `n` <= CHANNELS channels. */
static inline void multiply_add(float *restrict sum, const float *restrict a, const float *restrict b, int64_t n) {
    if (n == CHANNELS)
        for (int c = 0; c < CHANNELS; c++) sum[c] += a[c] * b[c];
    else
        for (int64_t c = 0; c < n; c++) sum[c] += a[c] * b[c];
}

void conv_depthwise_tile(const conv_job *job, const conv_axis *h, const conv_axis *w, const float *weight,
                         int64_t first, int64_t end) {
    for (int64_t t = first; t < end; t++) {
        const int64_t j = t % w->grid, i = t / w->grid % h->grid, n = t / w->grid / h->grid;
        const int64_t y = h->dst_off + i * h->dst_step, x = w->dst_off + j * w->dst_step;
        float *out = job->dst + ((n * job->dst_size[0] + y) * job->dst_size[1] + x) * job->groups;
        for (int64_t c0 = 0; c0 < job->groups; c0 += CHANNELS) {
            const int64_t width = cpu_min(CHANNELS, job->groups - c0);
            float sum[CHANNELS] = {0};
            if (job->bias) memcpy(sum, job->bias + c0, (size_t)width * sizeof(float));
            for (int64_t a = 0; a < h->taps; a++)
                for (int64_t b = 0; b < w->taps; b++) {
                    const float *p = source_pixel(job, n, i * h->src_step + h->base + a * h->inc,
                                                  j * w->src_step + w->base + b * w->inc);
                    if (p) multiply_add(sum, p + c0, weight + (a * w->taps + b) * job->groups + c0, width);
                }
            memcpy(out + c0, sum, (size_t)width * sizeof(float));
        }
    }
}

/* One grid row's share of one tap: sum[c] += x * grad over the columns [j0, j1) whose source column is inside. */
static void tap_row(const conv_job *job, const conv_axis *w, const float *row, const float *grad, int64_t b,
                    const int64_t j0_j1[2], int64_t width, float *restrict sum) {
    for (int64_t j = j0_j1[0]; j < j0_j1[1]; j++) {
        const int64_t x = j * w->src_step + w->base + b * w->inc;
        if (x < 0 || x >= job->src_size[1]) continue;
        multiply_add(sum, row + x * job->groups, grad + (j - j0_j1[0]) * job->groups, width);
    }
}

/* Adds the part of one grid row that lies in a chunk; `t` is its first pixel. */
static void weight_row(const conv_job *job, const conv_axis *h, const conv_axis *w, const float *grad, int64_t t,
                       int64_t pixels, float *partial) {
    const int64_t j = t % w->grid, i = t / w->grid % h->grid, n = t / w->grid / h->grid;
    for (int64_t c0 = 0; c0 < job->groups; c0 += CHANNELS) {
        const int64_t width = cpu_min(CHANNELS, job->groups - c0);
        for (int64_t a = 0; a < h->taps; a++) {
            const float *row = source_pixel(job, n, i * h->src_step + h->base + a * h->inc, 0);
            if (!row) continue;
            for (int64_t b = 0; b < w->taps; b++) {
                float *to = partial + (a * w->taps + b) * job->groups + c0;
                float sum[CHANNELS] = {0};
                tap_row(job, w, row + c0, grad + t * job->groups + c0, b, (const int64_t[]){j, j + pixels}, width, sum);
                for (int64_t c = 0; c < width; c++) to[c] += sum[c];
            }
        }
    }
}

void conv_depthwise_weight_tile(const conv_job *job, const conv_axis *h, const conv_axis *w, const float *grad,
                                int64_t first, int64_t end, float *partial) {
    for (int64_t t = first; t < end;) {
        const int64_t pixels = cpu_min(w->grid - t % w->grid, end - t);
        weight_row(job, h, w, grad, t, pixels, partial);
        t += pixels;
    }
}
