/* Which object a row stands for (<cvr/plugin/ops/detect.h>): overlaps of all rows with all objects, then maxima. */
#include "emit.h"
#include "emit_boxes.h"
#include "emit_rows.h"
#include "emit_words.h"
#include <math.h>

/* (N,A,M): whether object k of the picture counts; input `counts` (N) i64. */
static hlo_value counted_objects(hlo *h, uint32_t counts, hlo_value like) {
    return hlo_compare(h, "LT", hlo_iota(h, CVR_I64, like, 2), hlo_along(h, hlo_input_raw(h, counts), like, 0));
}

/* (N,A,M) for (N,A) and (N,M): along the last axis, or along the rows. */
static hlo_value over_objects(hlo *h, hlo_value rows, hlo_value like) {
    return hlo_expand(h, rows, like, 4);
}
static hlo_value over_rows(hlo *h, hlo_value objects, hlo_value like) {
    return hlo_expand(h, objects, like, 2);
}

typedef struct matching {
    hlo_value overlap;       /* (N,A,M): -1 for objects that do not count */
    hlo_value counts, valid; /* (N,A,M): the object counts; (N,A): the row does */
    hlo_value best, iou;     /* (N,A): the best object and its overlap */
} matching;

static matching match_all(hlo *h) {
    const hlo_value out = hlo_like(h->a->outputs[0]), objects = hlo_input(h, 1), zero = hlo_f32(h, 0);
    const hlo_value like = {.dtype = CVR_F32, .rank = 3, .shape = {out.shape[0], out.shape[1], objects.shape[1]}};
    const boxes rows = boxes_of(h, boxes_anchors(h, 0, out.shape[0])), columns = boxes_of(h, objects);
    const boxes p = boxes_spread(h, &columns, like, 0), q = boxes_spread(h, &rows, like, 1);
    matching m = {.counts = counted_objects(h, 2, like)};
    const hlo_value iou = boxes_iou(h, &p, &q);
    const hlo_value known = hlo_select(h, hlo_compare(h, "GT", iou, zero), iou, zero); /* 0 for NaN */
    m.overlap = hlo_select(h, m.counts, known, hlo_f32(h, -1));
    m.iou = hlo_reduce(h, "maximum", m.overlap, 4);
    m.best = rows_first(h, hlo_compare(h, "EQ", m.overlap, over_objects(h, m.iou, like)), 2);
    const hlo_value number = hlo_iota(h, CVR_I32, out, 1);
    const hlo_value end = hlo_has(h, 3) ? hlo_input_raw(h, 3) : hlo_integer(h, CVR_I32, out.shape[1]);
    m.valid = hlo_compare(h, "LT", number, end.rank ? hlo_along(h, end, out, 0) : end);
    return m;
}

HLO_EMITTER(match_boxes) {
    const cvr_match_attrs *a = HLO_ATTRS(cvr_match_attrs);
    const matching m = match_all(h);
    const hlo_value background = hlo_integer(h, CVR_I32, CVR_MATCH_BACKGROUND), like = m.overlap;
    const hlo_value between = hlo_integer(h, CVR_I32, CVR_MATCH_BETWEEN), none = hlo_f32(h, -2);
    const hlo_value is_low = hlo_compare(h, "LT", m.iou, hlo_f32(h, (double)(float)a->low));
    const hlo_value is_between = hlo_compare(h, "LT", m.iou, hlo_f32(h, (double)(float)a->high));
    const hlo_value empty = hlo_compare(h, "LT", m.iou, hlo_f32(h, 0));
    hlo_value match = hlo_select(h, is_low, background, hlo_select(h, is_between, between, m.best));
    match = hlo_select(h, empty, background, match);
    /* of each object: its largest overlap with a row that counts, and the first such row */
    const hlo_value rows = hlo_select(h, over_objects(h, m.valid, like), like, none);
    const hlo_value largest = over_rows(h, hlo_reduce(h, "maximum", rows, 2), like);
    const hlo_value is_largest = hlo_binary(h, "and", hlo_compare(h, "EQ", rows, largest), m.counts);
    if (a->low_quality) match = hlo_select(h, hlo_reduce(h, "or", is_largest, 4), m.best, match);
    if (a->each_best) {
        const hlo_value first = over_rows(h, rows_first(h, is_largest, 1), like),
                        number = hlo_iota(h, CVR_I32, like, 1);
        const hlo_value own = hlo_binary(h, "and", hlo_compare(h, "EQ", number, first), is_largest);
        const hlo_value object = hlo_select(h, own, hlo_iota(h, CVR_I32, like, 2), background);
        const hlo_value taken = hlo_reduce(h, "maximum", object, 4);
        match = hlo_select(h, hlo_compare(h, "LT", taken, hlo_integer(h, CVR_I32, 0)), match, taken);
    }
    hlo_result(h, hlo_select(h, m.valid, match, between));
}

/* ---- points (FCOS) ---- */

static hlo_value larger(hlo *h, hlo_value a, hlo_value b) {
    return hlo_select(h, hlo_compare(h, "GT", a, b), a, b);
}

/* Whether a row is of the first, or of the last level: both known when this is written. */
static hlo_value rows_from(hlo *h, int64_t first, hlo_value like) {
    return hlo_compare(h, "GE", hlo_iota(h, CVR_I64, like, 1), hlo_integer(h, CVR_I64, first));
}

HLO_EMITTER(match_points) {
    const cvr_match_points_attrs *attrs = HLO_ATTRS(cvr_match_points_attrs);
    const hlo_value out = hlo_like(h->a->outputs[0]), objects = hlo_input(h, 1), zero = hlo_f32(h, 0);
    const hlo_value like = {.dtype = CVR_F32, .rank = 3, .shape = {out.shape[0], out.shape[1], objects.shape[1]}};
    const boxes rows = boxes_of(h, boxes_anchors(h, 0, out.shape[0])), columns = boxes_of(h, objects);
    const boxes a = boxes_spread(h, &rows, like, 1), b = boxes_spread(h, &columns, like, 0);
    hlo_value near[2], reach[2], inside = counted_objects(h, 2, like);
    for (int k = 0; k < 2; k++) {
        const hlo_value at = hlo_scale(h, hlo_add(h, a.side[k], a.side[2 + k]), 0.5);
        const hlo_value centre = hlo_scale(h, hlo_add(h, b.side[k], b.side[2 + k]), 0.5);
        const hlo_value low = hlo_sub(h, at, b.side[k]), high = hlo_sub(h, b.side[2 + k], at);
        near[k] = hlo_unary(h, "abs", hlo_sub(h, at, centre));
        reach[k] = larger(h, low, high);
        inside = hlo_binary(h, "and", inside, hlo_compare(h, "GT", low, zero));
        inside = hlo_binary(h, "and", inside, hlo_compare(h, "GT", high, zero));
    }
    const hlo_value side = hlo_sub(h, a.side[2], a.side[0]), farthest = larger(h, reach[0], reach[1]);
    const int64_t levels = attrs->n_levels, last = levels > 1 ? attrs->level_ends[levels - 2] : 0;
    const hlo_value from = hlo_select(h, rows_from(h, levels > 1 ? attrs->level_ends[0] : like.shape[1], like),
                                      hlo_scale(h, side, 4), zero);
    const hlo_value to = hlo_select(h, rows_from(h, last, like), hlo_f32(h, HUGE_VAL), hlo_scale(h, side, 8));
    const hlo_value radius = hlo_scale(h, side, (double)(float)attrs->radius);
    const hlo_value v = hlo_sub(h, hlo_f32(h, (double)1e8f), boxes_area(h, &b));
    const hlo_value terms[4] = {hlo_compare(h, "LT", larger(h, near[0], near[1]), radius),
                                hlo_compare(h, "GT", farthest, from), hlo_compare(h, "LT", farthest, to),
                                hlo_compare(h, "GE", v, hlo_f32(h, (double)1e-5f))};
    for (int i = 0; i < 4; i++) inside = hlo_binary(h, "and", inside, terms[i]);
    const hlo_value size = hlo_select(h, inside, v, zero), most = hlo_reduce(h, "maximum", size, 4);
    const hlo_value best = rows_first(h, hlo_compare(h, "EQ", size, over_objects(h, most, like)), 2);
    hlo_result(h, hlo_select(h, hlo_compare(h, "GT", most, zero), best, hlo_integer(h, CVR_I32, CVR_MATCH_BACKGROUND)));
}

/* ---- a sample of the rows ---- */

HLO_EMITTER(sample_rows) {
    const cvr_sample_rows_attrs *a = HLO_ATTRS(cvr_sample_rows_attrs);
    const hlo_value match = hlo_input_raw(h, 0), zero = hlo_integer(h, CVR_I32, 0), one = hlo_integer(h, CVR_I32, 1);
    const int64_t rows = match.shape[1], positives = (int64_t)((double)a->rows * a->positive_fraction);
    hlo_value numbers = hlo_iota(h, HLO_U64, match, 1), taken[2];
    if (a->draw != CVR_DRAW_FIRST) {
        const hlo_value words = mask_words(h, 1, (uint64_t)a->key, match.shape[0] * rows);
        numbers = hlo_reshape(h, hlo_convert(h, words, HLO_U64), 2, match.shape);
    }
    const hlo_value none = hlo_integer(h, CVR_I32, CVR_MATCH_BACKGROUND);
    const hlo_value first =
        rows_smallest(h, numbers, hlo_compare(h, "GE", match, zero), hlo_integer(h, CVR_I32, positives), &taken[0]);
    const hlo_value room = hlo_sub(h, hlo_integer(h, CVR_I32, a->rows), taken[0]);
    const hlo_value second = rows_smallest(h, numbers, hlo_compare(h, "EQ", match, none), room, &taken[1]);
    const hlo_value chosen = hlo_binary(h, "or", first, second), n = hlo_add(h, taken[0], taken[1]);
    /* rows in rising order, those that are chosen before the others; then they are repeated */
    hlo_value key = hlo_select(h, chosen, zero, one), place = hlo_iota(h, CVR_I32, match, 1);
    hlo_sort(h, &key, &place);
    const hlo_value like = {.dtype = CVR_I32, .rank = 2, .shape = {match.shape[0], a->rows}};
    const hlo_value count = hlo_along(h, hlo_binary(h, "maximum", n, one), like, 0);
    const hlo_value at = hlo_binary(h, "remainder", hlo_iota(h, CVR_I32, like, 1), count);
    const hlo_value empty = hlo_compare(h, "EQ", hlo_along(h, n, like, 0), zero);
    hlo_result(h, hlo_select(h, empty, zero, hlo_take_batched(h, place, at)));
    hlo_result(h, n);
}

const hlo_op emit_match_ops[] = {HLO_OP("match_boxes", match_boxes),
                                 HLO_OP("match_points", match_points),
                                 HLO_OP("sample_rows", sample_rows),
                                 {.op = NULL}};
