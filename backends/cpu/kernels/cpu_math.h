/*
 * exp, tanh, the logistic function and the normal distribution in f32, without branches, so that loops over them
 * vectorise: the steps of elementwise programs, under the names that kernels call them by. No fused multiply-add: every
 * instruction set gives the same bits. Errors are within a few ulp.
 */
#ifndef CVR_BACKENDS_CPU_MATH_H
#define CVR_BACKENDS_CPU_MATH_H

#include <cvr/plugin/ops/elementwise_math.h>

static inline float cpu_exp(float x) {
    return cvr_math_exp(x);
}

static inline float cpu_tanh(float x) {
    return cvr_math_tanh(x);
}

static inline float cpu_sigmoid(float x) {
    return 1.0f / (1.0f + cpu_exp(-x));
}

static inline float cpu_normal_cdf(float x, float *bell) {
    return cvr_math_normal_cdf(x, bell);
}

#endif
