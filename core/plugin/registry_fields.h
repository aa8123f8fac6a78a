/* The fields of every kind of descriptor: what registry.c checks, copies and names in its messages. */
#ifndef CVR_REGISTRY_FIELDS_H
#define CVR_REGISTRY_FIELDS_H

#include "registry.h"

typedef enum field_kind {
    END,
    TEXT,
    TEXT_OR_NULL,
    DOC,      /* a text that cvr-manifest asks for where it is missing */
    NAME,     /* a text that is a name */
    FUNCTION, /* or what else has to be there and is borrowed */
    ATTRS,
    TEXTS,
    STAGES,
    WANTS,
    FLAGS,  /* u32; `most` has the bits that are known */
    NUMBER, /* u32, from `least` to `most` */
    REAL    /* double, finite */
} field_kind;

typedef struct desc_field {
    field_kind kind;
    const char *name;
    uint32_t offset;
    uint32_t count_offset; /* of lists: ATTRS, TEXTS, STAGES and WANTS, which have at most `most` elements */
    uint32_t least, most;
} desc_field;

typedef struct desc_kind {
    const char *kind, *word;
    uint64_t size;
    const desc_field *fields;
} desc_kind;

/* Of CVR_KIND_*, or NULL. */
const desc_kind *desc_kind_find(const char *kind);

/* Elements of a list: structs with texts in them. The first `needed` of the texts may not be NULL. */
typedef struct list_item {
    field_kind kind;
    uint32_t size, n_texts, needed;
    uint32_t texts[4];
} list_item;
/* Of ATTRS, STAGES and WANTS. */
const list_item *list_item_of(field_kind kind);

static inline bool is_list(field_kind kind) {
    return kind == ATTRS || kind == TEXTS || kind == STAGES || kind == WANTS;
}

#endif
