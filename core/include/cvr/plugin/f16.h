/*
 * IEEE half precision: 1 bit of sign, 5 of exponent, 10 of mantissa. Rounding is to nearest, ties to even; what is past
 * 65504 by half a step becomes infinite, and a NaN stays one.
 */
#ifndef CVR_PLUGIN_F16_H
#define CVR_PLUGIN_F16_H

#include "abi.h"

#ifdef __cplusplus
extern "C" {
#endif

static inline float cvr_f32_of_f16(uint16_t h) {
    const uint32_t sign = (uint32_t)(h & 0x8000u) << 16, exponent = h >> 10 & 31u, mantissa = h & 0x3ffu;
    uint32_t bits;
    float x = (float)mantissa * 0x1p-24f; /* exact: what is below the normal numbers */
    memcpy(&bits, &x, sizeof bits);
    if (exponent) bits = (exponent + 112u) << 23 | mantissa << 13;
    if (exponent == 31) bits = 0x7f800000u | mantissa << 13;
    bits |= sign;
    memcpy(&x, &bits, sizeof x);
    return x;
}

static inline uint16_t cvr_f16_of_f32(float x) {
    uint32_t bits, rounded;
    memcpy(&bits, &x, sizeof bits);
    const uint32_t sign = bits >> 16 & 0x8000u, size = bits & 0x7fffffffu;
    if (size > 0x7f800000u) return (uint16_t)(sign | 0x7e00u | (size >> 13 & 0x3ffu));
    if (size >= 0x477ff000u) return (uint16_t)(sign | 0x7c00u); /* from 65520 on */
    if (size >= 0x38800000u) {                                  /* from 2^-14 on */
        rounded = size + 0xfffu + (size >> 13 & 1u);
        return (uint16_t)(sign | ((rounded >> 13) - (112u << 10)));
    }
    memcpy(&x, &size, sizeof x);
    x += 0.5f; /* whose last place is 2^-24, that of the smallest numbers here */
    memcpy(&rounded, &x, sizeof rounded);
    return (uint16_t)(sign | (rounded - 0x3f000000u));
}

#ifdef __cplusplus
}
#endif

#endif
