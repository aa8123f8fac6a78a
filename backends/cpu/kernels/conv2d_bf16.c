/*
 * Which signatures the packs of bf16 products take: activations of the pack's type (gemm.h), f32 weights, biases and
 * gradients of weights. Three products for one are for programs that want them; others get f32.
 */
#include "conv2d.h"

static int is(const cvr_tensor *t, uint32_t dtype) {
    return !t || t->dtype == dtype;
}

static int32_t types(const cvr_signature *sig, int fit, cvr_error *reason) {
    if (CPU_PARTS > 1 && sig->math != CVR_MATH_BF16X3)
        return cvr_fail(reason, CVR_ERR_UNSUPPORTED, "only for precision=bf16x3");
    if (!fit)
        return cvr_fail(reason, CVR_ERR_UNSUPPORTED, "activations that are not %s, or weights not f32",
                        CPU_LOW ? "bf16" : "f32");
    return cpu_micro_works(reason);
}

/* What the packs of f32 do with bf16 pictures, and do faster: AMX's tiles are faster still. */
static int better_here(const conv_shape *shape, int64_t prepacked, cvr_error *reason) {
    if (conv_is_depthwise(shape))
        (void)cvr_fail(reason, CVR_ERR_UNSUPPORTED, "depthwise: no sums over channels to pair");
    else if (!CPU_AMX && conv_winograd_pays(shape, 1, prepacked))
        (void)cvr_fail(reason, CVR_ERR_UNSUPPORTED, "a quarter of the products, in f32, take less time");
    else
        return 1;
    return 0;
}

/* Activations, weight, vectors (f32), all of `conv`'s direction. */
static int32_t supports_gather(const cvr_signature *sig, int64_t transposed, cvr_error *reason) {
    const cvr_conv2d_attrs *attrs = sig->attrs; /* the first attributes of all these ops */
    const cvr_tensor *x = sig->inputs[0], *weight = sig->inputs[1], *y = sig->outputs[0];
    int fit = is(x, CPU_TYPE) && is(weight, CVR_F32) && is(y, CPU_TYPE);
    for (uint32_t i = 2; i < sig->n_inputs; i++)
        fit = fit && (!sig->inputs[i] || sig->inputs[i]->rank == 4 || is(sig->inputs[i], CVR_F32));
    if (!fit) return types(sig, 0, reason);
    conv_job job = {.epilogue = NULL};
    conv_shape_of(&job.shape, attrs, x, weight, y, transposed);
    if (!better_here(&job.shape, sig->prepared, reason)) return CVR_ERR_UNSUPPORTED;
    conv_job_plan(&job);
    if (!CPU_LOW || conv_most_steps(&job) <= CONV_STEPS_IN_REGISTERS) return types(sig, 1, reason);
    return cvr_fail(reason, CVR_ERR_UNSUPPORTED, "sums of over %d steps would be rounded in between",
                    CONV_STEPS_IN_REGISTERS);
}

int32_t conv_supports_forward(const cvr_signature *sig, cvr_error *reason) {
    return supports_gather(sig, 0, reason);
}

int32_t conv_supports_transposed(const cvr_signature *sig, cvr_error *reason) {
    return supports_gather(sig, 1, reason);
}

int32_t conv_supports_weight(const cvr_signature *sig, cvr_error *reason) {
    const cvr_tensor *x = sig->inputs[0], *grad = sig->inputs[1];
    if (!is(x, CPU_TYPE) || !is(grad, CPU_TYPE) || !is(sig->outputs[0], CVR_F32)) return types(sig, 0, reason);
    conv_shape shape;
    conv_shape_of(&shape, sig->attrs, x, sig->outputs[0], grad, 0);
    const int32_t status = types(sig, 1, reason);
    return status == CVR_OK && !better_here(&shape, 0, reason) ? CVR_ERR_UNSUPPORTED : status;
}

int32_t cpu_bf16_supports_sum(const cvr_signature *sig, cvr_error *reason) {
    if (CPU_PARTS > 1) return cvr_fail(reason, CVR_ERR_UNSUPPORTED, "a sum has no products");
    return types(sig, is(sig->inputs[0], CPU_TYPE) && is(sig->outputs[0], CVR_F32), reason);
}

/* The second operand and the result may be either; a gradient of a weight is f32 of two bf16. */
int32_t cpu_bf16_supports_dense(const cvr_signature *sig, cvr_error *reason) {
    const uint32_t b = sig->inputs[1]->dtype, c = sig->outputs[0]->dtype;
    const cvr_tensor *bias = sig->n_inputs > 2 ? sig->inputs[2] : NULL;
    const int known = (b == CPU_TYPE || b == CVR_F32) && (c == CPU_TYPE || c == CVR_F32);
    return types(sig, known && is(sig->inputs[0], CPU_TYPE) && is(bias, CVR_F32), reason);
}
