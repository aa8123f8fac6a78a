/*
 * Weights in i8, a scale a row, and biases in i32, whose scale is that of the products. Bias correction takes out what
 * rounding the weights adds on average: with m the mean of each input channel on the calibration pictures,
 *     bias[k] -= sum over c, taps of (dequantised weight - weight)[k,c,tap] * m[c]
 * (Nagel et al., Data-Free Quantization, 2019; with means that were seen).
 *
 * Nodes that read the same weight, a detector's head at several levels, share its integers, and each has its bias.
 */
#include "quant.h"

#include <math.h>

#define MOST_BIAS 1073741824.0 /* 2^30: what CVR_INT8_MOST_TERMS leaves room for */

/* The weights of one row: `n`, `step` apart in memory. Of each input channel's there are `repeats` one after another,
 * or where it is 0, channels alternate. */
typedef struct weight_row {
    const float *w;
    int8_t *q;
    int64_t n, step, repeats;
} weight_row;

static weight_row row_of(const quant_site *s, int8_t *q, int64_t k) {
    const cvr_type *t = &s->weight;
    const uint32_t axis = quant_weight_axis(s->trait);
    const int64_t n = cvr_numel(t->rank, t->shape) / t->shape[axis];
    if (axis == 0) return (weight_row){s->weights + k * n, q + k * n, n, 1, 0};
    return (weight_row){s->weights + k, q + k, n, t->shape[1], n / t->shape[0]}; /* (C,R,S,O) in memory */
}

/* The first site on integers that has the weight of site s. */
static const quant_site *owner_of(const quant_job *job, const quant_site *s) {
    for (const quant_site *o = job->sites; o < s; o++)
        if (o->int8 && o->weights && o->weight_value == s->weight_value) return o;
    return s;
}

/* The largest bias of row k in units of its input's scale, of all sites with this weight. */
static double most_bias(const quant_job *job, const quant_site *owner, int64_t k) {
    double most = 0;
    for (const quant_site *s = owner; s < job->sites + job->n_sites; s++) {
        if (!s->int8 || !s->biases || s->weight_value != owner->weight_value) continue;
        const double units = fabs((double)s->biases[k]) / job->values[s->in[0]].scale;
        most = units > most ? units : most;
    }
    return most;
}

/* scale and integers of one row of weights, whose bias must fit, too: `bias` is in units of the input's scale. */
static float quantise_row(const weight_row *r, double bias) {
    float most = 0;
    for (int64_t i = 0; i < r->n; i++) most = fabsf(r->w[i * r->step]) > most ? fabsf(r->w[i * r->step]) : most;
    float scale = most > QUANT_SMALLEST_STEP ? most / 127 : 1;
    if (bias / (double)scale > MOST_BIAS) scale = (float)(bias / MOST_BIAS * 1.0001);
    for (int64_t i = 0; i < r->n; i++) {
        const float v = rintf(r->w[i * r->step] / scale);
        r->q[i * r->step] = (int8_t)(v < -127 ? -127 : v > 127 ? 127 : v);
    }
    return scale;
}

/* What the row's rounding adds to its results on average. */
static double mean_error(const quant_site *s, const quant_value *x, const weight_row *r, float scale, int64_t k) {
    const uint32_t axis = quant_weight_axis(s->trait);
    const int64_t depth = s->weight.shape[1 - axis], rows = s->weight.shape[axis],
                  groups = x->channels / (depth ? depth : 1), group = groups > 1 ? k / (rows / groups) : 0;
    double sum = 0;
    if (x->n == 0 || x->channels != depth * (groups > 1 ? groups : 1) || rows % (groups > 1 ? groups : 1)) return 0;
    for (int64_t i = 0; i < r->n; i++) {
        const double error = (double)r->q[i * r->step] * (double)scale - (double)r->w[i * r->step];
        sum += error * x->mean[group * depth + (r->repeats ? i / r->repeats : i % depth)] / (double)x->n;
    }
    return sum;
}

static void quantise_site(const quant_job *job, const quant_site *s, const quant_site *owner, int8_t *q, float *scales,
                          int32_t *biases) {
    const quant_value *x = &job->values[s->in[0]];
    const int64_t rows = s->weight.shape[quant_weight_axis(s->trait)];
    for (int64_t k = 0; k < rows; k++) {
        const weight_row r = row_of(s, q, k);
        double bias = s->biases ? (double)s->biases[k] : 0;
        scales[k] = quantise_row(&r, most_bias(job, owner, k));
        if (job->settings->bias_correction) bias -= mean_error(s, x, &r, scales[k], k);
        const double whole = rint(bias / ((double)(float)x->scale * (double)scales[k]));
        biases[k] = (int32_t)(whole < -MOST_BIAS ? -MOST_BIAS : whole > MOST_BIAS ? MOST_BIAS : whole);
    }
}

static int32_t write_site(const quant_job *job, const quant_site *s, cvr_error *err) {
    const int64_t rows = s->weight.shape[quant_weight_axis(s->trait)], all = cvr_numel(s->weight.rank, s->weight.shape);
    const quant_site *owner = owner_of(job, s);
    cvr_type weight = s->weight, scale, bias;
    weight.dtype = CVR_I8;
    cvr_type_set(&scale, CVR_F32, 1, &rows);
    cvr_type_set(&bias, CVR_I32, 1, &rows);
    int8_t *q = quant_alloc(job, (uint64_t)all, err);
    float *scales = quant_alloc(job, (uint64_t)rows * sizeof *scales, err);
    int32_t *biases = quant_alloc(job, (uint64_t)rows * sizeof *biases, err);
    int32_t status = q && scales && biases ? CVR_OK : CVR_ERR_NOMEM;
    if (status == CVR_OK) quantise_site(job, s, owner, q, scales, biases);
    if (status == CVR_OK && owner == s) status = job->c->tensor(job->c, s->weight_name, &weight, q, err);
    if (status == CVR_OK && owner == s) status = job->c->tensor(job->c, s->scale_name, &scale, scales, err);
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
