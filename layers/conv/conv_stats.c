/*
 * Convolution with the statistics of its results, as the pass fuse_stats puts it before a batch norm: they are taken
 * while results are in a cache, which saves a pass over memory. It means what its decomposition says.
 */
#include "conv_family.h"

static const cvr_attr_desc *const attrs_of[] = {&conv_stride, &conv_padding, &conv_dilation, &conv_groups};

static int32_t stats_infer(const cvr_infer_args *a, cvr_error *err) {
    CVR_TRY(conv2d_infer(a, err));
    for (uint32_t i = 1; i < 3; i++) cvr_type_set(a->outputs[i], CVR_F32, 1, &a->outputs[0]->shape[1]);
    return CVR_OK;
}

static int32_t stats_decompose(const cvr_builder *b, cvr_decompose_args *a, cvr_error *err) {
    CVR_TRY(cvr_emit(b, "conv2d", a->attrs, sizeof(cvr_conv2d_attrs), a->inputs, a->n_inputs, &a->outputs[0], err));
    const cvr_op_call call = {.struct_size = sizeof call,
                              .op = "batch_norm2d_stats",
                              .inputs = a->outputs,
                              .outputs = a->outputs + 1,
                              .n_inputs = 1,
                              .n_outputs = 2};
    return b->emit(b, &call, err);
}

const cvr_op_desc conv_stats_op = {.struct_size = sizeof(cvr_op_desc),
                                   .name = "conv2d_stats",
                                   .version = 1,
                                   .trait = cvr_traits_mixed_recompute,
                                   .min_inputs = 2,
                                   .max_inputs = 3,
                                   .n_outputs = 3,
                                   .n_attrs = 4,
                                   .attrs = attrs_of,
                                   .optional = 4,
                                   .infer = stats_infer,
                                   .grad = conv2d_grad,
                                   .decompose = stats_decompose,
                                   .flops = conv_flops_by_output,
                                   .doc = "conv2d, and mean and variance of its results"};
