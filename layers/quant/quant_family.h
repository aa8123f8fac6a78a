/* Quantisation: what the files of this folder share. See <cvr/plugin/ops/quant.h> for the ops. */
#ifndef CVR_LAYERS_QUANT_FAMILY_H
#define CVR_LAYERS_QUANT_FAMILY_H

#include <cvr/plugin/ops/check.h>
#include <cvr/plugin/ops/quant.h>
#include <cvr/plugin/ops/reference.h>

/* quantize, dequantize */
#define QUANT_OPS 2
extern const cvr_reference_op quant_ops[QUANT_OPS];
/* fake_quantize, fake_quantize_backward: fake_quantize.c */
#define FAKE_QUANTIZE_OPS 2
extern const cvr_reference_op fake_quantize_ops[FAKE_QUANTIZE_OPS];
/* conv2d_int8, conv_transpose2d_int8, linear_int8, add_int8, max_pool2d_int8, avg_pool2d_int8,
 * adaptive_avg_pool2d_int8, upsample_int8, requantize_int8, scaled_dot_product_attention_int8 */
#define INT8_OPS 10
extern const cvr_reference_op int8_ops[INT8_OPS];

/* For cvr_op_desc.trait: quant_onnx.c */
const void *quant_quantize_traits(const char *name);
const void *quant_dequantize_traits(const char *name);

/* quant_ops.c: whether a scale is an f32 greater than 0; elements of input 0, for cvr_op_desc.flops */
int32_t quant_check_scale(const char *what, double scale, cvr_error *err);
double quant_count_elements(const cvr_infer_args *a);

/* Shape rules: int8_infer.c */
int32_t int8_conv_infer(const cvr_infer_args *a, cvr_error *err);
int32_t int8_transposed_infer(const cvr_infer_args *a, cvr_error *err);
int32_t int8_linear_infer(const cvr_infer_args *a, cvr_error *err);
int32_t int8_add_infer(const cvr_infer_args *a, cvr_error *err);
int32_t int8_max_pool_infer(const cvr_infer_args *a, cvr_error *err);
int32_t int8_avg_pool_infer(const cvr_infer_args *a, cvr_error *err);
int32_t int8_adaptive_pool_infer(const cvr_infer_args *a, cvr_error *err);
int32_t int8_upsample_infer(const cvr_infer_args *a, cvr_error *err);
int32_t int8_requantize_infer(const cvr_infer_args *a, cvr_error *err);
int32_t int8_attention_infer(const cvr_infer_args *a, cvr_error *err);

/* Their reference kernels: int8_reference.c */
int32_t int8_conv_run(const cvr_kernel_args *a, cvr_error *err);
int32_t int8_transposed_run(const cvr_kernel_args *a, cvr_error *err);
int32_t int8_linear_run(const cvr_kernel_args *a, cvr_error *err);
int32_t int8_add_run(const cvr_kernel_args *a, cvr_error *err);
int32_t int8_max_pool_run(const cvr_kernel_args *a, cvr_error *err);
int32_t int8_avg_pool_run(const cvr_kernel_args *a, cvr_error *err);
int32_t int8_adaptive_pool_run(const cvr_kernel_args *a, cvr_error *err);
int32_t int8_upsample_run(const cvr_kernel_args *a, cvr_error *err);
int32_t int8_requantize_run(const cvr_kernel_args *a, cvr_error *err);
/* int8_attention_reference.c; its workspace has a row of sums. */
int32_t int8_attention_run(const cvr_kernel_args *a, cvr_error *err);
uint64_t int8_attention_workspace(const cvr_signature *sig);

#endif
