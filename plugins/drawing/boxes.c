/* Lines and masks of objects over a picture. */
#include "boxes_parts.h"
#include <math.h>
#include <stdlib.h>

#define PER_SCALE 800 /* pixels of the longer side for which letters and lines have their usual size */
#define LEAST_SIDE 96 /* and of the shorter one, at least */
#define LINE 2        /* usual width */
#define CROWD 40      /* from so many objects on lines are thin */
#define SHADE 0.35    /* of the dark rim that tells a line from a ground of its colour */
#define COVER 0.38    /* of a mask's colour over the picture */

static int64_t at_least(int64_t v, int64_t least) {
    return v > least ? v : least;
}
static int64_t at_most(int64_t v, int64_t most) {
    return v < most ? v : most;
}

int64_t boxes_scale(int64_t width, int64_t height) {
    const int64_t longer = at_least(width, height), shorter = at_most(width, height);
    return at_least(at_most((longer + PER_SCALE / 2) / PER_SCALE, shorter / LEAST_SIDE), 1);
}

/* ---- where objects are ---- */

/* Pixel `v` of `n` on an axis of `shown` that begins at `from`. */
static int64_t place(double v, int64_t n, int64_t from, int64_t shown) {
    const double clamped = v < 0 ? 0 : v > (double)n ? (double)n : v;
    return from + (int64_t)floor(clamped * (double)shown / (double)n + 0.5);
}

/* 0 for a box that is outside the picture or none at all. A box without extent is shown as wide as a line. */
static int32_t show(const boxes_view *v, const drawn_box *b, int64_t line, shown_box *out) {
    const double *const at = b->xyxy;
    for (int i = 0; i < 4; i++)
        if (!isfinite(at[i])) return 0;
    if (at[2] < at[0] || at[3] < at[1] || at[2] < 0 || at[3] < 0 || at[0] > (double)v->width ||
        at[1] > (double)v->height)
        return 0;
    const int64_t left = place(at[0], v->width, v->at.x, v->at.width),
                  right = place(at[2], v->width, v->at.x, v->at.width),
                  top = place(at[1], v->height, v->at.y, v->at.height),
                  bottom = place(at[3], v->height, v->at.y, v->at.height);
    const int64_t shorter = at_most(right - left, bottom - top), half = line / 2;
    const box in = v->at;
    out->of = b;
    out->line = at_least(at_most(line, shorter / 4), 1);
    out->area.x = at_least(left - (out->line == line ? half : 0), in.x);
    out->area.y = at_least(top - (out->line == line ? half : 0), in.y);
    out->area.width = at_most(right + (out->line == line ? half : 0), in.x + in.width) - out->area.x;
    out->area.height = at_most(bottom + (out->line == line ? half : 0), in.y + in.height) - out->area.y;
    out->area.width = at_least(out->area.width, out->line);
    out->area.height = at_least(out->area.height, out->line);
    out->size = (double)out->area.width * (double)out->area.height;
    return 1;
}

static int by_size(const void *a, const void *b) {
    const shown_box *const x = a, *const y = b;
    if (x->size != y->size) return x->size < y->size ? 1 : -1;
    return x->index < y->index ? -1 : 1;
}

static int32_t show_all(shown_boxes *s, const boxes_view *v, const drawn_box *boxes, int64_t n, cvr_error *err) {
    const int64_t line = n < CROWD ? LINE * s->scale : at_least(LINE * s->scale / 2, 1);
    s->each = s->host->alloc(s->host, (uint64_t)(n + 1) * sizeof *s->each, 16);
    if (!s->each) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory for a picture with %lld boxes", (long long)n);
    for (int64_t i = 0; i < n; i++) {
        s->each[s->n].index = i;
        s->n += show(v, &boxes[i], line, &s->each[s->n]);
    }
    qsort(s->each, (size_t)s->n, sizeof *s->each, by_size);
    return CVR_OK;
}

/* ---- masks ---- */

/* The part of a mask that its box covers: (height, width), from (x, y) of the picture on. */
typedef struct mask_part {
    int64_t x, y, height, width;
    uint8_t *inside;
} mask_part;

/* Of each run only what lies in the columns of the box. */
static void read_runs(mask_part *m, const drawn_box *b, int64_t rows) {
    const int64_t first = m->x * rows, past = (m->x + m->width) * rows;
    for (int64_t r = 0, at = 0; r < (int64_t)b->n_runs && at < past; at += b->runs[r++]) {
        const int64_t end = at_most(at + b->runs[r], past);
        for (int64_t i = at_least(at, first); r % 2 == 1 && i < end; i++) {
            const int64_t y = i % rows - m->y;
            if (y >= 0 && y < m->height) m->inside[y * m->width + i / rows - m->x] = 1;
        }
    }
}

static int32_t open_mask(mask_part *m, const cvr_host *host, const boxes_view *v, const drawn_box *b, cvr_error *err) {
    m->x = at_most(at_least((int64_t)fmax(floor(b->xyxy[0]), 0), 0), v->width);
    m->y = at_most(at_least((int64_t)fmax(floor(b->xyxy[1]), 0), 0), v->height);
    m->width = (int64_t)fmin(ceil(b->xyxy[2]), (double)v->width) - m->x;
    m->height = (int64_t)fmin(ceil(b->xyxy[3]), (double)v->height) - m->y;
    const uint64_t bytes = (uint64_t)(m->width * m->height) + 1;
    m->inside = host->alloc(host, bytes, 16);
    if (!m->inside) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory for a mask");
    memset(m->inside, 0, bytes);
    for (int64_t y = 0; b->mask && y < m->height; y++) {
        for (int64_t x = 0; x < m->width; x++)
            m->inside[y * m->width + x] = b->mask[(m->y + y) * v->width + m->x + x] != 0;
    }
    if (!b->mask) read_runs(m, b, v->height);
    return CVR_OK;
}

/* Whether pixel (x, y) of the canvas shows a pixel that is inside. */
static int32_t is_inside(const mask_part *m, const boxes_view *v, int64_t x, int64_t y) {
    if (x < v->at.x || y < v->at.y || x >= v->at.x + v->at.width || y >= v->at.y + v->at.height) return 0;
    const int64_t u = (2 * (x - v->at.x) + 1) * v->width / (2 * v->at.width) - m->x,
                  w = (2 * (y - v->at.y) + 1) * v->height / (2 * v->at.height) - m->y;
    if (u < 0 || w < 0 || u >= m->width || w >= m->height) return 0;
    return m->inside[w * m->width + u];
}

static int32_t is_rim(const mask_part *m, const boxes_view *v, int64_t x, int64_t y, int64_t thick) {
    for (int64_t d = 1; d <= thick; d++)
        if (!is_inside(m, v, x - d, y) || !is_inside(m, v, x + d, y) || !is_inside(m, v, x, y - d) ||
            !is_inside(m, v, x, y + d))
            return 1;
    return 0;
}

/* `taken`, of the view: 1 where a mask lies on top already. */
static int32_t draw_mask(canvas *c, const boxes_view *v, const shown_box *s, int64_t thick, uint8_t *taken,
                         cvr_error *err) {
    const colour ink = object_colour(s->of->klass);
    mask_part m;
    if (!s->of->mask && !s->of->runs) return CVR_OK;
    CVR_TRY(open_mask(&m, c->host, v, s->of, err));
    for (int64_t y = s->area.y - 1; y <= s->area.y + s->area.height; y++) {
        for (int64_t x = s->area.x - 1; x <= s->area.x + s->area.width; x++) {
            if (!is_inside(&m, v, x, y)) continue;
            uint8_t *const here = taken + (y - v->at.y) * v->at.width + x - v->at.x;
            if (*here) continue;
            *here = 1;
            canvas_blend(c, x, y, ink, is_rim(&m, v, x, y, thick) ? 1 : COVER);
        }
    }
    c->host->free(c->host, m.inside);
    return CVR_OK;
}

/* From the smallest object to the largest; a pixel shows the first that covers it, so that the picture stays visible
 * below any number of them. */
static int32_t draw_masks(canvas *c, const boxes_view *v, const shown_boxes *s, cvr_error *err) {
    const uint64_t pixels = (uint64_t)(v->at.width * v->at.height);
    int32_t any = 0, status = CVR_OK;
    for (int64_t i = 0; i < s->n; i++) any |= s->each[i].of->mask || s->each[i].of->runs;
    if (!any) return CVR_OK;
    uint8_t *const taken = c->host->alloc(c->host, pixels, 16);
    if (!taken) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory for masks");
    memset(taken, 0, pixels);
    for (int64_t i = s->n; i-- > 0 && status == CVR_OK;) status = draw_mask(c, v, &s->each[i], s->scale, taken, err);
    c->host->free(c->host, taken);
    return status;
}

/* ---- lines ---- */

static box grown(box b, int64_t by) {
    return (box){b.x - by, b.y - by, b.width + 2 * by, b.height + 2 * by};
}

/* The frame of a box, `width` wide, inside `in`. */
static void draw_frame(canvas *c, box in, box b, int64_t width, colour ink, double alpha) {
    const int64_t right = at_most(b.x + b.width, in.x + in.width), bottom = at_most(b.y + b.height, in.y + in.height);
    for (int64_t y = at_least(b.y, in.y); y < bottom; y++) {
        const int32_t across = y < b.y + width || y >= b.y + b.height - width;
        for (int64_t x = at_least(b.x, in.x); x < right; x++) {
            if (!across && x == b.x + width && b.width > 2 * width) x = b.x + b.width - width;
            canvas_blend(c, x, y, ink, alpha);
        }
    }
}

static void draw_box(canvas *c, const shown_boxes *s, const shown_box *b, int64_t rim) {
    if (rim > 0) draw_frame(c, s->picture, grown(b->area, rim), rim, (colour){0, 0, 0}, SHADE);
    draw_frame(c, s->picture, b->area, b->line, object_colour(b->of->klass), 1);
}

int32_t boxes_draw(canvas *c, const boxes_view *v, const drawn_box *boxes, int64_t n, int64_t *left_out,
                   cvr_error *err) {
    shown_boxes s = {
        .host = c->host, .picture = v->at, .scale = v->scale > 0 ? v->scale : boxes_scale(v->at.width, v->at.height)};
    int64_t without = 0;
    int32_t status;
    CVR_TRY_OUT(show_all(&s, v, boxes, n, err));
    CVR_TRY_OUT(draw_masks(c, v, &s, err));
    for (int64_t i = 0; i < s.n; i++) draw_box(c, &s, &s.each[i], n < CROWD ? at_least(s.scale / 2, 1) : 0);
    without = box_plates_draw(c, &s);
    CVR_TRY_OUT(without >= 0 ? CVR_OK : cvr_fail(err, CVR_ERR_NOMEM, "out of memory for the names of boxes"));
    if (left_out) *left_out = without;
out:
    if (s.each) s.host->free(s.host, s.each);
    return status;
}
