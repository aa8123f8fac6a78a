/*
 * Depthwise backward-weight: dweight[c,r,s] = sum over pixels of grad[pixel,c] * x[pixel under tap (r,s),c], vectors of
 * channels, several taps at once in registers. Grid rows are cut into chunks by shape; each has a partial sum of its
 * own, (taps, channels as conv2d_depthwise.h has them), and chunks are added in order, in double.
 */
#include "conv2d_depthwise.h"

#define CHUNKS_MAX 32
#define CHUNK_FLOATS 16384 /* of grad */

#define ALWAYS_INLINE static inline __attribute__((always_inline))

typedef struct depthwise_weight_job {
    const conv_weight_args *args;
    float *partial;
    int64_t taps, places, chunks, stride;
} depthwise_weight_job;

/* One grid row, and the kernel row that it meets. */
typedef struct row_pair {
    const conv_shape *shape;
    const cpu_element *src, *of_grad; /* the pictures, f32 or bf16 */
    int64_t x, grad;                  /* elements before the first pixels of both rows */
    float *sum;                       /* (kernel columns, places): added to */
    int64_t places;
} row_pair;

/* Output columns [lo, hi) that a tap sees. */
typedef struct tap_span {
    int64_t lo, hi;
} tap_span;

/* sum[b] += grad[q] x[q under tap0 + b] for taps b < taps and q in [lo, hi), where all of these taps are inside. */
ALWAYS_INLINE void columns(const row_pair *r, int64_t tap0, int taps, tap_span q, int64_t c, vec_part part, vec *sum) {
    const conv_shape *s = r->shape;
    const int64_t groups = s->groups, step = s->stride[1] * groups, tap = s->dilation[1] * groups;
    if (q.lo >= q.hi) return;
    const float *grad = r->of_grad + r->grad + q.lo * groups + c;
    const float *x = r->src + r->x + (q.lo * s->stride[1] + tap0 * s->dilation[1] - s->padding[1]) * groups + c;
    for (; q.lo < q.hi; q.lo++, x += step, grad += groups) {
        const vec g = vec_load_part(grad, part);
        for (int b = 0; b < taps; b++) sum[b] = vec_fma(vec_load_part(x + b * tap, part), g, sum[b]);
    }
}

/* As columns(), in bf16, of n channels; sum[2 * b] has the even ones of tap b, the next the odd ones. */
ALWAYS_INLINE void columns_bf16(const row_pair *r, int64_t tap0, int taps, tap_span q, int64_t c, int64_t n, vec *sum) {
    const conv_shape *s = r->shape;
    const int64_t groups = s->groups, step = s->stride[1] * groups, tap = s->dilation[1] * groups;
    if (q.lo >= q.hi) return;
    const uint16_t *grad = (const uint16_t *)(const void *)r->of_grad + r->grad + q.lo * groups + c;
    const uint16_t *x = (const uint16_t *)(const void *)r->src + r->x +
                        (q.lo * s->stride[1] + tap0 * s->dilation[1] - s->padding[1]) * groups + c;
    for (; q.lo < q.hi; q.lo++, x += step, grad += groups) {
        const bf16v g = n == 2 * VEC ? bf16v_load(grad) : bf16v_load_part(grad, n);
        const vec even = bf16v_even(g), odd = bf16v_odd(g);
        for (int b = 0; b < taps; b++) {
            const bf16v w = n == 2 * VEC ? bf16v_load(x + b * tap) : bf16v_load_part(x + b * tap, n);
            sum[2 * b] = vec_fma(bf16v_even(w), even, sum[2 * b]);
            sum[2 * b + 1] = vec_fma(bf16v_odd(w), odd, sum[2 * b + 1]);
        }
    }
}

static tap_span inside(const conv_shape *s, int64_t b) {
    const int64_t x0 = b * s->dilation[1] - s->padding[1], size = s->src_size[1], step = s->stride[1];
    return (tap_span){cpu_min(s->dst_size[1], x0 < 0 ? cpu_ceil_div(-x0, step) : 0),
                      x0 < size ? cpu_min(s->dst_size[1], cpu_ceil_div(size - x0, step)) : 0};
}

/* The columns that each of some taps sees, and those that all of them see. */
typedef struct tap_spans {
    tap_span own[8], all;
} tap_spans;

ALWAYS_INLINE tap_spans spans_of(const row_pair *r, int64_t tap0, int taps) {
    tap_spans s = {.all = {0, r->shape->dst_size[1]}};
    for (int b = 0; b < taps; b++) {
        s.own[b] = inside(r->shape, tap0 + b);
        s.all = (tap_span){cpu_max(s.all.lo, s.own[b].lo), cpu_min(s.all.hi, s.own[b].hi)};
    }
    s.all.hi = cpu_max(s.all.lo, s.all.hi);
    return s;
}

/* Taps [tap0, tap0 + taps) together over the columns that all of them see, and each alone over its own others. */
ALWAYS_INLINE void taps_together(const row_pair *r, int64_t tap0, int taps) {
    const int64_t groups = r->shape->groups;
    const tap_spans s = spans_of(r, tap0, taps);
    for (int64_t c = 0; c < groups; c += VEC) {
        const vec_part part = vec_part_of(cpu_min(VEC, groups - c));
        vec sum[8];
        for (int b = 0; b < taps; b++) sum[b] = vec_zero();
        for (int b = 0; b < taps && taps > 1; b++) {
            columns(r, tap0 + b, 1, (tap_span){s.own[b].lo, cpu_min(s.all.lo, s.own[b].hi)}, c, part, &sum[b]);
            columns(r, tap0 + b, 1, (tap_span){cpu_max(s.all.hi, s.own[b].lo), s.own[b].hi}, c, part, &sum[b]);
        }
        columns(r, tap0, taps, s.all, c, part, sum);
        for (int b = 0; b < taps; b++) {
            float *to = r->sum + (tap0 + b) * r->places + c;
            vec_store_part(to, vec_add(vec_load_part(to, part), sum[b]), part);
        }
    }
}

/* As taps_together(), in bf16, for up to 2 * VEC channels. */
ALWAYS_INLINE void bf16v_together(const row_pair *r, int64_t tap0, int taps, const tap_spans *s, int64_t c, int64_t n) {
    vec sum[16];
    for (int b = 0; b < 2 * taps; b++) sum[b] = vec_zero();
    for (int b = 0; b < taps && taps > 1; b++) {
        columns_bf16(r, tap0 + b, 1, (tap_span){s->own[b].lo, cpu_min(s->all.lo, s->own[b].hi)}, c, n, &sum[2 * b]);
        columns_bf16(r, tap0 + b, 1, (tap_span){cpu_max(s->all.hi, s->own[b].lo), s->own[b].hi}, c, n, &sum[2 * b]);
    }
    columns_bf16(r, tap0, taps, s->all, c, n, sum);
    for (int b = 0; b < 2 * taps; b++) {
        float *to = r->sum + (tap0 + b / 2) * r->places + c + b % 2 * VEC;
        vec_store(to, vec_add(vec_load(to), sum[b]));
    }
}

ALWAYS_INLINE void taps_together_bf16(const row_pair *r, int64_t tap0, int taps) {
    const int64_t groups = r->shape->groups;
    const tap_spans s = spans_of(r, tap0, taps);
    int64_t c = 0;
    for (; c + 2 * VEC <= groups; c += 2 * VEC) bf16v_together(r, tap0, taps, &s, c, 2 * VEC);
    if (c < groups) bf16v_together(r, tap0, taps, &s, c, groups - c);
}

typedef void (*taps_fn)(const row_pair *r, int64_t tap0);

static void one_tap(const row_pair *r, int64_t tap0) {
    taps_together(r, tap0, 1);
}
static void three_taps(const row_pair *r, int64_t tap0) {
    taps_together(r, tap0, 3);
}
static void five_taps(const row_pair *r, int64_t tap0) {
    taps_together(r, tap0, 5);
}
static void seven_taps(const row_pair *r, int64_t tap0) {
    taps_together(r, tap0, 7);
}
static void one_tap_bf16(const row_pair *r, int64_t tap0) {
    taps_together_bf16(r, tap0, 1);
}
static void three_taps_bf16(const row_pair *r, int64_t tap0) {
    taps_together_bf16(r, tap0, 3);
}
static void five_taps_bf16(const row_pair *r, int64_t tap0) {
    taps_together_bf16(r, tap0, 5);
}
static void seven_taps_bf16(const row_pair *r, int64_t tap0) {
    taps_together_bf16(r, tap0, 7);
}

static void row_taps(const row_pair *r, int64_t bf16) {
    static const taps_fn by_count[2][4] = {{one_tap, three_taps, five_taps, seven_taps},
                                           {one_tap_bf16, three_taps_bf16, five_taps_bf16, seven_taps_bf16}};
    const int64_t taps = r->shape->kernel[1];
    for (int64_t b = 0; b < taps;) {
        const int64_t left = taps - b, now = left >= 7 ? 7 : left >= 5 ? 5 : left >= 3 ? 3 : 1;
        by_count[bf16 != 0][now / 2](r, b);
        b += now;
    }
}

static void chunk_task(void *ctx, uint64_t chunk, uint32_t worker) {
    const depthwise_weight_job *d = ctx;
    const conv_shape *s = d->args->shape;
    const int64_t rows = s->n * s->dst_size[0], end = cpu_part(rows, d->chunks, (int64_t)chunk + 1);
    float *partial = d->partial + (int64_t)chunk * d->stride;
    (void)worker;
    memset(partial, 0, (size_t)(d->taps * d->places) * sizeof(float));
    for (int64_t t = cpu_part(rows, d->chunks, (int64_t)chunk); t < end; t++)
        for (int64_t a = 0; a < s->kernel[0]; a++) {
            const int64_t n = t / s->dst_size[0];
            const int64_t y = t % s->dst_size[0] * s->stride[0] - s->padding[0] + a * s->dilation[0];
            if (y < 0 || y >= s->src_size[0]) continue;
            const row_pair r = {.shape = s,
                                .src = d->args->src,
                                .of_grad = d->args->grad,
                                .x = (n * s->src_size[0] + y) * s->src_size[1] * s->groups,
                                .grad = t * s->dst_size[1] * s->groups,
                                .sum = partial + a * s->kernel[1] * d->places,
                                .places = d->places};
            row_taps(&r, d->args->bf16);
        }
}

static void depthwise_plan(depthwise_weight_job *d, const conv_weight_args *args) {
    const conv_shape *s = args->shape;
    const int64_t rows = s->n * s->dst_size[0];
    d->args = args;
    d->taps = s->kernel[0] * s->kernel[1];
    d->places = depthwise_places(s->groups, args->bf16);
    d->stride = cpu_line_up(d->taps * d->places);
    d->chunks = cpu_min(CHUNKS_MAX, rows * s->dst_size[1] * s->groups / CHUNK_FLOATS);
    d->chunks = cpu_max(1, cpu_min(d->chunks, rows));
}

uint64_t conv_depthwise_weight_workspace(const conv_shape *shape) {
    const conv_weight_args args = {.shape = shape, .bf16 = 1}; /* which takes more */
    depthwise_weight_job d;
    depthwise_plan(&d, &args);
    return (uint64_t)(d.chunks * d.stride) * sizeof(float);
}

void conv_depthwise_weight_run(const conv_weight_args *args, const cvr_threadpool *pool, float *workspace) {
    const conv_shape *s = args->shape;
    depthwise_weight_job d;
    depthwise_plan(&d, args);
    d.partial = workspace;
    pool->run(pool, (uint64_t)d.chunks, chunk_task, &d);
    for (int64_t c = 0; c < s->groups; c++) {
        const int64_t place = depthwise_place(c, args->bf16);
        for (int64_t tap = 0; tap < d.taps; tap++) {
            double sum = 0;
            for (int64_t i = 0; i < d.chunks; i++) sum += (double)workspace[i * d.stride + tap * d.places + place];
            args->dweight[c * d.taps + tap] = (float)sum;
        }
    }
}
