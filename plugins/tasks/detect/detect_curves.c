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
    const int64_t *classes; /* (rows): those with objects, as coco_ap has them; their mean is the row behind them */
    uint64_t rows, room;
    double *y;              /* (room, POINTS) */
    cvr_curve *curves;      /* (room, KINDS) */
    const cvr_curve **list; /* those that there are */
    detect_best *best;      /* (K) */
    uint32_t n;
    uint32_t at; /* which confidence is the best */
};

static double *points_of(const detect_curves *c, uint64_t row, int kind) {
    double *const y = c->y + row * POINTS;
    return kind == PR ? y : y + COCO_RECALLS + (uint32_t)(kind - 1) * CURVE_CONFIDENCES;
}

int32_t curves_open(detect_curves **out, const cvr_host *host, int64_t n_classes, cvr_error *err) {
    detect_curves *const c = host->alloc(host, sizeof *c, 16);
    if (!c) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    *c = (detect_curves){.host = host, .n_classes = n_classes};
    for (uint32_t i = 0; i < COCO_RECALLS; i++) c->recalls[i] = (double)i / (COCO_RECALLS - 1);
    for (uint32_t i = 0; i < CURVE_CONFIDENCES; i++) c->confidences[i] = (double)i / (CURVE_CONFIDENCES - 1);
    c->best = host->alloc(host, (uint64_t)n_classes * sizeof *c->best, 16);
    if (!c->best) {
        curves_close(c);
        return cvr_fail(err, CVR_ERR_NOMEM, "out of memory for the curves of %lld classes", (long long)n_classes);
    }
    for (int64_t k = 0; k < n_classes; k++) c->best[k] = (detect_best){NAN, NAN, NAN};
    *out = c;
    return CVR_OK;
}

static void free_rows(detect_curves *c) {
    void *const all[] = {c->y, c->curves, c->list};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        if (all[i]) c->host->free(c->host, all[i]);
    }
    c->y = NULL;
    c->curves = NULL;
    c->list = NULL;
    c->rows = c->room = c->n = 0;
}

void curves_close(detect_curves *c) {
    if (!c) return;
    free_rows(c);
    if (c->best) c->host->free(c->host, c->best);
    c->host->free(c->host, c);
}

int32_t curves_room(detect_curves *c, const coco_ap *ap, cvr_error *err) {
    const uint64_t need = ap->classes.n + 1, room = need + need / 2;
    if (need <= c->room) return CVR_OK;
    free_rows(c);
    c->y = c->host->alloc(c->host, room * POINTS * sizeof *c->y, 64);
    c->curves = c->host->alloc(c->host, room * KINDS * sizeof *c->curves, 16);
    c->list = c->host->alloc(c->host, room * KINDS * sizeof *c->list, 16);
    if (!c->y || !c->curves || !c->list) {
        free_rows(c);
        return cvr_fail(err, CVR_ERR_NOMEM, "out of memory for the curves of %llu classes", (unsigned long long)need);
    }
    c->room = room;
    return CVR_OK;
}

/* ---- one class ---- */

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
static void over_confidence(const detect_curves *c, const coco_ap *ap, uint64_t row) {
    const int64_t k = c->classes[row];
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
        points_of(c, row, PRECISION)[at] = precision;
        points_of(c, row, RECALL)[at] = recall;
        points_of(c, row, F1)[at] = recall > 0 ? 2 * precision * recall / (precision + recall) : 0;
    }
}

static void over_recall(const detect_curves *c, const coco_ap *ap, uint64_t row) {
    double *const y = points_of(c, row, PR);
    for (uint32_t r = 0; r < COCO_RECALLS; r++) y[r] = coco_precision(ap, 0, r, c->classes[row], 0, COCO_MOSTS - 1);
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

static void add_curves(detect_curves *c, uint64_t row) {
    for (int kind = 0; kind < KINDS; kind++) {
        cvr_curve *const to = &c->curves[row * KINDS + kind];
        const double *const y = points_of(c, row, kind);
        *to = (cvr_curve){.struct_size = sizeof *to,
                          .name = kinds[kind].name,
                          .x_name = kinds[kind].x,
                          .y_name = kinds[kind].y,
                          .klass = row < c->rows ? c->classes[row] : -1,
                          .n = kinds[kind].points,
                          .x = kind == PR ? c->recalls : c->confidences,
                          .y = y,
                          .value = kind == PR ? mean_of(y, COCO_RECALLS) : most_of(y, CURVE_CONFIDENCES)};
        c->list[c->n++] = to;
    }
}

static void add_means(detect_curves *c) {
    double *const all = points_of(c, c->rows, PR);
    memset(all, 0, POINTS * sizeof *all);
    for (uint64_t row = 0; row < c->rows; row++) {
        const double *const y = points_of(c, row, PR);
        for (uint32_t i = 0; i < POINTS; i++) all[i] += y[i] / (double)c->rows;
    }
    add_curves(c, c->rows);
}

static void find_best(detect_curves *c) {
    const double *const f1 = points_of(c, c->rows, F1);
    c->at = 0;
    for (uint32_t i = 1; i < CURVE_CONFIDENCES; i++)
        if (f1[i] > f1[c->at]) c->at = i;
    for (uint64_t row = 0; row < c->rows; row++) {
        const double recall = points_of(c, row, RECALL)[c->at];
        c->best[c->classes[row]] =
            (detect_best){recall > 0 ? points_of(c, row, PRECISION)[c->at] : 0, recall, points_of(c, row, F1)[c->at]};
    }
}

void curves_make(detect_curves *c, const coco_ap *ap) {
    c->n = 0;
    c->rows = ap->classes.n;
    c->classes = ap->classes.data;
    if (!c->rows) return;
    for (uint64_t row = 0; row < c->rows; row++) {
        over_confidence(c, ap, row);
        over_recall(c, ap, row);
    }
    add_means(c);
    for (uint64_t row = 0; row < c->rows; row++) add_curves(c, row);
    find_best(c);
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
