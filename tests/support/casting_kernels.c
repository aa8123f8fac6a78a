/*
 * Kernels for tests that round their weights to the activations' type, as NVIDIA's libraries want them: the device
 * kernels of four ops once more, flagged CVR_KERNEL_CASTS(1), before those of `emu`. A weight of another type than
 * the activations is refused, so each that reaches them in low precision was cast before.
 */
#include "../../backends/device/ops/device_ops.h"

static int32_t casting_supports(const cvr_signature *sig, cvr_error *reason) {
    if (sig->inputs[1]->dtype != sig->inputs[0]->dtype)
        return cvr_fail(reason, CVR_ERR_UNSUPPORTED, "the weight is not of the activations' type");
    return device_supports(sig, reason);
}

static int32_t casting_load(const cvr_host *host, const cvr_registrar *r, cvr_error *err) {
    static const char *const names[] = {"conv2d", "conv2d_backward_input", "linear", "linear_backward_input"};
    (void)host;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        const device_op *op = device_find(names[i]);
        const cvr_kernel_desc kernel = {.struct_size = sizeof kernel,
                                        .op = op->op,
                                        .backend = "emu",
                                        .payload_kind = "emu.fn/1",
                                        .payload = &op->fn,
                                        .op_version = 1,
                                        .priority = 20,
                                        .flags = CVR_KERNEL_DETERMINISTIC | CVR_KERNEL_RECORDABLE | CVR_KERNEL_BF16 |
                                                 CVR_KERNEL_F16 | CVR_KERNEL_CASTS(1),
                                        .supports = casting_supports,
                                        .workspace = op->workspace};
        CVR_TRY(r->add(r, CVR_KIND_KERNEL, &kernel, err));
    }
    return CVR_OK;
}

CVR_DEFINE_PLUGIN("test_casting", "0.1.0", "", casting_load)
