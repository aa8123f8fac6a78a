/*
 * The reporter "labels": labels.png, what the objects of the training data are like before any transform: how many of
 * each class, how large, of what shape, where in the picture, how many in one. It is there where batches have boxes.
 */
#include "../drawing/class_colours.h"
#include "histogram.h"
#include "object_counts.h"
#include "plot.h"
#include "reports.h"

#define LEFT 20
#define TOP 86
#define ROW 19
#define MOST_ROWS 32
#define BAR 170 /* width of the longest */
#define NAME_LETTERS 22
#define PANEL_WIDTH 400
#define PANEL_HEIGHT 330

typedef struct labels {
    const cvr_host *host;
    report_classes classes;
    object_counts counts;
    int32_t counted; /* 1: there is something to be drawn */
    char folder[REPORT_PATH];
} labels;

static void labels_close(void *self) {
    labels *const t = self;
    report_classes_free(&t->classes, t->host);
    object_counts_close(&t->counts, t->host);
    t->host->free(t->host, t);
}

/* A run that goes on has its picture. */
static int32_t labels_open(const cvr_run_info *info, void **self, cvr_error *err) {
    labels *const t = report_calloc(info->host, sizeof *t);
    int32_t status;
    if (!t) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory for a report");
    t->host = info->host;
    (void)snprintf(t->folder, sizeof t->folder, "%s", info->folder);
    CVR_TRY_OUT(report_classes_copy(&t->classes, info->host, info->n_classes, info->class_names, err));
    if (info->resume_step < 0) status = object_counts_open(&t->counts, info, err);
    t->counted = status == CVR_OK && info->resume_step < 0;
    if (status == CVR_ERR_NOTFOUND) status = CVR_OK;
out:
    if (status == CVR_OK)
        *self = t;
    else
        labels_close(t);
    return status;
}

/* ---- classes ---- */

typedef struct class_rows {
    int64_t shown[MOST_ROWS], n;
    int64_t others, of_others; /* classes that are not shown; their objects */
    int64_t most, name_width;
} class_rows;

/* In their order; where there are too many, the most frequent of them, and those of equal number in their order. */
static class_rows choose_rows(const labels *t) {
    const int64_t *const of = t->counts.of_class;
    class_rows r = {.n = 0};
    for (int64_t k = 0; k < t->classes.n; k++) {
        int64_t at = r.n;
        if (t->classes.n > MOST_ROWS)
            while (at > 0 && of[r.shown[at - 1]] < of[k]) at--;
        if (r.n < MOST_ROWS) r.n++;
        for (int64_t i = r.n - 1; i > at; i--) r.shown[i] = r.shown[i - 1];
        if (at < MOST_ROWS) r.shown[at] = k;
        r.most = of[k] > r.most ? of[k] : r.most;
        r.of_others += of[k];
    }
    r.others = t->classes.n - r.n;
    for (int64_t i = 0; i < r.n; i++) {
        char name[REPORT_NAME];
        r.of_others -= of[r.shown[i]];
        report_class_label(&t->classes, r.shown[i], name);
        const int64_t all = canvas_letters(name), letters = all < NAME_LETTERS ? all : NAME_LETTERS;
        r.name_width = letters * CANVAS_LETTER_WIDTH > r.name_width ? letters * CANVAS_LETTER_WIDTH : r.name_width;
    }
    return r;
}

static void draw_classes(canvas *c, const labels *t, const class_rows *r) {
    const canvas_text_style ink = {CANVAS_INK, 0, 0}, faint = {CANVAS_FAINT, 0, 0}, bold = {CANVAS_INK, 0, 1};
    const int64_t x = LEFT + r->name_width + 12;
    char number[64];
    canvas_text(c, LEFT, TOP - 8, "Objects of each class", bold);
    for (int64_t i = 0; i < r->n; i++) {
        const int64_t k = r->shown[i], n = t->counts.of_class[k], y = TOP + 18 + i * ROW;
        char name[REPORT_NAME], label[4 * NAME_LETTERS];
        report_class_label(&t->classes, k, name);
        canvas_cut(label, sizeof label, name, NAME_LETTERS);
        canvas_text(c, x - 12 - canvas_text_width(label), y + 2, label, ink);
        const int64_t wide = r->most > 0 ? (int64_t)((double)n / (double)r->most * BAR + 0.5) : 0;
        canvas_fill(c, (box){x, y, n > 0 && wide == 0 ? 1 : wide, ROW - 6}, object_colour(k));
        plot_tick_label(number, (double)n, 1);
        canvas_text(c, x + wide + 6, y + 2, number, n > 0 ? ink : faint);
    }
    if (r->others == 0) return;
    (void)snprintf(number, sizeof number, "%lld more classes: %lld", (long long)r->others, (long long)r->of_others);
    canvas_text(c, LEFT, TOP + 22 + r->n * ROW, number, faint);
}

/* ---- panels ---- */

static void tick(histogram *h, double at, const char *label) {
    h->at[h->n_ticks] = at;
    (void)snprintf(h->label[h->n_ticks], sizeof *h->label, "%s", label);
    h->n_ticks++;
}

static void draw_sides(canvas *c, const labels *t, box area) {
    histogram h = {.area = area,
                   .title = "Sizes",
                   .x_name = "root of the box's share of the picture",
                   .counts = t->counts.side,
                   .n = OBJECT_SIDES};
    static const char *const names[] = {"1/256", "1/64", "1/16", "1/4", "1"};
    for (int i = 0; i < 5; i++) tick(&h, 8 * i, names[i]);
    histogram_draw(c, &h);
}

static void draw_ratios(canvas *c, const labels *t, box area) {
    histogram h = {.area = area,
                   .title = "Shapes",
                   .x_name = "width : height; the ends hold what is beyond",
                   .counts = t->counts.ratio,
                   .n = OBJECT_RATIOS};
    static const char *const names[] = {"1:8", "1:4", "1:2", "1:1", "2:1", "4:1", "8:1"};
    for (int i = 0; i < 7; i++) tick(&h, 4 * i, names[i]);
    histogram_draw(c, &h);
}

static void draw_rows(canvas *c, const labels *t, box area) {
    int64_t rows[OBJECT_ROWS];
    const int64_t step = object_counts_rows(&t->counts, rows), n = t->counts.most / step + 1, apart = n > 7 ? 4 : 1;
    histogram h = {
        .area = area, .title = "Pictures by their number of objects", .x_name = "objects", .counts = rows, .n = n};
    for (int64_t i = 0; i < n && h.n_ticks < HISTOGRAM_TICKS; i += apart) {
        char label[16];
        (void)snprintf(label, sizeof label, "%lld", (long long)(i * step));
        tick(&h, (double)i + (step == 1 ? 0.5 : 0), label);
    }
    histogram_draw(c, &h);
}

static void write_summary(const labels *t, char words[2][160]) {
    const object_counts *const n = &t->counts;
    int at = snprintf(words[0], sizeof words[0], "%lld objects in %lld", (long long)n->objects, (long long)n->pictures);
    if (n->pictures < n->samples)
        at += snprintf(words[0] + at, sizeof words[0] - (size_t)at, " of %lld", (long long)n->samples);
    (void)snprintf(words[0] + at, sizeof words[0] - (size_t)at, " pictures, %.2f a picture; %lld without any",
                   (double)n->objects / (double)n->pictures, (long long)n->empty);
    at = 0;
    words[1][0] = '\0';
    if (n->crowds) at += snprintf(words[1], sizeof words[1], "%lld crowds beside them. ", (long long)n->crowds);
    if (n->unknown)
        at += snprintf(words[1] + at, sizeof words[1] - (size_t)at,
                       "%lld objects of classes that the network has not. ", (long long)n->unknown);
    if (n->no_size)
        (void)snprintf(words[1] + at, sizeof words[1] - (size_t)at,
                       "%lld boxes without extent, or in pictures of unknown size.", (long long)n->no_size);
}

static int32_t draw(const labels *t, cvr_error *err) {
    const class_rows r = choose_rows(t);
    const int64_t right = LEFT + r.name_width + 12 + BAR + 70, list = TOP + (r.n + 2) * ROW + 20,
                  panels = TOP - 20 + 2 * PANEL_HEIGHT + 10, height = list > panels ? list : panels;
    const int64_t x[2] = {right, right + PANEL_WIDTH}, y[2] = {TOP - 20, TOP - 20 + PANEL_HEIGHT};
    const heat_map where = {.area = {x[0], y[0], PANEL_WIDTH, PANEL_HEIGHT},
                            .title = "Centres in the picture",
                            .x_name = "",
                            .counts = t->counts.centre,
                            .side = OBJECT_CELLS};
    char words[2][160];
    canvas c;
    CVR_TRY(canvas_open(&c, t->host, right + 2 * PANEL_WIDTH + 10, height, err));
    write_summary(t, words);
    canvas_text(&c, LEFT, 16, "Objects of the training data, before any transform",
                (canvas_text_style){CANVAS_INK, 0, 1});
    canvas_text(&c, LEFT, 34, words[0], (canvas_text_style){CANVAS_INK, 0, 0});
    canvas_text(&c, LEFT, 50, words[1], (canvas_text_style){CANVAS_FAINT, 0, 0});
    draw_classes(&c, t, &r);
    heat_map_draw(&c, &where);
    draw_sides(&c, t, (box){x[1], y[0], PANEL_WIDTH, PANEL_HEIGHT});
    draw_rows(&c, t, (box){x[0], y[1], PANEL_WIDTH, PANEL_HEIGHT});
    draw_ratios(&c, t, (box){x[1], y[1], PANEL_WIDTH, PANEL_HEIGHT});
    const int32_t status = report_save_png(&c, t->folder, "labels", err);
    canvas_close(&c);
    return status;
}

static int32_t labels_batch(void *self, const cvr_batch_event *e, cvr_error *err) {
    labels *const t = self;
    int32_t has_boxes = 0;
    for (uint32_t i = 0; i < e->batch->n_fields; i++)
        has_boxes |= strcmp(e->batch->fields[i]->kind, CVR_FIELD_BOXES) == 0;
    if (!t->counted || !has_boxes) return CVR_OK;
    t->counted = 0;
    return draw(t, err);
}

const cvr_reporter_desc reports_labels = {
    .struct_size = sizeof reports_labels,
    .name = "labels",
    .doc = "labels.png: classes, sizes, shapes and places of the training data's objects",
    .open = labels_open,
    .batch = labels_batch,
    .close = labels_close,
};
