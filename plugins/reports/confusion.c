/*
 * Writing the confusion matrix. The picture has a cell a class as long as there is room for it; with more classes than
 * pixels, a pixel shows the strongest of its cells.
 */
#include "confusion.h"
#include "histogram.h"

#define SIDE 640 /* the matrix is about this wide while its cells are larger than a pixel */
#define LARGEST_SIDE 1000
#define WITH_COUNTS 20 /* most classes that have their counts in the cells; up to the next, shares of the row */
#define WITH_NAMES 40  /* most classes that have their names at the axes */
#define LEAST_CELL 28  /* of a cell with a number in it */
#define LABEL_LETTERS 18

static int64_t n_of(const confusion *m) {
    return m->classes->n + (m->extra != NULL);
}

typedef void (*naming)(const report_classes *c, int64_t i, char name[REPORT_NAME]);

static void name_of(const confusion *m, int64_t i, naming by, char name[REPORT_NAME]) {
    if (m->extra && i == m->classes->n)
        (void)snprintf(name, REPORT_NAME, "%s", m->extra);
    else
        by(m->classes, i, name);
}

int32_t confusion_write_csv(const confusion *m, cvr_error *err) {
    char path[REPORT_PATH], name[REPORT_NAME];
    CVR_TRY(report_path(path, m->folder, "confusion_matrix.csv", err));
    const int64_t n = n_of(m);
    text t;
    text_open(&t, m->host);
    text_put(&t, "truth");
    for (int64_t i = 0; i < n; i++) {
        name_of(m, i, report_class_name, name);
        text_put(&t, ",");
        text_cell(&t, name);
    }
    text_put(&t, "\n");
    for (int64_t i = 0; i < n; i++) {
        name_of(m, i, report_class_name, name);
        text_cell(&t, name);
        for (int64_t j = 0; j < n; j++) {
            text_put(&t, ",");
            text_int(&t, (int64_t)m->counts[i * n + j]);
        }
        text_put(&t, "\n");
    }
    const int32_t status = report_replace(path, &t, err);
    text_close(&t);
    return status;
}

typedef struct matrix_layout {
    int64_t n, side, x,
        y;         /* of the matrix in the picture; its pixel p shows cells p * n / side .. (p + 1) * n / side */
    int64_t names; /* letters of the longest name that is shown; 0: numbers instead */
} matrix_layout;

static matrix_layout lay_out(const confusion *m) {
    char name[REPORT_NAME];
    matrix_layout l = {.n = n_of(m)};
    int64_t cell = SIDE / l.n > 90 ? 90 : SIDE / l.n > 0 ? SIDE / l.n : 1;
    if (l.n <= WITH_NAMES && cell < LEAST_CELL) cell = LEAST_CELL;
    l.side = l.n <= WITH_NAMES || cell * l.n < LARGEST_SIDE ? cell * l.n : LARGEST_SIDE;
    for (int64_t i = 0; i < l.n && l.n <= WITH_NAMES; i++) {
        name_of(m, i, report_class_label, name);
        const int64_t letters = canvas_letters(name);
        if (letters > l.names) l.names = letters;
    }
    if (l.names > LABEL_LETTERS) l.names = LABEL_LETTERS;
    const int64_t label = (l.names > 0 ? l.names : 4) * CANVAS_LETTER_WIDTH;
    l.x = 50 + label;
    l.y = 64;
    return l;
}

static double row_sum(const confusion *m, int64_t row) {
    double sum = 0;
    for (int64_t j = 0; j < n_of(m); j++) sum += (double)m->counts[row * n_of(m) + j];
    return sum;
}

/* Small enough for its cell: 12345, then 123k, 1.2M. */
static void count_label(char label[32], uint64_t count, int64_t room) {
    static const char *const units[] = {"", "k", "M", "G", "T", "P", "E"};
    uint32_t unit = 0;
    double shown = (double)count;
    do {
        (void)snprintf(label, 32, "%.*f%s", unit > 0 && shown < 10 ? 1 : 0, shown, units[unit]);
        shown /= 1000;
    } while (canvas_text_width(label) > room && ++unit < sizeof units / sizeof *units);
}

/* Percent of the row; nothing below a half. */
static void percent_label(char label[32], double share) {
    (void)snprintf(label, 32, share >= 0.005 ? "%.0f" : "", 100 * share);
}

static void draw_cells(canvas *c, const confusion *m, const matrix_layout *l) {
    const int64_t cell = l->side / l->n;
    for (int64_t i = 0; i < l->n; i++) {
        const double sum = row_sum(m, i);
        for (int64_t j = 0; j < l->n; j++) {
            const uint64_t count = m->counts[i * l->n + j];
            const double share = sum > 0 ? (double)count / sum : 0;
            const int64_t gap = cell >= 6 ? 1 : 0;
            const box area = {l->x + j * cell, l->y + i * cell, cell - gap, cell - gap};
            canvas_fill(c, area, report_shade(share));
            if (l->n > WITH_NAMES || count == 0) continue;
            char label[32];
            if (l->n > WITH_COUNTS)
                percent_label(label, share);
            else
                count_label(label, count, cell - 4);
            canvas_text(c, area.x + (area.width - canvas_text_width(label)) / 2,
                        area.y + (area.height - CANVAS_CAPITAL) / 2, label,
                        (canvas_text_style){share > 0.5 ? CANVAS_PAPER : CANVAS_INK, 0, 0});
        }
    }
}

/* Strongest share of the cells that share a pixel. */
static int32_t draw_pixels(canvas *c, const confusion *m, const matrix_layout *l, cvr_error *err) {
    float *const line = m->host->alloc(m->host, (uint64_t)l->side * sizeof *line, 16); /* one row of pixels */
    if (!line) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory for a picture of the report");
    for (int64_t y = 0, i = 0; y < l->side; y++) {
        for (int64_t x = 0; x < l->side; x++) line[x] = 0;
        for (; i < (y + 1) * l->n / l->side; i++) {
            const double sum = row_sum(m, i);
            for (int64_t j = 0; j < l->n && sum > 0; j++) {
                const float share = (float)((double)m->counts[i * l->n + j] / sum);
                const int64_t x = j * l->side / l->n;
                if (share > line[x]) line[x] = share;
            }
        }
        for (int64_t x = 0; x < l->side; x++) canvas_blend(c, l->x + x, l->y + y, report_shade(line[x]), 1);
    }
    m->host->free(m->host, line);
    return CVR_OK;
}

static void draw_names(canvas *c, const confusion *m, const matrix_layout *l) {
    const canvas_text_style across = {CANVAS_INK, 0, 0}, upwards = {CANVAS_INK, 1, 0};
    const int64_t cell = l->side / l->n;
    for (int64_t i = 0; i < l->n; i++) {
        char name[REPORT_NAME], label[4 * LABEL_LETTERS];
        const int64_t middle = i * cell + cell / 2;
        name_of(m, i, report_class_label, name);
        canvas_cut(label, sizeof label, name, LABEL_LETTERS);
        const int64_t width = canvas_text_width(label);
        canvas_text(c, l->x - 8 - width, l->y + middle - CANVAS_CAPITAL / 2 - 1, label, across);
        canvas_text(c, l->x + middle - CANVAS_CAPITAL / 2 - 1, l->y + l->side + 8 + width, label, upwards);
    }
}

static void draw_numbers(canvas *c, const matrix_layout *l) {
    const canvas_text_style style = {CANVAS_FAINT, 0, 0};
    int64_t step = 1;
    for (int64_t k = 0; l->n / step > 12; k++) step = step / (k % 3 == 1 ? 2 : 1) * (k % 3 == 1 ? 5 : 2);
    for (int64_t i = 0; i < l->n; i += step) {
        char label[32];
        (void)snprintf(label, sizeof label, "%lld", (long long)i);
        const int64_t at = i * l->side / l->n + l->side / l->n / 2, width = canvas_text_width(label);
        canvas_fill(c, (box){l->x - 5, l->y + at, 4, 1}, CANVAS_FAINT);
        canvas_fill(c, (box){l->x + at, l->y + l->side + 1, 1, 4}, CANVAS_FAINT);
        canvas_text(c, l->x - 9 - width, l->y + at - CANVAS_CAPITAL / 2, label, style);
        canvas_text(c, l->x + at - width / 2, l->y + l->side + 9, label, style);
    }
}

/* "epoch 3: 930 of 1000 right (93.00%)"; where there is something of no class, what happened to the objects. */
static void write_summary(const confusion *m, const matrix_layout *l, char line[160]) {
    const int64_t n = m->classes->n;
    double right = 0, all = 0, missed = 0;
    for (int64_t i = 0; i < n; i++) {
        right += (double)m->counts[i * l->n + i];
        all += row_sum(m, i);
        if (m->extra) missed += (double)m->counts[i * l->n + n];
    }
    const double share = all > 0 ? 100 * right / all : 0.0;
    int at = snprintf(line, 160, "epoch %lld: %.0f of %.0f right (%.2f%%)", (long long)m->epoch, right, all, share);
    if (m->extra)
        (void)snprintf(line + at, 160 - (size_t)at, ", %.0f missed, %.0f made of %.40s", missed, row_sum(m, n),
                       m->extra);
}

static void draw_titles(canvas *c, const confusion *m, const matrix_layout *l, const char *summary) {
    const canvas_text_style faint = {CANVAS_FAINT, 0, 0}, upwards = {CANVAS_FAINT, 1, 0}, bold = {CANVAS_INK, 0, 1};
    canvas_text(c, 20, 16, "Confusion matrix", bold);
    canvas_text(c, 20, 34, summary, faint);
    if (l->n > WITH_COUNTS && l->n <= WITH_NAMES) canvas_text(c, 20, 48, "in the cells: percent of the row", faint);
    if (m->extra && l->n > WITH_NAMES) {
        char last[96];
        (void)snprintf(last, sizeof last, "the last row and column: %.40s", m->extra);
        canvas_text(c, 20, 48, last, faint);
    }
    canvas_text(c, 20, l->y + (l->side + canvas_text_width("truth")) / 2, "truth", upwards);
    canvas_text(c, l->x + (l->side - canvas_text_width("prediction")) / 2, c->image.height - 26, "prediction", faint);
}

/* A gap before what is of no class. */
static void draw_border(canvas *c, const confusion *m, const matrix_layout *l) {
    const int64_t at = m->classes->n * l->side / l->n;
    if (!m->extra || l->side < 2 * l->n) return;
    canvas_fill(c, (box){l->x + at - 1, l->y, 1, l->side}, CANVAS_FAINT);
    canvas_fill(c, (box){l->x, l->y + at - 1, l->side, 1}, CANVAS_FAINT);
}

int32_t confusion_write_png(const confusion *m, cvr_error *err) {
    const matrix_layout l = lay_out(m);
    const int64_t labels = l.names > 0 ? l.names * CANVAS_LETTER_WIDTH : CANVAS_FONT_ROWS;
    char summary[160];
    write_summary(m, &l, summary);
    const int64_t title = 40 + canvas_text_width(summary), least = title > 360 ? title : 360;
    const int64_t width = l.x + l.side + 30 < least ? least : l.x + l.side + 30;
    canvas c;
    int32_t status;
    CVR_TRY(canvas_open(&c, m->host, width, l.y + l.side + labels + 50, err));
    canvas_fill(&c, (box){l.x - 1, l.y - 1, l.side + 2, l.side + 2}, CANVAS_GRID);
    if (l.side >= l.n) {
        draw_cells(&c, m, &l);
    } else {
        CVR_TRY_OUT(draw_pixels(&c, m, &l, err));
    }
    if (l.names > 0) {
        draw_names(&c, m, &l);
    } else {
        draw_numbers(&c, &l);
    }
    draw_border(&c, m, &l);
    draw_titles(&c, m, &l, summary);
    CVR_TRY_OUT(report_save_png(&c, m->folder, "confusion_matrix", err));
out:
    canvas_close(&c);
    return status;
}
