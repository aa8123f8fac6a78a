/*
 * The loops over u8 pixels with AVX-512: vpermb brings the bytes of 16 sums from anywhere in 64, and vpdpwssd adds two
 * taps to each.
 */
#include "image_kernels.h"

#if defined(__x86_64__) && defined(__GNUC__)
#include <immintrin.h>

#define AVX512 __attribute__((target("avx512f,avx512bw,avx512vl,avx512vbmi,avx512vnni")))
#define LANES 16
#define WINDOW 64
#define ROWS 4

/* 16 values of the output rows: the bytes that they are made from begin at `at`, two taps further for each pair. Each
 * group has 1 + taps / 2 vectors in the table: the index, and the weights of each pair. */
typedef struct pixel_group {
    int64_t at, pairs;
    const uint8_t *vectors;
    __mmask16 values;
} pixel_group;

/* Fills the vectors of group g. 0 where its inputs do not lie within a window. */
static int32_t fill_group(uint8_t *vectors, const image_axis *a, int64_t channels, int64_t g) {
    const int64_t n = a->out * channels, x0 = g * LANES / channels;
    memset(vectors, 0, (size_t)(WINDOW * (1 + a->taps / 2)));
    for (int64_t lane = 0; lane < LANES && g * LANES + lane < n; lane++) {
        const int64_t x = (g * LANES + lane) / channels, c = (g * LANES + lane) % channels;
        const int64_t at = (a->first[x] - a->first[x0]) * channels + c;
        if (at + channels >= WINDOW) return 0;
        vectors[4 * lane] = (uint8_t)at;
        vectors[4 * lane + 2] = (uint8_t)(at + channels);
        for (int64_t k = 0; k < a->taps; k += 2)
            memcpy(vectors + WINDOW * (1 + k / 2) + 4 * lane, a->fixed + x * a->taps + k, 4);
    }
    return 1;
}

static pixel_group group_of(const image_columns *c, int64_t g) {
    const image_axis *const a = c->axis;
    const int64_t n = a->out * c->channels, first = g * LANES / c->channels;
    const int64_t left = n - g * LANES < LANES ? n - g * LANES : LANES;
    int64_t count = 1;
    for (int64_t x = first; x <= (g * LANES + left - 1) / c->channels; x++) {
        if (a->count[x] > count) count = a->count[x];
    }
    return (pixel_group){a->first[first] * c->channels, (count + 1) / 2,
                         (const uint8_t *)c->table + g * WINDOW * (1 + a->taps / 2),
                         (__mmask16)(left == LANES ? 0xffff : (1 << left) - 1)};
}

/* Bytes [at, at + 64) of a row, zeros at and past `end`. */
AVX512 static __m512i load_before(const uint8_t *row, int64_t at, const uint8_t *end) {
    const int64_t room = end - row - at;
    if (room >= WINDOW) return _mm512_loadu_si512(row + at);
    const __mmask64 there = room <= 0 ? 0 : ((__mmask64)1 << room) - 1;
    return room <= 0 ? _mm512_setzero_si512() : _mm512_maskz_loadu_epi8(there, row + at);
}

AVX512 static __m512i at_least_0(__m512i v) {
    return _mm512_max_epi32(v, _mm512_setzero_si512());
}

AVX512 static void group_rows(const pixel_group *g, uint8_t *const to[ROWS], const uint8_t *const from[ROWS],
                              const image_columns *c) {
    const __mmask64 low_bytes = 0x5555555555555555u; /* the other half of 16 bits is 0 */
    const int64_t step = 2 * c->channels;
    const __m512i index = _mm512_load_si512(g->vectors), half = _mm512_set1_epi32(1 << (c->axis->bits - 1));
    const __m128i shift = _mm_cvtsi32_si128(c->axis->bits);
    __m512i s0 = half, s1 = half, s2 = half, s3 = half;
    for (int64_t k = 0; k < g->pairs; k++) {
        const int64_t at = g->at + k * step;
        const __m512i w = _mm512_load_si512(g->vectors + WINDOW * (1 + k));
        const __m512i r0 = load_before(from[0], at, c->end), r1 = load_before(from[1], at, c->end),
                      r2 = load_before(from[2], at, c->end), r3 = load_before(from[3], at, c->end);
        s0 = _mm512_dpwssd_epi32(s0, _mm512_maskz_permutexvar_epi8(low_bytes, index, r0), w);
        s1 = _mm512_dpwssd_epi32(s1, _mm512_maskz_permutexvar_epi8(low_bytes, index, r1), w);
        s2 = _mm512_dpwssd_epi32(s2, _mm512_maskz_permutexvar_epi8(low_bytes, index, r2), w);
        s3 = _mm512_dpwssd_epi32(s3, _mm512_maskz_permutexvar_epi8(low_bytes, index, r3), w);
    }
    _mm512_mask_cvtusepi32_storeu_epi8(to[0], g->values, at_least_0(_mm512_sra_epi32(s0, shift)));
    _mm512_mask_cvtusepi32_storeu_epi8(to[1], g->values, at_least_0(_mm512_sra_epi32(s1, shift)));
    _mm512_mask_cvtusepi32_storeu_epi8(to[2], g->values, at_least_0(_mm512_sra_epi32(s2, shift)));
    _mm512_mask_cvtusepi32_storeu_epi8(to[3], g->values, at_least_0(_mm512_sra_epi32(s3, shift)));
}

static void columns(const image_columns *c) {
    const int64_t groups = (c->axis->out * c->channels + LANES - 1) / LANES;
    for (int64_t g = 0; g < groups; g++) {
        uint8_t *const vectors = (uint8_t *)c->table + g * WINDOW * (1 + c->axis->taps / 2);
        if (!fill_group(vectors, c->axis, c->channels, g)) {
            image_kernels_avx2.columns(c);
            return;
        }
    }
    for (int64_t g = 0; g < groups; g++) {
        const pixel_group here = group_of(c, g);
        for (int64_t y = 0; y < c->rows; y += ROWS) {
            uint8_t *to[ROWS];
            const uint8_t *from[ROWS];
            /* The last four may be the same row several times. */
            for (int64_t i = 0; i < ROWS; i++) {
                const int64_t at = y + i < c->rows ? y + i : c->rows - 1;
                to[i] = c->to + at * c->to_row + g * LANES;
                from[i] = c->from + at * c->from_row;
            }
            group_rows(&here, to, from, c);
        }
    }
}

/* The values of an output row that `m` names, up to 64. */
AVX512 static void rows_64(uint8_t *to, const uint8_t *p, const image_rows *r, __mmask64 m) {
    const __m512i zero = _mm512_setzero_si512(), half = _mm512_set1_epi32(1 << (r->bits - 1));
    const __m128i shift = _mm_cvtsi32_si128(r->bits);
    __m512i s0 = half, s1 = half, s2 = half, s3 = half;
    for (int64_t k = 0; k < r->count; k += 2, p += 2 * r->row) {
        int32_t two;
        memcpy(&two, r->w + k, sizeof two);
        const __m512i w = _mm512_set1_epi32(two), a = _mm512_maskz_loadu_epi8(m, p),
                      b = _mm512_maskz_loadu_epi8(m, k + 1 < r->count ? p + r->row : p); /* its weight is 0 */
        const __m512i lo = _mm512_unpacklo_epi8(a, b), hi = _mm512_unpackhi_epi8(a, b);
        s0 = _mm512_dpwssd_epi32(s0, _mm512_unpacklo_epi8(lo, zero), w);
        s1 = _mm512_dpwssd_epi32(s1, _mm512_unpackhi_epi8(lo, zero), w);
        s2 = _mm512_dpwssd_epi32(s2, _mm512_unpacklo_epi8(hi, zero), w);
        s3 = _mm512_dpwssd_epi32(s3, _mm512_unpackhi_epi8(hi, zero), w);
    }
    const __m512i u = _mm512_packs_epi32(_mm512_sra_epi32(s0, shift), _mm512_sra_epi32(s1, shift));
    const __m512i v = _mm512_packs_epi32(_mm512_sra_epi32(s2, shift), _mm512_sra_epi32(s3, shift));
    _mm512_mask_storeu_epi8(to, m, _mm512_packus_epi16(u, v));
}

static void rows(uint8_t *to, const uint8_t *from, const image_rows *r) {
    for (int64_t at = 0; at < r->n; at += 64) {
        const int64_t left = r->n - at;
        rows_64(to + at, from + at, r, left >= 64 ? ~(__mmask64)0 : ((__mmask64)1 << left) - 1);
    }
}

static void reverse(uint8_t *to, const uint8_t *from, int64_t n, uint64_t pixel_bytes) {
    image_kernels_avx2.reverse(to, from, n, pixel_bytes);
}

const image_kernels image_kernels_avx512 = {"avx512", columns, rows, reverse};

#endif
