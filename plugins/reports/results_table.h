/*
 * The rows of results.csv in memory: a row an epoch, a column a number. Columns that come later (metrics, where the
 * first epochs were not validated) leave the earlier rows' cells empty.
 */
#ifndef CVR_REPORTS_RESULTS_TABLE_H
#define CVR_REPORTS_RESULTS_TABLE_H

#include "report_file.h"
#include <cvr/plugin/reporter.h>

/* Columns that every row has; metrics follow. */
#define RESULTS_EPOCH 0
#define RESULTS_LR 3
#define RESULTS_SPEED 4
#define RESULTS_FIXED 6

typedef struct results_table {
    const cvr_host *host;
    char folder[REPORT_PATH];   /* of the run */
    uint32_t n_columns, stride; /* columns, and cells from row to row */
    char **columns;
    uint64_t n_rows, room;
    double *cells; /* NAN: empty, unless results_is_nan */
} results_table;

/* Empty, or, where a run is resumed, the rows of results.csv up to resume_epoch. */
int32_t results_open(results_table *t, const cvr_run_info *info, cvr_error *err);
void results_close(results_table *t);
int32_t results_add(results_table *t, const cvr_epoch_event *e, cvr_error *err);
/* "loss", "train_loss", "loss_NAME": where one is NaN, that is what was computed. Of any other metric it means that
 * there is none. */
int32_t results_is_loss(const char *name);
/* Whether a cell holds a NaN that was computed, which the file has as the word: its sign tells it from an empty one. */
int32_t results_is_nan(double cell);
double results_cell(const results_table *t, uint64_t row, uint32_t column);
/* Writes results.csv anew; without rows there is none. */
int32_t results_write(const results_table *t, cvr_error *err);

#endif
