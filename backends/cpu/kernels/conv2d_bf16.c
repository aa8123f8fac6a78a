/* Which signatures the packs of bf16 take: bf16 activations and gradients, f32 weights, biases and gradients of
 * weights.
 */
#include "conv2d.h"

static int is(const cvr_tensor *t, uint32_t dtype) {
    return !t || t->dtype == dtype;
}

static int32_t types(int fit, cvr_error *reason) {
    if (!fit) return cvr_fail(reason, CVR_ERR_UNSUPPORTED, "activations that are not bf16, or weights not f32");
    return cpu_micro_works(reason);
}

/* Activations, weight, vectors (f32), all of `conv`'s direction. */
static int32_t supports_gather(const cvr_signature *sig, int64_t transposed, cvr_error *reason) {
    const cvr_conv2d_attrs *attrs = sig->attrs; /* the first attributes of all these ops */
    const cvr_tensor *x = sig->inputs[0], *weight = sig->inputs[1], *y = sig->outputs[0];
    int fit = is(x, CVR_BF16) && is(weight, CVR_F32) && is(y, CVR_BF16);
    for (uint32_t i = 2; i < sig->n_inputs; i++)
        fit = fit && (!sig->inputs[i] || sig->inputs[i]->rank == 4 || is(sig->inputs[i], CVR_F32));
    if (!fit) return types(0, reason);
    conv_job job = {.epilogue = NULL};
    conv_shape_of(&job.shape, attrs, x, weight, y, transposed);
    if (conv_is_depthwise(&job.shape))
        return cvr_fail(reason, CVR_ERR_UNSUPPORTED, "depthwise: no sums over channels to pair");
    conv_job_plan(&job);
    if (conv_most_steps(&job) <= CONV_STEPS_KEPT) return types(1, reason);
    return cvr_fail(reason, CVR_ERR_UNSUPPORTED, "sums of over %d steps would be rounded in between", CONV_STEPS_KEPT);
}

int32_t conv_supports_forward(const cvr_signature *sig, cvr_error *reason) {
    return supports_gather(sig, 0, reason);
}

int32_t conv_supports_transposed(const cvr_signature *sig, cvr_error *reason) {
    return supports_gather(sig, 1, reason);
}

int32_t conv_supports_weight(const cvr_signature *sig, cvr_error *reason) {
    const cvr_conv2d_attrs *attrs = sig->attrs;
    const cvr_tensor *x = sig->inputs[0], *grad = sig->inputs[1];
    const int fit = is(x, CVR_BF16) && is(grad, CVR_BF16) && is(sig->outputs[0], CVR_F32);
    if (fit && attrs->groups > 1 && attrs->groups == x->shape[1] && attrs->groups == grad->shape[1])
        return cvr_fail(reason, CVR_ERR_UNSUPPORTED, "depthwise: its products are no matrices");
    return types(fit, reason);
}

int32_t cpu_bf16_supports_sum(const cvr_signature *sig, cvr_error *reason) {
    return types(is(sig->inputs[0], CVR_BF16) && is(sig->outputs[0], CVR_F32), reason);
}

/* The second operand and the result may be either; a gradient of a weight is f32 of two bf16. */
int32_t cpu_bf16_supports_dense(const cvr_signature *sig, cvr_error *reason) {
    const uint32_t b = sig->inputs[1]->dtype, c = sig->outputs[0]->dtype;
    const cvr_tensor *bias = sig->n_inputs > 2 ? sig->inputs[2] : NULL;
    const int known = (b == CVR_BF16 || b == CVR_F32) && (c == CVR_BF16 || c == CVR_F32);
    return types(known && is(sig->inputs[0], CVR_BF16) && is(bias, CVR_F32), reason);
}
