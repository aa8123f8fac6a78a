/*
 * Depthwise convolution, forward and backward-input: no matrices, vectors of channels, which NHWC keeps together.
 * Several pixels of a row at once share each tap's weights; pixels near an edge go one by one, with the taps that are
 * inside. bf16 is widened in registers, in pairs of vectors (conv2d_depthwise.h), and rounded once. Batch norm and
 * activation, where the op has them, are done before the results leave the registers.
 */
#include "conv2d_depthwise.h"

#include <math.h>

#define MOST 8                      /* pixels * vectors of a tile: accumulators in registers */
#define MOST_LOW (VEC > 8 ? 16 : 8) /* the same, where every second one shares its load */
#define TASK_FLOATS 16384           /* of the destination, about */

#define ALWAYS_INLINE static inline __attribute__((always_inline))

/* A grid row of a phase. */
typedef struct depthwise_row {
    const conv_job *job;
    const float *weight;               /* (h.taps, w.taps, places) */
    const float *bias, *scale, *shift; /* (places) */
    int64_t places;                    /* floats of a tap's weights */
    int64_t src, dst;                  /* elements before the image, and before the row's first pixel of this phase */
    int64_t y;                         /* source row of tap 0 */
    conv_axis h, w;
} depthwise_row;

/* What is constant where a tile is inlined. */
typedef struct depthwise_tile_kind {
    int pixels, vectors; /* of channels; in bf16 pairs of vectors */
    int whole;           /* all vectors are full; else there is one */
    int edge;            /* taps may lie outside of the row */
} depthwise_tile_kind;

ALWAYS_INLINE vec load(const float *p, depthwise_tile_kind kind, vec_part part) {
    return kind.whole ? vec_load(p) : vec_load_part(p, part);
}

/* y = clamp(scale * y + shift), where there is an epilogue: n vectors, of n pixels and the same channels. */
ALWAYS_INLINE void finish(const depthwise_row *r, vec *y, int n, vec scale, vec shift) {
    const conv_epilogue *e = r->job->epilogue;
    if (!e) return;
    const float lowest = -INFINITY, highest = INFINITY;
    const vec lo = vec_set1(e->clamp ? &e->lo : &lowest), hi = vec_set1(e->clamp ? &e->hi : &highest);
    for (int i = 0; i < n; i++) y[i] = vec_clamp(vec_fma(y[i], scale, shift), lo, hi);
}

/* dst = bias + sum over taps, at kind.pixels pixels from grid column j on, and up to kind.vectors * VEC channels from c
 * on. */
ALWAYS_INLINE void tile(const depthwise_row *r, int64_t j, int64_t c, depthwise_tile_kind kind, vec_part part) {
    const conv_shape *s = &r->job->shape;
    const int64_t groups = s->groups, step = r->w.src_step * groups;
    const float *src = r->job->src + r->src;
    float *dst = r->job->dst + r->dst;
    vec sum[MOST];
    for (int v = 0; v < kind.vectors; v++)
        for (int p = 0; p < kind.pixels; p++) sum[v * kind.pixels + p] = load(r->bias + c + v * VEC, kind, part);
    for (int64_t a = 0; a < r->h.taps; a++) {
        const int64_t y = r->y + a * r->h.inc;
        if (y < 0 || y >= s->src_size[0]) continue;
        int64_t x = j * r->w.src_step + r->w.base;
        for (int64_t b = 0; b < r->w.taps; b++, x += r->w.inc) {
            if (kind.edge && (x < 0 || x >= s->src_size[1])) continue;
            const float *from = src + (y * s->src_size[1] + x) * groups + c;
            const float *weight = r->weight + (a * r->w.taps + b) * groups + c;
            for (int v = 0; v < kind.vectors; v++, from += VEC) {
                const vec k = load(weight + v * VEC, kind, part);
                vec *to = sum + v * kind.pixels;
                for (int p = 0; p < kind.pixels; p++) to[p] = vec_fma(load(from + p * step, kind, part), k, to[p]);
            }
        }
    }
    for (int v = 0; v < kind.vectors; v++)
        finish(r, sum + v * kind.pixels, kind.pixels, load(r->scale + c + v * VEC, kind, part),
               load(r->shift + c + v * VEC, kind, part));
    for (int v = 0; v < kind.vectors; v++)
        for (int p = 0; p < kind.pixels; p++) {
            float *to = dst + (j + p) * r->w.dst_step * groups + c + v * VEC;
            if (kind.whole)
                vec_store(to, sum[v * kind.pixels + p]);
            else
                vec_store_part(to, sum[v * kind.pixels + p], part);
        }
}

ALWAYS_INLINE void tile_channels(const depthwise_row *r, int64_t j, int pixels, int edge) {
    const int64_t groups = r->job->shape.groups, step = MOST / pixels * VEC;
    int64_t c = 0;
    for (; c + step <= groups; c += step)
        tile(r, j, c, (depthwise_tile_kind){pixels, MOST / pixels, 1, edge}, vec_part_of(VEC));
    for (; c + VEC <= groups; c += VEC) tile(r, j, c, (depthwise_tile_kind){pixels, 1, 1, edge}, vec_part_of(VEC));
    if (c < groups) tile(r, j, c, (depthwise_tile_kind){pixels, 1, 0, edge}, vec_part_of(groups - c));
}

/* As tile(), in bf16; `n` channels of the last vector where they are not whole. */
ALWAYS_INLINE void tile_bf16(const depthwise_row *r, int64_t j, int64_t c, depthwise_tile_kind kind, int64_t n) {
    const conv_shape *s = &r->job->shape;
    const int64_t groups = s->groups, step = r->w.src_step * groups;
    const uint16_t *src = (const uint16_t *)(const void *)r->job->src + r->src;
    vec sum[2 * MOST_LOW];
    for (int v = 0; v < kind.vectors; v++)
        for (int p = 0; p < kind.pixels; p++)
            for (int odd = 0; odd < 2; odd++)
                sum[2 * (v * kind.pixels + p) + odd] = vec_load(r->bias + c + (2 * v + odd) * VEC);
    for (int64_t a = 0; a < r->h.taps; a++) {
        const int64_t y = r->y + a * r->h.inc;
        if (y < 0 || y >= s->src_size[0]) continue;
        int64_t x = j * r->w.src_step + r->w.base;
        for (int64_t b = 0; b < r->w.taps; b++, x += r->w.inc) {
            if (kind.edge && (x < 0 || x >= s->src_size[1])) continue;
            const uint16_t *from = src + (y * s->src_size[1] + x) * groups + c;
            const float *weight = r->weight + (a * r->w.taps + b) * r->places + c;
            for (int v = 0; v < kind.vectors; v++, from += 2 * VEC, weight += 2 * VEC) {
                const vec even = vec_load(weight), odd = vec_load(weight + VEC);
                vec *to = sum + 2 * v * kind.pixels;
                for (int p = 0; p < kind.pixels; p++) {
                    const bf16v w = kind.whole ? bf16v_load(from + p * step) : bf16v_load_part(from + p * step, n);
                    to[2 * p] = vec_fma(bf16v_even(w), even, to[2 * p]);
                    to[2 * p + 1] = vec_fma(bf16v_odd(w), odd, to[2 * p + 1]);
                }
            }
        }
    }
    for (int v = 0; v < kind.vectors; v++)
        for (int odd = 0; odd < 2; odd++) {
            const int64_t at = c + (2 * v + odd) * VEC;
            for (int p = 0; p < kind.pixels; p++)
                finish(r, sum + 2 * (v * kind.pixels + p) + odd, 1, vec_load(r->scale + at), vec_load(r->shift + at));
        }
    for (int v = 0; v < kind.vectors; v++)
        for (int p = 0; p < kind.pixels; p++) {
            uint16_t *to =
                (uint16_t *)(void *)r->job->dst + r->dst + (j + p) * r->w.dst_step * groups + c + v * 2 * VEC;
            const vec *both = sum + 2 * (v * kind.pixels + p);
            if (kind.whole)
                bf16v_store(to, bf16v_join(both[0], both[1]));
            else
                bf16v_store_part(to, bf16v_join(both[0], both[1]), n);
        }
}

ALWAYS_INLINE void tile_channels_bf16(const depthwise_row *r, int64_t j, int pixels, int edge) {
    const int64_t groups = r->job->shape.groups;
    const int pairs = MOST_LOW / 2 / pixels;
    int64_t c = 0;
    for (; c + 2 * VEC * pairs <= groups; c += 2 * VEC * pairs)
        tile_bf16(r, j, c, (depthwise_tile_kind){pixels, pairs, 1, edge}, 0);
    for (; c + 2 * VEC <= groups; c += 2 * VEC) tile_bf16(r, j, c, (depthwise_tile_kind){pixels, 1, 1, edge}, 0);
    if (c < groups) tile_bf16(r, j, c, (depthwise_tile_kind){pixels, 1, 0, edge}, groups - c);
}

typedef void (*pixels_fn)(const depthwise_row *r, int64_t j);

static void eight_pixels(const depthwise_row *r, int64_t j) {
    tile_channels(r, j, 8, 0);
}

static void four_pixels(const depthwise_row *r, int64_t j) {
    tile_channels(r, j, 4, 0);
}

static void one_pixel(const depthwise_row *r, int64_t j) {
    tile_channels(r, j, 1, 1);
}

static void four_pixels_bf16(const depthwise_row *r, int64_t j) {
    tile_channels_bf16(r, j, 4, 0);
}

static void eight_pixels_bf16(const depthwise_row *r, int64_t j) {
#if VEC > 8
    tile_channels_bf16(r, j, 8, 0);
#else
    four_pixels_bf16(r, j);
    four_pixels_bf16(r, j + 4);
#endif
}

static void one_pixel_bf16(const depthwise_row *r, int64_t j) {
    tile_channels_bf16(r, j, 1, 1);
}

static void run_row(const depthwise_row *r) {
    const int bf16 = r->job->bf16 != 0;
    const pixels_fn eight = bf16 ? eight_pixels_bf16 : eight_pixels, four = bf16 ? four_pixels_bf16 : four_pixels;
    const pixels_fn one = bf16 ? one_pixel_bf16 : one_pixel;
    const conv_axis *w = &r->w;
    const int64_t size = r->job->shape.src_size[1], last = w->base + (w->taps - 1) * w->inc;
    const int64_t lo = cpu_min(w->grid, w->base < 0 ? cpu_ceil_div(-w->base, w->src_step) : 0);
    const int64_t hi = last < size ? cpu_min(w->grid, cpu_ceil_div(size - last, w->src_step)) : 0;
    int64_t j = 0;
    for (; j < lo; j++) one(r, j);
    for (; j + 8 <= hi; j += 8) eight(r, j);
    for (; j + 4 <= hi; j += 4) four(r, j);
    for (; j < w->grid; j++) one(r, j);
}

typedef struct depthwise_job {
    const conv_job *job;
    int64_t rows, tasks; /* rows of a task; tasks of a phase */
} depthwise_job;

static void depthwise_task(void *ctx, uint64_t task, uint32_t worker) {
    const depthwise_job *d = ctx;
    const conv_shape *s = &d->job->shape;
    const int64_t phase = (int64_t)task / d->tasks, part = (int64_t)task % d->tasks;
    depthwise_row r = {.job = d->job};
    (void)worker;
    conv_axis_of(&r.h, s, 0, phase / s->phases[1]);
    conv_axis_of(&r.w, s, 1, phase % s->phases[1]);
    r.places = depthwise_places(s->groups, d->job->bf16);
    r.weight = d->job->packed + conv_taps_before(s, &r.h, phase / s->phases[1], phase % s->phases[1]) * r.places;
    r.bias = d->job->packed + s->kernel[0] * s->kernel[1] * r.places;
    r.scale = r.bias + r.places;
    r.shift = r.scale + r.places;
    const int64_t end = cpu_min((part + 1) * d->rows, s->n * r.h.grid);
    for (int64_t t = part * d->rows; t < end; t++) {
        const int64_t n = t / r.h.grid, i = t % r.h.grid;
        r.y = i * r.h.src_step + r.h.base;
        r.src = n * s->src_size[0] * s->src_size[1] * s->groups;
        r.dst = ((n * s->dst_size[0] + r.h.dst_off + i * r.h.dst_step) * s->dst_size[1] + r.w.dst_off) * s->groups;
        run_row(&r);
    }
}

/* to (places) = from (groups), in the kernels' order, or `other` where there is none. */
static void place_vector(const conv_job *job, float *to, const float *from, float other) {
    const int64_t groups = job->shape.groups, places = depthwise_places(groups, job->bf16);
    for (int64_t i = 0; i < places; i++) to[i] = other;
    for (int64_t c = 0; from && c < groups; c++) to[depthwise_place(c, job->bf16)] = from[c];
}

/* Behind the weights: bias, scale and shift. */
static void place_vectors(const conv_job *job) {
    const conv_shape *s = &job->shape;
    const int64_t places = depthwise_places(s->groups, job->bf16);
    float *to = job->packed + s->kernel[0] * s->kernel[1] * places;
    place_vector(job, to, job->bias, 0);
    place_vector(job, to + places, job->epilogue ? job->epilogue->scale : NULL, 1);
    place_vector(job, to + 2 * places, job->epilogue ? job->epilogue->shift : NULL, 0);
}

void conv_depthwise_run(const conv_job *job, const cvr_threadpool *pool) {
    const conv_shape *s = &job->shape;
    const int64_t row = cpu_ceil_div(s->dst_size[1], s->phases[1]) * s->groups;
    depthwise_job d = {.job = job, .rows = cpu_max(1, TASK_FLOATS / cpu_max(1, row))};
    d.tasks = cpu_ceil_div(s->n * cpu_ceil_div(s->dst_size[0], s->phases[0]), d.rows);
    place_vectors(job);
    if (d.tasks > 0) pool->run(pool, (uint64_t)(d.tasks * s->phases[0] * s->phases[1]), depthwise_task, &d);
}
