/*
 * What a convolution does to a few pixels of its results while they are in the first-level cache (conv_epilogue in
 * conv2d.h), and statistics for batch norm. Groups of pixels add up floats around a pivot, the mean of the group before
 * them (at first, of the first tile). Moments of groups, of tasks and of all are combined in double as Chan, Golub,
 * LeVeque, "Updating Formulae and a Pairwise Algorithm for Computing Sample Variances", 1979. A mean far from zero
 * costs no digits, nor does one that jumps: what a group far from its pivot loses, the jump itself adds to the
 * variance.
 */
#include "conv2d.h"
#include "cpu_vec.h"
#include "gemm_bf16.h"

#include <math.h>

#define WIDTH CONV_FINISH_WIDTH

void conv_finish_of(conv_finish *f, const conv_job *job, int64_t channel, int64_t n) {
    const conv_epilogue *e = job->epilogue;
    *f = (conv_finish){.job = job,
                       .n = n,
                       .changes = e->scale || e->shift || e->residual || e->clamp,
                       .lo = e->clamp ? e->lo : -INFINITY,
                       .hi = e->clamp ? e->hi : INFINITY};
    for (int64_t j = 0; j < n; j++) {
        const int64_t at = job->low ? words_place(j) : j;
        f->scale[at] = e->scale ? e->scale[channel + j] : 1;
        f->shift[at] = e->shift ? e->shift[channel + j] : 0;
    }
}

#if CPU_LOW
/* A panel's channels of a pixel are a line of bf16, and two vectors of f32. */
static inline void widen_line(float *to, const uint16_t *from) {
    const __m512i line = _mm512_loadu_si512(from);
    const __m512i first = _mm512_cvtepu16_epi32(_mm512_castsi512_si256(line));
    const __m512i second = _mm512_cvtepu16_epi32(_mm512_extracti64x4_epi64(line, 1));
    vec_store(to, _mm512_castsi512_ps(_mm512_slli_epi32(first, 16)));
    vec_store(to + VEC, _mm512_castsi512_ps(_mm512_slli_epi32(second, 16)));
}

static inline void round_line(void *to, const float *from, int64_t stream) {
    const __m512i line = (__m512i)_mm512_cvtne2ps_pbh(vec_load(from + VEC), vec_load(from));
    if (stream)
        _mm512_stream_si512(to, line);
    else
        _mm512_storeu_si512(to, line);
}
#endif

/* ---- y = clamp(scale * y + shift + residual, lo, hi) ---- */

/* The residual of the pixel at element `at`, in y's order. */
static inline const float *residual_of(const conv_finish *f, int64_t at, float *buffer) {
    const cpu_element *residual = f->job->epilogue->residual;
    if (f->job->low) {
        const words both = words_load((const uint16_t *)(const void *)residual + at);
        vec_store(buffer, words_even(both));
        vec_store(buffer + VEC, words_odd(both));
        return buffer;
    }
#if CPU_LOW
    if (f->n == WIDTH)
        widen_line(buffer, residual + at);
    else
        for (int64_t j = 0; j < f->n; j++) buffer[j] = cpu_float(residual[at + j]);
    return buffer;
#else
    if (f->n == WIDTH) return residual + at;
    memcpy(buffer, residual + at, (size_t)f->n * sizeof *buffer);
    return buffer;
#endif
}

static inline void finish_pixel(const conv_finish *f, float *y, int64_t at) {
    _Alignas(64) float buffer[WIDTH];
    const float *residual = f->job->epilogue->residual ? residual_of(f, at, buffer) : NULL;
    TILE_UNROLL
    for (int v = 0; v < WIDTH; v += VEC) {
        vec x = vec_fma(vec_load(y + v), vec_load(f->scale + v), vec_load(f->shift + v));
        if (residual) x = vec_add(x, vec_load(residual + v));
        vec_store(y + v, vec_clamp(x, vec_set1(&f->lo), vec_set1(&f->hi)));
    }
}

static inline void store_pixel(const conv_finish *f, int64_t at, const float *y, int64_t stream) {
    cpu_element *c = f->job->dst + at;
    if (f->job->low) {
        uint16_t *to = (uint16_t *)(void *)f->job->dst + at;
        const words both = words_join(vec_load(y), vec_load(y + VEC));
        if (stream)
            words_stream(to, both);
        else
            words_store(to, both);
        return;
    }
#if CPU_LOW
    if (f->n == WIDTH)
        round_line(c, y, stream);
    else
        cpu_high_copy(c, y, f->n);
#else
    for (int64_t v = 0; v < f->n; v += VEC) {
        if (f->n - v < VEC)
            vec_store_part(c + v, vec_load(y + v), vec_part_of(f->n - v));
        else if (stream)
            vec_stream(c + v, vec_load(y + v));
        else
            vec_store(c + v, vec_load(y + v));
    }
#endif
}

/* ---- statistics ---- */

#define GROUP_PIXELS 64 /* at least, of a group that is added up in floats */

void conv_sums_close(conv_sums *s) {
    double *all_mean = s->moments, *all_square = s->moments + s->step;
    if (s->group == 0) return;
    const double n = (double)s->group, part = n / (double)(s->seen + s->group), both = (double)s->seen * part;
    if (s->seen == 0)
        for (int64_t j = 0; j < WIDTH; j++) all_mean[j] = all_square[j] = 0;
    for (int64_t j = 0; j < WIDTH; j++) {
        const double off = (double)s->sum[j] / n, mean = (double)s->pivot[j] + off, far = mean - all_mean[j];
        all_mean[j] += far * part;
        all_square[j] += ((double)s->square[j] - off * off * n) + far * far * both;
        s->pivot[j] = (float)mean;
        s->sum[j] = s->square[j] = 0;
    }
    s->seen += s->group;
    s->group = 0;
}

/* The pivot of the first group. */
static void start_pivot(conv_sums *s, const float *y, int64_t m) {
    const float share = 1.0f / (float)m;
    for (int v = 0; v < WIDTH; v += VEC) {
        vec sum = vec_zero();
        for (int64_t i = 0; i < m; i++) sum = vec_add(sum, vec_load(y + i * WIDTH + v));
        vec_store(s->pivot + v, sum * vec_set1(&share));
    }
}

/* y (m, WIDTH) */
static void add_pixels(conv_sums *s, const float *y, int64_t m) {
    if (s->seen + s->group == 0) start_pivot(s, y, m);
    for (int v = 0; v < WIDTH; v += VEC) {
        const vec pivot = vec_load(s->pivot + v);
        vec sum = vec_load(s->sum + v), square = vec_load(s->square + v);
        for (int64_t i = 0; i < m; i++) {
            const vec far = vec_load(y + i * WIDTH + v) - pivot;
            sum = vec_add(sum, far);
            square = vec_fma(far, far, square);
        }
        vec_store(s->sum + v, sum);
        vec_store(s->square + v, square);
    }
    s->group += m;
    if (s->group >= GROUP_PIXELS) conv_sums_close(s);
}

void conv_finish_pixels(const conv_finish *f, const conv_pixels *p) {
    for (int64_t i = 0; i < p->m && f->changes; i++) finish_pixel(f, p->y + i * WIDTH, p->at + p->c_rows[i]);
    if (p->sums) add_pixels(p->sums, p->y, p->m);
    for (int64_t i = 0; i < p->m; i++) store_pixel(f, p->at + p->c_rows[i], p->y + i * WIDTH, p->stream);
}

/* What finishing a tile will touch; it comes while the tile is computed. */
static void prefetch_tile(const conv_finish *f, const cpu_tile *t) {
    const conv_job *job = f->job;
    cpu_element *c = t->c;
    const cpu_element *residual = job->epilogue->residual ? job->epilogue->residual + (c - job->dst) : NULL;
    for (int64_t i = 0; i < t->m; i++)
        for (int64_t j = 0; j < t->n; j += 64 / (int64_t)sizeof *c) {
            if (residual) __builtin_prefetch(residual + t->c_rows[i] + j);
            if (!t->stream) __builtin_prefetch(c + t->c_rows[i] + j, 1);
        }
}

void conv_finish_tile(const conv_finish *f, const cpu_tile *t, conv_sums *sums) {
    _Alignas(64) float y[CPU_TILE_ROWS_MAX * WIDTH]; /* vectors that cross lines would cost more than all the rest */
    int64_t rows[CPU_TILE_ROWS_MAX];
    cpu_tile wide = *t;
    prefetch_tile(f, t);
    for (int64_t i = 0; i < t->m; i++) rows[i] = i * WIDTH;
#if !CPU_LOW
    for (int64_t i = 0; t->add && i < t->m; i++)
        memcpy(y + rows[i], (float *)t->c + t->c_rows[i], (size_t)t->n * sizeof *y);
#endif
    wide.c = y;
    wide.c_rows = rows;
    wide.c_float = 1;
    wide.stream = 0;
    cpu_micro.by_row(&wide);
    const int64_t at = (cpu_element *)t->c - f->job->dst;
    conv_finish_pixels(f, &(conv_pixels){y, at, t->c_rows, t->m, t->stream, sums});
}

void conv_join_moments(const conv_job *job, const double *moments, int64_t pixels, int64_t seen) {
    const conv_epilogue *e = job->epilogue;
    const conv_shape *s = &job->shape;
    const int64_t panels = cpu_ceil_div(s->dst_c, WIDTH), step = conv_moments_step(job);
    const double part = (double)pixels / (double)(seen + pixels), both = (double)seen * part;
    for (int64_t c = 0; c < s->groups * s->dst_c; c++) {
        const int64_t k = c % s->dst_c, place = job->low ? words_place(k % WIDTH) : k % WIDTH;
        const double *m = moments + (c / s->dst_c * panels + k / WIDTH) * WIDTH + place;
        if (seen == 0) e->mean[c] = e->var[c] = 0;
        const double far = m[0] - e->mean[c];
        e->mean[c] += far * part;
        e->var[c] += m[step] + far * far * both;
    }
}

void conv_end_moments(const conv_job *job, int64_t seen) {
    for (int64_t c = 0; c < job->shape.groups * job->shape.dst_c; c++) job->epilogue->var[c] /= (double)seen;
}
