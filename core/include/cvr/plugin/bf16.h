/*
 * bfloat16: the upper half of an f32. Rounding is to nearest, ties to even; a NaN stays one.
 */
#ifndef CVR_PLUGIN_BF16_H
#define CVR_PLUGIN_BF16_H

#include "abi.h"

#ifdef __cplusplus
extern "C" {
#endif

static inline float cvr_f32_of_bf16(uint16_t h) {
    const uint32_t bits = (uint32_t)h << 16;
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

static inline uint16_t cvr_bf16_of_f32(float x) {
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    const uint32_t rounded = (bits + 0x7fffu + (bits >> 16 & 1u)) >> 16;
    const uint32_t quiet = bits >> 16 | 0x40u;
    return (uint16_t)((bits & 0x7fffffffu) > 0x7f800000u ? quiet : rounded);
}

#ifdef __cplusplus
}
#endif

#endif
