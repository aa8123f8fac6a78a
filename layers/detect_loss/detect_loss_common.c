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

int32_t detect_check_scores(const char *op, const cvr_infer_args *a, cvr_error *err) {
    const cvr_type *x = a->inputs[0], *target = a->inputs[1];
    CVR_TRY(detect_check(op, "x", x, CVR_F32, 3, "(N,A,K)", err));
    CVR_TRY(detect_check(op, "target", target, CVR_I64, 2, "(N,A)", err));
    CVR_TRY(detect_check_axis(op, "target", target, 0, x->shape[0], err));
    return detect_check_axis(op, "target", target, 1, x->shape[1], err);
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

int32_t detect_set_loss(const cvr_infer_args *a) {
    detect_set_scalar(a, 0);
    cvr_type_set(a->outputs[1], CVR_F32, 1, a->inputs[0]->shape);
    return CVR_OK;
}

int32_t detect_set_gradient(const char *op, const cvr_infer_args *a, uint32_t i, cvr_error *err) {
    CVR_TRY(detect_check(op, "norm", a->inputs[i], CVR_F32, 1, "(N)", err));
    CVR_TRY(detect_check_axis(op, "norm", a->inputs[i], 0, a->inputs[0]->shape[0], err));
    CVR_TRY(detect_check_scalar(op, "grad", a->inputs[i + 1], err));
    *a->outputs[0] = *a->inputs[0];
    return CVR_OK;
}
