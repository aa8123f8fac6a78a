/*
 * Losses of overlap: GIoU (Rezatofighi et al., 2019), DIoU and CIoU (Zheng et al., 2020), as torchvision.ops takes
 * them. Each number comes with its slope along x1, y1, x2, y2 of the box.
 */
#include "box_loss.h"

#define EPS 1e-7

typedef struct number {
    double at, by[4];
} number;

static number constant(double x) {
    return (number){.at = x};
}

/* a * x + b * y */
static number mixed(double a, const number *x, double b, const number *y) {
    number z = {.at = a * x->at + b * y->at};
    for (int i = 0; i < 4; i++) z.by[i] = a * x->by[i] + b * y->by[i];
    return z;
}

static number product(const number *x, const number *y) {
    number z = {.at = x->at * y->at};
    for (int i = 0; i < 4; i++) z.by[i] = x->by[i] * y->at + x->at * y->by[i];
    return z;
}

static number quotient(const number *x, const number *y) {
    number z = {.at = x->at / y->at};
    for (int i = 0; i < 4; i++) z.by[i] = (x->by[i] - z.at * y->by[i]) / y->at;
    return z;
}

/* The larger (sign 1) or the smaller (-1) of side i of the box and a number; where they are equal, half of each. */
static number extreme(double sign, const double *box, int i, double other) {
    number z = {.at = sign * box[i] > sign * other ? box[i] : other};
    z.by[i] = box[i] == other ? 0.5 : z.at == other ? 0 : 1;
    return z;
}

/* What a box and its object have in common, and what holds both; [0] along x, [1] along y. */
typedef struct pair {
    number side[2], inner[2], outer[2], from_centre[2];
    double object_side[2];
} pair;

static pair pair_of(const double box[4], const double object[4]) {
    pair p;
    for (int k = 0; k < 2; k++) {
        const number low = extreme(1, box, k, object[k]), high = extreme(-1, box, k + 2, object[k + 2]);
        const number first = extreme(-1, box, k, object[k]), last = extreme(1, box, k + 2, object[k + 2]);
        p.inner[k] = mixed(1, &high, -1, &low);
        p.outer[k] = mixed(1, &last, -1, &first);
        p.side[k] = constant(box[k + 2] - box[k]);
        p.side[k].by[k] = -1;
        p.side[k].by[k + 2] = 1;
        p.from_centre[k] = constant((box[k] + box[k + 2] - object[k] - object[k + 2]) / 2);
        p.from_centre[k].by[k] = p.from_centre[k].by[k + 2] = 0.5;
        p.object_side[k] = object[k + 2] - object[k];
    }
    return p;
}

/* x / (y + eps) */
static number share(const number *x, const number *y) {
    number whole = *y;
    whole.at += EPS;
    return quotient(x, &whole);
}

static number squared_length(const number v[2]) {
    const number x = product(&v[0], &v[0]), y = product(&v[1], &v[1]);
    return mixed(1, &x, 1, &y);
}

/* alpha * v, v = 4 / pi^2 * (atan(w_object / h_object) - atan(w / h))^2. alpha has no slope. */
static number aspect(const pair *p, const number *iou) {
    const double w = p->side[0].at, h = p->side[1].at, square = w * w + h * h, unit = 4 / (M_PI * M_PI);
    const double off = atan(p->object_side[0] / p->object_side[1]) - atan(w / h), v = unit * off * off;
    const double alpha = v / (1 - iou->at + v + EPS);
    number z = constant(alpha * v);
    for (int i = 0; i < 4; i++)
        z.by[i] = alpha * unit * 2 * off * (p->side[1].by[i] * w - p->side[0].by[i] * h) / square;
    return z;
}

double detect_iou_loss(int64_t kind, const double box[4], const double object[4], double slope[4]) {
    const pair p = pair_of(box, object);
    const int meet = p.inner[0].at > 0 && p.inner[1].at > 0;
    const number both = meet ? product(&p.inner[0], &p.inner[1]) : constant(0);
    const number area = product(&p.side[0], &p.side[1]), hull = product(&p.outer[0], &p.outer[1]);
    number all = mixed(1, &area, -1, &both), loss;
    all.at += p.object_side[0] * p.object_side[1];
    const number iou = share(&both, &all);
    if (kind == CVR_BOX_GIOU) {
        const number empty = mixed(1, &hull, -1, &all), waste = share(&empty, &hull);
        loss = mixed(-1, &iou, 1, &waste);
    } else {
        const number distance = squared_length(p.from_centre), diagonal = squared_length(p.outer);
        const number apart = share(&distance, &diagonal);
        loss = mixed(-1, &iou, 1, &apart);
    }
    if (kind == CVR_BOX_CIOU) {
        const number shape = aspect(&p, &iou);
        loss = mixed(1, &loss, 1, &shape);
    }
    memcpy(slope, loss.by, sizeof loss.by);
    return 1 + loss.at;
}
