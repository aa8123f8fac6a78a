/*
 * conv2d_backward_input_norm on the CPU: the sum with another gradient, the activation's mask and the batch norm's sums
 * in the epilogue of the data gradient (see conv2d.h).
 */
#include "conv2d.h"

#include <cvr/plugin/ops/norm.h>
#include <math.h>

enum { GRAD, WEIGHT, OTHER, X, SCALE, MEAN, INVSTD, SHIFT, Y };

static const void *data_of(const cvr_kernel_args *a, uint32_t i) {
    return i < a->n_inputs && a->inputs[i] ? a->inputs[i]->data : NULL;
}

static conv_job norm_job(const cvr_signature *sig, const conv_epilogue *epilogue) {
    conv_job job = {.epilogue = epilogue, .bf16 = conv_is_bf16(sig->inputs[GRAD])};
    conv_shape_of(&job.shape, sig->attrs, sig->inputs[GRAD], sig->inputs[WEIGHT], sig->outputs[0], 1);
    conv_job_plan(&job);
    return job;
}

/* Workspace: both sums and the norm's scale, then the convolution's. */
static uint64_t norm_workspace(const cvr_signature *sig) {
    static const conv_norm some_norm;
    const conv_epilogue epilogue = {.norm = &some_norm};
    const conv_job job = norm_job(sig, &epilogue);
    return (uint64_t)cpu_line_up(sig->outputs[0]->shape[1]) * (2 * sizeof(double) + sizeof(float)) +
           conv_job_workspace(&job, sig->n_workers);
}

static int32_t norm_run(const cvr_kernel_args *a, cvr_error *err) {
    const cvr_conv2d_backward_input_norm_attrs *attrs = a->attrs;
    const int64_t channels = a->outputs[0]->shape[1], line = cpu_line_up(channels);
    const float *weight = data_of(a, SCALE), *invstd = data_of(a, INVSTD);
    double *sum = a->workspace, *product = sum + line;
    float *scale = (float *)(void *)(product + line);
    (void)err;
    for (int64_t c = 0; c < channels; c++) scale[c] = invstd[c] * (weight ? weight[c] : 1);
    const conv_norm norm = {.x = data_of(a, X),
                            .y = data_of(a, Y),
                            .mean = data_of(a, MEAN),
                            .scale = scale,
                            .shift = data_of(a, SHIFT),
                            .sum = sum,
                            .product = product,
                            .clamps = attrs->activation != CVR_ACTIVATION_NONE,
                            .hi = attrs->activation == CVR_ACTIVATION_RELU6 ? 6 : INFINITY};
    const conv_epilogue epilogue = {.residual = data_of(a, OTHER), .norm = &norm};
    const cvr_signature sig = {
        .attrs = a->attrs, .inputs = a->inputs, .outputs = (const cvr_tensor *const *)a->outputs};
    conv_job job = norm_job(&sig, &epilogue);
    job.src = a->inputs[GRAD]->data;
    job.weight = a->inputs[WEIGHT]->data;
    job.dst = a->outputs[0]->data;
    conv_job_run(&job, a->pool, scale + line, NULL);
    for (int64_t c = 0; c < channels; c++) {
        ((float *)a->outputs[1]->data)[c] = (float)(product[c] * invstd[c]);
        ((float *)a->outputs[2]->data)[c] = (float)sum[c];
    }
    return CVR_OK;
}

static int32_t norm_supports(const cvr_signature *sig, cvr_error *reason) {
    return conv_supports_epilogue(sig, 1, 0, reason);
}

static const cpu_kernel kernels[] = {
    {"conv2d_backward_input_norm", norm_run, norm_workspace, norm_supports, 0, CPU_PRODUCT_FLAGS | CVR_KERNEL_BF16,
     NULL},
};
const cpu_kernel_table cpu_conv_norm_kernels = {kernels, sizeof kernels / sizeof *kernels};
