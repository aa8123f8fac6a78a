/* What the micro-kernels of AVX-512 VNNI and of AMX share: sums in i32 become u8, and depthwise convolutions. */
#ifndef CVR_BACKENDS_CPU_INT8_ZMM_H
#define CVR_BACKENDS_CPU_INT8_ZMM_H

#include "int8.h"

#include <immintrin.h>

/* 16 sums of one pixel as u8, each in a lane of 32 bits */
INT8_INLINE __m512i zmm_requantise(__m512i acc, __m512 scale, __m512 low, __m512 high, __m512i zero) {
    __m512 v = _mm512_mul_ps(_mm512_cvtepi32_ps(acc), scale);
    v = _mm512_min_ps(_mm512_max_ps(v, low), high);
    return _mm512_add_epi32(_mm512_cvtps_epi32(v), zero);
}

INT8_INLINE void zmm_store_sums(int32_t *y, const __m512i *acc, int vectors) {
    for (int v = 0; v < vectors; v++) _mm512_storeu_si512(y + v * INT8_LANES, acc[v]);
}

/* The sums of one pixel as u8, of up to 64 filters. What lies below the range is cut by the packs, which saturate;
 * above it by the minimum, since a conversion to whole numbers that overflows does not. */
INT8_INLINE void zmm_store_row(uint8_t *y, const __m512i *acc, const __m512 *scale, __m512 high, __m512i zero,
                               int vectors, __mmask64 mask) {
    const __m512i order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
    __m512i v[4];
#pragma GCC unroll 4
    for (int k = 0; k < 4; k++)
        v[k] = k < vectors
                   ? _mm512_cvtps_epi32(_mm512_min_ps(_mm512_mul_ps(_mm512_cvtepi32_ps(acc[k]), scale[k]), high))
                   : v[0];
    const __m512i a = _mm512_adds_epi16(_mm512_packs_epi32(v[0], v[1]), zero),
                  b = vectors > 2 ? _mm512_adds_epi16(_mm512_packs_epi32(v[2], v[3]), zero) : a;
    const __m512i bytes = _mm512_permutexvar_epi32(order, _mm512_packus_epi16(a, b));
    if (vectors == 4 && mask == ~(__mmask64)0)
        _mm512_storeu_si512(y, bytes);
    else
        _mm512_mask_storeu_epi8(y, mask, bytes);
}

/* 16 sums of two u8 (cvr_add_int8_one), below the range and NaN left for the packs to cut. */
INT8_INLINE __m512i zmm_sum(const cvr_add_int8 *k, const uint8_t *a, const uint8_t *b) {
    const __m512 x = _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)(const void *)a))),
                 z = _mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)(const void *)b)));
    const __m512 v =
        _mm512_fmadd_ps(x, _mm512_set1_ps(k->a), _mm512_fmadd_ps(z, _mm512_set1_ps(k->b), _mm512_set1_ps(k->fixed)));
    return _mm512_cvtps_epi32(_mm512_min_ps(_mm512_set1_ps(255), v));
}

static int64_t zmm_add(const cvr_add_int8 *k, const uint8_t *a, const uint8_t *b, uint8_t *y, int64_t n) {
    const __m512i order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
    int64_t i = 0;
    for (; i + 64 <= n; i += 64) {
        const __m512i lo = _mm512_packs_epi32(zmm_sum(k, a + i, b + i), zmm_sum(k, a + i + 16, b + i + 16)),
                      hi = _mm512_packs_epi32(zmm_sum(k, a + i + 32, b + i + 32), zmm_sum(k, a + i + 48, b + i + 48));
        _mm512_storeu_si512(y + i, _mm512_permutexvar_epi32(order, _mm512_packus_epi16(lo, hi)));
    }
    return i;
}

/*
 * 64 channels at a time. Interleaving bytes of four taps, twice, within lanes of 128 bits, leaves them in the order of
 * int8_depthwise_place; packing the sums, twice, brings them back.
 */
INT8_INLINE void zmm_depthwise_64(const int8_pixel *d, int64_t at, __mmask64 mask) {
    __m512i acc[4];
    for (int v = 0; v < 4; v++) acc[v] = _mm512_loadu_si512(d->bias + at + v * INT8_LANES);
    for (int64_t q = 0; q < d->quads; q++) {
        const uint8_t *const *x = d->x;
        const __m512i x0 = _mm512_maskz_loadu_epi8(mask, x[4 * q] + at),
                      x1 = _mm512_maskz_loadu_epi8(mask, x[4 * q + 1] + at),
                      x2 = _mm512_maskz_loadu_epi8(mask, x[4 * q + 2] + at),
                      x3 = _mm512_maskz_loadu_epi8(mask, x[4 * q + 3] + at);
        const __m512i a = _mm512_unpacklo_epi8(x0, x1), b = _mm512_unpackhi_epi8(x0, x1),
                      c = _mm512_unpacklo_epi8(x2, x3), e = _mm512_unpackhi_epi8(x2, x3);
        const int8_t *w = d->weights + (q * d->channels + at) * 4;
        acc[0] = _mm512_dpbusd_epi32(acc[0], _mm512_unpacklo_epi16(a, c), _mm512_loadu_si512(w));
        acc[1] = _mm512_dpbusd_epi32(acc[1], _mm512_unpackhi_epi16(a, c), _mm512_loadu_si512(w + 64));
        acc[2] = _mm512_dpbusd_epi32(acc[2], _mm512_unpacklo_epi16(b, e), _mm512_loadu_si512(w + 128));
        acc[3] = _mm512_dpbusd_epi32(acc[3], _mm512_unpackhi_epi16(b, e), _mm512_loadu_si512(w + 192));
    }
    const __m512 low = _mm512_set1_ps((float)-d->zero), high = _mm512_set1_ps((float)(255 - d->zero));
    const __m512i zero = _mm512_set1_epi32(d->zero);
    for (int v = 0; v < 4; v++)
        acc[v] = zmm_requantise(acc[v], _mm512_loadu_ps(d->scale + at + v * INT8_LANES), low, high, zero);
    const __m512i lo = _mm512_packs_epi32(acc[0], acc[1]), hi = _mm512_packs_epi32(acc[2], acc[3]);
    _mm512_mask_storeu_epi8(d->y + at, mask, _mm512_packus_epi16(lo, hi));
}

static void zmm_depthwise(const int8_pixel *d) {
    for (int64_t at = 0; at < d->n; at += 64) {
        const int64_t left = d->n - at;
        const __mmask64 mask = left >= 64 ? ~(__mmask64)0 : ((__mmask64)1 << left) - 1;
        zmm_depthwise_64(d, at, mask);
    }
}

#endif
