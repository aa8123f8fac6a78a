/*
 * One picture's findings out of those in tiles of it that overlap, class by class:
 *  1. A box that ends at an edge of its tile, where the picture goes on, is cut there. Of an object that is larger than
 *     the overlap each tile has a part; parts that end at edges of their tiles which face each other, and that agree
 *     about the other two sides (IoU of these intervals from 0.5 on), become their hull: left and right first, then
 *     above and below.
 *  2. What two tiles see of the same place is one object: of boxes with an IoU over predict.iou (0.5 where that is 1)
 *     the one with the lower score goes, as in non-maximum suppression. A cut box counts for half its score, so that
 *     the tile that sees all of the object tells of it; and it goes, too, where over 0.7 of it lie within a better box,
 *     or within a much larger one that has half of its score. A part may look like another class: within a better box
 *     that is whole it goes whatever its class is.
 * Boxes of one tile are left to the network, which has suppressed them by its own rule.
 */
#include "detect_tiles.h"
#include "box_grid.h"
#include "detect_task.h"
#include <math.h>
#include <stdlib.h>

#define CUT_SHARE 0.02 /* of the tile's side, within which a box ends at its edge: networks are not exact */
#define CUT_PIXELS 2.0 /* at least */
#define AGREE 0.5      /* least IoU of the sides that parts have in common */
#define CUT_WEIGHT 0.5 /* of a cut box's score */
#define INSIDE 0.7     /* of a cut box's area, within a better one */
#define USUAL_IOU 0.5  /* where predict.iou leaves it to the network */
#define JOINED (-1)    /* not of one tile */
/* Boxes that are looked at: time grows by the square of how many lie in one place. Networks give 100 to 300. */
#define MOST_OF_TILE 1000u
#define MOST_OF_PICTURE 50000u

/* A box as one tile has it, or several. Sides are x1, y1, x2, y2; bit i of `cut`: side i is an edge of the tile. */
typedef struct tile_box {
    double side[4], score, rank;
    int64_t klass, tile;
    int64_t row; /* among all tiles' findings */
    float *mask; /* of its own, where it was joined; NULL: that of its row */
    uint32_t cut, gone;
} tile_box;

typedef struct merging {
    const cvr_task_info *info;
    const cvr_tiles *tiles;
    const cvr_tensor *boxes, *scores, *labels, *masks; /* masks: NULL */
    int64_t each;                                      /* findings of a tile */
    int64_t side;                                      /* of a mask */
    host_array all;                                    /* tile_box */
    box_grid grid;                                     /* of indices of them */
} merging;

static tile_box *boxes_of(const merging *m) {
    return m->all.data;
}

/* ---- what was found ---- */

static const cvr_tensor *result(const cvr_batch_view *v, const char *name, uint32_t dtype, uint32_t rank) {
    const cvr_named_tensor *const t = cvr_batch_find(v, name);
    return t && t->tensor.dtype == dtype && t->tensor.rank == rank ? &t->tensor : NULL;
}

static int32_t find_results(merging *m, cvr_error *err) {
    const cvr_batch_view *const v = m->tiles->found;
    m->boxes = result(v, DETECT_BOXES, CVR_F32, 3);
    m->scores = result(v, DETECT_SCORES, CVR_F32, 2);
    m->labels = result(v, DETECT_LABELS, CVR_I64, 2);
    m->masks = result(v, DETECT_MASKS, CVR_F32, 3);
    if (!m->boxes || !m->scores || !m->labels || m->boxes->shape[2] != 4)
        return cvr_fail(err, CVR_ERR_INVALID,
                        "the network has no results `boxes`, `scores` and `labels`, as detectors have");
    m->each = m->boxes->shape[1];
    while (m->masks && m->side * m->side < m->masks->shape[2]) m->side++;
    const int64_t n = v->n;
    if (m->scores->shape[1] == m->each && m->labels->shape[1] == m->each && m->boxes->shape[0] == n &&
        m->scores->shape[0] == n && m->labels->shape[0] == n &&
        (!m->masks ||
         (m->masks->shape[0] == n && m->masks->shape[1] == m->each && m->side * m->side == m->masks->shape[2])))
        return CVR_OK;
    return cvr_fail(err, CVR_ERR_INVALID, "the network's results do not have a row each for the same boxes");
}

/* Whether side k of a tile is not the picture's own. */
static int32_t is_inner(const double *edges, int k, const cvr_origin *picture) {
    return k < 2 ? edges[k] > 0 : edges[k] < (double)(k == 2 ? picture->width : picture->height);
}

static double reach(const double *edges, int k) {
    return fmax(CUT_PIXELS, CUT_SHARE * (edges[(k & 1) + 2] - edges[k & 1]));
}

static uint32_t cuts_of(const tile_box *b, const double *edges, const cvr_origin *picture) {
    uint32_t cut = 0;
    for (int k = 0; k < 4; k++)
        if (is_inner(edges, k, picture) && fabs(b->side[k] - edges[k]) <= reach(edges, k)) cut |= 1u << k;
    return cut;
}

static int32_t check_row(const merging *m, int64_t row, cvr_error *err) {
    const float *const b = (const float *)m->boxes->data + 4 * row;
    const float score = ((const float *)m->scores->data)[row];
    const int64_t klass = ((const int64_t *)m->labels->data)[row];
    if (klass >= m->info->n_classes)
        return cvr_fail(err, CVR_ERR_INVALID, "the network found class %lld; there are %lld", (long long)klass,
                        (long long)m->info->n_classes);
    if (isfinite(score) && isfinite(b[0]) && isfinite(b[1]) && isfinite(b[2]) && isfinite(b[3])) return CVR_OK;
    return cvr_fail(err, CVR_ERR_NUMERIC, "the network's boxes are not finite; its weights are broken");
}

/* In pixels of the picture, cut off at the tile's edges: what was padded is not there. */
static int32_t add_box(merging *m, int64_t tile, int64_t row, const double back[9], cvr_error *err) {
    const cvr_origin *const picture = m->tiles->found->origins[tile];
    const double *const edges = m->tiles->edges + 4 * tile;
    double xywh[4];
    tile_box b = {.score = ((const float *)m->scores->data)[row],
                  .klass = ((const int64_t *)m->labels->data)[row],
                  .tile = tile,
                  .row = row};
    detect_map_box(xywh, back, (const float *)m->boxes->data + 4 * row, picture->height, picture->width);
    for (int k = 0; k < 2; k++) {
        b.side[k] = fmin(fmax(xywh[k], edges[k]), edges[k + 2]);
        b.side[k + 2] = fmin(fmax(xywh[k] + xywh[k + 2], edges[k]), edges[k + 2]);
    }
    b.rank = b.score;
    b.cut = cuts_of(&b, edges, picture);
    tile_box *const to = host_array_add(&m->all, m->info->host, sizeof *to, err);
    if (!to) return CVR_ERR_NOMEM;
    *to = b;
    return CVR_OK;
}

/* By falling rank; those that are gone last; equal ones as they came. */
static int by_rank(const void *x, const void *y) {
    const tile_box *const a = x, *const b = y;
    if (a->gone != b->gone) return a->gone ? 1 : -1;
    if (a->rank != b->rank) return a->rank > b->rank ? -1 : 1;
    return a->row < b->row ? -1 : a->row > b->row;
}

/* The best of the boxes from number `first` on. */
static void keep_best(merging *m, uint64_t first, uint64_t most) {
    static int32_t told;
    char text[160];
    if (m->all.n - first <= most) return;
    qsort(boxes_of(m) + first, m->all.n - first, sizeof(tile_box), by_rank);
    m->all.n = first + most;
    if (told) return;
    told = 1;
    (void)snprintf(text, sizeof text, "the best %u boxes of a tile and %u of a picture count; raise predict.conf",
                   MOST_OF_TILE, MOST_OF_PICTURE);
    m->info->host->log(m->info->host, CVR_LOG_WARNING, text);
}

static int32_t read_tile(merging *m, int64_t tile, double least, cvr_error *err) {
    const uint64_t first = m->all.n;
    double back[9];
    CVR_TRY(detect_inverse(back, m->tiles->found->origins[tile]->geometry, err));
    for (int64_t i = 0; i < m->each; i++) {
        const int64_t row = tile * m->each + i;
        if (((const int64_t *)m->labels->data)[row] < 0) continue;
        CVR_TRY(check_row(m, row, err));
        if (((const float *)m->scores->data)[row] >= least) CVR_TRY(add_box(m, tile, row, back, err));
    }
    keep_best(m, first, MOST_OF_TILE);
    return CVR_OK;
}

/* Cells of a quarter of a tile: most boxes are smaller, and none of one tile touches more than 25. */
static int32_t begin_grid(merging *m, cvr_error *err) {
    const double *const e = m->tiles->edges, cell[2] = {(e[2] - e[0]) / 4, (e[3] - e[1]) / 4};
    return box_grid_begin(&m->grid, cell, m->tiles->found->origins[0], err);
}

/* ---- joining ---- */

static double interval_iou(const double *a, const double *b) {
    const double both = fmin(a[2], b[2]) - fmax(a[0], b[0]);
    return both > 0 ? both / (fmax(a[2], b[2]) - fmin(a[0], b[0])) : 0;
}

/* Where the next part of a may begin at most: to the right (axis 0) or below (1). */
static double next_at_most(const tile_box *a, int axis) {
    return a->side[axis + 2] + CUT_SHARE * (a->side[axis + 2] - a->side[axis]) + CUT_PIXELS;
}

/* How well b goes on where a is cut: 0, or the IoU of the sides that both have. */
static double goes_on(const tile_box *a, const tile_box *b, int axis) {
    const int far = axis + 2;
    if (b->gone || b->klass != a->klass || !(b->cut >> axis & 1)) return 0;
    if (b->side[axis] <= a->side[axis] || b->side[far] <= a->side[far] || b->side[axis] > next_at_most(a, axis))
        return 0;
    const double iou = interval_iou(a->side + (1 - axis), b->side + (1 - axis));
    return iou >= AGREE ? iou : 0;
}

static const float *mask_of(const merging *m, const tile_box *b) {
    return b->mask ? b->mask : (const float *)m->masks->data + b->row * m->side * m->side;
}

/* The probability that a box's mask has at a point of the picture; 0 outside. */
static float mask_at(const merging *m, const tile_box *b, double x, double y) {
    const double u = (x - b->side[0]) / (b->side[2] - b->side[0]), v = (y - b->side[1]) / (b->side[3] - b->side[1]);
    if (!(u >= 0 && u < 1 && v >= 0 && v < 1)) return 0;
    return mask_of(m, b)[(int64_t)(v * (double)m->side) * m->side + (int64_t)(u * (double)m->side)];
}

/* A mask over the hull, where each part says something of its own place. */
static int32_t join_masks(const merging *m, tile_box *a, const tile_box *b, const double hull[4], cvr_error *err) {
    const cvr_host *const host = m->info->host;
    float *const mask = host->alloc(host, (uint64_t)(m->side * m->side) * sizeof *mask, 64);
    if (!mask) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory for masks");
    for (int64_t i = 0; i < m->side * m->side; i++) {
        const double x = hull[0] + ((double)(i % m->side) + 0.5) / (double)m->side * (hull[2] - hull[0]),
                     y = hull[1] + ((double)(i / m->side) + 0.5) / (double)m->side * (hull[3] - hull[1]);
        mask[i] = fmaxf(mask_at(m, a, x, y), mask_at(m, b, x, y));
    }
    if (a->mask) host->free(host, a->mask);
    a->mask = mask;
    return CVR_OK;
}

static int32_t join(const merging *m, tile_box *a, tile_box *b, int axis, cvr_error *err) {
    double hull[4];
    for (int k = 0; k < 4; k++) hull[k] = k < 2 ? fmin(a->side[k], b->side[k]) : fmax(a->side[k], b->side[k]);
    if (m->masks) CVR_TRY(join_masks(m, a, b, hull, err));
    memcpy(a->side, hull, sizeof hull);
    a->cut = (a->cut & ~(4u << axis)) | (b->cut & ~(1u << axis));
    a->score = fmax(a->score, b->score);
    a->tile = JOINED;
    b->gone = 1;
    return CVR_OK;
}

typedef struct next_part {
    const tile_box *all;
    int64_t of, best; /* best: the first of those that go on equally well; -1: none */
    double iou;
    int axis;
} next_part;

static void compare_next(void *ctx, int64_t k) {
    next_part *const p = ctx;
    const double iou = k != p->of ? goes_on(&p->all[p->of], &p->all[k], p->axis) : 0;
    if (iou <= 0 || iou < p->iou || (iou == p->iou && k >= p->best)) return;
    p->iou = iou;
    p->best = k;
}

static int64_t find_next(const merging *m, int64_t i, int axis) {
    const tile_box *const a = &boxes_of(m)[i];
    next_part p = {.all = boxes_of(m), .of = i, .best = -1, .axis = axis};
    double sides[4];
    memcpy(sides, a->side, sizeof sides);
    sides[axis + 2] = next_at_most(a, axis);
    box_grid_near(&m->grid, sides, compare_next, &p);
    return p.best;
}

/* Only what is cut where it begins can be the next part of something. */
static int32_t add_next(merging *m, int64_t i, int axis, cvr_error *err) {
    const tile_box *const b = &boxes_of(m)[i];
    return b->cut >> axis & 1 ? box_grid_add(&m->grid, i, b->side, err) : CVR_OK;
}

/* An object that spans several tiles is joined part by part. */
static int32_t join_all(merging *m, int axis, cvr_error *err) {
    const int64_t n = (int64_t)m->all.n;
    tile_box *const all = boxes_of(m);
    CVR_TRY(begin_grid(m, err));
    for (int64_t i = 0; i < n; i++) CVR_TRY(add_next(m, i, axis, err));
    for (int64_t i = 0; i < n; i++) {
        while (!all[i].gone && (all[i].cut >> (axis + 2) & 1)) {
            const int64_t next = find_next(m, i, axis);
            if (next < 0) break;
            CVR_TRY(join(m, &all[i], &all[next], axis, err));
            CVR_TRY(add_next(m, i, axis, err));
        }
    }
    return CVR_OK;
}

/* ---- suppression ---- */

static double area(const tile_box *b) {
    return (b->side[2] - b->side[0]) * (b->side[3] - b->side[1]);
}

static double intersection(const tile_box *a, const tile_box *b) {
    const double w = fmin(a->side[2], b->side[2]) - fmax(a->side[0], b->side[0]),
                 h = fmin(a->side[3], b->side[3]) - fmax(a->side[1], b->side[1]);
    return w > 0 && h > 0 ? w * h : 0;
}

static void sort_boxes(const merging *m, double cut_weight) {
    tile_box *const all = boxes_of(m);
    for (uint64_t i = 0; i < m->all.n; i++) all[i].rank = all[i].score * (all[i].cut ? cut_weight : 1);
    qsort(all, m->all.n, sizeof *all, by_rank);
}

/* Whether one of them has nothing to say of the other. */
static int32_t are_apart(const tile_box *a, const tile_box *b) {
    return a->gone || b->gone || (a->tile == b->tile && b->tile != JOINED);
}

/* Whether b is what the better one is. A part of an object may look like something else. */
static int32_t is_same(const tile_box *better, const tile_box *b, double iou) {
    if (are_apart(better, b)) return 0;
    const double both = intersection(better, b), mine = area(b);
    const int32_t alike = better->klass == b->klass, part = b->cut && both > INSIDE * mine;
    if (both <= 0) return 0;
    return (alike && both / (area(better) + mine - both) > iou) || (part && (alike || !better->cut));
}

/* Whether a better box is only a part of b, which has much more of the object and half of its score or more. */
static int32_t is_part_of(const tile_box *better, const tile_box *b) {
    return !are_apart(better, b) && better->klass == b->klass && better->cut && area(better) < INSIDE * area(b) &&
           b->score >= CUT_WEIGHT * better->score && intersection(better, b) > INSIDE * area(better);
}

typedef struct suppressing {
    tile_box *all;
    int64_t of, by; /* by: the best of those that `of` is the same as; `of` itself: there is none */
    double iou;
} suppressing;

static void find_same(void *ctx, int64_t k) {
    suppressing *const s = ctx;
    const tile_box *const better = &s->all[k], *const b = &s->all[s->of];
    if (k < s->by && is_same(better, b, s->iou) && !is_part_of(better, b)) s->by = k;
}

static void drop_parts(void *ctx, int64_t k) {
    const suppressing *const s = ctx;
    if (k < s->by && is_part_of(&s->all[k], &s->all[s->of])) s->all[k].gone = 1;
}

/* From the best on, each is held against the better ones that are left, as if one by one: what is only a part of it
 * goes, until it goes itself. */
static int32_t suppress(merging *m, double iou, cvr_error *err) {
    tile_box *const all = boxes_of(m);
    sort_boxes(m, CUT_WEIGHT);
    CVR_TRY(begin_grid(m, err));
    for (int64_t i = 0; i < (int64_t)m->all.n && !all[i].gone; i++) {
        suppressing s = {all, i, i, iou};
        box_grid_near(&m->grid, all[i].side, find_same, &s);
        box_grid_near(&m->grid, all[i].side, drop_parts, &s);
        all[i].gone = s.by < i;
        if (!all[i].gone) CVR_TRY(box_grid_add(&m->grid, i, all[i].side, err));
    }
    return CVR_OK;
}

/* ---- the answer ---- */

static int32_t write_all(const merging *m, const cvr_batch_view *out, cvr_error *err) {
    const cvr_tensor *const boxes = result(out, DETECT_BOXES, CVR_F32, 3),
                            *const scores = result(out, DETECT_SCORES, CVR_F32, 2),
                            *const labels = result(out, DETECT_LABELS, CVR_I64, 2),
                            *const masks = result(out, DETECT_MASKS, CVR_F32, 3);
    const tile_box *const all = boxes_of(m);
    if (!boxes || !scores || !labels || (m->masks && !masks) || boxes->shape[1] < (int64_t)m->all.n)
        return cvr_fail(err, CVR_ERR_INVALID, "there is no room for what was found in all tiles");
    for (int64_t i = 0; i < boxes->shape[1]; i++) {
        const int32_t there = i < (int64_t)m->all.n && !all[i].gone;
        ((int64_t *)labels->data)[i] = there ? all[i].klass : -1;
        ((float *)scores->data)[i] = there ? (float)all[i].score : 0;
        for (int k = 0; k < 4; k++) ((float *)boxes->data)[4 * i + k] = there ? (float)all[i].side[k] : 0;
        const uint64_t bytes = (uint64_t)(m->side * m->side) * sizeof(float);
        float *const mask = masks ? (float *)masks->data + i * m->side * m->side : NULL;
        if (mask && there) memcpy(mask, mask_of(m, &all[i]), bytes);
        if (mask && !there) memset(mask, 0, bytes);
    }
    return CVR_OK;
}

static int32_t merge(merging *m, const cvr_batch_view *out, cvr_error *err) {
    const detect_predict_attrs *const a = m->info->predict_attrs;
    const double least = m->tiles->predicts ? a->conf : -INFINITY,
                 iou = m->tiles->predicts && a->iou < 1 ? a->iou : USUAL_IOU;
    CVR_TRY(find_results(m, err));
    for (int64_t i = 0; i < m->tiles->found->n; i++) CVR_TRY(read_tile(m, i, least, err));
    keep_best(m, 0, MOST_OF_PICTURE);
    if (m->all.n) {
        sort_boxes(m, 1);
        for (int axis = 0; axis < 2; axis++) CVR_TRY(join_all(m, axis, err));
        CVR_TRY(suppress(m, iou, err));
        sort_boxes(m, 1);
    }
    return write_all(m, out, err);
}

int32_t detect_merge_tiles(const cvr_task_info *info, const cvr_tiles *tiles, const cvr_batch_view *out,
                           cvr_error *err) {
    const cvr_host *const host = info->host;
    merging m = {.info = info, .tiles = tiles, .grid = {.host = host}};
    const int32_t status = merge(&m, out, err);
    for (uint64_t i = 0; i < m.all.n; i++)
        if (boxes_of(&m)[i].mask) host->free(host, boxes_of(&m)[i].mask);
    host_array_free(&m.all, host);
    box_grid_free(&m.grid);
    return status;
}
