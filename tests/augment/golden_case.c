/*
 * Cases of a golden file.
 */
#include "golden_case.h"
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>

void golden_text(const test_tensors *t, const char *name, const char *field, char *buf, size_t size) {
    const cvr_weight *const w = test_tensors_get(t, name, field);
    cr_assert(w && w->dtype == CVR_U8 && w->bytes < size, "%s/%s", name, field);
    memcpy(buf, w->data, w->bytes);
    buf[w->bytes] = '\0';
}

/* The largest difference: in levels of u8, or in units of 2^-20 of f32. */
static double distance(const cvr_weight *want, const cvr_field *got) {
    const int64_t n = cvr_numel(want->rank, want->shape);
    double most = 0;
    for (int64_t i = 0; i < n; i++) {
        float x;
        double d;
        if (want->dtype == CVR_U8) {
            d = fabs((double)((const uint8_t *)want->data)[i] - ((const uint8_t *)got->data)[i]);
        } else if (want->dtype == CVR_I64) {
            d = memcmp((const char *)want->data + 8 * i, (const char *)got->data + 8 * i, 8) ? INFINITY : 0;
        } else {
            memcpy(&x, (const char *)want->data + 4 * i, 4);
            d = fabs((double)x - (double)((const float *)got->data)[i]) * 1048576;
        }
        if (!(d <= most)) most = d;
    }
    return most;
}

/* `got` is what the case says, in type and shape, and as near as its field `tol` allows. */
void golden_expect(const test_tensors *t, const char *name, const char *field, const char *tol, const cvr_field *got) {
    const cvr_weight *const want = test_tensors_get(t, name, field), *const most = test_tensors_get(t, name, tol);
    int64_t allowed = 0;
    cr_assert(want && got, "%s: no %s", name, field);
    cr_assert_eq(got->dtype, want->dtype, "%s: type of %s", name, field);
    cr_assert_eq(got->rank, want->rank, "%s: rank of %s", name, field);
    for (uint32_t i = 0; i < got->rank; i++)
        cr_assert_eq(got->shape[i], want->shape[i], "%s: %s has %lld, not %lld, along axis %u", name, field,
                     (long long)got->shape[i], (long long)want->shape[i], i);
    if (most) memcpy(&allowed, most->data, sizeof allowed);
    const double d = distance(want, got);
    cr_expect(d <= (double)allowed, "%s: %s is off by %g, %lld allowed", name, field, d, (long long)allowed);
}

uint32_t golden_numbers(const test_tensors *t, const char *name, double *params) {
    char drawn[1024];
    uint32_t n = 0;
    golden_text(t, name, "params", drawn, sizeof drawn);
    for (char *at = drawn, *end; n < CVR_AUGMENT_PARAMS; at = end) {
        params[n] = strtod(at, &end);
        if (end == at) break;
        n++;
    }
    return n;
}

/* The settings of the case. */
void *golden_attrs(const test_tensors *t, const char *name, const cvr_augment_desc **d) {
    char word[64], settings[256];
    cvr_error err;
    cvr_error_init(&err);
    golden_text(t, name, "transform", word, sizeof word);
    golden_text(t, name, "settings", settings, sizeof settings);
    *d = transform(word);
    void *const attrs = settings_of(*d, settings, &err);
    cr_assert(attrs, "%s: %s", name, err.message);
    return attrs;
}
