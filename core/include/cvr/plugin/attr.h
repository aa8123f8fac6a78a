/*
 * Attributes: the one way in which ops, layers, models, transforms, optimizers, data sets and the rest declare their
 * settings.
 *
 * A plugin declares a schema (an array of pointers to cvr_attr_desc) and a C struct whose fields are the schema's, in
 * order, every one made of 8-byte cells, so that there is never padding:
 *
 *   kind              C field                                    text in a recipe
 *   CVR_ATTR_INT      int64_t x;            (count 1)            3
 *                     int64_t x[count];     (count > 1)          3  (all of them)   or  3,5
 *   CVR_ATTR_FLOAT    double x; / double x[count];               0.1                or  0.9,0.999
 *   CVR_ATTR_BOOL     int64_t x;            0 or 1               yes | no (also true, false, 1, 0)
 *   CVR_ATTR_CHOICE   int64_t x;            index in `choices`   one of "a|b|c"
 *   CVR_ATTR_STRING   const char *x;        never NULL           text (not for ops)
 *   CVR_ATTR_PATH     const char *x;        absolute, or ""      text (not for ops): relative to the recipe that names
 * it CVR_ATTR_INTS     int64_t n; int64_t x[count];   n <= count  a list of 0 to `count` numbers: 1,2,3 CVR_ATTR_FLOATS
 * int64_t n; double x[count];    n <= count  likewise
 */
#ifndef CVR_PLUGIN_ATTR_H
#define CVR_PLUGIN_ATTR_H

#include "abi.h"

#ifdef __cplusplus
extern "C" {
#endif

#define CVR_ATTR_INT 1u
#define CVR_ATTR_FLOAT 2u
#define CVR_ATTR_BOOL 3u
#define CVR_ATTR_CHOICE 4u
#define CVR_ATTR_STRING 5u
#define CVR_ATTR_PATH 6u
#define CVR_ATTR_INTS 7u
#define CVR_ATTR_FLOATS 8u

/* May also be given by its place: `conv2d 64 3` sets the first two attributes so flagged, in schema order. */
#define CVR_ATTR_POSITIONAL 1u
/* `min` (or `max`) is a bound that every element must respect. */
#define CVR_ATTR_MIN 2u
#define CVR_ATTR_MAX 4u

typedef struct cvr_attr_desc {
    uint64_t struct_size;
    const char *name;
    uint32_t kind;
    uint32_t count; /* elements of an array or at most of a list; 1 otherwise */
    uint32_t flags;
    uint32_t reserved;
    const char *default_text; /* as it would stand in a recipe; NULL: must be given */
    const char *choices;      /* "a|b|c"; NULL unless the kind is CVR_ATTR_CHOICE */
    double min, max;          /* inclusive; looked at where the flags say so */
    const char *doc;          /* one line: meaning, unit */
} cvr_attr_desc;

/* 8-byte cells that one attribute takes in the packed struct; 0 for an unknown kind. */
static inline uint64_t cvr_attr_cells(const cvr_attr_desc *a) {
    switch (a->kind) {
    case CVR_ATTR_INT:
    case CVR_ATTR_FLOAT: return a->count;
    case CVR_ATTR_BOOL:
    case CVR_ATTR_CHOICE:
    case CVR_ATTR_STRING:
    case CVR_ATTR_PATH: return 1;
    case CVR_ATTR_INTS:
    case CVR_ATTR_FLOATS: return (uint64_t)a->count + 1;
    default: return 0;
    }
}

#ifdef __cplusplus
}
#endif

CVR_STATIC_ASSERT(sizeof(double) == 8 && sizeof(void *) == 8, "the ABI is for 64-bit machines");
CVR_STATIC_ASSERT(sizeof(cvr_attr_desc) == 72, "cvr_attr_desc has padding");

#endif
