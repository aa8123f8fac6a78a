/* Regions of interest on feature maps and on masks (<cvr/plugin/ops/detect.h>), by roi.k. */
#include "device_ops.h"

#include <cvr/plugin/ops/detect.h>
#include <math.h>

static uint64_t state_bytes(uint64_t rois) {
    return sizeof(float) * ROI_STATE * rois;
}

/* rois (N,R,4), [count] */
static roi_params rois_of(const cvr_kernel_args *a, const cvr_roi_align_attrs *attrs, const cvr_tensor *rois) {
    roi_params p = {.rois = device_address(rois->data),
                    .state = device_address(a->workspace),
                    .y = device_address(a->outputs[0]->data),
                    .pictures = (uint32_t)rois->shape[0],
                    .in_picture = (uint32_t)rois->shape[1],
                    .bins = {(uint32_t)attrs->output_size[0], (uint32_t)attrs->output_size[1]},
                    .levels = (uint32_t)attrs->n_scales,
                    .aligned = (uint32_t)attrs->aligned,
                    .sampling = attrs->sampling_ratio > 0 ? (uint32_t)attrs->sampling_ratio : 0};
    for (int64_t i = 0; i < attrs->n_scales; i++) p.scale[i] = (float)attrs->scales[i];
    p.least = -log2f(p.scale[0]);
    p.most = -log2f(p.scale[attrs->n_scales - 1]);
    return p;
}

static int32_t run(const roi_params *p, uint32_t what, uint64_t threads, uint32_t type_x, uint32_t type_y,
                   const cvr_recorder *r, cvr_error *err) {
    const uint32_t axes[] = {ROI_AXES, type_x, type_y}, constants[] = {what, type_x, type_y};
    CVR_TRY(DEVICE_LAUNCH(r, roi, p, axes, device_groups_for((uint64_t)p->pictures * p->in_picture), err));
    return DEVICE_LAUNCH(r, roi, p, constants, device_groups_for(threads), err);
}

static void set_map(roi_params *p, uint32_t level, const cvr_tensor *map) {
    p->maps[level] = device_address(map->data);
    p->height[level] = (uint32_t)map->shape[2];
    p->width[level] = (uint32_t)map->shape[3];
    p->channels = (uint32_t)map->shape[1];
}

/* rois, [count], maps */
static int32_t record_align(const cvr_kernel_args *a, const cvr_recorder *r, cvr_error *err) {
    const cvr_tensor *y = a->outputs[0];
    roi_params p = rois_of(a, (const cvr_roi_align_attrs *)a->attrs, a->inputs[0]);
    p.counts = device_at(a, 1);
    for (uint32_t i = 2; i < a->n_inputs; i++) set_map(&p, i - 2, a->inputs[i]);
    return run(&p, ROI_ALIGN, device_numel(y), a->inputs[2]->dtype, y->dtype, r, err);
}

/* grad, rois, [count] -> dmap */
static int32_t record_align_backward(const cvr_kernel_args *a, const cvr_recorder *r, cvr_error *err) {
    const cvr_roi_align_backward_attrs *attrs = (const cvr_roi_align_backward_attrs *)a->attrs;
    const cvr_tensor *dmap = a->outputs[0];
    roi_params p = rois_of(a, &attrs->forward, a->inputs[1]);
    p.counts = device_at(a, 2);
    p.x = device_at(a, 0);
    p.level = (uint32_t)attrs->level;
    set_map(&p, p.level, dmap);
    const uint64_t pixels = (uint64_t)p.pictures * p.height[p.level] * p.width[p.level];
    return run(&p, ROI_BACKWARD, pixels * device_groups(p.channels, ROI_CHANNELS), a->inputs[0]->dtype, dmap->dtype, r,
               err);
}

/* masks (N,M,H,W) u8, rois, match -> (N,R,S*S) */
static int32_t record_masks(const cvr_kernel_args *a, const cvr_recorder *r, cvr_error *err) {
    const int64_t size = ((const cvr_mask_targets_attrs *)a->attrs)->size;
    const cvr_roi_align_attrs attrs = {.output_size = {size, size}, .sampling_ratio = -1, .n_scales = 1, .scales = {1}};
    roi_params p = rois_of(a, &attrs, a->inputs[1]);
    p.x = device_at(a, 0);
    p.match = device_at(a, 2);
    set_map(&p, 0, a->inputs[0]);
    return run(&p, ROI_MASKS, device_numel(a->outputs[0]), CVR_U8, CVR_F32, r, err);
}

static uint64_t workspace_of(const cvr_tensor *rois) {
    return state_bytes((uint64_t)(rois->shape[0] * rois->shape[1]));
}
static uint64_t align_workspace(const cvr_signature *sig) {
    return workspace_of(sig->inputs[0]);
}
static uint64_t second_workspace(const cvr_signature *sig) {
    return workspace_of(sig->inputs[1]);
}

/* Maps of one type. */
static int32_t align_supports(const cvr_signature *sig, cvr_error *reason) {
    for (uint32_t i = 3; i < sig->n_inputs; i++)
        if (sig->inputs[i]->dtype != sig->inputs[2]->dtype)
            return cvr_fail(reason, CVR_ERR_UNSUPPORTED, "maps of several element types");
    return device_supports_floats(sig, ~UINT64_C(3), 1, reason);
}

const device_op device_roi_ops[] = {
    DEVICE_OP("roi_align", record_align, .supports = align_supports, .workspace = align_workspace),
    DEVICE_OP("roi_align_backward", record_align_backward, .supports = device_supports_but_both,
              .workspace = second_workspace),
    DEVICE_OP("mask_targets", record_masks, .supports = device_supports_all_f32, .workspace = second_workspace),
    {.op = NULL}};
