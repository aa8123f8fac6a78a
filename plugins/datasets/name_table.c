/*
 * A hash table of names (FNV-1a by cvr_hash, linear probing).
 */
#include "name_table.h"
#include <stdlib.h>

void *dataset_grow(const cvr_host *host, void *old, uint64_t n, uint64_t more, uint64_t *room, uint64_t size) {
    if (n + more <= *room) return old;
    const uint64_t bigger = (n + more) * 2 + 16;
    void *const p = host->alloc(host, bigger * size, 16);
    if (!p) return NULL;
    if (n) memcpy(p, old, n * size);
    if (old) host->free(host, old);
    *room = bigger;
    return p;
}

static int32_t out_of_memory(cvr_error *err) {
    return cvr_fail(err, CVR_ERR_NOMEM, "out of memory for the names of classes");
}

void name_table_free(name_table *t) {
    if (t->text) t->host->free(t->host, t->text);
    if (t->names) t->host->free(t->host, t->names);
    if (t->slots) t->host->free(t->host, t->slots);
    *t = (name_table){.host = t->host};
}

/* The slot that this name has, or would get. */
static uint64_t slot_of(const name_table *t, const char *name) {
    uint64_t i = cvr_hash(name) & (t->n_slots - 1);
    while (t->slots[i] && strcmp(name_table_get(t, (int64_t)t->slots[i] - 1), name) != 0)
        i = (i + 1) & (t->n_slots - 1);
    return i;
}

/* Half of the slots at most are taken. */
static int32_t make_slots(name_table *t, uint64_t n, cvr_error *err) {
    uint64_t *const slots = t->host->alloc(t->host, n * sizeof *slots, 16);
    if (!slots) return out_of_memory(err);
    memset(slots, 0, n * sizeof *slots);
    if (t->slots) t->host->free(t->host, t->slots);
    t->slots = slots;
    t->n_slots = n;
    for (uint64_t i = 0; i < t->n; i++) slots[slot_of(t, name_table_get(t, (int64_t)i))] = i + 1;
    return CVR_OK;
}

int64_t name_table_find(const name_table *t, const char *name) {
    return t->n_slots ? (int64_t)t->slots[slot_of(t, name)] - 1 : -1;
}

int32_t name_table_put(name_table *t, const char *name, int64_t *number, cvr_error *err) {
    const uint64_t n = strlen(name) + 1;
    *number = name_table_find(t, name);
    if (*number >= 0) return CVR_OK;
    if (2 * (t->n + 1) > t->n_slots) CVR_TRY(make_slots(t, t->n_slots ? 2 * t->n_slots : 16, err));
    char *const text = dataset_grow(t->host, t->text, t->text_n, n, &t->text_room, 1);
    if (!text) return out_of_memory(err);
    t->text = text;
    uint64_t *const names = dataset_grow(t->host, t->names, t->n, 1, &t->room, sizeof *names);
    if (!names) return out_of_memory(err);
    t->names = names;
    memcpy(text + t->text_n, name, n);
    names[t->n] = t->text_n;
    t->slots[slot_of(t, name)] = t->n + 1;
    t->text_n += n;
    *number = (int64_t)t->n++;
    return CVR_OK;
}

typedef struct named {
    const char *name;
    int64_t value, old;
} named;

static int by_value(const void *a, const void *b) {
    const named *const x = a, *const y = b;
    return x->value != y->value ? (x->value < y->value ? -1 : 1) : strcmp(x->name, y->name);
}

static int by_name(const void *a, const void *b) {
    return strcmp(((const named *)a)->name, ((const named *)b)->name);
}

/* Whether the name is a number as people write it: digits, perhaps a sign. */
static int is_number(const char *name, int64_t *value) {
    const char *const digits = name + (*name == '-');
    const size_t n = strlen(digits);
    if (n < 1 || n > 15 || strspn(digits, "0123456789") != n) return 0;
    *value = strtoll(name, NULL, 10);
    return 1;
}

int32_t name_table_sort(name_table *t, int64_t *map, cvr_error *err) {
    int numbers = 1;
    if (t->n == 0) return CVR_OK;
    named *const list = t->host->alloc(t->host, t->n * sizeof *list, 16);
    if (!list) return out_of_memory(err);
    for (uint64_t i = 0; i < t->n; i++) {
        list[i] = (named){name_table_get(t, (int64_t)i), 0, (int64_t)i};
        numbers = numbers && is_number(list[i].name, &list[i].value);
    }
    qsort(list, t->n, sizeof *list, numbers ? by_value : by_name);
    for (uint64_t i = 0; i < t->n; i++) {
        t->names[i] = (uint64_t)(list[i].name - t->text);
        map[list[i].old] = (int64_t)i;
    }
    t->host->free(t->host, list);
    return make_slots(t, t->n_slots, err);
}
