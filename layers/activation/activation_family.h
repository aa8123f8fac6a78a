/* What the files of the plugin "layer_activation" share: ops with their reference kernels, and layers. */
#ifndef CVR_LAYERS_ACTIVATION_FAMILY_H
#define CVR_LAYERS_ACTIVATION_FAMILY_H

#include <cvr/plugin/formats/onnx.h>
#include <cvr/plugin/ops/activation.h>
#include <cvr/plugin/ops/reference.h>

extern const cvr_reference_op activation_unary_ops[];
extern const uint32_t activation_n_unary_ops;
extern const cvr_reference_op activation_softmax_ops[];
extern const uint32_t activation_n_softmax_ops;

extern const cvr_layer_desc activation_unary_layers[];
extern const uint32_t activation_n_unary_layers;
extern const cvr_layer_desc activation_softmax_layers[];
extern const uint32_t activation_n_softmax_layers;

extern const cvr_attr_desc *const activation_slope_attrs[];
extern const cvr_attr_desc *const activation_gelu_attrs[];

int32_t activation_infer(const cvr_infer_args *a, cvr_error *err);          /* x -> y alike */
int32_t activation_backward_infer(const cvr_infer_args *a, cvr_error *err); /* saved, grad -> dx alike */
int32_t activation_relu_grad(const cvr_builder *b, cvr_grad_args *a, cvr_error *err);
int32_t activation_relu6_grad(const cvr_builder *b, cvr_grad_args *a, cvr_error *err);
int32_t activation_leaky_relu_grad(const cvr_builder *b, cvr_grad_args *a, cvr_error *err);
int32_t activation_sigmoid_grad(const cvr_builder *b, cvr_grad_args *a, cvr_error *err);
int32_t activation_tanh_grad(const cvr_builder *b, cvr_grad_args *a, cvr_error *err);
int32_t activation_hardsigmoid_grad(const cvr_builder *b, cvr_grad_args *a, cvr_error *err);
int32_t activation_hardswish_grad(const cvr_builder *b, cvr_grad_args *a, cvr_error *err);
int32_t activation_silu_grad(const cvr_builder *b, cvr_grad_args *a, cvr_error *err);
int32_t activation_mish_grad(const cvr_builder *b, cvr_grad_args *a, cvr_error *err);
int32_t activation_gelu_grad(const cvr_builder *b, cvr_grad_args *a, cvr_error *err);

/* Elementwise programs: elementwise_ops.c */
#define ACTIVATION_PROGRAM_OPS 2
extern const cvr_reference_op activation_program_ops[ACTIVATION_PROGRAM_OPS];

/* For cvr_op_desc.trait: activation_onnx.c */
extern const cvr_onnx_trait activation_relu_onnx, activation_relu6_onnx, activation_leaky_relu_onnx,
    activation_sigmoid_onnx, activation_tanh_onnx, activation_hardsigmoid_onnx, activation_hardswish_onnx,
    activation_silu_onnx, activation_mish_onnx, activation_gelu_onnx, activation_elementwise_onnx;
const void *activation_softmax_traits(const char *name);
const void *activation_log_softmax_traits(const char *name);

#endif
