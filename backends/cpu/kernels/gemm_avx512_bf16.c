/*
 * The micro-kernels of AVX-512 BF16: up to 14 x 32, 28 accumulators in f32. vdpbf16ps adds two products a lane, so that
 * a broadcast element of A is the pair (k, k+1) of its row, and a vector of B has that pair for 16 columns.
 */
#include "gemm_bf16.h"

#include <immintrin.h>

#define LANES 16

/* acc += A[:,k..k+1] B[k..k+1,:]; `last`: there is no k+1. */
TILE_INLINE void tile_pair(__m512 acc[][2], const cpu_tile *t, const uint16_t *a, const uint16_t *b, int m, int vectors,
                           int last) {
    __m512i bv[2];
    TILE_UNROLL
    for (int v = 0; v < vectors; v++) bv[v] = _mm512_loadu_si512(b + v * LANES * CPU_PAIR);
    TILE_UNROLL
    for (int i = 0; i < m; i++) {
        int32_t pair = 0;
        memcpy(&pair, a + t->a_rows[i], last ? sizeof(uint16_t) : sizeof pair);
        const __m512i x = _mm512_set1_epi32(pair);
        TILE_UNROLL
        for (int v = 0; v < vectors; v++) acc[i][v] = _mm512_dpbf16_ps(acc[i][v], (__m512bh)x, (__m512bh)bv[v]);
    }
}

TILE_INLINE void tile_sum(__m512 acc[][2], const cpu_tile *t, int m, int vectors) {
    const int64_t b_pair = CPU_PAIR * t->b_k;
    const void *const *ahead = t->ahead, *const *end = ahead + t->n_ahead;
    for (int64_t s = 0; s < t->n_steps; s++) {
        const uint16_t *a = (const uint16_t *)t->a + t->steps[s].a, *b = (const uint16_t *)t->b + t->steps[s].b;
        int64_t k = t->steps[s].k;
        for (; k >= 4; k -= 4, a += 4, b += 2 * b_pair) {
            if (ahead < end) {
                TILE_UNROLL
                for (int u = 0; u < CPU_AHEAD; u++) __builtin_prefetch(ahead[u], 0, 2);
                ahead += CPU_AHEAD;
            }
            tile_pair(acc, t, a, b, m, vectors, 0);
            tile_pair(acc, t, a + CPU_PAIR, b + b_pair, m, vectors, 0);
        }
        for (; k >= CPU_PAIR; k -= CPU_PAIR, a += CPU_PAIR, b += b_pair) tile_pair(acc, t, a, b, m, vectors, 0);
        if (k) tile_pair(acc, t, a, b, m, vectors, 1);
    }
}

/* A row's 32 columns are a cache line of bf16. */
TILE_INLINE void store_lines(const cpu_tile *t, __m512 acc[][2], int m) {
    TILE_UNROLL
    for (int i = 0; i < m; i++) {
        __m512i *c = (__m512i *)(void *)((uint16_t *)t->c + t->c_rows[i]);
        const __m512i line = (__m512i)_mm512_cvtne2ps_pbh(acc[i][1], acc[i][0]);
        if (t->stream)
            _mm512_stream_si512(c, line);
        else
            _mm512_storeu_si512(c, line);
    }
}

/* Panels have all their columns, so that only what lies beside them is masked: init and c. */
TILE_INLINE void tile_run(const cpu_tile *t, int m, int vectors) {
    __m512 acc[CPU_TILE_ROWS_MAX][2];
    const int lines = vectors == 2 && t->n == 2 * LANES && !t->c_float;
    if (lines && !t->stream) {
        TILE_UNROLL
        for (int i = 0; i < m; i++) __builtin_prefetch((uint16_t *)t->c + t->c_rows[i], 1);
    }
    const __mmask16 tail = (__mmask16)(0xFFFFu >> (LANES - (t->n - (vectors - 1) * LANES)));
    TILE_UNROLL
    for (int v = 0; v < vectors; v++) {
        const __mmask16 part = v == vectors - 1 ? tail : 0xFFFFu;
        __m512 first = _mm512_setzero_ps();
        if (!t->add && t->init) first = _mm512_maskz_loadu_ps(part, t->init + v * LANES);
        TILE_UNROLL
        for (int i = 0; i < m; i++) acc[i][v] = first;
    }
    tile_sum(acc, t, m, vectors);
    if (lines) {
        store_lines(t, acc, m);
        return;
    }
    TILE_UNROLL
    for (int i = 0; i < m; i++) {
        TILE_UNROLL
        for (int v = 0; v < vectors; v++) {
            const __mmask16 part = v == vectors - 1 ? tail : 0xFFFFu;
            const int64_t at = t->c_rows[i] + v * LANES;
            if (!t->c_float) {
                _mm256_mask_storeu_epi16((uint16_t *)t->c + at, part, (__m256i)_mm512_cvtneps_pbh(acc[i][v]));
                continue;
            }
            float *c = (float *)t->c + at;
            if (t->add) acc[i][v] = _mm512_add_ps(acc[i][v], _mm512_maskz_loadu_ps(part, c));
            if (part == 0xFFFFu) /* who reads this next would wait for a store with a mask */
                _mm512_storeu_ps(c, acc[i][v]);
            else
                _mm512_mask_storeu_ps(c, part, acc[i][v]);
        }
    }
}

#define TILE_ONE(m, vectors)                                                                                           \
    static void tile_##m##x##vectors(const cpu_tile *t) {                                                              \
        tile_run(t, m, vectors);                                                                                       \
    }
#define TILE_HEIGHT(m) TILE_ONE(m, 1) TILE_ONE(m, 2)

TILE_HEIGHT(1)
TILE_HEIGHT(2)
TILE_HEIGHT(3)
TILE_HEIGHT(4)
TILE_HEIGHT(5)
TILE_HEIGHT(6)
TILE_HEIGHT(7)
TILE_HEIGHT(8)
TILE_HEIGHT(9)
TILE_HEIGHT(10)
TILE_HEIGHT(11)
TILE_HEIGHT(12)
TILE_HEIGHT(13)
TILE_HEIGHT(14)

/* [vectors - 1][m - 1] */
static void (*const tile_of[2][14])(const cpu_tile *t) = {
    {tile_1x1, tile_2x1, tile_3x1, tile_4x1, tile_5x1, tile_6x1, tile_7x1, tile_8x1, tile_9x1, tile_10x1, tile_11x1,
     tile_12x1, tile_13x1, tile_14x1},
    {tile_1x2, tile_2x2, tile_3x2, tile_4x2, tile_5x2, tile_6x2, tile_7x2, tile_8x2, tile_9x2, tile_10x2, tile_11x2,
     tile_12x2, tile_13x2, tile_14x2},
};

static void by_row(const cpu_tile *t) {
    tile_of[t->n > LANES][t->m - 1](t);
}

const cpu_micro_table cpu_micro = {
    14, 2 * LANES, sizeof(uint16_t), 0, by_row, NULL, cpu_high_pack_transposed, cpu_high_pack_rows, NULL};
