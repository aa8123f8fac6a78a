/*
 * Rows of a CSV file into a list of pictures and classes.
 */
#include "csv_list.h"
#include "../split_draw.h"
#include <stdlib.h>

/* Where the recipe's columns are in a table. */
typedef struct columns {
    const csv_table *t;
    const csv_attrs *a;
    const char *path;
    uint64_t file, label;
    uint8_t *is_label; /* with label_columns: of each column; else NULL */
    int64_t *number;   /* of each column: the class that it stands for */
} columns;

static int32_t out_of_memory(cvr_error *err) {
    return cvr_fail(err, CVR_ERR_NOMEM, "out of memory for the list of pictures");
}

void csv_list_free(csv_list *l) {
    name_table_free(&l->classes);
    if (l->text) l->host->free(l->host, l->text);
    if (l->items) l->host->free(l->host, l->items);
    if (l->ids) l->host->free(l->host, l->ids);
    *l = (csv_list){.host = l->host};
}

static int32_t twice(const columns *c, const char *name, cvr_error *err) {
    char what[300];
    (void)snprintf(what, sizeof what, "two columns are called `%.100s`; rename one, or give its number from 1", name);
    return csv_table_fail(c->t, c->path, 0, dataset_printable(what), err);
}

/* A column by its name in the first row, or by its number from 1. */
static int32_t find_column(const columns *c, const char *name, uint64_t missing, uint64_t *at, cvr_error *err) {
    const uint64_t n = csv_table_columns(c->t);
    uint64_t found = 0;
    char *end = NULL;
    *at = missing;
    for (uint64_t i = 0; name[0] && c->a->header && i < n; i++) {
        if (strcmp(csv_table_cell(c->t, 0, i), name) != 0) continue;
        if (found++) return twice(c, name, err);
        *at = i;
    }
    if (found) return CVR_OK;
    if (name[0]) *at = strtoull(name, &end, 10) - 1;
    if (*at < n && (!end || *end == '\0')) return CVR_OK;
    const int32_t status =
        name[0] ? cvr_fail(err, CVR_ERR_USAGE, "there is no column `%.100s` among %llu; give %s", name,
                           (unsigned long long)n,
                           c->a->header ? "a name of the first row, or a number from 1" : "a number from 1")
                : cvr_fail(err, CVR_ERR_USAGE, "there are %llu columns; set data.label_column, or data.delimiter",
                           (unsigned long long)n);
    return cvr_fail_at(err, c->path, 0, status);
}

/* "a,b,c", or "*": all but the file's. */
static int32_t find_label_columns(columns *c, const cvr_host *host, cvr_error *err) {
    const uint64_t n = csv_table_columns(c->t);
    const char *at = c->a->label_columns;
    char name[256];
    c->is_label = host->alloc(host, n, 1);
    c->number = host->alloc(host, n * sizeof *c->number, 16);
    if (!c->is_label || !c->number) return out_of_memory(err);
    memset(c->is_label, strcmp(at, "*") == 0, n);
    c->is_label[c->file] = 0;
    while (strcmp(at, "*") != 0 && *at) {
        const size_t length = strcspn(at, ",");
        uint64_t column = 0;
        (void)snprintf(name, sizeof name, "%.*s", (int)(length < 255 ? length : 255), at);
        CVR_TRY(find_column(c, name, UINT64_MAX, &column, err));
        c->is_label[column] = 1;
        at += length + (at[length] == ',');
    }
    return CVR_OK;
}

static int32_t find_columns(columns *c, const cvr_host *host, cvr_error *err) {
    CVR_TRY(find_column(c, c->a->file_column, 0, &c->file, err));
    if (c->a->label_columns[0]) return find_label_columns(c, host, err);
    return find_column(c, c->a->label_column, c->file == 0 ? 1 : 0, &c->label, err);
}

/* The class of this name: a new one where `counts` says so. */
static int32_t class_number(csv_list *l, const columns *c, uint64_t row, const char *name, int32_t counts, int64_t *id,
                            cvr_error *err) {
    char what[400];
    if (counts) return name_table_put(&l->classes, name, id, err);
    *id = name_table_find(&l->classes, name);
    if (*id >= 0) return CVR_OK;
    (void)snprintf(what, sizeof what, "class '%.200s' is not among the training classes; remove or rename it", name);
    return csv_table_fail(c->t, c->path, row, dataset_printable(what), err);
}

static int32_t add_id(csv_list *l, int64_t id, cvr_error *err) {
    int64_t *const ids = dataset_grow(l->host, l->ids, l->n_ids, 1, &l->ids_room, sizeof *ids);
    if (!ids) return out_of_memory(err);
    l->ids = ids;
    ids[l->n_ids++] = id;
    return CVR_OK;
}

/* The classes of the columns with label_columns: in the order of the columns, whatever their names. */
static int32_t name_columns(csv_list *l, const columns *c, int32_t counts, cvr_error *err) {
    name_table names = {.host = l->host};
    char number[32];
    int64_t i_th;
    int32_t status = CVR_OK;
    for (uint64_t i = 0; i < csv_table_columns(c->t); i++) {
        if (!c->is_label[i]) continue;
        (void)snprintf(number, sizeof number, "%llu", (unsigned long long)i + 1);
        const char *const name = c->a->header ? csv_table_cell(c->t, 0, i) : number;
        const uint64_t n = names.n;
        CVR_TRY_OUT(name_table_put(&names, name, &i_th, err));
        if (names.n == n) CVR_TRY_OUT(twice(c, name, err));
        CVR_TRY_OUT(class_number(l, c, 0, name, counts, &c->number[i], err));
    }
out:
    name_table_free(&names);
    return status;
}

/* Cells that are 0 or 1. */
static int32_t take_columns(csv_list *l, const columns *c, uint64_t row, cvr_error *err) {
    for (uint64_t i = 0; i < csv_table_columns(c->t); i++) {
        const char *const cell = c->is_label[i] ? csv_table_cell(c->t, row, i) : "0";
        char *end;
        const double value = strtod(cell, &end);
        if (end == cell || *end || (value != 0 && value != 1))
            return csv_table_fail(c->t, c->path, row, "a label that is neither 0 nor 1; see data.label_columns", err);
        if (value != 0) CVR_TRY(add_id(l, c->number[i], err));
    }
    return CVR_OK;
}

/* "cat|dog": the names between the separators, without the spaces around them; an empty cell has none. */
static int32_t take_separated(csv_list *l, const columns *c, uint64_t row, int32_t counts, cvr_error *err) {
    const char *at = csv_table_cell(c->t, row, c->label);
    const char separator[2] = {c->a->label_separator[0], '\0'};
    char name[512];
    for (; *at; at += *at == separator[0]) {
        size_t n = strcspn(at, separator);
        const char *const next = at + n;
        while (n && *at == ' ') at++, n--;
        while (n && at[n - 1] == ' ') n--;
        if (n >= sizeof name) return csv_table_fail(c->t, c->path, row, "a class's name of over 511 bytes", err);
        memcpy(name, at, n);
        name[n] = '\0';
        at = next;
        int64_t id = 0;
        if (n == 0) continue;
        CVR_TRY(class_number(l, c, row, name, counts, &id, err));
        CVR_TRY(add_id(l, id, err));
    }
    return CVR_OK;
}

static int32_t take_labels(csv_list *l, const columns *c, uint64_t row, int32_t counts, cvr_error *err) {
    if (c->is_label) return take_columns(l, c, row, err);
    if (c->a->label_separator[0]) return take_separated(l, c, row, counts, err);
    const char *const name = csv_table_cell(c->t, row, c->label);
    int64_t id = 0;
    if (!name[0]) return csv_table_fail(c->t, c->path, row, "a picture without a class; fill the cell", err);
    CVR_TRY(class_number(l, c, row, name, counts, &id, err));
    return add_id(l, id, err);
}

static int32_t add_item(csv_list *l, const columns *c, uint64_t row, const char *images, uint64_t first,
                        cvr_error *err) {
    char path[4096], name[2048];
    const char *const cell = csv_table_cell(c->t, row, c->file);
    if (!cell[0]) return csv_table_fail(c->t, c->path, row, "a row without a file; fill the cell", err);
    if (snprintf(name, sizeof name, "%s%s", cell, c->a->suffix) >= (int)sizeof name)
        return csv_table_fail(c->t, c->path, row, "a file's name of over 2047 bytes", err);
    CVR_TRY(dataset_path(path, sizeof path, images, name, err));
    const uint64_t n = strlen(path) + 1;
    char *const text = dataset_grow(l->host, l->text, l->text_n, n, &l->text_room, 1);
    if (!text) return out_of_memory(err);
    l->text = text;
    struct csv_item *const items = dataset_grow(l->host, l->items, l->n, 1, &l->room, sizeof *items);
    if (!items) return out_of_memory(err);
    l->items = items;
    memcpy(text + l->text_n, path, n);
    items[l->n++] = (struct csv_item){l->text_n, first, l->n_ids - first};
    l->text_n += n;
    return CVR_OK;
}

/* The classes in their order, and the pictures with them. */
static int32_t sort_classes(csv_list *l, cvr_error *err) {
    int64_t *const map = l->host->alloc(l->host, (l->classes.n + 1) * sizeof *map, 16);
    if (!map) return out_of_memory(err);
    const int32_t status = name_table_sort(&l->classes, map, err);
    for (uint64_t i = 0; status == CVR_OK && i < l->n_ids; i++) l->ids[i] = map[l->ids[i]];
    l->host->free(l->host, map);
    return status;
}

static int32_t take_rows(csv_list *l, const columns *c, const char *images, int32_t counts, int32_t keeps,
                         cvr_error *err) {
    const uint64_t begin = c->a->header ? 1 : 0;
    if (begin == c->t->n_rows) return csv_table_fail(c->t, c->path, 0, "no row but the header; see data.header", err);
    if (c->is_label) CVR_TRY(name_columns(l, c, counts, err));
    for (uint64_t row = begin; row < c->t->n_rows; row++) {
        const uint64_t first = l->n_ids;
        CVR_TRY(take_labels(l, c, row, counts, err));
        if (keeps)
            CVR_TRY(add_item(l, c, row, images, first, err));
        else
            l->n_ids = first;
    }
    if (l->classes.n == 0) return csv_table_fail(c->t, c->path, begin, "not one class in all rows", err);
    return counts && !c->is_label ? sort_classes(l, err) : CVR_OK;
}

int32_t csv_list_read(csv_list *l, const csv_attrs *a, const char *path, const char *images, int32_t counts,
                      int32_t keeps, cvr_error *err) {
    csv_table t = {0};
    columns c = {.t = &t, .a = a, .path = path};
    const char delimiter = strcmp(a->delimiter, "tab") == 0 ? '\t' : a->delimiter[0];
    int32_t status;
    l->multi = a->label_columns[0] || a->label_separator[0];
    CVR_TRY_OUT(csv_table_read(l->host, path, delimiter, &t, err));
    CVR_TRY_OUT(find_columns(&c, l->host, err));
    CVR_TRY_OUT(take_rows(l, &c, images, counts, keeps, err));
out:
    if (c.is_label) l->host->free(l->host, c.is_label);
    if (c.number) l->host->free(l->host, c.number);
    csv_table_free(&t);
    return status;
}

/* The class that picture i is drawn with: where pictures have any number of classes, all are drawn as one. */
static int64_t drawn_with(const csv_list *l, uint64_t i) {
    return l->multi ? 0 : l->ids[l->items[i].first];
}

int32_t csv_list_split(csv_list *l, uint32_t split, double val_split, uint64_t seed, cvr_error *err) {
    const int64_t classes = l->multi ? 1 : (int64_t)l->classes.n;
    split_draw *const draws = l->host->alloc(l->host, (uint64_t)classes * sizeof *draws, 16);
    uint64_t kept = 0;
    if (!draws) return out_of_memory(err);
    for (int64_t k = 0; k < classes; k++) draws[k].left = 0;
    for (uint64_t i = 0; i < l->n; i++) draws[drawn_with(l, i)].left++;
    for (int64_t k = 0; k < classes; k++)
        split_draw_start(&draws[k], draws[k].left, val_split, seed, l->multi ? "" : name_table_get(&l->classes, k));
    for (uint64_t i = 0; i < l->n; i++) {
        if (split_draw_next(&draws[drawn_with(l, i)]) == split) l->items[kept++] = l->items[i];
    }
    l->n = kept;
    l->host->free(l->host, draws);
    return CVR_OK;
}
