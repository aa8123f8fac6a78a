/* What all ops share: registration, limits, dispatches. See device_ops.h. */
#include "device_ops.h"

#define MOST_ELEMENTS INT32_MAX
#define MOST_GROUPS_A_ROW 32768u /* every device has rows of so many */

static const device_op *const families[] = {
    device_elementwise_ops, device_sum_ops,         device_norm_ops, device_product_ops,  device_shape_ops,
    device_arith_ops,       device_pool_ops,        device_rows_ops, device_mask_ops,     device_update_ops,
    device_attention_ops,   device_picture_ops,     device_loss_ops, device_clip_ops,     device_class_loss_ops,
    device_box_ops,         device_index_ops,       device_rank_ops, device_row_loss_ops, device_roi_ops,
    device_yolo_ops,        device_region_loss_ops, device_int8_ops, device_guard_ops};

int32_t device_add_kernels(const cvr_registrar *r, const char *backend, const char *payload_kind, cvr_error *err) {
    for (size_t f = 0; f < sizeof families / sizeof *families; f++) {
        for (const device_op *op = families[f]; op->op; op++) {
            const cvr_kernel_desc kernel = {.struct_size = sizeof kernel,
                                            .op = op->op,
                                            .backend = backend,
                                            .payload_kind = payload_kind,
                                            .payload = &op->fn,
                                            .op_version = 1,
                                            .flags = CVR_KERNEL_DETERMINISTIC | CVR_KERNEL_RECORDABLE |
                                                     CVR_KERNEL_BF16 | CVR_KERNEL_F16,
                                            .inplace = op->inplace,
                                            .supports = op->supports ? op->supports : device_supports,
                                            .workspace = op->workspace};
            CVR_TRY(r->add(r, CVR_KIND_KERNEL, &kernel, err));
        }
    }
    return CVR_OK;
}

const device_op *device_find(const char *name) {
    for (size_t f = 0; f < sizeof families / sizeof *families; f++)
        for (const device_op *op = families[f]; op->op; op++)
            if (strcmp(op->op, name) == 0) return op;
    return NULL;
}

int32_t device_supports(const cvr_signature *sig, cvr_error *reason) {
    for (uint32_t i = 0; i < sig->n_inputs + sig->n_outputs; i++) {
        const cvr_tensor *t = i < sig->n_inputs ? sig->inputs[i] : sig->outputs[i - sig->n_inputs];
        if (t && cvr_numel(t->rank, t->shape) > MOST_ELEMENTS)
            return cvr_fail(reason, CVR_ERR_UNSUPPORTED, "a tensor has %lld elements; device kernels count up to 2^31",
                            (long long)cvr_numel(t->rank, t->shape));
    }
    return CVR_OK;
}

int32_t device_supports_f32(const cvr_signature *sig, uint32_t first, uint32_t last, cvr_error *reason) {
    for (uint32_t i = first; i <= last && i < sig->n_inputs; i++)
        if (sig->inputs[i] && sig->inputs[i]->dtype != CVR_F32)
            return cvr_fail(reason, CVR_ERR_UNSUPPORTED, "input %u is %s, and f32 is wanted", i,
                            cvr_dtype_name(sig->inputs[i]->dtype));
    return device_supports(sig, reason);
}

int32_t device_supports_floats(const cvr_signature *sig, uint64_t any, int follows, cvr_error *reason) {
    for (uint32_t i = 0; i < sig->n_inputs + sig->n_outputs; i++) {
        const int is_input = i < sig->n_inputs;
        const cvr_tensor *t = is_input ? sig->inputs[i] : sig->outputs[i - sig->n_inputs];
        if (!t || (t->dtype != CVR_BF16 && t->dtype != CVR_F16)) continue;
        if (is_input ? i < 64 && (any >> i & 1) : (follows && i == sig->n_inputs)) continue;
        return cvr_fail(reason, CVR_ERR_UNSUPPORTED, "%s %u is %s, and f32 is wanted", is_input ? "input" : "output",
                        is_input ? i : i - sig->n_inputs, cvr_dtype_name(t->dtype));
    }
    return device_supports(sig, reason);
}

int32_t device_supports_all_f32(const cvr_signature *sig, cvr_error *reason) {
    return device_supports_floats(sig, 0, 0, reason);
}
int32_t device_supports_but_input(const cvr_signature *sig, cvr_error *reason) {
    return device_supports_floats(sig, 1, 0, reason);
}
int32_t device_supports_but_both(const cvr_signature *sig, cvr_error *reason) {
    return device_supports_floats(sig, 1, 1, reason);
}

int32_t device_dispatch(const cvr_recorder *r, const device_kernel *kernel, const void *params, uint64_t params_size,
                        const uint32_t *constants, uint32_t n_constants, uint64_t groups, cvr_error *err) {
    if (groups == 0) return CVR_OK;
    const uint64_t rows = device_groups(groups, MOST_GROUPS_A_ROW), row = device_groups(groups, rows);
    const cvr_dispatch d = {.struct_size = sizeof d,
                            .code = kernel->code,
                            .entry = kernel->entry,
                            .params = params,
                            .params_size = params_size,
                            .constants = constants,
                            .n_constants = n_constants,
                            .groups = {(uint32_t)row, (uint32_t)rows, 1},
                            .threads = {DEVICE_GROUP, 1, 1}};
    return r->dispatch(r, &d, err);
}

/* With l = ceil(log2 d): magic = ceil(2^(31+l) / d) fits in 32 bits, and i * magic / 2^(31+l) is exact for i < 2^31. */
device_divisor device_divisor_of(uint32_t d) {
    uint32_t l = 0;
    while (l < 31 && (UINT32_C(1) << l) < d) l++;
    if (d <= 1 || (UINT32_C(1) << l) == d) return (device_divisor){0, l};
    return (device_divisor){(uint32_t)(((UINT64_C(1) << (31 + l)) + d - 1) / d), l - 1};
}

int32_t device_zero(const cvr_recorder *r, const cvr_tensor *t, cvr_error *err) {
    const uint64_t bytes = device_numel(t) * cvr_dtype_size(t->dtype);
    if (bytes % 4 == 0) return r->fill(r, t->data, bytes, 0, err);
    device_program p = device_program_begin(); /* fills are of whole words */
    (void)cvr_step1(&p.steps, CVR_STEP_COPY, cvr_constant(&p.steps, 0));
    return device_program_run(&p, r, t, err);
}
