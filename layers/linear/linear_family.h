/* The dense layer: what the files of this folder share. See <cvr/plugin/ops/linear.h> for the ops. */
#ifndef CVR_LAYERS_LINEAR_FAMILY_H
#define CVR_LAYERS_LINEAR_FAMILY_H

#include <cvr/plugin/ops/check.h>
#include <cvr/plugin/ops/linear.h>
#include <cvr/plugin/plugin.h>

/* linear, linear_backward_input, _weight, _bias, matmul */
#define LINEAR_OPS 5
extern const cvr_op_desc *const linear_ops[LINEAR_OPS];
extern const cvr_kernel_desc *const linear_reference_kernels[LINEAR_OPS];

#endif
