/* What the calibration kernels share: loops that are unrolled, so that sums stay in registers. */
#ifndef CVR_BACKENDS_CPU_PEAK_H
#define CVR_BACKENDS_CPU_PEAK_H

#include <cvr/plugin/ops/peak.h>

#define PEAK_INLINE static inline __attribute__((always_inline))
#if defined(__clang__)
#define PEAK_UNROLL _Pragma("clang loop unroll(full)")
#else
#define PEAK_UNROLL _Pragma("GCC unroll 16")
#endif

#endif
