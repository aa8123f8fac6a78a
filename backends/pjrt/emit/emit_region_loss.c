/*
 * Losses of segmentation (<cvr/plugin/ops/loss.h>): focal, overlap, Lovasz, and targets of which the easy ones are left
 * out. Rows are positions, each with the scores of all classes.
 */
#include "emit.h"
#include "emit_classes.h"
#include <cvr/plugin/ops/loss_math.h>
#include <math.h>

#define CLASSES 2u
#define ROWS 1u

/* With one class the target is 0 or 1, and 1 is the class. */
static class_rows region_rows(hlo *h, uint32_t weight, int64_t ignore_index) {
    class_rows r = class_rows_of(h, 0, 1, weight, ignore_index);
    if (r.classes > 1) return r;
    const hlo_value one = hlo_integer(h, CVR_I64, 1), zero = hlo_integer(h, CVR_I64, 0);
    const hlo_value is = hlo_compare(h, "EQ", r.target, one);
    r.is_target = hlo_expand(h, is, r.x, CLASSES);
    const hlo_value known =
        hlo_binary(h, "or", hlo_binary(h, "or", is, hlo_compare(h, "EQ", r.target, zero)), r.ignored);
    r.is_wrong = hlo_unary(h, "not", known);
    return r;
}

/* Numbers of positions in all classes. */
static hlo_value wide(hlo *h, hlo_value v, const class_rows *r) {
    return hlo_expand(h, v, r->x, CLASSES);
}

static hlo_value weights_of(hlo *h, const class_rows *r) {
    const hlo_value like = {.dtype = CVR_F32, .rank = 1, .shape = {r->classes}};
    return r->weight.rank ? r->weight : hlo_fill(h, like, 1);
}

static hlo_value scalar_input(hlo *h, uint32_t i) {
    return hlo_reshape(h, hlo_input(h, i), 0, NULL);
}

/* a / b where b > 0, else 0 */
static hlo_value share(hlo *h, hlo_value a, hlo_value b) {
    const hlo_value zero = hlo_f32(h, 0), is = hlo_compare(h, "LE", b, zero);
    return hlo_select(h, is, zero, hlo_div(h, a, b));
}

/* log(sum of exp(x)), with one class log(1 + exp(x)) */
static hlo_value normaliser(hlo *h, const class_rows *r) {
    if (r->classes > 1) return class_logsumexp(h, r->x);
    return hlo_softplus(h, hlo_reshape(h, r->x, 1, &r->rows));
}

/* ---- focal losses ---- */

HLO_EMITTER(focal) {
    const cvr_focal_attrs *a = HLO_ATTRS(cvr_focal_attrs);
    const class_rows r = region_rows(h, 2, a->ignore_index);
    const hlo_value lse = class_logsumexp(h, r.x), log_p = hlo_sub(h, class_pick(h, &r, r.x), lse);
    const hlo_value rest = hlo_unary(h, "negate", hlo_unary(h, "exponential_minus_one", log_p));
    const hlo_value l = hlo_mul(h, hlo_mul(h, r.weight_of_target, hlo_power(h, rest, a->gamma)), log_p);
    const hlo_value total = hlo_sum(h, class_counted(h, &r, hlo_unary(h, "negate", l)), ROWS);
    const hlo_value norm = hlo_sum(h, class_counted(h, &r, r.weight_of_target), ROWS);
    hlo_result(h, share(h, total, norm));
    hlo_result(h, lse);
    hlo_result(h, norm);
}

/* x, target, weight, lse, norm, grad */
HLO_EMITTER(focal_backward) {
    const cvr_focal_attrs *a = HLO_ATTRS(cvr_focal_attrs);
    const class_rows r = region_rows(h, 2, a->ignore_index);
    const hlo_value lse = hlo_reshape(h, hlo_input(h, 3), 1, &r.rows), zero = hlo_f32(h, 0);
    const hlo_value log_p = hlo_binary(h, "minimum", hlo_sub(h, class_pick(h, &r, r.x), lse), zero);
    const hlo_value rest = hlo_unary(h, "negate", hlo_unary(h, "exponential_minus_one", log_p));
    hlo_value slope = hlo_unary(h, "negate", hlo_power(h, rest, a->gamma));
    if (a->gamma != 0) {
        const hlo_value power = hlo_binary(h, "power", rest, hlo_f32(h, a->gamma - 1));
        const hlo_value p = hlo_scale(h, hlo_unary(h, "exponential", log_p), a->gamma);
        const hlo_value first = hlo_mul(h, hlo_mul(h, p, power), log_p);
        slope = hlo_add(h, slope, hlo_select(h, hlo_compare(h, "LE", rest, zero), zero, first));
    }
    const hlo_value by = share(h, scalar_input(h, 5), scalar_input(h, 4));
    const hlo_value scale = class_counted(h, &r, hlo_mul(h, hlo_mul(h, r.weight_of_target, slope), by));
    const hlo_value p = hlo_unary(h, "exponential", hlo_sub(h, r.x, wide(h, lse, &r)));
    const hlo_value d = hlo_sub(h, hlo_convert(h, r.is_target, CVR_F32), p);
    hlo_result(h, class_rows_back(h, hlo_mul(h, d, wide(h, scale, &r)), h->a->outputs[0]));
}

/* Of each class by itself: log q, 1 - q, what it counts (alpha and weight), and the sign of dq / dx. */
static void sigmoid_parts(hlo *h, const class_rows *r, double alpha, hlo_value parts[4]) {
    const hlo_value z = hlo_select(h, r->is_target, r->x, hlo_unary(h, "negate", r->x));
    const hlo_value other = hlo_unary(h, "negate", z);
    const hlo_value own = hlo_f32(h, alpha < 0 ? 1 : alpha), others = hlo_f32(h, alpha < 0 ? 1 : 1 - alpha);
    parts[0] = hlo_unary(h, "negate", hlo_softplus(h, other));
    parts[1] = hlo_sigmoid(h, other);
    parts[2] = hlo_mul(h, hlo_select(h, r->is_target, own, others), hlo_along(h, weights_of(h, r), r->x, 1));
    parts[3] = hlo_select(h, r->is_target, hlo_f32(h, 1), hlo_f32(h, -1));
}

HLO_EMITTER(sigmoid_focal) {
    const cvr_focal_attrs *a = HLO_ATTRS(cvr_focal_attrs);
    const class_rows r = region_rows(h, 2, a->ignore_index);
    hlo_value parts[4];
    sigmoid_parts(h, &r, a->alpha, parts);
    const hlo_value l = hlo_mul(h, hlo_mul(h, parts[2], hlo_power(h, parts[1], a->gamma)), parts[0]);
    const hlo_value total = hlo_sum(h, class_counted(h, &r, hlo_unary(h, "negate", hlo_sum(h, l, CLASSES))), ROWS);
    const hlo_value counted = hlo_sum(h, hlo_convert(h, hlo_unary(h, "not", r.ignored), CVR_F32), ROWS);
    const hlo_value norm = hlo_mul(h, counted, hlo_sum(h, weights_of(h, &r), 1));
    hlo_result(h, share(h, total, norm));
    hlo_result(h, norm);
}

/* x, target, weight, norm, grad */
HLO_EMITTER(sigmoid_focal_backward) {
    const cvr_focal_attrs *a = HLO_ATTRS(cvr_focal_attrs);
    const class_rows r = region_rows(h, 2, a->ignore_index);
    hlo_value parts[4];
    sigmoid_parts(h, &r, a->alpha, parts);
    const hlo_value q = hlo_scale(h, hlo_unary(h, "exponential", parts[0]), a->gamma);
    const hlo_value slope = hlo_sub(h, hlo_mul(h, q, parts[0]), parts[1]);
    const hlo_value d = hlo_mul(h, hlo_mul(h, parts[2], parts[3]), hlo_mul(h, hlo_power(h, parts[1], a->gamma), slope));
    const hlo_value dx = hlo_mul(h, d, share(h, scalar_input(h, 4), scalar_input(h, 3)));
    const hlo_value kept = hlo_select(h, wide(h, r.ignored, &r), hlo_f32(h, 0), dx);
    hlo_result(h, class_rows_back(h, kept, h->a->outputs[0]));
}

/* ---- overlap ---- */

/* x held from below; NaN stays. */
static hlo_value held(hlo *h, hlo_value x, double least) {
    const hlo_value floor = hlo_f32(h, least);
    return hlo_select(h, hlo_compare(h, "LT", x, floor), floor, x);
}

/* cvr_overlap_class for all classes: their losses and slopes. */
static hlo_value overlap_classes(hlo *h, const cvr_overlap_attrs *a, const hlo_value sums[3], hlo_value slopes[2]) {
    const hlo_value both = sums[0], zero = hlo_f32(h, 0), none = hlo_compare(h, "EQ", sums[2], zero);
    const hlo_value top = hlo_add(h, both, hlo_f32(h, a->smooth)), least = hlo_f32(h, CVR_OVERLAP_LEAST);
    const hlo_value more = hlo_scale(h, hlo_sub(h, sums[1], both), a->alpha);
    const hlo_value missed = hlo_scale(h, hlo_sub(h, sums[2], both), a->beta);
    const hlo_value whole = hlo_add(h, hlo_add(h, top, more), missed), bottom = held(h, whole, CVR_OVERLAP_LEAST);
    const hlo_value score = hlo_div(h, top, bottom), one = hlo_f32(h, 1);
    const hlo_value moves = hlo_select(h, hlo_compare(h, "GT", whole, least), hlo_div(h, score, bottom), zero);
    hlo_value slope = hlo_fill(h, score, -1), loss = hlo_sub(h, one, score);
    if (a->log_loss) {
        slope = hlo_select(h, hlo_compare(h, "GT", score, least), hlo_div(h, hlo_f32(h, -1), score), zero);
        loss = hlo_unary(h, "negate", hlo_unary(h, "log", held(h, score, CVR_OVERLAP_LEAST)));
    }
    const hlo_value by_both = hlo_sub(h, hlo_div(h, one, bottom), hlo_scale(h, moves, 1 - a->alpha - a->beta));
    slopes[0] = hlo_select(h, none, zero, hlo_mul(h, slope, by_both));
    slopes[1] = hlo_select(h, none, zero, hlo_mul(h, slope, hlo_scale(h, moves, -a->alpha)));
    return hlo_select(h, none, zero, loss);
}

HLO_EMITTER(overlap) {
    const cvr_overlap_attrs *a = HLO_ATTRS(cvr_overlap_attrs);
    const class_rows r = region_rows(h, 2, a->ignore_index);
    const hlo_value lse = normaliser(h, &r), zero = hlo_f32(h, 0), ignored = wide(h, r.ignored, &r);
    const hlo_value p = hlo_unary(h, "exponential", hlo_sub(h, r.x, wide(h, lse, &r)));
    const hlo_value truth = hlo_convert(h, r.is_target, CVR_F32);
    const hlo_value terms[3] = {hlo_mul(h, p, truth), p, truth};
    const int64_t row[2] = {1, r.classes};
    hlo_value sums[3], slopes[2];
    for (int i = 0; i < 3; i++) sums[i] = hlo_sum(h, hlo_select(h, ignored, zero, terms[i]), ROWS);
    const hlo_value losses = overlap_classes(h, a, sums, slopes), weight = weights_of(h, &r);
    const hlo_value all = hlo_sum(h, weight, 1), mean = hlo_div(h, hlo_sum(h, hlo_mul(h, losses, weight), 1), all);
    hlo_value outer = hlo_f32(h, 1), loss = mean;
    if (a->gamma != 1) {
        const hlo_value power = hlo_scale(h, hlo_binary(h, "power", mean, hlo_f32(h, a->gamma - 1)), a->gamma);
        outer = hlo_select(h, hlo_compare(h, "GT", mean, zero), power, zero);
        loss = hlo_binary(h, "power", held(h, mean, 0), hlo_f32(h, a->gamma));
    }
    const hlo_value bad = hlo_reduce(h, "or", r.is_wrong, ROWS);
    hlo_result(h, hlo_select(h, bad, hlo_f32(h, (double)NAN), loss));
    hlo_result(h, lse);
    const hlo_value by = hlo_div(h, hlo_mul(h, weight, outer), all);
    for (int i = 0; i < 2; i++) slopes[i] = hlo_reshape(h, hlo_mul(h, slopes[i], by), 2, row);
    hlo_result(h, hlo_concat(h, slopes, 2, 0));
}

/* dx_c = p_c * (d_c - sum of p_k * d_k) */
static hlo_value through_softmax(hlo *h, hlo_value p, hlo_value d) {
    const hlo_value mean = hlo_sum(h, hlo_mul(h, p, d), CLASSES);
    return hlo_mul(h, p, hlo_sub(h, d, hlo_expand(h, mean, d, CLASSES)));
}

/* x, target, lse, slopes, grad */
HLO_EMITTER(overlap_backward) {
    const class_rows r = region_rows(h, CVR_MAX_IO, HLO_ATTRS(cvr_overlap_attrs)->ignore_index);
    const hlo_value lse = hlo_reshape(h, hlo_input(h, 2), 1, &r.rows), slopes = hlo_input(h, 3), zero = hlo_f32(h, 0);
    const hlo_value p = hlo_unary(h, "exponential", hlo_sub(h, r.x, wide(h, lse, &r)));
    const hlo_value own = hlo_along(h, hlo_slice_axis(h, slopes, 0, 0, 1), r.x, 1);
    const hlo_value all = hlo_along(h, hlo_slice_axis(h, slopes, 0, 1, 2), r.x, 1);
    const hlo_value d = hlo_add(h, hlo_select(h, r.is_target, own, zero), all);
    const hlo_value dx = hlo_mul(h, through_softmax(h, p, d), scalar_input(h, 4));
    hlo_result(h, class_rows_back(h, hlo_select(h, wide(h, r.ignored, &r), zero, dx), h->a->outputs[0]));
}

/* ---- Lovasz: classes are rows here, positions sorted by their error ---- */

/* Sums of all up to each, along axis 1. */
static hlo_value running_sum(hlo *h, hlo_value v) {
    for (int64_t by = 1; by < v.shape[1]; by *= 2) {
        const int64_t low[2] = {0, by}, high[2] = {0, -by};
        v = hlo_add(h, v, hlo_pad(h, v, hlo_scalar(h, v.dtype, 0), low, high, NULL));
    }
    return v;
}

typedef struct lovasz {
    class_rows r;
    hlo_value is, counts, error; /* (classes, rows) */
    hlo_value truth;             /* (classes): how many positions are the class */
} lovasz;

/*
 * How much the Jaccard loss grows at each position, in sorted order: with `right` of the class and `wrong` of the
 * others passed before it, 1 / (T + wrong) at one of the class, else (T - right) / ((T + wrong) (T + wrong + 1)).
 */
static hlo_value growth(hlo *h, const lovasz *l, hlo_value is, hlo_value counts) {
    const hlo_value one = hlo_f32(h, 1), zero = hlo_f32(h, 0), other = hlo_sub(h, counts, is);
    const hlo_value right = running_sum(h, is), wrong = hlo_sub(h, running_sum(h, other), other);
    const hlo_value t = hlo_expand(h, l->truth, is, 2), whole = hlo_add(h, t, wrong);
    const hlo_value at_own = hlo_div(h, one, whole);
    const hlo_value product = hlo_mul(h, whole, hlo_add(h, whole, one));
    const hlo_value at_other = hlo_div(h, hlo_sub(h, t, right), product);
    /* without any of the class the first position is all there is to lose */
    const hlo_value first = hlo_select(h, hlo_compare(h, "EQ", wrong, zero), one, zero);
    const hlo_value without = hlo_select(h, hlo_compare(h, "EQ", t, zero), first, at_other);
    const hlo_value g = hlo_select(h, hlo_compare(h, "GT", is, zero), at_own, without);
    return hlo_select(h, hlo_compare(h, "GT", counts, zero), g, zero);
}

/* Each class's loss, and its slopes by the errors' signs, in the order of positions. */
static hlo_value lovasz_classes(hlo *h, const lovasz *l, hlo_value *slopes) {
    const hlo_value zero = hlo_f32(h, 0), away = hlo_f32(h, HUGE_VAL);
    hlo_value key = hlo_select(h, hlo_compare(h, "GT", l->counts, zero), hlo_unary(h, "negate", l->error), away);
    hlo_value place = hlo_iota(h, CVR_I32, key, 1);
    hlo_sort(h, &key, &place);
    const hlo_value is = hlo_take_batched(h, l->is, place), counts = hlo_take_batched(h, l->counts, place);
    hlo_value g = growth(h, l, is, counts);
    const hlo_value error = hlo_unary(h, "negate", key), counted = hlo_compare(h, "GT", counts, zero);
    if (l->r.classes == 1) g = hlo_select(h, hlo_compare(h, "GT", error, zero), g, zero);
    const hlo_value loss = hlo_sum(h, hlo_select(h, counted, hlo_mul(h, error, g), zero), 2);
    *slopes = hlo_select(h, hlo_compare(h, "GT", is, zero), hlo_unary(h, "negate", g), g);
    hlo_sort(h, &place, slopes);
    return loss;
}

static const uint32_t turned[2] = {1, 0};

HLO_EMITTER(lovasz_loss) {
    lovasz l = {.r = region_rows(h, 2, HLO_ATTRS(cvr_lovasz_attrs)->ignore_index)};
    const class_rows *r = &l.r;
    const hlo_value one = hlo_f32(h, 1), zero = hlo_f32(h, 0), ignored = wide(h, r->ignored, r);
    const hlo_value lse = normaliser(h, r), p = hlo_unary(h, "exponential", hlo_sub(h, r->x, wide(h, lse, r)));
    const hlo_value truth = hlo_convert(h, r->is_target, CVR_F32);
    hlo_value error = hlo_unary(h, "abs", hlo_sub(h, truth, p)), slopes;
    if (r->classes == 1) error = hlo_sub(h, one, hlo_select(h, r->is_target, r->x, hlo_unary(h, "negate", r->x)));
    l.error = hlo_transpose(h, error, turned);
    l.is = hlo_transpose(h, hlo_select(h, ignored, zero, truth), turned);
    l.counts = hlo_transpose(h, hlo_select(h, ignored, zero, hlo_fill(h, truth, 1)), turned);
    l.truth = hlo_sum(h, l.is, 2);
    const hlo_value losses = lovasz_classes(h, &l, &slopes);
    hlo_value weight = weights_of(h, r);
    if (r->classes > 1) weight = hlo_select(h, hlo_compare(h, "GT", l.truth, zero), weight, zero);
    const hlo_value by = share(h, one, hlo_sum(h, weight, 1));
    const hlo_value loss = hlo_mul(h, hlo_sum(h, hlo_mul(h, losses, weight), 1), by);
    hlo_result(h, hlo_select(h, hlo_reduce(h, "or", r->is_wrong, ROWS), hlo_f32(h, (double)NAN), loss));
    slopes = hlo_mul(h, hlo_transpose(h, slopes, turned), hlo_along(h, hlo_mul(h, weight, by), r->x, 1));
    if (r->classes > 1) slopes = through_softmax(h, p, slopes);
    hlo_result(h, class_rows_back(h, slopes, h->a->outputs[1]));
}

HLO_EMITTER(lovasz_backward) {
    hlo_result(h, hlo_mul(h, hlo_input(h, 0), scalar_input(h, 1)));
}

/* ---- targets, of which easy ones are ignored ---- */

HLO_EMITTER(hard_targets) {
    const cvr_hard_targets_attrs *a = HLO_ATTRS(cvr_hard_targets_attrs);
    const class_rows r = region_rows(h, CVR_MAX_IO, a->ignore_index);
    const hlo_value log_p = hlo_sub(h, class_pick(h, &r, r.x), class_logsumexp(h, r.x));
    const hlo_value p = hlo_unary(h, "exponential", log_p), thresh = hlo_f32(h, (double)(float)a->thresh);
    hlo_value key = hlo_select(h, r.ignored, hlo_f32(h, HUGE_VAL), p), place = hlo_iota(h, CVR_I32, key, 0);
    const hlo_value counted = hlo_convert(h, hlo_unary(h, "not", r.ignored), CVR_I32), n = hlo_sum(h, counted, ROWS);
    const hlo_value below = hlo_sum(h, hlo_convert(h, hlo_compare(h, "LT", key, thresh), CVR_I32), ROWS);
    const int64_t most = a->min_kept < r.rows ? a->min_kept : r.rows, one_row = 1;
    const hlo_value kept = hlo_binary(h, "minimum", hlo_integer(h, CVR_I32, most), n);
    hlo_sort(h, &key, &place);
    const hlo_value last =
        hlo_binary(h, "maximum", hlo_sub(h, kept, hlo_integer(h, CVR_I32, 1)), hlo_integer(h, CVR_I32, 0));
    const hlo_value kth = hlo_reshape(h, hlo_take(h, key, hlo_reshape(h, last, 1, &one_row)), 0, NULL);
    const hlo_value bound = hlo_select(h, hlo_compare(h, "LT", below, kept), kth, hlo_f32(h, -1));
    const hlo_value easy_ones = hlo_binary(h, "and", hlo_compare(h, "GE", p, thresh), hlo_compare(h, "GT", p, bound));
    hlo_result(h, hlo_select(h, easy_ones, hlo_integer(h, CVR_I64, a->ignore_index), r.target));
}

const hlo_op emit_region_ops[] = {HLO_OP("focal_loss", focal),
                                  HLO_OP("focal_loss_backward", focal_backward),
                                  HLO_OP("sigmoid_focal_loss", sigmoid_focal),
                                  HLO_OP("sigmoid_focal_loss_backward", sigmoid_focal_backward),
                                  HLO_OP("overlap_loss", overlap),
                                  HLO_OP("overlap_loss_backward", overlap_backward),
                                  HLO_OP("lovasz_loss", lovasz_loss),
                                  HLO_OP("lovasz_loss_backward", lovasz_backward),
                                  HLO_OP("hard_targets", hard_targets),
                                  {.op = NULL}};
