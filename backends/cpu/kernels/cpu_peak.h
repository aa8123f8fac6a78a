/* What the calibration kernels share: loops that are unrolled, so that sums stay in registers. */
#ifndef CVR_BACKENDS_CPU_PEAK_H
#define CVR_BACKENDS_CPU_PEAK_H

#include <cvr/plugin/ops/peak.h>

#define PEAK_PAIRS (CVR_PEAK_DEPTH / 2) /* of neighbours in a row of bf16 */

/* y (16,16) = links * x x^T of one block: x has its pairs, (16,16), columns the same transposed. By pack. */
void cpu_peak_block(float *y, const int32_t *x, const int32_t *columns, int64_t links);

#define PEAK_INLINE static inline __attribute__((always_inline))
#if defined(__clang__)
#define PEAK_UNROLL _Pragma("clang loop unroll(full)")
#else
#define PEAK_UNROLL _Pragma("GCC unroll 16")
#endif

#endif
