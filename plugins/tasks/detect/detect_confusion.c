/* Joining objects and detections. */
#include "detect_confusion.h"
#include <math.h>
#include <stdlib.h>

typedef struct pair {
    int32_t same_class;
    double iou;
    uint64_t truth, found;
} pair;

/* Over the detection's own area where `crowd`. */
static double overlap(const double d[4], const double g[4], uint32_t crowd) {
    const double w = fmin(d[0] + d[2], g[0] + g[2]) - fmax(d[0], g[0]),
                 h = fmin(d[1] + d[3], g[1] + g[3]) - fmax(d[1], g[1]);
    return w > 0 && h > 0 ? w * h / (crowd ? d[2] * d[3] : d[2] * d[3] + g[2] * g[3] - w * h) : 0;
}

static int32_t of_a_class(const detect_confusion *c, int64_t klass) {
    return klass >= 0 && klass < c->n_classes;
}

static int32_t counts_as_object(const detect_confusion *c, const coco_truth *g) {
    return of_a_class(c, g->klass) && !g->crowd && !g->ignored;
}

static int32_t counts_as_found(const detect_confusion *c, const coco_found *d) {
    return of_a_class(c, d->klass) && d->score >= CONFUSION_SCORE;
}

static int by_class_and_iou(const void *a, const void *b) {
    const pair *const x = a, *const y = b;
    if (x->same_class != y->same_class) return y->same_class - x->same_class;
    if (x->iou != y->iou) return x->iou > y->iou ? -1 : 1;
    if (x->truth != y->truth) return x->truth < y->truth ? -1 : 1;
    return (x->found > y->found) - (x->found < y->found);
}

static int32_t list_pairs(detect_confusion *c, const coco_picture *p, cvr_error *err) {
    c->pairs.n = 0;
    for (uint64_t k = 0; k < p->n_truth; k++) {
        if (!counts_as_object(c, &p->truth[k])) continue;
        for (uint64_t i = 0; i < p->n_found; i++) {
            const double iou = counts_as_found(c, &p->found[i]) ? overlap(p->found[i].box, p->truth[k].box, 0) : 0;
            if (!(iou > CONFUSION_IOU)) continue;
            pair *const to = host_array_add(&c->pairs, c->host, sizeof *to, err);
            if (!to) return CVR_ERR_NOMEM;
            *to = (pair){p->truth[k].klass == p->found[i].klass, iou, k, i};
        }
    }
    if (c->pairs.n) qsort(c->pairs.data, c->pairs.n, sizeof(pair), by_class_and_iou);
    return CVR_OK;
}

static int32_t is_excused(const coco_picture *p, const coco_found *d) {
    for (uint64_t k = 0; k < p->n_truth; k++) {
        const coco_truth *const g = &p->truth[k];
        if ((g->crowd || g->ignored) && overlap(d->box, g->box, g->crowd) > CONFUSION_IOU) return 1;
    }
    return 0;
}

static void count(const detect_confusion *c, int64_t truth, int64_t said) {
    if (c->counts) c->counts[truth * (c->n_classes + 1) + said]++;
}

/* found_of: (n_truth) the detection and 1, 0: none; joined: (n_found) */
static void join(const detect_confusion *c, const coco_picture *p, uint64_t *found_of, uint64_t *joined,
                 detect_tally *tally) {
    const pair *const pairs = c->pairs.data;
    for (uint64_t i = 0; i < c->pairs.n; i++) {
        const uint64_t k = pairs[i].truth, d = pairs[i].found;
        if (found_of[k] || joined[d]) continue;
        found_of[k] = d + 1;
        joined[d] = 1;
        count(c, p->truth[k].klass, p->found[d].klass);
        tally->right += (uint64_t)pairs[i].same_class;
    }
}

int32_t confusion_add(detect_confusion *c, const coco_picture *p, detect_tally *tally, cvr_error *err) {
    const int64_t background = c->n_classes;
    *tally = (detect_tally){0, 0, 0};
    CVR_TRY(list_pairs(c, p, err));
    c->partner.n = 0;
    CVR_TRY(host_array_room(&c->partner, c->host, p->n_truth + p->n_found + 1, sizeof(uint64_t), err));
    uint64_t *const found_of = c->partner.data, *const joined = found_of + p->n_truth;
    memset(found_of, 0, (p->n_truth + p->n_found) * sizeof *found_of);
    join(c, p, found_of, joined, tally);
    for (uint64_t k = 0; k < p->n_truth; k++) {
        if (!counts_as_object(c, &p->truth[k])) continue;
        tally->objects++;
        if (!found_of[k]) count(c, p->truth[k].klass, background);
    }
    for (uint64_t i = 0; i < p->n_found; i++) {
        if (!counts_as_found(c, &p->found[i]) || (!joined[i] && is_excused(p, &p->found[i]))) continue;
        tally->found++;
        if (!joined[i]) count(c, background, p->found[i].klass);
    }
    return CVR_OK;
}

void confusion_free(detect_confusion *c) {
    host_array_free(&c->pairs, c->host);
    host_array_free(&c->partner, c->host);
    if (c->counts) c->host->free(c->host, c->counts);
    c->counts = NULL;
}
