/*
 * What a convolution does to a few pixels of its results while they are in the first-level cache (conv_epilogue in
 * conv2d.h), and statistics for batch norm. Moments of tiles, of tasks and of all are combined as Chan, Golub, LeVeque,
 * "Updating Formulae and a Pairwise Algorithm for Computing Sample Variances", 1979, so that a mean far from zero costs
 * no digits.
 */
#include "conv2d.h"
#include "cpu_vec.h"
#include "gemm_bf16.h"

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

/* ---- y = clamp(scale * y + shift + residual, lo, hi) ---- */

/* A pixel's residual, in y's order; NULL: none. */
static const float *residual_of(const conv_finish *f, const void *c, float *buffer) {
    const conv_job *job = f->job;
    if (!job->epilogue->residual) return NULL;
    const size_t element = job->low ? sizeof(uint16_t) : sizeof(cpu_element);
    const int64_t at = (int64_t)((size_t)((const char *)c - (const char *)job->dst) / element);
    if (job->low) {
        const words both = words_load((const uint16_t *)(const void *)job->epilogue->residual + at);
        vec_store(buffer, words_even(both));
        vec_store(buffer + VEC, words_odd(both));
        return buffer;
    }
    const cpu_element *residual = job->epilogue->residual + at;
#if CPU_LOW
    for (int64_t j = 0; j < f->n; j++) buffer[j] = cpu_float(residual[j]);
    return buffer;
#else
    if (f->n == WIDTH) return residual;
    memcpy(buffer, residual, (size_t)f->n * sizeof *buffer);
    return buffer;
#endif
}

static void finish_pixel(const conv_finish *f, float *y, const void *c) {
    float buffer[WIDTH] = {0};
    const float *residual = residual_of(f, c, buffer);
    TILE_UNROLL
    for (int v = 0; v < WIDTH; v += VEC) {
        vec x = vec_fma(vec_load(y + v), vec_load(f->scale + v), vec_load(f->shift + v));
        if (residual) x = vec_add(x, vec_load(residual + v));
        vec_store(y + v, vec_clamp(x, f->lo, f->hi));
    }
}

static void store_pixel(const conv_finish *f, void *c, const float *y, int64_t stream) {
    if (f->job->low) {
        const words both = words_join(vec_load(y), vec_load(y + VEC));
        if (stream)
            words_stream(c, both);
        else
            words_store(c, both);
        return;
    }
#if CPU_LOW
    (void)stream;
    cpu_high_copy(c, y, f->n);
#else
    for (int64_t v = 0; v < f->n; v += VEC) {
        if (f->n - v < VEC)
            vec_store_part((float *)c + v, vec_load(y + v), vec_part_of(f->n - v));
        else if (stream)
            vec_stream((float *)c + v, vec_load(y + v));
        else
            vec_store((float *)c + v, vec_load(y + v));
    }
#endif
}

/* ---- statistics ---- */

/* Mean, and sum of the squares of the distances from it, of each column of y (m, WIDTH). */
static void pixel_moments(const float *y, int64_t m, float *mean, float *square) {
    const float share = 1.0f / (float)m;
    for (int v = 0; v < WIDTH; v += VEC) {
        vec sum = vec_zero(), squares = vec_zero();
        for (int64_t i = 0; i < m; i++) sum = vec_add(sum, vec_load(y + i * WIDTH + v));
        const vec middle = sum * vec_set1(&share);
        for (int64_t i = 0; i < m; i++) {
            const vec far = vec_load(y + i * WIDTH + v) - middle;
            squares = vec_fma(far, far, squares);
        }
        vec_store(mean + v, middle);
        vec_store(square + v, squares);
    }
}

/* `moments` (2, step): mean and sum of squares of `before` pixels, then of m more. */
static void add_moments(const float *y, int64_t m, int64_t before, double *moments, int64_t step) {
    float mean[WIDTH], square[WIDTH];
    double *all_mean = moments, *all_square = moments + step;
    const double part = (double)m / (double)(before + m), both = (double)before * part;
    pixel_moments(y, m, mean, square);
    if (before == 0)
        for (int64_t j = 0; j < WIDTH; j++) all_mean[j] = all_square[j] = 0;
    for (int64_t j = 0; j < WIDTH; j++) {
        const double far = (double)mean[j] - all_mean[j];
        all_mean[j] += far * part;
        all_square[j] += (double)square[j] + far * far * both;
    }
}

void conv_finish_pixels(const conv_finish *f, const conv_pixels *p) {
    char *c = p->c;
    const int64_t element = f->job->low ? (int64_t)sizeof(uint16_t) : (int64_t)sizeof(cpu_element);
    for (int64_t i = 0; i < p->m && f->changes; i++) finish_pixel(f, p->y + i * WIDTH, c + p->c_rows[i] * element);
    if (p->moments) add_moments(p->y, p->m, p->before, p->moments, conv_moments_step(f->job));
    for (int64_t i = 0; i < p->m; i++) store_pixel(f, c + p->c_rows[i] * element, p->y + i * WIDTH, p->stream);
}

void conv_finish_tile(const conv_finish *f, const cpu_tile *t, int64_t before, double *moments) {
    float y[CPU_TILE_ROWS_MAX * WIDTH];
    int64_t rows[CPU_TILE_ROWS_MAX];
    cpu_tile wide = *t;
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
    conv_finish_pixels(f, &(conv_pixels){y, t->c, t->c_rows, t->m, t->stream, before, moments});
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
