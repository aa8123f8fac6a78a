/*
 * Grey as torchvision computes it from tensors: 0.2989 R + 0.587 G + 0.114 B, in float.
 */
#ifndef CVR_AUGMENT_LUMA_H
#define CVR_AUGMENT_LUMA_H

#include "../image_view.h"

/* x + a y, rounded once, as the fused multiply-add that torch uses; products of floats are exact in double. */
static inline float luma_fma(float x, float a, float y) {
    return (float)((double)x + (double)a * (double)y);
}

static inline float luma_of(float r, float g, float b) {
    return luma_fma(luma_fma(r * 0.2989f, 0.587f, g), 0.114f, b);
}

#endif
