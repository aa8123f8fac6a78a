/*
 * Pictures with objects: the truth, which is what the network learns from, and beside it what the network says, from a
 * score on. What it says are its results `boxes` (N, D, 4), `scores` (N, D), `labels` (N, D), -1 for none, and where it
 * has masks `masks` (N, D, M * M), which stretch over their boxes.
 */
#include "../drawing/boxes.h"
#include "picture_sheet.h"
#include <math.h>

#define SIDE 384         /* of a pane; small pictures are shown larger by a whole factor, large ones smaller */
#define LEAST_SCORE 0.25 /* of what is shown of the network's */
#define MOST 200         /* objects of a pane */

static int64_t at_least(int64_t v, int64_t least) {
    return v > least ? v : least;
}

static view_size size_of(const batch_picture *p) {
    const int64_t longer = at_least(p->height, p->width), factor = at_least(SIDE / longer, 1);
    if (longer <= SIDE) return (view_size){p->height * factor, p->width * factor};
    return (view_size){at_least((p->height * SIDE + longer / 2) / longer, 1),
                       at_least((p->width * SIDE + longer / 2) / longer, 1)};
}

/* ---- what a batch and a network have ---- */

/* Objects of N pictures, `most` rows of each. */
typedef struct object_rows {
    int64_t most;
    const float *boxes;
    const int64_t *classes, *counts; /* counts NULL: all rows count, up to the first class below 0 */
    const float *scores;             /* NULL: the truth has none */
    const cvr_tensor *masks;         /* NULL: there are none */
} object_rows;

static const cvr_named_tensor *find_kind(const cvr_batch_view *b, const char *kind) {
    for (uint32_t i = 0; b && i < b->n_fields; i++)
        if (strcmp(b->fields[i]->kind, kind) == 0) return b->fields[i];
    return NULL;
}

/* The named tensor's, if it has this type and rank and begins with (n, most); `most` below 0 takes any. */
static const cvr_tensor *as(const cvr_named_tensor *t, uint32_t dtype, uint32_t rank, int64_t n, int64_t most) {
    if (!t || t->tensor.dtype != dtype || t->tensor.rank != rank || t->tensor.shape[0] != n) return NULL;
    return most < 0 || t->tensor.shape[1] == most ? &t->tensor : NULL;
}

/* 0 where the batch has no objects. */
static int32_t find_truth(const cvr_batch_view *b, object_rows *r) {
    const cvr_named_tensor *const named = find_kind(b, CVR_FIELD_BOXES), *const masks = find_kind(b, CVR_FIELD_MASKS);
    const cvr_tensor *const image = batch_image(b), *const boxes = as(named, CVR_F32, 3, b->n, -1);
    if (!image || !boxes || boxes->shape[2] != 4) return 0;
    const cvr_tensor *const labels = as(find_kind(b, CVR_FIELD_BOX_LABELS), CVR_I64, 2, b->n, boxes->shape[1]);
    if (!labels) return 0;
    *r = (object_rows){.most = boxes->shape[1], .boxes = boxes->data, .classes = labels->data};
    if (named->counts) r->counts = named->counts->data;
    if (masks && as(masks, masks->tensor.dtype, 4, b->n, r->most) && masks->tensor.shape[2] == image->shape[2] &&
        masks->tensor.shape[3] == image->shape[3] && (masks->tensor.dtype == CVR_U8 || masks->tensor.dtype == CVR_F32))
        r->masks = &masks->tensor;
    return 1;
}

static int32_t find_said(const cvr_batch_view *outputs, object_rows *r) {
    if (!outputs) return 0;
    const cvr_tensor *const boxes = as(cvr_batch_find(outputs, "boxes"), CVR_F32, 3, outputs->n, -1);
    if (!boxes || boxes->shape[2] != 4) return 0;
    const cvr_tensor *const labels = as(cvr_batch_find(outputs, "labels"), CVR_I64, 2, outputs->n, boxes->shape[1]),
                            *const scores =
                                as(cvr_batch_find(outputs, "scores"), CVR_F32, 2, outputs->n, boxes->shape[1]);
    if (!labels || !scores) return 0;
    *r = (object_rows){.most = boxes->shape[1], .boxes = boxes->data, .classes = labels->data, .scores = scores->data};
    r->masks = as(cvr_batch_find(outputs, "masks"), CVR_F32, 3, outputs->n, r->most);
    return 1;
}

static int32_t shows(const cvr_batch_view *b) {
    object_rows r;
    return find_truth(b, &r);
}

/* ---- masks, in the pane's pixels ---- */

typedef struct pane_maker {
    const picture_sheet *sheet;
    const batch_picture *from;
    view_size size;
    drawn_box *boxes; /* MOST of them, in the pane's pixels */
    int64_t n;
    uint8_t *masks; /* size.height * size.width of each of them; NULL: there are none */
    double best;    /* score of what is not shown for its score */
} pane_maker;

/* Object `row` of picture i: (N, object, H, W), whose axis 1 lies innermost. */
static void truth_mask(const pane_maker *m, const cvr_tensor *masks, int64_t row, uint8_t *out) {
    const int64_t i = m->from->i, most = masks->shape[1];
    for (int64_t y = 0; y < m->size.height; y++) {
        for (int64_t x = 0; x < m->size.width; x++) {
            const int64_t v = (2 * y + 1) * m->from->height / (2 * m->size.height),
                          u = (2 * x + 1) * m->from->width / (2 * m->size.width),
                          at = ((i * masks->shape[2] + v) * masks->shape[3] + u) * most + row;
            *out++ = masks->dtype == CVR_U8 ? ((const uint8_t *)masks->data)[at] != 0
                                            : ((const float *)masks->data)[at] >= 0.5f;
        }
    }
}

static double cell(const float *mask, int64_t side, int64_t y, int64_t x) {
    return y >= 0 && x >= 0 && y < side && x < side ? (double)mask[y * side + x] : 0;
}

/* A mask of side x side over a box, bilinear, with nothing around it. */
static void said_mask(const pane_maker *m, const float *mask, int64_t side, const double xyxy[4], uint8_t *out) {
    for (int64_t y = 0; y < m->size.height; y++) {
        for (int64_t x = 0; x < m->size.width; x++) {
            const double u = ((double)x + 0.5 - xyxy[0]) / (xyxy[2] - xyxy[0]) * (double)side - 0.5,
                         v = ((double)y + 0.5 - xyxy[1]) / (xyxy[3] - xyxy[1]) * (double)side - 0.5;
            *out = 0;
            if (u > -1 && v > -1 && u < (double)side && v < (double)side) {
                const int64_t left = (int64_t)floor(u), top = (int64_t)floor(v);
                const double right = u - (double)left, down = v - (double)top;
                const double upper =
                                 cell(mask, side, top, left) * (1 - right) + cell(mask, side, top, left + 1) * right,
                             lower = cell(mask, side, top + 1, left) * (1 - right) +
                                     cell(mask, side, top + 1, left + 1) * right;
                *out = upper * (1 - down) + lower * down > 0.5;
            }
            out++;
        }
    }
}

static void add_mask(pane_maker *m, const object_rows *r, int64_t row) {
    const int64_t pixels = m->size.height * m->size.width;
    drawn_box *const b = &m->boxes[m->n];
    uint8_t *const mask = m->masks + m->n * pixels;
    if (r->scores) {
        const int64_t n = r->masks->shape[2], side = (int64_t)floor(sqrt((double)n) + 0.5);
        if (side < 1 || side * side != n) return;
        said_mask(m, (const float *)r->masks->data + (m->from->i * r->most + row) * n, side, b->xyxy, mask);
    } else {
        truth_mask(m, r->masks, row, mask);
    }
    b->mask = mask;
}

/* ---- panes ---- */

static void take_rows(pane_maker *m, const object_rows *r) {
    const int64_t i = m->from->i, n = r->counts && r->counts[i] < r->most ? r->counts[i] : r->most;
    const double across = (double)m->size.width / (double)m->from->width,
                 down = (double)m->size.height / (double)m->from->height;
    const report_classes *const classes = &m->sheet->classes;
    m->n = 0;
    m->best = -1;
    for (int64_t row = 0; row < n && m->n < MOST; row++) {
        const int64_t at = i * r->most + row, k = r->classes[at];
        const double score = r->scores ? (double)r->scores[at] : -1;
        if (k < 0) continue;
        if (r->scores && !(score >= LEAST_SCORE)) {
            m->best = fmax(m->best, score);
            continue;
        }
        const float *const b = r->boxes + 4 * at;
        m->boxes[m->n] = (drawn_box){
            .xyxy = {(double)b[0] * across, (double)b[1] * down, (double)b[2] * across, (double)b[3] * down},
            .klass = k,
            .score = score,
            .name = classes->names && k < classes->n ? classes->names[k] : NULL,
            .unnamed = classes->n == 1};
        if (m->masks) add_mask(m, r, row);
        m->n++;
    }
}

static int32_t open_rows(pane_maker *m, const object_rows *r, cvr_error *err) {
    const cvr_host *const host = m->sheet->look.host;
    const int64_t most = r->most < MOST ? r->most : MOST;
    m->boxes = host->alloc(host, ((uint64_t)most + 1) * sizeof *m->boxes, 16);
    if (r->masks) m->masks = host->alloc(host, (uint64_t)(most * m->size.height * m->size.width) + 1, 16);
    return m->boxes && (m->masks || !r->masks)
               ? CVR_OK
               : cvr_fail(err, CVR_ERR_NOMEM, "out of memory for a picture of the report");
}

static void close_rows(pane_maker *m) {
    const cvr_host *const host = m->sheet->look.host;
    if (m->boxes) host->free(host, m->boxes);
    if (m->masks) host->free(host, m->masks);
    m->boxes = NULL;
    m->masks = NULL;
}

/* Where not all have a plate, the legend explains the colours. */
static int32_t draw_pane(pane_maker *m, const object_rows *r, sheet_tile *t, int64_t pane, cvr_error *err) {
    const boxes_view v = {
        .at = {0, 0, m->size.width, m->size.height}, .height = m->size.height, .width = m->size.width, .scale = 1};
    canvas c = {.host = m->sheet->look.host,
                .image = {.struct_size = sizeof c.image,
                          .width = m->size.width,
                          .height = m->size.height,
                          .channels = 3,
                          .data = sheet_pane(t, pane)}};
    int64_t left_out = 0;
    int32_t status;
    CVR_TRY_OUT(open_rows(m, r, err));
    take_rows(m, r);
    CVR_TRY_OUT(boxes_draw(&c, &v, m->boxes, m->n, &left_out, err));
    for (int64_t i = 0; i < m->n && left_out > 0; i++)
        if (m->boxes[i].klass < PICTURE_IGNORED) t->seen[m->boxes[i].klass] = 1;
out:
    close_rows(m);
    return status;
}

static void draw_picture(const pane_maker *m, uint8_t *out) {
    for (int64_t y = 0; y < m->size.height; y++) {
        for (int64_t x = 0; x < m->size.width; x++, out += 3) {
            const colour c = picture_pixel(&m->sheet->look, m->from, m->size, x, y);
            memcpy(out, (const uint8_t[]){c.r, c.g, c.b}, 3);
        }
    }
}

static int32_t fill(const picture_sheet *s, sheet_tile *t, const cvr_batch_event *e, int64_t i, cvr_error *err) {
    const batch_picture from = batch_picture_at(e->batch, i);
    pane_maker m = {.sheet = s, .from = &from, .size = size_of(&from)};
    object_rows truth, said;
    const int32_t spoke = find_said(e->outputs, &said);
    (void)find_truth(e->batch, &truth);
    CVR_TRY(sheet_tile_open(t, s->look.host, spoke ? 2 : 1, m.size, err));
    draw_picture(&m, sheet_pane(t, 0));
    if (spoke) memcpy(sheet_pane(t, 1), sheet_pane(t, 0), (size_t)(t->height * t->width * 3));
    CVR_TRY(draw_pane(&m, &truth, t, 0, err));
    sheet_tile_name(e->batch, i, t->captions[0], SHEET_CAPTION);
    const size_t named = strlen(t->captions[0]);
    (void)snprintf(t->captions[0] + named, SHEET_CAPTION - named, "%s%s", spoke ? ", truth" : "",
                   m.n == 0 ? ", nothing to find" : "");
    if (!spoke) return CVR_OK;
    CVR_TRY(draw_pane(&m, &said, t, 1, err));
    sheet_tile_said(e, i, t->captions[1], SHEET_CAPTION);
    const size_t used = strlen(t->captions[1]);
    if (m.n == 0 && m.best >= 0)
        (void)snprintf(t->captions[1] + used, SHEET_CAPTION - used, ", none from %.2f on, at most %.2f", LEAST_SCORE,
                       m.best);
    else if (m.n == 0)
        (void)snprintf(t->captions[1] + used, SHEET_CAPTION - used, ", nothing found");
    return CVR_OK;
}

const sheet_kind sheet_of_boxes = {
    .shows = shows, .fill = fill, .colour_of = object_colour, .most = 8, .most_single = 16};
