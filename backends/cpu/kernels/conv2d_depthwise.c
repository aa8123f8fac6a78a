/*
 * Depthwise convolution, forward and backward-input: no matrices, vectors of channels, which NHWC keeps together.
 * Several pixels of a row at once share each tap's weights; pixels near an edge go one by one, with the taps that are
 * inside.
 */
#include "conv2d.h"
#include "cpu_vec.h"

#define MOST 8            /* pixels * vectors of a tile: accumulators in registers */
#define TASK_FLOATS 16384 /* of the destination, about */

#define ALWAYS_INLINE static inline __attribute__((always_inline))

/* A grid row of a phase. */
typedef struct depthwise_row {
    const conv_job *job;
    const float *weight; /* (h.taps, w.taps, groups) */
    const float *src;    /* of the image */
    float *dst;          /* the row's first pixel of this phase */
    int64_t y;           /* source row of tap 0 */
    conv_axis h, w;
} depthwise_row;

/* What is constant where a tile is inlined. */
typedef struct tile_kind {
    int pixels, vectors; /* of channels */
    int whole;           /* all vectors have VEC channels; else there is one */
    int edge;            /* taps may lie outside of the row */
} tile_kind;

ALWAYS_INLINE vec load(const float *p, tile_kind kind, vec_part part) {
    return kind.whole ? vec_load(p) : vec_load_part(p, part);
}

/* dst = bias + sum over taps, at kind.pixels pixels from grid column j on, and up to kind.vectors * VEC channels from c
 * on. */
ALWAYS_INLINE void tile(const depthwise_row *r, int64_t j, int64_t c, tile_kind kind, vec_part part) {
    const conv_shape *s = &r->job->shape;
    const int64_t groups = s->groups, step = r->w.src_step * groups;
    vec sum[MOST];
    for (int v = 0; v < kind.vectors; v++)
        for (int p = 0; p < kind.pixels; p++)
            sum[v * kind.pixels + p] = r->job->bias ? load(r->job->bias + c + v * VEC, kind, part) : vec_zero();
    for (int64_t a = 0; a < r->h.taps; a++) {
        const int64_t y = r->y + a * r->h.inc;
        if (y < 0 || y >= s->src_size[0]) continue;
        int64_t x = j * r->w.src_step + r->w.base;
        for (int64_t b = 0; b < r->w.taps; b++, x += r->w.inc) {
            if (kind.edge && (x < 0 || x >= s->src_size[1])) continue;
            const float *from = r->src + (y * s->src_size[1] + x) * groups + c;
            const float *weight = r->weight + (a * r->w.taps + b) * groups + c;
            for (int v = 0; v < kind.vectors; v++, from += VEC) {
                const vec k = load(weight + v * VEC, kind, part);
                vec *to = sum + v * kind.pixels;
                for (int p = 0; p < kind.pixels; p++) to[p] = vec_fma(load(from + p * step, kind, part), k, to[p]);
            }
        }
    }
    for (int v = 0; v < kind.vectors; v++)
        for (int p = 0; p < kind.pixels; p++) {
            float *to = r->dst + (j + p) * r->w.dst_step * groups + c + v * VEC;
            if (kind.whole)
                vec_store(to, sum[v * kind.pixels + p]);
            else
                vec_store_part(to, sum[v * kind.pixels + p], part);
        }
}

ALWAYS_INLINE void tile_channels(const depthwise_row *r, int64_t j, int pixels, int edge) {
    const int64_t groups = r->job->shape.groups, step = MOST / pixels * VEC;
    int64_t c = 0;
    for (; c + step <= groups; c += step) tile(r, j, c, (tile_kind){pixels, MOST / pixels, 1, edge}, vec_part_of(VEC));
    for (; c + VEC <= groups; c += VEC) tile(r, j, c, (tile_kind){pixels, 1, 1, edge}, vec_part_of(VEC));
    if (c < groups) tile(r, j, c, (tile_kind){pixels, 1, 0, edge}, vec_part_of(groups - c));
}

static void eight_pixels(const depthwise_row *r, int64_t j) {
    tile_channels(r, j, 8, 0);
}

static void four_pixels(const depthwise_row *r, int64_t j) {
    tile_channels(r, j, 4, 0);
}

static void one_pixel(const depthwise_row *r, int64_t j) {
    tile_channels(r, j, 1, 1);
}

static void run_row(const depthwise_row *r) {
    const conv_axis *w = &r->w;
    const int64_t size = r->job->shape.src_size[1], last = w->base + (w->taps - 1) * w->inc;
    const int64_t lo = cpu_min(w->grid, w->base < 0 ? cpu_ceil_div(-w->base, w->src_step) : 0);
    const int64_t hi = last < size ? cpu_min(w->grid, cpu_ceil_div(size - last, w->src_step)) : 0;
    int64_t j = 0;
    for (; j < lo; j++) one_pixel(r, j);
    for (; j + 8 <= hi; j += 8) eight_pixels(r, j);
    for (; j + 4 <= hi; j += 4) four_pixels(r, j);
    for (; j < w->grid; j++) one_pixel(r, j);
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
    r.weight = d->job->packed + conv_taps_before(s, &r.h, phase / s->phases[1], phase % s->phases[1]) * s->groups;
    const int64_t end = cpu_min((part + 1) * d->rows, s->n * r.h.grid);
    for (int64_t t = part * d->rows; t < end; t++) {
        const int64_t n = t / r.h.grid, i = t % r.h.grid;
        r.y = i * r.h.src_step + r.h.base;
        r.src = d->job->src + n * s->src_size[0] * s->src_size[1] * s->groups;
        r.dst = d->job->dst +
                ((n * s->dst_size[0] + r.h.dst_off + i * r.h.dst_step) * s->dst_size[1] + r.w.dst_off) * s->groups;
        run_row(&r);
    }
}

void conv_depthwise_run(const conv_job *job, const cvr_threadpool *pool) {
    const conv_shape *s = &job->shape;
    const int64_t row = cpu_ceil_div(s->dst_size[1], s->phases[1]) * s->groups;
    depthwise_job d = {.job = job, .rows = cpu_max(1, TASK_FLOATS / cpu_max(1, row))};
    d.tasks = cpu_ceil_div(s->n * cpu_ceil_div(s->dst_size[0], s->phases[0]), d.rows);
    if (d.tasks > 0) pool->run(pool, (uint64_t)(d.tasks * s->phases[0] * s->phases[1]), depthwise_task, &d);
}
