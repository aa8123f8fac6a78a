/*
 * SimOTA (Ge et al., "YOLOX", 2021; <cvr/plugin/ops/detect.h>): which cell learns which object, by what that would
 * cost. Tables of all rows with all objects, (N,A,M); each round every object takes one row more. The reference decides
 * in double, this in f32: what is equal there is equal here, what is nearly equal may change places. Boxes are kept
 * relative to their anchor's centre, where f32 holds more.
 */
#include "emit.h"
#include "emit_boxes.h"
#include "emit_rows.h"
#include <math.h>

#define ROWS 2u /* axes of (N,A,M) as bits */
#define OBJECTS 4u

typedef struct ota {
    const cvr_sim_ota_attrs *attrs;
    hlo_value row;       /* type (N,A) */
    hlo_value like;      /* type (N,A,M) */
    hlo_value may;       /* (N,A,M): the row may learn the object */
    hlo_value candidate; /* (N,A,M): the row may learn some object, and this object is there */
    hlo_value iou;       /* (N,A,M) */
    hlo_value near, far; /* (N,A,M): costs of what may be and of what may not; infinite where there is none */
} ota;

static ota ota_open(hlo *h) {
    ota o = {.attrs = HLO_ATTRS(cvr_sim_ota_attrs)};
    o.row = hlo_like(h->a->outputs[1]);
    o.like =
        (hlo_value){.dtype = CVR_F32, .rank = 3, .shape = {o.row.shape[0], o.row.shape[1], h->a->inputs[4]->shape[1]}};
    return o;
}

static void find_candidates(hlo *h, ota *o, const boxes *anchor, const boxes *object) {
    const boxes a = boxes_spread(h, anchor, o->like, 1), b = boxes_spread(h, object, o->like, 0);
    const hlo_value counts = hlo_along(h, hlo_input_raw(h, 6), o->like, 0);
    const hlo_value is_there = hlo_compare(h, "LT", hlo_iota(h, CVR_I64, o->like, 2), counts);
    o->may = is_there;
    for (int k = 0; k < 2; k++) {
        const hlo_value reach = hlo_scale(h, hlo_sub(h, a.side[k + 2], a.side[k]), o->attrs->radius);
        const hlo_value centre = hlo_scale(h, hlo_add(h, b.side[k], b.side[k + 2]), 0.5);
        const hlo_value far = hlo_unary(h, "abs", hlo_sub(h, a.side[k + 2], centre));
        o->may = hlo_binary(h, "and", o->may, hlo_compare(h, "LT", far, reach));
    }
    const hlo_value row = hlo_reduce(h, "or", o->may, OBJECTS);
    o->candidate = hlo_binary(h, "and", is_there, hlo_expand(h, row, o->like, OBJECTS));
}

/* The overlap of each row's box with each object, both about the centre of the row's anchor. */
static void find_overlaps(hlo *h, ota *o, const boxes *anchor, const boxes *object) {
    const hlo_value zero = hlo_f32(h, 0);
    const boxes delta = boxes_of(h, hlo_input(h, 2)), b = boxes_spread(h, object, o->like, 0);
    cvr_box_coder_attrs coder = {.coder = o->attrs->coder};
    boxes to;
    hlo_value half[2];
    const boxes about = boxes_centred(h, anchor, half);
    for (int k = 0; k < 4; k++) coder.weights[k] = o->attrs->weights[k];
    for (int k = 0; k < 2; k++) {
        const hlo_value low = hlo_expand(h, anchor->side[k], o->like, OBJECTS);
        const hlo_value by = hlo_expand(h, half[k], o->like, OBJECTS);
        for (int end = k; end < 4; end += 2) to.side[end] = hlo_sub(h, hlo_sub(h, b.side[end], low), by);
    }
    const boxes box = boxes_decode(h, &coder, &delta, &about), wide = boxes_spread(h, &box, o->like, 1);
    const hlo_value iou = boxes_iou(h, &wide, &to);
    o->iou = hlo_select(h, hlo_compare(h, "GT", iou, zero), iou, zero);
}

static hlo_value held_log(hlo *h, hlo_value v) {
    const hlo_value least = hlo_f32(h, -100);
    return hlo_select(h, hlo_compare(h, "GT", v, least), v, least);
}

/* ln(1 - p) of ln(p) */
static hlo_value log_rest(hlo *h, hlo_value log_p) {
    return held_log(h, hlo_unary(h, "log", hlo_unary(h, "negate", hlo_unary(h, "exponential_minus_one", log_p))));
}

static hlo_value log_sigmoid(hlo *h, hlo_value x) {
    return hlo_unary(h, "negate", hlo_softplus(h, hlo_unary(h, "negate", x)));
}

/* ln(p) of each row's classes, (N,A,K), p = sqrt(sigmoid(class) * sigmoid(objectness)) */
static hlo_value log_scores(hlo *h) {
    const hlo_value classes = log_sigmoid(h, hlo_input(h, 0)), sure = log_sigmoid(h, hlo_input(h, 1));
    const hlo_value each = hlo_expand(h, hlo_reshape(h, sure, 2, sure.shape), classes, OBJECTS);
    return hlo_scale(h, hlo_add(h, classes, each), 0.5);
}

static void find_costs(hlo *h, ota *o) {
    static const uint32_t swapped[3] = {0, 2, 1};
    const hlo_value scores = log_scores(h), none = hlo_f32(h, HUGE_VAL);
    const hlo_value others = hlo_unary(h, "negate", hlo_sum(h, log_rest(h, scores), OBJECTS));
    const hlo_value label = hlo_convert(h, hlo_input_raw(h, 5), CVR_I32);
    const hlo_value of_class = hlo_take_batched(h, hlo_transpose(h, scores, swapped), label); /* (N,M,A) */
    const hlo_value v = hlo_transpose(h, of_class, swapped);
    const hlo_value own = hlo_sub(h, log_rest(h, v), held_log(h, v));
    const hlo_value apart = hlo_unary(h, "log", hlo_add(h, o->iou, hlo_f32(h, (double)1e-8f)));
    const hlo_value all = hlo_add(h, hlo_expand(h, others, o->like, OBJECTS), own);
    const hlo_value cost = hlo_sub(h, all, hlo_scale(h, apart, o->attrs->iou_weight));
    const hlo_value known = hlo_binary(h, "and", hlo_compare(h, "LT", cost, none), o->candidate);
    const hlo_value costs = hlo_select(h, known, cost, none);
    o->near = hlo_select(h, o->may, costs, none);
    o->far = hlo_select(h, o->may, none, costs);
}

/* Of the numbers along an axis, the first that equals the extreme of them, as a mask. */
static hlo_value only_first(hlo *h, hlo_value v, hlo_value extreme, uint32_t axis) {
    const hlo_value is = hlo_compare(h, "EQ", v, hlo_expand(h, extreme, v, 1u << axis));
    const hlo_value first = hlo_expand(h, rows_first(h, is, axis), v, 1u << axis);
    return hlo_binary(h, "and", is, hlo_compare(h, "EQ", hlo_iota(h, CVR_I32, v, axis), first));
}

/* The cheapest along an axis, the first of equal ones: one that may be where there is any, else one that may not. */
static hlo_value cheapest(hlo *h, hlo_value near, hlo_value far, uint32_t axis) {
    const hlo_value none = hlo_f32(h, HUGE_VAL), least = hlo_reduce(h, "minimum", near, 1u << axis);
    const hlo_value any = hlo_compare(h, "LT", least, none);
    const hlo_value from = hlo_select(h, hlo_expand(h, any, near, 1u << axis), near, far);
    const hlo_value chosen = only_first(h, from, hlo_reduce(h, "minimum", from, 1u << axis), axis);
    return hlo_binary(h, "and", chosen, hlo_compare(h, "LT", from, none));
}

/* (N,M) i32: how many rows each object takes, the whole part of the sum of its largest overlaps. */
static hlo_value count_rows(hlo *h, const ota *o) {
    hlo_value c[3] = {hlo_integer(h, CVR_I32, o->attrs->candidates)}, objects = o->like;
    hlo_loop loop;
    objects.rank = 2;
    objects.shape[1] = o->like.shape[2];
    c[1] = hlo_select(h, o->candidate, o->iou, hlo_f32(h, -1));
    c[2] = hlo_fill(h, objects, 0);
    hlo_loop_begin(h, &loop, c, 3);
    const hlo_value most = hlo_reduce(h, "maximum", c[1], ROWS), zero = hlo_f32(h, 0);
    c[1] = hlo_select(h, only_first(h, c[1], most, 1), hlo_f32(h, -1), c[1]);
    c[2] = hlo_add(h, c[2], hlo_binary(h, "maximum", most, zero));
    hlo_loop_end(h, &loop, c);
    const hlo_value whole = hlo_convert(h, c[2], CVR_I32), one = hlo_integer(h, CVR_I32, 1);
    return hlo_binary(h, "minimum", hlo_binary(h, "maximum", whole, one),
                      hlo_integer(h, CVR_I32, o->attrs->candidates));
}

/* (N,A,M): which rows each object takes. */
static hlo_value take_rows(hlo *h, const ota *o, hlo_value wanted) {
    const hlo_value none_yet = hlo_fill(h, o->candidate, 0);
    hlo_value c[5] = {hlo_reduce(h, "maximum", wanted, 3), o->near, o->far, none_yet, wanted};
    hlo_loop loop;
    hlo_loop_begin(h, &loop, c, 5);
    const hlo_value none = hlo_f32(h, HUGE_VAL), goes_on = hlo_compare(h, "LT", loop.round, c[4]);
    const hlo_value chosen = hlo_binary(h, "and", cheapest(h, c[1], c[2], 1), hlo_expand(h, goes_on, o->like, ROWS));
    c[1] = hlo_select(h, chosen, none, c[1]);
    c[2] = hlo_select(h, chosen, none, c[2]);
    c[3] = hlo_binary(h, "or", c[3], chosen);
    hlo_loop_end(h, &loop, c);
    return c[3];
}

HLO_EMITTER(sim_ota) {
    ota o = ota_open(h);
    const boxes anchor = boxes_of(h, boxes_anchors(h, 3, o.row.shape[0])), object = boxes_of(h, hlo_input(h, 4));
    find_candidates(h, &o, &anchor, &object);
    find_overlaps(h, &o, &anchor, &object);
    find_costs(h, &o);
    const hlo_value taken = take_rows(h, &o, count_rows(h, &o));
    /* the object that took a row, or the one of all that it costs least where several did */
    const hlo_value number = hlo_iota(h, CVR_I32, o.like, 2), none = hlo_integer(h, CVR_I32, CVR_MATCH_BACKGROUND);
    const hlo_value takers = hlo_sum(h, hlo_convert(h, taken, CVR_I32), OBJECTS);
    const hlo_value last = hlo_reduce(h, "maximum", hlo_select(h, taken, number, none), OBJECTS);
    const hlo_value best =
        hlo_reduce(h, "maximum", hlo_select(h, cheapest(h, o.near, o.far, 2), number, none), OBJECTS);
    const hlo_value several = hlo_compare(h, "GT", takers, hlo_integer(h, CVR_I32, 1));
    const hlo_value found = hlo_compare(h, "GE", best, hlo_integer(h, CVR_I32, 0));
    const hlo_value match = hlo_select(h, hlo_binary(h, "and", several, found), best, last);
    const hlo_value is = hlo_compare(h, "EQ", number, hlo_expand(h, match, o.like, OBJECTS));
    hlo_result(h, match);
    hlo_result(h, hlo_sum(h, hlo_select(h, is, o.iou, hlo_f32(h, 0)), OBJECTS));
}

const hlo_op emit_ota_ops[] = {HLO_OP("sim_ota", sim_ota), {.op = NULL}};
