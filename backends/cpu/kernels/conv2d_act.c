/* conv2d_act on the CPU: batch norm, residual and activation in the convolution's epilogue (see conv2d.h). */
#include "conv2d.h"

#include <cvr/plugin/ops/norm.h>
#include <math.h>

enum { X, WEIGHT, BIAS, SCALE, SHIFT, MEAN, VAR, RESIDUAL };

static const float *floats(const cvr_kernel_args *a, uint32_t i) {
    return i < a->n_inputs && a->inputs[i] ? a->inputs[i]->data : NULL;
}

static int64_t vector_floats(const cvr_tensor *y) {
    return cpu_line_up(y->shape[1]);
}

static conv_job act_job(const cvr_signature *sig, const conv_epilogue *epilogue) {
    const cvr_conv2d_act_attrs *attrs = sig->attrs;
    conv_job job = {.epilogue = epilogue, .bf16 = conv_is_bf16(sig->inputs[X]), .prepacked = sig->prepared};
    conv_shape_of(&job.shape, &attrs->conv, sig->inputs[X], sig->inputs[WEIGHT], sig->outputs[0], 0);
    conv_job_plan(&job);
    return job;
}

static conv_job act_job_of(const cvr_kernel_args *a, const conv_epilogue *epilogue) {
    const cvr_signature sig = {.attrs = a->attrs,
                               .inputs = a->inputs,
                               .outputs = (const cvr_tensor *const *)a->outputs,
                               .prepared = a->prepared != NULL};
    conv_job job = act_job(&sig, epilogue);
    job.src = a->inputs[X]->data;
    job.weight = a->inputs[WEIGHT]->data;
    job.bias = floats(a, BIAS);
    job.dst = a->outputs[0]->data;
    return job;
}

static const conv_epilogue some_epilogue;

/* Workspace: scale and shift of the epilogue, then the convolution's. */
static uint64_t act_workspace(const cvr_signature *sig) {
    const conv_job job = act_job(sig, &some_epilogue);
    return 2 * (uint64_t)vector_floats(sig->outputs[0]) * sizeof(float) + conv_job_workspace(&job, sig->n_workers);
}

static uint64_t act_prepacked(const cvr_signature *sig) {
    const conv_job job = act_job(sig, &some_epilogue);
    return conv_job_prepacked(&job);
}

static int32_t act_pack(const cvr_kernel_args *a, cvr_error *err) {
    conv_job job = act_job_of(a, &some_epilogue);
    (void)err;
    conv_job_pack(&job, a->pool, a->prepared);
    return CVR_OK;
}

/* (y - mean) / sqrt(var + eps) * weight + bias as scale * y + shift */
static void norm_numbers(const cvr_kernel_args *a, double eps, float *scale, float *shift) {
    const float *weight = floats(a, SCALE), *bias = floats(a, SHIFT), *mean = floats(a, MEAN), *var = floats(a, VAR);
    for (int64_t c = 0; c < a->outputs[0]->shape[1]; c++) {
        const double s = (weight ? weight[c] : 1) / sqrt(var[c] + eps);
        scale[c] = (float)s;
        shift[c] = (float)((bias ? bias[c] : 0) - mean[c] * s);
    }
}

static int32_t act_run(const cvr_kernel_args *a, cvr_error *err) {
    const cvr_conv2d_act_attrs *attrs = a->attrs;
    float *scale = a->workspace, *shift = scale + vector_floats(a->outputs[0]);
    conv_epilogue epilogue = {.residual =
                                  a->n_inputs > RESIDUAL && a->inputs[RESIDUAL] ? a->inputs[RESIDUAL]->data : NULL,
                              .clamp = attrs->activation != CVR_ACTIVATION_NONE,
                              .hi = attrs->activation == CVR_ACTIVATION_RELU6 ? 6 : INFINITY};
    (void)err;
    if (floats(a, MEAN)) {
        norm_numbers(a, attrs->eps, scale, shift);
        epilogue.scale = scale;
        epilogue.shift = shift;
    }
    conv_job job = act_job_of(a, &epilogue);
    conv_job_run(&job, a->pool, shift + vector_floats(a->outputs[0]), a->prepared);
    return CVR_OK;
}

static int32_t act_supports(const cvr_signature *sig, cvr_error *reason) {
    return conv_supports_epilogue(sig, 0, sig->n_inputs <= RESIDUAL || !sig->inputs[RESIDUAL], reason);
}

static const cpu_preparation preparation = {1u << WEIGHT, act_prepacked, act_pack};
static const cpu_kernel kernels[] = {
    {"conv2d_act", act_run, act_workspace, act_supports, 0, CPU_PRODUCT_FLAGS | CVR_KERNEL_BF16, &preparation},
};
const cpu_kernel_table cpu_conv_act_kernels = {kernels, sizeof kernels / sizeof *kernels};
