/* Batch normalisation, plainly: a channel at a time, sums in double (formulas in ops/norm.h). */
#include "norm_family.h"

/* x (N,C,H,W) in memory: `pixels` = N*H*W rows of `channels` */
typedef struct plane {
    int64_t pixels, channels;
} plane;

static plane plane_of(const cvr_tensor *x) {
    return (plane){x->shape[0] * x->shape[2] * x->shape[3], x->shape[1]};
}

/* mean and biased variance of channel c */
static void moments(const float *x, plane p, int64_t c, double *mean, double *var) {
    double sum = 0, square = 0;
    for (int64_t i = 0; i < p.pixels; i++) sum += x[i * p.channels + c];
    *mean = sum / (double)p.pixels;
    for (int64_t i = 0; i < p.pixels; i++) {
        const double d = x[i * p.channels + c] - *mean;
        square += d * d;
    }
    *var = square / (double)p.pixels;
}

/* y = (x - mean) * invstd * weight + bias */
static void normalise(const cvr_kernel_args *a, int64_t c, double mean, double invstd) {
    const plane p = plane_of(a->inputs[0]);
    const float *x = a->inputs[0]->data, *weight = norm_in(a, 1), *bias = norm_in(a, 2);
    float *y = a->outputs[0]->data;
    for (int64_t i = c; i < p.pixels * p.channels; i += p.channels)
        y[i] = (float)((x[i] - mean) * invstd * (weight ? weight[c] : 1) + (bias ? bias[c] : 0));
}

int32_t norm_batch_run(const cvr_kernel_args *a, cvr_error *err) {
    (void)err;
    const cvr_batch_norm2d_attrs *attrs = a->attrs;
    const plane p = plane_of(a->inputs[0]);
    float *running_mean = a->n_inputs > 3 && a->inputs[3] ? a->inputs[3]->data : NULL;
    float *running_var = a->n_inputs > 4 && a->inputs[4] ? a->inputs[4]->data : NULL;
    const double m = attrs->momentum, n = (double)p.pixels;
    for (int64_t c = 0; c < p.channels; c++) {
        double mean, var;
        moments(a->inputs[0]->data, p, c, &mean, &var);
        const double invstd = 1 / sqrt(var + attrs->eps);
        normalise(a, c, (float)mean, (float)invstd); /* the numbers that it leaves: batch_norm2d_apply has no others */
        ((float *)a->outputs[1]->data)[c] = (float)mean;
        ((float *)a->outputs[2]->data)[c] = (float)invstd;
        if (running_mean) running_mean[c] = (float)((1 - m) * running_mean[c] + m * mean);
        if (running_var) running_var[c] = (float)((1 - m) * running_var[c] + m * var * n / (n - 1));
    }
    if (a->n_inputs > 5 && a->inputs[5]) *(int64_t *)a->inputs[5]->data += 1;
    return CVR_OK;
}

int32_t norm_batch_stats_run(const cvr_kernel_args *a, cvr_error *err) {
    (void)err;
    const plane p = plane_of(a->inputs[0]);
    for (int64_t c = 0; c < p.channels; c++) {
        double mean, var;
        moments(a->inputs[0]->data, p, c, &mean, &var);
        ((float *)a->outputs[0]->data)[c] = (float)mean;
        ((float *)a->outputs[1]->data)[c] = (float)var;
    }
    return CVR_OK;
}

static double sigmoid(double x) {
    return 1 / (1 + exp(-x));
}

/* y = a(normalise(x) + residual) */
int32_t norm_batch_apply_run(const cvr_kernel_args *a, cvr_error *err) {
    (void)err;
    const cvr_batch_norm2d_apply_attrs *attrs = a->attrs;
    const float *mean = norm_in(a, 3), *invstd = norm_in(a, 4), *residual = norm_in(a, 5);
    const int64_t n = cvr_numel(4, a->outputs[0]->shape);
    float *y = a->outputs[0]->data;
    for (int64_t c = 0; c < a->inputs[0]->shape[1]; c++) normalise(a, c, mean[c], invstd[c]);
    for (int64_t i = 0; i < n; i++) {
        if (residual) y[i] += residual[i];
        if ((attrs->activation == CVR_ACTIVATION_RELU || attrs->activation == CVR_ACTIVATION_RELU6) && y[i] < 0)
            y[i] = 0;
        if (attrs->activation == CVR_ACTIVATION_RELU6 && y[i] > 6) y[i] = 6;
        if (attrs->activation == CVR_ACTIVATION_SILU) y[i] = (float)(y[i] * sigmoid(y[i]));
    }
    return CVR_OK;
}

int32_t norm_batch_inference_run(const cvr_kernel_args *a, cvr_error *err) {
    (void)err;
    const cvr_batch_norm2d_inference_attrs *attrs = a->attrs;
    const float *mean = norm_in(a, 3), *var = norm_in(a, 4);
    for (int64_t c = 0; c < a->inputs[0]->shape[1]; c++) normalise(a, c, mean[c], 1 / sqrt(var[c] + attrs->eps));
    return CVR_OK;
}

/* sum of grad and sum of grad * xhat, xhat = (x - mean) * invstd */
static void gradient_sums(const cvr_kernel_args *a, int64_t c, double mean, double invstd, double sums[2]) {
    const plane p = plane_of(a->inputs[0]);
    const float *x = a->inputs[0]->data, *grad = a->inputs[1]->data;
    sums[0] = sums[1] = 0;
    for (int64_t i = c; i < p.pixels * p.channels; i += p.channels) {
        sums[0] += grad[i];
        sums[1] += grad[i] * ((x[i] - mean) * invstd);
    }
    ((float *)a->outputs[1]->data)[c] = (float)sums[1];
    ((float *)a->outputs[2]->data)[c] = (float)sums[0];
}

/* dx = weight * invstd * (grad - sum(grad) / M - xhat * sum(grad * xhat) / M) */
int32_t norm_batch_backward_run(const cvr_kernel_args *a, cvr_error *err) {
    (void)err;
    const plane p = plane_of(a->inputs[0]);
    const float *x = a->inputs[0]->data, *grad = a->inputs[1]->data, *weight = norm_in(a, 2);
    const float *means = norm_in(a, 3), *invstds = norm_in(a, 4);
    float *dx = a->outputs[0]->data;
    for (int64_t c = 0; c < p.channels; c++) {
        const double mean = means[c], invstd = invstds[c], scale = invstd * (weight ? weight[c] : 1);
        double sums[2];
        gradient_sums(a, c, mean, invstd, sums);
        for (int64_t i = c; i < p.pixels * p.channels; i += p.channels) {
            const double xhat = (x[i] - mean) * invstd;
            dx[i] = (float)(scale * (grad[i] - (sums[0] + xhat * sums[1]) / (double)p.pixels));
        }
    }
    return CVR_OK;
}

/* What the activation makes of a gradient of 1. `v`: its output, of silu its input. */
static double slope_of(int64_t activation, float v) {
    const double s = sigmoid(v);
    if (activation == CVR_ACTIVATION_NONE) return 1;
    if (activation == CVR_ACTIVATION_SILU) return s * (1 + v * (1 - s));
    return v > 0 && (activation == CVR_ACTIVATION_RELU || v < 6);
}

/* g = grad where the activation let its input through, as relu_backward and relu6_backward have it; silu_backward */
int32_t norm_batch_backward_sums_run(const cvr_kernel_args *a, cvr_error *err) {
    (void)err;
    const cvr_batch_norm2d_apply_attrs *attrs = a->attrs;
    const plane p = plane_of(a->inputs[0]);
    const float *x = a->inputs[0]->data, *grad = a->inputs[1]->data, *weight = norm_in(a, 2), *bias = norm_in(a, 5);
    const float *means = norm_in(a, 3), *invstds = norm_in(a, 4), *y = norm_in(a, 6);
    float *g = a->outputs[0]->data;
    for (int64_t c = 0; c < p.channels; c++) {
        const double mean = means[c], invstd = invstds[c];
        double sum = 0, product = 0;
        for (int64_t i = c; i < p.pixels * p.channels; i += p.channels) {
            const double xhat = (x[i] - mean) * invstd;
            const float v = y ? y[i] : (float)(xhat * (weight ? weight[c] : 1) + (bias ? bias[c] : 0));
            const double slope = slope_of(attrs->activation, v);
            g[i] = slope == 0 ? 0 : (float)(grad[i] * slope);
            sum += g[i];
            product += g[i] * xhat;
        }
        ((float *)a->outputs[1]->data)[c] = (float)product;
        ((float *)a->outputs[2]->data)[c] = (float)sum;
    }
    return CVR_OK;
}

int32_t norm_batch_backward_apply_run(const cvr_kernel_args *a, cvr_error *err) {
    (void)err;
    const plane p = plane_of(a->inputs[0]);
    const float *x = a->inputs[0]->data, *g = a->inputs[1]->data, *weight = norm_in(a, 2);
    const float *mean = norm_in(a, 3), *invstd = norm_in(a, 4), *dweight = norm_in(a, 5), *dbias = norm_in(a, 6);
    float *dx = a->outputs[0]->data;
    for (int64_t i = 0; i < p.pixels * p.channels; i++) {
        const int64_t c = i % p.channels;
        const double xhat = ((double)x[i] - mean[c]) * invstd[c], scale = invstd[c] * (weight ? weight[c] : 1.0);
        dx[i] = (float)(scale * (g[i] - (dbias[c] + xhat * dweight[c]) / (double)p.pixels));
    }
    return CVR_OK;
}

/* dx = grad * weight / sqrt(running_var + eps) */
int32_t norm_batch_inference_backward_run(const cvr_kernel_args *a, cvr_error *err) {
    (void)err;
    const cvr_batch_norm2d_inference_attrs *attrs = a->attrs;
    const plane p = plane_of(a->inputs[1]);
    const float *grad = a->inputs[1]->data, *weight = norm_in(a, 2), *mean = norm_in(a, 3), *var = norm_in(a, 4);
    float *dx = a->outputs[0]->data;
    for (int64_t c = 0; c < p.channels; c++) {
        const double invstd = 1 / sqrt(var[c] + attrs->eps), scale = invstd * (weight ? weight[c] : 1);
        double sums[2];
        ((float *)a->outputs[1]->data)[c] = ((float *)a->outputs[2]->data)[c] = 0;
        if (a->inputs[0]) gradient_sums(a, c, mean[c], invstd, sums);
        for (int64_t i = c; i < p.pixels * p.channels; i += p.channels) dx[i] = (float)(grad[i] * scale);
    }
    return CVR_OK;
}
