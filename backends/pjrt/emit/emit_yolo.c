/* What Darknet's layers of boxes say of a map: boxes and scores (<cvr/plugin/ops/yolo.h>). */
#include "emit_yolo.h"
#include "emit.h"

#define CLASSES 4u

/* (N,P): a number for each anchor of a cell. */
static hlo_value by_anchor(hlo *h, const yolo_rows *y, const float *each) {
    const hlo_value like = {.dtype = CVR_F32, .rank = 3, .shape = {y->pictures, y->cells[0] * y->cells[1], y->each}};
    const hlo_value table = hlo_table_f32(h, each, 1, &y->each);
    return hlo_reshape_like(h, hlo_along(h, table, like, 2), y->row);
}

void yolo_open(hlo *h, yolo_rows *y, const double *anchors, const int64_t *mask) {
    const hlo_value x = hlo_input(h, 0);
    y->pictures = x.shape[0];
    y->cells[0] = x.shape[1];
    y->cells[1] = x.shape[2];
    const int64_t columns = x.shape[3] / y->each, n = y->cells[0] * y->cells[1] * y->each;
    const int64_t shape[3] = {y->pictures, n, columns};
    y->classes = columns - 5;
    y->row = (hlo_value){.dtype = CVR_F32, .rank = 2, .shape = {y->pictures, n}};
    const hlo_value rows = hlo_reshape(h, x, 3, shape);
    for (int k = 0; k < 5; k++) y->t[k] = hlo_reshape_like(h, hlo_slice_axis(h, rows, 2, k, k + 1), y->row);
    y->score = hlo_slice_axis(h, rows, 2, 5, columns);
    const hlo_value number = hlo_iota(h, CVR_I32, y->row, 1), width = hlo_integer(h, CVR_I32, y->cells[1]);
    const hlo_value cell = hlo_div(h, number, hlo_integer(h, CVR_I32, y->each));
    y->at[0] = hlo_convert(h, hlo_binary(h, "remainder", cell, width), CVR_F32);
    y->at[1] = hlo_convert(h, hlo_div(h, cell, width), CVR_F32);
    for (int k = 0; k < 2; k++) {
        float each[CVR_YOLO_MOST_ANCHORS];
        for (int64_t i = 0; i < y->each; i++) each[i] = (float)anchors[2 * (mask ? mask[i] : i) + k];
        y->anchor[k] = by_anchor(h, y, each);
    }
}

hlo_value yolo_share(hlo *h, const yolo_rows *y, hlo_value t) {
    return y->new_coords ? t : hlo_sigmoid(h, t);
}

boxes yolo_box(hlo *h, const yolo_rows *y) {
    boxes b;
    for (int k = 0; k < 2; k++) { /* x, y */
        const float z = (float)y->scale, back = 0.5f * (z - 1.0f);
        const hlo_value side = y->t[k + 2], inside = hlo_scale(h, yolo_share(h, y, y->t[k]), (double)z);
        const hlo_value at = hlo_sub(h, hlo_add(h, y->at[k], inside), hlo_f32(h, (double)back));
        const hlo_value share = hlo_div(h, at, hlo_f32(h, (double)y->cells[1 - k]));
        const hlo_value centre = hlo_scale(h, share, (double)y->size[1 - k]);
        const hlo_value growth =
            y->new_coords ? hlo_scale(h, hlo_mul(h, side, side), 4) : hlo_unary(h, "exponential", side);
        const hlo_value half = hlo_mul(h, hlo_scale(h, growth, 0.5), y->anchor[k]);
        b.side[k] = hlo_sub(h, centre, half);
        b.side[k + 2] = hlo_add(h, centre, half);
    }
    return b;
}

HLO_EMITTER(boxes_of_map) {
    const cvr_yolo_attrs *a = HLO_ATTRS(cvr_yolo_attrs);
    yolo_rows y = {.each = a->n_anchors / 2,
                   .size = {a->size[0], a->size[1]},
                   .scale = a->scale_x_y,
                   .new_coords = a->new_coords != 0};
    yolo_open(h, &y, a->anchors, NULL);
    const boxes box = yolo_box(h, &y);
    const hlo_value sure = hlo_expand(h, yolo_share(h, &y, y.t[4]), y.score, CLASSES);
    hlo_result(h, boxes_together(h, &box));
    hlo_result(h, hlo_mul(h, sure, a->softmax ? hlo_softmax(h, y.score, CLASSES) : yolo_share(h, &y, y.score)));
}

const hlo_op emit_yolo_ops[] = {HLO_OP("yolo_boxes", boxes_of_map), {.op = NULL}};
