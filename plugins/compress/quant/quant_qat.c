/* Method `qat`: training for integers. It begins with the scales that `ptq` finds, and trains on (quant_train.c); after
 * each epoch weights and learned ranges become integers. */
#include "quant.h"

#include <stdlib.h>

static const cvr_attr_desc epochs = CVR_ATTR_INIT(INT, "epochs", "8", "that it trains", CVR_ATTR_BETWEEN(1, 1e6));
static const cvr_attr_desc lr =
    CVR_ATTR_INIT(FLOAT, "lr", "0", "learning rate, which changes as the run's did; 0: a hundredth of the run's",
                  CVR_ATTR_AT_LEAST(0));
static const cvr_attr_desc freeze_norm = CVR_ATTR_INIT(
    INT, "freeze_norm", "3", "epoch from which on batch norms go by running statistics", CVR_ATTR_BETWEEN(1, 1e6));
static const cvr_attr_desc freeze_ranges =
    CVR_ATTR_INIT(INT, "freeze_ranges", "4", "epoch from which on the ranges of activations stay as they are",
                  CVR_ATTR_BETWEEN(1, 1e6));

/* ---- training ---- */

static int32_t settings(const void *attrs, double run_lr, char *out, uint64_t size, cvr_error *err) {
    const quant_qat_settings *s = attrs;
    const int n = snprintf(out, size,
                           "train.epochs = %lld\noptim.lr = %.9g\nsched.warmup_epochs = 0\ntrain.ema = no\n"
                           "model.unfreeze =\nval.interval = 1\nrun.patience = 0\n",
                           (long long)s->epochs, s->lr > 0 ? s->lr : run_lr / 100);
    return n > 0 && (uint64_t)n < size ? CVR_OK : cvr_fail(err, CVR_ERR_INVALID, "no room for settings");
}

static uint32_t stage(const void *attrs, int64_t epoch) {
    const quant_qat_settings *s = attrs;
    return (epoch + 1 >= s->freeze_norm ? CVR_FINETUNE_NORMS_FROZEN : 0) |
           (epoch + 1 >= s->freeze_ranges ? QUANT_RANGES_FIXED : 0);
}

/* ---- ranges as they were learned ---- */

typedef struct reading {
    quant_job *job;
    float (*range)[2]; /* by value of the job */
} reading;

/* The range of a value of the job becomes two outputs, named by its number. */
static int32_t ask_for(const reading *k, const quant_ranges *w, uint64_t group, const char *key, uint32_t edge,
                       cvr_error *err) {
    char name[64];
    for (uint64_t i = 0; i < k->job->n_sites && !edge; i++)
        if (k->job->sites[i].int8 && strcmp(k->job->sites[i].key, key) == 0)
            key = k->job->values[k->job->sites[i].out].key;
    for (uint64_t i = 0; i < k->job->n_values; i++) {
        quant_value *v = &k->job->values[i];
        if (v->marked || strcmp(v->key, key) != 0) continue;
        v->marked = 1;
        for (int end = 0; end < 2; end++) {
            (void)snprintf(name, sizeof name, QUANT_PREFIX "%d:%llu", end, (unsigned long long)i);
            CVR_TRY(w->r->output(w->r, name, w->range[group][end], err));
        }
    }
    return CVR_OK;
}

static int32_t ask_for_all(const reading *k, quant_ranges *w, cvr_error *err) {
    CVR_TRY(quant_ranges_declare(w, err));
    for (uint64_t i = 0; i < k->job->n_values; i++) k->job->values[i].marked = 0;
    for (uint64_t i = 0; i <= w->r->n_nodes; i++) {
        const uint64_t group = quant_ranges_group(w, i);
        if (i < w->r->n_nodes && w->chains.entry[i]) CVR_TRY(ask_for(k, w, group, w->chains.entry[i]->key, 0, err));
        if (w->edge[i]) CVR_TRY(ask_for(k, w, group, w->edge[i]->key, 1, err));
    }
    for (uint64_t i = 0; i < w->r->n_nodes; i++) CVR_TRY(w->r->keep(w->r, i, err));
    return CVR_OK;
}

static int32_t declare_ranges(void *ctx, const cvr_rewriter *r, cvr_error *err) {
    const reading *k = ctx;
    quant_names names = {.host = NULL};
    quant_ranges w = {.r = NULL};
    int32_t status;
    CVR_TRY_OUT(quant_names_open(&names, r, err));
    CVR_TRY_OUT(quant_ranges_open(&w, r, k->job->given, &names, err));
    status = ask_for_all(k, &w, err);
out:
    quant_ranges_close(&w);
    quant_names_close(&names);
    return status;
}

static int32_t take_range(void *ctx, const char *name, const cvr_tensor *t, cvr_error *err) {
    const reading *k = ctx;
    const char *number = name + strlen(QUANT_PREFIX);
    const uint64_t i = strtoull(number + 2, NULL, 10);
    (void)err;
    if (i < k->job->n_values) k->range[i][*number == '1'] = *(const float *)t->data;
    return CVR_OK;
}

static int32_t read_ranges(quant_job *job, cvr_error *err) {
    reading k = {.job = job};
    const cvr_probe probe = {.struct_size = sizeof probe,
                             .ctx = &k,
                             .rewrite = declare_ranges,
                             .prefix = QUANT_PREFIX,
                             .see = take_range,
                             .batches = 1};
    k.range = quant_alloc(job, (job->n_values + 1) * sizeof *k.range, err);
    int32_t status = k.range ? job->c->probe(job->c, &probe, err) : CVR_ERR_NOMEM;
    for (uint64_t i = 0; i < job->n_values && status == CVR_OK; i++) {
        quant_scale(k.range[i][0], k.range[i][1], &job->values[i].scale, &job->values[i].zero);
        if (!job->values[i].marked)
            status = cvr_fail(err, CVR_ERR_FORMAT, "nothing was learned of %.200s; quantise the run again",
                              job->values[i].key);
    }
    job->host->free(job->host, k.range);
    return status;
}

static int32_t convert_job(quant_job *job, cvr_error *err) {
    CVR_TRY(quant_collect(job, err));
    CVR_TRY(read_ranges(job, err));
    return quant_write(job, err);
}

static int32_t convert(const cvr_compression *c, const char *text, cvr_error *err) {
    quant_settings s = ((const quant_qat_settings *)c->attrs)->start;
    quant_plan plan;
    s.bias_correction = 0; /* training has seen to it */
    CVR_TRY(quant_plan_read(&plan, c->host, text, err));
    quant_job job = {.c = c, .host = c->host, .settings = &s, .given = &plan};
    const int32_t status = convert_job(&job, err);
    quant_close(&job);
    quant_plan_close(&plan);
    return status;
}

/* ---- the method ---- */

static const cvr_finetune finetune = {
    .struct_size = sizeof finetune, .settings = settings, .stage = stage, .rewrite = quant_train, .convert = convert};

/* Those of ptq come first, by which quant_compress goes. */
static const cvr_attr_desc *const attrs_of[] = {&quant_key_observer,
                                                &quant_key_percentile,
                                                &quant_key_skip,
                                                &quant_key_keep,
                                                &quant_key_bias_correction,
                                                &quant_key_sensitivity,
                                                &epochs,
                                                &lr,
                                                &freeze_norm,
                                                &freeze_ranges};

const cvr_compressor_desc quant_qat = {.struct_size = sizeof quant_qat,
                                       .name = "qat",
                                       .section = "quant",
                                       .doc = "integers of 8 bits, for which the network is trained on",
                                       .n_attrs = sizeof attrs_of / sizeof *attrs_of,
                                       .attrs = attrs_of,
                                       .compress = quant_compress,
                                       .rewrite = quant_rewrite,
                                       .finetune = &finetune};
