/* See plain.h. */
#include "plain.h"

#include "../device/ops/device_ops.h"

int32_t library_plain(const library_op *op, const cvr_kernel_args *a, const cvr_recorder *r, cvr_error *err) {
    return device_find(op->op)->fn.record(a, r, err);
}

uint64_t library_plain_workspace(const library_op *op, const cvr_signature *sig) {
    const device_op *plain = device_find(op->op);
    return plain->workspace ? plain->workspace(sig) : 0;
}

int32_t library_cast(const cvr_tensor *from, const cvr_tensor *to, const cvr_recorder *r, cvr_error *err) {
    device_program p = device_program_begin();
    (void)cvr_step1(&p.steps, CVR_STEP_COPY, device_input(&p, from));
    return device_program_run(&p, r, to, err);
}

int32_t library_fit_channels(const cvr_tensor *from, const cvr_tensor *to, const cvr_recorder *r, cvr_error *err) {
    uint32_t at_from[CVR_MAX_RANK], at_to[CVR_MAX_RANK];
    device_steps(4, from->shape, at_from);
    device_steps(4, to->shape, at_to);
    const int widens = to->shape[1] > from->shape[1];
    const device_walk w = device_walk_of(4, widens ? from->shape : to->shape, at_to, at_from);
    if (widens) CVR_TRY(device_zero(r, to, err));
    return device_copy(r, to->data, from->data, (uint32_t)cvr_dtype_size(to->dtype), &w, err);
}
