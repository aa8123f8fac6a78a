/* What detection's losses have in common: checks of shapes. */
#include "detect_loss_family.h"

const cvr_attr_desc detect_norm_attr =
    CVR_ATTR_INIT(CHOICE, "norm", "positives",
                  "what the sum is divided by: rows that count, rows with an object, or those of each picture",
                  .choices = "counted|positives|picture");

int32_t detect_check(const char *op, const char *what, const cvr_type *t, uint32_t dtype, uint32_t rank,
                     const char *wanted, cvr_error *err) {
    if (t->dtype == dtype && t->rank == rank) return CVR_OK;
    return cvr_fail(err, CVR_ERR_INVALID, "%s: %s: %s %s; wanted is %s %s", op, what, cvr_dtype_name(t->dtype),
                    cvr_shape_of(t).text, cvr_dtype_name(dtype), wanted);
}

int32_t detect_check_axis(const char *op, const char *what, const cvr_type *t, uint32_t k, int64_t n, cvr_error *err) {
    if (t->shape[k] == n) return CVR_OK;
    return cvr_fail(err, CVR_ERR_INVALID, "%s: %s: %s; axis %u must have %lld elements", op, what, cvr_shape_of(t).text,
                    k, (long long)n);
}

int32_t detect_check_scalar(const char *op, const char *what, const cvr_type *t, cvr_error *err) {
    return detect_check(op, what, t, CVR_F32, 0, "()", err);
}

int32_t detect_check_norm(const char *op, const cvr_type *t, int64_t n, cvr_error *err) {
    CVR_TRY(detect_check(op, "norm", t, CVR_F32, 1, "(N)", err));
    return detect_check_axis(op, "norm", t, 0, n, err);
}

int32_t detect_check_match(const char *op, const cvr_type *match, int64_t n, int64_t rows, cvr_error *err) {
    CVR_TRY(detect_check(op, "match", match, CVR_I32, 2, "(N,A)", err));
    CVR_TRY(detect_check_axis(op, "match", match, 0, n, err));
    return detect_check_axis(op, "match", match, 1, rows, err);
}

int32_t detect_check_rows(const char *op, const cvr_type *anchors, const cvr_type *boxes, const cvr_type *match,
                          int64_t n, int64_t rows, cvr_error *err) {
    const uint32_t own = anchors->rank == 3;
    CVR_TRY(detect_check(op, "anchors", anchors, CVR_F32, 2 + own, "(A,4) or (N,A,4)", err));
    if (own) CVR_TRY(detect_check_axis(op, "anchors", anchors, 0, n, err));
    CVR_TRY(detect_check_axis(op, "anchors", anchors, own, rows, err));
    CVR_TRY(detect_check_axis(op, "anchors", anchors, 1 + own, 4, err));
    CVR_TRY(detect_check(op, "boxes", boxes, CVR_F32, 3, "(N,M,4)", err));
    CVR_TRY(detect_check_axis(op, "boxes", boxes, 0, n, err));
    CVR_TRY(detect_check_axis(op, "boxes", boxes, 2, 4, err));
    return detect_check_match(op, match, n, rows, err);
}

void detect_set_scalar(const cvr_infer_args *a, uint32_t i) {
    cvr_type_set(a->outputs[i], CVR_F32, 0, NULL);
}

void detect_set_vector(const cvr_infer_args *a, uint32_t i, int64_t n) {
    cvr_type_set(a->outputs[i], CVR_F32, 1, &n);
}
