/* A sheet of pictures: what its tiles keep, and how they are drawn. */
#include "picture_sheet.h"
#include <math.h>

#define PANE_GAP 6
#define GAP 16     /* between tiles, and around them */
#define CAPTION 16 /* a line of it */
#define TITLE 26
#define COLUMNS 2        /* of tiles with several panes */
#define COLUMNS_SINGLE 4 /* of those with one */
#define LEAST_PANE 148   /* room for "prediction, iou 0.123" */

static int64_t at_least(int64_t v, int64_t least) {
    return v > least ? v : least;
}

static void close_tile(sheet_tile *t, const cvr_host *host) {
    if (t->pixels) host->free(host, t->pixels);
    *t = (sheet_tile){.pixels = NULL};
}

void picture_sheet_clear(picture_sheet *s) {
    for (int64_t i = 0; i < s->n; i++) close_tile(&s->tiles[i], s->look.host);
    s->n = 0;
    s->changed = 0;
}

int32_t picture_sheet_open(picture_sheet *s, const cvr_run_info *info, int64_t room, cvr_error *err) {
    *s = (picture_sheet){.room = room < SHEET_TILES ? room : SHEET_TILES};
    CVR_TRY(picture_look_open(&s->look, info, err));
    CVR_TRY(report_classes_copy(&s->classes, info->host, info->n_classes, info->class_names, err));
    const int n = snprintf(s->folder, sizeof s->folder, "%s", info->folder);
    return n >= 0 && n < REPORT_PATH
               ? CVR_OK
               : cvr_fail(err, CVR_ERR_INVALID, "the path of the run folder is too long; choose a shorter one");
}

void picture_sheet_close(picture_sheet *s) {
    const cvr_host *const host = s->look.host;
    cvr_error err;
    cvr_error_init(&err);
    if (picture_sheet_draw(s, &err) != CVR_OK) host->log(host, CVR_LOG_WARNING, err.message);
    picture_sheet_clear(s);
    report_classes_free(&s->classes, host);
    picture_look_close(&s->look);
}

const sheet_kind *sheet_kind_of(const cvr_batch_view *b) {
    static const sheet_kind *const kinds[] = {&sheet_of_boxes, &sheet_of_masks};
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        if (kinds[i]->shows(b)) return kinds[i];
    return NULL;
}

/* ---- what a tile keeps ---- */

void sheet_tile_name(const cvr_batch_view *b, int64_t i, char *name, uint64_t size) {
    const char *const path = b->origins ? b->origins[i]->path : NULL, *const slash = path ? strrchr(path, '/') : NULL;
    if (path)
        (void)snprintf(name, size, "%.100s", slash ? slash + 1 : path);
    else
        (void)snprintf(name, size, "picture %lld", (long long)(b->origins ? b->origins[i]->index : i));
}

void sheet_tile_said(const cvr_batch_event *e, int64_t i, char *words, uint64_t size) {
    (void)snprintf(words, size, "prediction");
    /* A picture that there is nothing to find in has no score. */
    if (e->scores && !isnan(e->scores[i]))
        (void)snprintf(words, size, "prediction, %.20s %.3f", e->score_name, e->scores[i]);
}

int32_t sheet_tile_open(sheet_tile *t, const cvr_host *host, int64_t n_panes, view_size size, cvr_error *err) {
    *t = (sheet_tile){.height = size.height, .width = size.width, .factor = 1, .n_panes = n_panes};
    t->pixels = host->alloc(host, (uint64_t)(n_panes * t->height * t->width * 3), 16);
    return t->pixels ? CVR_OK : cvr_fail(err, CVR_ERR_NOMEM, "out of memory for a picture of the report");
}

int32_t picture_sheet_add(picture_sheet *s, const cvr_batch_event *e, int64_t i, int64_t place, cvr_error *err) {
    const sheet_kind *const kind = sheet_kind_of(e->batch);
    sheet_tile t = {.pixels = NULL};
    if (!kind) return CVR_OK;
    if (kind != s->kind) picture_sheet_clear(s);
    s->kind = kind;
    const int32_t status = kind->fill(s, &t, e, i, err);
    if (status != CVR_OK) {
        close_tile(&t, s->look.host);
        return status;
    }
    t.score = e->scores ? e->scores[i] : 0;
    place = place < s->n ? place : s->n;
    if (s->n == s->room) close_tile(&s->tiles[--s->n], s->look.host);
    for (int64_t k = s->n++; k > place; k--) s->tiles[k] = s->tiles[k - 1];
    s->tiles[place] = t;
    return CVR_OK;
}

/* ---- drawing ---- */

typedef struct sheet_layout {
    int64_t columns, rows, tile, top, row_height[SHEET_TILES], width, height;
} sheet_layout;

static int64_t pane_width(const sheet_tile *t) {
    return at_least(t->width * t->factor, LEAST_PANE);
}

/* The first line of a caption, which goes on after a comma where there is no room; returns the rest. */
static const char *caption_line(const sheet_tile *t, const char *caption, char line[SHEET_CAPTION]) {
    const int64_t room = pane_width(t) / CANVAS_LETTER_WIDTH;
    const char *end = caption + strlen(caption), *next = end;
    for (const char *comma = caption; canvas_letters(caption) > room && (comma = strstr(comma, ", ")); comma += 2) {
        (void)snprintf(line, SHEET_CAPTION, "%.*s", (int)(comma + 1 - caption), caption);
        if (*next && canvas_letters(line) > room) break;
        end = comma + 1;
        next = comma + 2;
    }
    char head[SHEET_CAPTION];
    (void)snprintf(head, sizeof head, "%.*s", (int)(end - caption), caption);
    canvas_cut(line, SHEET_CAPTION, head, room);
    return next;
}

static int64_t caption_lines(const sheet_tile *t) {
    char line[SHEET_CAPTION];
    int64_t most = 1;
    for (int64_t k = 0; k < t->n_panes; k++) {
        int64_t n = 0;
        for (const char *rest = t->captions[k]; *rest; n++) rest = caption_line(t, rest, line);
        most = at_least(n, most);
    }
    return most;
}

/* Tiles go row by row. */
static sheet_layout lay_out(const picture_sheet *s) {
    int64_t panes = 1;
    for (int64_t i = 0; i < s->n; i++) panes = at_least(panes, s->tiles[i].n_panes);
    const int64_t most = panes > 1 ? COLUMNS : COLUMNS_SINGLE;
    sheet_layout l = {.columns = s->n < most ? s->n : most, .top = GAP + (*s->title ? TITLE : 0)};
    l.rows = (s->n + l.columns - 1) / l.columns;
    l.height = l.top;
    for (int64_t i = 0; i < s->n; i++) {
        const sheet_tile *const t = &s->tiles[i];
        int64_t *const high = &l.row_height[i / l.columns];
        l.tile = at_least(l.tile, t->n_panes * (pane_width(t) + PANE_GAP) - PANE_GAP + 2);
        *high = at_least(*high, t->height * t->factor + 2 + CAPTION * caption_lines(t));
    }
    for (int64_t i = 0; i < l.rows; i++) l.height += l.row_height[i] + GAP;
    l.width = l.columns * (l.tile + GAP) + GAP;
    return l;
}

static void draw_pane(canvas *c, const sheet_tile *t, int64_t pane, int64_t left, int64_t top) {
    const uint8_t *const pixels = sheet_pane(t, pane);
    const box at = {left, top, t->width * t->factor, t->height * t->factor};
    char label[SHEET_CAPTION];
    for (int64_t y = 0; y < at.height; y++) {
        for (int64_t x = 0; x < at.width; x++) {
            const uint8_t *const p = pixels + 3 * (y / t->factor * t->width + x / t->factor);
            canvas_blend(c, at.x + x, at.y + y, (colour){p[0], p[1], p[2]}, 1);
        }
    }
    canvas_frame(c, (box){at.x - 1, at.y - 1, at.width + 2, at.height + 2}, CANVAS_GRID);
    const char *rest = t->captions[pane];
    for (int64_t y = at.y + at.height + 4; *rest; y += CAPTION) {
        rest = caption_line(t, rest, label);
        canvas_text(c, at.x, y, label, (canvas_text_style){CANVAS_INK, 0, 0});
    }
}

static void draw_sheet(canvas *c, const picture_sheet *s, const sheet_layout *l) {
    int64_t y = l->top;
    if (*s->title) canvas_text(c, GAP, GAP, s->title, (canvas_text_style){CANVAS_INK, 0, 1});
    for (int64_t i = 0; i < s->n; i++) {
        const sheet_tile *const t = &s->tiles[i];
        const int64_t left = GAP + i % l->columns * (l->tile + GAP) + 1;
        for (int64_t k = 0; k < t->n_panes; k++) draw_pane(c, t, k, left + k * (pane_width(t) + PANE_GAP), y + 1);
        if (i % l->columns == l->columns - 1) y += l->row_height[i / l->columns] + GAP;
    }
}

/* Whether there is anything for the legend to explain. */
static int32_t find_seen(const picture_sheet *s, uint8_t seen[256]) {
    int32_t any = 0;
    memset(seen, 0, 256);
    for (int64_t i = 0; i < s->n; i++)
        for (int k = 0; k < 256; k++) any |= seen[k] |= s->tiles[i].seen[k];
    return any;
}

int32_t picture_sheet_draw(picture_sheet *s, cvr_error *err) {
    uint8_t seen[256];
    canvas c;
    if (!s->changed || s->n == 0) return CVR_OK;
    s->changed = 0;
    s->drawn = report_now();
    const sheet_layout l = lay_out(s);
    const picture_legend legend = {&s->classes, s->kind->colour_of, seen};
    const box below = {GAP, l.height, l.width - 2 * GAP, 0};
    const int64_t more = find_seen(s, seen) ? picture_legend_draw(NULL, &legend, below) + GAP : 0;
    CVR_TRY(canvas_open(&c, s->look.host, l.width, l.height + more, err));
    draw_sheet(&c, s, &l);
    if (more > 0) (void)picture_legend_draw(&c, &legend, below);
    const int32_t status = report_save_png(&c, s->folder, s->file, err);
    canvas_close(&c);
    return status;
}

int32_t picture_sheet_flush(picture_sheet *s, cvr_error *err) {
    return report_may_draw(s->drawn) ? picture_sheet_draw(s, err) : CVR_OK;
}
