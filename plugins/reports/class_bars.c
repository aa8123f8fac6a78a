/* Drawing metrics by class as bars. */
#include "class_bars.h"
#include <math.h>

#define MOST_COLUMNS 8
#define MOST_ROWS 150 /* of more classes, those with the lowest numbers of the first metric */
#define ROW 19
#define BAR 150 /* width of a bar that is full */
#define COLUMN 240
#define NAME_LETTERS 24
#define LEFT 20
#define TOP 84

typedef struct bar_rows {
    int64_t *order; /* the classes, as they stand from top to bottom */
    int64_t n, name_width;
    double full[MOST_COLUMNS]; /* the value of a full bar */
} bar_rows;

static double value_of(const class_bars *b, int64_t k, uint32_t column) {
    return b->values[k * b->n_columns + column];
}

/* In their order; where there are too many, the lowest of them, lowest first. */
static void choose_rows(const class_bars *b, bar_rows *r) {
    const int64_t n = b->classes->n;
    for (int64_t k = 0; k < n; k++) {
        const double v = value_of(b, k, 0);
        int64_t at = r->n;
        if (n > MOST_ROWS && isnan(v)) continue;
        while (n > MOST_ROWS && at > 0 && value_of(b, r->order[at - 1], 0) > v) at--;
        if (at == MOST_ROWS) continue;
        if (r->n < MOST_ROWS) r->n++;
        for (int64_t i = r->n - 1; i > at; i--) r->order[i] = r->order[i - 1];
        r->order[at] = k;
    }
}

static void measure(const class_bars *b, bar_rows *r) {
    char name[REPORT_NAME];
    for (uint32_t c = 0; c < MOST_COLUMNS; c++) r->full[c] = 1;
    for (int64_t i = 0; i < r->n; i++) {
        report_class_label(b->classes, r->order[i], name);
        const int64_t all = canvas_letters(name), letters = all > NAME_LETTERS ? NAME_LETTERS : all;
        if (letters * CANVAS_LETTER_WIDTH > r->name_width) r->name_width = letters * CANVAS_LETTER_WIDTH;
        for (uint32_t c = 0; c < b->n_columns && c < MOST_COLUMNS; c++)
            if (value_of(b, r->order[i], c) > r->full[c]) r->full[c] = value_of(b, r->order[i], c);
    }
}

/* "mean 0.613 of 19 of 21 classes" */
static void mean_words(const class_bars *b, uint32_t column, double *mean, char words[64]) {
    double sum = 0;
    int64_t n = 0;
    for (int64_t k = 0; k < b->classes->n; k++) {
        if (isnan(value_of(b, k, column))) continue;
        sum += value_of(b, k, column);
        n++;
    }
    *mean = n ? sum / (double)n : NAN;
    if (n == b->classes->n)
        (void)snprintf(words, 64, "mean %.3f", *mean);
    else
        (void)snprintf(words, 64, "mean %.3f of %lld of %lld classes", *mean, (long long)n, (long long)b->classes->n);
}

static void draw_bar(canvas *c, int64_t x, int64_t y, double value, double full) {
    static const colour ink = {31, 110, 196}, track = {240, 242, 245};
    char label[32];
    if (isnan(value)) {
        canvas_text(c, x + BAR + 6, y + 2, "absent", (canvas_text_style){CANVAS_FAINT, 0, 0});
        return;
    }
    const double share = value / full;
    canvas_fill(c, (box){x, y, BAR, ROW - 6}, track);
    canvas_fill(c, (box){x, y, (int64_t)(BAR * (share > 0 ? share : 0) + 0.5), ROW - 6}, ink);
    (void)snprintf(label, sizeof label, "%.3f", value);
    canvas_text(c, x + BAR + 6, y + 2, label, (canvas_text_style){CANVAS_INK, 0, 0});
}

/* A metric's bars, with a line at their mean. */
static void draw_column(canvas *c, const class_bars *b, const bar_rows *r, uint32_t column, int64_t x) {
    static const colour line = {232, 119, 34};
    char words[64];
    double mean;
    mean_words(b, column, &mean, words);
    canvas_text(c, x, 48, b->columns[column], (canvas_text_style){CANVAS_INK, 0, 1});
    canvas_text(c, x, 64, words, (canvas_text_style){CANVAS_FAINT, 0, 0});
    for (int64_t i = 0; i < r->n; i++) draw_bar(c, x, TOP + i * ROW, value_of(b, r->order[i], column), r->full[column]);
    const double at = (double)x + BAR * mean / r->full[column];
    if (isfinite(at)) canvas_fill(c, (box){(int64_t)at, TOP - 4, 1, r->n * ROW + 2}, line);
}

static void draw_names(canvas *c, const class_bars *b, const bar_rows *r) {
    for (int64_t i = 0; i < r->n; i++) {
        char name[REPORT_NAME], label[4 * NAME_LETTERS];
        report_class_label(b->classes, r->order[i], name);
        canvas_cut(label, sizeof label, name, NAME_LETTERS);
        canvas_text(c, LEFT + r->name_width - canvas_text_width(label), TOP + i * ROW + 2, label,
                    (canvas_text_style){CANVAS_INK, 0, 0});
    }
}

int32_t class_bars_write(const class_bars *b, cvr_error *err) {
    const uint32_t columns = b->n_columns < MOST_COLUMNS ? b->n_columns : MOST_COLUMNS;
    bar_rows r = {.n = 0};
    canvas c = {.host = NULL};
    char title[128];
    int32_t status = CVR_OK;
    if (columns == 0 || b->classes->n == 0) return CVR_OK;
    r.order = b->host->alloc(b->host, MOST_ROWS * sizeof *r.order, 16);
    CVR_TRY_OUT(r.order ? CVR_OK : cvr_fail(err, CVR_ERR_NOMEM, "out of memory for a picture of the report"));
    choose_rows(b, &r);
    measure(b, &r);
    const int64_t first = LEFT + r.name_width + 14, width = first + columns * COLUMN;
    CVR_TRY_OUT(canvas_open(&c, b->host, width < 420 ? 420 : width, TOP + r.n * ROW + 20, err));
    if (b->classes->n > MOST_ROWS)
        (void)snprintf(title, sizeof title, "The lowest %d of %lld classes, epoch %lld", MOST_ROWS,
                       (long long)b->classes->n, (long long)b->epoch);
    else
        (void)snprintf(title, sizeof title, "Metrics by class, epoch %lld", (long long)b->epoch);
    canvas_text(&c, LEFT, 16, title, (canvas_text_style){CANVAS_INK, 0, 1});
    draw_names(&c, b, &r);
    for (uint32_t k = 0; k < columns; k++) draw_column(&c, b, &r, k, first + k * COLUMN);
    CVR_TRY_OUT(report_save_png(&c, b->folder, "per_class", err));
out:
    if (c.host) canvas_close(&c);
    if (r.order) b->host->free(b->host, r.order);
    return status;
}
