/* The micro-kernels of AVX2 with FMA: up to 6 x 16, 12 accumulators, two vectors of B and one broadcast element of A.
 */
#include "gemm.h"

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
static inline void vec_store_part(float *p, vec a, vec_part part) {
    _mm256_maskstore_ps(p, part, a);
}

#include "gemm_tile.h"

TILE_HEIGHT(1)
TILE_HEIGHT(2)
TILE_HEIGHT(3)
TILE_HEIGHT(4)
TILE_HEIGHT(5)
TILE_HEIGHT(6)

/* [by_column][vectors - 1][m - 1] */
static void (*const tile_of[2][2][6])(const cpu_tile *t) = {
    {{tile_1x1_0, tile_2x1_0, tile_3x1_0, tile_4x1_0, tile_5x1_0, tile_6x1_0},
     {tile_1x2_0, tile_2x2_0, tile_3x2_0, tile_4x2_0, tile_5x2_0, tile_6x2_0}},
    {{tile_1x1_1, tile_2x1_1, tile_3x1_1, tile_4x1_1, tile_5x1_1, tile_6x1_1},
     {tile_1x2_1, tile_2x2_1, tile_3x2_1, tile_4x2_1, tile_5x2_1, tile_6x2_1}},
};

static void by_row(const cpu_tile *t) {
    tile_of[0][t->n > VEC][t->m - 1](t);
}

static void by_column(const cpu_tile *t) {
    tile_of[1][t->n > VEC][t->m - 1](t);
}

const cpu_micro_table cpu_micro = {6, 2 * VEC, sizeof(float), by_row, by_column};
