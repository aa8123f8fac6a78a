/*
 * Counter-based random numbers: Philox4x32-10 (Salmon, Moraes, Dror, Shaw: "Parallel Random Numbers: As Easy as 1, 2,
 * 3", SC 2011).
 *
 * A number is a pure function of a 64-bit key and a 128-bit counter, so that a run makes the same numbers whatever the
 * number of threads and wherever it is resumed. Inline, so that plugins and the core have one definition without
 * linking.
 */
#ifndef CVR_PLUGIN_RNG_H
#define CVR_PLUGIN_RNG_H

#include "abi.h"
#include <math.h>

#ifdef __cplusplus
extern "C" {
#endif

static inline void cvr_philox(uint64_t key, uint64_t counter_hi, uint64_t counter_lo, uint32_t out[4]) {
    uint32_t c0 = (uint32_t)counter_lo, c1 = (uint32_t)(counter_lo >> 32);
    uint32_t c2 = (uint32_t)counter_hi, c3 = (uint32_t)(counter_hi >> 32);
    uint32_t k0 = (uint32_t)key, k1 = (uint32_t)(key >> 32);
    for (int round = 0; round < 10; round++) {
        const uint64_t p0 = (uint64_t)0xD2511F53u * c0;
        const uint64_t p1 = (uint64_t)0xCD9E8D57u * c2;
        c0 = (uint32_t)(p1 >> 32) ^ c1 ^ k0;
        c1 = (uint32_t)p1;
        c2 = (uint32_t)(p0 >> 32) ^ c3 ^ k1;
        c3 = (uint32_t)p0;
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
    out[0] = c0;
    out[1] = c1;
    out[2] = c2;
    out[3] = c3;
}

/* A stream of numbers: (key, stream) name it, `counter` walks along it. */
typedef struct cvr_rng {
    uint64_t key;
    uint64_t stream;
    uint64_t counter;
    uint32_t buffer[4];
    uint64_t used; /* of the four in `buffer` */
} cvr_rng;

/* Mixes two words into one key or stream name. */
static inline uint64_t cvr_rng_mix(uint64_t a, uint64_t b) {
    uint32_t out[4];
    cvr_philox(a, 0x6376722d6d69780aull, b, out);
    return (uint64_t)out[0] | (uint64_t)out[1] << 32;
}

static inline void cvr_rng_start(cvr_rng *r, uint64_t key, uint64_t stream) {
    memset(r, 0, sizeof *r);
    r->key = key;
    r->stream = stream;
    r->used = 4;
}

static inline uint32_t cvr_rng_u32(cvr_rng *r) {
    if (r->used == 4) {
        cvr_philox(r->key, r->stream, r->counter++, r->buffer);
        r->used = 0;
    }
    return r->buffer[r->used++];
}

/* Uniform in [0, 1), 53 bits. */
static inline double cvr_rng_uniform(cvr_rng *r) {
    const uint64_t hi = cvr_rng_u32(r) >> 5, lo = cvr_rng_u32(r) >> 6;
    return ((double)hi * 67108864.0 + (double)lo) * (1.0 / 9007199254740992.0);
}

/* Uniform integer in [0, n), n >= 1, without bias (Lemire, "Fast Random Integer Generation in an Interval", 2019; 64
 * bits). */
static inline uint64_t cvr_rng_below(cvr_rng *r, uint64_t n) {
    const uint64_t limit = (0 - n) % n;
    for (;;) {
        const uint64_t hi = cvr_rng_u32(r), x = hi << 32 | cvr_rng_u32(r);
        if (x >= limit) return x % n;
    }
}

/* Standard normal (Box-Muller, the cosine half). */
static inline double cvr_rng_normal(cvr_rng *r) {
    const double u = 1.0 - cvr_rng_uniform(r), v = cvr_rng_uniform(r);
    return sqrt(-2.0 * log(u)) * cos(6.283185307179586476925287 * v);
}

/* FNV-1a of a string: the name of a layer as a number. */
static inline uint64_t cvr_hash(const char *s) {
    uint64_t h = 0xcbf29ce484222325ull;
    for (; *s; s++) h = (h ^ (uint8_t)*s) * 0x100000001b3ull;
    return h;
}

#ifdef __cplusplus
}
#endif

#endif
