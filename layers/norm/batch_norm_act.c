/*
 * Batch normalisation with what follows it, as passes fuse it: an optional residual to add, then an activation. One
 * pass over memory in place of three, and nothing kept but the input (compare Jung et al., "Restructuring Batch
 * Normalization to Accelerate CNN Training", 2019). Formulas in ops/norm.h; each op means what its decomposition says.
 */
#include "norm_family.h"

#include <stdbool.h>

static const cvr_attr_desc activation_attr =
    CVR_ATTR_INIT(CHOICE, "activation", "relu", "what is applied last", .choices = "none|relu|relu6|silu");
static const cvr_attr_desc mask_attr =
    CVR_ATTR_INIT(CHOICE, "activation", "relu", "what was applied last", .choices = "none|relu|relu6");
static const cvr_attr_desc *const act_attrs[] = {&norm_momentum_attr, &norm_eps_attr, &activation_attr};
static const cvr_attr_desc *const mask_attrs[] = {&norm_momentum_attr, &norm_eps_attr, &mask_attr};

static const cvr_attr_desc *const apply_attrs[] = {&activation_attr};

enum { WEIGHT = 1, BIAS = 2, RESIDUAL = 6, MEAN = 7, VAR = 8 }; /* inputs of batch_norm2d_act */

/* NULL: none */
static const char *const forward_ops[] = {NULL, "relu", "relu6", "silu"};
static const char *const backward_ops[] = {NULL, "relu_backward", "relu6_backward"};

/* One that is told from its output. */
static int32_t check_mask(const char *op, int64_t activation, cvr_error *err) {
    if (activation >= CVR_ACTIVATION_NONE && activation <= CVR_ACTIVATION_RELU6) return CVR_OK;
    return cvr_fail(err, CVR_ERR_INVALID, "%s: activation %lld is none of none, relu, relu6", op,
                    (long long)activation);
}

/* silu's gradient is told from its input, which input `sum`, where it is there, is a part of, or the result of. */
static int32_t check_activation(const char *op, int64_t activation, const cvr_infer_args *a, uint32_t sum,
                                cvr_error *err) {
    if (activation != CVR_ACTIVATION_SILU) return check_mask(op, activation, err);
    if (a->n_inputs <= sum || !a->inputs[sum]) return CVR_OK;
    return cvr_fail(err, CVR_ERR_INVALID, "%s: silu of a sum, whose gradient x cannot tell; leave input %u out", op,
                    sum);
}

static int32_t act_infer(const cvr_infer_args *a, cvr_error *err) {
    const cvr_batch_norm2d_act_attrs *attrs = a->attrs;
    const int given = (a->n_inputs > MEAN && a->inputs[MEAN]) + (a->n_inputs > VAR && a->inputs[VAR]);
    CVR_TRY(norm_batch_infer(a, err));
    if (a->n_inputs > 6 && a->inputs[6]) CVR_TRY(norm_check_like("batch_norm2d_act", a->inputs[0], a->inputs[6], err));
    for (uint32_t i = MEAN; i <= VAR && i < a->n_inputs; i++)
        CVR_TRY(norm_check_vector("batch_norm2d_act", "a statistic", a->inputs[i], a->inputs[0]->shape[1], err));
    if (given == 1) return cvr_fail(err, CVR_ERR_INVALID, "batch_norm2d_act: mean and variance come together");
    return check_activation("batch_norm2d_act", attrs->activation, a, RESIDUAL, err);
}

/* x, grad, weight, mean, invstd, y, bias */
static int32_t act_backward_infer(const cvr_infer_args *a, cvr_error *err) {
    const cvr_batch_norm2d_act_attrs *attrs = a->attrs;
    CVR_TRY(norm_batch_backward_infer(a, err));
    CVR_TRY(norm_check_like("batch_norm2d_act_backward", a->inputs[0], a->inputs[5], err));
    if (a->n_inputs > 6)
        CVR_TRY(norm_check_vector("batch_norm2d_act_backward", "the shift", a->inputs[6], a->inputs[0]->shape[1], err));
    if (a->n_outputs > 3) *a->outputs[3] = *a->inputs[0];
    return check_mask("batch_norm2d_act_backward", attrs->activation, err);
}

/* x, weight, bias, mean, invstd, residual */
static int32_t apply_infer(const cvr_infer_args *a, cvr_error *err) {
    const cvr_batch_norm2d_apply_attrs *attrs = a->attrs;
    CVR_TRY(norm_batch_check("batch_norm2d_apply", a, 1, 4, err));
    if (a->n_inputs > 5 && a->inputs[5])
        CVR_TRY(norm_check_like("batch_norm2d_apply", a->inputs[0], a->inputs[5], err));
    *a->outputs[0] = *a->inputs[0];
    return check_activation("batch_norm2d_apply", attrs->activation, a, 5, err);
}

static int32_t act_emit(const cvr_builder *b, cvr_decompose_args *a, cvr_error *err) {
    return norm_batch_recompute(b, a, ((const cvr_batch_norm2d_act_attrs *)a->attrs)->activation, err);
}

/* x, grad, weight, mean, invstd, bias, y */
static int32_t sums_infer(const cvr_infer_args *a, cvr_error *err) {
    const cvr_batch_norm2d_apply_attrs *attrs = a->attrs;
    CVR_TRY(norm_batch_backward_infer(a, err));
    if (a->n_inputs > 5)
        CVR_TRY(
            norm_check_vector("batch_norm2d_backward_sums", "the shift", a->inputs[5], a->inputs[0]->shape[1], err));
    if (a->n_inputs > 6 && a->inputs[6])
        CVR_TRY(norm_check_like("batch_norm2d_backward_sums", a->inputs[0], a->inputs[6], err));
    return check_activation("batch_norm2d_backward_sums", attrs->activation, a, 6, err);
}

/* x, g, weight, mean, invstd, dweight, dbias */
static int32_t backward_apply_infer(const cvr_infer_args *a, cvr_error *err) {
    const int32_t status = norm_batch_check("batch_norm2d_backward_apply", a, 2, 6, err);
    *a->outputs[0] = *a->inputs[0];
    return status == CVR_OK ? norm_check_like("batch_norm2d_backward_apply", a->inputs[0], a->inputs[1], err) : status;
}

/* A multiplication and two additions. */
static double apply_flops(const cvr_infer_args *a) {
    return 3.0 * (double)cvr_numel(4, a->inputs[0]->shape);
}

static cvr_value input_of(const cvr_grad_args *a, uint32_t i) {
    return i < a->n_inputs ? a->inputs[i] : CVR_NONE;
}

/* Two passes, as every batch norm's gradient, but the first keeps what silu's exponentials made for the second. */
static int32_t silu_grad(const cvr_builder *b, cvr_grad_args *a, cvr_error *err) {
    const cvr_batch_norm2d_apply_attrs attrs = {CVR_ACTIVATION_SILU};
    const cvr_value x = a->inputs[0], weight = input_of(a, WEIGHT), mean = a->outputs[1], invstd = a->outputs[2];
    const cvr_value in[6] = {x, a->grad_outputs[0], weight, mean, invstd, input_of(a, BIAS)};
    cvr_value out[3], dx;
    const cvr_op_call sums = {.struct_size = sizeof sums,
                              .op = "batch_norm2d_backward_sums",
                              .attrs = &attrs,
                              .attrs_size = sizeof attrs,
                              .inputs = in,
                              .outputs = out,
                              .n_inputs = 6,
                              .n_outputs = 3};
    CVR_TRY(b->emit(b, &sums, err));
    const cvr_value apply[7] = {x, out[0], weight, mean, invstd, out[1], out[2]};
    CVR_TRY(cvr_emit(b, "batch_norm2d_backward_apply", NULL, 0, apply, 7, &dx, err));
    const cvr_value grads[3] = {dx, out[1], out[2]};
    for (uint32_t i = 0; i < 3 && i < a->n_inputs; i++) a->grad_inputs[i] = grads[i];
    return CVR_OK;
}

static int32_t act_grad(const cvr_builder *b, cvr_grad_args *a, cvr_error *err) {
    const cvr_batch_norm2d_act_attrs *attrs = a->attrs;
    const bool residual = a->n_inputs > 6 && a->inputs[6];
    const cvr_value in[7] = {
        a->inputs[0],  a->grad_outputs[0], a->n_inputs > 1 ? a->inputs[1] : CVR_NONE, a->outputs[1],
        a->outputs[2], a->outputs[0],      a->n_inputs > 2 ? a->inputs[2] : CVR_NONE};
    cvr_value out[4] = {CVR_NONE};
    const cvr_op_call call = {.struct_size = sizeof call,
                              .op = residual ? "batch_norm2d_add_act_backward" : "batch_norm2d_act_backward",
                              .attrs = a->attrs,
                              .attrs_size = sizeof(cvr_batch_norm2d_act_attrs),
                              .inputs = in,
                              .outputs = out,
                              .n_inputs = 7,
                              .n_outputs = residual ? 4 : 3};
    if (a->grad_outputs[0] == CVR_NONE) return CVR_OK;
    if (attrs->activation == CVR_ACTIVATION_SILU) return silu_grad(b, a, err);
    CVR_TRY(b->emit(b, &call, err));
    for (uint32_t i = 0; i < 3 && i < a->n_inputs; i++) a->grad_inputs[i] = out[i];
    if (residual) a->grad_inputs[6] = out[3];
    return CVR_OK;
}

/* y = a(batch_norm2d(x) + residual) */
static int32_t act_decompose(const cvr_builder *b, cvr_decompose_args *a, cvr_error *err) {
    const cvr_batch_norm2d_act_attrs *attrs = a->attrs;
    const cvr_batch_norm2d_attrs norm = {attrs->momentum, attrs->eps};
    const cvr_op_call call = {.struct_size = sizeof call,
                              .op = "batch_norm2d",
                              .attrs = &norm,
                              .attrs_size = sizeof norm,
                              .inputs = a->inputs,
                              .outputs = a->outputs,
                              .n_inputs = a->n_inputs > 6 ? 6 : a->n_inputs,
                              .n_outputs = 3};
    CVR_TRY(b->emit(b, &call, err));
    const cvr_value sum[2] = {a->outputs[0], a->n_inputs > 6 ? a->inputs[6] : CVR_NONE};
    if (sum[1]) CVR_TRY(cvr_emit(b, "add", NULL, 0, sum, 2, &a->outputs[0], err));
    const char *op = forward_ops[attrs->activation];
    const cvr_value before = a->outputs[0];
    if (op) CVR_TRY(cvr_emit(b, op, NULL, 0, &before, 1, &a->outputs[0], err));
    return CVR_OK;
}

/* dx, dweight, dbias of the normalisation by g = a_backward(y, grad), which is dresidual */
static int32_t act_backward_decompose(const cvr_builder *b, cvr_decompose_args *a, cvr_error *err) {
    const cvr_batch_norm2d_act_attrs *attrs = a->attrs;
    const char *op = backward_ops[attrs->activation];
    const cvr_value pair[2] = {a->inputs[5], a->inputs[1]};
    cvr_value in[5] = {a->inputs[0], a->inputs[1], a->inputs[2], a->inputs[3], a->inputs[4]};
    const cvr_op_call call = {.struct_size = sizeof call,
                              .op = "batch_norm2d_backward",
                              .inputs = in,
                              .outputs = a->outputs,
                              .n_inputs = 5,
                              .n_outputs = 3};
    if (op) CVR_TRY(cvr_emit(b, op, NULL, 0, pair, 2, &in[1], err));
    CVR_TRY(b->emit(b, &call, err));
    if (a->n_outputs > 3) a->outputs[3] = in[1];
    return CVR_OK;
}

static const cvr_recompute_trait act_recompute = {sizeof act_recompute, act_emit};
static const cvr_precision_trait two_gradients = {sizeof two_gradients, 1 | 1u << 3};
CVR_DEFINE_TRAITS(act_traits, {CVR_TRAIT_PRECISION, &cvr_precision_first}, {CVR_TRAIT_RECOMPUTE, &act_recompute})
CVR_DEFINE_TRAITS(add_act_backward_traits, {CVR_TRAIT_PRECISION, &two_gradients})

#define ACT_BACKWARD(name_, n_outputs_, traits_, doc_)                                                                 \
    {                                                                                                                  \
        .op = {                                                                                                        \
            .struct_size = sizeof(cvr_op_desc),                                                                        \
            .name = name_,                                                                                             \
            .version = 1,                                                                                              \
            .min_inputs = 6,                                                                                           \
            .max_inputs = 7,                                                                                           \
            .n_outputs = n_outputs_,                                                                                   \
            .n_attrs = 3,                                                                                              \
            .attrs = mask_attrs,                                                                                       \
            .optional = 1u << 2 | 1u << 6,                                                                             \
            .infer = act_backward_infer,                                                                               \
            .decompose = act_backward_decompose,                                                                       \
            .flops = norm_batch_flops,                                                                                 \
            .doc = doc_,                                                                                               \
            .trait = traits_                                                                                           \
        }                                                                                                              \
    }

static const cvr_reference_op ops[] = {
    {.op = {.struct_size = sizeof(cvr_op_desc),
            .name = "batch_norm2d_act",
            .version = 1,
            .min_inputs = 1,
            .max_inputs = 9,
            .n_outputs = 3,
            .n_attrs = 3,
            .attrs = act_attrs,
            .mutates = 1u << 3 | 1u << 4 | 1u << 5,
            .optional = 0x1FE,
            .infer = act_infer,
            .grad = act_grad,
            .decompose = act_decompose,
            .flops = norm_batch_flops,
            .doc = "y = activation(batch_norm2d(x) + residual)",
            .trait = act_traits}},
    {.op = {.struct_size = sizeof(cvr_op_desc),
            .name = "batch_norm2d_apply",
            .version = 1,
            .trait = cvr_traits_mixed,
            .min_inputs = 5,
            .max_inputs = 6,
            .n_outputs = 1,
            .n_attrs = 1,
            .attrs = apply_attrs,
            .optional = 1u << 1 | 1u << 2 | 1u << 5,
            .infer = apply_infer,
            .flops = apply_flops,
            .doc = "y of batch_norm2d_act, from the statistics that it left"},
     .reference = {sizeof(cvr_cpu_fn), norm_batch_apply_run},
     .inplace = 1},
    ACT_BACKWARD("batch_norm2d_act_backward", 3, cvr_traits_mixed,
                 "batch_norm2d_backward of the activation's backward"),
    ACT_BACKWARD("batch_norm2d_add_act_backward", 4, add_act_backward_traits,
                 "the same where a residual was added; its gradient is the activation's"),
    {.op = {.struct_size = sizeof(cvr_op_desc),
            .name = "batch_norm2d_backward_sums",
            .version = 1,
            .trait = cvr_traits_mixed,
            .min_inputs = 5,
            .max_inputs = 7,
            .n_outputs = 3,
            .n_attrs = 1,
            .attrs = apply_attrs,
            .optional = 1u << 2 | 1u << 5 | 1u << 6,
            .infer = sums_infer,
            .flops = apply_flops,
            .doc = "the gradient before the activation, and of scale and shift"},
     .reference = {sizeof(cvr_cpu_fn), norm_batch_backward_sums_run},
     .inplace = 1u << 1 | 1u << 6},
    {.op = {.struct_size = sizeof(cvr_op_desc),
            .name = "batch_norm2d_backward_apply",
            .version = 1,
            .trait = cvr_traits_mixed,
            .min_inputs = 7,
            .max_inputs = 7,
            .n_outputs = 1,
            .optional = 1u << 2,
            .infer = backward_apply_infer,
            .flops = apply_flops,
            .doc = "dx of batch_norm2d_backward, from the gradients of scale and shift"},
     .reference = {sizeof(cvr_cpu_fn), norm_batch_backward_apply_run},
     .inplace = 3},
};

const norm_family norm_batch_act = {ops, NULL, sizeof ops / sizeof *ops, 0};
