/*
 * Names and the numbers that stand for them: the classes of data that name them row by row.
 */
#ifndef CVR_NAME_TABLE_H
#define CVR_NAME_TABLE_H

#include <cvr/plugin/plugin.h>

typedef struct name_table {
    const cvr_host *host;
    char *text; /* the names, one after the other */
    uint64_t text_n, text_room;
    uint64_t *names; /* where each lies in `text` */
    uint64_t n, room;
    uint64_t *slots; /* open addressing: 1 + a name's number, or 0; a power of two of them */
    uint64_t n_slots;
} name_table;

void name_table_free(name_table *t);
/* The number of this name, which gets the next one where it is new. */
int32_t name_table_put(name_table *t, const char *name, int64_t *number, cvr_error *err);
/* -1 where there is no such name. */
int64_t name_table_find(const name_table *t, const char *name);
static inline const char *name_table_get(const name_table *t, int64_t i) {
    return t->text + t->names[i];
}
/* Numbers the names anew: in the order of the numbers that they are, where all are whole numbers, and else in byte
 * order. `map` (n) gets the new number of each old one. */
int32_t name_table_sort(name_table *t, int64_t *map, cvr_error *err);

/* Room for `more` elements behind the `n` that are there; NULL when memory is out, and then the old stays. */
void *dataset_grow(const cvr_host *host, void *old, uint64_t n, uint64_t more, uint64_t *room, uint64_t size);

#endif
