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
