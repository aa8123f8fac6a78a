/*
 * exp, tanh, the logistic function and the normal distribution in f32, without branches, so that loops over them
 * vectorise. No fused multiply-add: every instruction set gives the same bits. Errors are within a few ulp.
 */
#ifndef CVR_BACKENDS_CPU_MATH_H
#define CVR_BACKENDS_CPU_MATH_H

#include <math.h>
#include <stdint.h>
#include <string.h>

/* 2^n for -126 <= n <= 127, where `shifted` is n + 1.5 * 2^23: the low bits of its mantissa are n. */
#define CPU_ROUND 12582912.0f

static inline float cpu_two_to(float n) {
    const float shifted = n + (CPU_ROUND + 127.0f);
    uint32_t bits;
    float power;
    memcpy(&bits, &shifted, sizeof bits);
    bits <<= 23;
    memcpy(&power, &bits, sizeof power);
    return power;
}

/* x = n * ln 2 + r with |r| <= ln 2 / 2: returns n, and exp(r) - 1 by its Taylor series (error below 2^-27). */
static inline float cpu_exp_parts(float x, float *minus_one) {
    const float n = (x * 1.44269504f + CPU_ROUND) - CPU_ROUND;
    const float r = (x - n * 0.693359375f) + n * 2.12194440e-4f; /* ln 2 = 0.693359375 - 2.1219444e-4 */
    float p = 1.0f / 5040;
    p = p * r + 1.0f / 720;
    p = p * r + 1.0f / 120;
    p = p * r + 1.0f / 24;
    p = p * r + 1.0f / 6;
    p = p * r + 0.5f;
    *minus_one = r * r * p + r;
    return n;
}

/* exp(x); 0 below -104, infinite above 88.73, NaN for NaN */
static inline float cpu_exp(float x) {
    float p;
    x = x < -104.0f ? -104.0f : x;
    x = x > 89.0f ? 89.0f : x;
    const float n = cpu_exp_parts(x, &p);
    /* Two factors, so that neither leaves the range of normal numbers. */
    const float half = (n * 0.5f + CPU_ROUND) - CPU_ROUND;
    return (1.0f + p) * cpu_two_to(half) * cpu_two_to(n - half);
}

/* tanh(x) = e / (e + 2), e = exp(2x) - 1, which keeps its precision near 0 */
static inline float cpu_tanh(float x) {
    const float a = fabsf(x), twice = a > 10.0f ? 20.0f : 2.0f * a;
    float p;
    const float s = cpu_two_to(cpu_exp_parts(twice, &p)), e = s * p + (s - 1.0f), t = e / (e + 2.0f);
    return copysignf(t, x);
}

static inline float cpu_sigmoid(float x) {
    return 1.0f / (1.0f + cpu_exp(-x));
}

/*
 * The normal distribution: returns P(X <= x), and exp(-x^2 / 2) in *bell. The tail P(X > a) = exp(-a^2 / 2) * t * p(t)
 * with t = 1 / (1 + 0.3 * a) and p a polynomial fitted to a relative error of 4e-9 over 0 <= a <= 14.5.
 */
static inline float cpu_normal_cdf(float x, float *bell) {
    const float a = fabsf(x), t = 1.0f / (1.0f + 0.3f * a);
    float p = -2.062355204e-02f;
    p = p * t + 1.124360624e-01f;
    p = p * t - 2.282146509e-01f;
    p = p * t + 1.917859256e-01f;
    p = p * t - 7.942463544e-02f;
    p = p * t + 9.615743766e-02f;
    p = p * t + 7.838944447e-02f;
    p = p * t + 1.102354676e-01f;
    p = p * t + 1.195718089e-01f;
    p = p * t + 1.196866901e-01f;
    *bell = cpu_exp(-0.5f * x * x);
    const float tail = *bell * t * p;
    return x < 0 ? tail : 1.0f - tail;
}

#endif
