/*
 * The machine of elementwise programs (<cvr/plugin/elementwise_steps.h>): one step, to the bit. This is the reference
 * that every backend shares, in f32 without branches, so that loops over it become vectors. Compile it without
 * contraction of a * b + c (-ffp-contract=off) and without -ffast-math: then every instruction set gives the same bits.
 */
#ifndef CVR_PLUGIN_OPS_ELEMENTWISE_MATH_H
#define CVR_PLUGIN_OPS_ELEMENTWISE_MATH_H

#include <cvr/plugin/bf16.h>
#include <cvr/plugin/elementwise_steps.h>

#include <math.h>

#ifdef __cplusplus
extern "C" {
#endif

/* 2^n for -126 <= n <= 127, where `shifted` is n + 1.5 * 2^23: the low bits of its mantissa are n. */
#define CVR_MATH_ROUND 12582912.0f

static inline float cvr_math_two_to(float n) {
    const float shifted = n + (CVR_MATH_ROUND + 127.0f);
    uint32_t bits;
    float power;
    memcpy(&bits, &shifted, sizeof bits);
    bits <<= 23;
    memcpy(&power, &bits, sizeof power);
    return power;
}

/* x = n * ln 2 + r with |r| <= ln 2 / 2: returns n, and exp(r) - 1 by its Taylor series (error below 2^-27). */
static inline float cvr_math_exp_parts(float x, float *minus_one) {
    const float n = (x * 1.44269504f + CVR_MATH_ROUND) - CVR_MATH_ROUND;
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
static inline float cvr_math_exp(float x) {
    float p;
    x = x < -104.0f ? -104.0f : x;
    x = x > 89.0f ? 89.0f : x;
    const float n = cvr_math_exp_parts(x, &p);
    /* Two factors, so that neither leaves the range of normal numbers. */
    const float half = (n * 0.5f + CVR_MATH_ROUND) - CVR_MATH_ROUND;
    return (1.0f + p) * cvr_math_two_to(half) * cvr_math_two_to(n - half);
}

/* tanh(x) = e / (e + 2), e = exp(2x) - 1, which keeps its precision near 0 */
static inline float cvr_math_tanh(float x) {
    const float a = fabsf(x), twice = a > 10.0f ? 20.0f : 2.0f * a;
    float p;
    const float s = cvr_math_two_to(cvr_math_exp_parts(twice, &p)), e = s * p + (s - 1.0f), t = e / (e + 2.0f);
    return copysignf(t, x);
}

/*
 * The normal distribution: returns P(X <= x), and exp(-x^2 / 2) in *bell. The tail P(X > a) = exp(-a^2 / 2) * t * p(t)
 * with t = 1 / (1 + 0.3 * a) and p a polynomial fitted to a relative error of 4e-9 over 0 <= a <= 14.5.
 */
static inline float cvr_math_normal_cdf(float x, float *bell) {
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
    *bell = cvr_math_exp(-0.5f * x * x);
    const float tail = *bell * t * p;
    return x < 0 ? tail : 1.0f - tail;
}

/* Near 0 by the Taylor series, 2 / sqrt(pi) * sum of (-1)^n x^(2n+1) / (n! (2n+1)); else 1 - 2 * P(X > |x| sqrt(2)). */
static inline float cvr_math_erf(float x) {
    const float a = fabsf(x), z = x * x;
    float p = -1.0f / 75600, bell;
    p = p * z + 1.0f / 9360;
    p = p * z - 1.0f / 1320;
    p = p * z + 1.0f / 216;
    p = p * z - 1.0f / 42;
    p = p * z + 0.1f;
    p = p * z - 1.0f / 3;
    const float near_zero = 1.12837917f * (x + x * (z * p));
    const float far = copysignf(1.0f - 2.0f * cvr_math_normal_cdf(-1.41421356f * a, &bell), x);
    return a < 0.5f ? near_zero : far;
}

/* x = m * 2^e with m around 1: e * ln 2 + 2 artanh(s), s = (m - 1) / (m + 1), |s| < 0.172 */
static inline float cvr_math_log(float x) {
    const float scaled = x < 1.17549435e-38f ? x * 8388608.0f : x; /* subnormal numbers become normal */
    uint32_t bits;
    float m;
    memcpy(&bits, &scaled, sizeof bits);
    const int32_t exponent = (int32_t)(bits - 0x3F3504F3u) >> 23; /* of x / sqrt(1/2) */
    bits -= (uint32_t)exponent << 23;
    memcpy(&m, &bits, sizeof m);
    const float e = (float)exponent - (x < 1.17549435e-38f ? 23.0f : 0.0f);
    const float s = (m - 1.0f) / (m + 1.0f), z = s * s;
    float p = 1.0f / 11;
    p = p * z + 1.0f / 9;
    p = p * z + 1.0f / 7;
    p = p * z + 0.2f;
    p = p * z + 1.0f / 3;
    const float y = (2.0f * s * (z * p) - e * 2.12194440e-4f) + 2.0f * s + e * 0.693359375f;
    const float low = x == 0 ? -HUGE_VALF : x < 0 ? NAN : y; /* NaN itself gives NaN below */
    return x == HUGE_VALF || x != x ? x : low;
}

static inline float cvr_math_bf16(float x) {
    return cvr_f32_of_bf16(cvr_bf16_of_f32(x));
}

/* The step's result; v: as many operands as it has. */
static inline float cvr_step_value(uint32_t code, const float v[4]) {
    float bell;
    switch (code) {
    case CVR_STEP_ADD: return v[0] + v[1];
    case CVR_STEP_SUB: return v[0] - v[1];
    case CVR_STEP_MUL: return v[0] * v[1];
    case CVR_STEP_DIV: return v[0] / v[1];
    case CVR_STEP_MAX: return ((v[0] < v[1]) | (v[1] != v[1])) ? v[1] : v[0];
    case CVR_STEP_MIN: return ((v[0] > v[1]) | (v[1] != v[1])) ? v[1] : v[0];
    case CVR_STEP_NEG: return -v[0];
    case CVR_STEP_ABS: return fabsf(v[0]);
    case CVR_STEP_SQRT: return sqrtf(v[0]);
    case CVR_STEP_RSQRT: return 1.0f / sqrtf(v[0]);
    case CVR_STEP_EXP: return cvr_math_exp(v[0]);
    case CVR_STEP_LOG: return cvr_math_log(v[0]);
    case CVR_STEP_TANH: return cvr_math_tanh(v[0]);
    case CVR_STEP_ERF: return cvr_math_erf(v[0]);
    case CVR_STEP_NORMAL_CDF: return cvr_math_normal_cdf(v[0], &bell);
    case CVR_STEP_ROUND: return rintf(v[0]);
    case CVR_STEP_FLOOR: return floorf(v[0]);
    case CVR_STEP_BF16: return cvr_math_bf16(v[0]);
    case CVR_STEP_SELECT_GT: return v[0] > v[1] ? v[2] : v[3];
    case CVR_STEP_SELECT_GE: return v[0] >= v[1] ? v[2] : v[3];
    case CVR_STEP_SELECT_EQ: return v[0] == v[1] ? v[2] : v[3];
    default: return v[0]; /* CVR_STEP_COPY */
    }
}

/* The program for one element: x are the inputs' elements. */
static inline float cvr_steps_value(const cvr_steps *s, const float *x) {
    float results[CVR_MOST_STEPS], last = 0;
    for (uint32_t k = 0; k < s->n_steps; k++) {
        float v[4];
        for (uint32_t i = 0; i < cvr_step_operands(s->steps[k].code); i++) {
            const uint32_t from = s->steps[k].operands[i];
            v[i] = from >= CVR_STEP_CONSTANT ? s->constants[from - CVR_STEP_CONSTANT]
                   : from >= CVR_STEP_RESULT ? results[from - CVR_STEP_RESULT]
                                             : x[from];
        }
        last = results[k] = cvr_step_value(s->steps[k].code, v);
    }
    return last;
}

#ifdef __cplusplus
}
#endif

#endif
