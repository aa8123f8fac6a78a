/* The dense layer: what the files of this folder share. See <cvr/plugin/ops/linear.h> for the ops. */
#ifndef CVR_LAYERS_LINEAR_FAMILY_H
#define CVR_LAYERS_LINEAR_FAMILY_H

#include <cvr/plugin/ops/check.h>
#include <cvr/plugin/ops/linear.h>
#include <cvr/plugin/ops/reference.h>

/* linear, linear_backward_input, _weight, _bias, matmul */
#define LINEAR_OPS 5
extern const cvr_reference_op linear_ops[LINEAR_OPS];
/* linear_backward_weight_bias: linear_weight_bias.c */
extern const cvr_op_desc linear_weight_bias_op;
int32_t linear_backward_weight_infer(const cvr_infer_args *a, cvr_error *err);
double linear_flops_of_weight(const cvr_infer_args *a);
/* Their reference kernels. */
int32_t linear_run(const cvr_kernel_args *a, cvr_error *err);
int32_t linear_backward_input_run(const cvr_kernel_args *a, cvr_error *err);
int32_t linear_backward_weight_run(const cvr_kernel_args *a, cvr_error *err);
int32_t linear_backward_bias_run(const cvr_kernel_args *a, cvr_error *err);
int32_t linear_matmul_run(const cvr_kernel_args *a, cvr_error *err);

/* For cvr_op_desc.trait: linear_onnx.c */
const void *linear_traits(const char *name);
const void *matmul_traits(const char *name);
extern const cvr_axes_trait linear_axes, matmul_axes; /* linear_axes.c */

#endif
