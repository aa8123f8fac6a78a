/*
 * Losses of detectors that are sums over rows (<cvr/plugin/ops/detect_loss.h>). Each picture's sum is divided by how
 * many rows count, or have an object.
 */
#include "emit_row_loss.h"
#include "emit.h"
#include "emit_boxes.h"
#include <cvr/plugin/ops/detect_loss.h>

hlo_value row_norm(hlo *h, int64_t kind, hlo_value counts) {
    const hlo_value n = hlo_sum(h, hlo_convert(h, counts, CVR_F32), 2), one = hlo_f32(h, 1);
    if (kind == CVR_NORM_PICTURE) return hlo_scale(h, hlo_binary(h, "maximum", n, one), (double)n.shape[0]);
    hlo_value all = hlo_sum(h, n, 1);
    if (kind == CVR_NORM_POSITIVES) all = hlo_binary(h, "maximum", all, one);
    return hlo_broadcast(h, all, n, NULL);
}

/* 1 / norm, 0 where nothing counts. */
static hlo_value share_of(hlo *h, hlo_value norm) {
    const hlo_value zero = hlo_f32(h, 0);
    return hlo_select(h, hlo_compare(h, "GT", norm, zero), hlo_div(h, hlo_f32(h, 1), norm), zero);
}

hlo_value row_at_least(hlo *h, hlo_value v, int64_t least) {
    return hlo_compare(h, "GE", v, hlo_integer(h, v.dtype, least));
}

/* (N,A) for all classes of (N,A,K). */
static hlo_value wide(hlo *h, hlo_value rows, hlo_value like) {
    return hlo_expand(h, rows, like, 4);
}

void row_loss_results(hlo *h, hlo_value rows, hlo_value counts, hlo_value norm) {
    const hlo_value kept = hlo_select(h, counts, rows, hlo_f32(h, 0));
    hlo_result(h, hlo_sum(h, hlo_mul(h, hlo_sum(h, kept, 2), share_of(h, norm)), 1));
    hlo_result(h, norm);
}

hlo_value row_scale(hlo *h, uint32_t norm, hlo_value counts, hlo_value like) {
    const hlo_value grad = hlo_reshape(h, hlo_input(h, norm + 1), 0, NULL);
    const hlo_value scale = hlo_mul(h, share_of(h, hlo_input(h, norm)), grad);
    const hlo_value each = hlo_along(h, scale, like, 0), which = like.rank == 3 ? wide(h, counts, like) : counts;
    return hlo_select(h, which, each, hlo_f32(h, 0));
}

/* log(1 + exp(-|x|)) + max(x, 0) - x * t */
static hlo_value bce(hlo *h, hlo_value x, hlo_value t) {
    return hlo_sub(h, hlo_softplus(h, x), hlo_mul(h, x, t));
}

/* Where class k is the target of the row. */
static hlo_value is_class(hlo *h, hlo_value target, hlo_value x) {
    return hlo_compare(h, "EQ", hlo_iota(h, CVR_I64, x, 2), wide(h, target, x));
}

/* ---- focal ---- */

typedef struct focal {
    hlo_value x, target, log_q, rest, alpha, sign, easy;
} focal;

static focal focal_of(hlo *h) {
    const cvr_anchor_focal_attrs *a = HLO_ATTRS(cvr_anchor_focal_attrs);
    focal f = {.x = hlo_input(h, 0), .target = hlo_input_raw(h, 1)};
    const hlo_value is = is_class(h, f.target, f.x), one = hlo_f32(h, 1);
    const hlo_value other = hlo_select(h, is, hlo_unary(h, "negate", f.x), f.x); /* -z */
    f.log_q = hlo_unary(h, "negate", hlo_softplus(h, other));
    f.rest = hlo_sigmoid(h, other);
    f.alpha = a->alpha < 0 ? one : hlo_select(h, is, hlo_f32(h, a->alpha), hlo_f32(h, 1 - a->alpha));
    f.sign = hlo_select(h, is, one, hlo_f32(h, -1));
    f.easy = hlo_power(h, f.rest, a->gamma);
    return f;
}

HLO_EMITTER(anchor_focal) {
    const cvr_anchor_focal_attrs *a = HLO_ATTRS(cvr_anchor_focal_attrs);
    const focal f = focal_of(h);
    const hlo_value l = hlo_mul(h, hlo_mul(h, f.easy, f.alpha), hlo_unary(h, "negate", f.log_q));
    const hlo_value norm =
        row_norm(h, a->norm, row_at_least(h, f.target, a->norm == CVR_NORM_COUNTED ? -1 : a->first_class));
    row_loss_results(h, hlo_sum(h, l, 4), row_at_least(h, f.target, -1), norm);
}

HLO_EMITTER(anchor_focal_backward) {
    const focal f = focal_of(h);
    const hlo_value q = hlo_scale(h, hlo_unary(h, "exponential", f.log_q), HLO_ATTRS(cvr_anchor_focal_attrs)->gamma);
    const hlo_value slope = hlo_sub(h, hlo_mul(h, q, f.log_q), f.rest);
    const hlo_value d = hlo_mul(h, hlo_mul(h, hlo_mul(h, f.easy, f.alpha), f.sign), slope);
    hlo_result(h, hlo_mul(h, d, row_scale(h, 2, row_at_least(h, f.target, -1), d)));
}

/* ---- quality: x, target, quality ---- */

static hlo_value quality_targets(hlo *h, hlo_value x, hlo_value target) {
    return hlo_select(h, is_class(h, target, x), wide(h, hlo_input(h, 2), x), hlo_f32(h, 0));
}

HLO_EMITTER(anchor_quality) {
    const hlo_value x = hlo_input(h, 0), target = hlo_input_raw(h, 1);
    const int64_t kind = HLO_ATTRS(cvr_anchor_quality_attrs)->norm;
    const hlo_value l = hlo_sum(h, bce(h, x, quality_targets(h, x, target)), 4);
    const hlo_value norm = row_norm(h, kind, row_at_least(h, target, kind == CVR_NORM_COUNTED ? -1 : 0));
    row_loss_results(h, l, row_at_least(h, target, 0), norm);
}

HLO_EMITTER(anchor_quality_backward) {
    const hlo_value x = hlo_input(h, 0), target = hlo_input_raw(h, 1);
    const hlo_value d = hlo_sub(h, hlo_sigmoid(h, x), quality_targets(h, x, target));
    hlo_result(h, hlo_mul(h, d, row_scale(h, 3, row_at_least(h, target, 0), x)));
}

/* ---- centerness: x (N,A,1), anchors, boxes, match ---- */

static hlo_value centerness_targets(hlo *h, hlo_value match) {
    const hlo_value zero = hlo_integer(h, CVR_I32, 0);
    const hlo_value own = hlo_take_batched(h, hlo_input(h, 2), hlo_binary(h, "maximum", match, zero));
    const boxes anchor = boxes_of(h, boxes_anchors(h, 1, match.shape[0])), object = boxes_of(h, own);
    hlo_value share = hlo_f32(h, 1);
    for (int k = 0; k < 2; k++) {
        const hlo_value centre = hlo_scale(h, hlo_add(h, anchor.side[k], anchor.side[2 + k]), 0.5);
        const hlo_value low = hlo_sub(h, centre, object.side[k]), high = hlo_sub(h, object.side[2 + k], centre);
        const hlo_value part = hlo_div(h, hlo_binary(h, "minimum", low, high), hlo_binary(h, "maximum", low, high));
        share = hlo_mul(h, part, share);
    }
    return hlo_unary(h, "sqrt", share);
}

HLO_EMITTER(centerness) {
    const hlo_value match = hlo_input_raw(h, 3), x = hlo_reshape_like(h, hlo_input(h, 0), match);
    const int64_t kind = HLO_ATTRS(cvr_centerness_attrs)->norm;
    const hlo_value counts = row_at_least(h, match, kind == CVR_NORM_COUNTED ? CVR_MATCH_BACKGROUND : 0);
    row_loss_results(h, bce(h, x, centerness_targets(h, match)), row_at_least(h, match, 0), row_norm(h, kind, counts));
}

HLO_EMITTER(centerness_backward) {
    const hlo_value match = hlo_input_raw(h, 3), x = hlo_reshape_like(h, hlo_input(h, 0), match);
    const hlo_value counts = row_at_least(h, match, 0), zero = hlo_f32(h, 0);
    const hlo_value d = hlo_sub(h, hlo_sigmoid(h, x), centerness_targets(h, match));
    const hlo_value scale = row_scale(h, 4, counts, x);
    hlo_result(h, hlo_select(h, counts, hlo_mul(h, d, scale), zero));
}

/* ---- masks: x (N*R,K,S,S), target (N,R,S*S), label, match (N,R) ---- */

/* (rows, pixels, K): which channel is the row's own; and whether the row has an object, likewise. */
static hlo_value own_channel(hlo *h, hlo_value x, hlo_value *has) {
    const int64_t rows = x.shape[0];
    const hlo_value label = hlo_reshape(h, hlo_input_raw(h, 2), 1, &rows);
    const hlo_value match = hlo_reshape(h, hlo_input_raw(h, 3), 1, &rows);
    *has = row_at_least(h, match, 0);
    const hlo_value is = hlo_compare(h, "EQ", hlo_iota(h, CVR_I64, x, 2), hlo_expand(h, label, x, 6));
    return hlo_binary(h, "and", is, hlo_expand(h, *has, x, 6));
}

static hlo_value mask_pixels(hlo *h, hlo_value *target) {
    const hlo_value x = hlo_input(h, 0);
    const int64_t pixels = x.shape[1] * x.shape[2], wide_shape[3] = {x.shape[0], pixels, x.shape[3]},
                  narrow[2] = {x.shape[0], pixels};
    const hlo_value flat = hlo_reshape(h, x, 3, wide_shape);
    *target = hlo_expand(h, hlo_reshape(h, hlo_input(h, 1), 2, narrow), flat, 4);
    return flat;
}

HLO_EMITTER(mask_loss) {
    hlo_value target, has;
    const hlo_value x = mask_pixels(h, &target), own = own_channel(h, x, &has);
    const hlo_value sum = hlo_sum(h, hlo_select(h, own, bce(h, x, target), hlo_f32(h, 0)), 7);
    const hlo_value norm = hlo_scale(h, hlo_sum(h, hlo_convert(h, has, CVR_F32), 1), (double)x.shape[1]);
    hlo_result(h, hlo_mul(h, sum, share_of(h, norm)));
    hlo_result(h, norm);
}

HLO_EMITTER(mask_loss_backward) {
    hlo_value target, has;
    const hlo_value x = mask_pixels(h, &target), own = own_channel(h, x, &has);
    const hlo_value norm = hlo_reshape(h, hlo_input(h, 4), 0, NULL), grad = hlo_reshape(h, hlo_input(h, 5), 0, NULL);
    const hlo_value d = hlo_mul(h, hlo_sub(h, hlo_sigmoid(h, x), target), hlo_mul(h, share_of(h, norm), grad));
    hlo_result(h, hlo_select(h, own, d, hlo_f32(h, 0)));
}

const hlo_op emit_row_loss_ops[] = {HLO_OP("anchor_focal_loss", anchor_focal),
                                    HLO_OP("anchor_focal_loss_backward", anchor_focal_backward),
                                    HLO_OP("anchor_quality_loss", anchor_quality),
                                    HLO_OP("anchor_quality_loss_backward", anchor_quality_backward),
                                    HLO_OP("centerness_loss", centerness),
                                    HLO_OP("centerness_loss_backward", centerness_backward),
                                    HLO_OP("mask_loss", mask_loss),
                                    HLO_OP("mask_loss_backward", mask_loss_backward),
                                    {.op = NULL}};
