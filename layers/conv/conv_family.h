/* Convolution layers: what the files of this folder share. See <cvr/plugin/ops/conv.h> for the ops. */
#ifndef CVR_LAYERS_CONV_FAMILY_H
#define CVR_LAYERS_CONV_FAMILY_H

#include <cvr/plugin/ops/check.h>
#include <cvr/plugin/ops/conv.h>
#include <cvr/plugin/ops/reference.h>

/* conv2d, conv2d_backward_*, conv_transpose2d, conv_transpose2d_backward_input */
#define CONV_OPS 6
extern const cvr_reference_op conv_ops[CONV_OPS];
/* Their reference kernels. */
int32_t conv_forward_run(const cvr_kernel_args *a, cvr_error *err);
int32_t conv_transposed_run(const cvr_kernel_args *a, cvr_error *err);
int32_t conv_weight_run(const cvr_kernel_args *a, cvr_error *err);
int32_t conv_bias_run(const cvr_kernel_args *a, cvr_error *err);
/* conv2d, conv_transpose2d */
#define CONV_LAYERS 2
extern const cvr_layer_desc *const conv_layers[CONV_LAYERS];

/* The schema of cvr_conv2d_attrs, shared by ops and layers. */
extern const cvr_attr_desc conv_stride, conv_padding, conv_dilation, conv_groups, conv_input_size;
extern const cvr_attr_desc conv_activation; /* of the fused ops */

/* The window of one axis (0: height, 1: width) of a kernel of that size. */
static inline cvr_window conv_window(const cvr_conv2d_attrs *a, int axis, int64_t kernel) {
    return (cvr_window){kernel, a->stride[axis], a->padding[axis], a->dilation[axis], 0};
}

/* For cvr_op_desc.trait: conv_onnx.c */
const void *conv2d_traits(const char *name);
const void *conv_transpose2d_traits(const char *name);
extern const cvr_axes_trait conv2d_axes, conv_transpose2d_axes; /* conv_axes.c */

/* Fused, by decomposition: conv_act.c, conv_stats.c, conv_norm.c */
extern const cvr_op_desc conv_act_op, conv_stats_op, conv_norm_op;
/* Input i, where it is there, is a vector with the channels of `like`, or has its shape. */
int32_t conv_check_vector(const char *op, const cvr_infer_args *a, uint32_t i, const cvr_type *like, cvr_error *err);
int32_t conv_check_like(const char *op, const cvr_infer_args *a, uint32_t i, const cvr_type *like, cvr_error *err);
int32_t conv_check_activation(const char *op, int64_t activation, cvr_error *err);
double conv_flops_by_output(const cvr_infer_args *a);
double conv_flops_by_input(const cvr_infer_args *a);

/* The attributes begin with cvr_conv2d_attrs. */
int32_t conv2d_grad(const cvr_builder *b, cvr_grad_args *a, cvr_error *err);
int32_t conv2d_infer(const cvr_infer_args *a, cvr_error *err);
int32_t conv2d_backward_input_infer(const cvr_infer_args *a, cvr_error *err);
int32_t conv2d_backward_weight_infer(const cvr_infer_args *a, cvr_error *err);
int32_t conv2d_backward_bias_infer(const cvr_infer_args *a, cvr_error *err);
int32_t conv_transpose2d_infer(const cvr_infer_args *a, cvr_error *err);
int32_t conv_transpose2d_backward_input_infer(const cvr_infer_args *a, cvr_error *err);

#endif
