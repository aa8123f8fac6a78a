/*
 * What a convolution does to a tile of its results while it is in the first-level cache (conv_epilogue in conv2d.h),
 * and statistics for batch norm. Moments of tiles, of tasks and of all are combined as Chan, Golub, LeVeque, "Updating
 * Formulae and a Pairwise Algorithm for Computing Sample Variances", 1979, so that a mean far from zero costs no
 * digits.
 */
#include "conv2d.h"
#include "cpu_vec.h"
#include "gemm_bf16.h"

/* y = clamp(scale * y + shift + residual, lo, hi) for one row of a tile. */
static void finish_row(const conv_epilogue *e, float *restrict y, const cpu_element *residual, int64_t channel,
                       int64_t n) {
    if (e->scale)
        for (int64_t j = 0; j < n; j++) y[j] *= e->scale[channel + j];
    if (e->shift)
        for (int64_t j = 0; j < n; j++) y[j] += e->shift[channel + j];
    if (residual)
        for (int64_t j = 0; j < n; j++) y[j] += cpu_float(residual[j]);
    if (e->clamp)
        for (int64_t j = 0; j < n; j++) {
            /* Written so that a NaN stays one. */
            const float low = y[j] < e->lo ? e->lo : y[j];
            y[j] = low > e->hi ? e->hi : low;
        }
}

#if !CPU_LOW
void conv_finish_row(const conv_job *job, float *y, int64_t channel, int64_t n) {
    const conv_epilogue *e = job->epilogue;
    finish_row(e, y, e->residual ? e->residual + (y - job->dst) : NULL, channel, n);
}

void conv_finish_low_row(const conv_job *job, uint16_t *to, float *y, int64_t channel, int64_t n) {
    const conv_epilogue *e = job->epilogue;
    const int64_t at = to - (const uint16_t *)(const void *)job->dst;
    float residual[CPU_TILE_COLUMNS_MAX] = {0};
    for (int64_t j = 0; e->residual && j < n; j++)
        residual[j] = cvr_f32_of_bf16(((const uint16_t *)(const void *)e->residual)[at + j]);
    finish_row(e, y, e->residual ? residual : NULL, channel, n);
    for (int64_t j = 0; j < n; j++) to[j] = cvr_bf16_of_f32(y[j]);
}

/* A rounded mean, the sum of the differences from it, and that of their squares, of the columns of a tile. */
static void tile_moments(const cpu_tile *t, float *restrict mean, float *restrict rest, float *restrict square) {
    const float *c = t->c;
    for (int64_t j = 0; j < t->n; j++) mean[j] = rest[j] = square[j] = 0;
    for (int64_t i = 0; i < t->m; i++)
        for (int64_t j = 0; j < t->n; j++) mean[j] += c[t->c_rows[i] + j];
    for (int64_t j = 0; j < t->n; j++) mean[j] *= 1.0f / (float)t->m;
    for (int64_t i = 0; i < t->m; i++)
        for (int64_t j = 0; j < t->n; j++) {
            const float d = c[t->c_rows[i] + j] - mean[j];
            rest[j] += d;
            square[j] += d * d;
        }
}

/* A tile that is only clamped: its rows are too short for loops that look at each part of an epilogue. */
static void clamp_tile(const conv_epilogue *e, const cpu_tile *t) {
    const vec lo = vec_set1(&e->lo), hi = vec_set1(&e->hi);
    const int64_t whole = t->n / VEC * VEC;
    const vec_part part = vec_part_of(t->n - whole);
    for (int64_t i = 0; i < t->m; i++) {
        float *y = (float *)t->c + t->c_rows[i];
        for (int64_t j = 0; j < whole; j += VEC) vec_store(y + j, vec_clamp(vec_load(y + j), lo, hi));
        if (whole < t->n) vec_store_part(y + whole, vec_clamp(vec_load_part(y + whole, part), lo, hi), part);
    }
}

void conv_finish_tile(const conv_job *job, const cpu_tile *t, int64_t channel, int64_t before, double *moments) {
    const conv_epilogue *e = job->epilogue;
    const int64_t channels = job->shape.groups * job->shape.dst_c;
    float *c = t->c;
    const float *residual = e->residual ? e->residual + (c - job->dst) : NULL;
    if (conv_only_clamps(job))
        clamp_tile(e, t);
    else if (e->scale || e->shift || residual || e->clamp)
        for (int64_t i = 0; i < t->m; i++)
            finish_row(e, c + t->c_rows[i], residual ? residual + t->c_rows[i] : NULL, channel, t->n);
    if (!e->mean) return;
    float mean[CPU_TILE_COLUMNS_MAX], rest[CPU_TILE_COLUMNS_MAX], square[CPU_TILE_COLUMNS_MAX];
    tile_moments(t, mean, rest, square);
    const double m = (double)t->m, part = m / ((double)before + m), both = (double)before * part;
    double *all_mean = moments + channel, *all_square = moments + channels + channel;
    for (int64_t j = 0; j < t->n; j++) {
        const double drift = (double)rest[j] / m, mine = (double)mean[j] + drift;
        const double far = before ? mine - all_mean[j] : 0;
        all_mean[j] = before ? all_mean[j] + far * part : mine;
        all_square[j] = (before ? all_square[j] : 0) + ((double)square[j] - drift * drift * m) + far * far * both;
    }
}
#else
void conv_finish_low(const conv_job *job, const cpu_tile *t, int64_t channel) {
    const conv_epilogue *e = job->epilogue;
    uint16_t *c = t->c;
    const uint16_t *residual = e->residual ? e->residual + (c - job->dst) : NULL;
    float y[CPU_TILE_ROWS_MAX * CPU_TILE_COLUMNS_MAX];
    int64_t rows[CPU_TILE_ROWS_MAX];
    cpu_tile wide = *t;
    for (int64_t i = 0; i < t->m; i++) rows[i] = i * CPU_TILE_COLUMNS_MAX;
    wide.c = y;
    wide.c_rows = rows;
    wide.c_float = 1;
    cpu_micro.by_row(&wide);
    for (int64_t i = 0; i < t->m; i++) {
        finish_row(e, y + rows[i], residual ? residual + t->c_rows[i] : NULL, channel, t->n);
        cpu_high_copy(c + t->c_rows[i], y + rows[i], t->n);
    }
}
#endif

/* Slots in their order: each has `pixels` of its own. */
void conv_combine_moments(const conv_job *job) {
    const conv_epilogue *e = job->epilogue;
    const int64_t channels = job->shape.groups * job->shape.dst_c;
    double seen = 0;
    for (int64_t slot = 0; slot < conv_slots(job); slot++) {
        const double pixels = (double)conv_slot_pixels(job, slot), part = pixels / (seen + pixels);
        const double *mean = job->moments + slot * 2 * channels, *square = mean + channels;
        if (pixels == 0) continue;
        for (int64_t c = 0; c < channels; c++) {
            const double far = seen > 0 ? mean[c] - e->mean[c] : 0;
            e->mean[c] = seen > 0 ? e->mean[c] + far * part : mean[c];
            e->var[c] = (seen > 0 ? e->var[c] : 0) + square[c] + far * far * seen * part;
        }
        seen += pixels;
    }
    for (int64_t c = 0; c < channels; c++) e->var[c] /= seen;
}
