/* The upsample layer: what the files of this folder share. See <cvr/plugin/ops/resize.h> for the ops. */
#ifndef CVR_LAYERS_RESIZE_FAMILY_H
#define CVR_LAYERS_RESIZE_FAMILY_H

#include <cvr/plugin/ops/check.h>
#include <cvr/plugin/ops/reference.h>
#include <cvr/plugin/ops/resize.h>

/* upsample, upsample_backward */
#define RESIZE_OPS 2
extern const cvr_reference_op resize_ops[RESIZE_OPS];
/* Their reference kernels. */
int32_t resize_run(const cvr_kernel_args *a, cvr_error *err);
int32_t resize_backward_run(const cvr_kernel_args *a, cvr_error *err);

/* For cvr_op_desc.trait: resize_onnx.c */
const void *resize_traits(const char *name);

/* Schemas that the ops and the layer share. */
extern const cvr_attr_desc resize_mode, resize_align_corners;

#define RESIZE_MAX 1073741824.0 /* 2^30: more than any axis */

#endif
