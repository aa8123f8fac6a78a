/* Rows by their numbers (<cvr/plugin/ops/detect.h>, detect_loss.h, detections.h), by index_rows.k. */
#include "device_ops.h"

#include <cvr/plugin/ops/detect.h>
#include <cvr/plugin/ops/detect_loss.h>
#include <cvr/plugin/ops/detections.h>

static int32_t run_index(const index_rows_params *p, uint32_t what, uint32_t dtype, const cvr_recorder *r,
                         cvr_error *err) {
    const uint32_t constants[] = {what, (uint32_t)cvr_dtype_size(dtype)};
    return DEVICE_LAUNCH(r, index_rows, p, constants, device_groups_for(p->n), err);
}

static uint32_t columns_of(const cvr_tensor *rows, uint32_t axis) {
    return rows->rank > axis ? (uint32_t)rows->shape[axis] : 1;
}

/* x, index (N,B) -> (N,B) or (N,B,K) */
static int32_t record_gather(const cvr_kernel_args *a, const cvr_recorder *r, cvr_error *err) {
    const cvr_tensor *x = a->inputs[0], *y = a->outputs[0];
    const uint32_t shared = (uint32_t)((const cvr_gather_attrs *)a->attrs)->shared;
    const index_rows_params p = {.x = device_at(a, 0),
                                 .index = device_at(a, 1),
                                 .y = device_address(y->data),
                                 .n = device_numel(y),
                                 .columns = columns_of(y, 2),
                                 .rows = (uint32_t)x->shape[shared ? 0 : 1],
                                 .made = (uint32_t)y->shape[1],
                                 .shared_rows = shared};
    return run_index(&p, INDEX_GATHER, y->dtype, r, err);
}

/* grad, index -> dx. Rows that all pictures share are those of one picture with all numbers. */
static int32_t record_gather_backward(const cvr_kernel_args *a, const cvr_recorder *r, cvr_error *err) {
    const cvr_gather_rows_attrs *attrs = (const cvr_gather_rows_attrs *)a->attrs;
    const int64_t *numbers = a->inputs[1]->shape;
    const index_rows_params p = {.x = device_at(a, 0),
                                 .index = device_at(a, 1),
                                 .y = device_address(a->outputs[0]->data),
                                 .n = device_numel(a->outputs[0]),
                                 .columns = columns_of(a->inputs[0], 2),
                                 .rows = (uint32_t)(attrs->shared ? numbers[0] * numbers[1] : numbers[1]),
                                 .made = (uint32_t)attrs->rows,
                                 .shared_rows = (uint32_t)attrs->shared};
    return run_index(&p, INDEX_GATHER_BACKWARD, CVR_F32, r, err);
}

/* a, count, b, counts -> rows, count */
static int32_t record_append(const cvr_kernel_args *a, const cvr_recorder *r, cvr_error *err) {
    const cvr_tensor *y = a->outputs[0];
    const index_rows_params p = {.x = device_at(a, 0),
                                 .other = device_at(a, 2),
                                 .y = device_address(y->data),
                                 .counts = device_at(a, 1),
                                 .more = device_at(a, 3),
                                 .total = device_address(a->outputs[1]->data),
                                 .n = device_numel(y),
                                 .columns = (uint32_t)y->shape[2],
                                 .rows = (uint32_t)a->inputs[0]->shape[1],
                                 .made = (uint32_t)y->shape[1]};
    return run_index(&p, INDEX_APPEND, CVR_F32, r, err);
}

/* match, count -> match */
static int32_t record_cut(const cvr_kernel_args *a, const cvr_recorder *r, cvr_error *err) {
    const index_rows_params p = {.x = device_at(a, 0),
                                 .y = device_address(a->outputs[0]->data),
                                 .counts = device_at(a, 1),
                                 .n = device_numel(a->outputs[0]),
                                 .made = (uint32_t)a->outputs[0]->shape[1]};
    return run_index(&p, INDEX_CUT, CVR_I32, r, err);
}

/* match, labels -> classes */
static int32_t record_classes(const cvr_kernel_args *a, const cvr_recorder *r, cvr_error *err) {
    const cvr_class_targets_attrs *attrs = (const cvr_class_targets_attrs *)a->attrs;
    const index_rows_params p = {.x = device_at(a, 0),
                                 .index = device_at(a, 1),
                                 .y = device_address(a->outputs[0]->data),
                                 .offset = (uint64_t)attrs->offset,
                                 .background = (uint64_t)attrs->background,
                                 .ignored = (uint64_t)attrs->ignore,
                                 .n = device_numel(a->outputs[0]),
                                 .rows = (uint32_t)a->inputs[1]->shape[1],
                                 .made = (uint32_t)a->outputs[0]->shape[1]};
    return run_index(&p, INDEX_CLASSES, CVR_I64, r, err);
}

/* No place is as large as 2^31, so that of more columns there is one row. */
static int32_t record_split(const cvr_kernel_args *a, const cvr_recorder *r, cvr_error *err) {
    const int64_t columns = ((const cvr_split_index_attrs *)a->attrs)->columns;
    const index_rows_params p = {.x = device_at(a, 0),
                                 .y = device_address(a->outputs[0]->data),
                                 .other = device_address(a->outputs[1]->data),
                                 .n = device_numel(a->outputs[0]),
                                 .columns = columns > INT32_MAX ? UINT32_C(1) << 31 : (uint32_t)columns};
    return run_index(&p, INDEX_SPLIT, CVR_I32, r, err);
}

/* groups, [index] -> labels */
static int32_t record_labels(const cvr_kernel_args *a, const cvr_recorder *r, cvr_error *err) {
    const index_rows_params p = {.x = device_at(a, 0),
                                 .index = device_at(a, 1),
                                 .y = device_address(a->outputs[0]->data),
                                 .n = device_numel(a->outputs[0]),
                                 .rows = (uint32_t)a->inputs[0]->shape[1],
                                 .made = (uint32_t)a->outputs[0]->shape[1]};
    return run_index(&p, INDEX_LABELS, CVR_I64, r, err);
}

/* Elements are copied as they are. */
static int32_t as_it_is(const cvr_signature *sig, cvr_error *reason) {
    if (sig->inputs[0]->dtype != sig->outputs[0]->dtype)
        return cvr_fail(reason, CVR_ERR_UNSUPPORTED, "another element type in than out");
    return device_supports(sig, reason);
}

const device_op device_index_ops[] = {
    DEVICE_OP("gather_rows", record_gather, .supports = as_it_is),
    DEVICE_OP("gather_rows_backward", record_gather_backward, .supports = device_supports_all_f32),
    DEVICE_OP("append_rows", record_append, .supports = device_supports_all_f32),
    DEVICE_OP("cut_match", record_cut),
    DEVICE_OP("class_targets", record_classes),
    DEVICE_OP("split_index", record_split),
    DEVICE_OP("pick_labels", record_labels),
    {.op = NULL}};
