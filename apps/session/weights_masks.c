/* Masks in files of weights: NAME_mask says with 1 and 0 which elements of NAME count. */
#include "session_parts.h"

/* The elements as f32; cvr_free frees them. */
static int32_t read_mask(const cvr_weight *w, int64_t n, float **out, cvr_error *err) {
    *out = cvr_alloc_aligned((uint64_t)n * sizeof **out + 8, 64);
    if (!*out) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    weights_cast(CVR_F32, *out, w->dtype, w->data, n);
    return CVR_OK;
}

int32_t weights_check_mask(const cvr_weight *w, cvr_error *err) {
    const int64_t n = cvr_numel(w->rank, w->shape);
    float *mask;
    int32_t status = CVR_OK;
    CVR_TRY(read_mask(w, n, &mask, err));
    for (int64_t k = 0; k < n && status == CVR_OK; k++)
        if (mask[k] != 0 && mask[k] != 1)
            status =
                cvr_fail(err, CVR_ERR_FORMAT,
                         "%.200s is a mask, whose elements are 0 or 1, and element %lld is %g; multiply the weight "
                         "by it and leave the mask out",
                         w->name, (long long)k, (double)mask[k]);
    cvr_free(mask);
    return status;
}

int32_t weights_fold_mask(cvr_store *store, size_t i, const cvr_weight *w, cvr_error *err) {
    const cvr_store_entry *e = cvr_store_get(store, i);
    const int64_t n = cvr_numel(e->type.rank, e->type.shape);
    float *values = cvr_alloc_aligned(e->bytes + 8, 64), *mask = NULL;
    int32_t status;
    CVR_TRY_OUT(values ? read_mask(w, n, &mask, err) : cvr_fail(err, CVR_ERR_NOMEM, "out of memory"));
    CVR_TRY_OUT(cvr_store_read(store, i, values, err));
    for (int64_t k = 0; k < n; k++) values[k] *= mask[k];
    CVR_TRY_OUT(cvr_store_write(store, i, values, err));
    const int64_t average = cvr_store_average(store, i);
    if (average >= 0) status = cvr_store_write(store, (size_t)average, values, err);
out:
    cvr_free(values);
    cvr_free(mask);
    return status;
}
