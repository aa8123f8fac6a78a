/* Checks and the sort that the ops of detection share. */
#include "detect_family.h"

int32_t detect_check(const char *op, const cvr_infer_args *a, uint32_t i, uint32_t dtype, uint32_t rank,
                     const int64_t *shape, cvr_error *err) {
    const cvr_type *t = a->inputs[i];
    int fits = t->dtype == dtype && t->rank == rank;
    char want[96] = "";
    for (uint32_t k = 0; k < rank; k++) {
        const size_t n = strlen(want);
        fits = fits && (shape[k] < 0 || t->shape[k] == shape[k]);
        if (shape[k] < 0)
            (void)snprintf(want + n, sizeof want - n, "%s?", k ? "," : "");
        else
            (void)snprintf(want + n, sizeof want - n, "%s%lld", k ? "," : "", (long long)shape[k]);
    }
    if (fits) return CVR_OK;
    return cvr_fail(err, CVR_ERR_INVALID, "%s: input %u is %s %s; it must be %s (%s)", op, i, cvr_dtype_name(t->dtype),
                    cvr_shape_of(t).text, cvr_dtype_name(dtype), want);
}

int32_t detect_check_anchors(const char *op, const cvr_infer_args *a, uint32_t i, int64_t n, int64_t rows,
                             cvr_error *err) {
    const int64_t shape[3] = {n, rows, 4};
    const int own = a->inputs[i]->rank == 3;
    return detect_check(op, a, i, CVR_F32, own ? 3 : 2, own ? shape : shape + 1, err);
}

int32_t detect_check_rows(const char *op, int64_t rows, cvr_error *err) {
    if (rows <= INT32_MAX) return CVR_OK;
    return cvr_fail(err, CVR_ERR_INVALID, "%s: %lld rows; an index can name %d", op, (long long)rows, INT32_MAX);
}

int32_t detect_count(const char *op, const int64_t *counts, int64_t n, int64_t most, int64_t *out, cvr_error *err) {
    *out = counts ? counts[n] : most;
    if (*out >= 0 && *out <= most) return CVR_OK;
    return cvr_fail(err, CVR_ERR_INVALID, "%s: picture %lld has %lld rows that count; there are %lld", op, (long long)n,
                    (long long)*out, (long long)most);
}

int32_t detect_valid(const char *op, const int32_t *valid, int64_t n, int64_t most, int64_t *out, cvr_error *err) {
    const int64_t count = valid ? valid[n] : most;
    return detect_count(op, valid ? &count : NULL, 0, most, out, err);
}

/* Lets keys[i] sink until no child is larger. */
static void sift(uint64_t *keys, int64_t i, int64_t n) {
    const uint64_t key = keys[i];
    for (int64_t child; (child = 2 * i + 1) < n; i = child) {
        if (child + 1 < n && keys[child + 1] > keys[child]) child++;
        if (keys[child] <= key) break;
        keys[i] = keys[child];
    }
    keys[i] = key;
}

void detect_sort(uint64_t *keys, int64_t n) {
    for (int64_t i = n / 2; i-- > 0;) sift(keys, i, n);
    for (int64_t last = n - 1; last > 0; last--) {
        const uint64_t largest = keys[0];
        keys[0] = keys[last];
        keys[last] = largest;
        sift(keys, 0, last);
    }
}
