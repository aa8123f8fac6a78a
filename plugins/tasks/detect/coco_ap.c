/* Collecting the pictures, and counting: COCOeval.accumulate and summarize. */
#include "coco_ap.h"
#include "coco_parts.h"
#include <float.h>
#include <stdlib.h>

/* ---- tables ---- */

#define RECALLS (COCO_IOUS * COCO_AREAS * COCO_MOSTS) /* numbers of one class */
#define PRECISIONS (RECALLS * COCO_RECALLS)

/* Of the class with this row. */
static double *precision_at(const coco_ap *c, uint64_t row, uint32_t t, uint32_t r, uint32_t a, uint32_t m) {
    return (double *)c->precision.data + row * PRECISIONS + ((t * COCO_RECALLS + r) * COCO_AREAS + a) * COCO_MOSTS + m;
}
static double *recall_at(const coco_ap *c, uint64_t row, uint32_t t, uint32_t a, uint32_t m) {
    return (double *)c->recall.data + row * RECALLS + (t * COCO_AREAS + a) * COCO_MOSTS + m;
}

double coco_precision(const coco_ap *c, uint32_t t, uint32_t r, int64_t klass, uint32_t a, uint32_t m) {
    return c->row[klass] ? *precision_at(c, c->row[klass] - 1, t, r, a, m) : -1;
}
double coco_recall(const coco_ap *c, uint32_t t, int64_t klass, uint32_t a, uint32_t m) {
    return c->row[klass] ? *recall_at(c, c->row[klass] - 1, t, a, m) : -1;
}
uint64_t coco_id_zero(const coco_ap *c) {
    return c->id_zero;
}

/* ---- open, close ---- */

/* For counting, which then cannot fail. */
static int32_t make_room(coco_ap *c, cvr_error *err) {
    return host_array_room(&c->curve, c->set.host, 2 * c->entries.n + 1, sizeof(double), err);
}

static void forget(double *cells, uint64_t n) {
    for (uint64_t i = 0; i < n; i++) cells[i] = -1;
}

/* A row of the tables for a class that has its first object. */
static int32_t add_class(coco_ap *c, int64_t klass, cvr_error *err) {
    const cvr_host *const host = c->set.host;
    if (c->row[klass] || !c->counted[(uint64_t)klass * COCO_AREAS]) return CVR_OK; /* area 0: objects of all sizes */
    CVR_TRY(host_array_room(&c->classes, host, 1, sizeof klass, err));
    CVR_TRY(host_array_room(&c->precision, host, PRECISIONS, sizeof(double), err));
    CVR_TRY(host_array_room(&c->recall, host, RECALLS, sizeof(double), err));
    forget((double *)c->precision.data + c->precision.n, PRECISIONS);
    forget((double *)c->recall.data + c->recall.n, RECALLS);
    c->precision.n += PRECISIONS;
    c->recall.n += RECALLS;
    ((int64_t *)c->classes.data)[c->classes.n++] = klass;
    c->row[klass] = c->classes.n;
    return CVR_OK;
}

int32_t coco_open(coco_ap **out, const coco_settings *s, cvr_error *err) {
    const cvr_host *const host = s->host;
    const uint64_t k = (uint64_t)s->n_classes;
    if (s->n_classes < 1 || s->n_classes > INT64_C(1) << 20)
        return cvr_fail(err, CVR_ERR_UNSUPPORTED, "average precision of %lld classes", (long long)s->n_classes);
    coco_ap *const c = host->alloc(host, sizeof *c, 16);
    if (!c) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    *c = (coco_ap){.set = *s};
    c->counted = host->alloc(host, k * COCO_AREAS * sizeof *c->counted, 16);
    c->row = host->alloc(host, k * sizeof *c->row, 16);
    if (!c->counted || !c->row) {
        coco_close(c);
        return cvr_fail(err, CVR_ERR_NOMEM, "out of memory for the average precision of %lld classes",
                        (long long)s->n_classes);
    }
    memset(c->counted, 0, k * COCO_AREAS * sizeof *c->counted);
    memset(c->row, 0, k * sizeof *c->row);
    const int32_t status = make_room(c, err);
    if (status != CVR_OK)
        coco_close(c);
    else
        *out = c;
    return status;
}

void coco_close(coco_ap *c) {
    if (!c) return;
    const cvr_host *const host = c->set.host;
    host_array *const arrays[] = {&c->entries, &c->found,   &c->truth,     &c->ious,  &c->state,
                                  &c->curve,   &c->classes, &c->precision, &c->recall};
    for (size_t i = 0; i < sizeof arrays / sizeof *arrays; i++) host_array_free(arrays[i], host);
    if (c->counted) host->free(host, c->counted);
    if (c->row) host->free(host, c->row);
    host->free(host, c);
}

/* ---- one picture ---- */

static int by_class_and_score(const void *a, const void *b) {
    const coco_row *const x = a, *const y = b;
    if (x->klass != y->klass) return x->klass < y->klass ? -1 : 1;
    if (x->score != y->score) return x->score > y->score ? -1 : 1;
    return (x->index > y->index) - (x->index < y->index);
}

static int32_t list_rows(coco_ap *c, const coco_picture *p, cvr_error *err) {
    c->found.n = c->truth.n = 0;
    CVR_TRY(host_array_room(&c->found, c->set.host, p->n_found + 1, sizeof(coco_row), err));
    CVR_TRY(host_array_room(&c->truth, c->set.host, p->n_truth + 1, sizeof(coco_row), err));
    coco_row *const found = c->found.data, *const truth = c->truth.data;
    for (uint64_t i = 0; i < p->n_found; i++) {
        if (p->found[i].klass < 0 || p->found[i].klass >= c->set.n_classes) continue;
        found[c->found.n++] = (coco_row){p->found[i].klass, p->found[i].score, i};
    }
    for (uint64_t i = 0; i < p->n_truth; i++) {
        if (p->truth[i].klass < 0 || p->truth[i].klass >= c->set.n_classes) continue;
        truth[c->truth.n++] = (coco_row){p->truth[i].klass, 0, i};
        c->id_zero += p->truth[i].id == 0;
    }
    qsort(found, c->found.n, sizeof *found, by_class_and_score);
    qsort(truth, c->truth.n, sizeof *truth, by_class_and_score);
    return CVR_OK;
}

static uint64_t same_class(const coco_row *rows, uint64_t at, uint64_t n, int64_t klass) {
    uint64_t end = at;
    while (end < n && rows[end].klass == klass) end++;
    return end - at;
}

int32_t coco_add(coco_ap *c, const coco_picture *p, cvr_error *err) {
    uint64_t i = 0, k = 0;
    CVR_TRY(list_rows(c, p, err));
    const coco_row *const found = c->found.data, *const truth = c->truth.data;
    while (i < c->found.n || k < c->truth.n) {
        int64_t klass = i < c->found.n ? found[i].klass : truth[k].klass;
        if (k < c->truth.n && truth[k].klass < klass) klass = truth[k].klass;
        const coco_group g = {p, found + i, truth + k, same_class(found, i, c->found.n, klass),
                              same_class(truth, k, c->truth.n, klass)};
        CVR_TRY(coco_match(c, &g, err));
        CVR_TRY(add_class(c, klass, err));
        i += g.n_found;
        k += g.n_truth;
    }
    return make_room(c, err);
}

/* ---- counting ---- */

/* pycocotools puts pictures in the order of their ids and sorts stably by score. */
static int by_score_and_picture(const void *a, const void *b) {
    const coco_entry *const x = a, *const y = b;
    if (x->klass != y->klass) return x->klass < y->klass ? -1 : 1;
    if (x->score != y->score) return x->score > y->score ? -1 : 1;
    if (x->picture != y->picture) return x->picture < y->picture ? -1 : 1;
    return (x->place > y->place) - (x->place < y->place);
}

/* The detections of one class, and which of their cells is counted. */
typedef struct counting {
    const coco_entry *entries;
    uint64_t n;
    int64_t klass;
    uint64_t row;
    double *precision, *recall; /* of each detection that counts, in turn */
} counting;

/* As numpy.linspace(0, 1, 101) has it. */
static double recall_threshold(uint32_t r) {
    return r == COCO_RECALLS - 1 ? 1 : (double)r * 0.01;
}

/* Precision at each recall, of the envelope from the right; 0 where recall does not come that far. */
static void take_precision(coco_ap *c, const counting *w, uint64_t n, uint32_t t, uint32_t a, uint32_t m) {
    uint64_t at = 0;
    for (uint64_t i = n; i > 1; i--)
        if (w->precision[i - 1] > w->precision[i - 2]) w->precision[i - 2] = w->precision[i - 1];
    for (uint32_t r = 0; r < COCO_RECALLS; r++) {
        while (at < n && w->recall[at] < recall_threshold(r)) at++;
        *precision_at(c, w->row, t, r, a, m) = at < n ? w->precision[at] : 0;
    }
}

static void count_cell(coco_ap *c, const counting *w, uint32_t t, uint32_t a, uint32_t m) {
    const double objects = (double)c->counted[(uint64_t)w->klass * COCO_AREAS + a];
    const uint64_t bit = UINT64_C(1) << (a * COCO_IOUS + t);
    double right = 0, wrong = 0;
    uint64_t n = 0;
    for (uint64_t i = 0; i < w->n; i++) {
        const coco_entry *const e = &w->entries[i];
        if (e->rank >= (uint64_t)c->set.most[m]) continue;
        right += (e->matched & ~e->ignored & bit) != 0;
        wrong += (~e->matched & ~e->ignored & bit) != 0;
        w->recall[n] = right / objects;
        w->precision[n++] = right / (wrong + right + DBL_EPSILON);
    }
    *recall_at(c, w->row, t, a, m) = n ? w->recall[n - 1] : 0;
    take_precision(c, w, n, t, a, m);
}

static void count_class(coco_ap *c, const counting *w) {
    for (uint32_t a = 0; a < COCO_AREAS; a++) {
        if (c->counted[(uint64_t)w->klass * COCO_AREAS + a] == 0) continue;
        for (uint32_t m = 0; m < COCO_MOSTS; m++)
            for (uint32_t t = 0; t < COCO_IOUS; t++) count_cell(c, w, t, a, m);
    }
}

static int by_number(const void *a, const void *b) {
    const int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

void coco_count(coco_ap *c) {
    coco_entry *const entries = c->entries.data;
    int64_t *const classes = c->classes.data;
    const uint64_t n = c->entries.n;
    if (n) qsort(entries, n, sizeof *entries, by_score_and_picture);
    if (c->classes.n) qsort(classes, c->classes.n, sizeof *classes, by_number);
    forget(c->precision.data, c->precision.n);
    forget(c->recall.data, c->recall.n);
    uint64_t at = 0;
    for (uint64_t i = 0; i < c->classes.n; i++) {
        while (at < n && entries[at].klass < classes[i]) at++;
        counting w = {.entries = entries + at,
                      .klass = classes[i],
                      .row = c->row[classes[i]] - 1,
                      .precision = c->curve.data,
                      .recall = (double *)c->curve.data + n};
        while (at < n && entries[at].klass == classes[i]) at++, w.n++;
        count_class(c, &w);
    }
}

/* ---- the twelve numbers ---- */

typedef struct mean {
    double sum;
    uint64_t n;
} mean;

static void mean_add(mean *m, double x) {
    if (x <= -1) return;
    m->sum += x;
    m->n++;
}

/* Over IoUs t0 <= t < t1, classes with objects, objects of size a, and every M that stands for `most` detections. */
typedef struct cells {
    uint32_t t0, t1, area;
    const int64_t *classes;
    uint64_t n;
    int64_t most;
} cells;

static double mean_precision(const coco_ap *c, const cells *s) {
    mean of = {0, 0};
    for (uint32_t t = s->t0; t < s->t1; t++)
        for (uint32_t r = 0; r < COCO_RECALLS; r++)
            for (uint64_t i = 0; i < s->n; i++)
                for (uint32_t m = 0; m < COCO_MOSTS; m++)
                    if (c->set.most[m] == s->most) mean_add(&of, coco_precision(c, t, r, s->classes[i], s->area, m));
    return of.n ? of.sum / (double)of.n : -1;
}

static double mean_recall(const coco_ap *c, const cells *s) {
    mean of = {0, 0};
    for (uint32_t t = s->t0; t < s->t1; t++)
        for (uint64_t i = 0; i < s->n; i++)
            for (uint32_t m = 0; m < COCO_MOSTS; m++)
                if (c->set.most[m] == s->most) mean_add(&of, coco_recall(c, t, s->classes[i], s->area, m));
    return of.n ? of.sum / (double)of.n : -1;
}

static cells over(const coco_ap *c, uint32_t t0, uint32_t t1, uint32_t area, int64_t most) {
    return (cells){t0, t1, area, c->classes.data, c->classes.n, most};
}

void coco_stats(const coco_ap *c, double stats[COCO_STATS]) {
    const int64_t last = c->set.most[COCO_MOSTS - 1];
    const cells all = over(c, 0, COCO_IOUS, 0, 100), at50 = over(c, 0, 1, 0, last), at75 = over(c, 5, 6, 0, last);
    stats[COCO_AP] = mean_precision(c, &all);
    stats[COCO_AP50] = mean_precision(c, &at50);
    stats[COCO_AP75] = mean_precision(c, &at75);
    for (uint32_t m = 0; m < COCO_MOSTS; m++) {
        const cells at = over(c, 0, COCO_IOUS, 0, c->set.most[m]);
        stats[COCO_AR_FIRST + m] = mean_recall(c, &at);
    }
    for (uint32_t a = 1; a < COCO_AREAS; a++) {
        const cells of = over(c, 0, COCO_IOUS, a, last);
        stats[COCO_AP_SMALL + a - 1] = mean_precision(c, &of);
        stats[COCO_AR_SMALL + a - 1] = mean_recall(c, &of);
    }
}

static cells of_class(const coco_ap *c, const int64_t *klass, int32_t iou) {
    return (cells){iou < 0 ? 0 : (uint32_t)iou, iou < 0 ? COCO_IOUS : (uint32_t)iou + 1, 0, klass, c->row[*klass] != 0,
                   c->set.most[COCO_MOSTS - 1]};
}

double coco_class_ap(const coco_ap *c, int64_t klass, int32_t iou) {
    const cells s = of_class(c, &klass, iou);
    return mean_precision(c, &s);
}

double coco_class_ar(const coco_ap *c, int64_t klass, int32_t iou) {
    const cells s = of_class(c, &klass, iou);
    return mean_recall(c, &s);
}
