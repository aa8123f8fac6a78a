/*
 * Reading CSV (RFC 4180): quotes may hold delimiters, line ends and doubled quotes; lines end in CR LF or LF; a byte
 * order mark is passed over.
 */
#include "csv_table.h"

/* The most that a list of pictures may be: tens of millions of rows. */
#define MOST_BYTES (1ull << 31)

typedef struct reader {
    csv_table *t;
    const char *path;
    char *at, *end, *to; /* cells are moved down in place, as they only become shorter */
    uint64_t line;
    char delimiter;
    cvr_error *err;
} reader;

static int32_t fail_line(const char *path, uint64_t line, const char *what, cvr_error *err) {
    (void)cvr_fail(err, CVR_ERR_FORMAT, "%s", what);
    return cvr_fail_at(err, path, (uint32_t)(line < UINT32_MAX ? line : UINT32_MAX), CVR_ERR_FORMAT);
}

int32_t csv_table_fail(const csv_table *t, const char *path, uint64_t row, const char *what, cvr_error *err) {
    return fail_line(path, t->rows[row].line, what, err);
}

static int32_t out_of_memory(cvr_error *err) {
    return cvr_fail(err, CVR_ERR_NOMEM, "out of memory for a CSV file");
}

void csv_table_free(csv_table *t) {
    if (!t->host) return;
    if (t->text) t->host->free(t->host, t->text);
    if (t->cells) t->host->free(t->host, t->cells);
    if (t->rows) t->host->free(t->host, t->rows);
    memset(t, 0, sizeof *t);
}

/* The whole file behind each other, in blocks that double. */
static int32_t load(dataset_file *f, csv_table *t, uint64_t *n, cvr_error *err) {
    uint64_t room = 0, got = 1;
    for (*n = 0; got; *n += got) {
        char *const text = dataset_grow(t->host, t->text, *n, 1u << 12, &room, 1);
        if (!text) return out_of_memory(err);
        t->text = text;
        if (*n > MOST_BYTES) return dataset_file_fail(f, err, "a CSV file of over 2 GiB; split it");
        CVR_TRY(dataset_file_read(f, text + *n, room - *n - 1, &got, err));
    }
    return memchr(t->text, '\0', *n) ? dataset_file_fail(f, err, "a NUL byte; save it as CSV in UTF-8") : CVR_OK;
}

static int32_t add_cell(reader *r, const char *cell) {
    csv_table *const t = r->t;
    uint64_t *const cells = dataset_grow(t->host, t->cells, t->n_cells, 1, &t->cells_room, sizeof *cells);
    if (!cells) return out_of_memory(r->err);
    t->cells = cells;
    cells[t->n_cells++] = (uint64_t)(cell - t->text);
    return CVR_OK;
}

/* Behind the opening quote. */
static int32_t quoted(reader *r) {
    const uint64_t first = r->line;
    for (;;) {
        if (r->at == r->end) return fail_line(r->path, first, "a quote that is not closed; close it", r->err);
        if (*r->at == '"' && ++r->at <= r->end && (r->at == r->end || *r->at != '"')) break;
        if (*r->at == '\n') r->line++;
        *r->to++ = *r->at++;
    }
    const char next = r->at < r->end ? *r->at : '\n';
    const int ends = next == r->delimiter || next == '\n' || (next == '\r' && r->at + 1 < r->end && r->at[1] == '\n');
    return ends ? CVR_OK : fail_line(r->path, r->line, "text behind a closing quote; quote the whole cell", r->err);
}

static int32_t plain(reader *r) {
    while (r->at < r->end && *r->at != r->delimiter && *r->at != '\n') {
        if (*r->at == '\r' && (r->at + 1 == r->end || r->at[1] == '\n')) break;
        if (*r->at == '"') return fail_line(r->path, r->line, "a quote inside of a cell; quote the whole cell", r->err);
        *r->to++ = *r->at++;
    }
    return CVR_OK;
}

/* One cell and what ends it; `more` where the row goes on. */
static int32_t cell(reader *r, int32_t *more) {
    const char *const begin = r->to;
    if (r->at < r->end && *r->at == '"') {
        r->at++;
        CVR_TRY(quoted(r));
    } else {
        CVR_TRY(plain(r));
    }
    *more = r->at < r->end && *r->at == r->delimiter;
    if (r->at < r->end && *r->at == '\r') r->at++;
    if (r->at < r->end) r->at++; /* the delimiter or the line's end; behind it there is room for the NUL */
    *r->to++ = '\0';
    return add_cell(r, begin);
}

static int32_t row(reader *r) {
    csv_table *const t = r->t;
    const uint64_t first = t->n_cells, line = r->line;
    struct csv_row *const rows = dataset_grow(t->host, t->rows, t->n_rows, 1, &t->rows_room, sizeof *rows);
    if (!rows) return out_of_memory(r->err);
    t->rows = rows;
    for (int32_t more = 1; more;) CVR_TRY(cell(r, &more));
    r->line++;
    rows[t->n_rows++] = (struct csv_row){first, line};
    const uint64_t columns = csv_table_columns(t), mine = t->n_cells - first;
    if (mine == columns) return CVR_OK;
    (void)cvr_fail(r->err, CVR_ERR_FORMAT, "%llu cells in this row, and %llu in the first; mend it",
                   (unsigned long long)mine, (unsigned long long)columns);
    return cvr_fail_at(r->err, r->path, (uint32_t)(line < UINT32_MAX ? line : UINT32_MAX), CVR_ERR_FORMAT);
}

static int32_t parse(reader *r) {
    if (r->end - r->at >= 3 && memcmp(r->at, "\xef\xbb\xbf", 3) == 0) r->at += 3;
    while (r->at < r->end) {
        const int32_t crlf = *r->at == '\r' && r->at + 1 < r->end && r->at[1] == '\n';
        if (*r->at != '\n' && !crlf) {
            CVR_TRY(row(r));
            continue;
        }
        r->at += 1 + crlf;
        r->line++;
    }
    return CVR_OK;
}

int32_t csv_table_read(const cvr_host *host, const char *path, char delimiter, csv_table *t, cvr_error *err) {
    dataset_file *f = NULL;
    uint64_t n = 0;
    int32_t status;
    *t = (csv_table){.host = host};
    CVR_TRY_OUT(dataset_file_open(host, path, &f, err));
    CVR_TRY_OUT(load(f, t, &n, err));
    reader r = {t, path, t->text, t->text + n, t->text, 1, delimiter, err};
    CVR_TRY_OUT(parse(&r));
    if (t->n_rows == 0) status = dataset_file_fail(f, err, "an empty file; put in at least one row");
out:
    dataset_file_close(f);
    return status;
}

int32_t csv_table_names(const csv_table *t, const char *path, uint64_t column, const char *again, name_table *names,
                        cvr_error *err) {
    for (uint64_t i = 0; i < t->n_rows; i++) {
        int64_t number;
        CVR_TRY(name_table_put(names, csv_table_cell(t, i, column), &number, err));
        if (number != (int64_t)i) return csv_table_fail(t, path, i, again, err);
    }
    return CVR_OK;
}
