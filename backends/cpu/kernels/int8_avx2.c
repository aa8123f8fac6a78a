/*
 * The micro-kernels of AVX2, which has no product of bytes that does not saturate: bytes become words, and vpmaddwd
 * adds two products of words in each lane of 32 bits. A filter's sum is in two neighbouring lanes until the end.
 */
#include "int8_ymm.h"

#define GROUP 4 /* filters of a vector: two lanes each */

/* m pixels by the 16 filters from `first` on. */
INT8_INLINE void tile_16(const int8_tile *t, int m, int64_t first, int64_t width) {
    __m256i acc[2][4];
    const int8_t *w = t->weights + first * 4;
    for (int i = 0; i < m; i++)
        for (int v = 0; v < 4; v++) acc[i][v] = _mm256_setzero_si256();
    for (int64_t tap = 0; tap < t->taps; tap++) {
        const uint8_t *const *x = t->x + tap * INT8_BLOCK;
        for (int64_t at = 0; at < 4 * t->quads; at += 4, w += width * 4) {
            __m256i wv[4];
#pragma GCC unroll 4
            for (int v = 0; v < 4; v++)
                wv[v] = _mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i *)(const void *)(w + v * GROUP * 4)));
#pragma GCC unroll 2
            for (int i = 0; i < m; i++) {
                int32_t four;
                memcpy(&four, x[i] + at, sizeof four);
                const __m256i xv = _mm256_cvtepu8_epi16(_mm_set1_epi32(four));
#pragma GCC unroll 4
                for (int v = 0; v < 4; v++) acc[i][v] = _mm256_add_epi32(acc[i][v], _mm256_madd_epi16(xv, wv[v]));
            }
        }
    }
    for (int i = 0; i < m; i++) {
        __m256i sums[2];
        for (int k = 0; k < 2; k++) { /* lanes of both halves of a filter together: 0 1 4 5 | 2 3 6 7 */
            const __m256i pairs = _mm256_hadd_epi32(acc[i][2 * k], acc[i][2 * k + 1]);
            sums[k] = _mm256_permute4x64_epi64(pairs, 0xD8);
            sums[k] =
                _mm256_add_epi32(sums[k], _mm256_loadu_si256((const __m256i *)(const void *)(t->bias + first + 8 * k)));
            if (t->sums)
                _mm256_storeu_si256((__m256i *)(void *)(t->sums[i] + first + 8 * k), sums[k]);
            else
                sums[k] = int8_ymm_requantise(sums[k], t->scale + first + 8 * k, t->zero);
        }
        if (!t->sums) int8_ymm_store(t->y[i] + first, int8_ymm_narrow(sums[0], sums[1]), t->n - first);
    }
}

static void tile(const int8_tile *t, int32_t vectors) {
    const int64_t width = vectors * INT8_LANES;
    for (int64_t first = 0; first < t->n; first += INT8_LANES) {
        if (t->m == 2)
            tile_16(t, 2, first, width);
        else
            tile_16(t, 1, first, width);
    }
}

const int8_micro cpu_int8_micro = {.rows = {2, 2, 2, 2}, .tile = tile, .depthwise = int8_ymm_depthwise};
