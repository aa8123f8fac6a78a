/*
 * Rows that are chosen, looked up and put together (<cvr/plugin/ops/detect.h>, detections.h), and what a match says of
 * them. A number of a row that is not there gives NaN where numbers are real, else 0: a program cannot refuse.
 */
#include "emit_rows.h"
#include "emit.h"
#include <cvr/plugin/ops/detect.h>
#include <cvr/plugin/ops/detect_loss.h>
#include <cvr/plugin/ops/detections.h>
#include <cvr/plugin/ops/shape.h>
#include <math.h>

/* The bits of a float are turned so that they grow as it falls. */
hlo_value rows_falling_key(hlo *h, hlo_value score) {
    const hlo_value bits = hlo_bits(h, hlo_add(h, score, hlo_f32(h, 0)), HLO_U32);
    const hlo_value top = hlo_integer(h, HLO_U32, INT64_C(0x80000000));
    const hlo_value negative = hlo_compare(h, "GE", bits, top);
    const hlo_value rest = hlo_binary(h, "and", hlo_unary(h, "not", bits), hlo_integer(h, HLO_U32, 0x7FFFFFFF));
    const hlo_value key = hlo_select(h, negative, bits, rest), is_nan = hlo_compare(h, "NE", score, score);
    return hlo_select(h, is_nan, hlo_integer(h, HLO_U32, UINT32_MAX), key);
}

hlo_value rows_first(hlo *h, hlo_value is, uint32_t axis) {
    const hlo_value number = hlo_iota(h, CVR_I32, is, axis), last = hlo_integer(h, CVR_I32, is.shape[axis] - 1);
    return hlo_reduce(h, "minimum", hlo_select(h, is, number, last), 1u << axis);
}

hlo_value rows_smallest(hlo *h, hlo_value numbers, hlo_value is, hlo_value most, hlo_value *taken) {
    const hlo_value counts = hlo_sum(h, hlo_convert(h, is, CVR_I32), 2),
                    beyond = hlo_integer(h, HLO_U64, INT64_C(1) << 40);
    hlo_value key = hlo_select(h, is, numbers, beyond), place = hlo_iota(h, CVR_I32, numbers, 1);
    hlo_value rank = hlo_iota(h, CVR_I32, numbers, 1);
    hlo_sort(h, &key, &place);
    hlo_sort(h, &place, &rank); /* back in the order of rows: which place each has among the sorted */
    *taken = hlo_binary(h, "minimum", counts, most);
    return hlo_binary(h, "and", is, hlo_compare(h, "LT", rank, hlo_along(h, *taken, rank, 0)));
}

/* which (N,B), in the shape of v (N,B,...) */
static hlo_value for_rows(hlo *h, hlo_value which, hlo_value v) {
    static const uint32_t axes[2] = {0, 1};
    return v.rank == 2 ? which : hlo_broadcast(h, which, v, axes);
}

/* x[index], 0 where the index is negative */
static hlo_value looked_up(hlo *h, hlo_value x, hlo_value index, int shared) {
    const hlo_value zero = hlo_integer(h, CVR_I32, 0), missing = hlo_compare(h, "LT", index, zero);
    const hlo_value at = hlo_binary(h, "maximum", index, zero);
    const hlo_value found = shared ? hlo_take(h, x, at) : hlo_take_batched(h, x, at);
    return hlo_select(h, for_rows(h, missing, found), hlo_scalar(h, found.dtype, 0), found);
}

HLO_EMITTER(gather_rows) {
    const int shared = HLO_ATTRS(cvr_gather_attrs)->shared != 0;
    const hlo_value x = hlo_input_raw(h, 0), index = hlo_input_raw(h, 1);
    hlo_value y = looked_up(h, x, index, shared);
    if (x.dtype == CVR_F32) {
        const hlo_value rows = hlo_integer(h, CVR_I32, x.shape[shared ? 0 : 1]);
        const hlo_value beyond = for_rows(h, hlo_compare(h, "GE", index, rows), y);
        y = hlo_select(h, beyond, hlo_f32(h, (double)NAN), y);
    }
    hlo_result(h, y);
}

/* dx[index[i]] += grad[i]: pictures are put one behind the other, and what has no row goes past the end. */
HLO_EMITTER(gather_rows_backward) {
    const cvr_gather_rows_attrs *a = HLO_ATTRS(cvr_gather_rows_attrs);
    const hlo_value grad = hlo_input(h, 0), index = hlo_input_raw(h, 1), zero = hlo_integer(h, CVR_I32, 0);
    const int64_t n = grad.shape[0], b = grad.shape[1], k = grad.rank == 3 ? grad.shape[2] : 1;
    const int64_t rows = a->shared ? a->rows : n * a->rows, flat[1] = {n * b}, matrix[2] = {n * b, k};
    const hlo_value picture = hlo_iota(h, CVR_I32, index, 0), missing = hlo_compare(h, "LT", index, zero);
    hlo_value at = a->shared ? index : hlo_add(h, index, hlo_mul(h, picture, hlo_integer(h, CVR_I32, a->rows)));
    at = hlo_select(h, missing, hlo_integer(h, CVR_I32, rows), at);
    const hlo_value into = {.dtype = CVR_F32, .rank = 2, .shape = {rows, k}};
    hlo_result(h,
               hlo_scatter_add(h, hlo_fill(h, into, 0), hlo_reshape(h, at, 1, flat), hlo_reshape(h, grad, 2, matrix)));
}

/* The rows that count of a, then those of b, then zeros: each row of the result looks for its own. */
HLO_EMITTER(append_rows) {
    const hlo_value a = hlo_input(h, 0), b = hlo_input(h, 2);
    const int64_t n = a.shape[0], p = a.shape[1], m = b.shape[1];
    const hlo_value like = {.dtype = CVR_I32, .rank = 2, .shape = {n, p + m}}, both[2] = {a, b};
    const hlo_value count = hlo_input_raw(h, 1), more = hlo_convert(h, hlo_input_raw(h, 3), CVR_I32);
    const hlo_value first = hlo_along(h, count, like, 0), number = hlo_iota(h, CVR_I32, like, 1);
    const hlo_value total = hlo_add(h, count, more);
    const hlo_value in_a = hlo_compare(h, "LT", number, first);
    const hlo_value in_b = hlo_add(h, hlo_sub(h, number, first), hlo_integer(h, CVR_I32, p));
    const hlo_value at = hlo_select(h, in_a, number, in_b), none = hlo_integer(h, CVR_I32, -1);
    const hlo_value counts = hlo_compare(h, "LT", number, hlo_along(h, total, like, 0));
    hlo_result(h, looked_up(h, hlo_concat(h, both, 2, 1), hlo_select(h, counts, at, none), 0));
    hlo_result(h, total);
}

HLO_EMITTER(cut_match) {
    const hlo_value match = hlo_input_raw(h, 0), counts = hlo_along(h, hlo_input_raw(h, 1), match, 0);
    const hlo_value is = hlo_compare(h, "LT", hlo_iota(h, CVR_I32, match, 1), counts);
    hlo_result(h, hlo_select(h, is, match, hlo_integer(h, CVR_I32, CVR_MATCH_BETWEEN)));
}

HLO_EMITTER(class_targets) {
    const cvr_class_targets_attrs *a = HLO_ATTRS(cvr_class_targets_attrs);
    const hlo_value match = hlo_input_raw(h, 0), zero = hlo_integer(h, CVR_I32, 0);
    const hlo_value label = looked_up(h, hlo_input_raw(h, 1), match, 0);
    const hlo_value own = hlo_add(h, label, hlo_integer(h, CVR_I64, a->offset));
    const hlo_value between = hlo_compare(h, "EQ", match, hlo_integer(h, CVR_I32, CVR_MATCH_BETWEEN));
    const hlo_value other =
        hlo_select(h, between, hlo_integer(h, CVR_I64, a->ignore), hlo_integer(h, CVR_I64, a->background));
    hlo_result(h, hlo_select(h, hlo_compare(h, "LT", match, zero), other, own));
}

HLO_EMITTER(top_k) {
    const cvr_top_k_attrs *a = HLO_ATTRS(cvr_top_k_attrs);
    const hlo_value x = hlo_input(h, 0), zero = hlo_f32(h, 0);
    hlo_value key = rows_falling_key(h, x), place = hlo_iota(h, CVR_I32, x, 1);
    hlo_value chosen = hlo_fill(h, place, 1);
    if (a->above) {
        const hlo_value is = hlo_compare(h, "GT", x, hlo_f32(h, (double)(float)a->threshold));
        chosen = hlo_convert(h, is, CVR_I32);
        key = hlo_select(h, is, key, hlo_integer(h, HLO_U32, UINT32_MAX));
    }
    hlo_sort(h, &key, &place);
    const hlo_value found = hlo_binary(h, "minimum", hlo_sum(h, chosen, 2), hlo_integer(h, CVR_I32, a->k));
    const hlo_value index = hlo_slice_axis(h, place, 1, 0, a->k);
    const hlo_value is = hlo_compare(h, "LT", hlo_iota(h, CVR_I32, index, 1), hlo_along(h, found, index, 0));
    hlo_result(h, hlo_select(h, is, hlo_take_batched(h, x, index), zero));
    hlo_result(h, hlo_select(h, is, index, hlo_integer(h, CVR_I32, -1)));
    hlo_result(h, found);
}

/* ---- what a detector's heads say ---- */

HLO_EMITTER(split_index) {
    const hlo_value index = hlo_input_raw(h, 0), none = hlo_integer(h, CVR_I32, -1);
    const hlo_value columns = hlo_integer(h, CVR_I32, HLO_ATTRS(cvr_split_index_attrs)->columns);
    const hlo_value missing = hlo_compare(h, "LT", index, hlo_integer(h, CVR_I32, 0));
    hlo_result(h, hlo_select(h, missing, none, hlo_div(h, index, columns)));
    hlo_result(h, hlo_select(h, missing, none, hlo_binary(h, "remainder", index, columns)));
}

HLO_EMITTER(pick_labels) {
    const hlo_value group = hlo_input_raw(h, 0), none = hlo_integer(h, CVR_I32, -1), zero = hlo_integer(h, CVR_I32, 0);
    hlo_value label = group;
    if (hlo_has(h, 1)) {
        const hlo_value index = hlo_input_raw(h, 1);
        label = hlo_select(h, hlo_compare(h, "LT", index, zero), none, looked_up(h, group, index, 0));
    }
    hlo_result(h, hlo_select(h, hlo_compare(h, "LT", label, zero), none, label));
}

HLO_EMITTER(joint_score) {
    static const uint32_t axes[2] = {0, 1};
    const hlo_value x = hlo_sigmoid(h, hlo_input(h, 0)), y = hlo_sigmoid(h, hlo_input(h, 1));
    const hlo_value each = hlo_broadcast(h, hlo_reshape(h, y, 2, y.shape), x, axes);
    hlo_result(h, hlo_unary(h, "sqrt", hlo_mul(h, x, each)));
}

/* The first largest of a row; NaN is passed over. */
HLO_EMITTER(best_class) {
    const hlo_value x = hlo_input(h, 0), y = hlo_input(h, 1), number = hlo_iota(h, CVR_I32, x, 2);
    const hlo_value known = hlo_select(h, hlo_compare(h, "NE", x, x), hlo_f32(h, -HUGE_VAL), x);
    const hlo_value most = hlo_reduce(h, "maximum", known, 4);
    const hlo_value is = hlo_compare(h, "EQ", known, hlo_expand(h, most, x, 4));
    const hlo_value last = hlo_integer(h, CVR_I32, x.shape[2] - 1);
    const hlo_value best = hlo_reduce(h, "minimum", hlo_select(h, is, number, last), 4);
    const hlo_value all_nan = hlo_reduce(h, "and", hlo_compare(h, "NE", x, x), 4);
    const hlo_value own = hlo_select(h, all_nan, hlo_f32(h, (double)NAN), most);
    hlo_result(h, hlo_mul(h, hlo_sigmoid(h, own), hlo_sigmoid(h, hlo_reshape(h, y, 2, y.shape))));
    hlo_result(h, hlo_select(h, all_nan, hlo_integer(h, CVR_I32, 0), best));
}

const hlo_op emit_row_ops[] = {HLO_OP("gather_rows", gather_rows),
                               HLO_OP("gather_rows_backward", gather_rows_backward),
                               HLO_OP("append_rows", append_rows),
                               HLO_OP("cut_match", cut_match),
                               HLO_OP("class_targets", class_targets),
                               HLO_OP("top_k", top_k),
                               HLO_OP("split_index", split_index),
                               HLO_OP("pick_labels", pick_labels),
                               HLO_OP("joint_score", joint_score),
                               HLO_OP("best_class", best_class),
                               {.op = NULL}};
