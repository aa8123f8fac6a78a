/* Pooling layers: what the files of this folder share. See <cvr/plugin/ops/pool.h> for the ops. */
#ifndef CVR_LAYERS_POOL_FAMILY_H
#define CVR_LAYERS_POOL_FAMILY_H

#include <cvr/plugin/ops/check.h>
#include <cvr/plugin/ops/pool.h>
#include <cvr/plugin/ops/reference.h>

/* max_pool2d, avg_pool2d, adaptive_avg_pool2d, and the backward op of each */
#define POOL_OPS 6
extern const cvr_reference_op pool_ops[POOL_OPS];
/* Their reference kernels. */
int32_t pool_max_run(const cvr_kernel_args *a, cvr_error *err);
int32_t pool_max_backward_run(const cvr_kernel_args *a, cvr_error *err);
int32_t pool_avg_run(const cvr_kernel_args *a, cvr_error *err);
int32_t pool_avg_backward_run(const cvr_kernel_args *a, cvr_error *err);
int32_t pool_adaptive_run(const cvr_kernel_args *a, cvr_error *err);
int32_t pool_adaptive_backward_run(const cvr_kernel_args *a, cvr_error *err);
/* For cvr_op_desc.trait: pool_onnx.c */
const void *pool_max_traits(const char *name);
const void *pool_avg_traits(const char *name);
const void *pool_adaptive_traits(const char *name);
/* max_pool2d, avg_pool2d, adaptive_avg_pool2d */
#define POOL_LAYERS 3
extern const cvr_layer_desc *const pool_layers[POOL_LAYERS];

/* Schemas that ops and layers share. */
extern const cvr_attr_desc pool_kernel_size, pool_padding, pool_dilation, pool_ceil_mode, pool_count_include_pad,
    pool_divisor_override, pool_output_size;

#define POOL_MAX 1073741824.0 /* 2^30: more than any axis */

#endif
