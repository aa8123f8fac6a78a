/*
 * What Darknet's [yolo] and [region] layers do with a row or a picture (ops/yolo.h), for every backend: in f32 as
 * Darknet has it, losses in double. Pictures are apart from each other, so that they may be tasks.
 */
#ifndef CVR_PLUGIN_OPS_YOLO_MATH_H
#define CVR_PLUGIN_OPS_YOLO_MATH_H

#include <cvr/plugin/ops/box_loss_math.h>
#include <cvr/plugin/ops/detect_loss_math.h>
#include <cvr/plugin/ops/detect_math.h>
#include <cvr/plugin/ops/yolo.h>

#ifdef __cplusplus
extern "C" {
#endif

/* A map: x (N, each * columns, cells[0], cells[1]), in memory a row after the other. */
typedef struct cvr_yolo_map {
    const float *x;
    int64_t cells[2]; /* h, w */
    int64_t each, columns, rows;
    int64_t new_coords;
    float scale_x_y;
    float size[2]; /* H, W of the picture */
    float reserved;
} cvr_yolo_map;

static inline cvr_yolo_map cvr_yolo_map_of(const cvr_tensor *x, const int64_t *size, int64_t each, double scale_x_y,
                                           int64_t new_coords) {
    cvr_yolo_map m;
    m.x = (const float *)x->data;
    m.cells[0] = x->shape[2];
    m.cells[1] = x->shape[3];
    m.each = each;
    m.columns = x->shape[1] / each;
    m.rows = m.cells[0] * m.cells[1] * each;
    m.new_coords = new_coords;
    m.scale_x_y = (float)scale_x_y;
    m.size[0] = (float)size[0];
    m.size[1] = (float)size[1];
    m.reserved = 0;
    return m;
}

static inline float cvr_yolo_sigmoid(float x) {
    return 1.0f / (1.0f + expf(-x));
}

/* The box of a row's numbers t, corners in pixels; anchor: its width and height. */
static inline void cvr_yolo_box(const cvr_yolo_map *m, int64_t row, const float *t, const double *anchor, float *box) {
    const int64_t cell = row / m->each;
    for (int k = 0; k < 2; k++) { /* x, y */
        const int64_t cells = m->cells[1 - k], at = k == 0 ? cell % cells : cell / m->cells[1];
        const float inside = m->new_coords ? t[k] : cvr_yolo_sigmoid(t[k]);
        const float centre = ((float)at + inside * m->scale_x_y - 0.5f * (m->scale_x_y - 1.0f)) / (float)cells;
        const float growth = m->new_coords ? t[k + 2] * t[k + 2] * 4.0f : expf(t[k + 2]);
        const float half = 0.5f * growth * (float)anchor[k];
        box[k] = centre * m->size[1 - k] - half;
        box[k + 2] = centre * m->size[1 - k] + half;
    }
}

/* scores (K) of a row */
static inline void cvr_yolo_scores(const cvr_yolo_map *m, const float *t, int64_t softmax, float *score) {
    const int64_t classes = m->columns - 5;
    const float objectness = m->new_coords ? t[4] : cvr_yolo_sigmoid(t[4]);
    float largest = t[5], sum = 0;
    if (!softmax) {
        for (int64_t k = 0; k < classes; k++)
            score[k] = objectness * (m->new_coords ? t[5 + k] : cvr_yolo_sigmoid(t[5 + k]));
        return;
    }
    for (int64_t k = 1; k < classes; k++) largest = t[5 + k] > largest ? t[5 + k] : largest;
    for (int64_t k = 0; k < classes; k++) sum += score[k] = expf(t[5 + k] - largest);
    for (int64_t k = 0; k < classes; k++) score[k] = objectness * (score[k] / sum);
}

/* ---- which rows an object has ---- */

/* The objects of a picture, as `boxes` has them. */
typedef struct cvr_yolo_objects {
    const float *boxes;    /* (count, 4) */
    const int64_t *labels; /* (count) */
    int64_t count;
} cvr_yolo_objects;

/* IoU of a width and height with an anchor's, one on the other. Seats are found in f32, as Darknet does, so that a
 * device which has no more finds the same ones. */
static inline float cvr_yolo_shape_iou(const float *side, const double *anchor) {
    const float w = (float)anchor[0], h = (float)anchor[1];
    const float both = (side[0] < w ? side[0] : w) * (side[1] < h ? side[1] : h);
    return both / (side[0] * side[1] + w * h - both);
}

/* Of an object: the anchor of the network that fits best, the first of equal ones, and its cell. -1: it counts for
 * nothing. */
typedef struct cvr_yolo_seat {
    int64_t anchor, cell;
    float side[2]; /* pixels */
} cvr_yolo_seat;

static inline cvr_yolo_seat cvr_yolo_seat_of(const cvr_yolo_loss_attrs *a, const cvr_yolo_map *m, const float *box) {
    cvr_yolo_seat s = {-1, -1, {0, 0}};
    float best = -1;
    int64_t at[2];
    for (int k = 0; k < 2; k++) {
        const float whole = m->size[1 - k], centre = 0.5f * (box[k] + box[k + 2]) / whole;
        s.side[k] = box[k + 2] - box[k];
        if (!(s.side[k] >= 0.001f * whole && centre >= 0 && centre < 1)) return s;
        at[k] = (int64_t)(centre * (float)m->cells[1 - k]);
        if (at[k] >= m->cells[1 - k]) at[k] = m->cells[1 - k] - 1; /* where the product was rounded up */
    }
    for (int64_t i = 0; i < a->n_anchors / 2; i++) {
        const float iou = cvr_yolo_shape_iou(s.side, &a->anchors[2 * i]);
        if (!(iou > best)) continue;
        best = iou;
        s.anchor = i;
    }
    s.cell = at[1] * m->cells[1] + at[0];
    return s;
}

/* The object's row with this layer's anchor i, or -1. */
static inline int64_t cvr_yolo_row_of(const cvr_yolo_loss_attrs *a, const cvr_yolo_map *m, const cvr_yolo_seat *s,
                                      int64_t i) {
    const int64_t anchor = a->mask[i];
    if (s->anchor < 0) return -1;
    if (anchor == s->anchor ||
        (a->iou_thresh < 1 && cvr_yolo_shape_iou(s->side, &a->anchors[2 * anchor]) > (float)a->iou_thresh))
        return s->cell * m->each + i;
    return -1;
}

/* match (rows): background, or between where the row's box lies on an object; x: of this picture. */
static inline void cvr_yolo_match(const cvr_yolo_loss_attrs *a, const cvr_yolo_map *m, const float *x,
                                  const cvr_yolo_objects *o, int32_t *match) {
    const float threshold = (float)a->ignore_thresh;
    for (int64_t row = 0; row < m->rows; row++) {
        float box[4];
        cvr_yolo_box(m, row, x + row * m->columns, &a->anchors[2 * a->mask[row % m->each]], box);
        const float area = cvr_box_area(box);
        match[row] = CVR_MATCH_BACKGROUND;
        for (int64_t j = 0; j < o->count && match[row] == CVR_MATCH_BACKGROUND; j++)
            if (cvr_box_iou(box, area, o->boxes + 4 * j, cvr_box_area(o->boxes + 4 * j)) > threshold)
                match[row] = CVR_MATCH_BETWEEN;
    }
    for (int64_t j = 0; j < o->count; j++) {
        const cvr_yolo_seat s = cvr_yolo_seat_of(a, m, o->boxes + 4 * j);
        for (int64_t i = 0; i < m->each; i++) {
            const int64_t row = cvr_yolo_row_of(a, m, &s, i);
            if (row >= 0) match[row] = (int32_t)j;
        }
    }
}

/* ---- losses ---- */

/* A number against its target: BCE with logits, or half the square of the distance. Its slope, too. */
static inline double cvr_yolo_error(const cvr_yolo_map *m, double t, double target, double *slope) {
    *slope = m->new_coords ? t - target : cvr_detect_sigmoid(t) - target;
    return m->new_coords ? 0.5 * (t - target) * (t - target) : cvr_detect_bce(t, target);
}

static inline double cvr_yolo_class_target(const cvr_yolo_loss_attrs *a, int is) {
    return (double)is * (1 - a->label_smooth) + 0.5 * a->label_smooth;
}

static inline double cvr_yolo_squares(const cvr_yolo_map *m, int64_t cell, const float *t, const double *anchor,
                                      const float *object, double *slope) {
    const double z = m->scale_x_y;
    double loss = 0, share = 1;
    for (int k = 0; k < 2; k++) {
        const int64_t cells = m->cells[1 - k], at = k == 0 ? cell % cells : cell / m->cells[1];
        const double side = (double)object[k + 2] - object[k], whole = m->size[1 - k];
        const double inside = ((double)object[k] + object[k + 2]) / 2 / whole * (double)cells - (double)at;
        const double off = (double)t[k + 2] - (m->new_coords ? sqrt(side / (4 * anchor[k])) : log(side / anchor[k]));
        loss += z * cvr_yolo_error(m, t[k], (inside + 0.5 * (z - 1)) / z, &slope[k]) + 0.5 * off * off;
        slope[k] *= z;
        slope[k + 2] = off;
        share *= side / whole;
    }
    for (int k = 0; k < 4; k++) slope[k] *= 2 - share;
    return loss * (2 - share);
}

static inline double cvr_yolo_overlap(const cvr_yolo_map *m, int64_t kind, const float *t, const float *box,
                                      const float *object, double *slope) {
    static const int64_t kinds[4] = {CVR_BOX_GIOU, CVR_BOX_GIOU, CVR_BOX_DIOU, CVR_BOX_CIOU};
    double at[4], to[4], by[4];
    for (int k = 0; k < 4; k++) {
        at[k] = (double)box[k] / m->size[1 - k % 2];
        to[k] = (double)object[k] / m->size[1 - k % 2];
    }
    const double loss = cvr_box_iou_loss(kinds[kind], at, to, by);
    for (int k = 0; k < 2; k++) {
        slope[k] = by[k] + by[k + 2];
        slope[k + 2] = 0.5 * (by[k + 2] - by[k]) * (m->new_coords ? 1 : exp((double)t[k + 2]));
    }
    return loss;
}

/* The box's part of a row with an object; slope (4). */
static inline double cvr_yolo_box_loss(const cvr_yolo_loss_attrs *a, const cvr_yolo_map *m, int64_t row, const float *t,
                                       const float *object, double *slope) {
    const double *anchor = &a->anchors[2 * a->mask[row % m->each]];
    float box[4];
    double loss;
    if (a->box == CVR_YOLO_BOX_SQUARES) {
        loss = cvr_yolo_squares(m, row / m->each, t, anchor, object, slope);
    } else {
        cvr_yolo_box(m, row, t, anchor, box);
        loss = cvr_yolo_overlap(m, a->box, t, box, object, slope);
    }
    for (int k = 0; k < 4; k++) {
        slope[k] *= a->box_weight;
        if (slope[k] != slope[k]) slope[k] = 0; /* a box without area, as Darknet has it */
        slope[k] = slope[k] > a->max_delta ? a->max_delta : slope[k] < -a->max_delta ? -a->max_delta : slope[k];
    }
    return loss * a->box_weight;
}

/* Whether the row of object j, whose last object is another one, has j's class from that or from one before j. */
static inline int cvr_yolo_class_known(const cvr_yolo_loss_attrs *a, const cvr_yolo_map *m, const cvr_yolo_objects *o,
                                       int64_t row, int64_t last, int64_t j) {
    if (o->labels[last] == o->labels[j]) return 1;
    for (int64_t i = 0; i < j; i++) {
        if (o->labels[i] != o->labels[j]) continue;
        const cvr_yolo_seat s = cvr_yolo_seat_of(a, m, o->boxes + 4 * i);
        if (cvr_yolo_row_of(a, m, &s, row % m->each) == row) return 1;
    }
    return 0;
}

/* What a class more than the last object's changes in the loss of the classes. */
static inline double cvr_yolo_more_classes(const cvr_yolo_loss_attrs *a, const cvr_yolo_map *m, const float *x,
                                           const cvr_yolo_objects *o, const int32_t *match) {
    double sum = 0, slope;
    for (int64_t j = 0; j < o->count; j++) {
        const cvr_yolo_seat s = cvr_yolo_seat_of(a, m, o->boxes + 4 * j);
        for (int64_t i = 0; i < m->each; i++) {
            const int64_t row = cvr_yolo_row_of(a, m, &s, i);
            if (row < 0 || match[row] == (int32_t)j || match[row] < 0) continue;
            if (cvr_yolo_class_known(a, m, o, row, match[row], j)) continue;
            const double t = x[row * m->columns + 5 + o->labels[j]];
            sum += cvr_yolo_error(m, t, cvr_yolo_class_target(a, 1), &slope) -
                   cvr_yolo_error(m, t, cvr_yolo_class_target(a, 0), &slope);
        }
    }
    return sum;
}

/* The three losses of a picture: box, objectness, class. */
static inline void cvr_yolo_losses(const cvr_yolo_loss_attrs *a, const cvr_yolo_map *m, const float *x,
                                   const cvr_yolo_objects *o, const int32_t *match, double *loss) {
    double slope[4];
    loss[0] = loss[1] = 0;
    loss[2] = cvr_yolo_more_classes(a, m, x, o, match);
    for (int64_t row = 0; row < m->rows; row++) {
        const float *t = x + row * m->columns;
        if (match[row] == CVR_MATCH_BETWEEN) continue;
        loss[1] += cvr_yolo_error(m, t[4], match[row] >= 0, slope);
        if (match[row] < 0) continue;
        loss[0] += cvr_yolo_box_loss(a, m, row, t, o->boxes + 4 * match[row], slope);
        for (int64_t k = 0; k < m->columns - 5; k++)
            loss[2] += cvr_yolo_error(m, t[5 + k], cvr_yolo_class_target(a, k == o->labels[match[row]]), slope);
    }
    loss[1] *= a->objectness_weight;
    loss[2] *= a->class_weight;
}

/* Their gradient, each times its factor; dx: of this picture. */
static inline void cvr_yolo_gradient(const cvr_yolo_loss_attrs *a, const cvr_yolo_map *m, const float *x,
                                     const cvr_yolo_objects *o, const int32_t *match, const double *factor, float *dx) {
    double slope[4];
    const double by_class = a->class_weight * factor[2];
    memset(dx, 0, (size_t)(m->rows * m->columns) * sizeof *dx);
    for (int64_t row = 0; row < m->rows; row++) {
        const float *t = x + row * m->columns;
        float *d = dx + row * m->columns;
        if (match[row] == CVR_MATCH_BETWEEN) continue;
        (void)cvr_yolo_error(m, t[4], match[row] >= 0, slope);
        d[4] = (float)(a->objectness_weight * factor[1] * slope[0]);
        if (match[row] < 0) continue;
        (void)cvr_yolo_box_loss(a, m, row, t, o->boxes + 4 * match[row], slope);
        for (int k = 0; k < 4; k++) d[k] = (float)(factor[0] * slope[k]);
        for (int64_t k = 0; k < m->columns - 5; k++) {
            (void)cvr_yolo_error(m, t[5 + k], cvr_yolo_class_target(a, k == o->labels[match[row]]), slope);
            d[5 + k] = (float)(by_class * slope[0]);
        }
    }
    for (int64_t j = 0; j < o->count; j++) {
        const cvr_yolo_seat s = cvr_yolo_seat_of(a, m, o->boxes + 4 * j);
        for (int64_t i = 0; i < m->each; i++) {
            const int64_t row = cvr_yolo_row_of(a, m, &s, i);
            if (row < 0 || match[row] < 0) continue;
            const int64_t at = row * m->columns + 5 + o->labels[j];
            (void)cvr_yolo_error(m, x[at], cvr_yolo_class_target(a, 1), slope);
            dx[at] = (float)(by_class * slope[0]);
        }
    }
}

/* ---- what the kernels of yolo_loss and its gradient begin with: x, boxes, labels, counts ---- */

static inline cvr_yolo_map cvr_yolo_loss_map(const cvr_kernel_args *a) {
    const cvr_yolo_loss_attrs *attrs = (const cvr_yolo_loss_attrs *)a->attrs;
    return cvr_yolo_map_of(a->inputs[0], attrs->size, attrs->n_mask, attrs->scale_x_y, attrs->new_coords);
}

static inline int32_t cvr_yolo_check(const char *op, const cvr_kernel_args *a, const cvr_yolo_map *m, cvr_error *err) {
    return cvr_detect_check_objects(op, a->inputs[1], a->inputs[2], a->inputs[3], m->columns - 5, err);
}

static inline cvr_yolo_objects cvr_yolo_objects_of(const cvr_kernel_args *a, int64_t n) {
    const int64_t most = a->inputs[1]->shape[1];
    cvr_yolo_objects o;
    o.boxes = (const float *)a->inputs[1]->data + n * most * 4;
    o.labels = (const int64_t *)a->inputs[2]->data + n * most;
    o.count = ((const int64_t *)a->inputs[3]->data)[n];
    return o;
}

#ifdef __cplusplus
}
#endif

CVR_STATIC_ASSERT(sizeof(cvr_yolo_map) == 72, "cvr_yolo_map has padding");
CVR_STATIC_ASSERT(sizeof(cvr_yolo_objects) == 24, "cvr_yolo_objects has padding");
CVR_STATIC_ASSERT(sizeof(cvr_yolo_seat) == 24, "cvr_yolo_seat has padding");

#endif
