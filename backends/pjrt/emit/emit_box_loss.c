/*
 * The loss of anchors' boxes and its gradient (<cvr/plugin/ops/detect_loss.h>), as ops/box_loss_math.h has them in
 * double. Here everything is f32, so boxes are brought to their anchor's centre first.
 */
#include "emit_box_loss.h"
#include "emit.h"
#include "emit_row_loss.h"

#define EPS 1e-7
#define PI 3.14159265358979323846

/* ---- dual numbers (forward-mode differentiation): a value and its slopes along the four sides of a box ---- */

typedef struct number {
    hlo_value at, by[4];
    uint32_t moves; /* bit i: by[i] is there, else it is 0 */
} number;

static number constant_of(hlo_value at) {
    return (number){.at = at};
}

static number moving(hlo *h, hlo_value at, int i, double slope_i, int j, double slope_j) {
    number z = {.at = at, .moves = 1u << i | 1u << j};
    z.by[i] = hlo_fill(h, at, slope_i);
    z.by[j] = hlo_fill(h, at, slope_j);
    return z;
}

/* a * x + b * y of slopes that may not be there */
static void add_slopes(hlo *h, number *z, int i, hlo_value a, const number *x, hlo_value b, const number *y) {
    const int of_x = (int)(x->moves >> i & 1), of_y = (int)(y->moves >> i & 1);
    if (!of_x && !of_y) return;
    const hlo_value first = of_x ? hlo_mul(h, x->by[i], a) : a, second = of_y ? hlo_mul(h, y->by[i], b) : b;
    z->by[i] = of_x && of_y ? hlo_add(h, first, second) : of_x ? first : second;
    z->moves |= 1u << i;
}

/* a * x + b * y */
static number mixed(hlo *h, double a, const number *x, double b, const number *y) {
    const hlo_value fa = hlo_f32(h, a), fb = hlo_f32(h, b);
    number z = constant_of(hlo_add(h, hlo_mul(h, x->at, fa), hlo_mul(h, y->at, fb)));
    for (int i = 0; i < 4; i++) add_slopes(h, &z, i, fa, x, fb, y);
    return z;
}

static number product(hlo *h, const number *x, const number *y) {
    number z = constant_of(hlo_mul(h, x->at, y->at));
    for (int i = 0; i < 4; i++) add_slopes(h, &z, i, y->at, x, x->at, y);
    return z;
}

/* x / (y + eps) */
static number ratio(hlo *h, const number *x, const number *y) {
    const hlo_value whole = hlo_add(h, y->at, hlo_f32(h, EPS)), one = hlo_f32(h, 1);
    number z = constant_of(hlo_div(h, x->at, whole));
    const hlo_value by_y = hlo_unary(h, "negate", z.at);
    for (int i = 0; i < 4; i++) {
        add_slopes(h, &z, i, one, x, by_y, y);
        if (z.moves >> i & 1) z.by[i] = hlo_div(h, z.by[i], whole);
    }
    return z;
}

/* The larger or smaller of side i of the box and a number; where they are equal, half of each. */
static number extreme(hlo *h, const char *how, const boxes *box, int i, hlo_value other) {
    const hlo_value side = box->side[i], own = hlo_compare(h, how, side, other);
    const hlo_value half = hlo_select(h, hlo_compare(h, "EQ", side, other), hlo_f32(h, 0.5), hlo_fill(h, side, 0));
    number z = {.at = hlo_select(h, own, side, other), .moves = 1u << i};
    z.by[i] = hlo_select(h, hlo_compare(h, "EQ", z.at, other), half, hlo_f32(h, 1));
    return z;
}

static number where(hlo *h, hlo_value is, const number *x) {
    const hlo_value zero = hlo_f32(h, 0);
    number z = {.at = hlo_select(h, is, x->at, zero), .moves = x->moves};
    for (int i = 0; i < 4; i++)
        if (x->moves >> i & 1) z.by[i] = hlo_select(h, is, x->by[i], zero);
    return z;
}

static number squared_length(hlo *h, const number v[2]) {
    const number x = product(h, &v[0], &v[0]), y = product(h, &v[1], &v[1]);
    return mixed(h, 1, &x, 1, &y);
}

/* ---- overlap ---- */

static hlo_value angle_of(hlo *h, hlo_value w, hlo_value t) {
    return hlo_binary(h, "atan2", hlo_div(h, w, t), hlo_fill(h, w, 1));
}

/* alpha * v, v = 4 / pi^2 * (how far the angles are apart)^2; alpha does not move. */
static number aspect(hlo *h, const number side[2], const hlo_value object[2], hlo_value iou) {
    const hlo_value w = side[0].at, t = side[1].at, square = hlo_add(h, hlo_mul(h, w, w), hlo_mul(h, t, t));
    const hlo_value off = hlo_sub(h, angle_of(h, object[0], object[1]), angle_of(h, w, t));
    const hlo_value v = hlo_mul(h, hlo_scale(h, off, 4 / (PI * PI)), off);
    const hlo_value rest = hlo_add(h, hlo_add(h, hlo_sub(h, hlo_f32(h, 1), iou), v), hlo_f32(h, EPS));
    const hlo_value alpha = hlo_div(h, v, rest), by = hlo_scale(h, hlo_mul(h, alpha, off), 8 / (PI * PI));
    number z = constant_of(hlo_mul(h, alpha, v));
    const hlo_value by_w = hlo_unary(h, "negate", t);
    for (int i = 0; i < 4; i++) {
        add_slopes(h, &z, i, w, &side[1], by_w, &side[0]);
        if (z.moves >> i & 1) z.by[i] = hlo_div(h, hlo_mul(h, by, z.by[i]), square);
    }
    return z;
}

typedef struct pair {
    number side[2], inner[2], outer[2], apart[2];
    hlo_value object_side[2];
} pair;

static pair pair_of(hlo *h, const boxes *box, const boxes *object) {
    pair p;
    for (int k = 0; k < 2; k++) {
        const hlo_value low = object->side[k], high = object->side[k + 2];
        const number from = extreme(h, "GT", box, k, low), to = extreme(h, "LT", box, k + 2, high);
        const number first = extreme(h, "LT", box, k, low), last = extreme(h, "GT", box, k + 2, high);
        p.inner[k] = mixed(h, 1, &to, -1, &from);
        p.outer[k] = mixed(h, 1, &last, -1, &first);
        p.side[k] = moving(h, hlo_sub(h, box->side[k + 2], box->side[k]), k, -1, k + 2, 1);
        const hlo_value sum = hlo_add(h, hlo_sub(h, box->side[k], low), hlo_sub(h, box->side[k + 2], high));
        p.apart[k] = moving(h, hlo_scale(h, sum, 0.5), k, 0.5, k + 2, 0.5);
        p.object_side[k] = hlo_sub(h, high, low);
    }
    return p;
}

hlo_value overlap_loss(hlo *h, int64_t kind, const boxes *box, const boxes *object, hlo_value slope[4]) {
    const pair p = pair_of(h, box, object);
    const hlo_value zero = hlo_f32(h, 0);
    const hlo_value meet =
        hlo_binary(h, "and", hlo_compare(h, "GT", p.inner[0].at, zero), hlo_compare(h, "GT", p.inner[1].at, zero));
    const number inner = product(h, &p.inner[0], &p.inner[1]), both = where(h, meet, &inner);
    const number area = product(h, &p.side[0], &p.side[1]);
    number all = mixed(h, 1, &area, -1, &both), loss;
    all.at = hlo_add(h, all.at, hlo_mul(h, p.object_side[0], p.object_side[1]));
    const number iou = ratio(h, &both, &all);
    if (kind == CVR_BOX_SQUARED_IOU) {
        const number square = product(h, &iou, &iou);
        loss = mixed(h, -1, &square, 0, &square);
    } else if (kind == CVR_BOX_GIOU) {
        const number hull = product(h, &p.outer[0], &p.outer[1]), empty = mixed(h, 1, &hull, -1, &all);
        const number waste = ratio(h, &empty, &hull);
        loss = mixed(h, -1, &iou, 1, &waste);
    } else {
        const number distance = squared_length(h, p.apart), diagonal = squared_length(h, p.outer);
        const number apart = ratio(h, &distance, &diagonal);
        loss = mixed(h, -1, &iou, 1, &apart);
    }
    if (kind == CVR_BOX_CIOU) {
        const number shape = aspect(h, p.side, p.object_side, iou.at);
        loss = mixed(h, 1, &loss, 1, &shape);
    }
    for (int i = 0; i < 4; i++) slope[i] = loss.by[i];
    return hlo_add(h, loss.at, hlo_f32(h, 1));
}

/* ---- a row's deltas against its object ---- */

typedef struct box_rows {
    const cvr_anchor_box_loss_attrs *attrs;
    hlo_value counts;            /* (N,A): the row has an object */
    boxes delta, anchor, object; /* (N,A) each */
    hlo_value all, is_own;       /* the deltas (N,A,K,4), and which of them are the row's, with labels */
} box_rows;

static box_rows rows_of(hlo *h) {
    box_rows r = {.attrs = HLO_ATTRS(cvr_anchor_box_loss_attrs)};
    const hlo_value match = hlo_input_raw(h, 3), deltas = hlo_input(h, 0), zero = hlo_integer(h, CVR_I32, 0);
    const hlo_value own = hlo_take_batched(h, hlo_input(h, 2), hlo_binary(h, "maximum", match, zero));
    const int64_t n = deltas.shape[0], a = deltas.shape[1], shape[4] = {n, a, deltas.shape[2] / 4, 4};
    r.counts = row_at_least(h, match, 0);
    r.anchor = boxes_of(h, boxes_anchors(h, 1, n));
    r.object = boxes_of(h, own);
    r.all = hlo_reshape(h, deltas, 4, shape);
    if (hlo_has(h, 4)) {
        r.is_own = hlo_compare(h, "EQ", hlo_iota(h, CVR_I64, r.all, 2), hlo_expand(h, hlo_input_raw(h, 4), r.all, 12));
        r.delta = boxes_of(h, hlo_sum(h, hlo_select(h, r.is_own, r.all, hlo_f32(h, 0)), 4));
    } else {
        r.delta = boxes_of(h, deltas);
    }
    return r;
}

/* Smooth L1 of the deltas against those that lead to the object. */
static hlo_value smooth_loss(hlo *h, const box_rows *r, hlo_value slope[4]) {
    const hlo_value beta = hlo_f32(h, r->attrs->beta), half = hlo_f32(h, r->attrs->beta / 2);
    hlo_value loss = beta;
    for (int k = 0; k < 4; k++) {
        const int axis = k % 2;
        const hlo_value low = r->anchor.side[axis], side = hlo_sub(h, r->anchor.side[axis + 2], low);
        const hlo_value object = hlo_sub(h, r->object.side[axis + 2], r->object.side[axis]);
        const hlo_value mid = hlo_scale(h, side, 0.5);
        hlo_value to;
        if (r->attrs->coder == CVR_CODER_LTRB) {
            const hlo_value from = hlo_sub(h, hlo_sub(h, r->object.side[k], low), mid);
            to = hlo_div(h, k < 2 ? hlo_unary(h, "negate", from) : from, side);
        } else if (k < 2) {
            const hlo_value from =
                hlo_sub(h, hlo_add(h, hlo_sub(h, r->object.side[k], low), hlo_scale(h, object, 0.5)), mid);
            to = hlo_div(h, hlo_scale(h, from, r->attrs->weights[k]), side);
        } else {
            to = hlo_scale(h, hlo_unary(h, "log", hlo_div(h, object, side)), r->attrs->weights[k]);
        }
        const hlo_value d = hlo_sub(h, r->delta.side[k], to), size = hlo_unary(h, "abs", d);
        const hlo_value is_near = hlo_compare(h, "LT", size, beta), straight = hlo_sub(h, size, half);
        const hlo_value bent = hlo_div(h, hlo_mul(h, d, d), hlo_f32(h, 2 * r->attrs->beta));
        const hlo_value one = hlo_select(h, is_near, bent, straight);
        slope[k] = hlo_select(h, is_near, hlo_div(h, d, beta), hlo_unary(h, "sign", d));
        loss = k ? hlo_add(h, loss, one) : one;
    }
    return loss;
}

/* The overlap of the decoded box and the object, both about the anchor's centre. */
static hlo_value decoded_loss(hlo *h, const box_rows *r, hlo_value slope[4]) {
    cvr_box_coder_attrs coder = {.coder = r->attrs->coder};
    boxes object, by;
    hlo_value half[2];
    const boxes about = boxes_centred(h, &r->anchor, half);
    for (int k = 0; k < 4; k++) {
        coder.weights[k] = r->attrs->weights[k];
        object.side[k] = hlo_sub(h, hlo_sub(h, r->object.side[k], r->anchor.side[k % 2]), half[k % 2]);
    }
    const boxes box = boxes_decode(h, &coder, &r->delta, &about);
    const hlo_value loss = overlap_loss(h, r->attrs->kind, &box, &object, by.side);
    const boxes d = boxes_decode_backward(h, &coder, &r->delta, &about, &by);
    memcpy(slope, d.side, sizeof d.side);
    return loss;
}

static hlo_value row_losses(hlo *h, const box_rows *r, hlo_value slope[4]) {
    return r->attrs->kind == CVR_BOX_SMOOTH_L1 ? smooth_loss(h, r, slope) : decoded_loss(h, r, slope);
}

HLO_EMITTER(anchor_box) {
    const box_rows r = rows_of(h);
    const int64_t kind = r.attrs->norm;
    hlo_value slope[4];
    const hlo_value least = row_at_least(h, hlo_input_raw(h, 3), kind == CVR_NORM_COUNTED ? CVR_MATCH_BACKGROUND : 0);
    row_loss_results(h, row_losses(h, &r, slope), r.counts, row_norm(h, kind, least));
}

/* deltas, anchors, boxes, match, [label], norm, grad */
HLO_EMITTER(anchor_box_backward) {
    const box_rows r = rows_of(h);
    const hlo_value scale = row_scale(h, 5, r.counts, r.counts), zero = hlo_f32(h, 0);
    boxes d;
    (void)row_losses(h, &r, d.side);
    for (int k = 0; k < 4; k++) d.side[k] = hlo_select(h, r.counts, hlo_mul(h, d.side[k], scale), zero);
    hlo_value all = boxes_together(h, &d);
    if (hlo_has(h, 4)) all = hlo_select(h, r.is_own, hlo_expand(h, all, r.all, 4), zero);
    hlo_result(h, all);
}

const hlo_op emit_box_loss_ops[] = {
    HLO_OP("anchor_box_loss", anchor_box), HLO_OP("anchor_box_loss_backward", anchor_box_backward), {.op = NULL}};
