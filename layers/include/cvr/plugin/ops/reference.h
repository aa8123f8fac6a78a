/*
 * Ops with their reference kernels as tables that a plugin registers as a whole, and the gradient that losses have in
 * common.
 */
#ifndef CVR_PLUGIN_OPS_REFERENCE_H
#define CVR_PLUGIN_OPS_REFERENCE_H

#include <cvr/plugin/plugin.h>

#ifdef __cplusplus
extern "C" {
#endif

/* An op and its reference kernel, which is deterministic and can be recorded. `run` NULL: there is none, as the op has
 * a decomposition, or its output is the input's memory. The rest is as in cvr_kernel_desc. */
typedef struct cvr_reference_op {
    cvr_op_desc op;
    cvr_cpu_fn reference;
    uint64_t inplace;
    uint64_t (*workspace)(const cvr_signature *sig);
    uint32_t flags; /* CVR_KERNEL_* beside these */
    uint32_t reserved;
} cvr_reference_op;

static inline int32_t cvr_add_reference_ops(const cvr_registrar *r, const cvr_reference_op *ops, uint64_t n,
                                            cvr_error *err) {
    for (uint64_t i = 0; i < n; i++) {
        cvr_kernel_desc kernel;
        memset(&kernel, 0, sizeof kernel);
        kernel.struct_size = sizeof kernel;
        kernel.op = ops[i].op.name;
        kernel.backend = "reference";
        kernel.payload_kind = CVR_PAYLOAD_CPU_FN;
        kernel.payload = &ops[i].reference;
        kernel.op_version = ops[i].op.version;
        kernel.flags = CVR_KERNEL_DETERMINISTIC | CVR_KERNEL_RECORDABLE | ops[i].flags;
        kernel.inplace = ops[i].inplace;
        kernel.workspace = ops[i].workspace;
        CVR_TRY(r->add(r, CVR_KIND_OP, &ops[i].op, err));
        if (ops[i].reference.run) CVR_TRY(r->add(r, CVR_KIND_KERNEL, &kernel, err));
    }
    return CVR_OK;
}

/*
 * The gradient of a loss for its scores, input 0: `op` takes the `n_inputs` inputs that the loss may have, those that
 * are absent too, all its results but the loss, and the gradient of the loss.
 */
static inline int32_t cvr_emit_loss_backward(const cvr_builder *b, cvr_grad_args *a, const char *op,
                                             uint64_t attrs_size, uint32_t n_inputs, cvr_error *err) {
    cvr_value in[CVR_MAX_IO];
    uint32_t n = 0;
    if (a->grad_outputs[0] == CVR_NONE || !a->needs[0]) return CVR_OK;
    for (uint32_t i = 0; i < n_inputs; i++) in[n++] = i < a->n_inputs ? a->inputs[i] : CVR_NONE;
    for (uint32_t i = 1; i < a->n_outputs; i++) in[n++] = a->outputs[i];
    in[n++] = a->grad_outputs[0];
    return cvr_emit(b, op, attrs_size ? a->attrs : NULL, attrs_size, in, n, &a->grad_inputs[0], err);
}

#ifdef __cplusplus
}
#endif

#endif
