/*
 * What a convolution does to a few pixels of its results while they are in the first-level cache (conv_epilogue in
 * conv2d.h), and statistics for batch norm. Groups of pixels add up floats around a pivot, the mean of the group before
 * them (at first, of the first tile). Moments of groups, of tasks and of all are combined in double as Chan, Golub,
 * LeVeque, "Updating Formulae and a Pairwise Algorithm for Computing Sample Variances", 1979. A mean far from zero
 * costs no digits, nor does one that jumps: what a group far from its pivot loses, the jump itself adds to the
 * variance. Sums for a batch norm's gradient are of floats within a group, and of doubles beyond it.
 */
#include "conv2d.h"
#include "cpu_vec.h"
#include "gemm_bf16.h"

#include <math.h>

#define WIDTH CONV_EPILOGUE_WIDTH

void conv_epilogue_panel_of(conv_epilogue_panel *f, const conv_job *job, int64_t channel, int64_t n) {
    const conv_epilogue *e = job->epilogue;
    *f = (conv_epilogue_panel){.job = job,
                               .n = n,
                               .changes = !e->norm && (e->scale || e->shift || e->residual || e->clamp),
                               .lo = e->clamp ? e->lo : -INFINITY,
                               .hi = e->clamp ? e->hi : INFINITY};
    const float *scale = e->norm ? e->norm->scale : e->scale, *shift = e->norm ? e->norm->shift : e->shift;
    for (int64_t j = 0; j < n; j++) {
        const int64_t at = job->bf16 ? bf16v_place(j) : j;
        f->scale[at] = scale ? scale[channel + j] : 1;
        f->shift[at] = shift ? shift[channel + j] : 0;
        f->mean[at] = e->norm ? e->norm->mean[channel + j] : 0;
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

/* The pixel at element `at` of another tensor like the results, in y's order. */
static inline const float *pixel_of(const conv_epilogue_panel *f, const cpu_element *tensor, int64_t at,
                                    float *buffer) {
    if (f->job->bf16) {
        const bf16v both = bf16v_load((const uint16_t *)(const void *)tensor + at);
        vec_store(buffer, bf16v_even(both));
        vec_store(buffer + VEC, bf16v_odd(both));
        return buffer;
    }
#if CPU_LOW
    if (f->n == WIDTH)
        widen_line(buffer, tensor + at);
    else
        for (int64_t j = 0; j < f->n; j++) buffer[j] = cpu_float(tensor[at + j]);
    return buffer;
#else
    if (f->n == WIDTH) return tensor + at;
    memcpy(buffer, tensor + at, (size_t)f->n * sizeof *buffer);
    return buffer;
#endif
}

static inline void epilogue_pixel(const conv_epilogue_panel *f, float *y, int64_t at) {
    _Alignas(64) float buffer[WIDTH];
    const float *residual = f->job->epilogue->residual ? pixel_of(f, f->job->epilogue->residual, at, buffer) : NULL;
    TILE_UNROLL
    for (int v = 0; v < WIDTH; v += VEC) {
        vec x = vec_fma(vec_load(y + v), vec_load(f->scale + v), vec_load(f->shift + v));
        if (residual) x = vec_add(x, vec_load(residual + v));
        vec_store(y + v, vec_clamp(x, vec_set1(&f->lo), vec_set1(&f->hi)));
    }
}

static inline void store_pixel(const conv_epilogue_panel *f, int64_t at, const float *y, int64_t stream) {
    cpu_element *c = f->job->dst + at;
    if (f->job->bf16) {
        uint16_t *to = (uint16_t *)(void *)f->job->dst + at;
        const bf16v both = bf16v_join(vec_load(y), vec_load(y + VEC));
        if (stream)
            bf16v_stream(to, both);
        else
            bf16v_store(to, both);
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

conv_sums conv_sums_of(const conv_job *job, double *moments) {
    return (conv_sums){.moments = moments, .step = conv_moments_step(job), .plain = job->epilogue->norm != NULL};
}

static void close_plain(conv_sums *s) {
    for (int64_t j = 0; j < WIDTH; j++) {
        s->moments[j] = (s->seen ? s->moments[j] : 0) + (double)s->sum[j];
        s->moments[s->step + j] = (s->seen ? s->moments[s->step + j] : 0) + (double)s->square[j];
        s->sum[j] = s->square[j] = 0;
    }
}

static void close_moments(conv_sums *s) {
    double *all_mean = s->moments, *all_square = s->moments + s->step;
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
}

void conv_sums_close(conv_sums *s) {
    if (s->group == 0) return;
    (s->plain ? close_plain : close_moments)(s);
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

/* Residual, mask and sums of a conv_norm. */
static void norm_pixels(const conv_epilogue_panel *f, const conv_pixels *p) {
    const conv_epilogue *e = f->job->epilogue;
    const conv_norm *norm = e->norm;
    _Alignas(64) float x_buffer[WIDTH] = {0}, y_buffer[WIDTH] = {0}, z_buffer[WIDTH] = {0};
    const vec lo = vec_set1(&norm->lo), hi = vec_set1(&norm->hi);
    vec sum[2], product[2];
    for (int v = 0; v < 2; v++) {
        sum[v] = vec_load(p->sums->sum + v * VEC);
        product[v] = vec_load(p->sums->square + v * VEC);
    }
    for (int64_t i = 0; i < p->m; i++) {
        const int64_t at = p->at + p->c_rows[i];
        const float *x = pixel_of(f, norm->x, at, x_buffer);
        const float *y = norm->y ? pixel_of(f, norm->y, at, y_buffer) : NULL;
        const float *z = e->residual ? pixel_of(f, e->residual, at, z_buffer) : NULL;
        TILE_UNROLL
        for (int v = 0; v < 2; v++) {
            vec g = vec_load(p->y + i * WIDTH + v * VEC);
            const vec far = vec_load(x + v * VEC) - vec_load(f->mean + v * VEC);
            if (z) g = vec_add(g, vec_load(z + v * VEC));
            if (norm->clamps) {
                const vec made = vec_fma(far, vec_load(f->scale + v * VEC), vec_load(f->shift + v * VEC));
                g = vec_between(y ? vec_load(y + v * VEC) : made, lo, hi, g);
            }
            vec_store(p->y + i * WIDTH + v * VEC, g);
            sum[v] = vec_add(sum[v], g);
            product[v] = vec_fma(g, far, product[v]);
        }
    }
    for (int v = 0; v < 2; v++) {
        vec_store(p->sums->sum + v * VEC, sum[v]);
        vec_store(p->sums->square + v * VEC, product[v]);
    }
    p->sums->group += p->m;
    if (p->sums->group >= GROUP_PIXELS) conv_sums_close(p->sums);
}

void conv_epilogue_pixels(const conv_epilogue_panel *f, const conv_pixels *p) {
    for (int64_t i = 0; i < p->m && f->changes; i++) epilogue_pixel(f, p->y + i * WIDTH, p->at + p->c_rows[i]);
    if (p->sums) (p->sums->plain ? norm_pixels(f, p) : add_pixels(p->sums, p->y, p->m));
    for (int64_t i = 0; i < p->m; i++) store_pixel(f, p->at + p->c_rows[i], p->y + i * WIDTH, p->stream);
}

int64_t conv_epilogue_lines(const conv_epilogue_panel *f, int64_t at, const int64_t *c_rows, int64_t m,
                            const void **lines) {
    const conv_epilogue *e = f->job->epilogue;
    const int64_t element = f->job->bf16 ? (int64_t)sizeof(uint16_t) : (int64_t)sizeof(cpu_element);
    const void *const tensors[] = {e->residual, e->norm ? e->norm->x : NULL, e->norm ? e->norm->y : NULL};
    int64_t n = 0;
    for (size_t t = 0; t < sizeof tensors / sizeof *tensors; t++)
        for (int64_t i = 0; tensors[t] && i < m; i++)
            for (int64_t byte = 0; byte < f->n * element; byte += 64)
                lines[n++] = (const char *)tensors[t] + (at + c_rows[i]) * element + byte;
    return n;
}

int64_t conv_epilogue_ahead(const conv_epilogue_panel *f, const cpu_tile *t, const void **lines) {
    const int64_t at = (cpu_element *)t->c - f->job->dst;
    if (t->m < 2) return 0;
    const int64_t next = at - t->c_rows[0] + 2 * t->c_rows[t->m - 1] - t->c_rows[t->m - 2];
    return conv_epilogue_lines(f, next, t->c_rows, t->m, lines);
}

/* Where no sums are wanted the tile applies the epilogue itself, in registers; tiles of bf16 products cannot. */
static void finished_tile(const conv_epilogue_panel *f, cpu_tile *t) {
    const conv_epilogue *e = f->job->epilogue;
    const int64_t at = (cpu_element *)t->c - f->job->dst;
    const cpu_tile_finish finish = {f->scale, f->shift,
                                    e->residual ? (const float *)(const void *)e->residual + at : NULL, f->lo, f->hi};
    t->finish = &finish;
    cpu_micro.by_row(t);
}

void conv_epilogue_tile(const conv_epilogue_panel *f, const cpu_tile *t, conv_sums *sums) {
    _Alignas(64) float y[CPU_TILE_ROWS_MAX * WIDTH]; /* vectors that cross lines would cost more than all the rest */
    int64_t rows[CPU_TILE_ROWS_MAX];
    cpu_tile wide = *t;
    if (!CPU_BF16 && !sums && f->changes) {
        finished_tile(f, &wide);
        return;
    }
    for (int64_t i = 0; i < t->m && !t->stream; i++)
        for (int64_t j = 0; j < t->n; j += 64 / (int64_t)sizeof(cpu_element))
            __builtin_prefetch((cpu_element *)t->c + t->c_rows[i] + j, 1);
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
    conv_epilogue_pixels(f, &(conv_pixels){y, at, t->c_rows, t->m, t->stream, sums});
}

void conv_join_moments(const conv_job *job, const double *moments, int64_t pixels, int64_t seen) {
    const conv_epilogue *e = job->epilogue;
    const conv_shape *s = &job->shape;
    const int64_t panels = cpu_ceil_div(s->dst_c, WIDTH), step = conv_moments_step(job);
    const double part = (double)pixels / (double)(seen + pixels), both = (double)seen * part;
    for (int64_t c = 0; c < s->groups * s->dst_c; c++) {
        const int64_t k = c % s->dst_c, place = job->bf16 ? bf16v_place(k % WIDTH) : k % WIDTH;
        const double *m = moments + (c / s->dst_c * panels + k / WIDTH) * WIDTH + place;
        if (e->norm) {
            e->norm->sum[c] = (seen ? e->norm->sum[c] : 0) + m[0];
            e->norm->product[c] = (seen ? e->norm->product[c] : 0) + m[step];
            continue;
        }
        if (seen == 0) e->mean[c] = e->var[c] = 0;
        const double far = m[0] - e->mean[c];
        e->mean[c] += far * part;
        e->var[c] += m[step] + far * far * both;
    }
}

void conv_end_moments(const conv_job *job, int64_t seen) {
    for (int64_t c = 0; !job->epilogue->norm && c < job->shape.groups * job->shape.dst_c; c++)
        job->epilogue->var[c] /= (double)seen;
}
