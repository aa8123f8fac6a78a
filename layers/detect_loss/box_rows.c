/* A row of anchor_box_loss: deltas against an encoded object, or a decoded box against the object. Formulas in
 * ops/detect.h and ops/detect_loss.h. */
#include "box_loss.h"

#define MOST_GROWTH 4.135166556742356 /* ln(1000 / 16): dw and dh are held below it */

typedef struct centred {
    double centre[2], side[2]; /* x, y */
} centred;

static centred centred_of(const float *box) {
    centred c;
    for (int k = 0; k < 2; k++) {
        c.side[k] = (double)box[k + 2] - box[k];
        c.centre[k] = box[k] + c.side[k] / 2;
    }
    return c;
}

/* The deltas that lead from the anchor to the object. */
static void encode(const cvr_anchor_box_loss_attrs *a, const float *anchor, const float *object, double out[4]) {
    const centred from = centred_of(anchor), to = centred_of(object);
    for (int k = 0; k < 2; k++) {
        if (a->coder == CVR_CODER_LTRB) {
            out[k] = (from.centre[k] - object[k]) / from.side[k];
            out[k + 2] = (object[k + 2] - from.centre[k]) / from.side[k];
        } else {
            out[k] = a->weights[k] * (to.centre[k] - from.centre[k]) / from.side[k];
            out[k + 2] = a->weights[k + 2] * log(to.side[k] / from.side[k]);
        }
    }
}

/* The box of the deltas. by_low (4), by_high (4): slopes of its lower and upper side along the axis of the delta. */
static void decode(const cvr_anchor_box_loss_attrs *a, const float *delta, const float *anchor, double box[4],
                   double by_low[4], double by_high[4]) {
    const centred from = centred_of(anchor);
    for (int k = 0; k < 2; k++) {
        const double side = from.side[k];
        if (a->coder == CVR_CODER_LTRB) {
            box[k] = from.centre[k] - delta[k] * side;
            box[k + 2] = from.centre[k] + delta[k + 2] * side;
            by_low[k] = -side, by_high[k] = 0;
            by_low[k + 2] = 0, by_high[k + 2] = side;
            continue;
        }
        const double growth = delta[k + 2] / a->weights[k + 2], held = growth > MOST_GROWTH ? MOST_GROWTH : growth;
        const double half = exp(held) * side / 2, centre = delta[k] / a->weights[k] * side + from.centre[k];
        box[k] = centre - half;
        box[k + 2] = centre + half;
        by_low[k] = by_high[k] = side / a->weights[k];
        by_high[k + 2] = growth > MOST_GROWTH ? 0 : half / a->weights[k + 2];
        by_low[k + 2] = -by_high[k + 2];
    }
}

/* d^2 / (2 beta) below beta, |d| - beta / 2 from there on */
static double smooth(double d, double beta, double *slope) {
    const double size = fabs(d);
    *slope = size < beta ? d / beta : (d > 0) - (d < 0);
    if (d != d) *slope = d;
    return size < beta ? d * d / (2 * beta) : size - beta / 2;
}

double detect_box_row(const cvr_anchor_box_loss_attrs *a, const float *delta, const float *anchor, const float *object,
                      double slope[4]) {
    double box[4], by_low[4], by_high[4], by_side[4], loss = 0;
    if (a->kind == CVR_BOX_SMOOTH_L1) {
        encode(a, anchor, object, box);
        for (int i = 0; i < 4; i++) loss += smooth(delta[i] - box[i], a->beta, &slope[i]);
        return loss;
    }
    const double to[4] = {object[0], object[1], object[2], object[3]};
    decode(a, delta, anchor, box, by_low, by_high);
    loss = detect_iou_loss(a->kind, box, to, by_side);
    for (int i = 0; i < 4; i++) slope[i] = by_side[i % 2] * by_low[i] + by_side[i % 2 + 2] * by_high[i];
    return loss;
}
