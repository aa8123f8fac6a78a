/* What the micro-kernels with vectors of 256 bits share: from sums to bytes, and convolutions of one channel a group.
 */
#ifndef CVR_BACKENDS_CPU_INT8_YMM_H
#define CVR_BACKENDS_CPU_INT8_YMM_H

#include "int8.h"

#include <immintrin.h>

/* 8 sums as u8, each in a lane of 32 bits */
INT8_INLINE __m256i int8_ymm_requantise(__m256i acc, const float *scale, int32_t zero) {
    __m256 v = _mm256_mul_ps(_mm256_cvtepi32_ps(acc), _mm256_loadu_ps(scale));
    v = _mm256_max_ps(v, _mm256_set1_ps((float)-zero));
    v = _mm256_min_ps(v, _mm256_set1_ps((float)(255 - zero)));
    return _mm256_add_epi32(_mm256_cvtps_epi32(v), _mm256_set1_epi32(zero));
}

/* 16 sums, in order, as u8 */
INT8_INLINE __m128i int8_ymm_narrow(__m256i a, __m256i b) {
    const __m256i words = _mm256_permute4x64_epi64(_mm256_packs_epi32(a, b), 0xD8);
    return _mm_packus_epi16(_mm256_castsi256_si128(words), _mm256_extracti128_si256(words, 1));
}

INT8_INLINE void int8_ymm_store(uint8_t *y, __m128i bytes, int64_t n) {
    uint8_t all[16];
    if (n >= 16) {
        _mm_storeu_si128((__m128i *)(void *)y, bytes);
        return;
    }
    _mm_storeu_si128((__m128i *)(void *)all, bytes);
    memcpy(y, all, (size_t)n);
}

/* 16 channels at a time: two taps to a lane of 32 bits. Their weights lie in four places, four channels in each. */
static void int8_ymm_depthwise(const int8_pixel *d) {
    for (int64_t at = 0; at < d->n; at += 16) {
        const int64_t left = d->n - at, first = int8_depthwise_place(at);
        __m128i sums[4];
        for (int v = 0; v < 4; v++)
            sums[v] = _mm_loadu_si128((const __m128i *)(const void *)(d->bias + first + 16 * v));
        for (int64_t q = 0; q < d->quads; q++) {
            __m128i b[4];
            for (int k = 0; k < 4; k++) {
                uint8_t tail[16] = {0};
                if (left < 16) memcpy(tail, d->x[4 * q + k] + at, (size_t)left);
                b[k] = _mm_loadu_si128((const __m128i *)(const void *)(left < 16 ? tail : d->x[4 * q + k] + at));
            }
            const __m128i lo01 = _mm_unpacklo_epi8(b[0], b[1]), hi01 = _mm_unpackhi_epi8(b[0], b[1]),
                          lo23 = _mm_unpacklo_epi8(b[2], b[3]), hi23 = _mm_unpackhi_epi8(b[2], b[3]);
            const __m128i fours[4] = {_mm_unpacklo_epi16(lo01, lo23), _mm_unpackhi_epi16(lo01, lo23),
                                      _mm_unpacklo_epi16(hi01, hi23), _mm_unpackhi_epi16(hi01, hi23)};
            for (int v = 0; v < 4; v++) {
                const void *w = d->weights + (q * d->channels + first + 16 * v) * 4;
                const __m256i products = _mm256_madd_epi16(_mm256_cvtepu8_epi16(fours[v]),
                                                           _mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i *)w)));
                sums[v] = _mm_add_epi32(
                    sums[v], _mm_hadd_epi32(_mm256_castsi256_si128(products), _mm256_extracti128_si256(products, 1)));
            }
        }
        __m256i halves[2];
        for (int k = 0; k < 2; k++) {
            float both[8];
            memcpy(both, d->scale + first + 32 * k, 16);
            memcpy(both + 4, d->scale + first + 32 * k + 16, 16);
            halves[k] = int8_ymm_requantise(_mm256_set_m128i(sums[2 * k + 1], sums[2 * k]), both, d->zero);
        }
        int8_ymm_store(d->y + at, int8_ymm_narrow(halves[0], halves[1]), left);
    }
}

#endif
