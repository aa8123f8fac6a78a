/*
 * Attributes of the resize ops, version 1 (plugin "layer_resize"). Tensors are f32, shapes are logical. Semantics:
 * torch.nn.functional.interpolate without antialias.
 *
 * upsample           x (N,C,H,W) -> y (N,C,P,Q), P and Q from `size`
 *     step = (H-1)/(P-1) with align_corners (0 where P is 1), else 1/scale_factor where that is not 0, else H/P
 *     nearest:  y[p] = x[min(floor(p*step), H-1)]
 *     bilinear: u = p*step with align_corners, else max((p+0.5)*step - 0.5, 0); i = floor(u), t = u - i;
 *               y[p] = (1-t) * x[i] + t * x[min(i+1, H-1)];  the same along the width
 *     Steps, u and t are single precision, as PyTorch has them.
 * upsample_backward  grad (N,C,P,Q) -> dx (N,C,H,W), H and W from `input_size`: the transpose of the above
 */
#ifndef CVR_PLUGIN_OPS_RESIZE_H
#define CVR_PLUGIN_OPS_RESIZE_H

#include <cvr/plugin/abi.h>
#include <math.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Values of `mode`. */
#define CVR_UPSAMPLE_NEAREST 0
#define CVR_UPSAMPLE_BILINEAR 1

/* Pairs are (height, width) everywhere. */
typedef struct cvr_upsample_attrs {
    int64_t size[2];
    double scale_factor[2]; /* 0: the ratio of the sizes */
    int64_t mode;
    int64_t align_corners; /* 0 or 1; bilinear only */
} cvr_upsample_attrs;

typedef struct cvr_upsample_backward_attrs {
    cvr_upsample_attrs upsample;
    int64_t input_size[2];
} cvr_upsample_backward_attrs;

/* ---- the arithmetic, for kernels ---- */

/* What an output coordinate takes of its axis: two source coordinates, and t, the weight of the second. */
typedef struct cvr_upsample_source {
    int64_t low, high;
    float t;
    uint32_t unused;
} cvr_upsample_source;

/* `step` above, of an axis of `in` elements that becomes one of `out` */
static inline float cvr_upsample_step(const cvr_upsample_attrs *a, int axis, int64_t in, int64_t out) {
    if (a->align_corners) return out > 1 ? (float)(in - 1) / (float)(out - 1) : 0.0f;
    return a->scale_factor[axis] > 0 ? (float)(1.0 / a->scale_factor[axis]) : (float)in / (float)out;
}

/* Of output coordinate p. */
static inline cvr_upsample_source cvr_upsample_source_of(const cvr_upsample_attrs *a, int axis, int64_t in, int64_t out,
                                                         int64_t p) {
    const float step = cvr_upsample_step(a, axis, in, out);
    cvr_upsample_source s = {p, p, 0, 0};
    if (in == out) return s;
    if (a->mode == CVR_UPSAMPLE_NEAREST) {
        s.low = out == 2 * in ? p / 2 : (int64_t)((float)p * step);
        s.low = s.high = s.low < in - 1 ? s.low : in - 1;
        return s;
    }
    const float u = a->align_corners ? (float)p * step : fmaxf(((float)p + 0.5f) * step - 0.5f, 0.0f);
    s.low = (int64_t)u < in - 1 ? (int64_t)u : in - 1;
    s.high = s.low + 1 < in ? s.low + 1 : in - 1;
    s.t = fminf(u - (float)s.low, 1.0f);
    return s;
}

#ifdef __cplusplus
}
#endif

CVR_STATIC_ASSERT(sizeof(cvr_upsample_attrs) == 48, "cvr_upsample_attrs has padding");
CVR_STATIC_ASSERT(sizeof(cvr_upsample_source) == 24, "cvr_upsample_source has padding");
CVR_STATIC_ASSERT(sizeof(cvr_upsample_backward_attrs) == 64, "cvr_upsample_backward_attrs has padding");

#endif
