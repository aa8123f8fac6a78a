/* Losses of classes and of elements (<cvr/plugin/ops/loss.h>). */
#include "emit.h"
#include "emit_classes.h"
#include <cvr/plugin/ops/loss.h>
#include <math.h>

/* ---- cross entropy ---- */

HLO_EMITTER(cross_entropy) {
    const cvr_cross_entropy_attrs *a = HLO_ATTRS(cvr_cross_entropy_attrs);
    const class_rows r = class_rows_of(h, 0, 1, 2, a->ignore_index);
    const double s = a->label_smoothing, n = (double)r.classes;
    const hlo_value lse = class_logsumexp(h, r.x), of_target = class_pick(h, &r, r.x);
    hlo_value l = hlo_scale(h, hlo_mul(h, r.weight_of_target, hlo_sub(h, lse, of_target)), 1 - s);
    if (s != 0) {
        const hlo_value d = hlo_sub(h, hlo_expand(h, lse, r.x, 2), r.x);
        const hlo_value all = hlo_sum(h, r.weight.rank ? hlo_mul(h, d, hlo_along(h, r.weight, d, 1)) : d, 2);
        l = hlo_add(h, l, hlo_scale(h, all, s / n));
    }
    l = class_counted(h, &r, l);
    const hlo_value weights = hlo_sum(h, class_counted(h, &r, r.weight_of_target), 1);
    const hlo_value norm = a->reduction == CVR_LOSS_SUM ? hlo_f32(h, 1) : weights;
    hlo_result(h, hlo_div(h, hlo_sum(h, l, 1), norm));
    hlo_result(h, lse);
    hlo_result(h, norm);
}

/* x, target, weight, lse, norm, grad */
HLO_EMITTER(cross_entropy_backward) {
    const cvr_cross_entropy_attrs *a = HLO_ATTRS(cvr_cross_entropy_attrs);
    const class_rows r = class_rows_of(h, 0, 1, 2, a->ignore_index);
    const double s = a->label_smoothing, n = (double)r.classes;
    const int64_t rows = r.rows;
    const hlo_value lse = hlo_reshape(h, hlo_input(h, 3), 1, &rows);
    const hlo_value p = hlo_unary(h, "exponential", hlo_sub(h, r.x, hlo_expand(h, lse, r.x, 2)));
    const hlo_value own = hlo_scale(h, r.weight_of_target, 1 - s), zero = hlo_f32(h, 0);
    const hlo_value total = r.weight.rank ? hlo_sum(h, r.weight, 1) : hlo_f32(h, n);
    const hlo_value factor = hlo_add(h, own, hlo_scale(h, total, s / n));
    hlo_value dx = hlo_mul(h, p, hlo_expand(h, factor, p, 2));
    dx = hlo_sub(h, dx, hlo_select(h, r.is_target, hlo_expand(h, own, p, 2), zero));
    if (s != 0) {
        const hlo_value part = r.weight.rank ? hlo_along(h, hlo_scale(h, r.weight, s / n), dx, 1) : hlo_f32(h, s / n);
        dx = hlo_sub(h, dx, part);
    }
    dx = hlo_mul(h, dx, hlo_div(h, hlo_reshape(h, hlo_input(h, 5), 0, NULL), hlo_reshape(h, hlo_input(h, 4), 0, NULL)));
    dx = hlo_select(h, hlo_expand(h, r.ignored, dx, 2), zero, dx);
    hlo_result(h, class_rows_back(h, dx, h->a->outputs[0]));
}

/* ---- losses of elements: the mean or the sum ---- */

static uint32_t all_axes(hlo_value v) {
    return (1u << v.rank) - 1;
}

static double divisor(int64_t reduction, hlo_value x) {
    return reduction == CVR_LOSS_SUM ? 1 : (double)hlo_count(x);
}

static void loss_result(hlo *h, hlo_value l, int64_t reduction) {
    hlo_result(h, hlo_scale(h, hlo_sum(h, l, all_axes(l)), 1 / divisor(reduction, l)));
}

/* grad / (number of elements, or 1) */
static hlo_value gradient(hlo *h, uint32_t i, int64_t reduction, hlo_value x) {
    return hlo_scale(h, hlo_reshape(h, hlo_input(h, i), 0, NULL), 1 / divisor(reduction, x));
}

/* 1 + (pos_weight - 1) * target; the weight is one number, or one a channel */
static hlo_value positive(hlo *h, hlo_value target) {
    const hlo_value one = hlo_f32(h, 1);
    if (!hlo_has(h, 2)) return hlo_fill(h, target, 1);
    const hlo_value more = hlo_sub(h, hlo_input(h, 2), one);
    const uint32_t channel = target.rank == 4 ? 3 : 1;
    const hlo_value by = hlo_count(more) == 1 ? hlo_reshape(h, more, 0, NULL) : hlo_along(h, more, target, channel);
    return hlo_add(h, hlo_mul(h, target, by), one);
}

HLO_EMITTER(bce) {
    const hlo_value x = hlo_input(h, 0), y = hlo_input(h, 1), one = hlo_f32(h, 1);
    const hlo_value other = hlo_mul(h, hlo_sub(h, one, y), x);
    const hlo_value l = hlo_add(h, other, hlo_mul(h, positive(h, y), hlo_softplus(h, hlo_unary(h, "negate", x))));
    loss_result(h, l, HLO_ATTRS(cvr_loss_attrs)->reduction);
}

HLO_EMITTER(bce_backward) {
    const hlo_value x = hlo_input(h, 0), y = hlo_input(h, 1), one = hlo_f32(h, 1);
    const hlo_value other = hlo_sigmoid(h, hlo_unary(h, "negate", x));
    const hlo_value slope = hlo_sub(h, hlo_sub(h, one, y), hlo_mul(h, positive(h, y), other));
    hlo_result(h, hlo_mul(h, slope, gradient(h, 3, HLO_ATTRS(cvr_loss_attrs)->reduction, x)));
}

static hlo_value difference(hlo *h) {
    return hlo_sub(h, hlo_input(h, 0), hlo_input(h, 1));
}

HLO_EMITTER(mse) {
    const hlo_value d = difference(h);
    loss_result(h, hlo_mul(h, d, d), HLO_ATTRS(cvr_loss_attrs)->reduction);
}

HLO_EMITTER(mse_backward) {
    const hlo_value d = difference(h);
    hlo_result(h, hlo_mul(h, hlo_scale(h, d, 2), gradient(h, 2, HLO_ATTRS(cvr_loss_attrs)->reduction, d)));
}

HLO_EMITTER(l1) {
    loss_result(h, hlo_unary(h, "abs", difference(h)), HLO_ATTRS(cvr_loss_attrs)->reduction);
}

HLO_EMITTER(l1_backward) {
    const hlo_value d = difference(h);
    hlo_result(h, hlo_mul(h, hlo_unary(h, "sign", d), gradient(h, 2, HLO_ATTRS(cvr_loss_attrs)->reduction, d)));
}

HLO_EMITTER(smooth_l1) {
    const cvr_smooth_l1_loss_attrs *a = HLO_ATTRS(cvr_smooth_l1_loss_attrs);
    const hlo_value d = difference(h), size = hlo_unary(h, "abs", d), far = hlo_sub(h, size, hlo_f32(h, a->beta / 2));
    const hlo_value close = hlo_scale(h, hlo_mul(h, d, d), a->beta > 0 ? 0.5 / a->beta : 0);
    const hlo_value is_close = hlo_compare(h, "LT", size, hlo_f32(h, a->beta));
    loss_result(h, hlo_select(h, is_close, close, far), a->reduction);
}

HLO_EMITTER(smooth_l1_backward) {
    const cvr_smooth_l1_loss_attrs *a = HLO_ATTRS(cvr_smooth_l1_loss_attrs);
    const hlo_value d = difference(h), is_close = hlo_compare(h, "LT", hlo_unary(h, "abs", d), hlo_f32(h, a->beta));
    const hlo_value close = hlo_scale(h, d, a->beta > 0 ? 1 / a->beta : 0);
    const hlo_value slope = hlo_select(h, is_close, close, hlo_unary(h, "sign", d));
    hlo_result(h, hlo_mul(h, slope, gradient(h, 2, a->reduction, d)));
}

const hlo_op emit_loss_ops[] = {HLO_OP("cross_entropy", cross_entropy),
                                HLO_OP("cross_entropy_backward", cross_entropy_backward),
                                HLO_OP("bce_with_logits", bce),
                                HLO_OP("bce_with_logits_backward", bce_backward),
                                HLO_OP("mse_loss", mse),
                                HLO_OP("mse_loss_backward", mse_backward),
                                HLO_OP("l1_loss", l1),
                                HLO_OP("l1_loss_backward", l1_backward),
                                HLO_OP("smooth_l1_loss", smooth_l1),
                                HLO_OP("smooth_l1_loss_backward", smooth_l1_backward),
                                {.op = NULL}};
