/*
 * What the packs of bf16 products prepare operands with (gemm_bf16.h): panels of B in pairs of k, rows of A transposed,
 * f32 rounded, or split in two. For whatever tiles: vdpbf16ps' and AMX's want the same.
 */
#include "gemm_bf16.h"

#include <immintrin.h>

#define LANES 16

/* 16 x 16 elements of 32 bits: row i, lane j becomes row j, lane i. */
TILE_INLINE void transpose16(__m512i r[16]) {
    __m512i u[16];
    TILE_UNROLL
    for (int i = 0; i < 16; i += 2) {
        u[i] = _mm512_unpacklo_epi32(r[i], r[i + 1]);
        u[i + 1] = _mm512_unpackhi_epi32(r[i], r[i + 1]);
    }
    TILE_UNROLL
    for (int i = 0; i < 16; i += 4) {
        r[i] = _mm512_unpacklo_epi64(u[i], u[i + 2]);
        r[i + 1] = _mm512_unpackhi_epi64(u[i], u[i + 2]);
        r[i + 2] = _mm512_unpacklo_epi64(u[i + 1], u[i + 3]);
        r[i + 3] = _mm512_unpackhi_epi64(u[i + 1], u[i + 3]);
    }
    /* r[4g + j] has, in its quarter q, column 4q + j of rows 4g to 4g + 3. */
    TILE_UNROLL
    for (int j = 0; j < 4; j++) {
        u[j] = _mm512_shuffle_i32x4(r[j], r[4 + j], 0x88);
        u[4 + j] = _mm512_shuffle_i32x4(r[j], r[4 + j], 0xdd);
        u[8 + j] = _mm512_shuffle_i32x4(r[8 + j], r[12 + j], 0x88);
        u[12 + j] = _mm512_shuffle_i32x4(r[8 + j], r[12 + j], 0xdd);
    }
    TILE_UNROLL
    for (int j = 0; j < 4; j++) {
        r[j] = _mm512_shuffle_i32x4(u[j], u[8 + j], 0x88);
        r[8 + j] = _mm512_shuffle_i32x4(u[j], u[8 + j], 0xdd);
        r[4 + j] = _mm512_shuffle_i32x4(u[4 + j], u[12 + j], 0x88);
        r[12 + j] = _mm512_shuffle_i32x4(u[4 + j], u[12 + j], 0xdd);
    }
}

/* The first n bits, n from 0 to 32. */
static inline uint32_t first_bits(int64_t n) {
    return n <= 0 ? 0 : n >= 32 ? 0xFFFFFFFFu : (UINT32_C(1) << n) - 1;
}

/* What is read: bf16, or f32 for its high or its low part. */
typedef enum part { BF16, HIGH, LOW } part;

/* 16 numbers less what bf16 has of them. */
static inline __m512 rest16(__m512 x) {
    const __m512i high = _mm512_cvtepu16_epi32((__m256i)_mm512_cvtneps_pbh(x));
    return _mm512_sub_ps(x, _mm512_castsi512_ps(_mm512_slli_epi32(high, 16)));
}

/* 32 elements from `at` on, as bf16; those past the n-th zero. */
TILE_INLINE __m512i load32(const void *from, int64_t at, int64_t n, part p) {
    const uint32_t mask = first_bits(n);
    if (p == BF16) return _mm512_maskz_loadu_epi16(mask, (const uint16_t *)from + at);
    const float *x = (const float *)from + at;
    __m512 first = _mm512_maskz_loadu_ps((__mmask16)mask, x), second = _mm512_setzero_ps();
    if (mask >> 16) second = _mm512_maskz_loadu_ps((__mmask16)(mask >> 16), x + 16);
    if (p == LOW) return (__m512i)_mm512_cvtne2ps_pbh(rest16(second), rest16(first));
    return (__m512i)_mm512_cvtne2ps_pbh(second, first);
}

/* 16 elements from `at` on, as bf16 in the lower halves of 32 bits; those outside of the mask zero. */
TILE_INLINE __m512i load16(const void *from, int64_t at, __mmask16 mask, part p) {
    if (p == BF16) return _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(mask, (const uint16_t *)from + at));
    const __m512 x = _mm512_maskz_loadu_ps(mask, (const float *)from + at);
    return _mm512_cvtepu16_epi32((__m256i)_mm512_cvtneps_pbh(p == LOW ? rest16(x) : x));
}

/* Pairs (a[j], b[j]) of 32 columns. */
TILE_INLINE void store_pairs(uint16_t *to, __m512i a, __m512i b) {
    const __m512i low = _mm512_unpacklo_epi16(a, b), high = _mm512_unpackhi_epi16(a, b);
    const __m512i first = _mm512_setr_epi64(0, 1, 8, 9, 2, 3, 10, 11),
                  second = _mm512_setr_epi64(4, 5, 12, 13, 6, 7, 14, 15);
    _mm512_storeu_si512(to, _mm512_permutex2var_epi64(low, first, high));
    _mm512_storeu_si512(to + 32, _mm512_permutex2var_epi64(low, second, high));
}

/* Rows are too far apart for the processor to see what comes next: it is told, so many rows, or elements, ahead. */
#define AHEAD_ROWS 8
#define AHEAD 64

/* The line of element `at`, and of f32, where 32 elements are two lines, the next one. */
TILE_INLINE void fetch(const void *from, int64_t at, part p) {
    if (p == BF16) {
        __builtin_prefetch((const uint16_t *)from + at);
        return;
    }
    __builtin_prefetch((const float *)from + at);
    __builtin_prefetch((const float *)from + at + 16);
}

TILE_INLINE void pack_rows_of(uint16_t *to, const void *from, int64_t from_step, int64_t k, int64_t n, part p) {
    for (int64_t c = 0; c < k; c += CPU_PAIR, to += CPU_PAIR * 2 * LANES) {
        const __m512i a = load32(from, c * from_step, n, p);
        for (int64_t i = 0; i < CPU_PAIR; i++) fetch(from, (c + i + AHEAD_ROWS) * from_step, p);
        store_pairs(to, a, c + 1 < k ? load32(from, (c + 1) * from_step, n, p) : _mm512_setzero_si512());
    }
}

TILE_INLINE void pack_listed_of(uint16_t *to, const void *const *rows, int64_t at, int64_t k, int64_t n, part p) {
    for (int64_t c = 0; c < k; c += CPU_PAIR, to += CPU_PAIR * 2 * LANES)
        store_pairs(to, load32(rows[c], at, n, p), load32(rows[c + 1], at, n, p));
}

TILE_INLINE void pack_transposed_of(uint16_t *to, const void *from, int64_t from_step, int64_t k, int64_t n, part p) {
    const int64_t width = CPU_PAIR * 2 * LANES;
    for (int64_t c = 0; c < k; c += 32)
        for (int64_t j = 0; j < 2 * LANES; j += LANES) {
            __m512i r[16];
            for (int64_t i = 0; i < LANES; i++) {
                r[i] = j + i < n ? load32(from, (j + i) * from_step + c, k - c, p) : _mm512_setzero_si512();
                if (j + i < n) fetch(from, (j + i) * from_step + c + AHEAD, p);
            }
            transpose16(r);
            for (int64_t i = 0; i < 16 && c + i * CPU_PAIR < k; i++)
                _mm512_storeu_si512(to + (c / CPU_PAIR + i) * width + j * CPU_PAIR, r[i]);
        }
}

TILE_INLINE void transpose_of(uint16_t *to, int64_t to_step, const void *const *rows, int64_t n, int64_t columns,
                              part p) {
    const uint32_t keep = first_bits(n);
    for (int64_t c = 0; c < columns; c += LANES) {
        const __mmask16 mask = (__mmask16)first_bits(cpu_min(LANES, columns - c));
        __m512i r[16];
        for (int64_t i = 0; i < 16; i++) {
            const int64_t t = i * CPU_PAIR;
            __m512i a = _mm512_setzero_si512(), b = a;
            if (t < n) a = load16(rows[t], c, mask, p);
            if (t + 1 < n) b = load16(rows[t + 1], c, mask, p);
            r[i] = _mm512_or_si512(a, _mm512_slli_epi32(b, 16));
        }
        transpose16(r);
        for (int64_t i = 0; i < LANES && c + i < columns; i++)
            _mm512_mask_storeu_epi16(to + (c + i) * to_step, keep, r[i]);
    }
}

/* 32 numbers from `from` on, those outside of the mask 0, in two parts. */
TILE_INLINE void split32(__m512i *high, __m512i *low, const float *from, uint32_t mask) {
    const __m512 first = _mm512_maskz_loadu_ps((__mmask16)mask, from);
    const __m512 second = mask >> 16 ? _mm512_maskz_loadu_ps((__mmask16)(mask >> 16), from + 16) : _mm512_setzero_ps();
    *high = (__m512i)_mm512_cvtne2ps_pbh(second, first);
    const __m512i a = _mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm512_castsi512_si256(*high)), 16);
    const __m512i b = _mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm512_extracti64x4_epi64(*high, 1)), 16);
    *low = (__m512i)_mm512_cvtne2ps_pbh(_mm512_sub_ps(second, _mm512_castsi512_ps(b)),
                                        _mm512_sub_ps(first, _mm512_castsi512_ps(a)));
}

void cpu_bf16_transpose(uint16_t *to, int64_t to_step, const uint16_t *const *rows, int64_t n, int64_t columns) {
    transpose_of(to, to_step, (const void *const *)rows, n, columns, BF16);
}
void cpu_bf16_pack_rows(uint16_t *to, const uint16_t *from, int64_t from_step, int64_t k, int64_t n) {
    pack_rows_of(to, from, from_step, k, n, BF16);
}
void cpu_bf16_pack_listed(uint16_t *to, const uint16_t *const *rows, int64_t at, int64_t k, int64_t n) {
    pack_listed_of(to, (const void *const *)rows, at, k, n, BF16);
}
void cpu_bf16_pack_transposed(uint16_t *to, const uint16_t *from, int64_t from_step, int64_t k, int64_t n) {
    pack_transposed_of(to, from, from_step, k, n, BF16);
}

void cpu_high_transpose(uint16_t *to, int64_t to_step, const float *const *rows, int64_t n, int64_t columns) {
    transpose_of(to, to_step, (const void *const *)rows, n, columns, HIGH);
}
void cpu_high_pack_rows(uint16_t *to, const float *from, int64_t from_step, int64_t k, int64_t n) {
    pack_rows_of(to, from, from_step, k, n, HIGH);
}
void cpu_high_pack_listed(uint16_t *to, const float *const *rows, int64_t at, int64_t k, int64_t n) {
    pack_listed_of(to, (const void *const *)rows, at, k, n, HIGH);
}
void cpu_high_pack_transposed(uint16_t *to, const float *from, int64_t from_step, int64_t k, int64_t n) {
    pack_transposed_of(to, from, from_step, k, n, HIGH);
}
void cpu_high_copy(uint16_t *to, const float *from, int64_t n) {
    for (int64_t j = 0; j < n; j += 32)
        _mm512_mask_storeu_epi16(to + j, first_bits(n - j), load32(from, j, n - j, HIGH));
}

void cpu_low_transpose(uint16_t *to, int64_t to_step, const float *const *rows, int64_t n, int64_t columns) {
    transpose_of(to, to_step, (const void *const *)rows, n, columns, LOW);
}
void cpu_low_pack_rows(uint16_t *to, const float *from, int64_t from_step, int64_t k, int64_t n) {
    pack_rows_of(to, from, from_step, k, n, LOW);
}
void cpu_low_pack_listed(uint16_t *to, const float *const *rows, int64_t at, int64_t k, int64_t n) {
    pack_listed_of(to, (const void *const *)rows, at, k, n, LOW);
}
void cpu_low_pack_transposed(uint16_t *to, const float *from, int64_t from_step, int64_t k, int64_t n) {
    pack_transposed_of(to, from, from_step, k, n, LOW);
}
void cpu_split_copy(uint16_t *high, uint16_t *low, const float *from, int64_t n) {
    __m512i h, l;
    int64_t j = 0;
    for (; j + 32 <= n; j += 32) {
        split32(&h, &l, from + j, 0xFFFFFFFFu);
        _mm512_storeu_si512(high + j, h);
        _mm512_storeu_si512(low + j, l);
    }
    if (j == n) return;
    split32(&h, &l, from + j, first_bits(n - j));
    _mm512_mask_storeu_epi16(high + j, first_bits(n - j), h);
    _mm512_mask_storeu_epi16(low + j, first_bits(n - j), l);
}
