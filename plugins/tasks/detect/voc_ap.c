/* Matching is greedy, best score first, and within a picture: so each picture is settled when it comes. */
#include "voc_ap.h"
#include "host_array.h"
#include <float.h>
#include <math.h>
#include <stdlib.h>

enum { WRONG, RIGHT, NEITHER };

/* A detection of the split. */
typedef struct voc_entry {
    int64_t klass, picture;
    double score;
    uint64_t place; /* when it was added */
    uint64_t verdict;
} voc_entry;

typedef struct voc_share {
    double voc07, voc10;
} voc_share;

struct voc_ap {
    const cvr_host *host;
    int64_t n_classes;
    host_array entries;
    host_array taken;  /* u8: objects of the picture that are found already */
    host_array curve;  /* double: recall and precision of each detection of a class */
    uint64_t *objects; /* (K) that are not difficult */
    voc_share *shares; /* (K) */
};

/* For counting, which then cannot fail. */
static int32_t make_room(voc_ap *v, cvr_error *err) {
    return host_array_room(&v->curve, v->host, 2 * v->entries.n + 1, sizeof(double), err);
}

int32_t voc_open(voc_ap **out, const cvr_host *host, int64_t n_classes, cvr_error *err) {
    voc_ap *const v = host->alloc(host, sizeof *v, 16);
    if (!v) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    *v = (voc_ap){.host = host, .n_classes = n_classes};
    v->objects = host->alloc(host, (uint64_t)n_classes * sizeof *v->objects, 16);
    v->shares = host->alloc(host, (uint64_t)n_classes * sizeof *v->shares, 16);
    if (!v->objects || !v->shares) {
        voc_close(v);
        return cvr_fail(err, CVR_ERR_NOMEM, "out of memory for %lld classes", (long long)n_classes);
    }
    for (int64_t k = 0; k < n_classes; k++) {
        v->objects[k] = 0;
        v->shares[k] = (voc_share){NAN, NAN};
    }
    const int32_t status = make_room(v, err);
    if (status != CVR_OK)
        voc_close(v);
    else
        *out = v;
    return status;
}

void voc_close(voc_ap *v) {
    if (!v) return;
    host_array_free(&v->entries, v->host);
    host_array_free(&v->taken, v->host);
    host_array_free(&v->curve, v->host);
    if (v->objects) v->host->free(v->host, v->objects);
    if (v->shares) v->host->free(v->host, v->shares);
    v->host->free(v->host, v);
}

/* ---- one picture ---- */

/* x, y, width, height; the sides get one pixel more. */
static double voc_iou(const double d[4], const double g[4]) {
    const double w = fmin(d[0] + d[2], g[0] + g[2]) - fmax(d[0], g[0]) + 1,
                 h = fmin(d[1] + d[3], g[1] + g[3]) - fmax(d[1], g[1]) + 1;
    if (w <= 0 || h <= 0) return 0;
    return w * h / ((d[2] + 1) * (d[3] + 1) + (g[2] + 1) * (g[3] + 1) - w * h);
}

/* The object of its class that it covers best, the first of equal ones, whether it is taken or not. */
static uint64_t judge(const coco_picture *p, const coco_found *d, uint8_t *taken) {
    double best = -1;
    uint64_t at = 0;
    for (uint64_t k = 0; k < p->n_truth; k++) {
        const double iou = p->truth[k].klass == d->klass ? voc_iou(d->box, p->truth[k].box) : -1;
        if (iou > best) {
            best = iou;
            at = k;
        }
    }
    if (!(best > 0.5)) return WRONG;
    if (p->truth[at].crowd || p->truth[at].ignored) return NEITHER;
    if (taken[at]) return WRONG;
    taken[at] = 1;
    return RIGHT;
}

static int by_class_and_score(const void *a, const void *b) {
    const voc_entry *const x = a, *const y = b;
    if (x->klass != y->klass) return x->klass < y->klass ? -1 : 1;
    if (x->score != y->score) return x->score > y->score ? -1 : 1;
    if (x->picture != y->picture) return x->picture < y->picture ? -1 : 1;
    return (x->place > y->place) - (x->place < y->place);
}

int32_t voc_add(voc_ap *v, const coco_picture *p, cvr_error *err) {
    CVR_TRY(host_array_room(&v->entries, v->host, p->n_found, sizeof(voc_entry), err));
    CVR_TRY(host_array_room(&v->taken, v->host, p->n_truth + 1, 1, err));
    const uint64_t first = v->entries.n;
    voc_entry *const entries = v->entries.data;
    uint8_t *const taken = v->taken.data;
    for (uint64_t k = 0; k < p->n_truth; k++) {
        const coco_truth *const g = &p->truth[k];
        taken[k] = 0;
        if (g->klass >= 0 && g->klass < v->n_classes) v->objects[g->klass] += !g->crowd && !g->ignored;
    }
    for (uint64_t i = 0; i < p->n_found; i++) {
        const coco_found *const d = &p->found[i];
        if (d->klass < 0 || d->klass >= v->n_classes) continue;
        entries[v->entries.n++] = (voc_entry){d->klass, p->id, d->score, first + i, 0};
    }
    if (v->entries.n > first) qsort(entries + first, v->entries.n - first, sizeof *entries, by_class_and_score);
    for (uint64_t i = first; i < v->entries.n; i++)
        entries[i].verdict = judge(p, &p->found[entries[i].place - first], taken);
    return make_room(v, err);
}

/* ---- counting ---- */

/* Highest precision at a recall of `least` or more; 0 where there is none. precision is the envelope already. */
static double precision_from(const double *recall, const double *precision, uint64_t n, double least) {
    for (uint64_t i = 0; i < n; i++)
        if (recall[i] >= least) return precision[i];
    return 0;
}

static voc_share share_of(const double *recall, double *precision, uint64_t n) {
    voc_share s = {0, 0};
    for (uint64_t i = n; i > 1; i--)
        if (precision[i - 1] > precision[i - 2]) precision[i - 2] = precision[i - 1];
    for (int i = 0; i < 11; i++) s.voc07 += precision_from(recall, precision, n, (double)i * 0.1) / 11;
    for (uint64_t i = 0; i < n; i++) s.voc10 += (recall[i] - (i ? recall[i - 1] : 0)) * precision[i];
    return s;
}

static voc_share count_class(const voc_entry *e, uint64_t n, double objects, double *recall, double *precision) {
    double right = 0, wrong = 0;
    for (uint64_t i = 0; i < n; i++) {
        right += e[i].verdict == RIGHT;
        wrong += e[i].verdict == WRONG;
        recall[i] = right / objects;
        precision[i] = right / fmax(right + wrong, DBL_EPSILON);
    }
    return share_of(recall, precision, n);
}

void voc_count(voc_ap *v) {
    voc_entry *const entries = v->entries.data;
    const uint64_t n = v->entries.n;
    uint64_t at = 0;
    double *const recall = v->curve.data;
    if (n) qsort(entries, n, sizeof *entries, by_class_and_score);
    for (int64_t k = 0; k < v->n_classes; k++) {
        const uint64_t first = at;
        while (at < n && entries[at].klass == k) at++;
        v->shares[k] = v->objects[k]
                           ? count_class(entries + first, at - first, (double)v->objects[k], recall, recall + n)
                           : (voc_share){NAN, NAN};
    }
}

void voc_class(const voc_ap *v, int64_t klass, double *voc07, double *voc10) {
    *voc07 = v->shares[klass].voc07;
    *voc10 = v->shares[klass].voc10;
}

void voc_means(const voc_ap *v, double *voc07, double *voc10) {
    double n = 0;
    *voc07 = *voc10 = 0;
    for (int64_t k = 0; k < v->n_classes; k++) {
        if (isnan(v->shares[k].voc07)) continue;
        *voc07 += v->shares[k].voc07;
        *voc10 += v->shares[k].voc10;
        n++;
    }
    *voc07 = n > 0 ? *voc07 / n : NAN;
    *voc10 = n > 0 ? *voc10 / n : NAN;
}
