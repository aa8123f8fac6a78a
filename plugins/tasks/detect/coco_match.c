/*
 * Which detections of one class of one picture are right: COCOeval.evaluateImg. Detections come by falling score; each
 * takes the object that it covers best among those that are free, the last of equal ones. Objects that count come
 * before those that do not, so that a detection is only set aside where it fits no object that counts.
 */
#include "coco_parts.h"
#include <math.h>

/* As numpy.linspace(.5, .95, 10) has them, to the bit. */
static double iou_threshold(uint32_t t) {
    const double step = (0.95 - 0.5) / 9;
    return t == 9 ? 0.95 : (double)t * step + 0.5;
}

static const double least_area[COCO_AREAS] = {0, 0, 32 * 32, 96 * 96};
static const double most_area[COCO_AREAS] = {1e10, 32 * 32, 96 * 96, 1e10};

static int32_t outside(double area, uint32_t a) {
    return area < least_area[a] || area > most_area[a];
}

/* Of x, y, width, height, without the +1 of whole pixels; of a crowd over the detection's own area. */
static double box_iou(const double d[4], const double g[4], uint32_t crowd) {
    const double w = fmin(d[2] + d[0], g[2] + g[0]) - fmax(d[0], g[0]),
                 h = fmin(d[3] + d[1], g[3] + g[1]) - fmax(d[1], g[1]), mine = d[2] * d[3], common = w * h;
    if (w <= 0 || h <= 0) return 0;
    return common / (crowd ? mine : mine + g[2] * g[3] - common);
}

/* An object when its turn comes, for one size of objects. */
typedef struct turn {
    uint64_t column; /* in the IoUs */
    int64_t id;
    uint32_t ignored, crowd, taken, reserved;
} turn;

typedef struct matching {
    const coco_group *group;
    const double *ious; /* (n_found, n_truth) */
    turn *turns;
    coco_entry *entries;
    uint64_t n_found, n_truth;
    uint32_t area;
    int32_t masks;
} matching;

static const coco_found *found_of(const coco_group *g, uint64_t i) {
    return &g->picture->found[g->found[i].index];
}
static const coco_truth *truth_of(const coco_group *g, uint64_t i) {
    return &g->picture->truth[g->truth[i].index];
}

static void fill_ious(const matching *m, double *ious) {
    for (uint64_t i = 0; i < m->n_found; i++) {
        const coco_found *const d = found_of(m->group, i);
        for (uint64_t k = 0; k < m->n_truth; k++) {
            const coco_truth *const g = truth_of(m->group, k);
            ious[i * m->n_truth + k] =
                m->masks ? rle_iou(d->mask, g->mask, g->crowd != 0) : box_iou(d->box, g->box, g->crowd);
        }
    }
}

/* Those that count first, else in the order of the annotations; returns how many count. */
static uint64_t take_turns(const matching *m) {
    uint64_t n = 0, counted = 0;
    for (uint32_t ignored = 0; ignored < 2; ignored++) {
        for (uint64_t k = 0; k < m->n_truth; k++) {
            const coco_truth *const g = truth_of(m->group, k);
            const uint32_t is = g->crowd || g->ignored || outside(g->area, m->area);
            if (is == ignored) m->turns[n++] = (turn){k, g->id, is, g->crowd, 0, 0};
        }
        if (!ignored) counted = n;
    }
    return counted;
}

/* The object that detection i takes at an IoU of `best` or more; -1: none. */
static int64_t choose(const matching *m, uint64_t i, double best) {
    int64_t at = -1;
    for (uint64_t k = 0; k < m->n_truth; k++) {
        const turn *const t = &m->turns[k];
        const double iou = m->ious[i * m->n_truth + t->column];
        if (t->taken && !t->crowd) continue;
        if (at >= 0 && !m->turns[at].ignored && t->ignored) break;
        if (iou < best) continue;
        best = iou;
        at = (int64_t)k;
    }
    return at;
}

static void match_at(const matching *m, uint32_t t) {
    const uint64_t bit = UINT64_C(1) << (m->area * COCO_IOUS + t);
    for (uint64_t k = 0; k < m->n_truth; k++) m->turns[k].taken = 0;
    for (uint64_t i = 0; i < m->n_found; i++) {
        coco_entry *const e = &m->entries[i];
        const coco_found *const d = found_of(m->group, i);
        const int64_t k = choose(m, i, fmin(iou_threshold(t), 1 - 1e-10));
        if (k >= 0) {
            m->turns[k].taken = 1;
            if (m->turns[k].id != 0) e->matched |= bit;
            if (m->turns[k].ignored) e->ignored |= bit;
        }
        const double area = m->masks ? (double)rle_area(d->mask) : d->box[2] * d->box[3];
        if (!(e->matched & bit) && outside(area, m->area)) e->ignored |= bit;
    }
}

/* COCOeval looks at the best most[M - 1] detections of each class. */
int32_t coco_match(coco_ap *c, const coco_group *g, cvr_error *err) {
    const cvr_host *const host = c->set.host;
    const uint64_t most = (uint64_t)c->set.most[COCO_MOSTS - 1];
    matching m = {
        .group = g, .n_found = g->n_found < most ? g->n_found : most, .n_truth = g->n_truth, .masks = c->set.masks};
    const int64_t klass = g->n_found ? g->found[0].klass : g->truth[0].klass;
    uint64_t cells;
    if (__builtin_mul_overflow(m.n_found, m.n_truth, &cells))
        return cvr_fail(err, CVR_ERR_NOMEM, "too many detections and objects in one picture");
    CVR_TRY(host_array_room(&c->ious, host, cells, sizeof(double), err));
    CVR_TRY(host_array_room(&c->state, host, m.n_truth, sizeof(turn), err));
    CVR_TRY(host_array_room(&c->entries, host, m.n_found, sizeof(coco_entry), err));
    m.ious = c->ious.data;
    m.turns = c->state.data;
    m.entries = (coco_entry *)c->entries.data + c->entries.n;
    fill_ious(&m, c->ious.data);
    for (uint64_t i = 0; i < m.n_found; i++)
        m.entries[i] = (coco_entry){klass, g->picture->id, g->found[i].score, 0, 0, i, c->entries.n + i};
    for (m.area = 0; m.area < COCO_AREAS; m.area++) {
        c->counted[(uint64_t)klass * COCO_AREAS + m.area] += take_turns(&m);
        for (uint32_t t = 0; t < COCO_IOUS; t++) match_at(&m, t);
    }
    c->entries.n += m.n_found;
    return CVR_OK;
}
