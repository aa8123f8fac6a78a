/*
 * Attributes of the ops that make what a network reads of pictures, version 1 (plugin "layer_image"). No gradients.
 *
 * normalize_pixels  x (N,C,H,W) u8, C <= 4 -> y f32 of the same shape; cvr_normalize_pixels_attrs
 *     y = (x / 255 - mean_c) / std_c, each step in f32: the bits that the transform `normalize` gives
 *
 * batch_mix         x (N,C,H,W) f32, params (6) f32 -> y like x; no attributes
 *     params: mode, lambda, top, left, bottom, right. With the picture before each, of the first the last:
 *     p[n] = x[(n + N - 1) % N]
 *     mode 0: y = x
 *     mode 1: y = lambda * x + (1 - lambda) * p, each product in f32 (mixup, torchvision v2 MixUp)
 *     mode 2: y = p in rows top to bottom and columns left to right, ends not included, else x (torchvision v2 CutMix)
 */
#ifndef CVR_PLUGIN_OPS_IMAGE_H
#define CVR_PLUGIN_OPS_IMAGE_H

#include <cvr/plugin/abi.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct cvr_normalize_pixels_attrs {
    double mean[4], std[4]; /* of each channel, in 0..1 */
} cvr_normalize_pixels_attrs;

#define CVR_BATCH_MIX_NONE 0
#define CVR_BATCH_MIX_MIXUP 1
#define CVR_BATCH_MIX_CUTMIX 2

/* What `params` says, with the box inside of the picture. */
typedef struct cvr_batch_mix {
    int64_t mode;
    float own, other; /* lambda, 1 - lambda */
    int64_t top, left, bottom, right;
} cvr_batch_mix;

static inline int64_t cvr_batch_mix_side(float at, int64_t side) {
    return at > 0 ? at < (float)side ? (int64_t)at : side : 0; /* also 0 for what is not a number */
}

static inline cvr_batch_mix cvr_batch_mix_of(const float params[6], int64_t height, int64_t width) {
    cvr_batch_mix m;
    m.mode = params[0] == 1 ? CVR_BATCH_MIX_MIXUP : params[0] == 2 ? CVR_BATCH_MIX_CUTMIX : CVR_BATCH_MIX_NONE;
    m.own = params[1];
    m.other = 1 - params[1];
    m.top = cvr_batch_mix_side(params[2], height);
    m.left = cvr_batch_mix_side(params[3], width);
    m.bottom = cvr_batch_mix_side(params[4], height);
    m.right = cvr_batch_mix_side(params[5], width);
    return m;
}

#ifdef __cplusplus
}
#endif

CVR_STATIC_ASSERT(sizeof(cvr_normalize_pixels_attrs) == 64, "cvr_normalize_pixels_attrs has padding");

#endif
