/*
 * Initial values of parameters. Philox makes four words of a counter, and four values of them, so that any stretch of a
 * tensor can be drawn by itself: values follow from seed, name and place, whatever the number of threads. All is in
 * loops over arrays, without branches, which any compiler turns into vectors.
 */
#include "initial.h"
#include <math.h>

#define SPAN ((int64_t)1 << 14) /* values of a task */
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
static float again(uint64_t key, int64_t at) {
    uint32_t words[4];
    float x = TRUNCATE, y;
    for (uint64_t stream = 1; fabsf(x) >= TRUNCATE; stream++) {
        cvr_philox(key, stream, (uint64_t)at, words);
        normal_pair(words[0], words[1], &x, &y);
    }
    return x;
}

typedef struct drawing {
    const cvr_init *init;
    float *out;
    int64_t n;
    uint64_t key;
} drawing;

/* Values from `first` on, a multiple of VALUES. */
static void draw_values(const drawing *d, int64_t first) {
    const uint32_t kind = d->init->kind;
    const int64_t n = d->n - first < VALUES ? d->n - first : VALUES;
    const double low = d->init->a, scale = kind == CVR_INIT_UNIFORM ? d->init->b - d->init->a : d->init->b;
    float values[VALUES];
    if (kind == CVR_INIT_UNIFORM)
        uniforms(d->key, (uint64_t)first / 4, values);
    else
        normals(d->key, 0, (uint64_t)first / 4, values);
    for (int64_t i = 0; kind == CVR_INIT_TRUNC_NORMAL && i < n; i++)
        if (fabsf(values[i]) >= TRUNCATE) values[i] = again(d->key, first + i);
    for (int64_t i = 0; i < n; i++) d->out[first + i] = (float)(low + scale * (double)values[i]);
}

static void draw_task(void *ctx, uint64_t task, uint32_t worker) {
    const drawing *d = ctx;
    const int64_t first = (int64_t)task * SPAN, end = d->n - first < SPAN ? d->n : first + SPAN;
    (void)worker;
    for (int64_t at = first; at < end; at += VALUES) draw_values(d, at);
}

void initial_floats(const cvr_init *init, uint64_t key, const cvr_threadpool *pool, float *out, int64_t n) {
    drawing d = {init, out, n, key};
    const uint64_t tasks = (uint64_t)((n + SPAN - 1) / SPAN);
    if (init->kind != CVR_INIT_UNIFORM && init->kind != CVR_INIT_NORMAL && init->kind != CVR_INIT_TRUNC_NORMAL) {
        for (int64_t i = 0; i < n; i++) out[i] = (float)init->a;
    } else if (pool) {
        pool->run(pool, tasks, draw_task, &d);
    } else {
        for (uint64_t i = 0; i < tasks; i++) draw_task(&d, i, 0);
    }
}
