/* Checks that the losses have in common. */
#include "loss_family.h"

const cvr_attr_desc loss_reduction_attr =
    CVR_ATTR_INIT(CHOICE, "reduction", "mean", "of the losses of all elements", .choices = "mean|sum");

const cvr_attr_desc loss_ignore_attr = CVR_ATTR_INIT(INT, "ignore_index", "-100", "a target that counts for nothing");

int32_t loss_check_pair(const cvr_type *x, const cvr_type *target, cvr_error *err) {
    if (x->dtype == CVR_F32 && target->dtype == CVR_F32 && x->rank == target->rank &&
        memcmp(x->shape, target->shape, sizeof x->shape) == 0)
        return CVR_OK;
    return cvr_fail(err, CVR_ERR_INVALID, "the loss needs an input and a target of one shape, both f32");
}

int32_t loss_check_scalar(const cvr_type *t, cvr_error *err) {
    if (t->dtype == CVR_F32 && t->rank == 0) return CVR_OK;
    return cvr_fail(err, CVR_ERR_INVALID, "the gradient of a loss must be one f32 number");
}
