/*
 * Quantisation, version 1 (plugin "layer_quant"): activations as u8 with one scale and zero point a tensor, weights as
 * i8 with one scale a row and zero point 0, biases as i32. Arithmetic is ONNX Runtime's on x86, to the bit: f32 where
 * it is real, rint() to even, sums in i32 that never overflow.
 *
 * quantize      x f32 -> q u8 or i8, the same shape; cvr_quantize_attrs
 *     q = clamp(rint(x / scale), lowest - zero, highest - zero) + zero, u8: 0..255, i8: -128..127; NaN becomes lowest
 * dequantize    q u8, i8 or i32, [scale f32 (rows)] -> x f32, the same shape; cvr_dequantize_attrs
 *     x = (q - zero) * s, s = attrs.scale, or where input 1 is given scale[row], row the index along attrs.axis
 *
 * fake_quantize            x f32, scale f32, zero f32 -> y f32 like x; cvr_fake_quantize_attrs
 *     y = rint(clamp(x / scale, lowest - zero, highest - zero)) * scale: x as it comes back from integers
 *     scale and zero: one number, or one for each index along axis 0, of the shape (O,1,1,1) for x (O,...)
 *     The gradient passes where lowest <= rint(x / scale) + zero <= highest, and is 0 elsewhere (straight-through
 *     estimator); scale and zero have none.
 * fake_quantize_backward   grad, x, scale, zero -> dx; likewise
 *
 * On integers, what a pass makes of dequantize -> op -> quantize. Attributes are cvr_requant and behind them those of
 * the op whose place it takes. x - x.zero and so on; all pixels outside of x are x.zero, which stands for 0:
 *
 * conv2d_int8   x u8 (N,C,H,W), weight i8 (K,C/groups,R,S), weight_scale f32 (K), [bias i32 (K)] -> y u8 (N,K,P,Q)
 *     acc = bias[k] + sum of (x - x.zero) * weight over the window of conv2d
 *     y = clamp(rint(f32(acc) * m[k]), -y.zero, 255 - y.zero) + y.zero, m[k] = f32(f32(x.scale * weight_scale[k]) /
 *     y.scale)
 * conv_transpose2d_int8  x u8 (N,C,H,W), weight i8 (C,K,R,S), weight_scale f32 (K), [bias i32 (K)] -> y u8 (N,K,P,Q);
 *     likewise, the sum is conv_transpose2d's; groups is 1
 * linear_int8   x u8 (...,I), weight i8 (O,I), weight_scale f32 (O), [bias i32 (O)] -> y u8 (...,O); likewise
 * scaled_dot_product_attention_int8  q (N,L,D), k, v (N,S,D) u8 of one scale and zero -> y u8 (N,L,D); for each head
 *     s[l,j] = sum over e of (q[l,e] - zero) * (k[j,e] - zero), p[l,j] = rint(255 * exp(c * (s[l,j] - max of s[l]))),
 *     c = x.scale^2 / sqrt(E); y = clamp(rint(f32(sum over j of p * (v - zero)) * f32(m / f32(sum of p)))) + y.zero,
 *     m = f32(x.scale / y.scale). The largest p is 255 in every row; exp is cvr_attention_int8_weight's.
 * add_int8      a, b u8 of one shape -> y u8
 *     y = clamp(rint(fma(a, f32(a.scale / y.scale), fma(b, f32(b.scale / y.scale), fixed)))), as in cvr_add_int8_of
 * requantize_int8           x u8 -> y u8 of another scale: quantize of dequantize, as in cvr_requantize_one
 * max_pool2d_int8           x u8 -> y u8, of the same scale and zero
 * upsample_int8             x u8 (N,C,H,W) -> y u8 (N,C,P,Q), of the same scale and zero
 *     nearest as upsample; bilinear in whole numbers, t in units of 1/2048, as in cvr_upsample_int8_one
 * avg_pool2d_int8           x u8 -> y u8
 * adaptive_avg_pool2d_int8  x u8 -> y u8
 *     y = clamp(rint(f32(sum of (x - x.zero)) * f32(f32(x.scale / y.scale) / n))) + y.zero, n elements of the window
 */
#ifndef CVR_PLUGIN_OPS_QUANT_H
#define CVR_PLUGIN_OPS_QUANT_H

#include "attention.h"
#include "conv.h"
#include "pool.h"
#include "resize.h"
#include <math.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct cvr_quantize_attrs {
    double scale;  /* an f32 */
    int64_t zero;  /* the integer that stands for 0 */
    int64_t dtype; /* CVR_U8 or CVR_I8 */
} cvr_quantize_attrs;

typedef struct cvr_dequantize_attrs {
    double scale;
    int64_t zero;
    int64_t axis; /* of q, that input 1 has scales for: 0, or 1 where q has 4 axes */
} cvr_dequantize_attrs;

/* The integers: 0 and 255 of u8, -127 and 127 of weights. */
typedef struct cvr_fake_quantize_attrs {
    int64_t lowest, highest;
} cvr_fake_quantize_attrs;

/* Of the one input, or the two; and of the result. Scales are f32. */
typedef struct cvr_requant {
    double x_scale;
    int64_t x_zero;
    double b_scale; /* 1 and 0 where there is no second one */
    int64_t b_zero;
    double y_scale;
    int64_t y_zero;
} cvr_requant;

typedef struct cvr_conv2d_int8_attrs {
    cvr_requant q;
    cvr_conv2d_attrs conv;
} cvr_conv2d_int8_attrs;

typedef struct cvr_conv_transpose2d_int8_attrs {
    cvr_requant q;
    cvr_conv_transpose2d_attrs conv;
} cvr_conv_transpose2d_int8_attrs;

typedef struct cvr_attention_int8_attrs {
    cvr_requant q;
    cvr_attention_attrs attention;
} cvr_attention_int8_attrs;

typedef struct cvr_upsample_int8_attrs {
    cvr_requant q;
    cvr_upsample_attrs upsample;
} cvr_upsample_int8_attrs;

typedef struct cvr_max_pool2d_int8_attrs {
    cvr_requant q;
    cvr_max_pool2d_attrs pool;
} cvr_max_pool2d_int8_attrs;

typedef struct cvr_avg_pool2d_int8_attrs {
    cvr_requant q;
    cvr_avg_pool2d_attrs pool;
} cvr_avg_pool2d_int8_attrs;

typedef struct cvr_adaptive_avg_pool2d_int8_attrs {
    cvr_requant q;
    cvr_adaptive_avg_pool2d_attrs pool;
} cvr_adaptive_avg_pool2d_int8_attrs;

/* Terms of a sum: products of u8 and i8, so that a bias of less than 2^30 still fits beside them into an i32. */
#define CVR_INT8_MOST_TERMS 32768

/* Features of a head, and keys, so that sums and their differences fit 32 bits. */
#define CVR_ATTENTION_INT8_FEATURES 16384
#define CVR_ATTENTION_INT8_KEYS 32768

/* ---- the arithmetic, for kernels ---- */

/* What an accumulator is multiplied with. */
static inline float cvr_requant_multiplier(const cvr_requant *q, float weight_scale) {
    return (float)q->x_scale * weight_scale / (float)q->y_scale;
}

/* The integer for a real number in units of the result's scale. */
static inline uint8_t cvr_requant_round(float v, int64_t zero) {
    const float low = (float)-zero, high = (float)(255 - zero);
    v = v > low ? v : low; /* NaN, too */
    v = v < high ? v : high;
    return (uint8_t)((int32_t)rintf(v) + (int32_t)zero);
}

static inline int32_t cvr_quantize_one(float x, float scale, int64_t zero, int64_t lowest, int64_t highest) {
    const float low = (float)(lowest - zero), high = (float)(highest - zero);
    float v = x / scale;
    v = v > low ? v : low;
    v = v < high ? v : high;
    return (int32_t)rintf(v) + (int32_t)zero;
}

/* requantize_int8 */
static inline uint8_t cvr_requantize_one(const cvr_requant *q, uint8_t x) {
    const float real = (float)((int32_t)x - (int32_t)q->x_zero) * (float)q->x_scale;
    return (uint8_t)cvr_quantize_one(real, (float)q->y_scale, q->y_zero, 0, 255);
}

/* add_int8: products of the two with ratios of scales, and one constant for all zero points. */
typedef struct cvr_add_int8 {
    float a, b, fixed;
} cvr_add_int8;

static inline cvr_add_int8 cvr_add_int8_of(const cvr_requant *q) {
    cvr_add_int8 s;
    s.a = (float)q->x_scale / (float)q->y_scale;
    s.b = (float)q->b_scale / (float)q->y_scale;
    s.fixed = (float)q->y_zero - fmaf(s.a, (float)q->x_zero, s.b * (float)q->b_zero);
    return s;
}

/* Fused multiply-adds, b's product first: found by trying, to be ONNX Runtime's on x86 for all pairs of bytes. */
static inline uint8_t cvr_add_int8_one(const cvr_add_int8 *s, uint8_t a, uint8_t b) {
    float v = fmaf((float)a, s->a, fmaf((float)b, s->b, s->fixed));
    v = v > 0 ? v : 0;
    v = v < 255 ? v : 255;
    return (uint8_t)(int32_t)rintf(v);
}

/* Attention: by what power of 2 a weight shrinks for each 1 that its sum is below the largest. */
static inline float cvr_attention_int8_decay(const cvr_requant *q, int64_t features) {
    return (float)(q->x_scale * q->x_scale / sqrt((double)features) * 1.4426950408889634);
}

/* rint(255 * 2^-(below * decay)): 2^-n is exact, and 2^-f with 0 <= f < 1 a polynomial (to 2e-6) that is 1 for 0. */
static inline uint8_t cvr_attention_int8_weight(int32_t below, float decay) {
    const float all = (float)below * decay, z = all < 10 ? all : 10; /* 255 / 2^10 is 0 */
    const int32_t n = (int32_t)z;
    const float f = z - (float)n;
    float p = f * 0.006909833289682865f + -0.05337587743997574f;
    p = f * p + 0.2395472228527069f;
    p = f * p + -0.6930790543556213f;
    p = f * p + 1.0f;
    return (uint8_t)(int32_t)rintf(p * 255.0f / (float)(1 << n));
}

/* upsample_int8: a share t of the way between two pixels, as a whole number of CVR_UPSAMPLE_INT8_ONE. */
#define CVR_UPSAMPLE_INT8_ONE 2048

static inline int32_t cvr_upsample_int8_share(float t) {
    return (int32_t)rintf(t * CVR_UPSAMPLE_INT8_ONE);
}

/* Of four pixels, a b above c d; what is exactly between two integers becomes the larger one. */
static inline uint8_t cvr_upsample_int8_one(const uint8_t x[4], int32_t down, int32_t right) {
    const int32_t one = CVR_UPSAMPLE_INT8_ONE, above = x[0] * (one - right) + x[1] * right,
                  below = x[2] * (one - right) + x[3] * right;
    return (uint8_t)((above * (one - down) + below * down + (1 << 21)) >> 22);
}

#ifdef __cplusplus
}
#endif

CVR_STATIC_ASSERT(sizeof(cvr_quantize_attrs) == 24, "cvr_quantize_attrs has padding");
CVR_STATIC_ASSERT(sizeof(cvr_dequantize_attrs) == 24, "cvr_dequantize_attrs has padding");
CVR_STATIC_ASSERT(sizeof(cvr_fake_quantize_attrs) == 16, "cvr_fake_quantize_attrs has padding");
CVR_STATIC_ASSERT(sizeof(cvr_requant) == 48, "cvr_requant has padding");
CVR_STATIC_ASSERT(sizeof(cvr_conv2d_int8_attrs) == 104, "cvr_conv2d_int8_attrs has padding");
CVR_STATIC_ASSERT(sizeof(cvr_conv_transpose2d_int8_attrs) == 120, "cvr_conv_transpose2d_int8_attrs has padding");
CVR_STATIC_ASSERT(sizeof(cvr_attention_int8_attrs) == 56, "cvr_attention_int8_attrs has padding");
CVR_STATIC_ASSERT(sizeof(cvr_upsample_int8_attrs) == 96, "cvr_upsample_int8_attrs has padding");
CVR_STATIC_ASSERT(sizeof(cvr_max_pool2d_int8_attrs) == 120, "cvr_max_pool2d_int8_attrs has padding");
CVR_STATIC_ASSERT(sizeof(cvr_avg_pool2d_int8_attrs) == 120, "cvr_avg_pool2d_int8_attrs has padding");
CVR_STATIC_ASSERT(sizeof(cvr_adaptive_avg_pool2d_int8_attrs) == 64, "cvr_adaptive_avg_pool2d_int8_attrs has padding");

#endif
