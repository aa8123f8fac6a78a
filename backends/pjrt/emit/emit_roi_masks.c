/*
 * mask_targets (<cvr/plugin/ops/detect.h>): a loop over the rois of a picture. What each pixel of a line, or column,
 * counts for each bin is a matrix of the roi, so that its piece of the mask is a product of three.
 */
#include "emit.h"
#include "emit_roi.h"

/* (N,S,size): what each pixel of an axis counts for each bin of one roi of each picture. */
static hlo_value weights_of(hlo *h, const roi_axis *axis, int64_t size) {
    hlo_value c[2 + ROI_CARRIED], like = axis->bin;
    hlo_loop loop;
    like.shape[like.rank++] = size;
    c[0] = hlo_reduce(h, "maximum", axis->n, 3);
    c[1] = hlo_fill(h, like, 0);
    roi_axis_put(axis, c + 2);
    hlo_loop_begin(h, &loop, c, 2 + ROI_CARRIED);
    const roi_axis inside = roi_axis_get(c + 2);
    hlo_value pixel, weight[2];
    roi_sample(h, &inside, loop.round, &pixel, weight);
    for (int k = 0; k < 2; k++) {
        const hlo_value at = hlo_add(h, pixel, hlo_integer(h, CVR_I32, k));
        const hlo_value is = hlo_compare(h, "EQ", hlo_iota(h, CVR_I32, like, 2), hlo_expand(h, at, like, 4));
        c[1] = hlo_add(h, c[1], hlo_select(h, is, hlo_expand(h, weight[k], like, 4), hlo_f32(h, 0)));
    }
    hlo_loop_end(h, &loop, c);
    return c[1];
}

enum { ROIS, MATCH, MASKS, Y, X = Y + ROI_CARRIED, OUT = X + ROI_CARRIED, CARRIED };

/* (N,S) of (N,R,S): one roi of each picture. */
static roi_axis axis_at(hlo *h, const hlo_value *carried, hlo_value roi) {
    hlo_value one[ROI_CARRIED];
    for (uint32_t i = 0; i < ROI_CARRIED; i++) {
        const int64_t shape[2] = {carried[i].shape[0], carried[i].shape[2]};
        one[i] = hlo_reshape(h, hlo_slice_at(h, carried[i], 1, roi), 2, shape);
    }
    return roi_axis_get(one);
}

static void align_one(hlo *h, hlo_value *c, hlo_value roi) {
    const hlo_value zero = hlo_integer(h, CVR_I32, 0);
    hlo_value match = hlo_slice_at(h, c[MATCH], 1, roi);
    match = hlo_reshape(h, match, 1, match.shape);
    roi_axis axis[2] = {axis_at(h, c + Y, roi), axis_at(h, c + X, roi)};
    const hlo_value has = hlo_compare(h, "GE", match, zero);
    hlo_value weights[2];
    for (int k = 0; k < 2; k++) {
        axis[k].n = hlo_select(h, hlo_along(h, has, axis[k].n, 0), axis[k].n, zero);
        weights[k] = weights_of(h, &axis[k], c[MASKS].shape[2 + k]);
    }
    const hlo_value mask = hlo_take_batched(h, c[MASKS], hlo_binary(h, "maximum", match, hlo_integer(h, CVR_I32, 0)));
    const hlo_value lines = hlo_dot(h, weights[0], hlo_convert(h, mask, CVR_F32), 1, 2, 1);
    const hlo_value piece = hlo_dot(h, lines, weights[1], 1, 2, 2);
    c[OUT] = hlo_update_at(h, c[OUT], piece, 1, roi);
}

HLO_EMITTER(mask_targets) {
    static const uint32_t logical[4] = {0, 3, 1, 2};
    const int64_t size = HLO_ATTRS(cvr_mask_targets_attrs)->size;
    const cvr_roi_align_attrs a = {.output_size = {size, size}, .sampling_ratio = -1};
    const hlo_value all = hlo_input(h, 1), row = {.dtype = CVR_F32, .rank = 2, .shape = {all.shape[0], all.shape[1]}};
    const hlo_value out = {.dtype = CVR_F32, .rank = 4, .shape = {row.shape[0], row.shape[1], size, size}};
    hlo_value side[4], c[CARRIED] = {[ROIS] = hlo_integer(h, CVR_I32, row.shape[1]),
                                     [MATCH] = hlo_input_raw(h, 2),
                                     [MASKS] = hlo_transpose(h, hlo_input_raw(h, 0), logical),
                                     [OUT] = hlo_fill(h, out, 0)};
    hlo_loop loop;
    for (int k = 0; k < 4; k++) side[k] = hlo_reshape_like(h, hlo_slice_axis(h, all, 2, k, k + 1), row);
    for (int k = 0; k < 2; k++) { /* y, x */
        const hlo_value ends[2] = {side[1 - k], side[3 - k]}, pixels = hlo_fill(h, row, (double)c[MASKS].shape[2 + k]);
        const roi_axis axis = roi_axis_of(h, ends, hlo_fill(h, row, 1), pixels, &a, size);
        roi_axis_put(&axis, c + (k ? X : Y));
    }
    hlo_loop_begin(h, &loop, c, CARRIED);
    align_one(h, c, loop.round);
    hlo_loop_end(h, &loop, c);
    hlo_result(h, c[OUT]);
}

const hlo_op emit_roi_mask_ops[] = {HLO_OP("mask_targets", mask_targets), {.op = NULL}};
