/*
 * The micro-kernels of AVX-512 VNNI: vpdpbusd multiplies four u8 by four i8 in each of 16 lanes and adds the products,
 * without saturation. A tile of 6 x 64 keeps 24 sums in registers, with four vectors of weights and one of x.
 */
#include "int8_zmm.h"

INT8_INLINE void tile_run(const int8_tile *t, int m, int vectors) {
    __m512i acc[12][4];
    const int8_t *w = t->weights;
    for (int v = 0; v < vectors; v++) {
        const __m512i first = _mm512_loadu_si512(t->bias + v * INT8_LANES);
#pragma GCC unroll 12
        for (int i = 0; i < m; i++) acc[i][v] = first;
    }
    for (int64_t tap = 0; tap < t->taps; tap++) {
        const uint8_t *const *x = t->x + tap * INT8_BLOCK;
        for (int64_t at = 0; at < 4 * t->quads; at += 4, w += vectors * INT8_LANES * 4) {
            __m512i wv[4];
#pragma GCC unroll 4
            for (int v = 0; v < vectors; v++) wv[v] = _mm512_loadu_si512(w + v * INT8_LANES * 4);
#pragma GCC unroll 12
            for (int i = 0; i < m; i++) {
                int32_t four;
                memcpy(&four, x[i] + at, sizeof four);
                const __m512i xv = _mm512_set1_epi32(four);
#pragma GCC unroll 4
                for (int v = 0; v < vectors; v++) acc[i][v] = _mm512_dpbusd_epi32(acc[i][v], xv, wv[v]);
            }
        }
    }
    if (t->sums) {
#pragma GCC unroll 12
        for (int i = 0; i < m; i++) zmm_store_sums(t->sums[i], acc[i], vectors);
        return;
    }
    const __m512 high = _mm512_set1_ps((float)(255 - t->zero));
    const __m512i zero = _mm512_set1_epi16((short)t->zero);
    const __mmask64 mask = t->n >= INT8_PANEL ? ~(__mmask64)0 : ((__mmask64)1 << t->n) - 1;
    __m512 scale[4];
#pragma GCC unroll 4
    for (int v = 0; v < vectors; v++) scale[v] = _mm512_loadu_ps(t->scale + v * INT8_LANES);
#pragma GCC unroll 12
    for (int i = 0; i < m; i++) zmm_store_row(t->y[i], acc[i], scale, high, zero, vectors, mask);
}

#define TILE(m, vectors)                                                                                               \
    static void tile_##m##x##vectors(const int8_tile *t) {                                                             \
        tile_run(t, m, vectors);                                                                                       \
    }
#define TILES_6(vectors)                                                                                               \
    TILE(1, vectors) TILE(2, vectors) TILE(3, vectors) TILE(4, vectors) TILE(5, vectors) TILE(6, vectors)
#define TILES_12(vectors)                                                                                              \
    TILES_6(vectors)                                                                                                   \
    TILE(7, vectors) TILE(8, vectors) TILE(9, vectors) TILE(10, vectors) TILE(11, vectors) TILE(12, vectors)

TILES_12(1)
TILES_12(2)
TILES_6(3)
TILE(7, 3)
TILE(8, 3)
TILES_6(4)

/* [vectors - 1][m - 1] */
static void (*const tile_of[4][12])(const int8_tile *t) = {
    {tile_1x1, tile_2x1, tile_3x1, tile_4x1, tile_5x1, tile_6x1, tile_7x1, tile_8x1, tile_9x1, tile_10x1, tile_11x1,
     tile_12x1},
    {tile_1x2, tile_2x2, tile_3x2, tile_4x2, tile_5x2, tile_6x2, tile_7x2, tile_8x2, tile_9x2, tile_10x2, tile_11x2,
     tile_12x2},
    {tile_1x3, tile_2x3, tile_3x3, tile_4x3, tile_5x3, tile_6x3, tile_7x3, tile_8x3},
    {tile_1x4, tile_2x4, tile_3x4, tile_4x4, tile_5x4, tile_6x4},
};

static void tile(const int8_tile *t, int32_t vectors) {
    tile_of[vectors - 1][t->m - 1](t);
}

const int8_micro cpu_int8_micro = {
    .rows = {12, 12, 8, 6}, .even = 1, .tile = tile, .depthwise = zmm_depthwise, .add = zmm_add};
