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

double results_cell(const results_table *t, uint64_t row, uint32_t column) {
    return t->cells[row * RESULTS_COLUMNS + column];
}

/* The column of a name, a new one where there is none yet; RESULTS_COLUMNS where there is no room or the name is too
 * long. */
static uint32_t column_of(results_table *t, const char *name, uint64_t length) {
    for (uint32_t i = 0; i < t->n_columns; i++) {
        if (strlen(t->columns[i]) == length && memcmp(t->columns[i], name, length) == 0) return i;
    }
    if (t->n_columns == RESULTS_COLUMNS || length == 0 || length >= sizeof t->columns[0]) return RESULTS_COLUMNS;
    memcpy(t->columns[t->n_columns], name, length);
    t->columns[t->n_columns][length] = '\0';
    return t->n_columns++;
}

/* A row of empty cells at the end. */
static double *new_row(results_table *t, cvr_error *err) {
    if (t->n_rows == t->room) {
        const uint64_t room = t->room * 2 + 64;
        double *const bigger = t->host->alloc(t->host, room * RESULTS_COLUMNS * sizeof *bigger, 16);
        if (!bigger) {
            (void)cvr_fail(err, CVR_ERR_NOMEM, "out of memory for the table of results");
            return NULL;
        }
        if (t->cells) {
            memcpy(bigger, t->cells, t->n_rows * RESULTS_COLUMNS * sizeof *bigger);
            t->host->free(t->host, t->cells);
        }
        t->cells = bigger;
        t->room = room;
    }
    double *const row = t->cells + t->n_rows++ * RESULTS_COLUMNS;
    for (uint32_t i = 0; i < RESULTS_COLUMNS; i++) row[i] = NAN;
    return row;
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
    return *end == '\0';
}

static int32_t parse_header(results_table *t, const char *at, const char *end) {
    for (uint32_t i = 0; at <= end; i++) {
        uint64_t length;
        const char *const cell = next_cell(&at, end, &length);
        if (column_of(t, cell, length) != i) return 0;
    }
    return t->n_columns >= RESULTS_FIXED && memcmp(t->columns[0], "epoch", 6) == 0;
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
    const char *at = file->bytes, *const end = file->bytes + file->n;
    const char *newline = file->n ? memchr(at, '\n', file->n) : NULL;
    if (!newline) return CVR_OK; /* cut off in its header: no epoch was done */
    t->n_columns = 0;
    if (!parse_header(t, at, newline)) {
        return cvr_fail(err, CVR_ERR_FORMAT, "not a table of results that cvrun wrote; move it away and resume again");
    }
    for (at = newline + 1; at < end && (newline = memchr(at, '\n', (size_t)(end - at))); at = newline + 1) {
        double *const row = new_row(t, err);
        if (!row) return CVR_ERR_NOMEM;
        if (!parse_row(t, row, at, newline) || row[RESULTS_EPOCH] > (double)last_epoch) {
            t->n_rows--;
            break;
        }
    }
    return CVR_OK;
}

static int32_t read_back(results_table *t, int64_t last_epoch, cvr_error *err) {
    char path[REPORT_PATH];
    int32_t exists, status = report_path(path, t->folder, RESULTS_FILE, err);
    if (status != CVR_OK) return status;
    text file;
    text_open(&file, t->host);
    status = report_read(path, &file, &exists, err);
    if (status == CVR_OK) {
        /* strtod must take the point for one, whatever the locale of the program. */
        const locale_t numbers = newlocale(LC_ALL_MASK, "C", (locale_t)0);
        const locale_t before = numbers ? uselocale(numbers) : (locale_t)0;
        status = parse(t, &file, last_epoch, err);
        if (numbers) {
            (void)uselocale(before);
            freelocale(numbers);
        }
        if (status != CVR_OK) (void)report_fail_at(err, path, status);
    }
    text_close(&file);
    return status;
}

int32_t results_open(results_table *t, const cvr_run_info *info, cvr_error *err) {
    memset(t, 0, sizeof *t);
    t->host = info->host;
    const int n = snprintf(t->folder, sizeof t->folder, "%s", info->folder);
    if (n < 0 || n >= REPORT_PATH) return cvr_fail(err, CVR_ERR_INVALID, "the path of the run folder is too long");
    for (uint32_t i = 0; i < RESULTS_FIXED; i++) (void)column_of(t, fixed[i], strlen(fixed[i]));
    if (info->resume_step < 0) return CVR_OK;
    const int32_t status = read_back(t, info->resume_epoch, err);
    if (status != CVR_OK) results_close(t);
    return status;
}

void results_close(results_table *t) {
    if (t->cells) t->host->free(t->host, t->cells);
    t->cells = NULL;
    t->n_rows = t->room = 0;
}

int32_t results_add(results_table *t, const cvr_epoch_event *e, cvr_error *err) {
    const double known[RESULTS_FIXED] = {(double)e->epoch, (double)e->step,      e->seconds, e->lr,
                                         e->images_per_s,  e->data_wait_fraction};
    double *const row = new_row(t, err);
    if (!row) return CVR_ERR_NOMEM;
    memcpy(row, known, sizeof known);
    for (uint32_t i = 0; i < e->n_metrics; i++) {
        const uint32_t column = e->names[i][strcspn(e->names[i], ",\"\r\n")] == '\0'
                                    ? column_of(t, e->names[i], strlen(e->names[i]))
                                    : RESULTS_COLUMNS;
        if (column == RESULTS_COLUMNS) {
            t->n_rows--;
            return cvr_fail(err, CVR_ERR_PLUGIN, "the metric '%s' does not fit into " RESULTS_FILE "; shorten its name",
                            e->names[i]);
        }
        row[column] = e->values[i];
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
            if (i < 2) {
                text_int(&file, (int64_t)v); /* epoch and step, all of their digits */
            } else {
                text_number(&file, v);
            }
        }
    }
    text_put(&file, "\n");
    status = report_replace(path, &file, err);
    text_close(&file);
    return status;
}
