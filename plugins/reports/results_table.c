/*
 * results.csv: reading it back, adding an epoch, writing it whole. It is short (a row an epoch), so that every write
 * replaces the file and a new column costs nothing.
 */
#include "results_table.h"
#include <locale.h>
#include <math.h>
#include <stdlib.h>

#define RESULTS_FILE "results.csv"

static const char *const fixed[RESULTS_FIXED] = {"epoch", "step",         "seconds",
                                                 "lr",    "images_per_s", "data_wait_fraction"};

int32_t results_is_loss(const char *name) {
    const size_t n = strlen(name);
    return (n >= 4 && strcmp(name + n - 4, "loss") == 0) || strncmp(name, "loss_", 5) == 0;
}

int32_t results_is_nan(double cell) {
    return isnan(cell) && signbit(cell);
}

static double computed_nan(void) {
    return copysign(NAN, -1);
}

double results_cell(const results_table *t, uint64_t row, uint32_t column) {
    return t->cells[row * t->stride + column];
}

/* Room for `rows` and `columns`; what is there stays, and all else is empty. */
static int32_t make_room(results_table *t, uint64_t rows, uint32_t columns, cvr_error *err) {
    double *const cells = t->host->alloc(t->host, rows * columns * sizeof *cells, 16);
    char **const names = t->host->alloc(t->host, columns * sizeof *names, 16);
    if (!cells || !names) {
        if (cells) t->host->free(t->host, cells);
        if (names) t->host->free(t->host, names);
        return cvr_fail(err, CVR_ERR_NOMEM, "out of memory for the table of results");
    }
    for (uint64_t i = 0; i < rows * columns; i++) cells[i] = NAN;
    for (uint64_t r = 0; r < t->n_rows; r++)
        memcpy(cells + r * columns, t->cells + r * t->stride, t->n_columns * sizeof *cells);
    if (t->n_columns) memcpy(names, t->columns, t->n_columns * sizeof *names);
    if (t->cells) t->host->free(t->host, t->cells);
    if (t->columns) t->host->free(t->host, t->columns);
    t->cells = cells;
    t->columns = names;
    t->room = rows;
    t->stride = columns;
    return CVR_OK;
}

/* The column of a name, a new one where there is none yet. */
static int32_t column_of(results_table *t, const char *name, uint64_t length, uint32_t *column, cvr_error *err) {
    for (*column = 0; *column < t->n_columns; ++*column) {
        const char *const known = t->columns[*column];
        if (strlen(known) == length && memcmp(known, name, length) == 0) return CVR_OK;
    }
    if (t->n_columns == t->stride) CVR_TRY(make_room(t, t->room ? t->room : 64, t->stride * 2 + 16, err));
    char *const copy = t->host->alloc(t->host, length + 1, 1);
    if (!copy) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory for the table of results");
    memcpy(copy, name, length);
    copy[length] = '\0';
    t->columns[t->n_columns++] = copy;
    return CVR_OK;
}

/* A row of empty cells at the end. */
static int32_t new_row(results_table *t, cvr_error *err) {
    if (t->n_rows == t->room) CVR_TRY(make_room(t, t->room * 2 + 64, t->stride, err));
    double *const row = t->cells + t->n_rows++ * t->stride;
    for (uint32_t i = 0; i < t->stride; i++) row[i] = NAN;
    return CVR_OK;
}

/* The next cell of a line, from `*at` on; moves `*at` past it and its comma. */
static const char *next_cell(const char **at, const char *end, uint64_t *length) {
    const char *const start = *at;
    const char *const comma = memchr(start, ',', (size_t)(end - start));
    *length = (uint64_t)((comma ? comma : end) - start);
    *at = comma ? comma + 1 : end + 1;
    return start;
}

static int32_t parse_number(const char *s, uint64_t length, double *v) {
    char digits[64], *end;
    *v = NAN;
    if (length == 0) return 1;
    if (length >= sizeof digits) return 0;
    memcpy(digits, s, length);
    digits[length] = '\0';
    *v = strtod(digits, &end);
    if (isnan(*v)) *v = computed_nan();
    return *end == '\0';
}

/* It begins with the columns that every table has; names that are there twice are nobody's. */
static int32_t parse_header(results_table *t, const char *at, const char *end, cvr_error *err) {
    for (uint32_t i = 0; at <= end; i++) {
        uint64_t length;
        uint32_t column;
        const char *const cell = next_cell(&at, end, &length);
        const int32_t good =
            length > 0 && (i >= RESULTS_FIXED || (strlen(fixed[i]) == length && memcmp(fixed[i], cell, length) == 0));
        if (good) CVR_TRY(column_of(t, cell, length, &column, err));
        if (!good || column != i || (at > end && i + 1 < RESULTS_FIXED))
            return cvr_fail(err, CVR_ERR_FORMAT,
                            "not a table of results that cvrun wrote; move it away and resume again");
    }
    return CVR_OK;
}

/* 1 where the line is a row; 0: it is damaged. */
static int32_t parse_row(const results_table *t, double *row, const char *at, const char *end) {
    uint32_t n = 0;
    for (; at <= end && n < t->n_columns; n++) {
        uint64_t length;
        const char *const cell = next_cell(&at, end, &length);
        if (!parse_number(cell, length, &row[n])) return 0;
    }
    const double exact = 9007199254740992.0; /* 2^53: whole numbers are exact up to here */
    return at > end && n == t->n_columns && row[0] >= 1 && row[0] <= exact && row[1] >= 1 && row[1] <= exact;
}

/* Rows up to the first that is later than `last_epoch`, or not whole. */
static int32_t parse(results_table *t, const text *file, int64_t last_epoch, cvr_error *err) {
    if (!file->n) return CVR_OK; /* and has no bytes to point to */
    const char *at = file->bytes, *const end = file->bytes + file->n;
    const char *newline = memchr(at, '\n', file->n);
    if (!newline) return CVR_OK; /* cut off in its header: no epoch was done */
    CVR_TRY(parse_header(t, at, newline, err));
    for (at = newline + 1; at < end && (newline = memchr(at, '\n', (size_t)(end - at))); at = newline + 1) {
        CVR_TRY(new_row(t, err));
        double *const row = t->cells + (t->n_rows - 1) * t->stride;
        if (!parse_row(t, row, at, newline) || row[RESULTS_EPOCH] > (double)last_epoch) {
            t->n_rows--;
            break;
        }
    }
    return CVR_OK;
}

static int32_t read_back(results_table *t, int64_t last_epoch, cvr_error *err) {
    char path[REPORT_PATH];
    int32_t exists, status;
    CVR_TRY(report_path(path, t->folder, RESULTS_FILE, err));
    text file;
    text_open(&file, t->host);
    CVR_TRY_OUT(report_read(path, &file, &exists, err));
    /* strtod must take the point for one, whatever the locale of the program. */
    const locale_t numbers = newlocale(LC_ALL_MASK, "C", (locale_t)0);
    const locale_t before = numbers ? uselocale(numbers) : (locale_t)0;
    status = parse(t, &file, last_epoch, err);
    if (numbers) {
        (void)uselocale(before);
        freelocale(numbers);
    }
    if (status != CVR_OK) (void)report_fail_at(err, path, status);
out:
    text_close(&file);
    return status;
}

int32_t results_open(results_table *t, const cvr_run_info *info, cvr_error *err) {
    memset(t, 0, sizeof *t);
    t->host = info->host;
    const int n = snprintf(t->folder, sizeof t->folder, "%s", info->folder);
    if (n < 0 || n >= REPORT_PATH) return cvr_fail(err, CVR_ERR_INVALID, "the path of the run folder is too long");
    int32_t status = CVR_OK;
    uint32_t column;
    for (uint32_t i = 0; i < RESULTS_FIXED; i++) CVR_TRY_OUT(column_of(t, fixed[i], strlen(fixed[i]), &column, err));
    if (info->resume_step == 0) { /* the run starts over: the checkpoint that this table belonged to is lost */
        char path[REPORT_PATH];
        CVR_TRY_OUT(report_path(path, t->folder, RESULTS_FILE, err));
        CVR_TRY_OUT(report_set_aside(t->host, path, err));
    }
    if (info->resume_step > 0) CVR_TRY_OUT(read_back(t, info->resume_epoch, err));
out:
    if (status != CVR_OK) results_close(t);
    return status;
}

void results_close(results_table *t) {
    for (uint32_t i = 0; i < t->n_columns; i++) t->host->free(t->host, t->columns[i]);
    if (t->cells) t->host->free(t->host, t->cells);
    if (t->columns) t->host->free(t->host, t->columns);
    t->cells = NULL;
    t->columns = NULL;
    t->n_rows = t->room = 0;
    t->n_columns = t->stride = 0;
}

int32_t results_add(results_table *t, const cvr_epoch_event *e, cvr_error *err) {
    const double known[RESULTS_FIXED] = {(double)e->epoch, (double)e->step,      e->seconds, e->lr,
                                         e->images_per_s,  e->data_wait_fraction};
    CVR_TRY(new_row(t, err));
    memcpy(t->cells + (t->n_rows - 1) * t->stride, known, sizeof known);
    for (uint32_t i = 0; i < e->n_metrics; i++) {
        const char *const name = e->names[i];
        uint32_t column;
        int32_t status = !*name || name[strcspn(name, ",\"\r\n")]
                             ? cvr_fail(err, CVR_ERR_PLUGIN, "a metric cannot be called '%s'", name)
                             : column_of(t, name, strlen(name), &column, err);
        if (status != CVR_OK) {
            t->n_rows--;
            return status;
        }
        t->cells[(t->n_rows - 1) * t->stride + column] = !isnan(e->values[i])    ? e->values[i]
                                                         : results_is_loss(name) ? computed_nan()
                                                                                 : NAN;
    }
    return CVR_OK;
}

int32_t results_write(const results_table *t, cvr_error *err) {
    char path[REPORT_PATH];
    int32_t status = report_path(path, t->folder, RESULTS_FILE, err);
    if (status != CVR_OK || t->n_rows == 0) return status == CVR_OK ? report_remove(path, err) : status;
    text file;
    text_open(&file, t->host);
    for (uint32_t i = 0; i < t->n_columns; i++) {
        if (i > 0) text_put(&file, ",");
        text_put(&file, t->columns[i]);
    }
    for (uint64_t r = 0; r < t->n_rows; r++) {
        for (uint32_t i = 0; i < t->n_columns; i++) {
            const double v = results_cell(t, r, i);
            text_put(&file, i > 0 ? "," : "\n");
            if (i < 2)
                text_int(&file, (int64_t)v); /* epoch and step, all of their digits */
            else if (results_is_nan(v))
                text_put(&file, "nan");
            else
                text_number(&file, v);
        }
    }
    text_put(&file, "\n");
    status = report_replace(path, &file, err);
    text_close(&file);
    return status;
}
