/*
 * SimOTA (Ge, Liu, Wang, Li, Sun: "YOLOX: Exceeding YOLO Series in 2021", 2021) of one picture, for every backend:
 * which cell learns which object, by what that would cost now. Formulas in ops/detect.h. All decisions are taken in
 * double, so that no two backends differ. There are about 27 candidates an object, so that no matrix of costs is kept:
 * a row of it is made for each object, and once more what the few rows cost that several objects took.
 */
#ifndef CVR_PLUGIN_OPS_SIM_OTA_MATH_H
#define CVR_PLUGIN_OPS_SIM_OTA_MATH_H

#include <cvr/plugin/kernel.h>
#include <cvr/plugin/ops/box_loss_math.h>
#include <cvr/plugin/ops/detect.h>
#include <cvr/plugin/ops/detect_loss_math.h>

#ifdef __cplusplus
extern "C" {
#endif

#define CVR_SIM_OTA_ELSEWHERE 1e6 /* cost of a cell that may not belong to the object */
#define CVR_SIM_OTA_IOU_EPS 1e-8
#define CVR_SIM_OTA_LEAST_LOG (-100.0)

/* Of a candidate. */
typedef struct cvr_sim_ota_row {
    double box[4];
    double others; /* sum over classes of -ln(1 - p) */
    double cost;   /* for the object at hand */
    double iou;    /* with it */
    int32_t row;   /* of the picture */
    int32_t taken; /* by so many objects */
} cvr_sim_ota_row;

/* One picture. */
typedef struct cvr_sim_ota_picture {
    const cvr_sim_ota_attrs *attrs;
    const float *classes, *objectness, *deltas, *anchors, *boxes; /* (A,K), (A), (A,4), (A,4), (M,4) */
    const int64_t *labels;                                        /* (M) */
    int64_t rows, n_classes, objects;                             /* A, K, how many of M there are */
    cvr_sim_ota_row *candidates;                                  /* room for A */
    int64_t n_candidates;
    int32_t *match; /* (A), out */
    float *iou;     /* (A), out */
} cvr_sim_ota_picture;

/* Whether the cell at the anchor's lower right corner may belong to the object. */
static inline int cvr_sim_ota_may(const cvr_sim_ota_attrs *a, const float *anchor, const float *object) {
    for (int k = 0; k < 2; k++) {
        const double reach = a->radius * ((double)anchor[k + 2] - anchor[k]);
        const double centre = ((double)object[k] + object[k + 2]) / 2;
        if (!(fabs((double)anchor[k + 2] - centre) < reach)) return 0;
    }
    return 1;
}

/* ---- costs ---- */

/* ln(sigmoid(x)) */
static inline double cvr_sim_ota_log_sigmoid(double x) {
    return (x < 0 ? x : 0) - log1p(exp(-fabs(x)));
}

static inline double cvr_sim_ota_held_log(double log_) {
    return log_ > CVR_SIM_OTA_LEAST_LOG ? log_ : CVR_SIM_OTA_LEAST_LOG;
}

/* ln(p) of class k of a row, not yet held. */
static inline double cvr_sim_ota_log_p(const cvr_sim_ota_picture *p, int64_t row, int64_t k) {
    return (cvr_sim_ota_log_sigmoid(p->classes[row * p->n_classes + k]) + cvr_sim_ota_log_sigmoid(p->objectness[row])) /
           2;
}

/* ln(1 - p) of the same */
static inline double cvr_sim_ota_log_rest(double log_p) {
    return cvr_sim_ota_held_log(log(-expm1(log_p)));
}

/* Intersection / union; 0 where there is none. */
static inline double cvr_sim_ota_iou(const double *box, const float *object) {
    double both = 1, area = 1, other = 1;
    for (int k = 0; k < 2; k++) {
        const double low = box[k] > object[k] ? box[k] : object[k];
        const double high = box[k + 2] < object[k + 2] ? box[k + 2] : object[k + 2];
        both *= high > low ? high - low : 0;
        area *= box[k + 2] - box[k];
        other *= (double)object[k + 2] - object[k];
    }
    const double share = both / (area + other - both);
    return share > 0 ? share : 0; /* so that NaN is 0 */
}

/* Cost and IoU of a candidate for an object. */
static inline void cvr_sim_ota_price(const cvr_sim_ota_picture *p, int64_t object, cvr_sim_ota_row *c) {
    const float *const box = p->boxes + 4 * object;
    const double log_p = cvr_sim_ota_log_p(p, c->row, p->labels[object]);
    c->iou = cvr_sim_ota_iou(c->box, box);
    c->cost = c->others + cvr_sim_ota_log_rest(log_p) - cvr_sim_ota_held_log(log_p) -
              p->attrs->iou_weight * log(c->iou + CVR_SIM_OTA_IOU_EPS);
    if (!cvr_sim_ota_may(p->attrs, p->anchors + 4 * (int64_t)c->row, box)) c->cost += CVR_SIM_OTA_ELSEWHERE;
}

/* ---- the picture ---- */

static inline void cvr_sim_ota_add(cvr_sim_ota_picture *p, int64_t row) {
    cvr_anchor_box_loss_attrs coder;
    double low[4], high[4];
    cvr_sim_ota_row *const c = &p->candidates[p->n_candidates++];
    memset(&coder, 0, sizeof coder);
    coder.coder = p->attrs->coder;
    memcpy(coder.weights, p->attrs->weights, sizeof coder.weights);
    cvr_box_decoded(&coder, p->deltas + 4 * row, p->anchors + 4 * row, c->box, low, high);
    c->others = 0;
    for (int64_t k = 0; k < p->n_classes; k++) c->others -= cvr_sim_ota_log_rest(cvr_sim_ota_log_p(p, row, k));
    c->row = (int32_t)row;
    c->taken = 0;
}

static inline void cvr_sim_ota_list(cvr_sim_ota_picture *p) {
    p->n_candidates = 0;
    for (int64_t row = 0; row < p->rows; row++) {
        int64_t o = 0;
        p->match[row] = CVR_MATCH_BACKGROUND;
        p->iou[row] = 0;
        while (o < p->objects && !cvr_sim_ota_may(p->attrs, p->anchors + 4 * row, p->boxes + 4 * o)) o++;
        if (o < p->objects) cvr_sim_ota_add(p, row);
    }
}

/* Puts x into the `n` largest numbers so far, in falling order, of which there is room for `most`. */
static inline int64_t cvr_sim_ota_keep(double *largest, int64_t n, int64_t most, double x) {
    int64_t at = n < most ? n : most - 1;
    if (n == most && !(x > largest[at])) return n;
    for (; at > 0 && x > largest[at - 1]; at--) largest[at] = largest[at - 1];
    largest[at] = x;
    return n < most ? n + 1 : n;
}

/* How many candidates the object at hand takes. */
static inline int64_t cvr_sim_ota_count(const cvr_sim_ota_picture *p) {
    double largest[CVR_SIM_OTA_MOST], sum = 0;
    int64_t n = 0;
    for (int64_t i = 0; i < p->n_candidates; i++)
        n = cvr_sim_ota_keep(largest, n, p->attrs->candidates, p->candidates[i].iou);
    for (int64_t i = 0; i < n; i++) sum += largest[i];
    return sum < 1 ? 1 : (int64_t)sum;
}

/* The object takes its cheapest candidates; a cost that is NaN is never cheap. */
static inline void cvr_sim_ota_take(cvr_sim_ota_picture *p, int64_t object) {
    int64_t chosen[CVR_SIM_OTA_MOST], n = 0;
    for (int64_t i = 0; i < p->n_candidates; i++) cvr_sim_ota_price(p, object, &p->candidates[i]);
    for (const int64_t count = cvr_sim_ota_count(p); n < count; n++) {
        int64_t best = -1;
        for (int64_t i = 0; i < p->n_candidates; i++) {
            int64_t k = 0;
            if (!(p->candidates[i].cost < INFINITY)) continue;
            if (best >= 0 && !(p->candidates[i].cost < p->candidates[best].cost)) continue;
            while (k < n && chosen[k] != i) k++;
            if (k == n) best = i;
        }
        if (best < 0) return;
        chosen[n] = best;
        p->candidates[best].taken++;
        p->match[p->candidates[best].row] = (int32_t)object;
        p->iou[p->candidates[best].row] = (float)p->candidates[best].iou;
    }
}

/* A row that several objects took is that one's which it costs least, whether that one took it or not. */
static inline void cvr_sim_ota_settle(const cvr_sim_ota_picture *p, cvr_sim_ota_row *c) {
    double least = INFINITY;
    for (int64_t o = 0; o < p->objects; o++) {
        cvr_sim_ota_price(p, o, c);
        if (!(c->cost < least)) continue;
        least = c->cost;
        p->match[c->row] = (int32_t)o;
        p->iou[c->row] = (float)c->iou;
    }
}

static inline void cvr_sim_ota(cvr_sim_ota_picture *p) {
    cvr_sim_ota_list(p);
    for (int64_t o = 0; o < p->objects; o++) cvr_sim_ota_take(p, o);
    for (int64_t i = 0; i < p->n_candidates; i++)
        if (p->candidates[i].taken > 1) cvr_sim_ota_settle(p, &p->candidates[i]);
}

/* ---- a batch ---- */

/* classes, objectness, deltas, anchors, boxes, labels, counts -> match, iou. `workspace` has room for A candidates. */
static inline void cvr_sim_ota_open(const cvr_kernel_args *a, int64_t n, void *workspace, cvr_sim_ota_picture *p) {
    const cvr_tensor *const classes = a->inputs[0], *const anchors = a->inputs[3];
    const int64_t rows = classes->shape[1], most = a->inputs[4]->shape[1];
    p->attrs = (const cvr_sim_ota_attrs *)a->attrs;
    p->rows = rows;
    p->n_classes = classes->shape[2];
    p->classes = (const float *)classes->data + n * rows * p->n_classes;
    p->objectness = (const float *)a->inputs[1]->data + n * rows;
    p->deltas = (const float *)a->inputs[2]->data + n * rows * 4;
    p->anchors = (const float *)anchors->data + (anchors->rank == 3 ? n * rows * 4 : 0);
    p->boxes = (const float *)a->inputs[4]->data + n * most * 4;
    p->labels = (const int64_t *)a->inputs[5]->data + n * most;
    p->objects = ((const int64_t *)a->inputs[6]->data)[n];
    p->candidates = (cvr_sim_ota_row *)workspace;
    p->n_candidates = 0;
    p->match = (int32_t *)a->outputs[0]->data + n * rows;
    p->iou = (float *)a->outputs[1]->data + n * rows;
}

/* Refuses counts and classes that cannot be. */
static inline int32_t cvr_sim_ota_check(const cvr_kernel_args *a, cvr_error *err) {
    return cvr_detect_check_objects("sim_ota", a->inputs[4], a->inputs[5], a->inputs[6], a->inputs[0]->shape[2], err);
}

static inline uint64_t cvr_sim_ota_bytes(int64_t rows) {
    return (uint64_t)rows * sizeof(cvr_sim_ota_row);
}

#ifdef __cplusplus
}
#endif

CVR_STATIC_ASSERT(sizeof(cvr_sim_ota_row) == 64, "cvr_sim_ota_row has padding");
CVR_STATIC_ASSERT(sizeof(cvr_sim_ota_picture) == 112, "cvr_sim_ota_picture has padding");

#endif
