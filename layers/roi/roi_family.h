/* What the files of the plugin "layer_roi" share. */
#ifndef CVR_LAYERS_ROI_FAMILY_H
#define CVR_LAYERS_ROI_FAMILY_H

#include <cvr/plugin/ops/reference.h>
#include <cvr/plugin/ops/roi_math.h>

int32_t roi_align_run(const cvr_kernel_args *a, cvr_error *err);
int32_t roi_align_backward_run(const cvr_kernel_args *a, cvr_error *err);
int32_t roi_mask_targets_run(const cvr_kernel_args *a, cvr_error *err);

/* For cvr_op_desc.trait: roi_onnx.c */
const void *roi_align_traits(const char *name);

/* Bytes for the taps of one roi. */
uint64_t roi_align_workspace(const cvr_signature *sig);
uint64_t roi_align_backward_workspace(const cvr_signature *sig);
uint64_t roi_mask_targets_workspace(const cvr_signature *sig);

#endif
