/* Ops that move elements (<cvr/plugin/ops/shape.h>), by copy.k. */
#include "device_ops.h"

#include <cvr/plugin/ops/shape.h>

static uint32_t element_of(const cvr_tensor *t) {
    return (uint32_t)cvr_dtype_size(t->dtype);
}

static int32_t record_permute(const cvr_kernel_args *a, const cvr_recorder *r, cvr_error *err) {
    const cvr_permute_attrs *attrs = (const cvr_permute_attrs *)a->attrs;
    const cvr_tensor *x = a->inputs[0], *y = a->outputs[0];
    uint32_t own[CVR_MAX_RANK], from[CVR_MAX_RANK], to[CVR_MAX_RANK];
    device_steps(x->rank, x->shape, own);
    device_steps(y->rank, y->shape, to);
    for (uint32_t i = 0; i < y->rank; i++) from[i] = own[attrs->dims[i]];
    const device_walk w = device_walk_of(y->rank, y->shape, to, from);
    return device_copy(r, y->data, x->data, element_of(x), &w, err);
}

/* (outer, rows, cols, inner) -> (outer, cols, rows, inner) */
static int32_t transpose(const cvr_kernel_args *a, int64_t rows, int64_t cols, const cvr_recorder *r, cvr_error *err) {
    const cvr_tensor *x = a->inputs[0];
    const uint32_t m = (uint32_t)rows, n = (uint32_t)cols, inner = device_numel(x) / ((uint32_t)x->shape[0] * m * n);
    const int64_t shape[4] = {x->shape[0], rows, cols, inner};
    const uint32_t from[4] = {m * n * inner, n * inner, inner, 1}, to[4] = {m * n * inner, inner, m * inner, 1};
    const device_walk w = device_walk_of(4, shape, to, from);
    return device_copy(r, a->outputs[0]->data, x->data, element_of(x), &w, err);
}

static int32_t record_to_logical(const cvr_kernel_args *a, const cvr_recorder *r, cvr_error *err) {
    const int64_t *order = a->inputs[0]->order;
    return transpose(a, order[1] * order[2], order[0], r, err);
}

static int32_t record_from_logical(const cvr_kernel_args *a, const cvr_recorder *r, cvr_error *err) {
    const int64_t *chw = ((const cvr_unflatten_attrs *)a->attrs)->chw;
    return transpose(a, chw[0], chw[1] * chw[2], r, err);
}

/* Between `part` and the elements of `whole` that it stands for on an axis. */
static int32_t copy_part(const cvr_tensor *part, const cvr_tensor *whole, const cvr_slice_attrs *s, int into,
                         const cvr_recorder *r, cvr_error *err) {
    uint32_t of_part[CVR_MAX_RANK], of_whole[CVR_MAX_RANK];
    device_steps(part->rank, part->shape, of_part);
    device_steps(whole->rank, whole->shape, of_whole);
    char *in_whole = (char *)whole->data + (uint64_t)s->start * of_whole[s->dim] * element_of(whole);
    of_whole[s->dim] *= (uint32_t)s->step;
    if (device_numel(part) == 0) return CVR_OK;
    const device_walk w = device_walk_of(part->rank, part->shape, into ? of_whole : of_part, into ? of_part : of_whole);
    return device_copy(r, into ? (void *)in_whole : part->data, into ? part->data : (void *)in_whole, element_of(part),
                       &w, err);
}

static int32_t record_concat(const cvr_kernel_args *a, const cvr_recorder *r, cvr_error *err) {
    const int64_t dim = ((const cvr_concat_attrs *)a->attrs)->dim;
    cvr_slice_attrs s = {.dim = dim, .step = 1};
    for (uint32_t i = 0; i < a->n_inputs; i++) {
        CVR_TRY(copy_part(a->inputs[i], a->outputs[0], &s, 1, r, err));
        s.start += a->inputs[i]->shape[dim];
    }
    return CVR_OK;
}

static int32_t record_slice(const cvr_kernel_args *a, const cvr_recorder *r, cvr_error *err) {
    return copy_part(a->outputs[0], a->inputs[0], (const cvr_slice_attrs *)a->attrs, 0, r, err);
}

static int32_t record_slice_backward(const cvr_kernel_args *a, const cvr_recorder *r, cvr_error *err) {
    CVR_TRY(device_zero(r, a->outputs[0], err));
    return copy_part(a->inputs[0], a->outputs[0], (const cvr_slice_attrs *)a->attrs, 1, r, err);
}

/* Bytes are copied as they are. */
static int32_t one_type(const cvr_signature *sig, cvr_error *reason) {
    for (uint32_t i = 0; i < sig->n_inputs; i++)
        if (sig->inputs[i] && sig->inputs[i]->dtype != sig->outputs[0]->dtype)
            return cvr_fail(reason, CVR_ERR_UNSUPPORTED, "inputs of several element types");
    return device_supports(sig, reason);
}

const device_op device_shape_ops[] = {DEVICE_OP("permute", record_permute, .supports = one_type),
                                      DEVICE_OP("to_logical", record_to_logical, .supports = one_type),
                                      DEVICE_OP("from_logical", record_from_logical, .supports = one_type),
                                      DEVICE_OP("concat", record_concat, .supports = one_type),
                                      DEVICE_OP("slice", record_slice, .supports = one_type),
                                      DEVICE_OP("slice_backward", record_slice_backward, .supports = one_type),
                                      {.op = NULL}};
