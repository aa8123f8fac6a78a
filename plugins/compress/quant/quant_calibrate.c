/* Calibration: what values come to on recorded pictures, in one pass for their ranges and means, and in a second for
 * histograms, where the observer wants them. */
#include "quant.h"

#include <math.h>
#include <stdlib.h>

/* ---- the values as outputs ---- */

typedef struct marking {
    quant_job *job;
    const cvr_rewriter *r;
    quant_names names;
} marking;

static int32_t mark(const marking *m, cvr_value v, cvr_error *err) {
    char key[QUANT_KEY], name[64];
    if (v == CVR_NONE) return CVR_OK;
    quant_value_key(&m->names, m->r, v, key);
    for (uint64_t i = 0; i < m->job->n_values; i++) {
        if (m->job->values[i].marked || strcmp(m->job->values[i].key, key) != 0) continue;
        m->job->values[i].marked = 1;
        (void)snprintf(name, sizeof name, QUANT_PREFIX "%llu", (unsigned long long)i);
        return m->r->output(m->r, name, m->r->current(m->r, v), err);
    }
    return CVR_OK;
}

static int32_t mark_all(const marking *m, cvr_error *err) {
    for (uint64_t i = 0; i < m->r->n_nodes; i++) {
        cvr_node_view n;
        m->r->node(m->r, i, &n);
        for (uint32_t k = 0; k < n.n_inputs; k++)
            if (n.inputs[k] != CVR_NONE && m->r->producer(m->r, n.inputs[k]) == CVR_NO_NODE)
                CVR_TRY(mark(m, n.inputs[k], err));
        CVR_TRY(m->r->keep(m->r, i, err));
        for (uint32_t k = 0; k < n.n_outputs; k++) CVR_TRY(mark(m, n.outputs[k], err));
    }
    return CVR_OK;
}

static int32_t mark_values(void *ctx, const cvr_rewriter *r, cvr_error *err) {
    marking m = {.job = ctx, .r = r};
    for (uint64_t i = 0; i < m.job->n_values; i++) m.job->values[i].marked = 0;
    CVR_TRY(quant_names_open(&m.names, r, err));
    const int32_t status = mark_all(&m, err);
    quant_names_close(&m.names);
    return status;
}

/* ---- what is seen ---- */

static int32_t not_finite(const quant_value *v, cvr_error *err) {
    return cvr_fail(err, CVR_ERR_NUMERIC,
                    "%.200s is not finite on the calibration pictures, so that no integer can stand for it; look at "
                    "the run, or leave the layer out with quant.skip",
                    v->key);
}

static int32_t see_range(quant_job *job, quant_value *v, const cvr_tensor *t, cvr_error *err) {
    if (t->dtype != CVR_F32 || t->rank < 1)
        return cvr_fail(err, CVR_ERR_UNSUPPORTED,
                        "%.200s has no axes or is not in f32; leave the layer out with "
                        "quant.skip",
                        v->key);
    const int64_t n = cvr_numel(t->rank, t->shape), channels = t->rank == 4 ? t->shape[1] : t->shape[t->rank - 1];
    const float *x = t->data;
    float low = INFINITY, high = -INFINITY;
    if (!v->mean) {
        v->channels = channels;
        v->mean = quant_alloc(job, (uint64_t)channels * sizeof *v->mean, err);
        if (!v->mean) return CVR_ERR_NOMEM;
    }
    for (int64_t at = 0; at < n; at += channels)
        for (int64_t c = 0; c < channels; c++) {
            const float value = x[at + c];
            low = value < low ? value : low;
            high = value > high ? value : high;
            v->mean[c] += (double)value;
        }
    if (n && !(isfinite(low) && isfinite(high))) return not_finite(v, err);
    for (int64_t c = 0; c < channels; c++)
        if (!isfinite(v->mean[c])) return not_finite(v, err);
    v->n += channels ? n / channels : 0;
    if (n == 0) return CVR_OK;
    const double share = v->seen ? QUANT_AVERAGING : 1;
    v->min = v->seen && v->min < (double)low ? v->min : (double)low;
    v->max = v->seen && v->max > (double)high ? v->max : (double)high;
    v->low += share * ((double)low - v->low);
    v->high += share * ((double)high - v->high);
    v->seen++;
    return CVR_OK;
}

static int32_t see_bins(quant_job *job, quant_value *v, const cvr_tensor *t, cvr_error *err) {
    const quant_value *root = &job->values[quant_root(job, (uint64_t)(v - job->values))];
    const int64_t n = cvr_numel(t->rank, t->shape);
    const float *x = t->data, low = (float)root->min, span = (float)(root->max - root->min),
                per = span > 0 ? (float)QUANT_BINS / span : 0;
    if (!v->bins) v->bins = quant_alloc(job, QUANT_BINS * sizeof *v->bins, err);
    if (!v->bins) return CVR_ERR_NOMEM;
    for (int64_t i = 0; i < n; i++) {
        int32_t at = (int32_t)((x[i] - low) * per);
        at = at < 0 ? 0 : at;
        v->bins[at < QUANT_BINS ? at : QUANT_BINS - 1]++;
    }
    return CVR_OK;
}

static int32_t see(void *ctx, const char *name, const cvr_tensor *t, cvr_error *err) {
    quant_job *job = ctx;
    const uint64_t i = strtoull(name + strlen(QUANT_PREFIX), NULL, 10);
    if (i >= job->n_values) return CVR_OK;
    return job->histograms ? see_bins(job, &job->values[i], t, err) : see_range(job, &job->values[i], t, err);
}

/* ---- from what was seen to scales ---- */

/* Values that share a scale are as one. */
static void join_ranges(quant_job *job) {
    for (uint64_t i = 0; i < job->n_values; i++) {
        quant_value *v = &job->values[i], *root = &job->values[quant_root(job, i)];
        if (v == root) continue;
        root->min = v->min < root->min ? v->min : root->min;
        root->max = v->max > root->max ? v->max : root->max;
        root->low = v->low < root->low ? v->low : root->low;
        root->high = v->high > root->high ? v->high : root->high;
    }
}

static void join_bins(quant_job *job) {
    for (uint64_t i = 0; i < job->n_values; i++) {
        quant_value *v = &job->values[i], *root = &job->values[quant_root(job, i)];
        if (v == root || !v->bins || !root->bins) continue;
        for (int k = 0; k < QUANT_BINS; k++) root->bins[k] += v->bins[k];
    }
}

void quant_scale(float low, float high, double *scale, int32_t *zero) {
    low = low < 0 ? low : 0;
    high = high > 0 ? high : 0;
    const float step = (high - low) / 255, s = step > QUANT_SMALLEST_STEP ? step : 1;
    const float z = rintf(-low / s);
    *scale = (double)s;
    *zero = z < 0 ? 0 : z > 255 ? 255 : (int32_t)z;
}

static void choose_scale(const quant_settings *s, quant_value *v) {
    double low, high;
    quant_choose_range(s, v, &low, &high);
    quant_scale((float)low, (float)high, &v->scale, &v->zero);
}

static int32_t check_seen(const quant_job *job, cvr_error *err) {
    for (uint64_t i = 0; i < job->n_values; i++)
        if (!job->values[i].seen)
            return cvr_fail(err, CVR_ERR_UNSUPPORTED, "nothing was seen of %.200s on the calibration pictures",
                            job->values[i].key);
    return CVR_OK;
}

int32_t quant_calibrate(quant_job *job, cvr_error *err) {
    const cvr_probe probe = {
        .struct_size = sizeof probe, .ctx = job, .rewrite = mark_values, .prefix = QUANT_PREFIX, .see = see};
    const int64_t observer = job->settings->observer;
    job->histograms = 0;
    CVR_TRY(job->c->probe(job->c, &probe, err));
    CVR_TRY(check_seen(job, err));
    join_ranges(job);
    job->histograms = 1;
    if (observer != QUANT_MINMAX && observer != QUANT_AVERAGE) CVR_TRY(job->c->probe(job->c, &probe, err));
    join_bins(job);
    for (uint64_t i = 0; i < job->n_values; i++)
        if (quant_root(job, i) == i) choose_scale(job->settings, &job->values[i]);
    for (uint64_t i = 0; i < job->n_values; i++) {
        const quant_value *root = &job->values[quant_root(job, i)];
        job->values[i].scale = root->scale;
        job->values[i].zero = root->zero;
    }
    return CVR_OK;
}
