/* Keeping and drawing curves over a validation; both axes go from 0 to 1. */
#include "curve_set.h"
#include "../drawing/class_colours.h"
#include "plot.h"
#include <math.h>
#include <stdlib.h>

#define SIDE 560 /* of the square between the axes */
#define LEFT 70
#define TOP 60
#define BOTTOM 60
#define LEGEND 30  /* from the axes */
#define ENTRY 17   /* a line of it */
#define LETTERS 22 /* of a name */
#define ENTRIES 30 /* most classes in it; of more the best and the worst */
#define MEAN_INK ((colour){20, 40, 90})

/* ---- keeping ---- */

static int32_t keep(curve_set *t, const cvr_curve *c, cvr_error *err) {
    kept_curve *const k = &t->each[t->n];
    *k = (kept_curve){.klass = c->klass, .n = c->n, .value = c->value};
    (void)snprintf(k->name, sizeof k->name, "%.40s", c->name);
    (void)snprintf(k->x_name, sizeof k->x_name, "%.40s", c->x_name);
    (void)snprintf(k->y_name, sizeof k->y_name, "%.40s", c->y_name);
    k->x = t->host->alloc(t->host, (2 * (uint64_t)c->n + 1) * sizeof *k->x, 16);
    if (!k->x) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory for curves");
    k->y = k->x + c->n;
    t->n++;
    memcpy(k->x, c->x, c->n * sizeof *k->x);
    memcpy(k->y, c->y, c->n * sizeof *k->y);
    return CVR_OK;
}

void curve_set_close(curve_set *t) {
    for (int64_t i = 0; i < t->n; i++) t->host->free(t->host, t->each[i].x);
    if (t->each) t->host->free(t->host, t->each);
    t->each = NULL;
    t->n = 0;
}

int32_t curve_set_take(curve_set *t, const cvr_epoch_event *e, cvr_error *err) {
    if (e->n_curves == 0) return CVR_OK;
    curve_set_close(t);
    t->each = t->host->alloc(t->host, e->n_curves * sizeof *t->each, 16);
    if (!t->each) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory for curves");
    for (uint32_t i = 0; i < e->n_curves; i++) CVR_TRY(keep(t, e->curves[i], err));
    t->epoch = e->epoch;
    return CVR_OK;
}

/* ---- drawing ---- */

/* The curves of one name. */
typedef struct curve_sheet {
    const report_classes *classes;
    const kept_curve *mean; /* NULL: there is none */
    const kept_curve **of;  /* classes, the highest value first, those without one last */
    int64_t n;
} curve_sheet;

static int by_value(const void *a, const void *b) {
    const kept_curve *const x = *(const kept_curve *const *)a, *const y = *(const kept_curve *const *)b;
    if (isnan(x->value) || isnan(y->value)) return isnan(x->value) - isnan(y->value);
    if (x->value != y->value) return x->value < y->value ? 1 : -1;
    return x->klass < y->klass ? -1 : 1;
}

static point place(double x, double y) {
    const double u = x > 0 ? (x < 1 ? x : 1) : 0, v = y > 0 ? (y < 1 ? y : 1) : 0;
    return (point){LEFT + u * SIDE, TOP + (1 - v) * SIDE};
}

static void draw_axes(canvas *c, const kept_curve *k) {
    const canvas_text_style faint = {CANVAS_FAINT, 0, 0}, upwards = {CANVAS_FAINT, 1, 0};
    char label[32];
    for (int i = 0; i <= 5; i++) {
        const point at = place(i / 5.0, i / 5.0);
        plot_tick_label(label, i / 5.0, 0.2);
        canvas_fill(c, (box){(int64_t)at.x, TOP, 1, SIDE}, CANVAS_GRID);
        canvas_fill(c, (box){LEFT, (int64_t)at.y, SIDE, 1}, CANVAS_GRID);
        canvas_text(c, (int64_t)at.x - canvas_text_width(label) / 2, TOP + SIDE + 9, label, faint);
        canvas_text(c, LEFT - 9 - canvas_text_width(label), (int64_t)at.y - CANVAS_CAPITAL / 2, label, faint);
    }
    canvas_fill(c, (box){LEFT, TOP, 1, SIDE}, CANVAS_FAINT);
    canvas_fill(c, (box){LEFT, TOP + SIDE, SIDE, 1}, CANVAS_FAINT);
    canvas_text(c, LEFT + (SIDE - canvas_text_width(k->x_name)) / 2, TOP + SIDE + 32, k->x_name, faint);
    canvas_text(c, 18, TOP + (SIDE + canvas_text_width(k->y_name)) / 2, k->y_name, upwards);
}

/* A point that is no number is a gap. */
static void draw_line(canvas *c, const kept_curve *k, double width, colour ink) {
    for (int64_t i = 1; i < k->n; i++)
        if (isfinite(k->y[i]) && isfinite(k->y[i - 1]) && isfinite(k->x[i]) && isfinite(k->x[i - 1]))
            canvas_line(c, place(k->x[i - 1], k->y[i - 1]), place(k->x[i], k->y[i]), width, ink);
}

/* The point where the curve has its value as its highest; n where that is something else, as average precision is, or
 * where it only falls from there on. */
static int64_t peak_of(const kept_curve *k) {
    int64_t at = k->n;
    for (int64_t i = 0; i < k->n; i++)
        if (isfinite(k->y[i]) && (at == k->n || k->y[i] > k->y[at])) at = i;
    return at > 0 && at < k->n && fabs(k->y[at] - k->value) <= 1e-9 ? at : k->n;
}

static void curve_name(const curve_sheet *s, const kept_curve *k, char name[REPORT_NAME]) {
    if (k->klass < 0)
        (void)snprintf(name, REPORT_NAME, "all classes");
    else
        report_class_label(s->classes, k->klass, name);
}

/* "person 0.813", "all classes 0.71 at 0.43" */
static void draw_entry(canvas *c, const curve_sheet *s, const kept_curve *k, int64_t line, double width, colour ink) {
    const int64_t x = LEFT + SIDE + LEGEND, y = TOP + line * ENTRY, peak = peak_of(k);
    char name[REPORT_NAME], label[4 * LETTERS], words[4 * LETTERS + 64];
    curve_name(s, k, name);
    canvas_cut(label, sizeof label, name, LETTERS);
    int at = snprintf(words, sizeof words, "%s ", label);
    if (k->n == 0)
        (void)snprintf(words + at, sizeof words - (size_t)at, "absent");
    else if (!isnan(k->value))
        at += snprintf(words + at, sizeof words - (size_t)at, "%.3f", k->value);
    if (peak < k->n) (void)snprintf(words + at, sizeof words - (size_t)at, " at %.2f", k->x[peak]);
    canvas_line(c, (point){(double)x, (double)y + 5}, (point){(double)x + 18, (double)y + 5}, width, ink);
    canvas_text(c, x + 28, y, words, (canvas_text_style){k->n == 0 ? CANVAS_FAINT : CANVAS_INK, 0, 0});
}

static void draw_legend(canvas *c, const curve_sheet *s) {
    int64_t line = 0;
    char words[64];
    if (s->mean) draw_entry(c, s, s->mean, line++, 4, MEAN_INK);
    line += s->mean != NULL && s->n > 0;
    for (int64_t i = 0; i < s->n; i++) {
        if (s->n > ENTRIES && i == ENTRIES / 2) {
            (void)snprintf(words, sizeof words, "%lld more, then the worst:", (long long)(s->n - ENTRIES));
            canvas_text(c, LEFT + SIDE + LEGEND, TOP + line++ * ENTRY, words, (canvas_text_style){CANVAS_FAINT, 0, 0});
            i = s->n - ENTRIES / 2;
        }
        draw_entry(c, s, s->of[i], line++, 2, object_colour(s->of[i]->klass));
    }
}

static void draw_curves(canvas *c, const curve_sheet *s) {
    for (int64_t i = s->n; i-- > 0;) draw_line(c, s->of[i], s->n > 20 ? 1 : 1.4, object_colour(s->of[i]->klass));
    if (!s->mean) return;
    draw_line(c, s->mean, 3, MEAN_INK);
    const int64_t peak = peak_of(s->mean);
    if (peak < s->mean->n) canvas_disc(c, place(s->mean->x[peak], s->mean->y[peak]), 5, MEAN_INK);
}

/* "Precision over recall, epoch 3" */
static void write_title(const curve_set *t, const kept_curve *k, char title[160]) {
    (void)snprintf(title, 160, "%s over %s, epoch %lld", k->y_name, k->x_name, (long long)t->epoch);
    if (*title >= 'a' && *title <= 'z') *title = (char)(*title - 'a' + 'A');
}

static void file_name(char out[64], const char *name) {
    (void)snprintf(out, 64, "%.40s_curve", name);
    for (char *p = out; *p; p++) {
        const int32_t plain = (*p >= 'a' && *p <= 'z') || (*p >= 'A' && *p <= 'Z') || (*p >= '0' && *p <= '9');
        if (!plain && *p != '-' && *p != '_') *p = '_';
    }
}

static int32_t draw_sheet(const curve_set *t, const char *folder, const curve_sheet *s, const kept_curve *any,
                          cvr_error *err) {
    char title[160], file[64];
    canvas c;
    CVR_TRY(canvas_open(&c, t->host, LEFT + SIDE + LEGEND + 28 + (LETTERS + 16) * CANVAS_LETTER_WIDTH,
                        TOP + SIDE + BOTTOM, err));
    write_title(t, any, title);
    canvas_text(&c, LEFT, 24, title, (canvas_text_style){CANVAS_INK, 0, 1});
    draw_axes(&c, any);
    draw_curves(&c, s);
    draw_legend(&c, s);
    file_name(file, any->name);
    const int32_t status = report_save_png(&c, folder, file, err);
    canvas_close(&c);
    return status;
}

/* Whether it is the first of its name. */
static int32_t is_first(const curve_set *t, int64_t i) {
    for (int64_t k = 0; k < i; k++)
        if (strcmp(t->each[k].name, t->each[i].name) == 0) return 0;
    return 1;
}

int32_t curve_set_draw(const curve_set *t, const char *folder, const report_classes *classes, cvr_error *err) {
    curve_sheet s = {.classes = classes};
    int32_t status = CVR_OK;
    if (t->n == 0) return CVR_OK;
    s.of = t->host->alloc(t->host, (uint64_t)t->n * sizeof *s.of, 16);
    if (!s.of) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory for curves");
    for (int64_t i = 0; i < t->n; i++) {
        if (!is_first(t, i)) continue;
        s.n = 0;
        s.mean = NULL;
        for (int64_t k = i; k < t->n; k++) {
            if (strcmp(t->each[k].name, t->each[i].name) != 0) continue;
            if (t->each[k].klass < 0)
                s.mean = &t->each[k];
            else
                s.of[s.n++] = &t->each[k];
        }
        if (s.n == 1 && s.mean) { /* one class is its own mean */
            s.mean = s.of[0];
            s.n = 0;
        }
        qsort(s.of, (size_t)s.n, sizeof *s.of, by_value);
        CVR_TRY_OUT(draw_sheet(t, folder, &s, &t->each[i], err));
    }
out:
    t->host->free(t->host, (void *)(uintptr_t)s.of);
    return status;
}
