/* What the files of the plugin "layer_attention" share. */
#ifndef CVR_LAYERS_ATTENTION_FAMILY_H
#define CVR_LAYERS_ATTENTION_FAMILY_H

#include <cvr/plugin/ops/attention.h>
#include <cvr/plugin/ops/check.h>
#include <cvr/plugin/ops/reference.h>
#include <math.h>

extern const cvr_attr_desc attention_num_heads;

/* The op and its backward, each with its reference kernel. */
#define ATTENTION_OPS 2
extern const cvr_reference_op attention_ops[ATTENTION_OPS];
/* Their reference kernels. */
int32_t attention_run(const cvr_kernel_args *a, cvr_error *err);
int32_t attention_backward_run(const cvr_kernel_args *a, cvr_error *err);
uint64_t attention_backward_workspace(const cvr_signature *sig);

/* For cvr_op_desc.trait: attention_onnx.c */
const void *attention_traits(const char *name);
extern const cvr_axes_trait attention_axes; /* attention_axes.c */

#endif
