/*
 * The gradients of a dense layer's weight and bias as one op, as the pass fuse_dense puts it where a backend may sum
 * the gradient's columns while it multiplies them. It means the two ops that it stands for. See ops/linear.h.
 */
#include "linear_family.h"

static int32_t infer(const cvr_infer_args *a, cvr_error *err) {
    CVR_TRY(linear_backward_weight_infer(a, err));
    cvr_type_set(a->outputs[1], CVR_F32, 1, a->outputs[0]->shape);
    return CVR_OK;
}

static int32_t decompose(const cvr_builder *b, cvr_decompose_args *a, cvr_error *err) {
    CVR_TRY(cvr_emit(b, "linear_backward_weight", NULL, 0, a->inputs, 2, &a->outputs[0], err));
    return cvr_emit(b, "linear_backward_bias", NULL, 0, &a->inputs[1], 1, &a->outputs[1], err);
}

const cvr_op_desc linear_weight_bias_op = {.struct_size = sizeof(cvr_op_desc),
                                           .name = "linear_backward_weight_bias",
                                           .version = 1,
                                           .flags = CVR_OP_ORDER_AWARE,
                                           .trait = cvr_traits_mixed_f32,
                                           .min_inputs = 2,
                                           .max_inputs = 2,
                                           .n_outputs = 2,
                                           .infer = infer,
                                           .decompose = decompose,
                                           .flops = linear_flops_of_weight,
                                           .doc = "linear_backward_weight and linear_backward_bias of the same grad"};
