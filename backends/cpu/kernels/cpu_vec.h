/*
 * A vector of VEC floats on whatever instruction set this pack is compiled for; the last section is plain C that gcc
 * and clang bring to any machine. `part` stands for the first n of a vector: what lies past them is not touched, and
 * reads as zero. vec_stream() wants alignment, and what cpu_stream.h says.
 *
 * bf16 comes in `bf16v`, 2 * VEC elements as they lie, which are two vectors: the elements of even and those of odd
 * index. Both are a single operation away, where elements in their order would have to cross the register.
 */
#ifndef CVR_BACKENDS_CPU_VEC_H
#define CVR_BACKENDS_CPU_VEC_H

#include <stdint.h>
#include <string.h>

#if defined(__AVX512F__)
#include <immintrin.h>

#define VEC 16
typedef __m512 vec;
typedef __mmask16 vec_part;

static inline vec_part vec_part_of(int64_t n) {
    return (vec_part)(0xFFFFu >> (16 - n));
}
static inline vec vec_zero(void) {
    return _mm512_setzero_ps();
}
static inline vec vec_load(const float *p) {
    return _mm512_loadu_ps(p);
}
static inline vec vec_load_part(const float *p, vec_part part) {
    return _mm512_maskz_loadu_ps(part, p);
}
static inline vec vec_set1(const float *p) {
    return _mm512_set1_ps(*p);
}
static inline vec vec_add(vec a, vec b) {
    return _mm512_add_ps(a, b);
}
static inline vec vec_fma(vec a, vec b, vec c) {
    return _mm512_fmadd_ps(a, b, c);
}
/* A NaN stays one. */
static inline vec vec_clamp(vec a, vec lo, vec hi) {
    return _mm512_min_ps(hi, _mm512_max_ps(lo, a));
}
/* x where lo < a < hi, 0 elsewhere. */
static inline vec vec_between(vec a, vec lo, vec hi, vec x) {
    return _mm512_maskz_mov_ps(_mm512_cmp_ps_mask(a, lo, _CMP_GT_OQ) & _mm512_cmp_ps_mask(a, hi, _CMP_LT_OQ), x);
}
static inline void vec_store(float *p, vec a) {
    _mm512_storeu_ps(p, a);
}
static inline void vec_stream(float *p, vec a) {
    _mm512_stream_ps(p, a);
}
static inline float vec_sum(vec a) {
    return _mm512_reduce_add_ps(a);
}
static inline void vec_store_part(float *p, vec a, vec_part part) {
    _mm512_mask_storeu_ps(p, part, a);
}
/* best, at = x, tap where x is larger or no number. */
static inline void vec_take_larger(vec *best, vec *at, vec x, vec tap) {
    const __mmask16 take = _mm512_cmp_ps_mask(x, *best, _CMP_GT_OQ) | _mm512_cmp_ps_mask(x, x, _CMP_UNORD_Q);
    *best = _mm512_mask_mov_ps(*best, take, x);
    *at = _mm512_mask_mov_ps(*at, take, tap);
}
/* x where its byte of `index` is `tap`, 0 elsewhere. */
static inline vec vec_where(const uint8_t *index, uint8_t tap, vec x) {
    const __m128i bytes = _mm_loadu_si128((const __m128i *)(const void *)index);
    return _mm512_maskz_mov_ps(_mm_cmpeq_epi8_mask(bytes, _mm_set1_epi8((char)tap)), x);
}

typedef __m512i bf16v;
#define BF16V_HIGH _mm512_set1_epi32((int)0xFFFF0000u)

static inline bf16v bf16v_load(const uint16_t *p) {
    return _mm512_loadu_si512(p);
}
/* 1 <= n <= 2 * VEC elements */
static inline bf16v bf16v_load_part(const uint16_t *p, int64_t n) {
    return _mm512_maskz_loadu_epi16(0xFFFFFFFFu >> (32 - n), p);
}
static inline void bf16v_store(uint16_t *p, bf16v a) {
    _mm512_storeu_si512(p, a);
}
static inline void bf16v_stream(uint16_t *p, bf16v a) {
    _mm512_stream_si512((__m512i *)(void *)p, a);
}
static inline void bf16v_store_part(uint16_t *p, bf16v a, int64_t n) {
    _mm512_mask_storeu_epi16(p, 0xFFFFFFFFu >> (32 - n), a);
}
static inline vec bf16v_even(bf16v a) {
    return _mm512_castsi512_ps(_mm512_slli_epi32(a, 16));
}
static inline vec bf16v_odd(bf16v a) {
    return _mm512_castsi512_ps(_mm512_and_si512(a, BF16V_HIGH));
}
static inline bf16v bf16v_where(const uint8_t *index, uint8_t tap, bf16v x) {
    const __m256i bytes = _mm256_loadu_si256((const __m256i *)(const void *)index);
    return _mm512_maskz_mov_epi16(_mm256_cmpeq_epi8_mask(bytes, _mm256_set1_epi8((char)tap)), x);
}
/* Rounds in the upper half, as cvr_bf16_of_f32 does; the lower half is of no account. */
static inline bf16v bf16v_round(vec a) {
    const __m512i bits = _mm512_castps_si512(a), one = _mm512_set1_epi32(1);
    const __m512i odd = _mm512_and_si512(_mm512_srli_epi32(bits, 16), one);
    const __m512i up = _mm512_add_epi32(_mm512_add_epi32(bits, _mm512_set1_epi32(0x7FFF)), odd);
    const __mmask16 nan = _mm512_cmp_ps_mask(a, a, _CMP_UNORD_Q);
    return _mm512_mask_or_epi32(up, nan, bits, _mm512_set1_epi32(0x400000));
}
static inline bf16v bf16v_join(vec even, vec odd) {
    const __m512i low = _mm512_srli_epi32(bf16v_round(even), 16);
    return _mm512_or_si512(low, _mm512_and_si512(bf16v_round(odd), BF16V_HIGH));
}
#elif defined(__AVX2__) && defined(__FMA__)
#include <immintrin.h>

#define VEC 8
typedef __m256 vec;
typedef __m256i vec_part;

static inline vec_part vec_part_of(int64_t n) {
    return _mm256_cmpgt_epi32(_mm256_set1_epi32((int)n), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}
static inline vec vec_zero(void) {
    return _mm256_setzero_ps();
}
static inline vec vec_load(const float *p) {
    return _mm256_loadu_ps(p);
}
static inline vec vec_load_part(const float *p, vec_part part) {
    return _mm256_maskload_ps(p, part);
}
static inline vec vec_set1(const float *p) {
    return _mm256_broadcast_ss(p);
}
static inline vec vec_add(vec a, vec b) {
    return _mm256_add_ps(a, b);
}
static inline vec vec_fma(vec a, vec b, vec c) {
    return _mm256_fmadd_ps(a, b, c);
}
static inline vec vec_clamp(vec a, vec lo, vec hi) {
    return _mm256_min_ps(hi, _mm256_max_ps(lo, a));
}
static inline vec vec_between(vec a, vec lo, vec hi, vec x) {
    return _mm256_and_ps(_mm256_and_ps(_mm256_cmp_ps(a, lo, _CMP_GT_OQ), _mm256_cmp_ps(a, hi, _CMP_LT_OQ)), x);
}
static inline void vec_store(float *p, vec a) {
    _mm256_storeu_ps(p, a);
}
static inline void vec_stream(float *p, vec a) {
    _mm256_stream_ps(p, a);
}
static inline float vec_sum(vec a) {
    const __m128 four = _mm_add_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
    const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
    return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
}
static inline void vec_store_part(float *p, vec a, vec_part part) {
    _mm256_maskstore_ps(p, part, a);
}
static inline void vec_take_larger(vec *best, vec *at, vec x, vec tap) {
    const vec take = _mm256_or_ps(_mm256_cmp_ps(x, *best, _CMP_GT_OQ), _mm256_cmp_ps(x, x, _CMP_UNORD_Q));
    *best = _mm256_blendv_ps(*best, x, take);
    *at = _mm256_blendv_ps(*at, tap, take);
}
static inline vec vec_where(const uint8_t *index, uint8_t tap, vec x) {
    const __m256i bytes = _mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)(const void *)index));
    return _mm256_and_ps(_mm256_castsi256_ps(_mm256_cmpeq_epi32(bytes, _mm256_set1_epi32(tap))), x);
}

typedef __m256i bf16v;
#define BF16V_HIGH _mm256_set1_epi32((int)0xFFFF0000u)

static inline bf16v bf16v_load(const uint16_t *p) {
    return _mm256_loadu_si256((const __m256i *)(const void *)p);
}
static inline vec bf16v_even(bf16v a) {
    return _mm256_castsi256_ps(_mm256_slli_epi32(a, 16));
}
static inline vec bf16v_odd(bf16v a) {
    return _mm256_castsi256_ps(_mm256_and_si256(a, BF16V_HIGH));
}
static inline bf16v bf16v_where(const uint8_t *index, uint8_t tap, bf16v x) {
    const __m256i bytes = _mm256_cvtepu8_epi16(_mm_loadu_si128((const __m128i *)(const void *)index));
    return _mm256_and_si256(_mm256_cmpeq_epi16(bytes, _mm256_set1_epi16(tap)), x);
}
static inline bf16v bf16v_round(vec a) {
    const __m256i bits = _mm256_castps_si256(a), one = _mm256_set1_epi32(1);
    const __m256i odd = _mm256_and_si256(_mm256_srli_epi32(bits, 16), one);
    const __m256i up = _mm256_add_epi32(_mm256_add_epi32(bits, _mm256_set1_epi32(0x7FFF)), odd);
    const __m256i quiet = _mm256_or_si256(bits, _mm256_set1_epi32(0x400000));
    return _mm256_blendv_epi8(up, quiet, _mm256_castps_si256(_mm256_cmp_ps(a, a, _CMP_UNORD_Q)));
}
static inline bf16v bf16v_join(vec even, vec odd) {
    const __m256i low = _mm256_srli_epi32(bf16v_round(even), 16);
    return _mm256_or_si256(low, _mm256_and_si256(bf16v_round(odd), BF16V_HIGH));
}
static inline void bf16v_store(uint16_t *p, bf16v a) {
    _mm256_storeu_si256((__m256i *)(void *)p, a);
}
static inline void bf16v_stream(uint16_t *p, bf16v a) {
    _mm256_stream_si256((__m256i *)(void *)p, a);
}
#else

#define VEC 4
typedef float vec __attribute__((vector_size(16)));
typedef int64_t vec_part;

static inline vec_part vec_part_of(int64_t n) {
    return n;
}
static inline vec vec_zero(void) {
    return (vec){0, 0, 0, 0};
}
static inline vec vec_load(const float *p) {
    vec v;
    memcpy(&v, p, sizeof v);
    return v;
}
static inline vec vec_load_part(const float *p, vec_part part) {
    return (vec){p[0], part > 1 ? p[1] : 0, part > 2 ? p[2] : 0, part > 3 ? p[3] : 0};
}
static inline vec vec_set1(const float *p) {
    return (vec){*p, *p, *p, *p};
}
static inline vec vec_add(vec a, vec b) {
    return a + b;
}
static inline vec vec_fma(vec a, vec b, vec c) {
    return a * b + c;
}
static inline vec vec_clamp(vec a, vec lo, vec hi) {
    for (int i = 0; i < VEC; i++) {
        a[i] = a[i] < lo[i] ? lo[i] : a[i];
        a[i] = a[i] > hi[i] ? hi[i] : a[i];
    }
    return a;
}
static inline vec vec_between(vec a, vec lo, vec hi, vec x) {
    for (int i = 0; i < VEC; i++) x[i] = a[i] > lo[i] && a[i] < hi[i] ? x[i] : 0;
    return x;
}
static inline void vec_store(float *p, vec a) {
    memcpy(p, &a, sizeof a);
}
static inline void vec_stream(float *p, vec a) {
    vec_store(p, a);
}
static inline float vec_sum(vec a) {
    return (a[0] + a[1]) + (a[2] + a[3]);
}
static inline void vec_store_part(float *p, vec a, vec_part part) {
    p[0] = a[0];
    if (part > 1) p[1] = a[1];
    if (part > 2) p[2] = a[2];
    if (part > 3) p[3] = a[3];
}

static inline void vec_take_larger(vec *best, vec *at, vec x, vec tap) {
    for (int i = 0; i < VEC; i++) {
        const int take = (x[i] > (*best)[i]) | (x[i] != x[i]);
        (*best)[i] = take ? x[i] : (*best)[i];
        (*at)[i] = take ? tap[i] : (*at)[i];
    }
}
static inline vec vec_where(const uint8_t *index, uint8_t tap, vec x) {
    for (int i = 0; i < VEC; i++) x[i] = index[i] == tap ? x[i] : 0;
    return x;
}

/* A word is two elements, the one of even index in its lower half: little-endian, as all that cvrun runs on. */
typedef uint32_t bf16v __attribute__((vector_size(16)));

static inline bf16v bf16v_load(const uint16_t *p) {
    bf16v v;
    memcpy(&v, p, sizeof v);
    return v;
}
static inline vec bf16v_even(bf16v a) {
    return (vec)(a << 16);
}
static inline vec bf16v_odd(bf16v a) {
    return (vec)(a & 0xFFFF0000u);
}
static inline bf16v bf16v_where(const uint8_t *index, uint8_t tap, bf16v x) {
    for (int i = 0; i < VEC; i++)
        x[i] &= (index[2 * i] == tap ? 0xFFFFu : 0) | (index[2 * i + 1] == tap ? 0xFFFF0000u : 0);
    return x;
}
static inline bf16v bf16v_round(vec a) {
    const bf16v bits = (bf16v)a, nan = (bf16v)(a != a);
    return (nan & (bits | 0x400000u)) | (~nan & (bits + 0x7FFFu + (bits >> 16 & 1u)));
}
static inline bf16v bf16v_join(vec even, vec odd) {
    return bf16v_round(even) >> 16 | (bf16v_round(odd) & 0xFFFF0000u);
}
static inline void bf16v_store(uint16_t *p, bf16v a) {
    memcpy(p, &a, sizeof a);
}
static inline void bf16v_stream(uint16_t *p, bf16v a) {
    bf16v_store(p, a);
}
#endif

/* Where element `i` of a row stands once each of the row's vectors has become its two vectors. */
static inline int64_t bf16v_place(int64_t i) {
    const int64_t at = i % (2 * VEC);
    return i - at + at % 2 * VEC + at / 2;
}

#if !defined(__AVX512F__)
/* 1 <= n <= 2 * VEC elements */
static inline bf16v bf16v_load_part(const uint16_t *p, int64_t n) {
    uint16_t all[2 * VEC] = {0};
    memcpy(all, p, (size_t)n * sizeof *p);
    return bf16v_load(all);
}
static inline void bf16v_store_part(uint16_t *p, bf16v a, int64_t n) {
    uint16_t all[2 * VEC];
    bf16v_store(all, a);
    memcpy(p, all, (size_t)n * sizeof *p);
}
#endif

#endif
