/* Boxes (<cvr/plugin/ops/detect.h>): anchors, coders, overlaps; sums and products in the order of the reference. */
#include "emit_boxes.h"
#include "emit.h"
#include <cvr/plugin/ops/detect_math.h>
#include <stdlib.h>

/* ---- the four numbers of a box ---- */

boxes boxes_of(hlo *h, hlo_value v) {
    boxes b;
    const uint32_t last = v.rank - 1;
    for (int k = 0; k < 4; k++) {
        hlo_value part = hlo_slice_axis(h, v, last, k, k + 1);
        b.side[k] = hlo_reshape(h, part, last, part.shape);
    }
    return b;
}

hlo_value boxes_together(hlo *h, const boxes *b) {
    hlo_value parts[4];
    for (int k = 0; k < 4; k++) {
        hlo_value like = b->side[k];
        like.shape[like.rank++] = 1;
        parts[k] = hlo_reshape_like(h, b->side[k], like);
    }
    return hlo_concat(h, parts, 4, parts[0].rank - 1);
}

/* (A,4) or (N,A,4), as many pictures as `n` */
hlo_value boxes_anchors(hlo *h, uint32_t i, int64_t n) {
    const hlo_value anchors = hlo_input(h, i);
    const hlo_value like = {.dtype = CVR_F32, .rank = 3, .shape = {n, anchors.shape[0], 4}};
    static const uint32_t axes[2] = {1, 2};
    return anchors.rank == 3 ? anchors : hlo_broadcast(h, anchors, like, axes);
}

hlo_value boxes_area(hlo *h, const boxes *b) {
    return hlo_mul(h, hlo_sub(h, b->side[2], b->side[0]), hlo_sub(h, b->side[3], b->side[1]));
}

static hlo_value larger(hlo *h, hlo_value a, hlo_value b) {
    return hlo_select(h, hlo_compare(h, "LT", a, b), b, a);
}
static hlo_value smaller(hlo *h, hlo_value a, hlo_value b) {
    return hlo_select(h, hlo_compare(h, "LT", b, a), b, a);
}

hlo_value boxes_iou(hlo *h, const boxes *a, const boxes *b) {
    const hlo_value zero = hlo_f32(h, 0);
    const hlo_value x1 = larger(h, a->side[0], b->side[0]), y1 = larger(h, a->side[1], b->side[1]);
    const hlo_value x2 = smaller(h, a->side[2], b->side[2]), y2 = smaller(h, a->side[3], b->side[3]);
    hlo_value w = hlo_sub(h, x2, x1), t = hlo_sub(h, y2, y1);
    w = hlo_select(h, hlo_compare(h, "GT", w, zero), w, zero);
    t = hlo_select(h, hlo_compare(h, "GT", t, zero), t, zero);
    const hlo_value both = hlo_mul(h, w, t);
    const hlo_value all = hlo_sub(h, hlo_add(h, boxes_area(h, a), boxes_area(h, b)), both);
    return hlo_div(h, both, all);
}

/* (N,A) and (N,M), each as (N,A,M) */
boxes boxes_spread(hlo *h, const boxes *b, hlo_value like, int as_rows) {
    static const uint32_t rows[2] = {0, 1}, columns[2] = {0, 2};
    boxes wide;
    for (int k = 0; k < 4; k++) wide.side[k] = hlo_broadcast(h, b->side[k], like, as_rows ? rows : columns);
    return wide;
}

/* ---- anchors: known when the program is written ---- */

HLO_EMITTER(grid_anchors) {
    const cvr_grid_anchors_attrs *attrs = HLO_ATTRS(cvr_grid_anchors_attrs);
    const int64_t *image = h->a->inputs[0]->shape, *map = h->a->inputs[1]->shape;
    const int64_t n = attrs->n_sizes * attrs->n_ratios, down = image[2] / map[2], right = image[3] / map[3];
    float cell[CVR_ANCHOR_MOST * CVR_ANCHOR_MOST * 4];
    cvr_cell_anchors(attrs, cell);
    /* a cell's place and a box about it: rows and columns are counted on the device, the table is small */
    const int64_t cells = map[2] * map[3], row[1] = {4 * n};
    const hlo_value like = {.dtype = CVR_F32, .rank = 4, .shape = {map[2], map[3], n, 4}};
    const hlo_value x = hlo_scale(h, hlo_iota(h, CVR_F32, like, 1), (double)right);
    const hlo_value y = hlo_scale(h, hlo_iota(h, CVR_F32, like, 0), (double)down);
    const hlo_value number = hlo_iota(h, CVR_I32, like, 3), one = hlo_integer(h, CVR_I32, 1);
    const hlo_value is_y = hlo_compare(h, "EQ", hlo_binary(h, "and", number, one), one);
    const int64_t shape[2] = {n, 4};
    static const uint32_t axes[2] = {2, 3};
    const hlo_value boxes_at_zero = hlo_reshape(h, hlo_table_f32(h, cell, 1, row), 2, shape);
    const hlo_value all = hlo_add(h, hlo_select(h, is_y, y, x), hlo_broadcast(h, boxes_at_zero, like, axes));
    const int64_t flat[2] = {cells * n, 4};
    hlo_result(h, hlo_reshape(h, all, 2, flat));
}

HLO_EMITTER(default_boxes) {
    const cvr_default_boxes_attrs *attrs = HLO_ATTRS(cvr_default_boxes_attrs);
    const int64_t *image = h->a->inputs[0]->shape, *map = h->a->inputs[1]->shape;
    const float fy = cvr_default_cells(attrs->step, image[2], map[2]);
    const float fx = cvr_default_cells(attrs->step, image[3], map[3]);
    float side[CVR_DEFAULT_MOST][2];
    const int64_t n = cvr_default_sides(attrs, side), cells = map[2] * map[3];
    float *values = (float *)malloc((size_t)(cells * n * 4) * sizeof *values), *out = values;
    if (!values) {
        hlo_fail(h, "out of memory");
        return;
    }
    for (int64_t i = 0; i < cells; i++) {
        const float x = ((float)(i % map[3]) + 0.5f) / fx, y = ((float)(i / map[3]) + 0.5f) / fy;
        for (int64_t k = 0; k < n; k++, out += 4) {
            out[0] = (x - 0.5f * side[k][0]) * (float)image[3];
            out[1] = (y - 0.5f * side[k][1]) * (float)image[2];
            out[2] = (x + 0.5f * side[k][0]) * (float)image[3];
            out[3] = (y + 0.5f * side[k][1]) * (float)image[2];
        }
    }
    const hlo_value like = hlo_like(h->a->outputs[0]);
    hlo_result(h, hlo_table_f32(h, values, 2, like.shape));
    free(values);
}

/* ---- coders ---- */

static hlo_value halfway(hlo *h, hlo_value a, hlo_value b) {
    return hlo_scale(h, hlo_add(h, a, b), 0.5);
}

HLO_EMITTER(encode_boxes) {
    const cvr_box_coder_attrs *c = HLO_ATTRS(cvr_box_coder_attrs);
    const hlo_value all = hlo_input(h, 0);
    const boxes box = boxes_of(h, all), anchor = boxes_of(h, boxes_anchors(h, 1, all.shape[0]));
    boxes delta;
    for (int k = 0; k < 2; k++) {
        const hlo_value size = hlo_sub(h, anchor.side[2 + k], anchor.side[k]);
        if (c->coder == CVR_CODER_LTRB) {
            const hlo_value centre = halfway(h, anchor.side[k], anchor.side[2 + k]);
            delta.side[k] = hlo_div(h, hlo_sub(h, centre, box.side[k]), size);
            delta.side[2 + k] = hlo_div(h, hlo_sub(h, box.side[2 + k], centre), size);
            continue;
        }
        const hlo_value own = hlo_sub(h, box.side[2 + k], box.side[k]);
        const hlo_value at = hlo_add(h, box.side[k], hlo_scale(h, own, 0.5));
        const hlo_value centre = hlo_add(h, anchor.side[k], hlo_scale(h, size, 0.5));
        delta.side[k] = hlo_div(h, hlo_scale(h, hlo_sub(h, at, centre), c->weights[k]), size);
        delta.side[2 + k] = hlo_scale(h, hlo_unary(h, "log", hlo_div(h, own, size)), c->weights[2 + k]);
    }
    hlo_result(h, boxes_together(h, &delta));
}

/* The exponent that a side is decoded with, and whether it is held. */
static hlo_value exponent(hlo *h, const cvr_box_coder_attrs *c, hlo_value delta, int k, hlo_value *is_held) {
    const hlo_value d = hlo_div(h, delta, hlo_f32(h, c->weights[k])), most = hlo_f32(h, (double)CVR_CODER_MOST);
    *is_held = hlo_compare(h, "GT", d, c->coder == CVR_CODER_CENTER_OPEN ? hlo_f32(h, HUGE_VAL) : most);
    return hlo_unary(h, "exponential", hlo_select(h, *is_held, most, d));
}

boxes boxes_decode(hlo *h, const cvr_box_coder_attrs *c, const boxes *delta, const boxes *anchor) {
    boxes box;
    for (int k = 0; k < 2; k++) {
        const hlo_value size = hlo_sub(h, anchor->side[2 + k], anchor->side[k]);
        hlo_value is_held;
        if (c->coder == CVR_CODER_LTRB) {
            const hlo_value centre = halfway(h, anchor->side[k], anchor->side[2 + k]);
            box.side[k] = hlo_sub(h, centre, hlo_mul(h, delta->side[k], size));
            box.side[2 + k] = hlo_add(h, centre, hlo_mul(h, delta->side[2 + k], size));
            continue;
        }
        const hlo_value centre = hlo_add(h, anchor->side[k], hlo_scale(h, size, 0.5));
        const hlo_value moved = hlo_mul(h, hlo_div(h, delta->side[k], hlo_f32(h, c->weights[k])), size);
        const hlo_value at = hlo_add(h, moved, centre);
        const hlo_value own = hlo_mul(h, exponent(h, c, delta->side[2 + k], 2 + k, &is_held), size);
        const hlo_value half = hlo_scale(h, own, 0.5);
        box.side[k] = hlo_sub(h, at, half);
        box.side[2 + k] = hlo_add(h, at, half);
    }
    return box;
}

boxes boxes_decode_backward(hlo *h, const cvr_box_coder_attrs *c, const boxes *delta, const boxes *anchor,
                            const boxes *grad) {
    const hlo_value zero = hlo_f32(h, 0);
    boxes d;
    for (int k = 0; k < 2; k++) {
        const hlo_value size = hlo_sub(h, anchor->side[2 + k], anchor->side[k]);
        hlo_value is_held;
        if (c->coder == CVR_CODER_LTRB) {
            d.side[k] = hlo_mul(h, hlo_unary(h, "negate", grad->side[k]), size);
            d.side[2 + k] = hlo_mul(h, grad->side[2 + k], size);
            continue;
        }
        const hlo_value e = exponent(h, c, delta->side[2 + k], 2 + k, &is_held);
        const hlo_value half = hlo_select(h, is_held, zero, hlo_scale(h, size, 0.5));
        const hlo_value sum = hlo_mul(h, hlo_add(h, grad->side[k], grad->side[2 + k]), size);
        const hlo_value wider = hlo_mul(h, hlo_mul(h, hlo_sub(h, grad->side[2 + k], grad->side[k]), half), e);
        d.side[k] = hlo_div(h, sum, hlo_f32(h, c->weights[k]));
        d.side[2 + k] = hlo_div(h, wider, hlo_f32(h, c->weights[2 + k]));
    }
    return d;
}

boxes boxes_centred(hlo *h, const boxes *anchor, hlo_value half[2]) {
    boxes about;
    for (int k = 0; k < 2; k++) {
        half[k] = hlo_scale(h, hlo_sub(h, anchor->side[k + 2], anchor->side[k]), 0.5);
        about.side[k] = hlo_unary(h, "negate", half[k]);
        about.side[k + 2] = half[k];
    }
    return about;
}

/* K boxes an anchor: (N,A,4*K) as (N,A*K,4), and the anchors as often. */
static hlo_value one_each(hlo *h, hlo_value v, hlo_value *anchors) {
    const int64_t n = v.shape[0], a = v.shape[1], k = v.shape[2] / 4, flat[3] = {n, a * k, 4};
    const hlo_value like = {.dtype = CVR_F32, .rank = 4, .shape = {n, a, k, 4}};
    static const uint32_t axes[3] = {0, 1, 3};
    if (anchors) *anchors = hlo_reshape(h, hlo_broadcast(h, *anchors, like, axes), 3, flat);
    return hlo_reshape(h, v, 3, flat);
}

HLO_EMITTER(decode_boxes) {
    const hlo_value all = hlo_input(h, 0);
    hlo_value anchors = boxes_anchors(h, 1, all.shape[0]);
    const hlo_value each = one_each(h, all, &anchors);
    const boxes delta = boxes_of(h, each), anchor = boxes_of(h, anchors);
    const boxes box = boxes_decode(h, HLO_ATTRS(cvr_box_coder_attrs), &delta, &anchor);
    hlo_result(h, boxes_together(h, &box));
}

HLO_EMITTER(decode_boxes_backward) {
    const hlo_value all = hlo_input(h, 0);
    hlo_value anchors = boxes_anchors(h, 1, all.shape[0]);
    const hlo_value each = one_each(h, all, &anchors);
    const boxes delta = boxes_of(h, each), anchor = boxes_of(h, anchors);
    const boxes grad = boxes_of(h, one_each(h, hlo_input(h, 2), NULL));
    const boxes d = boxes_decode_backward(h, HLO_ATTRS(cvr_box_coder_attrs), &delta, &anchor, &grad);
    hlo_result(h, boxes_together(h, &d));
}

HLO_EMITTER(clip_boxes) {
    const hlo_value box = hlo_input(h, 0), size = hlo_input(h, 1), zero = hlo_f32(h, 0);
    const hlo_value number = hlo_iota(h, CVR_I32, box, 2), one = hlo_integer(h, CVR_I32, 1);
    const hlo_value height = hlo_along(h, hlo_slice_axis(h, size, 1, 0, 1), box, 0);
    const hlo_value width = hlo_along(h, hlo_slice_axis(h, size, 1, 1, 2), box, 0);
    const hlo_value is_y = hlo_compare(h, "EQ", hlo_binary(h, "and", number, one), one);
    const hlo_value side = hlo_select(h, is_y, height, width);
    const hlo_value x = hlo_select(h, hlo_compare(h, "LT", box, zero), zero, box);
    hlo_result(h, hlo_select(h, hlo_compare(h, "GT", x, side), side, x));
}

HLO_EMITTER(box_iou) {
    const hlo_value y = hlo_like(h->a->outputs[0]), b = hlo_input(h, 1);
    const boxes rows = boxes_of(h, boxes_anchors(h, 0, y.shape[0])), columns = boxes_of(h, b);
    const boxes p = boxes_spread(h, &rows, y, 1), q = boxes_spread(h, &columns, y, 0);
    hlo_value iou = boxes_iou(h, &p, &q);
    if (hlo_has(h, 2)) {
        const hlo_value counts = hlo_along(h, hlo_input_raw(h, 2), y, 0), number = hlo_iota(h, CVR_I64, y, 2);
        iou = hlo_select(h, hlo_compare(h, "LT", number, counts), iou, hlo_f32(h, 0));
    }
    hlo_result(h, iou);
}

const hlo_op emit_box_ops[] = {HLO_OP("grid_anchors", grid_anchors),
                               HLO_OP("default_boxes", default_boxes),
                               HLO_OP("encode_boxes", encode_boxes),
                               HLO_OP("decode_boxes", decode_boxes),
                               HLO_OP("decode_boxes_backward", decode_boxes_backward),
                               HLO_OP("clip_boxes", clip_boxes),
                               HLO_OP("box_iou", box_iou),
                               {.op = NULL}};
