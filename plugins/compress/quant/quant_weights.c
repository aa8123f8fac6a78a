/*
 * Weights in i8, a scale a row, and biases in i32, whose scale is that of the products. Bias correction takes out what
 * rounding the weights adds on average: with m the mean of each input channel on the calibration pictures,
 *     bias[k] -= sum over c, taps of (dequantised weight - weight)[k,c,tap] * m[c]
 * (Nagel et al., Data-Free Quantization, 2019; with means that were seen).
 */
#include "quant.h"

#include <math.h>

#define MOST_BIAS 1073741824.0 /* 2^30: what CVR_INT8_MOST_TERMS leaves room for */

/* scale and integers of one row of n weights; the bias must fit, too. */
static float quantise_row(const float *w, int64_t n, double bias, double x_scale, int8_t *q) {
    float most = 0;
    for (int64_t i = 0; i < n; i++) most = fabsf(w[i]) > most ? fabsf(w[i]) : most;
    float scale = most > 1e-30f ? most / 127 : 1;
    if (fabs(bias) / (x_scale * (double)scale) > MOST_BIAS)
        scale = (float)(fabs(bias) / (x_scale * MOST_BIAS) * 1.0001);
    for (int64_t i = 0; i < n; i++) {
        const float v = rintf(w[i] / scale);
        q[i] = (int8_t)(v < -127 ? -127 : v > 127 ? 127 : v);
    }
    return scale;
}

/* What the row's rounding adds to its results on average. Weights lie with the input channel innermost. */
static double mean_error(const quant_site *s, const quant_value *x, const float *w, const int8_t *q, float scale,
                         int64_t k, int64_t n) {
    const int64_t depth = s->weight.shape[1], rows = s->weight.shape[0], groups = x->channels / (depth ? depth : 1),
                  group = groups > 1 ? k / (rows / groups) : 0;
    double sum = 0;
    if (x->n == 0 || x->channels != depth * (groups > 1 ? groups : 1) || rows % (groups > 1 ? groups : 1)) return 0;
    for (int64_t i = 0; i < n; i++) {
        const double error = (double)q[i] * (double)scale - (double)w[i];
        sum += error * x->mean[group * depth + i % depth] / (double)x->n;
    }
    return sum;
}

static void quantise_site(const quant_job *job, const quant_site *s, int8_t *q, float *scales, int32_t *biases) {
    const quant_value *x = &job->values[s->in[0]];
    const int64_t rows = s->weight.shape[0], n = cvr_numel(s->weight.rank - 1, &s->weight.shape[1]);
    for (int64_t k = 0; k < rows; k++) {
        double bias = s->biases ? (double)s->biases[k] : 0;
        scales[k] = quantise_row(s->weights + k * n, n, bias, x->scale, q + k * n);
        if (job->settings->bias_correction) bias -= mean_error(s, x, s->weights + k * n, q + k * n, scales[k], k, n);
        const double whole = rint(bias / ((double)(float)x->scale * (double)scales[k]));
        biases[k] = (int32_t)(whole < -MOST_BIAS ? -MOST_BIAS : whole > MOST_BIAS ? MOST_BIAS : whole);
    }
}

static int32_t write_site(const quant_job *job, const quant_site *s, cvr_error *err) {
    const int64_t rows = s->weight.shape[0], all = cvr_numel(s->weight.rank, s->weight.shape);
    cvr_type weight = s->weight, scale, bias;
    weight.dtype = CVR_I8;
    cvr_type_set(&scale, CVR_F32, 1, &rows);
    cvr_type_set(&bias, CVR_I32, 1, &rows);
    int8_t *q = quant_alloc(job, (uint64_t)all, err);
    float *scales = quant_alloc(job, (uint64_t)rows * sizeof *scales, err);
    int32_t *biases = quant_alloc(job, (uint64_t)rows * sizeof *biases, err);
    int32_t status = q && scales && biases ? CVR_OK : CVR_ERR_NOMEM;
    if (status == CVR_OK) quantise_site(job, s, q, scales, biases);
    if (status == CVR_OK) status = job->c->tensor(job->c, s->weight_name, &weight, q, err);
    if (status == CVR_OK) status = job->c->tensor(job->c, s->scale_name, &scale, scales, err);
    if (status == CVR_OK && s->trait->bias) status = job->c->tensor(job->c, s->bias_name, &bias, biases, err);
    job->host->free(job->host, q);
    job->host->free(job->host, scales);
    job->host->free(job->host, biases);
    return status;
}

static int32_t write_plan(quant_job *job, cvr_error *err) {
    const uint64_t size = 64 + (job->n_sites + job->n_values) * (QUANT_KEY + 64);
    uint64_t n = 0;
    job->host->free(job->host, job->plan);
    job->plan = quant_alloc(job, size, err);
    if (!job->plan) return CVR_ERR_NOMEM;
    n += (uint64_t)snprintf(job->plan, size, QUANT_PLAN_FIRST);
    for (uint64_t i = 0; i < job->n_values; i++) /* all: a node that is left in f32 later makes an edge of its value */
        n += (uint64_t)snprintf(job->plan + n, size - n, "edge %.9g %d %s\n", job->values[i].scale, job->values[i].zero,
                                job->values[i].key);
    for (uint64_t i = 0; i < job->n_sites; i++) {
        const quant_site *s = &job->sites[i];
        if (s->int8)
            n += (uint64_t)snprintf(job->plan + n, size - n, "int8 %.9g %d %s\n", job->values[s->out].scale,
                                    job->values[s->out].zero, s->key);
    }
    return job->c->plan(job->c, job->plan, err);
}

int32_t quant_write(quant_job *job, cvr_error *err) {
    for (uint64_t i = 0; i < job->n_sites; i++)
        if (job->sites[i].int8 && job->sites[i].weights) CVR_TRY(write_site(job, &job->sites[i], err));
    return write_plan(job, err);
}
