/* Batch normalisation on the CPU (see <cvr/plugin/ops/norm.h>): one pass for the sums, one for the output. */
#include "norm_columns.h"

#include <cvr/plugin/ops/norm.h>
#include <math.h>

#define TABLES 4

/* Workspace: partial sums, two doubles a channel, then tables of floats, narrow and wide. */
typedef struct batch_work {
    columns c;
    double *partial, *first, *second;
    float *narrow, *wide;
} batch_work;

static columns batch_columns(const cvr_tensor *x) {
    return columns_of(1, x->shape[0] * x->shape[2] * x->shape[3], x->shape[1]);
}

static uint64_t batch_workspace(const cvr_signature *sig) {
    const columns c = batch_columns(sig->inputs[0]);
    return columns_workspace(&c) + (uint64_t)c.channels * (2 * sizeof(double) + TABLES * sizeof(float)) +
           (uint64_t)c.width * TABLES * sizeof(float);
}

static batch_work batch_open(const cvr_kernel_args *a) {
    batch_work w = {.c = batch_columns(a->inputs[0]), .partial = a->workspace};
    w.first = w.partial + columns_workspace(&w.c) / sizeof(double);
    w.second = w.first + w.c.channels;
    w.narrow = (float *)(w.second + w.c.channels);
    w.wide = w.narrow + TABLES * w.c.channels;
    return w;
}

typedef struct batch_job {
    const float *x, *grad;
    float *y;
    const float *tables; /* (TABLES, width): mean, scale, shift; or mean, own, slope, level */
    int64_t width;
} batch_job;

/* y = (x - mean) * scale + shift */
static void scale_row(void *ctx, int64_t segment, int64_t at, int64_t n) {
    (void)segment;
    const batch_job *job = ctx;
    const float *mean = job->tables, *scale = mean + job->width, *shift = scale + job->width, *x = job->x + at;
    float *y = job->y + at;
    CPU_INDEPENDENT
    for (int64_t k = 0; k < n; k++) y[k] = (x[k] - mean[k]) * scale[k] + shift[k];
}

static void run_scale(const cvr_kernel_args *a, const batch_work *w) {
    batch_job job = {a->inputs[0]->data, NULL, a->outputs[0]->data, w->wide, w->c.width};
    columns_widen(&w->c, w->narrow, TABLES - 1, w->wide);
    columns_apply(&w->c, a->pool, scale_row, &job);
}

static int32_t batch_run(const cvr_kernel_args *a, cvr_error *err) {
    (void)err;
    const cvr_batch_norm2d_attrs *attrs = a->attrs;
    const batch_work w = batch_open(a);
    const float *weight = cpu_floats(a, 1), *bias = cpu_floats(a, 2);
    float *running_mean = cpu_floats(a, 3), *running_var = cpu_floats(a, 4);
    float *save_mean = a->outputs[1]->data, *save_invstd = a->outputs[2]->data;
    const double m = attrs->momentum, n = (double)w.c.rows;
    const int64_t channels = w.c.channels;
    columns_moments(&w.c, a->pool, a->inputs[0]->data, w.partial, w.first, w.second);
    for (int64_t c = 0; c < channels; c++) {
        const double mean = w.first[c], var = w.second[c], invstd = 1 / sqrt(var + attrs->eps);
        save_mean[c] = w.narrow[c] = (float)mean;
        save_invstd[c] = (float)invstd;
        w.narrow[channels + c] = (float)(invstd * (weight ? weight[c] : 1));
        w.narrow[2 * channels + c] = bias ? bias[c] : 0;
        if (running_mean) running_mean[c] = (float)((1 - m) * running_mean[c] + m * mean);
        if (running_var) running_var[c] = (float)((1 - m) * running_var[c] + m * var * n / (n - 1));
    }
    if (a->n_inputs > 5 && a->inputs[5]) *(int64_t *)a->inputs[5]->data += 1;
    run_scale(a, &w);
    return CVR_OK;
}

static int32_t inference_run(const cvr_kernel_args *a, cvr_error *err) {
    (void)err;
    const cvr_batch_norm2d_inference_attrs *attrs = a->attrs;
    const batch_work w = batch_open(a);
    const float *weight = cpu_floats(a, 1), *bias = cpu_floats(a, 2), *mean = cpu_floats(a, 3), *var = cpu_floats(a, 4);
    const int64_t channels = w.c.channels;
    for (int64_t c = 0; c < channels; c++) {
        w.narrow[c] = mean[c];
        w.narrow[channels + c] = (float)((weight ? weight[c] : 1) / sqrt(var[c] + attrs->eps));
        w.narrow[2 * channels + c] = bias ? bias[c] : 0;
    }
    run_scale(a, &w);
    return CVR_OK;
}

/* dx = grad * own + (x - mean) * slope + level */
static void gradient_row(void *ctx, int64_t segment, int64_t at, int64_t n) {
    (void)segment;
    const batch_job *job = ctx;
    const float *mean = job->tables, *own = mean + job->width, *slope = own + job->width, *level = slope + job->width;
    const float *x = job->x + at, *g = job->grad + at;
    float *dx = job->y + at;
    CPU_INDEPENDENT
    for (int64_t k = 0; k < n; k++) dx[k] = g[k] * own[k] + (x[k] - mean[k]) * slope[k] + level[k];
}

static void run_gradient(const cvr_kernel_args *a, const batch_work *w) {
    batch_job job = {a->inputs[0]->data, a->inputs[1]->data, a->outputs[0]->data, w->wide, w->c.width};
    columns_widen(&w->c, w->narrow, TABLES, w->wide);
    columns_apply(&w->c, a->pool, gradient_row, &job);
}

/* dx = weight * invstd * (grad - sum(grad) / M - xhat * sum(grad * xhat) / M), xhat = (x - mean) * invstd */
static int32_t backward_run(const cvr_kernel_args *a, cvr_error *err) {
    (void)err;
    const batch_work w = batch_open(a);
    const float *weight = cpu_floats(a, 2), *means = cpu_floats(a, 3), *invstds = cpu_floats(a, 4);
    float *dweight = a->outputs[1]->data, *dbias = a->outputs[2]->data;
    const int64_t channels = w.c.channels;
    columns_products(&w.c, a->pool, a->inputs[0]->data, a->inputs[1]->data, means, w.partial, w.first, w.second);
    for (int64_t c = 0; c < channels; c++) {
        const double invstd = invstds[c], m = (double)w.c.rows;
        const double own = invstd * (weight ? weight[c] : 1), slope = -own * invstd * invstd * w.second[c] / m;
        dbias[c] = (float)w.first[c];
        dweight[c] = (float)(w.second[c] * invstd);
        w.narrow[c] = means[c];
        w.narrow[channels + c] = (float)own;
        w.narrow[2 * channels + c] = (float)slope;
        w.narrow[3 * channels + c] = (float)(-own * w.first[c] / m);
    }
    run_gradient(a, &w);
    return CVR_OK;
}

/* dx = grad * weight / sqrt(running_var + eps) */
static int32_t inference_backward_run(const cvr_kernel_args *a, cvr_error *err) {
    (void)err;
    const cvr_batch_norm2d_inference_attrs *attrs = a->attrs;
    const batch_work w = batch_open(a);
    const float *weight = cpu_floats(a, 2), *mean = cpu_floats(a, 3), *var = cpu_floats(a, 4);
    float *dweight = a->outputs[1]->data, *dbias = a->outputs[2]->data;
    const int64_t channels = w.c.channels;
    columns_products(&w.c, a->pool, a->inputs[0]->data, a->inputs[1]->data, mean, w.partial, w.first, w.second);
    for (int64_t c = 0; c < channels; c++) {
        const double invstd = 1 / sqrt(var[c] + attrs->eps);
        dbias[c] = (float)w.first[c];
        dweight[c] = (float)(w.second[c] * invstd);
        w.narrow[c] = mean[c];
        w.narrow[channels + c] = (float)(invstd * (weight ? weight[c] : 1));
        w.narrow[2 * channels + c] = 0;
        w.narrow[3 * channels + c] = 0;
    }
    run_gradient(a, &w);
    return CVR_OK;
}

static const cpu_kernel kernels[] = {
    {"batch_norm2d", batch_run, batch_workspace, NULL, 0, CPU_KERNEL_FLAGS, 1},
    {"batch_norm2d_backward", backward_run, batch_workspace, NULL, 3, CPU_KERNEL_FLAGS, 1},
    {"batch_norm2d_inference", inference_run, batch_workspace, NULL, 1, CPU_KERNEL_FLAGS, 1},
    {"batch_norm2d_inference_backward", inference_backward_run, batch_workspace, NULL, 3, CPU_KERNEL_FLAGS, 1},
};
const cpu_kernel_table cpu_norm_batch_kernels = {kernels, sizeof kernels / sizeof *kernels};
