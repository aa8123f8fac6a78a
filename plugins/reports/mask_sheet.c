/* Drawing a sheet of pictures with their masks. */
#include "mask_sheet.h"

#define SMALL 192 /* small pictures are made larger, by whole factors, up to this side */
#define LARGE 256 /* large ones are made smaller down to this side */
#define PANE_GAP 6
#define GAP 16 /* between tiles, and around them */
#define CAPTION 16
#define TITLE 26
#define COLUMNS 2
#define LEAST_PANE 112 /* room for a caption */

static void close_tile(mask_tile *t, const cvr_host *host) {
    if (t->c.host) canvas_close(&t->c);
    if (t->seen) host->free(host, t->seen);
    *t = (mask_tile){.seen = NULL};
}

void mask_sheet_clear(mask_sheet *s) {
    for (int64_t i = 0; i < s->n; i++) close_tile(&s->tiles[i], s->look->host);
    s->n = 0;
}

static int64_t at_least(int64_t v, int64_t least) {
    return v > least ? v : least;
}

/* The size that a picture has on the sheet. */
static box pane_of(const cvr_tensor *image) {
    const int64_t height = image->shape[2], width = image->shape[3], longer = at_least(width, height);
    const int64_t factor = at_least(SMALL / longer, 1);
    if (longer <= LARGE) return (box){1, 1, width * factor, height * factor};
    return (box){1, 1, at_least((width * LARGE + longer / 2) / longer, 1),
                 at_least((height * LARGE + longer / 2) / longer, 1)};
}

/* The picture's file, without its folders. */
static void name_of(const cvr_batch_view *b, int64_t i, char name[64]) {
    const char *const path = b->origins ? b->origins[i]->path : NULL, *const slash = path ? strrchr(path, '/') : NULL;
    if (path)
        (void)snprintf(name, 64, "%.60s", slash ? slash + 1 : path);
    else
        (void)snprintf(name, 64, "picture %lld", (long long)(b->origins ? b->origins[i]->index : i));
}

static void caption(canvas *c, box pane, const char *words) {
    char label[64];
    canvas_cut(label, words, at_least(pane.width, LEAST_PANE) / CANVAS_LETTER_WIDTH);
    canvas_text(c, pane.x, pane.y + pane.height + 4, label, (canvas_text_style){CANVAS_INK, 0, 0});
}

/* Picture, truth, prediction. */
static void draw_panes(const mask_sheet *s, mask_tile *t, const cvr_batch_event *e, int64_t i, box pane) {
    const cvr_tensor *const image = batch_image(e->batch), *const mask = batch_mask(e->batch),
                            *const scores = batch_pixel_scores(e->outputs, s->classes->n, mask);
    const int64_t step = at_least(pane.width, LEAST_PANE) + PANE_GAP;
    const pixel_classes truth = {mask, NULL, s->classes->n, t->seen}, said = {scores, mask, s->classes->n, t->seen};
    char words[64];
    name_of(e->batch, i, words);
    picture_draw(&t->c, s->look, image, i, pane);
    caption(&t->c, pane, words);
    pane.x += step;
    picture_draw(&t->c, s->look, image, i, pane);
    picture_draw_classes(&t->c, &truth, i, pane);
    caption(&t->c, pane, "truth");
    if (!scores) return;
    pane.x += step;
    picture_draw(&t->c, s->look, image, i, pane);
    picture_draw_classes(&t->c, &said, i, pane);
    (void)snprintf(words, sizeof words, "prediction");
    if (e->scores) (void)snprintf(words, sizeof words, "prediction, %.20s %.3f", e->score_name, e->scores[i]);
    caption(&t->c, pane, words);
}

static int32_t make_tile(const mask_sheet *s, mask_tile *t, const cvr_batch_event *e, int64_t i, cvr_error *err) {
    const cvr_tensor *const mask = batch_mask(e->batch);
    const int64_t panes = batch_pixel_scores(e->outputs, s->classes->n, mask) ? 3 : 2;
    const box pane = pane_of(batch_image(e->batch));
    *t = (mask_tile){.score = e->scores ? e->scores[i] : 0};
    t->seen = report_calloc(s->look->host, (uint64_t)s->classes->n + 1);
    if (!t->seen) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory for a picture of the report");
    CVR_TRY(canvas_open(&t->c, s->look->host, panes * (at_least(pane.width, LEAST_PANE) + PANE_GAP) - PANE_GAP + 2,
                        pane.height + 2 + CAPTION, err));
    draw_panes(s, t, e, i, pane);
    return CVR_OK;
}

int32_t mask_sheet_add(mask_sheet *s, const cvr_batch_event *e, int64_t i, int64_t place, cvr_error *err) {
    mask_tile t;
    const int32_t status = make_tile(s, &t, e, i, err);
    if (status != CVR_OK) {
        close_tile(&t, s->look->host);
        return status;
    }
    if (s->n == MASK_SHEET_TILES) close_tile(&s->tiles[--s->n], s->look->host);
    for (int64_t k = s->n++; k > place; k--) s->tiles[k] = s->tiles[k - 1];
    s->tiles[place] = t;
    return CVR_OK;
}

/* ---- the sheet ---- */

typedef struct mask_layout {
    int64_t columns, rows, tile, top, row_height[MASK_SHEET_TILES], width, height;
} mask_layout;

/* Tiles go row by row. */
static mask_layout lay_out(const mask_sheet *s, const char *title) {
    mask_layout l = {.columns = s->n < COLUMNS ? s->n : COLUMNS, .top = GAP + (*title ? TITLE : 0)};
    l.rows = (s->n + l.columns - 1) / l.columns;
    l.height = l.top;
    for (int64_t i = 0; i < s->n; i++) {
        const cvr_image *const m = &s->tiles[i].c.image;
        int64_t *const high = &l.row_height[i / l.columns];
        l.tile = at_least(l.tile, m->width);
        *high = at_least(*high, m->height);
    }
    for (int64_t i = 0; i < l.rows; i++) l.height += l.row_height[i] + GAP;
    l.width = l.columns * (l.tile + GAP) + GAP;
    return l;
}

static void put_tile(canvas *c, const canvas *tile, int64_t left, int64_t top) {
    for (int64_t y = 0; y < tile->image.height; y++) {
        for (int64_t x = 0; x < tile->image.width; x++) {
            const uint8_t *const p = tile->image.data + (y * tile->image.width + x) * 3;
            canvas_blend(c, left + x, top + y, (colour){p[0], p[1], p[2]}, 1);
        }
    }
}

static void draw_sheet(canvas *c, const mask_sheet *s, const mask_layout *l, const char *title) {
    int64_t y = l->top;
    if (*title) canvas_text(c, GAP, GAP, title, (canvas_text_style){CANVAS_INK, 0, 1});
    for (int64_t i = 0; i < s->n; i++) {
        put_tile(c, &s->tiles[i].c, GAP + i % l->columns * (l->tile + GAP), y);
        if (i % l->columns == l->columns - 1) y += l->row_height[i / l->columns] + GAP;
    }
}

int32_t mask_sheet_save(const mask_sheet *s, const char *title, const char *folder, const char *name, cvr_error *err) {
    const cvr_host *const host = s->look->host;
    if (s->n == 0) return CVR_OK;
    const mask_layout l = lay_out(s, title);
    const box below = {GAP, l.height, l.width - 2 * GAP, 0};
    uint8_t *const seen = report_calloc(host, (uint64_t)s->classes->n + 1);
    canvas c = {.host = NULL};
    int32_t status;
    CVR_TRY_OUT(seen ? CVR_OK : cvr_fail(err, CVR_ERR_NOMEM, "out of memory for a picture of the report"));
    for (int64_t i = 0; i < s->n; i++)
        for (int64_t k = 0; k < s->classes->n; k++) seen[k] |= s->tiles[i].seen[k];
    CVR_TRY_OUT(canvas_open(&c, host, l.width, l.height + picture_legend(NULL, s->classes, seen, below) + GAP, err));
    draw_sheet(&c, s, &l, title);
    (void)picture_legend(&c, s->classes, seen, below);
    CVR_TRY_OUT(report_save_png(&c, folder, name, err));
out:
    if (c.host) canvas_close(&c);
    if (seen) host->free(host, seen);
    return status;
}
