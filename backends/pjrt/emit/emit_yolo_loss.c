/*
 * The losses of Darknet's [yolo] and their gradient (Redmon and Farhadi, 2018; <cvr/plugin/ops/yolo.h>): tables of all
 * rows with all objects, (N,P,M), tell which rows an object has.
 */
#include "emit.h"
#include "emit_box_loss.h"
#include "emit_row_loss.h"
#include "emit_yolo.h"
#include <cvr/plugin/ops/detect_math.h>
#include <math.h>

#define OBJECTS 4u /* the axis of (N,P,M), as a bit */
#define CLASSES 4u

typedef struct yolo_loss {
    const cvr_yolo_loss_attrs *attrs;
    yolo_rows y;
    hlo_value like;   /* type (N,P,M) */
    hlo_value counts; /* (N,P,M): the object is there */
    boxes object;     /* (N,M) */
    hlo_value has;    /* (N,P,M): the object has the row */
    hlo_value label;  /* (N,M) i64 */
} yolo_loss;

static hlo_value both_hold(hlo *h, hlo_value a, hlo_value b) {
    return hlo_binary(h, "and", a, b);
}

/* (N,M): IoU of the objects' shapes with an anchor's, one on the other. */
static hlo_value shape_iou(hlo *h, const hlo_value side[2], const double *anchor) {
    hlo_value least[2];
    for (int k = 0; k < 2; k++) {
        const hlo_value own = hlo_f32(h, anchor[k]);
        least[k] = hlo_select(h, hlo_compare(h, "LT", side[k], own), side[k], own);
    }
    const hlo_value both = hlo_mul(h, least[0], least[1]),
                    area = hlo_f32(h, (double)((float)anchor[0] * (float)anchor[1]));
    return hlo_div(h, both, hlo_sub(h, hlo_add(h, hlo_mul(h, side[0], side[1]), area), both));
}

/* Of each object: whether it counts, its sides and its cell (N,M). */
static hlo_value find_cells(hlo *h, const yolo_loss *l, hlo_value side[2], hlo_value *cell) {
    const hlo_value zero = hlo_f32(h, 0), one = hlo_f32(h, 1);
    hlo_value at[2], counts = zero;
    for (int k = 0; k < 2; k++) {
        const float whole = (float)l->y.size[1 - k];
        const int64_t cells = l->y.cells[1 - k];
        const hlo_value sum = hlo_add(h, l->object.side[k], l->object.side[k + 2]);
        const hlo_value centre = hlo_div(h, hlo_scale(h, sum, 0.5), hlo_f32(h, (double)whole));
        side[k] = hlo_sub(h, l->object.side[k + 2], l->object.side[k]);
        const hlo_value is =
            both_hold(h, hlo_compare(h, "GE", side[k], hlo_f32(h, (double)(0.001f * whole))),
                      both_hold(h, hlo_compare(h, "GE", centre, zero), hlo_compare(h, "LT", centre, one)));
        counts = k ? both_hold(h, counts, is) : is;
        const hlo_value place = hlo_convert(h, hlo_select(h, is, hlo_scale(h, centre, (double)cells), zero), CVR_I32);
        at[k] = hlo_binary(h, "minimum", place, hlo_integer(h, CVR_I32, cells - 1));
    }
    *cell = hlo_add(h, hlo_mul(h, at[1], hlo_integer(h, CVR_I32, l->y.cells[1])), at[0]);
    return counts;
}

/* (N,P,M): the rows that each object has, by its cell and by each anchor of this layer that fits it. */
static hlo_value rows_of_objects(hlo *h, const yolo_loss *l) {
    const cvr_yolo_loss_attrs *a = l->attrs;
    hlo_value side[2], cell, best = l->like, most = l->like, iou[CVR_YOLO_MOST_ANCHORS], fits = l->like;
    const hlo_value counts = find_cells(h, l, side, &cell);
    for (int64_t i = 0; i < a->n_anchors / 2; i++) {
        iou[i] = shape_iou(h, side, &a->anchors[2 * i]);
        const hlo_value number = hlo_convert(h, hlo_fill(h, iou[i], (double)i), CVR_I32);
        best = i ? hlo_select(h, hlo_compare(h, "GT", iou[i], most), number, best) : number;
        most = i ? hlo_binary(h, "maximum", most, iou[i]) : iou[i];
    }
    const hlo_value number = hlo_iota(h, CVR_I32, l->like, 1), each = hlo_integer(h, CVR_I32, l->y.each);
    const hlo_value own = hlo_binary(h, "remainder", number, each), place = hlo_div(h, number, each);
    for (int64_t i = 0; i < l->y.each; i++) {
        hlo_value is = hlo_compare(h, "EQ", best, hlo_integer(h, CVR_I32, a->mask[i]));
        if (a->iou_thresh < 1) {
            const hlo_value near = hlo_compare(h, "GT", iou[a->mask[i]], hlo_f32(h, a->iou_thresh));
            is = hlo_binary(h, "or", is, near);
        }
        const hlo_value wide = hlo_expand(h, both_hold(h, is, counts), l->like, 2);
        const hlo_value here = both_hold(h, wide, hlo_compare(h, "EQ", own, hlo_integer(h, CVR_I32, i)));
        fits = i ? hlo_binary(h, "or", fits, here) : here;
    }
    const hlo_value in_cell = hlo_compare(h, "EQ", place, hlo_expand(h, cell, l->like, 2));
    return both_hold(h, l->counts, both_hold(h, fits, in_cell));
}

static yolo_loss loss_open(hlo *h) {
    yolo_loss l = {.attrs = HLO_ATTRS(cvr_yolo_loss_attrs)};
    const cvr_yolo_loss_attrs *a = l.attrs;
    l.y = (yolo_rows){
        .each = a->n_mask, .size = {a->size[0], a->size[1]}, .scale = a->scale_x_y, .new_coords = a->new_coords != 0};
    yolo_open(h, &l.y, a->anchors, a->mask);
    const hlo_value objects = hlo_input(h, 1);
    l.like = (hlo_value){.dtype = CVR_F32, .rank = 3, .shape = {l.y.pictures, l.y.row.shape[1], objects.shape[1]}};
    l.object = boxes_of(h, objects);
    l.label = hlo_input_raw(h, 2);
    l.counts = hlo_compare(h, "LT", hlo_iota(h, CVR_I64, l.like, 2), hlo_along(h, hlo_input_raw(h, 3), l.like, 0));
    l.has = rows_of_objects(h, &l);
    return l;
}

/* ---- which object a row has ---- */

static hlo_value match_rows(hlo *h, const yolo_loss *l) {
    const boxes own = yolo_box(h, &l->y), rows = boxes_spread(h, &own, l->like, 1);
    const boxes objects = boxes_spread(h, &l->object, l->like, 0);
    const hlo_value most = hlo_f32(h, l->attrs->ignore_thresh), none = hlo_integer(h, CVR_I32, CVR_MATCH_BACKGROUND);
    const hlo_value overlaps = hlo_compare(h, "GT", boxes_iou(h, &rows, &objects), most);
    const hlo_value near = hlo_reduce(h, "or", both_hold(h, overlaps, l->counts), OBJECTS);
    const hlo_value number = hlo_iota(h, CVR_I32, l->like, 2);
    const hlo_value last = hlo_reduce(h, "maximum", hlo_select(h, l->has, number, none), OBJECTS);
    const hlo_value other = hlo_select(h, near, hlo_integer(h, CVR_I32, CVR_MATCH_BETWEEN), none);
    return hlo_select(h, row_at_least(h, last, 0), last, other);
}

/* ---- one number against its target ---- */

static hlo_value error_of(hlo *h, const yolo_rows *y, hlo_value t, hlo_value to, hlo_value *slope) {
    const hlo_value d = hlo_sub(h, t, to);
    *slope = y->new_coords ? d : hlo_sub(h, hlo_sigmoid(h, t), to);
    return y->new_coords ? hlo_scale(h, hlo_mul(h, d, d), 0.5) : hlo_sub(h, hlo_softplus(h, t), hlo_mul(h, t, to));
}

/* (N,P,K): what each class of a row with an object should be: those of all objects that have the row. */
static hlo_value class_targets(hlo *h, const yolo_loss *l, hlo_value match) {
    const double e = l->attrs->label_smooth;
    const hlo_value classes = {
        .dtype = CVR_F32, .rank = 3, .shape = {l->like.shape[0], l->like.shape[2], l->y.classes}};
    const hlo_value number = hlo_iota(h, CVR_I32, l->like, 2), own = hlo_expand(h, match, l->like, OBJECTS);
    const hlo_value has = hlo_binary(h, "or", l->has, hlo_compare(h, "EQ", number, own));
    const hlo_value is =
        hlo_compare(h, "EQ", hlo_iota(h, CVR_I64, classes, 2), hlo_expand(h, l->label, classes, CLASSES));
    const hlo_value times = hlo_dot(h, hlo_convert(h, has, CVR_F32), hlo_convert(h, is, CVR_F32), 1, 2, 1);
    return hlo_select(h, hlo_compare(h, "GT", times, hlo_f32(h, 0)), hlo_f32(h, 1 - e / 2), hlo_f32(h, e / 2));
}

/* ---- the box ---- */

static hlo_value squares_loss(hlo *h, const yolo_loss *l, const boxes *object, hlo_value slope[4]) {
    const yolo_rows *y = &l->y;
    const double z = (double)(float)y->scale;
    hlo_value loss = y->row, share = y->row;
    for (int k = 0; k < 2; k++) {
        const double cells = (double)y->cells[1 - k], whole = (double)y->size[1 - k];
        const hlo_value side = hlo_sub(h, object->side[k + 2], object->side[k]);
        const hlo_value middle = hlo_scale(h, hlo_add(h, object->side[k], object->side[k + 2]), 0.5);
        const hlo_value inside = hlo_sub(h, hlo_scale(h, hlo_div(h, middle, hlo_f32(h, whole)), cells), y->at[k]);
        const hlo_value to = hlo_div(h, hlo_add(h, inside, hlo_f32(h, 0.5 * (z - 1))), hlo_f32(h, z));
        const hlo_value units = hlo_div(h, side, y->anchor[k]);
        const hlo_value want =
            y->new_coords ? hlo_unary(h, "sqrt", hlo_scale(h, units, 0.25)) : hlo_unary(h, "log", units);
        const hlo_value off = hlo_sub(h, y->t[k + 2], want);
        const hlo_value error = hlo_scale(h, error_of(h, y, y->t[k], to, &slope[k]), z);
        const hlo_value one = hlo_add(h, error, hlo_scale(h, hlo_mul(h, off, off), 0.5));
        const hlo_value part = hlo_div(h, side, hlo_f32(h, whole));
        slope[k] = hlo_scale(h, slope[k], z);
        slope[k + 2] = off;
        loss = k ? hlo_add(h, loss, one) : one;
        share = k ? hlo_mul(h, share, part) : part;
    }
    const hlo_value by = hlo_sub(h, hlo_f32(h, 2), share);
    for (int k = 0; k < 4; k++) slope[k] = hlo_mul(h, slope[k], by);
    return hlo_mul(h, loss, by);
}

/* Both boxes about the object's centre, in shares of the picture. */
static hlo_value shares_loss(hlo *h, const yolo_loss *l, const boxes *object, hlo_value slope[4]) {
    static const int64_t kinds[4] = {CVR_BOX_GIOU, CVR_BOX_GIOU, CVR_BOX_DIOU, CVR_BOX_CIOU};
    const boxes box = yolo_box(h, &l->y);
    boxes from, to;
    hlo_value by[4];
    for (int k = 0; k < 4; k++) {
        const hlo_value sum = hlo_add(h, object->side[k % 2], object->side[k % 2 + 2]), centre = hlo_scale(h, sum, 0.5);
        const hlo_value whole = hlo_f32(h, (double)l->y.size[1 - k % 2]);
        from.side[k] = hlo_div(h, hlo_sub(h, box.side[k], centre), whole);
        to.side[k] = hlo_div(h, hlo_sub(h, object->side[k], centre), whole);
    }
    const hlo_value loss = overlap_loss(h, kinds[l->attrs->box & 3], &from, &to, by);
    for (int k = 0; k < 2; k++) {
        slope[k] = hlo_add(h, by[k], by[k + 2]);
        slope[k + 2] = hlo_scale(h, hlo_sub(h, by[k + 2], by[k]), 0.5);
        if (!l->y.new_coords) slope[k + 2] = hlo_mul(h, slope[k + 2], hlo_unary(h, "exponential", l->y.t[k + 2]));
    }
    return loss;
}

/* (N,P), of rows with an object; the slopes are held and NaN is 0 there, as Darknet has it. */
static hlo_value box_loss(hlo *h, const yolo_loss *l, hlo_value match, hlo_value slope[4]) {
    const hlo_value zero = hlo_f32(h, 0), most = hlo_f32(h, l->attrs->max_delta),
                    least = hlo_f32(h, -l->attrs->max_delta);
    const hlo_value at = hlo_binary(h, "maximum", match, hlo_integer(h, CVR_I32, 0));
    const boxes object = boxes_of(h, hlo_take_batched(h, hlo_input(h, 1), at));
    const hlo_value loss =
        l->attrs->box == CVR_YOLO_BOX_SQUARES ? squares_loss(h, l, &object, slope) : shares_loss(h, l, &object, slope);
    for (int k = 0; k < 4; k++) {
        const hlo_value v = hlo_scale(h, slope[k], l->attrs->box_weight), is_nan = hlo_compare(h, "NE", v, v);
        slope[k] = hlo_binary(h, "minimum", hlo_binary(h, "maximum", hlo_select(h, is_nan, zero, v), least), most);
    }
    return hlo_scale(h, loss, l->attrs->box_weight);
}

/* Whether each picture's objects have classes that there are, and are no more than there is room for: a scalar. */
static hlo_value objects_are_wrong(hlo *h, const yolo_loss *l) {
    const hlo_value counts = hlo_input_raw(h, 3), zero = hlo_integer(h, CVR_I64, 0),
                    number = hlo_iota(h, CVR_I64, l->label, 1);
    const hlo_value is = hlo_compare(h, "LT", number, hlo_along(h, counts, number, 0));
    const hlo_value outside = hlo_binary(h, "or", hlo_compare(h, "LT", l->label, zero),
                                         hlo_compare(h, "GE", l->label, hlo_integer(h, CVR_I64, l->y.classes)));
    const hlo_value many = hlo_binary(h, "or", hlo_compare(h, "LT", counts, zero),
                                      hlo_compare(h, "GT", counts, hlo_integer(h, CVR_I64, l->like.shape[2])));
    return hlo_binary(h, "or", hlo_reduce(h, "or", both_hold(h, is, outside), 3), hlo_reduce(h, "or", many, 1));
}

/* The mean over pictures of what the rows sum up to. */
static hlo_value mean_of(hlo *h, const yolo_loss *l, hlo_value which, hlo_value v, double weight) {
    const hlo_value sum = hlo_sum(h, hlo_sum(h, hlo_select(h, which, v, hlo_f32(h, 0)), 2), 1);
    return hlo_div(h, hlo_scale(h, sum, weight), hlo_f32(h, (double)l->y.pictures));
}

HLO_EMITTER(loss) {
    const yolo_loss l = loss_open(h);
    const hlo_value match = match_rows(h, &l), has = row_at_least(h, match, 0);
    const hlo_value counts = row_at_least(h, match, CVR_MATCH_BACKGROUND);
    hlo_value slope[4];
    const hlo_value box = mean_of(h, &l, has, box_loss(h, &l, match, slope), 1);
    const hlo_value sure = error_of(h, &l.y, l.y.t[4], hlo_convert(h, has, CVR_F32), slope);
    const hlo_value classes = hlo_sum(h, error_of(h, &l.y, l.y.score, class_targets(h, &l, match), slope), CLASSES);
    hlo_result(h, hlo_select(h, objects_are_wrong(h, &l), hlo_f32(h, (double)NAN), box));
    hlo_result(h, mean_of(h, &l, counts, sure, l.attrs->objectness_weight));
    hlo_result(h, mean_of(h, &l, has, classes, l.attrs->class_weight));
    hlo_result(h, match);
}

/* Input i, a gradient, over the pictures; 0 where it is not wanted. */
static hlo_value factor_of(hlo *h, const yolo_loss *l, uint32_t i, double weight) {
    if (!hlo_has(h, i)) return hlo_f32(h, 0);
    const hlo_value grad = hlo_reshape(h, hlo_input(h, i), 0, NULL);
    return hlo_scale(h, hlo_div(h, grad, hlo_f32(h, (double)l->y.pictures)), weight);
}

/* x, boxes, box_labels, counts, match, dbox, dobjectness, dclass */
HLO_EMITTER(loss_backward) {
    const yolo_loss l = loss_open(h);
    const hlo_value match = hlo_input_raw(h, 4), has = row_at_least(h, match, 0), zero = hlo_f32(h, 0);
    const hlo_value counts = row_at_least(h, match, CVR_MATCH_BACKGROUND);
    hlo_value d[5], parts[6], by_class;
    (void)box_loss(h, &l, match, d);
    (void)error_of(h, &l.y, l.y.t[4], hlo_convert(h, has, CVR_F32), &d[4]);
    (void)error_of(h, &l.y, l.y.score, class_targets(h, &l, match), &by_class);
    const hlo_value of_box = factor_of(h, &l, 5, 1), sure = factor_of(h, &l, 6, l.attrs->objectness_weight);
    hlo_value like = l.y.row;
    like.shape[like.rank++] = 1;
    for (int k = 0; k < 5; k++) {
        const hlo_value scaled = hlo_mul(h, d[k], k < 4 ? of_box : sure);
        parts[k] = hlo_reshape_like(h, hlo_select(h, k < 4 ? has : counts, scaled, zero), like);
    }
    const hlo_value classes = hlo_mul(h, by_class, factor_of(h, &l, 7, l.attrs->class_weight));
    parts[5] = hlo_select(h, hlo_expand(h, has, classes, CLASSES), classes, zero);
    hlo_result(h, hlo_concat(h, parts, 6, 2));
}

const hlo_op emit_yolo_loss_ops[] = {
    HLO_OP("yolo_loss", loss), HLO_OP("yolo_loss_backward", loss_backward), {.op = NULL}};
