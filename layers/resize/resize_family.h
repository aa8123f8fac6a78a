/* The upsample layer: what the files of this folder share. See <cvr/plugin/ops/resize.h> for the ops. */
#ifndef CVR_LAYERS_RESIZE_FAMILY_H
#define CVR_LAYERS_RESIZE_FAMILY_H

#include <cvr/plugin/ops/check.h>
#include <cvr/plugin/ops/resize.h>
#include <cvr/plugin/plugin.h>

/* upsample, upsample_backward */
#define RESIZE_OPS 2
extern const cvr_op_desc *const resize_ops[RESIZE_OPS];
extern const cvr_kernel_desc *const resize_reference_kernels[RESIZE_OPS];

/* Schemas that the ops and the layer share. */
extern const cvr_attr_desc resize_mode, resize_align_corners;

#define RESIZE_MAX 1073741824.0 /* 2^30: more than any axis */

#endif
