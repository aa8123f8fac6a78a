/*
 * conv2d_stats on the CPU: a convolution whose epilogue (see conv2d.h and conv2d_epilogue.c) also sums up its results
 * while they are in the first-level cache. mean and var (C) of each channel are combined in double in the workspace and
 * rounded to f32 at the end, so that batch norm need not read the results for them.
 */
#include "conv2d.h"

enum { X, WEIGHT, BIAS };

static conv_job stats_job(const cvr_signature *sig, const conv_epilogue *epilogue) {
    conv_job job = {.epilogue = epilogue, .bf16 = conv_is_bf16(sig->inputs[X])};
    conv_shape_of(&job.shape, sig->attrs, sig->inputs[X], sig->inputs[WEIGHT], sig->outputs[0], 0);
    conv_job_plan(&job);
    return job;
}

/* Workspace: mean and variance, then the convolution's. */
static uint64_t stats_workspace(const cvr_signature *sig) {
    double wanted;
    const conv_epilogue epilogue = {.mean = &wanted};
    const conv_job job = stats_job(sig, &epilogue);
    return 2 * (uint64_t)cpu_line_up(sig->outputs[0]->shape[1]) * sizeof(double) +
           conv_job_workspace(&job, sig->n_workers);
}

static int32_t stats_run(const cvr_kernel_args *a, cvr_error *err) {
    const int64_t channels = a->outputs[0]->shape[1];
    double *mean = a->workspace, *var = mean + cpu_line_up(channels);
    const conv_epilogue epilogue = {.mean = mean, .var = var};
    const cvr_signature sig = {
        .attrs = a->attrs, .inputs = a->inputs, .outputs = (const cvr_tensor *const *)a->outputs};
    const cvr_tensor *bias = a->n_inputs > BIAS ? a->inputs[BIAS] : NULL;
    conv_job job = stats_job(&sig, &epilogue);
    (void)err;
    job.src = a->inputs[X]->data;
    job.weight = a->inputs[WEIGHT]->data;
    job.bias = bias ? bias->data : NULL;
    job.dst = a->outputs[0]->data;
    conv_job_run(&job, a->pool, var + cpu_line_up(channels), NULL);
    for (int64_t c = 0; c < channels; c++) {
        ((float *)a->outputs[1]->data)[c] = (float)mean[c];
        ((float *)a->outputs[2]->data)[c] = (float)var[c];
    }
    return CVR_OK;
}

static int32_t stats_supports(const cvr_signature *sig, cvr_error *reason) {
    return conv_supports_epilogue(sig, 0, 0, reason);
}

static const cpu_kernel kernels[] = {
    {"conv2d_stats", stats_run, stats_workspace, stats_supports, 0, CPU_PRODUCT_FLAGS | CVR_KERNEL_BF16, NULL},
};
const cpu_kernel_table cpu_conv_stats_kernels = {kernels, sizeof kernels / sizeof *kernels};
