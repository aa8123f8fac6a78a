/*
 * The micro-kernels of AVX-VNNI: vpdpbusd in vectors of 256 bits, on processors without AVX-512. A tile of 6 pixels by
 * 16 filters keeps 12 sums in registers.
 */
#include "int8_ymm.h"

#if defined(__AVXVNNI__)
#define DOT(sum, x, w) _mm256_dpbusd_avx_epi32(sum, x, w)
#else /* the tests run this file where AVX-512 has the same instruction */
#define DOT(sum, x, w) _mm256_dpbusd_epi32(sum, x, w)
#endif

INT8_INLINE __m256i load(const void *p) {
    return _mm256_loadu_si256((const __m256i *)p);
}

/* m pixels by the 16 filters from `first` on. */
INT8_INLINE void tile_16(const int8_tile *t, int m, int64_t first, int64_t width) {
    __m256i acc[6][2];
    const int8_t *w = t->weights + first * 4;
#pragma GCC unroll 6
    for (int i = 0; i < m; i++)
        for (int v = 0; v < 2; v++) acc[i][v] = load(t->bias + first + 8 * v);
    for (int64_t tap = 0; tap < t->taps; tap++) {
        const uint8_t *const *x = t->x + tap * INT8_BLOCK;
        for (int64_t at = 0; at < 4 * t->quads; at += 4, w += width * 4) {
            const __m256i w0 = load(w), w1 = load(w + 32);
#pragma GCC unroll 6
            for (int i = 0; i < m; i++) {
                int32_t four;
                memcpy(&four, x[i] + at, sizeof four);
                const __m256i xv = _mm256_set1_epi32(four);
                acc[i][0] = DOT(acc[i][0], xv, w0);
                acc[i][1] = DOT(acc[i][1], xv, w1);
            }
        }
    }
#pragma GCC unroll 6
    for (int i = 0; i < m; i++) {
        for (int v = 0; v < 2; v++) {
            if (t->sums)
                _mm256_storeu_si256((__m256i *)(void *)(t->sums[i] + first + 8 * v), acc[i][v]);
            else
                acc[i][v] = int8_ymm_requantise(acc[i][v], t->scale + first + 8 * v, t->zero);
        }
        if (!t->sums) int8_ymm_store(t->y[i] + first, int8_ymm_narrow(acc[i][0], acc[i][1]), t->n - first);
    }
}

static void tile(const int8_tile *t, int32_t vectors) {
    const int64_t width = vectors * INT8_LANES;
    for (int64_t first = 0; first < t->n; first += INT8_LANES) {
        switch (t->m) {
        case 1: tile_16(t, 1, first, width); break;
        case 2: tile_16(t, 2, first, width); break;
        case 3: tile_16(t, 3, first, width); break;
        case 4: tile_16(t, 4, first, width); break;
        case 5: tile_16(t, 5, first, width); break;
        default: tile_16(t, 6, first, width);
        }
    }
}

const int8_micro cpu_int8_micro = {.rows = {6, 6, 6, 6}, .even = 1, .tile = tile, .depthwise = int8_ymm_depthwise};
