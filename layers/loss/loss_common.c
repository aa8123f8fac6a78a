/* What the losses have in common. */
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

int32_t loss_emit(const cvr_builder *b, const char *op, const void *attrs, uint64_t attrs_size, const cvr_value *in,
                  uint32_t n_in, uint32_t n_out, cvr_value *loss, cvr_error *err) {
    cvr_value results[LOSS_MOST_RESULTS] = {CVR_NONE, CVR_NONE, CVR_NONE};
    const cvr_op_call call = {.struct_size = sizeof call,
                              .op = op,
                              .attrs = attrs,
                              .attrs_size = attrs_size,
                              .inputs = in,
                              .outputs = results,
                              .n_inputs = n_in,
                              .n_outputs = n_out};
    const int32_t status = b->emit(b, &call, err);
    *loss = results[0];
    return status;
}
