/*
 * A whole CSV file in memory (RFC 4180), plain or gzip: rows of cells.
 */
#ifndef CVR_CSV_TABLE_H
#define CVR_CSV_TABLE_H

#include "dataset_file.h"
#include "name_table.h"

#define CSV_LINES '\x01' /* the delimiter of a file that has none: a line is one cell */

typedef struct csv_table {
    const cvr_host *host;
    char *text;      /* the cells, each NUL-terminated */
    uint64_t *cells; /* where each lies in `text` */
    uint64_t n_cells, cells_room;
    struct csv_row {
        uint64_t first; /* its first cell */
        uint64_t line;  /* in the file, from 1 */
    } * rows;
    uint64_t n_rows, rows_room;
} csv_table;

/* Empty lines are no rows. Every row must have as many cells as the first. Errors name file and line. Give the table
 * back with csv_table_free, also after an error. */
int32_t csv_table_read(const cvr_host *host, const char *path, char delimiter, csv_table *t, cvr_error *err);
void csv_table_free(csv_table *t);

static inline uint64_t csv_table_columns(const csv_table *t) {
    return t->n_rows > 1 ? t->rows[1].first : t->n_cells;
}
static inline const char *csv_table_cell(const csv_table *t, uint64_t row, uint64_t column) {
    return t->text + t->cells[t->rows[row].first + column];
}
/* The cells of a column as names that are numbered as the rows are. `again` is said of a name that stands there twice.
 */
int32_t csv_table_names(const csv_table *t, const char *path, uint64_t column, const char *again, name_table *names,
                        cvr_error *err);
/* CVR_ERR_FORMAT about a row. */
int32_t csv_table_fail(const csv_table *t, const char *path, uint64_t row, const char *what, cvr_error *err);

#endif
