/*
 * A vector of VEC floats on whatever instruction set this pack is compiled for; the last section is plain C that gcc
 * and clang bring to any machine. `part` stands for the first n of a vector: what lies past them is not touched, and
 * reads as zero. vec_stream() wants alignment, and what cpu_stream.h says.
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
#endif

#endif
