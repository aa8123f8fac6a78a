/* clang-format off */
/*
 * Attributes: the one way in which ops, layers, models, transforms, optimizers, data sets and the rest declare their
 * settings.
 *
 * A plugin declares a schema (an array of pointers to cvr_attr_desc) and a C struct whose fields are the schema's, in
 * order, every one made of 8-byte cells, so that there is never padding:
 *
 *   kind              C field                                text in a recipe
 *   CVR_ATTR_INT      int64_t x;            (count 1)        3
 *                     int64_t x[count];     (count > 1)      3  (all of them)   or  3,5
 *   CVR_ATTR_FLOAT    double x; / double x[count];           0.1                or  0.9,0.999
 *   CVR_ATTR_BOOL     int64_t x;            0 or 1           yes | no (also true, false, 1, 0)
 *   CVR_ATTR_CHOICE   int64_t x;            index            one of the `choices`, "a|b|c"
 *   CVR_ATTR_STRING   const char *x;        never NULL       text (not for ops)
 *   CVR_ATTR_PATH     const char *x;        absolute, or ""  text (not for ops), relative to the recipe that names it
 *   CVR_ATTR_INTS     int64_t n; int64_t x[count];           a list of 0 to `count` numbers: 1,2,3
 *   CVR_ATTR_FLOATS   int64_t n; double x[count];            likewise
 *
 * A schema is written with CVR_ATTR, one line an attribute:
 *     static const cvr_attr_desc *const attrs[] = {
 *         CVR_ATTR(INT, "kernel_size", NULL, "size of the window", .count = 2, CVR_ATTR_AT_LEAST(1)),
 *         CVR_ATTR(FLOAT, "p", "0.5", "probability", CVR_ATTR_BETWEEN(0, 1)),
 *         CVR_ATTR(CHOICE, "mode", "mean", "what is done", .choices = "mean|sum"),
 *     };
 */
/* clang-format on */
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
/* `min` (or `max`) is a bound that every element must respect. Without a maximum, whole numbers are at most 2^31 - 1
 * and others 1e18 (either sign), so that sums and products of a few do not overflow. */
#define CVR_ATTR_MIN 2u
#define CVR_ATTR_MAX 4u

typedef struct cvr_attr_desc {
    uint64_t struct_size;
    const char *name;
    uint32_t kind;
    uint32_t count; /* elements of an array, most elements of a list; 0 stands for 1 */
    uint32_t flags;
    uint32_t reserved;
    const char *default_text; /* as it would stand in a recipe; NULL: must be given */
    /* CVR_ATTR_CHOICE: "a|b|c". CVR_ATTR_INT: a word that may stand for 0, whatever the bounds, "auto"; or NULL. Else
     * NULL. */
    const char *choices;
    double min, max; /* inclusive; looked at where the flags say so */
    const char *doc; /* one line: meaning, unit */
} cvr_attr_desc;

/*
 * A descriptor as an initialiser: the kind without its prefix, the name, the default as text (NULL: must be given), the
 * doc; then, as may be, other fields by their names: .count, .flags, .choices, bounds. In C; C++ has no such literals.
 */
#define CVR_ATTR_INIT(kind_, name_, default_, ...)                                                                     \
    {                                                                                                                  \
        .struct_size = sizeof(cvr_attr_desc), .name = name_, .kind = CVR_ATTR_##kind_, .default_text = default_,       \
        .doc = __VA_ARGS__                                                                                             \
    }
/* The address of such a descriptor, for a schema's array. */
#define CVR_ATTR(...) (&(const cvr_attr_desc)CVR_ATTR_INIT(__VA_ARGS__))
/* Bounds that every element must respect, inclusive; CVR_ATTR_PLACE_...: of an attribute that is also positional. */
#define CVR_ATTR_AT_LEAST(min_) .flags = CVR_ATTR_MIN, .min = (min_)
#define CVR_ATTR_BETWEEN(min_, max_) .flags = CVR_ATTR_MIN | CVR_ATTR_MAX, .min = (min_), .max = (max_)
#define CVR_ATTR_PLACE_AT_LEAST(min_) .flags = CVR_ATTR_POSITIONAL | CVR_ATTR_MIN, .min = (min_)
#define CVR_ATTR_PLACE_BETWEEN(min_, max_)                                                                             \
    .flags = CVR_ATTR_POSITIONAL | CVR_ATTR_MIN | CVR_ATTR_MAX, .min = (min_), .max = (max_)

static inline uint32_t cvr_attr_count(const cvr_attr_desc *a) {
    return a->count ? a->count : 1;
}

/* Tells one setting, for who proposes some: `key` is "section.key", "data.img_size", of [augment] "augment.TRANSFORM".
 */
typedef int32_t (*cvr_propose_fn)(void *ctx, const char *key, const char *value, cvr_error *err);

/* 8-byte cells that one attribute takes in the packed struct; 0 for an unknown kind. */
static inline uint64_t cvr_attr_cells(const cvr_attr_desc *a) {
    switch (a->kind) {
    case CVR_ATTR_INT:
    case CVR_ATTR_FLOAT: return cvr_attr_count(a);
    case CVR_ATTR_BOOL:
    case CVR_ATTR_CHOICE:
    case CVR_ATTR_STRING:
    case CVR_ATTR_PATH: return 1;
    case CVR_ATTR_INTS:
    case CVR_ATTR_FLOATS: return (uint64_t)cvr_attr_count(a) + 1;
    default: return 0;
    }
}

#ifdef __cplusplus
}
#endif

CVR_STATIC_ASSERT(sizeof(double) == 8 && sizeof(void *) == 8, "the ABI is for 64-bit machines");
CVR_STATIC_ASSERT(sizeof(cvr_attr_desc) == 72, "cvr_attr_desc has padding");

#endif
