/*
 * The pictures that a CSV file lists, with their classes.
 */
#ifndef CVR_CSV_LIST_H
#define CVR_CSV_LIST_H

#include "../csv_table.h"
#include "../dataset_picture.h"
#include "../name_table.h"

typedef struct csv_attrs {
    double val_split;
    int64_t header;
    const char *delimiter, *file_column, *label_column, *label_columns, *label_separator, *images, *suffix;
} csv_attrs;

typedef struct csv_list {
    const cvr_host *host;
    name_table classes;
    char *text; /* paths, each NUL-terminated */
    uint64_t text_n, text_room;
    struct csv_item {
        uint64_t path;         /* in `text` */
        uint64_t first, n_ids; /* its classes: ids[first] to ids[first + n_ids - 1] */
    } * items;
    uint64_t n, room;
    int64_t *ids;
    uint64_t n_ids, ids_room;
    int32_t multi; /* several classes a picture, or none */
} csv_list;

/* Reads a file. `counts`: its classes are added, and numbered in order; else one that is not there is an error.
 * `keeps`: its pictures are listed, below the folder `images`. */
int32_t csv_list_read(csv_list *l, const csv_attrs *a, const char *path, const char *images, int32_t counts,
                      int32_t keeps, cvr_error *err);
/* Keeps the part that a seeded draw gives to this split: of every class its share, where pictures have one class. */
int32_t csv_list_split(csv_list *l, uint32_t split, double val_split, uint64_t seed, cvr_error *err);
void csv_list_free(csv_list *l);

#endif
