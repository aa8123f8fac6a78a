/*
 * A row of anchor_box_loss (ops/detect_loss.h), for every backend: deltas against an encoded object, or a decoded box
 * against the object. All in double. The losses of overlap are GIoU (Rezatofighi et al., 2019), DIoU and CIoU (Zheng
 * et al., 2020) as torchvision.ops takes them, and YOLOX's. Each number comes with its slope along x1, y1, x2, y2 of
 * the box.
 */
#ifndef CVR_PLUGIN_OPS_BOX_LOSS_MATH_H
#define CVR_PLUGIN_OPS_BOX_LOSS_MATH_H

#include <cvr/plugin/ops/detect.h>
#include <cvr/plugin/ops/detect_loss.h>

#include <math.h>
#include <string.h>

#ifdef __cplusplus
extern "C" {
#endif

#define CVR_BOX_EPS 1e-7
#define CVR_BOX_PI 3.14159265358979323846
#define CVR_BOX_MOST_GROWTH 4.135166556742356 /* ln(1000 / 16): dw and dh are held below it */

/* ---- numbers with slopes ---- */

typedef struct cvr_box_number {
    double at, by[4];
} cvr_box_number;

static inline cvr_box_number cvr_box_constant(double x) {
    const cvr_box_number z = {x, {0, 0, 0, 0}};
    return z;
}

/* a * x + b * y */
static inline cvr_box_number cvr_box_mixed(double a, const cvr_box_number *x, double b, const cvr_box_number *y) {
    cvr_box_number z = cvr_box_constant(a * x->at + b * y->at);
    for (int i = 0; i < 4; i++) z.by[i] = a * x->by[i] + b * y->by[i];
    return z;
}

static inline cvr_box_number cvr_box_product(const cvr_box_number *x, const cvr_box_number *y) {
    cvr_box_number z = cvr_box_constant(x->at * y->at);
    for (int i = 0; i < 4; i++) z.by[i] = x->by[i] * y->at + x->at * y->by[i];
    return z;
}

/* x / (y + eps) */
static inline cvr_box_number cvr_box_share(const cvr_box_number *x, const cvr_box_number *y) {
    const double whole = y->at + CVR_BOX_EPS;
    cvr_box_number z = cvr_box_constant(x->at / whole);
    for (int i = 0; i < 4; i++) z.by[i] = (x->by[i] - z.at * y->by[i]) / whole;
    return z;
}

/* The larger (sign 1) or the smaller (-1) of side i of the box and a number; where they are equal, half of each. */
static inline cvr_box_number cvr_box_extreme(double sign, const double *box, int i, double other) {
    cvr_box_number z = cvr_box_constant(sign * box[i] > sign * other ? box[i] : other);
    z.by[i] = box[i] == other ? 0.5 : z.at == other ? 0 : 1;
    return z;
}

static inline cvr_box_number cvr_box_squared_length(const cvr_box_number *v) {
    const cvr_box_number x = cvr_box_product(&v[0], &v[0]), y = cvr_box_product(&v[1], &v[1]);
    return cvr_box_mixed(1, &x, 1, &y);
}

/* ---- overlap ---- */

/* What a box and its object have in common, and what holds both; [0] along x, [1] along y. */
typedef struct cvr_box_pair {
    cvr_box_number side[2], inner[2], outer[2], from_centre[2];
    double object_side[2];
} cvr_box_pair;

static inline cvr_box_pair cvr_box_pair_of(const double *box, const double *object) {
    cvr_box_pair p;
    for (int k = 0; k < 2; k++) {
        const cvr_box_number low = cvr_box_extreme(1, box, k, object[k]);
        const cvr_box_number high = cvr_box_extreme(-1, box, k + 2, object[k + 2]);
        const cvr_box_number first = cvr_box_extreme(-1, box, k, object[k]);
        const cvr_box_number last = cvr_box_extreme(1, box, k + 2, object[k + 2]);
        p.inner[k] = cvr_box_mixed(1, &high, -1, &low);
        p.outer[k] = cvr_box_mixed(1, &last, -1, &first);
        p.side[k] = cvr_box_constant(box[k + 2] - box[k]);
        p.side[k].by[k] = -1;
        p.side[k].by[k + 2] = 1;
        p.from_centre[k] = cvr_box_constant((box[k] + box[k + 2] - object[k] - object[k + 2]) / 2);
        p.from_centre[k].by[k] = p.from_centre[k].by[k + 2] = 0.5;
        p.object_side[k] = object[k + 2] - object[k];
    }
    return p;
}

/* alpha * v, v = 4 / pi^2 * (atan(w_object / h_object) - atan(w / h))^2. alpha has no slope. */
static inline cvr_box_number cvr_box_aspect(const cvr_box_pair *p, const cvr_box_number *iou) {
    const double w = p->side[0].at, h = p->side[1].at, square = w * w + h * h, unit = 4 / (CVR_BOX_PI * CVR_BOX_PI);
    const double off = atan(p->object_side[0] / p->object_side[1]) - atan(w / h), v = unit * off * off;
    const double alpha = v / (1 - iou->at + v + CVR_BOX_EPS);
    cvr_box_number z = cvr_box_constant(alpha * v);
    for (int i = 0; i < 4; i++)
        z.by[i] = alpha * unit * 2 * off * (p->side[1].by[i] * w - p->side[0].by[i] * h) / square;
    return z;
}

/* 1 - overlap of a box and an object, x1, y1, x2, y2; slope (4): d loss / d box. `kind` is CVR_BOX_GIOU, _DIOU, _CIOU
 * or _SQUARED_IOU. */
static inline double cvr_box_iou_loss(int64_t kind, const double *box, const double *object, double *slope) {
    const cvr_box_pair p = cvr_box_pair_of(box, object);
    const int meet = p.inner[0].at > 0 && p.inner[1].at > 0;
    const cvr_box_number both = meet ? cvr_box_product(&p.inner[0], &p.inner[1]) : cvr_box_constant(0);
    const cvr_box_number area = cvr_box_product(&p.side[0], &p.side[1]);
    const cvr_box_number hull = cvr_box_product(&p.outer[0], &p.outer[1]);
    cvr_box_number all = cvr_box_mixed(1, &area, -1, &both), loss;
    all.at += p.object_side[0] * p.object_side[1];
    const cvr_box_number iou = cvr_box_share(&both, &all);
    if (kind == CVR_BOX_SQUARED_IOU) {
        const cvr_box_number square = cvr_box_product(&iou, &iou);
        loss = cvr_box_mixed(-1, &square, 0, &square);
    } else if (kind == CVR_BOX_GIOU) {
        const cvr_box_number empty = cvr_box_mixed(1, &hull, -1, &all), waste = cvr_box_share(&empty, &hull);
        loss = cvr_box_mixed(-1, &iou, 1, &waste);
    } else {
        const cvr_box_number distance = cvr_box_squared_length(p.from_centre);
        const cvr_box_number diagonal = cvr_box_squared_length(p.outer), apart = cvr_box_share(&distance, &diagonal);
        loss = cvr_box_mixed(-1, &iou, 1, &apart);
    }
    if (kind == CVR_BOX_CIOU) {
        const cvr_box_number shape = cvr_box_aspect(&p, &iou);
        loss = cvr_box_mixed(1, &loss, 1, &shape);
    }
    memcpy(slope, loss.by, sizeof loss.by);
    return 1 + loss.at;
}

/* ---- deltas ---- */

/* The deltas that lead from the anchor to the object. */
static inline void cvr_box_encoded(const cvr_anchor_box_loss_attrs *a, const float *anchor, const float *object,
                                   double *out) {
    for (int k = 0; k < 2; k++) {
        const double side = (double)anchor[k + 2] - anchor[k], centre = anchor[k] + side / 2;
        const double object_side = (double)object[k + 2] - object[k], object_centre = object[k] + object_side / 2;
        if (a->coder == CVR_CODER_LTRB) {
            out[k] = (centre - object[k]) / side;
            out[k + 2] = (object[k + 2] - centre) / side;
        } else {
            out[k] = a->weights[k] * (object_centre - centre) / side;
            out[k + 2] = a->weights[k + 2] * log(object_side / side);
        }
    }
}

/* The box of the deltas. by_low (4), by_high (4): slopes of its lower and upper side along the axis of the delta. */
static inline void cvr_box_decoded(const cvr_anchor_box_loss_attrs *a, const float *delta, const float *anchor,
                                   double *box, double *by_low, double *by_high) {
    for (int k = 0; k < 2; k++) {
        const double side = (double)anchor[k + 2] - anchor[k], from = anchor[k] + side / 2;
        if (a->coder == CVR_CODER_LTRB) {
            box[k] = from - delta[k] * side;
            box[k + 2] = from + delta[k + 2] * side;
            by_low[k] = -side, by_high[k] = 0;
            by_low[k + 2] = 0, by_high[k + 2] = side;
            continue;
        }
        const double growth = delta[k + 2] / a->weights[k + 2];
        const int is_held = a->coder != CVR_CODER_CENTER_OPEN && growth > CVR_BOX_MOST_GROWTH;
        const double half = exp(is_held ? CVR_BOX_MOST_GROWTH : growth) * side / 2,
                     centre = delta[k] / a->weights[k] * side + from;
        box[k] = centre - half;
        box[k + 2] = centre + half;
        by_low[k] = by_high[k] = side / a->weights[k];
        by_high[k + 2] = is_held ? 0 : half / a->weights[k + 2];
        by_low[k + 2] = -by_high[k + 2];
    }
}

/* d^2 / (2 beta) below beta, |d| - beta / 2 from there on */
static inline double cvr_box_smooth(double d, double beta, double *slope) {
    const double size = fabs(d);
    *slope = size < beta ? d / beta : (d > 0) - (d < 0);
    if (d != d) *slope = d;
    return size < beta ? d * d / (2 * beta) : size - beta / 2;
}

/* The loss of one row; slope (4): d loss / d delta. */
static inline double cvr_box_row_loss(const cvr_anchor_box_loss_attrs *a, const float *delta, const float *anchor,
                                      const float *object, double *slope) {
    double box[4], by_low[4], by_high[4], by_side[4], loss = 0;
    if (a->kind == CVR_BOX_SMOOTH_L1) {
        cvr_box_encoded(a, anchor, object, box);
        for (int i = 0; i < 4; i++) loss += cvr_box_smooth(delta[i] - box[i], a->beta, &slope[i]);
        return loss;
    }
    const double to[4] = {object[0], object[1], object[2], object[3]};
    cvr_box_decoded(a, delta, anchor, box, by_low, by_high);
    loss = cvr_box_iou_loss(a->kind, box, to, by_side);
    for (int i = 0; i < 4; i++) slope[i] = by_side[i % 2] * by_low[i] + by_side[i % 2 + 2] * by_high[i];
    return loss;
}

#ifdef __cplusplus
}
#endif

CVR_STATIC_ASSERT(sizeof(cvr_box_number) == 40, "cvr_box_number has padding");
CVR_STATIC_ASSERT(sizeof(cvr_box_pair) == 336, "cvr_box_pair has padding");

#endif
