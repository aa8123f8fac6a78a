/* A sheet of pictures with their masks: what its tiles keep, and how they are drawn. */
#include "mask_sheet.h"

#define SMALL 192 /* small pictures are shown larger, by whole factors, up to this side */
#define LARGE 256 /* large ones are made smaller down to this side */
#define PANE_GAP 6
#define GAP 16 /* between tiles, and around them */
#define CAPTION 16
#define TITLE 26
#define COLUMNS 2
#define LEAST_PANE 148 /* room for "prediction, iou 0.123" */
#define COVER 0.65     /* how much of a pixel its class's colour takes */

static int64_t at_least(int64_t v, int64_t least) {
    return v > least ? v : least;
}

static void close_tile(mask_tile *t, const cvr_host *host) {
    if (t->pixels) host->free(host, t->pixels);
    *t = (mask_tile){.pixels = NULL};
}

void mask_sheet_clear(mask_sheet *s) {
    for (int64_t i = 0; i < s->n; i++) close_tile(&s->tiles[i], s->look.host);
    s->n = 0;
    s->changed = 0;
}

int32_t mask_sheet_open(mask_sheet *s, const cvr_run_info *info, cvr_error *err) {
    *s = (mask_sheet){.n = 0};
    CVR_TRY(picture_look_open(&s->look, info, err));
    CVR_TRY(report_classes_copy(&s->classes, info->host, info->n_classes, info->class_names, err));
    const int n = snprintf(s->folder, sizeof s->folder, "%s", info->folder);
    return n >= 0 && n < REPORT_PATH
               ? CVR_OK
               : cvr_fail(err, CVR_ERR_INVALID, "the path of the run folder is too long; choose a shorter one");
}

void mask_sheet_close(mask_sheet *s) {
    const cvr_host *const host = s->look.host;
    cvr_error err;
    cvr_error_init(&err);
    if (mask_sheet_draw(s, &err) != CVR_OK) host->log(host, CVR_LOG_WARNING, err.message);
    mask_sheet_clear(s);
    report_classes_free(&s->classes, host);
    picture_look_close(&s->look);
}

/* ---- what a tile keeps ---- */

/* The picture's file, without its folders. */
static void name_of(const cvr_batch_view *b, int64_t i, char name[64]) {
    const char *const path = b->origins ? b->origins[i]->path : NULL, *const slash = path ? strrchr(path, '/') : NULL;
    if (path)
        (void)snprintf(name, 64, "%.60s", slash ? slash + 1 : path);
    else
        (void)snprintf(name, 64, "picture %lld", (long long)(b->origins ? b->origins[i]->index : i));
}

/* Its own size, or the largest that is shown. */
static int32_t open_tile(mask_tile *t, const cvr_host *host, const cvr_tensor *image, cvr_error *err) {
    const int64_t height = image->shape[2], width = image->shape[3], longer = at_least(width, height);
    t->height = longer <= LARGE ? height : at_least((height * LARGE + longer / 2) / longer, 1);
    t->width = longer <= LARGE ? width : at_least((width * LARGE + longer / 2) / longer, 1);
    const int64_t n = t->height * t->width;
    t->pixels = host->alloc(host, (uint64_t)(5 * n), 16);
    if (!t->pixels) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory for a picture of the report");
    t->truth = t->pixels + 3 * n;
    t->said = t->pixels + 4 * n;
    return CVR_OK;
}

static uint8_t as_class(int64_t k, int64_t n_classes) {
    return k >= 0 && k < n_classes && k < PICTURE_IGNORED ? (uint8_t)k : PICTURE_IGNORED;
}

/* What is said of a pixel that does not count is not kept. */
static void fill_tile(const mask_sheet *s, mask_tile *t, const cvr_batch_event *e, int64_t i) {
    const cvr_tensor *const image = batch_image(e->batch), *const mask = batch_mask(e->batch),
                            *const scores = batch_pixel_scores(e->outputs, s->classes.n, mask);
    const view_size size = {t->height, t->width};
    for (int64_t y = 0, at = 0; y < t->height; y++) {
        for (int64_t x = 0; x < t->width; x++, at++) {
            const int64_t v = (2 * y + 1) * image->shape[2] / (2 * t->height),
                          u = (2 * x + 1) * image->shape[3] / (2 * t->width);
            const int64_t pixel = (i * image->shape[2] + v) * image->shape[3] + u;
            const colour c = picture_pixel(&s->look, image, i, size, x, y);
            memcpy(t->pixels + 3 * at, (const uint8_t[]){c.r, c.g, c.b}, 3);
            t->truth[at] = as_class(((const int64_t *)mask->data)[pixel], s->classes.n);
            t->said[at] =
                t->truth[at] == PICTURE_IGNORED || !scores
                    ? PICTURE_IGNORED
                    : as_class(cvr_argmax((const float *)scores->data + pixel * scores->pixel_stride, s->classes.n),
                               s->classes.n);
        }
    }
    if (!scores) t->said = NULL;
}

int32_t mask_sheet_add(mask_sheet *s, const cvr_batch_event *e, int64_t i, int64_t place, cvr_error *err) {
    mask_tile t = {.score = e->scores ? e->scores[i] : 0};
    CVR_TRY(open_tile(&t, s->look.host, batch_image(e->batch), err));
    fill_tile(s, &t, e, i);
    name_of(e->batch, i, t.name);
    (void)snprintf(t.words, sizeof t.words, "prediction");
    if (e->scores) (void)snprintf(t.words, sizeof t.words, "prediction, %.20s %.3f", e->score_name, e->scores[i]);
    if (s->n == MASK_SHEET_TILES) close_tile(&s->tiles[--s->n], s->look.host);
    for (int64_t k = s->n++; k > place; k--) s->tiles[k] = s->tiles[k - 1];
    s->tiles[place] = t;
    return CVR_OK;
}

/* ---- drawing ---- */

typedef struct mask_layout {
    int64_t columns, rows, tile, top, row_height[MASK_SHEET_TILES], width, height;
} mask_layout;

static int64_t factor_of(const mask_tile *t) {
    return at_least(SMALL / at_least(t->width, t->height), 1);
}
static int64_t pane_width(const mask_tile *t) {
    return at_least(t->width * factor_of(t), LEAST_PANE);
}

/* Tiles go row by row. */
static mask_layout lay_out(const mask_sheet *s) {
    mask_layout l = {.columns = s->n < COLUMNS ? s->n : COLUMNS, .top = GAP + (*s->title ? TITLE : 0)};
    l.rows = (s->n + l.columns - 1) / l.columns;
    l.height = l.top;
    for (int64_t i = 0; i < s->n; i++) {
        const mask_tile *const t = &s->tiles[i];
        int64_t *const high = &l.row_height[i / l.columns];
        l.tile = at_least(l.tile, (t->said ? 3 : 2) * (pane_width(t) + PANE_GAP) - PANE_GAP + 2);
        *high = at_least(*high, t->height * factor_of(t) + 2 + CAPTION);
    }
    for (int64_t i = 0; i < l.rows; i++) l.height += l.row_height[i] + GAP;
    l.width = l.columns * (l.tile + GAP) + GAP;
    return l;
}

/* The picture; with classes it is grey, and their colours lie over it. */
static void draw_pane(canvas *c, const mask_tile *t, const uint8_t *classes, box at, const char *caption) {
    const int64_t factor = factor_of(t);
    char label[256];
    for (int64_t y = 0; y < at.height; y++) {
        for (int64_t x = 0; x < at.width; x++) {
            const int64_t i = y / factor * t->width + x / factor;
            const uint8_t *const p = t->pixels + 3 * i;
            const uint8_t grey = (uint8_t)((299 * p[0] + 587 * p[1] + 114 * p[2]) / 1000);
            const colour plain = {p[0], p[1], p[2]}, faint = {grey, grey, grey};
            canvas_blend(c, at.x + x, at.y + y, classes ? faint : plain, 1);
            if (classes) canvas_blend(c, at.x + x, at.y + y, class_colour(classes[i]), COVER);
        }
    }
    canvas_frame(c, (box){at.x - 1, at.y - 1, at.width + 2, at.height + 2}, CANVAS_GRID);
    canvas_cut(label, sizeof label, caption, pane_width(t) / CANVAS_LETTER_WIDTH);
    canvas_text(c, at.x, at.y + at.height + 4, label, (canvas_text_style){CANVAS_INK, 0, 0});
}

static void draw_tile(canvas *c, const mask_tile *t, int64_t left, int64_t top) {
    const int64_t step = pane_width(t) + PANE_GAP;
    box at = {left + 1, top + 1, t->width * factor_of(t), t->height * factor_of(t)};
    draw_pane(c, t, NULL, at, t->name);
    at.x += step;
    draw_pane(c, t, t->truth, at, "truth");
    at.x += step;
    if (t->said) draw_pane(c, t, t->said, at, t->words);
}

static void draw_sheet(canvas *c, const mask_sheet *s, const mask_layout *l) {
    int64_t y = l->top;
    if (*s->title) canvas_text(c, GAP, GAP, s->title, (canvas_text_style){CANVAS_INK, 0, 1});
    for (int64_t i = 0; i < s->n; i++) {
        draw_tile(c, &s->tiles[i], GAP + i % l->columns * (l->tile + GAP), y);
        if (i % l->columns == l->columns - 1) y += l->row_height[i / l->columns] + GAP;
    }
}

/* Marks the classes that are to be seen, and whether there are pixels that do not count. */
static void find_seen(const mask_sheet *s, uint8_t seen[256]) {
    memset(seen, 0, 256);
    for (int64_t k = 0; k < s->n; k++) {
        const mask_tile *const t = &s->tiles[k];
        for (int64_t i = 0; i < t->height * t->width; i++) {
            seen[t->truth[i]] = 1;
            if (t->said) seen[t->said[i]] = 1;
        }
    }
}

int32_t mask_sheet_draw(mask_sheet *s, cvr_error *err) {
    uint8_t seen[256];
    canvas c;
    if (!s->changed || s->n == 0) return CVR_OK;
    s->changed = 0;
    s->drawn = report_now();
    const mask_layout l = lay_out(s);
    const box below = {GAP, l.height, l.width - 2 * GAP, 0};
    find_seen(s, seen);
    CVR_TRY(
        canvas_open(&c, s->look.host, l.width, l.height + picture_legend(NULL, &s->classes, seen, below) + GAP, err));
    draw_sheet(&c, s, &l);
    (void)picture_legend(&c, &s->classes, seen, below);
    const int32_t status = report_save_png(&c, s->folder, s->file, err);
    canvas_close(&c);
    return status;
}

int32_t mask_sheet_flush(mask_sheet *s, cvr_error *err) {
    return report_may_draw(s->drawn) ? mask_sheet_draw(s, err) : CVR_OK;
}
