/*
 * The reporter "curves": results.png (losses, metrics, learning rate and speed over the epochs), and of the last
 * validation the confusion matrix, the metrics by class, and the curves that the task has.
 */
#include "class_bars.h"
#include "confusion.h"
#include "curve_set.h"
#include "plot.h"
#include "reports.h"
#include "results_table.h"
#include <math.h>

#define WIDTH 1200
#define HEIGHT 800
#define CURVES_COLUMNS 8 /* metrics by class */

typedef struct curves {
    const cvr_host *host;
    results_table results;
    report_classes classes;
    uint64_t *matrix; /* of the last epoch that had one, as the event has it; NULL: none yet */
    uint64_t matrix_side;
    int64_t matrix_epoch;
    char *matrix_extra;
    curve_set set;
    double *per_class; /* of the last epoch that had them, as the event has them; NULL: none yet */
    char *columns[CURVES_COLUMNS];
    uint32_t n_columns;
    int64_t per_class_epoch;
    int32_t results_changed, matrix_changed, per_class_changed, set_changed, failed;
    double drawn; /* when, in seconds; 0: not yet */
} curves;

static const colour palette[PLOT_SERIES] = {{31, 110, 196}, {232, 119, 34}, {34, 150, 94},
                                            {176, 62, 120}, {120, 90, 190}, {90, 100, 110}};

static void curves_free(curves *t) {
    const cvr_host *const host = t->host;
    results_close(&t->results);
    report_classes_free(&t->classes, host);
    if (t->matrix) host->free(host, t->matrix);
    if (t->matrix_extra) host->free(host, t->matrix_extra);
    curve_set_close(&t->set);
    if (t->per_class) host->free(host, t->per_class);
    for (uint32_t i = 0; i < t->n_columns; i++) host->free(host, t->columns[i]);
    host->free(host, t);
}

static int32_t curves_open(const cvr_run_info *info, void **self, cvr_error *err) {
    curves *const t = report_calloc(info->host, sizeof *t);
    if (!t) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory for a report");
    t->host = info->host;
    t->set.host = info->host;
    int32_t status;
    CVR_TRY_OUT(results_open(&t->results, info, err));
    CVR_TRY_OUT(report_classes_copy(&t->classes, t->host, info->n_classes, info->class_names, err));
out:
    if (status != CVR_OK) {
        curves_free(t);
        return status;
    }
    *self = t;
    return CVR_OK;
}

/* Room for a matrix of this side; the name of what is of no class, or NULL. */
static int32_t open_matrix(curves *t, uint64_t side, const char *extra, cvr_error *err) {
    if (t->matrix && t->matrix_side == side) return CVR_OK;
    if (side > UINT32_MAX / 8) return cvr_fail(err, CVR_ERR_INVALID, "too many classes for a confusion matrix");
    if (t->matrix) t->host->free(t->host, t->matrix);
    if (t->matrix_extra) t->host->free(t->host, t->matrix_extra);
    t->matrix_side = side;
    t->matrix = t->host->alloc(t->host, side * side * sizeof *t->matrix, 64);
    t->matrix_extra = extra ? report_copy(t->host, extra) : NULL;
    return t->matrix && (t->matrix_extra || !extra)
               ? CVR_OK
               : cvr_fail(err, CVR_ERR_NOMEM, "out of memory for the confusion matrix");
}

static int32_t keep_matrix(curves *t, const cvr_epoch_event *e, cvr_error *err) {
    const uint64_t n = (uint64_t)t->classes.n + (e->matrix_extra != NULL);
    if (!e->matrix || t->classes.n == 0) return CVR_OK;
    CVR_TRY(open_matrix(t, n, e->matrix_extra, err));
    memcpy(t->matrix, e->matrix, n * n * sizeof *t->matrix);
    t->matrix_epoch = e->epoch;
    t->matrix_changed = 1;
    return CVR_OK;
}

/* The columns are those of the first epoch that has any. */
static int32_t keep_per_class(curves *t, const cvr_epoch_event *e, cvr_error *err) {
    const int64_t n = t->classes.n;
    if (!e->per_class || n == 0 || e->n_columns == 0) return CVR_OK;
    for (; t->n_columns < e->n_columns && t->n_columns < CURVES_COLUMNS && !t->per_class_epoch; t->n_columns++) {
        t->columns[t->n_columns] = report_copy(t->host, e->columns[t->n_columns]);
        if (!t->columns[t->n_columns]) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory for a report");
    }
    if (!t->per_class) t->per_class = report_calloc(t->host, (uint64_t)n * CURVES_COLUMNS * sizeof *t->per_class);
    if (!t->per_class) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory for a report");
    for (int64_t i = 0; i < n; i++)
        for (uint32_t k = 0; k < t->n_columns; k++)
            t->per_class[i * t->n_columns + k] = k < e->n_columns ? e->per_class[i * e->n_columns + k] : NAN;
    t->per_class_epoch = e->epoch;
    t->per_class_changed = 1;
    return CVR_OK;
}

static int32_t curves_epoch(void *self, const cvr_epoch_event *e, cvr_error *err) {
    curves *const t = self;
    t->results_changed = 1;
    CVR_TRY(results_add(&t->results, e, err));
    CVR_TRY(keep_matrix(t, e, err));
    CVR_TRY(curve_set_take(&t->set, e, err));
    t->set_changed |= e->n_curves > 0;
    return keep_per_class(t, e, err);
}

/* The column of a name; n_columns where there is none. */
static uint32_t find_column(const results_table *t, const char *name) {
    for (uint32_t i = 0; i < t->n_columns; i++) {
        if (strcmp(t->columns[i], name) == 0) return i;
    }
    return t->n_columns;
}

static void add_series(const results_table *t, plot *p, uint32_t column, const char *name) {
    if (column == t->n_columns || p->n_series == PLOT_SERIES) return;
    p->series[p->n_series] = (plot_series){name, t->cells + column, palette[p->n_series]};
    p->n_series++;
}

/* The losses: of training, of validation, and the latter's parts. */
static void add_losses(const results_table *t, plot *p) {
    add_series(t, p, find_column(t, "train_loss"), "training");
    add_series(t, p, find_column(t, "loss"), "validation");
    for (uint32_t i = RESULTS_FIXED; i < t->n_columns; i++)
        if (strncmp(t->columns[i], "loss_", 5) == 0) add_series(t, p, i, t->columns[i]);
}

/* What is not a loss is a metric. Of many the first are drawn, with two that people look for, however far behind. */
static void add_metrics(const results_table *t, plot *p) {
    static const char *const wanted[] = {"precision", "recall"};
    uint32_t columns[2], n = 0;
    for (size_t i = 0; i < 2; i++) n += (columns[i] = find_column(t, wanted[i])) < t->n_columns;
    for (uint32_t i = RESULTS_FIXED; i < t->n_columns && p->n_series < PLOT_SERIES - n; i++)
        if (!results_is_loss(t->columns[i]) && i != columns[0] && i != columns[1]) add_series(t, p, i, t->columns[i]);
    for (size_t i = 0; i < 2; i++) add_series(t, p, columns[i], wanted[i]);
}

static int32_t draw_results(const curves *t, cvr_error *err) {
    const results_table *const r = &t->results;
    const int64_t w = WIDTH / 2, h = HEIGHT / 2;
    plot panels[4] = {{.area = {0, 0, w, h}, .title = "Loss", .late = 1},
                      {.area = {w, 0, w, h}, .title = "Metrics", .bound = 1},
                      {.area = {0, h, w, h}, .title = "Learning rate"},
                      {.area = {w, h, w, h}, .title = "Images per second", .from_zero = 1}};
    canvas c;
    CVR_TRY(canvas_open(&c, t->host, WIDTH, HEIGHT, err));
    add_losses(r, &panels[0]);
    add_metrics(r, &panels[1]);
    add_series(r, &panels[2], RESULTS_LR, "lr");
    add_series(r, &panels[3], RESULTS_SPEED, "training");
    for (size_t i = 0; i < 4; i++) {
        panels[i].x = r->cells + RESULTS_EPOCH;
        panels[i].n = r->n_rows;
        panels[i].stride = r->stride;
        plot_draw(&c, &panels[i]);
    }
    const int32_t status = report_save_png(&c, r->folder, "results", err);
    canvas_close(&c);
    return status;
}

static int32_t draw(curves *t, cvr_error *err) {
    const confusion m = {t->host, t->results.folder, &t->classes, t->matrix, t->matrix_epoch, t->matrix_extra};
    const class_bars bars = {.host = t->host,
                             .folder = t->results.folder,
                             .classes = &t->classes,
                             .epoch = t->per_class_epoch,
                             .n_columns = t->n_columns,
                             .columns = t->columns,
                             .values = t->per_class};
    int32_t status = CVR_OK;
    if (t->results_changed) CVR_TRY_OUT(draw_results(t, err));
    if (t->per_class_changed) CVR_TRY_OUT(class_bars_write(&bars, err));
    if (t->set_changed) CVR_TRY_OUT(curve_set_draw(&t->set, t->results.folder, &t->classes, err));
    if (t->matrix_changed) CVR_TRY_OUT(confusion_write_csv(&m, err));
    if (t->matrix_changed) CVR_TRY_OUT(confusion_write_png(&m, err));
out:
    t->failed = status != CVR_OK;
    if (!t->failed) t->results_changed = t->matrix_changed = t->per_class_changed = t->set_changed = 0;
    t->drawn = report_now();
    return status;
}

/* Pictures that wait are drawn by a later call; a run that goes on has the rows of the curves in results.csv. */
static int32_t curves_flush(void *self, cvr_error *err) {
    curves *const t = self;
    return report_may_draw(t->drawn) ? draw(t, err) : CVR_OK;
}

static int32_t curves_end(void *self, const cvr_end_event *e, cvr_error *err) {
    (void)e;
    return draw(self, err);
}

/* A run that was interrupted has no end, but may have pictures that wait. */
static void curves_close(void *self) {
    curves *const t = self;
    cvr_error err;
    cvr_error_init(&err);
    if (t->drawn > 0 && !t->failed && draw(t, &err) != CVR_OK) t->host->log(t->host, CVR_LOG_WARNING, err.message);
    curves_free(t);
}

const cvr_reporter_desc reports_curves = {
    .struct_size = sizeof reports_curves,
    .name = "curves",
    .doc =
        "results.png, per_class.png, confusion_matrix.png and confusion_matrix.csv; pr_curve.png and the like, where "
        "the task has curves",
    .open = curves_open,
    .epoch = curves_epoch,
    .flush = curves_flush,
    .end = curves_end,
    .close = curves_close,
};
