/* The CPU's kernels of the convolution ops: from ops to jobs (see conv2d.h and <cvr/plugin/ops/conv.h>). */
#include "conv2d.h"
#include "dense.h"

static conv_job gather_job(const cvr_signature *sig, int64_t transposed) {
    conv_job job = {.bf16 = conv_is_bf16(sig->inputs[0]), .prepacked = sig->prepared};
    conv_shape_of(&job.shape, sig->attrs, sig->inputs[0], sig->inputs[1], sig->outputs[0], transposed);
    conv_job_plan(&job);
    return job;
}

/* Bias: input 2, where the op has one. */
static conv_job gather_job_of(const cvr_kernel_args *a, int64_t transposed) {
    const cvr_tensor *bias = a->n_inputs > 2 ? a->inputs[2] : NULL;
    const cvr_signature sig = {.attrs = a->attrs,
                               .inputs = a->inputs,
                               .outputs = (const cvr_tensor *const *)a->outputs,
                               .prepared = a->prepared != NULL};
    conv_job job = gather_job(&sig, transposed);
    job.src = a->inputs[0]->data;
    job.weight = a->inputs[1]->data;
    job.bias = bias ? bias->data : NULL;
    job.dst = a->outputs[0]->data;
    return job;
}

static uint64_t gather_workspace(const cvr_signature *sig, int64_t transposed) {
    const conv_job job = gather_job(sig, transposed);
    return conv_job_workspace(&job, sig->n_workers);
}

static uint64_t gather_prepacked(const cvr_signature *sig, int64_t transposed) {
    const conv_job job = gather_job(sig, transposed);
    return conv_job_prepacked(&job);
}

static int32_t gather_pack(const cvr_kernel_args *a, int64_t transposed) {
    conv_job job = gather_job_of(a, transposed);
    conv_job_pack(&job, a->pool, a->prepared);
    return CVR_OK;
}

static int32_t gather_run(const cvr_kernel_args *a, int64_t transposed) {
    conv_job job = gather_job_of(a, transposed);
    conv_job_run(&job, a->pool, a->workspace, a->prepared);
    return CVR_OK;
}

/* conv2d: x (N,C,H,W), weight (K,C/g,R,S), [bias (K)] -> (N,K,P,Q); also conv_transpose2d_backward_input, where the
 * gradient is x. */
static uint64_t forward_workspace(const cvr_signature *sig) {
    return gather_workspace(sig, 0);
}

static uint64_t forward_prepacked(const cvr_signature *sig) {
    return gather_prepacked(sig, 0);
}

static int32_t forward_pack(const cvr_kernel_args *a, cvr_error *err) {
    (void)err;
    return gather_pack(a, 0);
}

static int32_t forward_run(const cvr_kernel_args *a, cvr_error *err) {
    (void)err;
    return gather_run(a, 0);
}

/* conv_transpose2d: x (N,C,H,W), weight (C,K/g,R,S), [bias (K)] -> (N,K,P,Q); also conv2d_backward_input, where the
 * gradient is x. */
static uint64_t transposed_workspace(const cvr_signature *sig) {
    return gather_workspace(sig, 1);
}

static uint64_t transposed_prepacked(const cvr_signature *sig) {
    return gather_prepacked(sig, 1);
}

static int32_t transposed_pack(const cvr_kernel_args *a, cvr_error *err) {
    (void)err;
    return gather_pack(a, 1);
}

static int32_t transposed_run(const cvr_kernel_args *a, cvr_error *err) {
    (void)err;
    return gather_run(a, 1);
}

/* conv2d_backward_weight: x (N,C,H,W), grad (N,K,P,Q) -> (K,C/g,R,S) */
static uint64_t weight_workspace(const cvr_signature *sig) {
    conv_shape shape;
    conv_shape_of(&shape, sig->attrs, sig->inputs[0], sig->outputs[0], sig->inputs[1], 0);
    return conv_weight_workspace(&shape, sig->n_workers);
}

static int32_t weight_run(const cvr_kernel_args *a, cvr_error *err) {
    conv_shape shape;
    (void)err;
    conv_shape_of(&shape, a->attrs, a->inputs[0], a->outputs[0], a->inputs[1], 0);
    const conv_weight_args args = {&shape, a->inputs[0]->data, a->inputs[1]->data, a->outputs[0]->data,
                                   conv_is_bf16(a->inputs[0])};
    conv_weight_run(&args, a->pool, a->workspace);
    return CVR_OK;
}

/* conv2d_backward_bias: grad (N,K,P,Q) -> (K) */
static int64_t pixels_of(const cvr_tensor *t) {
    return t->shape[0] * t->shape[2] * t->shape[3];
}

static uint64_t bias_workspace(const cvr_signature *sig) {
    return cpu_column_sum_workspace(pixels_of(sig->inputs[0]), sig->inputs[0]->shape[1]);
}

static int32_t bias_run(const cvr_kernel_args *a, cvr_error *err) {
    const cvr_tensor *grad = a->inputs[0];
    (void)err;
    cpu_column_sum(a->pool, grad->data, pixels_of(grad), grad->shape[1], a->outputs[0]->data, a->workspace);
    return CVR_OK;
}

#if CPU_BF16
#define CONV_FLAGS CPU_PRODUCT_FLAGS
#else
#define CONV_FLAGS (CPU_KERNEL_FLAGS | CVR_KERNEL_BF16)

/* Two pictures: all f32, or bf16 where depthwise or by Winograd. What else there is is f32. */
static int32_t fits(const conv_shape *shape, const cvr_tensor *a, const cvr_tensor *b, int64_t prepacked,
                    cvr_error *reason) {
    if (a->dtype == CVR_F32 && b->dtype == CVR_F32) return CVR_OK;
    if (a->dtype == CVR_BF16 && b->dtype == CVR_BF16 &&
        (conv_is_depthwise(shape) || conv_winograd_pays(shape, 1, prepacked)))
        return CVR_OK;
    return cvr_fail(reason, CVR_ERR_UNSUPPORTED, "bf16, and neither depthwise nor by Winograd");
}

static int32_t supports_gather(const cvr_signature *sig, int64_t transposed, cvr_error *reason) {
    conv_shape shape;
    conv_shape_of(&shape, sig->attrs, sig->inputs[0], sig->inputs[1], sig->outputs[0], transposed);
    return fits(&shape, sig->inputs[0], sig->outputs[0], sig->prepared, reason);
}

static int32_t conv_supports_forward(const cvr_signature *sig, cvr_error *reason) {
    return supports_gather(sig, 0, reason);
}

static int32_t conv_supports_transposed(const cvr_signature *sig, cvr_error *reason) {
    return supports_gather(sig, 1, reason);
}

static int32_t conv_supports_weight(const cvr_signature *sig, cvr_error *reason) {
    conv_shape shape;
    conv_shape_of(&shape, sig->attrs, sig->inputs[0], sig->outputs[0], sig->inputs[1], 0);
    return fits(&shape, sig->inputs[0], sig->inputs[1], 0, reason);
}
#endif

int32_t conv_supports_epilogue(const cvr_signature *sig, int64_t transposed, int depthwise, cvr_error *reason) {
    const uint32_t dtype = sig->inputs[0]->dtype;
    conv_shape shape;
    for (uint32_t i = 0; i < sig->n_inputs; i++) {
        const cvr_tensor *t = sig->inputs[i];
        if (t && t->dtype != (t->rank == 4 && i != 1 ? dtype : CVR_F32))
            return cvr_fail(reason, CVR_ERR_UNSUPPORTED, "input %u is %s", i, cvr_dtype_name(t->dtype));
    }
    if (sig->outputs[0]->dtype != dtype) return cvr_fail(reason, CVR_ERR_UNSUPPORTED, "activations of two types");
    conv_shape_of(&shape, sig->attrs, sig->inputs[0], sig->inputs[1], sig->outputs[0], transposed);
    if (conv_is_depthwise(&shape) && !depthwise)
        return cvr_fail(reason, CVR_ERR_UNSUPPORTED, "depthwise convolutions have no such epilogue");
    return transposed ? conv_supports_transposed(sig, reason) : conv_supports_forward(sig, reason);
}

static const cpu_preparation forward_preparation = {1u << 1, forward_prepacked, forward_pack};
static const cpu_preparation transposed_preparation = {1u << 1, transposed_prepacked, transposed_pack};
static const cpu_kernel kernels[] = {
    {"conv2d", forward_run, forward_workspace, conv_supports_forward, 0, CONV_FLAGS, &forward_preparation},
    {"conv2d_backward_input", transposed_run, transposed_workspace, conv_supports_transposed, 0, CONV_FLAGS,
     &transposed_preparation},
    {"conv2d_backward_weight", weight_run, weight_workspace, conv_supports_weight, 0, CONV_FLAGS, NULL},
    {"conv2d_backward_bias", bias_run, bias_workspace, CPU_LOW_SUPPORTS(cpu_bf16_supports_sum), 0, CPU_PRODUCT_FLAGS,
     NULL},
    {"conv_transpose2d", transposed_run, transposed_workspace, conv_supports_transposed, 0, CONV_FLAGS,
     &transposed_preparation},
    {"conv_transpose2d_backward_input", forward_run, forward_workspace, conv_supports_forward, 0, CONV_FLAGS,
     &forward_preparation},
};
const cpu_kernel_table cpu_conv_kernels = {kernels, sizeof kernels / sizeof *kernels};
