/* What the files of the plugin "layer_attention" share. */
#ifndef CVR_LAYERS_ATTENTION_FAMILY_H
#define CVR_LAYERS_ATTENTION_FAMILY_H

#include <cvr/plugin/ops/attention.h>
#include <cvr/plugin/ops/check.h>
#include <cvr/plugin/plugin.h>
#include <math.h>

extern const cvr_attr_desc attention_num_heads;

/* The op and its backward, each with its reference kernel. */
#define ATTENTION_OPS 2
extern const cvr_op_desc *const attention_ops[ATTENTION_OPS];
extern const cvr_kernel_desc *const attention_reference_kernels[ATTENTION_OPS];

#endif
