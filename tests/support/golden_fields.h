/* Fields of a golden file's cases that must be there, for tests by Criterion. */
#ifndef CVR_TEST_GOLDEN_FIELDS_H
#define CVR_TEST_GOLDEN_FIELDS_H

#include "golden.h"
#include <criterion/criterion.h>

static inline const golden_tensor *golden_need(golden *g, const char *label, const char *field) {
    const golden_tensor *t = golden_find(g, label, field);
    cr_assert_not_null(t, "case %s has no field %s", label, field);
    return t;
}

static inline const float *golden_floats(golden *g, const char *label, const char *field) {
    return (const float *)(const void *)golden_need(g, label, field)->data;
}

static inline void golden_text(golden *g, const char *label, const char *field, char *out, size_t size) {
    const golden_tensor *t = golden_need(g, label, field);
    cr_assert_lt(t->bytes, size);
    memcpy(out, t->data, t->bytes);
    out[t->bytes] = '\0';
}

/* One number. */
static inline float golden_f32(golden *g, const char *label, const char *field) {
    return *golden_floats(g, label, field);
}

static inline double golden_f64(golden *g, const char *label, const char *field) {
    return *(const double *)(const void *)golden_need(g, label, field)->data;
}

static inline int64_t golden_i64(golden *g, const char *label, const char *field) {
    return *(const int64_t *)(const void *)golden_need(g, label, field)->data;
}

#endif
