/* Each curve is made in one pass over the detections of its class. */
#include "detect_curves.h"
#include "coco_parts.h"
#include <math.h>

enum { PR, F1, PRECISION, RECALL, KINDS };

static const struct {
    const char *name, *x, *y;
    uint32_t points;
} kinds[KINDS] = {
    {"pr", "recall", "precision", COCO_RECALLS},
    {"f1", "confidence", "f1", CURVE_CONFIDENCES},
    {"precision", "confidence", "precision", CURVE_CONFIDENCES},
    {"recall", "confidence", "recall", CURVE_CONFIDENCES},
};
#define POINTS (COCO_RECALLS + 3 * CURVE_CONFIDENCES) /* of a class's four curves */

struct detect_curves {
    const cvr_host *host;
    int64_t n_classes;
    double recalls[COCO_RECALLS], confidences[CURVE_CONFIDENCES];
    double *y;              /* (K + 1, POINTS): class by class, that of all last */
    cvr_curve *curves;      /* (K + 1, KINDS) */
    const cvr_curve **list; /* those that there are */
    detect_best *best;      /* (K) */
    uint32_t n;
    uint32_t at; /* which confidence is the best */
};

static double *points_of(const detect_curves *c, int64_t row, int kind) {
    double *const y = c->y + (uint64_t)row * POINTS;
    return kind == PR ? y : y + COCO_RECALLS + (uint32_t)(kind - 1) * CURVE_CONFIDENCES;
}

int32_t curves_open(detect_curves **out, const cvr_host *host, int64_t n_classes, cvr_error *err) {
    const uint64_t rows = (uint64_t)n_classes + 1;
    detect_curves *const c = host->alloc(host, sizeof *c, 16);
    if (!c) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    *c = (detect_curves){.host = host, .n_classes = n_classes};
    for (uint32_t i = 0; i < COCO_RECALLS; i++) c->recalls[i] = (double)i / (COCO_RECALLS - 1);
    for (uint32_t i = 0; i < CURVE_CONFIDENCES; i++) c->confidences[i] = (double)i / (CURVE_CONFIDENCES - 1);
    c->y = host->alloc(host, rows * POINTS * sizeof *c->y, 64);
    c->curves = host->alloc(host, rows * KINDS * sizeof *c->curves, 16);
    c->list = host->alloc(host, rows * KINDS * sizeof *c->list, 16);
    c->best = host->alloc(host, rows * sizeof *c->best, 16);
    if (!c->y || !c->curves || !c->list || !c->best) {
        curves_close(c);
        return cvr_fail(err, CVR_ERR_NOMEM, "out of memory for the curves of %lld classes", (long long)n_classes);
    }
    *out = c;
    return CVR_OK;
}

void curves_close(detect_curves *c) {
    if (!c) return;
    void *const all[] = {c->y, c->curves, c->list, c->best};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        if (all[i]) c->host->free(c->host, all[i]);
    }
    c->host->free(c->host, c);
}

/* ---- one class ---- */

static int32_t has_objects(const coco_ap *ap, int64_t k) {
    return ap->counted[k * COCO_AREAS] > 0;
}

/* The entries of a class, which coco_count has sorted by falling score. */
static uint64_t first_of(const coco_ap *ap, int64_t k) {
    const coco_entry *const e = ap->entries.data;
    uint64_t low = 0, high = ap->entries.n;
    while (low < high) {
        const uint64_t middle = low + (high - low) / 2;
        if (e[middle].klass < k)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* From the highest confidence down. Above the highest score nothing is said, and nothing of it is wrong; a class of
 * which nothing is said at any confidence has a precision of 0. */
static void over_confidence(const detect_curves *c, const coco_ap *ap, int64_t k) {
    const coco_entry *const e = ap->entries.data;
    const double objects = (double)ap->counted[k * COCO_AREAS];
    double right = 0, wrong = 0;
    uint64_t i = first_of(ap, k);
    const double silent = i < ap->entries.n && e[i].klass == k ? 1 : 0;
    for (uint32_t at = CURVE_CONFIDENCES; at-- > 0;) {
        for (; i < ap->entries.n && e[i].klass == k && e[i].score >= c->confidences[at]; i++) {
            right += (e[i].matched & ~e[i].ignored & 1) != 0;
            wrong += (~e[i].matched & ~e[i].ignored & 1) != 0;
        }
        const double precision = right + wrong > 0 ? right / (right + wrong) : silent, recall = right / objects;
        points_of(c, k, PRECISION)[at] = precision;
        points_of(c, k, RECALL)[at] = recall;
        points_of(c, k, F1)[at] = recall > 0 ? 2 * precision * recall / (precision + recall) : 0;
    }
}

static void over_recall(const detect_curves *c, const coco_ap *ap, int64_t k) {
    for (uint32_t r = 0; r < COCO_RECALLS; r++) points_of(c, k, PR)[r] = coco_precision(ap, 0, r, k, 0, COCO_MOSTS - 1);
}

/* ---- all of them ---- */

static double mean_of(const double *y, uint32_t n) {
    double sum = 0;
    for (uint32_t i = 0; i < n; i++) sum += y[i];
    return sum / n;
}

static double most_of(const double *y, uint32_t n) {
    double most = 0;
    for (uint32_t i = 0; i < n; i++) most = fmax(most, y[i]);
    return most;
}

static void add_curves(detect_curves *c, int64_t row) {
    for (int kind = 0; kind < KINDS; kind++) {
        cvr_curve *const to = &c->curves[row * KINDS + kind];
        const double *const y = points_of(c, row, kind);
        *to = (cvr_curve){.struct_size = sizeof *to,
                          .name = kinds[kind].name,
                          .x_name = kinds[kind].x,
                          .y_name = kinds[kind].y,
                          .klass = row < c->n_classes ? row : -1,
                          .n = kinds[kind].points,
                          .x = kind == PR ? c->recalls : c->confidences,
                          .y = y,
                          .value = kind == PR ? mean_of(y, COCO_RECALLS) : most_of(y, CURVE_CONFIDENCES)};
        c->list[c->n++] = to;
    }
}

static void add_means(detect_curves *c, const coco_ap *ap, double n) {
    double *const all = points_of(c, c->n_classes, PR);
    memset(all, 0, POINTS * sizeof *all);
    for (int64_t k = 0; k < c->n_classes; k++) {
        const double *const y = points_of(c, k, PR);
        for (uint32_t i = 0; has_objects(ap, k) && i < POINTS; i++) all[i] += y[i] / n;
    }
    add_curves(c, c->n_classes);
}

static void find_best(detect_curves *c, const coco_ap *ap) {
    const double *const f1 = points_of(c, c->n_classes, F1);
    c->at = 0;
    for (uint32_t i = 1; i < CURVE_CONFIDENCES && c->n; i++)
        if (f1[i] > f1[c->at]) c->at = i;
    for (int64_t k = 0; k < c->n_classes; k++) {
        c->best[k] = (detect_best){NAN, NAN, NAN};
        if (!has_objects(ap, k)) continue;
        const double recall = points_of(c, k, RECALL)[c->at];
        c->best[k] =
            (detect_best){recall > 0 ? points_of(c, k, PRECISION)[c->at] : 0, recall, points_of(c, k, F1)[c->at]};
    }
}

void curves_make(detect_curves *c, const coco_ap *ap) {
    double n = 0;
    c->n = 0;
    for (int64_t k = 0; k < c->n_classes; k++) {
        if (!has_objects(ap, k)) continue;
        over_confidence(c, ap, k);
        over_recall(c, ap, k);
        n++;
    }
    if (n > 0) add_means(c, ap, n);
    for (int64_t k = 0; k < c->n_classes; k++)
        if (has_objects(ap, k)) add_curves(c, k);
    find_best(c, ap);
}

uint32_t curves_list(const detect_curves *c, const cvr_curve *const **curves) {
    *curves = c->list;
    return c->n;
}

const detect_best *curves_best(const detect_curves *c, int64_t klass) {
    return &c->best[klass];
}

double curves_confidence(const detect_curves *c) {
    return c->n ? c->confidences[c->at] : NAN;
}
