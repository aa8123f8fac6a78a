/*
 * Cross entropy of anchors, of whose background the hardest rows alone count (Liu et al., "SSD: Single Shot MultiBox
 * Detector", 2016; <cvr/plugin/ops/detect_loss.h>).
 */
#include "emit.h"
#include "emit_rows.h"
#include <cvr/plugin/ops/detect_loss.h>
#include <math.h>

#define CLASSES 4u /* the axis of classes of (N,A,K), as a bit */

static hlo_value i64(hlo *h, int64_t v) {
    return hlo_integer(h, CVR_I64, v);
}

/* (N,A): log of the sum of exp(x); where nothing is above -inf, that. */
static hlo_value log_sum_exp(hlo *h, hlo_value x) {
    const hlo_value none = hlo_f32(h, -HUGE_VAL), most = hlo_reduce(h, "maximum", x, CLASSES);
    const hlo_value from = hlo_select(h, hlo_compare(h, "EQ", most, none), hlo_f32(h, 0), most);
    const hlo_value e = hlo_unary(h, "exponential", hlo_sub(h, x, hlo_expand(h, from, x, CLASSES)));
    return hlo_add(h, from, hlo_unary(h, "log", hlo_sum(h, e, CLASSES)));
}

static hlo_value is_class(hlo *h, hlo_value target, hlo_value x) {
    return hlo_compare(h, "EQ", hlo_iota(h, CVR_I64, x, 2), hlo_expand(h, target, x, CLASSES));
}

/* u64 that fall as the loss grows, NaN being the largest loss. */
static hlo_value falling_hardness(hlo *h, hlo_value loss) {
    const hlo_value key = rows_falling_key(h, loss), is_nan = hlo_compare(h, "NE", loss, loss);
    return hlo_convert(h, hlo_select(h, is_nan, hlo_integer(h, HLO_U32, 0), key), HLO_U64);
}

/* (N) i32: how many rows of background each picture wants, of how many rows with an object it has. */
static hlo_value wanted_rows(hlo *h, double negatives, hlo_value positives, int64_t rows) {
    const hlo_value most = hlo_f32(h, (double)rows);
    if (negatives < 0) return hlo_fill(h, positives, (double)rows);
    const hlo_value share = hlo_scale(h, hlo_convert(h, positives, CVR_F32), negatives);
    return hlo_convert(h, hlo_unary(h, "ceil", hlo_binary(h, "minimum", share, most)), CVR_I32);
}

HLO_EMITTER(entropy) {
    const double negatives = HLO_ATTRS(cvr_anchor_cross_entropy_attrs)->negatives;
    const hlo_value x = hlo_input(h, 0), target = hlo_input_raw(h, 1), lse = log_sum_exp(h, x);
    const hlo_value background = hlo_compare(h, "EQ", target, i64(h, 0)), zero = hlo_f32(h, 0);
    const hlo_value object = hlo_compare(h, "GT", target, i64(h, 0)), one = hlo_integer(h, CVR_I32, 1);
    const hlo_value own = hlo_sum(h, hlo_select(h, is_class(h, target, x), x, zero), CLASSES);
    const hlo_value loss = hlo_sub(h, lse, own);
    const hlo_value positives = hlo_sum(h, hlo_convert(h, object, CVR_I32), 2);
    const hlo_value wanted = wanted_rows(h, negatives, positives, target.shape[1]);
    hlo_value taken, twice;
    const hlo_value hardest = rows_smallest(h, falling_hardness(h, loss), background, wanted, &taken);
    /* past the background there is, the first rows with an object count twice */
    const hlo_value missing = negatives < 0 ? hlo_fill(h, wanted, 0) : hlo_sub(h, wanted, taken);
    const hlo_value again = rows_smallest(h, hlo_iota(h, HLO_U64, target, 1), object, missing, &twice);
    const hlo_value keep =
        hlo_add(h, hlo_convert(h, hlo_binary(h, "or", hardest, object), CVR_I32), hlo_convert(h, again, CVR_I32));
    const hlo_value counted = hlo_mul(h, loss, hlo_convert(h, keep, CVR_F32));
    const hlo_value sum = hlo_sum(h, hlo_select(h, hlo_compare(h, "GE", keep, one), counted, zero), 3);
    const hlo_value norm = hlo_convert(h, hlo_binary(h, "maximum", hlo_sum(h, positives, 1), one), CVR_F32);
    const hlo_value wrong = hlo_reduce(h, "or", hlo_compare(h, "GE", target, i64(h, x.shape[2])), 3);
    hlo_result(h, hlo_select(h, wrong, hlo_f32(h, (double)NAN), hlo_div(h, sum, norm)));
    hlo_result(h, lse);
    hlo_result(h, keep);
    hlo_result(h, norm);
}

/* x, target, lse, keep, norm, grad */
HLO_EMITTER(entropy_backward) {
    const hlo_value x = hlo_input(h, 0), lse = hlo_expand(h, hlo_input(h, 2), x, CLASSES), zero = hlo_f32(h, 0);
    const hlo_value keep = hlo_convert(h, hlo_input_raw(h, 3), CVR_F32);
    const hlo_value norm = hlo_reshape(h, hlo_input(h, 4), 0, NULL), grad = hlo_reshape(h, hlo_input(h, 5), 0, NULL);
    const hlo_value scale = hlo_mul(h, hlo_div(h, grad, norm), hlo_expand(h, keep, x, CLASSES));
    const hlo_value truth = hlo_convert(h, is_class(h, hlo_input_raw(h, 1), x), CVR_F32);
    const hlo_value d = hlo_sub(h, hlo_unary(h, "exponential", hlo_sub(h, x, lse)), truth);
    const hlo_value counts = hlo_expand(h, hlo_compare(h, "GT", keep, zero), x, CLASSES);
    hlo_result(h, hlo_select(h, counts, hlo_mul(h, scale, d), zero));
}

const hlo_op emit_entropy_ops[] = {
    HLO_OP("anchor_cross_entropy", entropy), HLO_OP("anchor_cross_entropy_backward", entropy_backward), {.op = NULL}};
