/*
 * The data gradient of a convolution with the sums that the batch norm before it needs, as the pass fuse_grads puts it:
 * they are taken while results are in a cache, which saves the batch norm its first pass over memory and a sum of
 * gradients one of its own (compare Jung et al., "Restructuring Batch Normalization to Accelerate CNN Training", 2019).
 * Formulas in ops/conv.h; the op means what its decomposition says.
 */
#include "conv_family.h"

#include <cvr/plugin/ops/norm.h>

static const cvr_attr_desc *const attrs_of[] = {&conv_stride, &conv_padding,    &conv_dilation,
                                                &conv_groups, &conv_input_size, &conv_activation};

enum { GRAD, WEIGHT, OTHER, X, SCALE, MEAN, INVSTD, SHIFT, Y, INPUTS };

static int32_t norm_infer(const cvr_infer_args *a, cvr_error *err) {
    static const char op[] = "conv2d_backward_input_norm";
    const cvr_conv2d_backward_input_norm_attrs *attrs = a->attrs;
    const cvr_infer_args conv = {sizeof conv, &attrs->conv, a->inputs, a->outputs, 2, 1};
    const cvr_type *dx = a->outputs[0];
    CVR_TRY(conv2d_backward_input_infer(&conv, err));
    for (uint32_t i = OTHER; i < a->n_inputs; i++)
        CVR_TRY((i == OTHER || i == X || i == Y ? conv_check_like : conv_check_vector)(op, a, i, dx, err));
    for (uint32_t i = 1; i < 3; i++) cvr_type_set(a->outputs[i], CVR_F32, 1, &dx->shape[1]);
    return conv_check_activation(op, attrs->activation, err);
}

static int32_t norm_decompose(const cvr_builder *b, cvr_decompose_args *a, cvr_error *err) {
    const cvr_conv2d_backward_input_norm_attrs *attrs = a->attrs;
    const cvr_batch_norm2d_apply_attrs act = {attrs->activation};
    cvr_value in[INPUTS] = {CVR_NONE}, grad;
    for (uint32_t i = 0; i < a->n_inputs; i++) in[i] = a->inputs[i];
    CVR_TRY(cvr_emit(b, "conv2d_backward_input", &attrs->conv, sizeof attrs->conv, in, 2, &grad, err));
    const cvr_value pair[2] = {grad, in[OTHER]};
    if (in[OTHER]) CVR_TRY(cvr_emit(b, "add", NULL, 0, pair, 2, &grad, err));
    const cvr_value sums[7] = {in[X], grad, in[SCALE], in[MEAN], in[INVSTD], in[SHIFT], in[Y]};
    const cvr_op_call call = {.struct_size = sizeof call,
                              .op = "batch_norm2d_backward_sums",
                              .attrs = &act,
                              .attrs_size = sizeof act,
                              .inputs = sums,
                              .outputs = a->outputs,
                              .n_inputs = 7,
                              .n_outputs = 3};
    return b->emit(b, &call, err);
}

const cvr_op_desc conv_norm_op = {.struct_size = sizeof(cvr_op_desc),
                                  .name = "conv2d_backward_input_norm",
                                  .version = 1,
                                  .trait = cvr_traits_mixed,
                                  .min_inputs = 7,
                                  .max_inputs = 9,
                                  .n_outputs = 3,
                                  .n_attrs = 6,
                                  .attrs = attrs_of,
                                  .optional = 1u << OTHER | 1u << SCALE | 1u << SHIFT | 1u << Y,
                                  .infer = norm_infer,
                                  .decompose = norm_decompose,
                                  .flops = conv_flops_by_input,
                                  .doc = "batch_norm2d_backward_sums of conv2d_backward_input + other"};
