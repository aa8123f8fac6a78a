/* Resizing, windows, tables of rows, mixing and making numbers of pixels, and what `bench` measures peaks with. */
#include "device_ops.h"

#include <cvr/plugin/ops/image.h>
#include <cvr/plugin/ops/peak.h>
#include <cvr/plugin/ops/shape.h>

/* ---- resize ---- */

uint32_t device_resize_mode(const cvr_upsample_attrs *attrs) {
    if (attrs->mode == CVR_UPSAMPLE_NEAREST) return RESIZE_NEAREST;
    return attrs->align_corners ? RESIZE_CORNERS : RESIZE_BILINEAR;
}

static int32_t run_resize(const cvr_upsample_attrs *attrs, const cvr_tensor *small, const cvr_tensor *large,
                          uint32_t backward, const cvr_recorder *r, cvr_error *err) {
    const cvr_tensor *made = backward ? small : large;
    const device_divisor channels = device_divisor_of((uint32_t)made->shape[1]);
    const device_divisor inner = device_divisor_of((uint32_t)made->shape[3]);
    const device_divisor outer = device_divisor_of((uint32_t)made->shape[2]);
    const uint32_t constants[] = {backward, made->dtype, device_resize_mode(attrs)};
    const resize_params p = {.small = device_address(small->data),
                             .large = device_address(large->data),
                             .count = device_numel(made),
                             .channels = (uint32_t)made->shape[1],
                             .channels_magic = channels.magic,
                             .channels_shift = channels.shift,
                             .inner_magic = inner.magic,
                             .inner_shift = inner.shift,
                             .outer_magic = outer.magic,
                             .outer_shift = outer.shift,
                             .height = (uint32_t)small->shape[2],
                             .width = (uint32_t)small->shape[3],
                             .rows = (uint32_t)large->shape[2],
                             .columns = (uint32_t)large->shape[3],
                             .step = {cvr_upsample_step(attrs, 0, small->shape[2], large->shape[2]),
                                      cvr_upsample_step(attrs, 1, small->shape[3], large->shape[3])}};
    return DEVICE_LAUNCH(r, resize, &p, constants, device_groups_for(p.count), err);
}

static int32_t record_upsample(const cvr_kernel_args *a, const cvr_recorder *r, cvr_error *err) {
    return run_resize((const cvr_upsample_attrs *)a->attrs, a->inputs[0], a->outputs[0], 0, r, err);
}

static int32_t record_upsample_backward(const cvr_kernel_args *a, const cvr_recorder *r, cvr_error *err) {
    return run_resize(&((const cvr_upsample_backward_attrs *)a->attrs)->upsample, a->outputs[0], a->inputs[0], 1, r,
                      err);
}

/* ---- found by a rule ---- */

static gather_params gather_of(const cvr_tensor *x, const cvr_tensor *y, uint32_t channels) {
    const device_divisor by = device_divisor_of(channels);
    return (gather_params){.x = device_address(x->data),
                           .y = device_address(y->data),
                           .count = device_numel(y),
                           .channels = channels,
                           .channels_magic = by.magic,
                           .channels_shift = by.shift};
}

static int32_t run_gather(const gather_params *p, uint32_t what, uint32_t type, const cvr_recorder *r, cvr_error *err) {
    const uint32_t constants[] = {what, type};
    return DEVICE_LAUNCH(r, gather, p, constants, device_groups_for(p->count), err);
}

static int32_t run_windows(const cvr_window_attrs *attrs, const cvr_tensor *picture, const cvr_tensor *x,
                           const cvr_tensor *y, uint32_t what, const cvr_recorder *r, cvr_error *err) {
    gather_params p = gather_of(x, y, (uint32_t)picture->shape[1]);
    p.height = (uint32_t)picture->shape[2];
    p.width = (uint32_t)picture->shape[3];
    for (int i = 0; i < 2; i++) {
        p.window[i] = (uint32_t)attrs->window[i];
        p.shift[i] = (uint32_t)attrs->shift[i];
    }
    p.rows = (uint32_t)device_groups(p.height, p.window[0]);
    p.columns = (uint32_t)device_groups(p.width, p.window[1]);
    return run_gather(&p, what, y->dtype, r, err);
}

static int32_t record_partition(const cvr_kernel_args *a, const cvr_recorder *r, cvr_error *err) {
    return run_windows((const cvr_window_attrs *)a->attrs, a->inputs[0], a->inputs[0], a->outputs[0], GATHER_WINDOWS, r,
                       err);
}

static int32_t record_merge(const cvr_kernel_args *a, const cvr_recorder *r, cvr_error *err) {
    return run_windows(&((const cvr_window_merge_attrs *)a->attrs)->window, a->outputs[0], a->inputs[0], a->outputs[0],
                       GATHER_MERGE, r, err);
}

static int32_t record_rows(const cvr_kernel_args *a, const cvr_recorder *r, cvr_error *err) {
    gather_params p = gather_of(a->inputs[0], a->outputs[0], (uint32_t)a->inputs[0]->shape[1]);
    p.index = device_at(a, 1);
    p.n = (uint32_t)a->inputs[0]->shape[0];
    return run_gather(&p, GATHER_ROWS, a->outputs[0]->dtype, r, err);
}

static int32_t record_rows_backward(const cvr_kernel_args *a, const cvr_recorder *r, cvr_error *err) {
    gather_params p = gather_of(a->inputs[0], a->outputs[0], (uint32_t)a->outputs[0]->shape[1]);
    p.index = device_at(a, 1);
    p.n = (uint32_t)a->inputs[0]->shape[0];
    return run_gather(&p, GATHER_ROWS_BACK, a->outputs[0]->dtype, r, err);
}

static int32_t record_mix(const cvr_kernel_args *a, const cvr_recorder *r, cvr_error *err) {
    const cvr_tensor *x = a->inputs[0];
    gather_params p = gather_of(x, a->outputs[0], (uint32_t)x->shape[1]);
    p.index = device_at(a, 1);
    p.n = (uint32_t)x->shape[0];
    p.height = (uint32_t)x->shape[2];
    p.width = (uint32_t)x->shape[3];
    return run_gather(&p, GATHER_MIX, x->dtype, r, err);
}

static int32_t record_normalize(const cvr_kernel_args *a, const cvr_recorder *r, cvr_error *err) {
    const cvr_normalize_pixels_attrs *attrs = (const cvr_normalize_pixels_attrs *)a->attrs;
    gather_params p = gather_of(a->inputs[0], a->outputs[0], (uint32_t)a->inputs[0]->shape[1]);
    for (int c = 0; c < 4; c++) {
        p.mean[c] = (float)attrs->mean[c];
        p.std[c] = (float)attrs->std[c];
    }
    return run_gather(&p, GATHER_PIXELS, a->outputs[0]->dtype, r, err);
}

/* One type for what goes in and what comes out. */
static int32_t one_type(const cvr_signature *sig, cvr_error *reason) {
    if (sig->inputs[0]->dtype != sig->outputs[0]->dtype)
        return cvr_fail(reason, CVR_ERR_UNSUPPORTED, "another element type in than out");
    return device_supports(sig, reason);
}

/* ---- peaks ---- */

static int32_t record_peak(const cvr_kernel_args *a, const cvr_recorder *r, cvr_error *err) {
    const uint32_t constants[] = {a->inputs[0]->dtype};
    const peak_params p = {.x = device_at(a, 0),
                           .y = device_address(a->outputs[0]->data),
                           .blocks = (uint32_t)a->inputs[0]->shape[0],
                           .links = (uint32_t)((const cvr_peak_multiply_add_attrs *)a->attrs)->links};
    return DEVICE_LAUNCH(r, peak, &p, constants, p.blocks, err);
}

static int32_t record_peak_copy(const cvr_kernel_args *a, const cvr_recorder *r, cvr_error *err) {
    const cvr_tensor *x = a->inputs[0];
    return r->copy(r, a->outputs[0]->data, x->data, device_numel(x) * cvr_dtype_size(x->dtype), err);
}

const device_op device_picture_ops[] = {DEVICE_OP("upsample", record_upsample, .supports = one_type),
                                        DEVICE_OP("upsample_backward", record_upsample_backward, .supports = one_type),
                                        DEVICE_OP("window_partition", record_partition, .supports = one_type),
                                        DEVICE_OP("window_merge", record_merge, .supports = one_type),
                                        DEVICE_OP("take_rows", record_rows, .supports = one_type),
                                        DEVICE_OP("take_rows_backward", record_rows_backward, .supports = one_type),
                                        DEVICE_OP("batch_mix", record_mix, .supports = one_type),
                                        DEVICE_OP("normalize_pixels", record_normalize),
                                        DEVICE_OP("peak_multiply_add", record_peak),
                                        DEVICE_OP("peak_copy", record_peak_copy, .supports = one_type),
                                        {.op = NULL}};
