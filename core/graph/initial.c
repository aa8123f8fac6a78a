/*
 * Initial values of parameters. Philox makes four words of a counter, and four values of them, so that any stretch of a
 * tensor can be drawn by itself: values follow from seed, name and place, whatever the number of threads. All is in
 * loops over arrays, without branches, which any compiler turns into vectors.
 */
#include "initial.h"
#include <math.h>

#define SPAN ((int64_t)1 << 14) /* values of a task, about */
#define LANES 64                /* Philox blocks at a time */
#define VALUES (4 * LANES)
#define TRUNCATE 2.0f /* standard deviations */

/* words[k * LANES + i]: word k of block `first` + i */
static void philox_blocks(uint64_t key, uint64_t stream, uint64_t first, uint32_t words[VALUES]) {
    uint32_t c0[LANES], c1[LANES], c2[LANES], c3[LANES], k0 = (uint32_t)key, k1 = (uint32_t)(key >> 32);
    for (uint64_t i = 0; i < LANES; i++) {
        c0[i] = (uint32_t)(first + i);
        c1[i] = (uint32_t)((first + i) >> 32);
        c2[i] = (uint32_t)stream;
        c3[i] = (uint32_t)(stream >> 32);
    }
    for (int round = 0; round < 10; round++, k0 += 0x9E3779B9u, k1 += 0xBB67AE85u)
        for (int i = 0; i < LANES; i++) {
            const uint64_t p0 = (uint64_t)0xD2511F53u * c0[i], p1 = (uint64_t)0xCD9E8D57u * c2[i];
            c0[i] = (uint32_t)(p1 >> 32) ^ c1[i] ^ k0;
            c1[i] = (uint32_t)p1;
            c2[i] = (uint32_t)(p0 >> 32) ^ c3[i] ^ k1;
            c3[i] = (uint32_t)p0;
        }
    memcpy(words, c0, sizeof c0);
    memcpy(words + LANES, c1, sizeof c1);
    memcpy(words + 2 * LANES, c2, sizeof c2);
    memcpy(words + 3 * LANES, c3, sizeof c3);
}

/* In (0, 1), 31 bits. */
static inline float unit(uint32_t word) {
    return ((float)(int32_t)(word >> 1) + 0.5f) * 0x1p-31f;
}

/* ln x for 0 < x <= 1: the exponent, and 2 artanh((m - 1) / (m + 1)) of a mantissa m around 1. */
static inline float ln(float x) {
    uint32_t bits;
    float m;
    memcpy(&bits, &x, sizeof bits);
    const int32_t exponent = (int32_t)(bits - 0x3F3504F3u) >> 23; /* of x / sqrt(1/2) */
    bits -= (uint32_t)exponent << 23;
    memcpy(&m, &bits, sizeof m);
    const float s = (m - 1) / (m + 1), z = s * s;
    return (float)exponent * 0.69314718f + 2 * s * (1 + z * (1.0f / 3 + z * (0.2f + z * (1.0f / 7 + z * (1.0f / 9)))));
}

/* Box and Muller's pair of standard normal numbers: a radius, and a place in the eighths around an axis, with two bits
 * for the axis. */
static inline void normal_pair(uint32_t a, uint32_t b, float *x, float *y) {
    const float radius = sqrtf(-2 * ln(unit(a))), t = (unit(b << 2) - 0.5f) * 1.57079633f, z = t * t;
    const float c = 1 + z * (-0.5f + z * (1.0f / 24 + z * (-1.0f / 720 + z * (1.0f / 40320))));
    const float s = t * (1 + z * (-1.0f / 6 + z * (1.0f / 120 + z * (-1.0f / 5040))));
    const int turned = b >> 30 & 1;
    const float sign = b >> 31 ? -radius : radius;
    *x = sign * (turned ? -s : c);
    *y = sign * (turned ? c : s);
}

/* Standard normal values, of which a stream has four a block. */
static void normals(uint64_t key, uint64_t stream, uint64_t block, float out[VALUES]) {
    uint32_t words[VALUES];
    float x[2 * LANES], y[2 * LANES];
    philox_blocks(key, stream, block, words);
    for (int i = 0; i < 2 * LANES; i++) normal_pair(words[i], words[2 * LANES + i], &x[i], &y[i]);
    for (int i = 0; i < LANES; i++) {
        out[4 * i] = x[i];
        out[4 * i + 1] = x[LANES + i];
        out[4 * i + 2] = y[i];
        out[4 * i + 3] = y[LANES + i];
    }
}

static void uniforms(uint64_t key, uint64_t block, float out[VALUES]) {
    uint32_t words[VALUES];
    philox_blocks(key, 0, block, words);
    for (int i = 0; i < VALUES; i++) out[i] = unit(words[i % 4 * LANES + i / 4]);
}

/* Value `at` of the streams after the first, until one is not cut off. */
static float redraw(uint64_t key, int64_t at) {
    uint32_t words[4];
    float x = TRUNCATE, y;
    for (uint64_t stream = 1; fabsf(x) >= TRUNCATE; stream++) {
        cvr_philox(key, stream, (uint64_t)at, words);
        normal_pair(words[0], words[1], &x, &y);
    }
    return x;
}

/* A tensor as rows, the parts of its first axis: memory order permutes elements within a row only. */
typedef struct drawing {
    const initial_request *r;
    float *memory, *scratch; /* scratch: a task's values in logical order, for each worker */
    int64_t rows, length, rows_per_task;
} drawing;

static bool is_random(const cvr_init *init) {
    return init->kind == CVR_INIT_UNIFORM || init->kind == CVR_INIT_NORMAL || init->kind == CVR_INIT_TRUNC_NORMAL;
}

/* Values from `first` on, a multiple of VALUES. */
static void draw_block(const initial_request *r, int64_t first, float values[VALUES]) {
    const uint32_t kind = r->init->kind;
    const double low = r->init->a, scale = kind == CVR_INIT_UNIFORM ? r->init->b - r->init->a : r->init->b;
    if (kind == CVR_INIT_UNIFORM)
        uniforms(r->key, (uint64_t)first / 4, values);
    else
        normals(r->key, 0, (uint64_t)first / 4, values);
    for (int64_t i = 0; kind == CVR_INIT_TRUNC_NORMAL && i < VALUES; i++)
        if (fabsf(values[i]) >= TRUNCATE) values[i] = redraw(r->key, first + i);
    for (int64_t i = 0; i < VALUES; i++) values[i] = (float)(low + scale * (double)values[i]);
}

/* out (n) = the values from `first` on */
static void draw_values(const initial_request *r, int64_t first, int64_t n, float *out) {
    float values[VALUES];
    for (int64_t at = first - first % VALUES; at < first + n; at += VALUES) {
        const int64_t from = at < first ? first : at, to = at + VALUES < first + n ? at + VALUES : first + n;
        draw_block(r, at, values);
        memcpy(out + (from - first), values + (from - at), (size_t)(to - from) * sizeof *out);
    }
}

static void draw_task(void *ctx, uint64_t task, uint32_t worker) {
    const drawing *d = ctx;
    const int64_t row = (int64_t)task * d->rows_per_task, left = d->rows - row;
    const int64_t rows = left < d->rows_per_task ? left : d->rows_per_task, n = rows * d->length;
    float *memory = d->memory + row * d->length, *logical = d->scratch + worker * d->rows_per_task * d->length;
    if (!is_random(d->r->init)) {
        for (int64_t i = 0; i < n; i++) memory[i] = (float)d->r->init->a;
        return;
    }
    cvr_type part = *d->r->type;
    if (part.rank) part.shape[0] = rows;
    draw_values(d->r, row * d->length, n, logical);
    cvr_from_logical(&part, logical, memory);
}

int32_t initial_values(const initial_request *r, float *memory, cvr_error *err) {
    const int64_t n = cvr_numel(r->type->rank, r->type->shape), rows = r->type->rank ? r->type->shape[0] : 1;
    if (n == 0) return CVR_OK;
    drawing d = {.r = r, .memory = memory, .rows = rows, .length = n / rows};
    d.rows_per_task = d.length < SPAN ? SPAN / d.length : 1;
    if (d.rows_per_task > rows) d.rows_per_task = rows;
    const uint64_t tasks = (uint64_t)((rows + d.rows_per_task - 1) / d.rows_per_task);
    const uint32_t workers = r->pool ? r->pool->n_workers : 1;
    d.scratch = cvr_alloc_aligned(workers * (size_t)(d.rows_per_task * d.length) * sizeof *d.scratch, 64);
    if (!d.scratch) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    if (r->pool)
        r->pool->run(r->pool, tasks, draw_task, &d);
    else
        for (uint64_t i = 0; i < tasks; i++) draw_task(&d, i, 0);
    cvr_free(d.scratch);
    return CVR_OK;
}
