/*
 * Non-maximum suppression (<cvr/plugin/ops/detect.h>). In each round every picture keeps the best of the boxes that are
 * left, and those that overlap it go, so that there are no more rounds than boxes to keep, and nothing is sorted.
 */
#include "emit.h"
#include "emit_boxes.h"
#include "emit_rows.h"
#include <math.h>

#define GROUP 2
#define VALID 3
#define MOST_OFFSET 1000 /* candidates, for which CVR_NMS_AUTO takes the offset */

/* (N,P) i32 */
static hlo_value groups_of(hlo *h, const cvr_nms_attrs *a, hlo_value score) {
    const hlo_value number = hlo_iota(h, CVR_I32, score, 1);
    if (hlo_has(h, GROUP)) return hlo_input_raw(h, GROUP);
    return hlo_binary(h, "remainder", number, hlo_integer(h, CVR_I32, a->n_groups ? a->n_groups : 1));
}

/* (N,P): boxes that may be kept at all. */
static hlo_value candidates_of(hlo *h, const cvr_nms_attrs *a, const boxes *box, hlo_value score, hlo_value group) {
    const hlo_value least = hlo_f32(h, a->min_size), from = hlo_f32(h, a->score_threshold);
    hlo_value is = hlo_compare(h, a->inclusive ? "GE" : "GT", score, from);
    for (int k = 0; k < 2; k++)
        is = hlo_binary(h, "and", is, hlo_compare(h, "GE", hlo_sub(h, box->side[k + 2], box->side[k]), least));
    if (!hlo_has(h, GROUP) && a->n_groups && a->background)
        is = hlo_binary(h, "and", is, hlo_compare(h, "NE", group, hlo_integer(h, CVR_I32, 0)));
    if (hlo_has(h, VALID)) {
        const hlo_value end = hlo_along(h, hlo_input_raw(h, VALID), score, 0);
        is = hlo_binary(h, "and", is, hlo_compare(h, "LT", hlo_iota(h, CVR_I32, score, 1), end));
    }
    return is;
}

/* (N): whether a picture's groups are kept apart by moving each by an offset. */
static hlo_value moved_pictures(hlo *h, const cvr_nms_attrs *a, hlo_value is) {
    const hlo_value n = hlo_sum(h, hlo_convert(h, is, CVR_I32), 2);
    const int64_t most = a->method == CVR_NMS_OFFSET ? INT32_MAX : a->method == CVR_NMS_AUTO ? MOST_OFFSET : -1;
    return hlo_compare(h, "LE", n, hlo_integer(h, CVR_I32, most));
}

/* Each group by its number times the candidates' largest coordinate + 1, in the pictures `moves` (N). */
static void move_groups(hlo *h, boxes *box, hlo_value is, hlo_value group, hlo_value moves) {
    const hlo_value none = hlo_f32(h, -HUGE_VAL), zero = hlo_f32(h, 0);
    hlo_value largest = none;
    for (int k = 0; k < 4; k++) {
        const hlo_value side = hlo_reduce(h, "maximum", hlo_select(h, is, box->side[k], none), 2);
        largest = k ? hlo_binary(h, "maximum", largest, side) : side;
    }
    const hlo_value offset = hlo_along(h, hlo_add(h, largest, hlo_f32(h, 1)), is, 0);
    const hlo_value by = hlo_mul(h, hlo_convert(h, group, CVR_F32), offset);
    const hlo_value held = hlo_select(h, hlo_along(h, moves, is, 0), by, zero);
    for (int k = 0; k < 4; k++) box->side[k] = hlo_add(h, box->side[k], held);
}

/* The largest f32 that is not above: an IoU in f32 exceeds the threshold in double just where it exceeds this. */
static float threshold_of(double iou) {
    const float near = (float)iou;
    return (double)near > iou ? nextafterf(near, -HUGE_VALF) : near;
}

/* What goes from round to round. */
enum { LIMIT, ALIVE, INDEX, COUNT, KEY, BOX, OF_GROUP = BOX + 4, APART, CARRIED };

/* (N,P): what the kept box of each picture, at `row` (N), suppresses. */
static hlo_value suppressed(hlo *h, const hlo_value *c, hlo_value row, float threshold) {
    const hlo_value like = c[BOX];
    boxes all, kept;
    for (int k = 0; k < 4; k++) {
        all.side[k] = c[BOX + k];
        kept.side[k] = hlo_along(h, hlo_take_batched(h, c[BOX + k], row), like, 0);
    }
    const hlo_value overlaps = hlo_compare(h, "GT", boxes_iou(h, &kept, &all), hlo_f32(h, (double)threshold));
    const hlo_value own = hlo_along(h, hlo_take_batched(h, c[OF_GROUP], row), like, 0);
    const hlo_value same = hlo_compare(h, "EQ", c[OF_GROUP], own);
    const hlo_value any = hlo_unary(h, "not", hlo_along(h, c[APART], like, 0));
    return hlo_binary(h, "and", overlaps, hlo_binary(h, "or", same, any));
}

static void keep_one(hlo *h, hlo_value *c, hlo_value round, float threshold) {
    const hlo_value none = hlo_integer(h, HLO_U32, UINT32_MAX), zero = hlo_integer(h, CVR_I32, 0);
    const hlo_value found = hlo_reduce(h, "or", c[ALIVE], 2);
    const hlo_value least = hlo_reduce(h, "minimum", hlo_select(h, c[ALIVE], c[KEY], none), 2);
    const hlo_value is = hlo_compare(h, "EQ", c[KEY], hlo_along(h, least, c[KEY], 0));
    const hlo_value row = rows_first(h, hlo_binary(h, "and", is, c[ALIVE]), 1);
    const hlo_value number = hlo_iota(h, CVR_I32, c[ALIVE], 1), place = hlo_iota(h, CVR_I32, c[INDEX], 1);
    const hlo_value own = hlo_compare(h, "EQ", number, hlo_along(h, row, number, 0));
    const hlo_value gone = hlo_binary(h, "or", own, suppressed(h, c, row, threshold));
    const hlo_value here = hlo_compare(h, "EQ", place, hlo_along(h, round, place, 0));
    const hlo_value writes = hlo_binary(h, "and", here, hlo_along(h, found, place, 0));
    c[ALIVE] = hlo_binary(h, "and", c[ALIVE], hlo_unary(h, "not", gone));
    c[INDEX] = hlo_select(h, writes, hlo_along(h, row, place, 0), c[INDEX]);
    c[COUNT] = hlo_add(h, c[COUNT], hlo_convert(h, found, CVR_I32));
    c[LIMIT] = hlo_select(h, hlo_reduce(h, "or", c[ALIVE], 3), c[LIMIT], zero);
}

HLO_EMITTER(nms) {
    const cvr_nms_attrs *a = HLO_ATTRS(cvr_nms_attrs);
    const hlo_value score = hlo_input(h, 1), group = groups_of(h, a, score);
    boxes box = boxes_of(h, hlo_input(h, 0));
    const hlo_value is = candidates_of(h, a, &box, score, group), moves = moved_pictures(h, a, is);
    const int grouped = hlo_has(h, GROUP) || a->n_groups;
    if (grouped) move_groups(h, &box, is, group, moves);
    const hlo_value index = hlo_like(h->a->outputs[0]), count = hlo_like(h->a->outputs[1]);
    hlo_value c[CARRIED] = {[LIMIT] = hlo_integer(h, CVR_I32, a->max_out),
                            [ALIVE] = is,
                            [INDEX] = hlo_fill(h, index, -1),
                            [COUNT] = hlo_fill(h, count, 0),
                            [KEY] = rows_falling_key(h, score),
                            [OF_GROUP] = group,
                            [APART] = grouped ? hlo_unary(h, "not", moves) : hlo_fill(h, moves, 0)};
    hlo_loop loop;
    for (int k = 0; k < 4; k++) c[BOX + k] = box.side[k];
    hlo_loop_begin(h, &loop, c, CARRIED);
    keep_one(h, c, loop.round, threshold_of(a->iou_threshold));
    hlo_loop_end(h, &loop, c);
    hlo_result(h, c[INDEX]);
    hlo_result(h, c[COUNT]);
}

const hlo_op emit_nms_ops[] = {HLO_OP("nms", nms), {.op = NULL}};
