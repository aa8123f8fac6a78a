/*
 * Batch normalisation on the CPU, alone and fused with a residual and an activation (see <cvr/plugin/ops/norm.h>): one
 * pass over memory for the sums (norm_columns.c), one for the output (norm_batch_rows.c).
 *
 *     y = clamp((x - mean) * scale + shift + residual),  scale = weight * invstd,  shift = bias
 *     g = grad where the clamp let y through, else 0 (silu: norm_batch_silu.c)
 *     dbias = sum of g,  dweight = sum of g * (x - mean) * invstd
 *     dx = weight * invstd * (g - dbias / m - (x - mean) * invstd * dweight / m),  m = pixels of the batch
 *
 * All coefficients of a channel are computed once, in double, into tables of floats that are as wide as a row of
 * norm_columns.c. So the inner loop, along a row, is vectorised whatever the number of channels.
 */
#include "norm_batch.h"
#include "cpu_stream.h"

#include <cvr/plugin/ops/norm.h>
#include <math.h>

/* Workspace: partial sums, two doubles a channel, then tables of floats, narrow and wide. */
typedef struct batch_work {
    columns c;
    double *partial, *first, *second;
    float *narrow, *wide;
} batch_work;

static columns batch_columns(const cvr_tensor *x) {
    return columns_of(1, x->shape[0] * x->shape[2] * x->shape[3], x->shape[1]);
}

/* x, or where it is absent what has its shape and type: the gradient. */
static const cvr_tensor *pictures_of(const cvr_tensor *const *inputs) {
    return inputs[inputs[0] ? 0 : 1];
}

static uint64_t batch_workspace(const cvr_signature *sig) {
    const columns c = batch_columns(pictures_of(sig->inputs));
    return columns_workspace(&c) + (uint64_t)c.channels * (2 * sizeof(double) + TABLES * sizeof(float)) +
           (uint64_t)c.width * TABLES * sizeof(float);
}

static batch_work batch_open(const cvr_kernel_args *a) {
    batch_work w = {.c = batch_columns(pictures_of(a->inputs)), .partial = a->workspace};
    w.first = w.partial + columns_workspace(&w.c) / sizeof(double);
    w.second = w.first + w.c.channels;
    w.narrow = (float *)(w.second + w.c.channels);
    w.wide = w.narrow + TABLES * w.c.channels;
    return w;
}

static clamp clamp_of(int64_t activation) {
    return (clamp){activation == CVR_ACTIVATION_RELU || activation == CVR_ACTIVATION_RELU6 ? 0 : -INFINITY,
                   activation == CVR_ACTIVATION_RELU6 ? 6 : INFINITY};
}

/* Not in place, where lines are in the cache already. */
static int streams(const cvr_kernel_args *a) {
    const cvr_tensor *out = a->outputs[0];
    for (uint32_t i = 0; i < a->n_inputs; i++)
        if (a->inputs[i] && a->inputs[i]->data == out->data) return 0;
    return cpu_streams(out->data, cpu_numel(out) * (int64_t)cvr_dtype_size(out->dtype));
}

static batch_job job_of(const cvr_kernel_args *a, const batch_work *w, int64_t activation) {
    return (batch_job){.x = pictures_of(a->inputs)->data,
                       .out = a->outputs[0]->data,
                       .bf16 = a->outputs[0]->dtype == CVR_BF16,
                       .stream = streams(a),
                       .clamp = clamp_of(activation),
                       .clamps = activation == CVR_ACTIVATION_RELU || activation == CVR_ACTIVATION_RELU6,
                       .silu = activation == CVR_ACTIVATION_SILU,
                       .tables = w->wide,
                       .width = w->c.width};
}

static float *narrow(const batch_work *w, int which) {
    return w->narrow + which * w->c.channels;
}

/* What y was made with, or is: tables up to SHIFT. */
static void forward_tables(const batch_work *w, const float *weight, const float *bias, const float *mean,
                           const float *invstd) {
    for (int64_t c = 0; c < w->c.channels; c++) {
        narrow(w, MEAN)[c] = mean[c];
        narrow(w, SCALE)[c] = invstd[c] * (weight ? weight[c] : 1);
        narrow(w, SHIFT)[c] = bias ? bias[c] : 0;
    }
    columns_widen(&w->c, w->narrow, GRAD_SCALE, w->wide);
}

/* ---- forward ---- */

typedef struct norm_numbers {
    double momentum, eps;
    int64_t activation;
} norm_numbers;

static void train(const cvr_kernel_args *a, norm_numbers p) {
    const batch_work w = batch_open(a);
    const float *weight = cpu_floats(a, 1), *bias = cpu_floats(a, 2);
    float *running_mean = cpu_floats(a, 3), *running_var = cpu_floats(a, 4);
    float *save_mean = a->outputs[1]->data, *save_invstd = a->outputs[2]->data;
    const double m = p.momentum, n = (double)w.c.rows;
    const float *mean_given = cpu_floats(a, 7), *var_given = cpu_floats(a, 8);
    if (!mean_given) columns_moments(&w.c, a->pool, a->inputs[0], w.partial, w.first, w.second);
    for (int64_t c = 0; mean_given && c < w.c.channels; c++) {
        w.first[c] = mean_given[c];
        w.second[c] = var_given[c];
    }
    for (int64_t c = 0; c < w.c.channels; c++) {
        const double mean = w.first[c], var = w.second[c], invstd = 1 / sqrt(var + p.eps);
        save_mean[c] = narrow(&w, MEAN)[c] = (float)mean;
        save_invstd[c] = (float)invstd;
        narrow(&w, SCALE)[c] = (float)invstd * (weight ? weight[c] : 1);
        narrow(&w, SHIFT)[c] = bias ? bias[c] : 0;
        if (running_mean) running_mean[c] = (float)((1 - m) * running_mean[c] + m * mean);
        if (running_var) running_var[c] = (float)((1 - m) * running_var[c] + m * var * n / (n - 1));
    }
    if (a->n_inputs > 5 && a->inputs[5]) *(int64_t *)a->inputs[5]->data += 1;
    batch_job job = job_of(a, &w, p.activation);
    job.residual = cpu_floats(a, 6);
    columns_widen(&w.c, w.narrow, GRAD_SCALE, w.wide);
    columns_apply(&w.c, a->pool, batch_forward_row, &job);
}

static int32_t batch_run(const cvr_kernel_args *a, cvr_error *err) {
    (void)err;
    const cvr_batch_norm2d_attrs *attrs = a->attrs;
    train(a, (norm_numbers){attrs->momentum, attrs->eps, CVR_ACTIVATION_NONE});
    return CVR_OK;
}

static int32_t act_run(const cvr_kernel_args *a, cvr_error *err) {
    (void)err;
    const cvr_batch_norm2d_act_attrs *attrs = a->attrs;
    train(a, (norm_numbers){attrs->momentum, attrs->eps, attrs->activation});
    return CVR_OK;
}

static int32_t stats_run(const cvr_kernel_args *a, cvr_error *err) {
    (void)err;
    const batch_work w = batch_open(a);
    float *mean = a->outputs[0]->data, *var = a->outputs[1]->data;
    columns_moments(&w.c, a->pool, a->inputs[0], w.partial, w.first, w.second);
    for (int64_t c = 0; c < w.c.channels; c++) {
        mean[c] = (float)w.first[c];
        var[c] = (float)w.second[c];
    }
    return CVR_OK;
}

/* The same numbers as train() has them. */
static int32_t apply_run(const cvr_kernel_args *a, cvr_error *err) {
    (void)err;
    const cvr_batch_norm2d_apply_attrs *attrs = a->attrs;
    const batch_work w = batch_open(a);
    batch_job job = job_of(a, &w, attrs->activation);
    job.residual = cpu_floats(a, 5);
    forward_tables(&w, cpu_floats(a, 1), cpu_floats(a, 2), cpu_floats(a, 3), cpu_floats(a, 4));
    columns_apply(&w.c, a->pool, batch_forward_row, &job);
    return CVR_OK;
}

static int32_t inference_run(const cvr_kernel_args *a, cvr_error *err) {
    (void)err;
    const cvr_batch_norm2d_inference_attrs *attrs = a->attrs;
    const batch_work w = batch_open(a);
    const float *weight = cpu_floats(a, 1), *bias = cpu_floats(a, 2), *mean = cpu_floats(a, 3), *var = cpu_floats(a, 4);
    for (int64_t c = 0; c < w.c.channels; c++) {
        narrow(&w, MEAN)[c] = mean[c];
        narrow(&w, SCALE)[c] = (float)((weight ? weight[c] : 1) / sqrt(var[c] + attrs->eps));
        narrow(&w, SHIFT)[c] = bias ? bias[c] : 0;
    }
    batch_job job = job_of(a, &w, CVR_ACTIVATION_NONE);
    columns_widen(&w.c, w.narrow, GRAD_SCALE, w.wide);
    columns_apply(&w.c, a->pool, batch_forward_row, &job);
    return CVR_OK;
}

/* ---- backward: x, grad, weight, mean, invstd, [y, bias] ---- */

/* The first pass: sums of the masked gradient, and of it times xhat = (x - mean) * invstd. */
static void gradient_sums(const cvr_kernel_args *a, const batch_work *w, const batch_job *job, const float *mean,
                          const float *invstd) {
    float *dweight = a->outputs[1]->data, *dbias = a->outputs[2]->data;
    columns_products(&w->c, a->pool, batch_gradient_row, job, mean, w->partial, w->first, w->second);
    for (int64_t c = 0; c < w->c.channels; c++) {
        w->second[c] *= (double)invstd[c];
        dbias[c] = (float)w->first[c];
        dweight[c] = (float)w->second[c];
    }
}

/* The second: dx = weight * invstd * (grad - first / M - xhat * second / M) */
static void gradient_apply(const cvr_kernel_args *a, const batch_work *w, batch_job *job, const float *weight,
                           const float *invstds) {
    for (int64_t c = 0; c < w->c.channels; c++) {
        const double invstd = invstds[c], grad_scale = invstd * (weight ? weight[c] : 1), m = (double)w->c.rows;
        narrow(w, GRAD_SCALE)[c] = (float)grad_scale;
        narrow(w, X_SCALE)[c] = (float)(-grad_scale * invstd * w->second[c] / m);
        narrow(w, OFFSET)[c] = (float)(-grad_scale * w->first[c] / m);
    }
    columns_widen(&w->c, w->narrow, TABLES, w->wide);
    columns_apply(&w->c, a->pool, batch_backward_row, job);
}

static void train_backward(const cvr_kernel_args *a, int64_t activation) {
    const batch_work w = batch_open(a);
    const float *weight = cpu_floats(a, 2), *mean = cpu_floats(a, 3), *invstd = cpu_floats(a, 4);
    batch_job job = job_of(a, &w, activation);
    job.grad = a->inputs[1]->data;
    job.masked = a->n_outputs > 3 ? a->outputs[3]->data : NULL;
    job.y = job.masked ? a->inputs[5]->data : NULL;
    forward_tables(&w, weight, cpu_floats(a, 6), mean, invstd);
    gradient_sums(a, &w, &job, mean, invstd);
    gradient_apply(a, &w, &job, weight, invstd);
}

static int32_t backward_run(const cvr_kernel_args *a, cvr_error *err) {
    (void)err;
    train_backward(a, CVR_ACTIVATION_NONE);
    return CVR_OK;
}

static int32_t act_backward_run(const cvr_kernel_args *a, cvr_error *err) {
    (void)err;
    const cvr_batch_norm2d_act_attrs *attrs = a->attrs;
    train_backward(a, attrs->activation);
    return CVR_OK;
}

/* x, grad, weight, mean, invstd, bias, y: the first pass alone */
static int32_t backward_sums_run(const cvr_kernel_args *a, cvr_error *err) {
    (void)err;
    const cvr_batch_norm2d_apply_attrs *attrs = a->attrs;
    const batch_work w = batch_open(a);
    const float *mean = cpu_floats(a, 3), *invstd = cpu_floats(a, 4);
    batch_job job = job_of(a, &w, attrs->activation);
    job.grad = a->inputs[1]->data;
    job.masked = a->outputs[0]->data;
    job.y = cpu_floats(a, 6);
    forward_tables(&w, cpu_floats(a, 2), cpu_floats(a, 5), mean, invstd);
    gradient_sums(a, &w, &job, mean, invstd);
    return CVR_OK;
}

/* x, g, weight, mean, invstd, dweight, dbias: the second */
static int32_t backward_apply_run(const cvr_kernel_args *a, cvr_error *err) {
    (void)err;
    const batch_work w = batch_open(a);
    const float *weight = cpu_floats(a, 2), *invstd = cpu_floats(a, 4);
    const float *dweight = cpu_floats(a, 5), *dbias = cpu_floats(a, 6);
    batch_job job = job_of(a, &w, CVR_ACTIVATION_NONE);
    job.grad = a->inputs[1]->data;
    for (int64_t c = 0; c < w.c.channels; c++) {
        w.first[c] = dbias[c];
        w.second[c] = dweight[c];
    }
    forward_tables(&w, weight, NULL, cpu_floats(a, 3), invstd);
    gradient_apply(a, &w, &job, weight, invstd);
    return CVR_OK;
}

/* dx = grad * weight / sqrt(running_var + eps). Without x that is all, in one pass. */
static int32_t inference_backward_run(const cvr_kernel_args *a, cvr_error *err) {
    (void)err;
    const cvr_batch_norm2d_inference_attrs *attrs = a->attrs;
    const batch_work w = batch_open(a);
    const float *weight = cpu_floats(a, 2), *mean = cpu_floats(a, 3), *var = cpu_floats(a, 4);
    float *dweight = a->outputs[1]->data, *dbias = a->outputs[2]->data;
    batch_job job = job_of(a, &w, CVR_ACTIVATION_NONE);
    job.grad = a->inputs[1]->data;
    if (a->inputs[0])
        columns_products(&w.c, a->pool, batch_gradient_row, &job, mean, w.partial, w.first, w.second);
    else
        memset(w.first, 0, 2 * (uint64_t)w.c.channels * sizeof *w.first); /* and w.second, behind it */
    for (int64_t c = 0; c < w.c.channels; c++) {
        const double invstd = 1 / sqrt(var[c] + attrs->eps);
        dbias[c] = (float)w.first[c];
        dweight[c] = (float)(w.second[c] * invstd);
        narrow(&w, MEAN)[c] = mean[c];
        narrow(&w, SCALE)[c] = narrow(&w, SHIFT)[c] = narrow(&w, X_SCALE)[c] = narrow(&w, OFFSET)[c] = 0;
        narrow(&w, GRAD_SCALE)[c] = (float)(invstd * (weight ? weight[c] : 1));
    }
    columns_widen(&w.c, w.narrow, TABLES, w.wide);
    columns_apply(&w.c, a->pool, batch_backward_row, &job);
    return CVR_OK;
}

/* Pictures are all f32 or all bf16; vectors are f32. */
static int32_t supports(const cvr_signature *sig, cvr_error *reason) {
    for (uint32_t i = 0; i < sig->n_inputs; i++) {
        const cvr_tensor *t = sig->inputs[i];
        if (t && t->dtype != (t->rank == 4 ? pictures_of(sig->inputs)->dtype : t->rank == 1 ? CVR_F32 : CVR_I64))
            return cvr_fail(reason, CVR_ERR_UNSUPPORTED, "input %u is %s", i, cvr_dtype_name(t->dtype));
    }
    return CVR_OK;
}

#define NORM_FLAGS (CPU_KERNEL_FLAGS | CVR_KERNEL_BF16)
static const cpu_kernel kernels[] = {
    {"batch_norm2d", batch_run, batch_workspace, supports, 0, NORM_FLAGS, NULL},
    {"batch_norm2d_backward", backward_run, batch_workspace, supports, 3, NORM_FLAGS, NULL},
    {"batch_norm2d_inference", inference_run, batch_workspace, supports, 1, NORM_FLAGS, NULL},
    {"batch_norm2d_inference_backward", inference_backward_run, batch_workspace, supports, 3, NORM_FLAGS, NULL},
    {"batch_norm2d_act", act_run, batch_workspace, supports, 1u << 6, NORM_FLAGS, NULL},
    {"batch_norm2d_stats", stats_run, batch_workspace, supports, 0, NORM_FLAGS, NULL},
    {"batch_norm2d_apply", apply_run, batch_workspace, supports, 1 | 1u << 5, NORM_FLAGS, NULL},
    {"batch_norm2d_backward_sums", backward_sums_run, batch_workspace, supports, 1u << 1 | 1u << 6, NORM_FLAGS, NULL},
    {"batch_norm2d_backward_apply", backward_apply_run, batch_workspace, supports, 3, NORM_FLAGS, NULL},
    {"batch_norm2d_act_backward", act_backward_run, batch_workspace, supports, 3 | 1u << 5, NORM_FLAGS, NULL},
    {"batch_norm2d_add_act_backward", act_backward_run, batch_workspace, supports, 3 | 1u << 5, NORM_FLAGS, NULL},
};
const cpu_kernel_table cpu_norm_batch_kernels = {kernels, sizeof kernels / sizeof *kernels};
