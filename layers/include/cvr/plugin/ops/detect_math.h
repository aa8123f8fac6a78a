/*
 * The arithmetic of boxes that the reference kernels of object detection share with the backends' own, so that all take
 * the same decisions to the bit: areas and overlaps as torchvision.ops rounds them in f32, the order of scores, the box
 * coders. A box is x1, y1, x2, y2. Compile with -ffp-contract=off: a fused product would round otherwise.
 */
#ifndef CVR_PLUGIN_OPS_DETECT_MATH_H
#define CVR_PLUGIN_OPS_DETECT_MATH_H

#include "detect.h"
#include <math.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ---- boxes of one cell of a map ---- */

/* Anchors about (0,0), ratios outer and sizes inner: (n_ratios * n_sizes, 4), sides rounded half to even. */
static inline void cvr_cell_anchors(const cvr_grid_anchors_attrs *attrs, float *cell) {
    for (int64_t r = 0; r < attrs->n_ratios; r++) {
        const float high = sqrtf((float)attrs->ratios[r]), wide = 1.0f / high;
        for (int64_t s = 0; s < attrs->n_sizes; s++, cell += 4) {
            const float w = wide * (float)attrs->sizes[s], h = high * (float)attrs->sizes[s];
            cell[2] = rintf(w / 2);
            cell[3] = rintf(h / 2);
            cell[0] = -cell[2];
            cell[1] = -cell[3];
        }
    }
}

/* Most of a cell's default boxes. */
#define CVR_DEFAULT_MOST (2 + 2 * CVR_ANCHOR_MOST)

static inline float cvr_default_side(const cvr_default_boxes_attrs *attrs, double side) {
    const float s = (float)side;
    return !attrs->clip ? s : s < 0 ? 0 : s > 1 ? 1 : s;
}

/* Widths and heights, as shares of the picture: (s,s), (s',s'), then for each ratio a box and its swap. Returns how
 * many. */
static inline int64_t cvr_default_sides(const cvr_default_boxes_attrs *attrs, float side[CVR_DEFAULT_MOST][2]) {
    const double s = attrs->scale;
    int64_t n = 2;
    side[0][0] = side[0][1] = cvr_default_side(attrs, s);
    side[1][0] = side[1][1] = cvr_default_side(attrs, sqrt(s * attrs->next_scale));
    for (int64_t i = 0; i < attrs->n_ratios; i++, n += 2) {
        const double root = sqrt(attrs->ratios[i]);
        side[n][0] = side[n + 1][1] = cvr_default_side(attrs, s * root);
        side[n][1] = side[n + 1][0] = cvr_default_side(attrs, s / root);
    }
    return n;
}

/* Cells of a picture's side, where the step or the map decides. */
static inline float cvr_default_cells(int64_t step, int64_t image, int64_t map) {
    return (float)(step ? (double)image / (double)step : (double)map);
}

/* ---- overlap ---- */

static inline float cvr_box_area(const float *b) {
    return (b[2] - b[0]) * (b[3] - b[1]);
}

static inline float cvr_box_intersection(const float *a, const float *b) {
    const float x1 = a[0] < b[0] ? b[0] : a[0], y1 = a[1] < b[1] ? b[1] : a[1];
    const float x2 = b[2] < a[2] ? b[2] : a[2], y2 = b[3] < a[3] ? b[3] : a[3];
    const float w = x2 - x1, h = y2 - y1;
    return (w > 0 ? w : 0) * (h > 0 ? h : 0);
}

/* Intersection / union; NaN where both are empty, or where a coordinate is NaN. */
static inline float cvr_box_iou(const float *a, float area_a, const float *b, float area_b) {
    const float inter = cvr_box_intersection(a, b);
    return inter / (area_a + area_b - inter);
}

/* ---- the order of scores ---- */

/* Rises as the score falls, then as the row rises, so that sorting these numbers sorts scores in falling order and
 * stably: 0 and -0 are equal, NaN comes last. */
static inline uint64_t cvr_score_key(float score, uint32_t row) {
    const float x = score + 0.0f;
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    bits = x != x ? UINT32_MAX : bits >> 31 ? bits : ~bits & 0x7FFFFFFFu;
    return (uint64_t)bits << 32 | row;
}

static inline uint32_t cvr_score_key_row(uint64_t key) {
    return (uint32_t)key;
}

/* ---- coders (Girshick et al., "Rich feature hierarchies", 2014; Tian et al., "FCOS", 2019) ---- */

/* The largest dw and dh that are decoded: ln(1000/16). */
#define CVR_CODER_MOST 4.135166556742356f

static inline void cvr_box_encode(const cvr_box_coder_attrs *c, const float *box, const float *anchor, float *delta) {
    const float aw = anchor[2] - anchor[0], ah = anchor[3] - anchor[1];
    if (c->coder == CVR_CODER_LTRB) {
        const float x = 0.5f * (anchor[0] + anchor[2]), y = 0.5f * (anchor[1] + anchor[3]);
        delta[0] = (x - box[0]) / aw;
        delta[1] = (y - box[1]) / ah;
        delta[2] = (box[2] - x) / aw;
        delta[3] = (box[3] - y) / ah;
    } else {
        const float w = box[2] - box[0], h = box[3] - box[1];
        delta[0] = (float)c->weights[0] * (box[0] + 0.5f * w - (anchor[0] + 0.5f * aw)) / aw;
        delta[1] = (float)c->weights[1] * (box[1] + 0.5f * h - (anchor[1] + 0.5f * ah)) / ah;
        delta[2] = (float)c->weights[2] * logf(w / aw);
        delta[3] = (float)c->weights[3] * logf(h / ah);
    }
}

/* Whether dw or dh, k being 2 or 3, is too large to be decoded as it is. */
static inline int cvr_box_side_is_held(const cvr_box_coder_attrs *c, const float *delta, int k) {
    return c->coder != CVR_CODER_CENTER_OPEN && delta[k] / (float)c->weights[k] > CVR_CODER_MOST;
}

/* The side that delta k stands for, in units of the anchor's; NaN stays. */
static inline float cvr_box_decoded_side(const cvr_box_coder_attrs *c, const float *delta, int k) {
    return expf(cvr_box_side_is_held(c, delta, k) ? CVR_CODER_MOST : delta[k] / (float)c->weights[k]);
}

static inline void cvr_box_decode(const cvr_box_coder_attrs *c, const float *delta, const float *anchor, float *box) {
    const float aw = anchor[2] - anchor[0], ah = anchor[3] - anchor[1];
    if (c->coder == CVR_CODER_LTRB) {
        const float x = 0.5f * (anchor[0] + anchor[2]), y = 0.5f * (anchor[1] + anchor[3]);
        box[0] = x - delta[0] * aw;
        box[1] = y - delta[1] * ah;
        box[2] = x + delta[2] * aw;
        box[3] = y + delta[3] * ah;
    } else {
        const float x = delta[0] / (float)c->weights[0] * aw + (anchor[0] + 0.5f * aw);
        const float y = delta[1] / (float)c->weights[1] * ah + (anchor[1] + 0.5f * ah);
        const float w = 0.5f * (cvr_box_decoded_side(c, delta, 2) * aw);
        const float h = 0.5f * (cvr_box_decoded_side(c, delta, 3) * ah);
        box[0] = x - w;
        box[1] = y - h;
        box[2] = x + w;
        box[3] = y + h;
    }
}

/* d L / d delta from d L / d box: box = anchor's centre + d * side -+ half of the decoded side, which no longer moves
 * where it was clamped. */
static inline void cvr_box_decode_backward(const cvr_box_coder_attrs *c, const float *delta, const float *anchor,
                                           const float *grad, float *ddelta) {
    const float aw = anchor[2] - anchor[0], ah = anchor[3] - anchor[1];
    if (c->coder == CVR_CODER_LTRB) {
        ddelta[0] = -grad[0] * aw;
        ddelta[1] = -grad[1] * ah;
        ddelta[2] = grad[2] * aw;
        ddelta[3] = grad[3] * ah;
    } else {
        const float wide = cvr_box_side_is_held(c, delta, 2) ? 0.0f : 0.5f * aw;
        const float high = cvr_box_side_is_held(c, delta, 3) ? 0.0f : 0.5f * ah;
        ddelta[0] = (grad[0] + grad[2]) * aw / (float)c->weights[0];
        ddelta[1] = (grad[1] + grad[3]) * ah / (float)c->weights[1];
        ddelta[2] = (grad[2] - grad[0]) * wide * cvr_box_decoded_side(c, delta, 2) / (float)c->weights[2];
        ddelta[3] = (grad[3] - grad[1]) * high * cvr_box_decoded_side(c, delta, 3) / (float)c->weights[3];
    }
}

#ifdef __cplusplus
}
#endif

#endif
