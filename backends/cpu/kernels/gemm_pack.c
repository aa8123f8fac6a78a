/*
 * Panels of B in f32 for the micro-kernels of gemm.h. A panel is (k, columns): element (c,j) lies at c * columns + j,
 * where `columns` is the width of the widest tile, and columns past the last one are zero, so that a tile reads its
 * panel from one end to the other in whole vectors. cpu_pack_rows copies B (k,n) row by row; cpu_pack_transposed takes
 * B^T (n,k), in blocks of 4 x 4 that are transposed in registers.
 */
#include "gemm.h"

/* Rows are too far apart for the hardware prefetcher, so the loops prefetch this many rows, or floats, ahead. */
#define AHEAD_ROWS 8
#define AHEAD_FLOATS 32

typedef float four __attribute__((vector_size(16)));
typedef int32_t four_index __attribute__((vector_size(16)));

static inline four load4(const float *p) {
    four v;
    memcpy(&v, p, sizeof v);
    return v;
}

#if defined(__clang__)
#define SHUFFLE(a, b, i, j, k, l) __builtin_shufflevector(a, b, i, j, k, l)
#else
#define SHUFFLE(a, b, i, j, k, l) __builtin_shuffle(a, b, (four_index){i, j, k, l})
#endif

/* to[c * step + j] = from[j][c], 4 x 4 */
static inline void transpose4(float *to, int64_t step, const float *from, int64_t from_step) {
    const four r0 = load4(from), r1 = load4(from + from_step), r2 = load4(from + 2 * from_step),
               r3 = load4(from + 3 * from_step);
    const four a = SHUFFLE(r0, r1, 0, 4, 1, 5), b = SHUFFLE(r2, r3, 0, 4, 1, 5);
    const four c = SHUFFLE(r0, r1, 2, 6, 3, 7), d = SHUFFLE(r2, r3, 2, 6, 3, 7);
    const four out[4] = {SHUFFLE(a, b, 0, 1, 4, 5), SHUFFLE(a, b, 2, 3, 6, 7), SHUFFLE(c, d, 0, 1, 4, 5),
                         SHUFFLE(c, d, 2, 3, 6, 7)};
    for (int i = 0; i < 4; i++) memcpy(to + i * step, &out[i], sizeof out[i]);
}

void cpu_pack_transposed(float *to, const float *from, int64_t from_step, int64_t k, int64_t n) {
    const int64_t width = cpu_micro.columns, n4 = n & ~INT64_C(3), k4 = k & ~INT64_C(3);
    /* Cache line by cache line: rows that are a power of two apart would drive each other out of the cache. */
    for (int64_t c0 = 0; c0 < k4; c0 += CPU_LINE_FLOATS)
        for (int64_t j = 0; j < n4; j += 4) {
            for (int64_t i = j; i < j + 4; i++) __builtin_prefetch(from + i * from_step + c0 + AHEAD_FLOATS);
            for (int64_t c = c0; c < cpu_min(c0 + CPU_LINE_FLOATS, k4); c += 4)
                transpose4(to + c * width + j, width, from + j * from_step + c, from_step);
        }
    for (int64_t c = 0; c < k; c++)
        for (int64_t j = c < k4 ? n4 : 0; j < width; j++) to[c * width + j] = j < n ? from[j * from_step + c] : 0;
}

void cpu_pack_rows(float *to, const float *from, int64_t from_step, int64_t k, int64_t n) {
    const int64_t width = cpu_micro.columns;
    for (int64_t c = 0; c < k; c++, to += width) {
        for (int64_t j = 0; j < n; j += CPU_LINE_FLOATS) __builtin_prefetch(from + (c + AHEAD_ROWS) * from_step + j);
        memcpy(to, from + c * from_step, (size_t)n * sizeof(float));
        if (n < width) memset(to + n, 0, (size_t)(width - n) * sizeof(float));
    }
}
