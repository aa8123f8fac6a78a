/*
 * quant.sensitivity and quant.keep = auto:0.5%: nodes are ranked by what the network's results lose where that node
 * alone runs on integers (signal to quantisation noise). By the latter the worst are left in f32, twice as many each
 * time, until the metric is within its bound, and then as few of them as do.
 */
#include "quant.h"

#include <math.h>
#include <stdlib.h>

#define BATCHES 2 /* that the ranking looks at */

/* ---- one node at a time ---- */

typedef struct ranking {
    quant_job *job;
    const char *plan;
    uint64_t result; /* values that the results have had in this run so far */
    float *f32;      /* all results of the run in f32 */
    uint64_t n, capacity;
    double signal, noise;
    int32_t compares;
} ranking;

/* What nobody reads but the program's outputs: the network's results. */
static int32_t rewrite_one(void *ctx, const cvr_rewriter *r, cvr_error *err) {
    const ranking *k = ctx;
    uint64_t n = 0;
    char name[64];
    for (uint64_t i = 0; i < r->n_nodes; i++) {
        cvr_node_view node;
        uint64_t first;
        r->node(r, i, &node);
        for (uint32_t o = 0; o < node.n_outputs; o++) {
            const cvr_type *t = r->builder->type(r->builder, node.outputs[o]);
            const uint64_t uses = r->uses(r, node.outputs[o], &first);
            if (!uses || first != CVR_NO_NODE || t->dtype != CVR_F32) continue;
            (void)snprintf(name, sizeof name, QUANT_PREFIX "%llu", (unsigned long long)n++);
            CVR_TRY(r->output(r, name, node.outputs[o], err));
        }
    }
    if (*k->plan) return quant_rewrite(r, k->plan, err);
    for (uint64_t i = 0; i < r->n_nodes; i++) CVR_TRY(r->keep(r, i, err));
    return CVR_OK;
}

static int32_t see_result(void *ctx, const char *name, const cvr_tensor *t, cvr_error *err) {
    ranking *k = ctx;
    const uint64_t n = (uint64_t)cvr_numel(t->rank, t->shape);
    const float *x = t->data;
    (void)name;
    if (!k->compares)
        CVR_TRY(quant_grow(k->job, (void **)&k->f32, k->result, k->result + n, &k->capacity, sizeof *k->f32, err));
    for (uint64_t i = 0; i < n; i++, k->result++) {
        if (!k->compares) {
            k->f32[k->result] = x[i];
        } else if (k->result < k->n) {
            const double was = (double)k->f32[k->result], off = (double)x[i] - was;
            k->signal += was * was;
            k->noise += off * off;
        }
    }
    if (!k->compares) k->n = k->result;
    return CVR_OK;
}

static int32_t run_plan(ranking *k, const char *plan, cvr_error *err) {
    const cvr_probe probe = {.struct_size = sizeof probe,
                             .ctx = k,
                             .rewrite = rewrite_one,
                             .prefix = QUANT_PREFIX,
                             .see = see_result,
                             .batches = BATCHES};
    k->plan = plan;
    k->result = 0;
    k->signal = k->noise = 0;
    return k->job->c->probe(k->job->c, &probe, err);
}

static int32_t rank_one(ranking *k, quant_site *s, cvr_error *err) {
    const quant_job *job = k->job;
    char line[3 * QUANT_KEY];
    int n = snprintf(line, sizeof line, QUANT_PLAN_FIRST "int8 %.9g %d %s\n", job->values[s->out].scale,
                     job->values[s->out].zero, s->key);
    for (uint64_t i = 0; i < s->n_in && n > 0 && n < (int)sizeof line; i++)
        n += snprintf(line + n, sizeof line - (size_t)n, "edge %.9g %d %s\n", job->values[s->in[i]].scale,
                      job->values[s->in[i]].zero, job->values[s->in[i]].key);
    CVR_TRY(run_plan(k, line, err));
    s->sqnr = k->noise > 0 ? 10 * log10(k->signal / k->noise) : 999;
    return CVR_OK;
}

static int32_t rank_all(quant_job *job, cvr_error *err) {
    ranking k = {.job = job};
    int32_t status = run_plan(&k, "", err);
    k.compares = 1;
    for (uint64_t i = 0; i < job->n_sites && status == CVR_OK; i++)
        if (job->sites[i].int8 && job->sites[i].weights) status = rank_one(&k, &job->sites[i], err);
    job->host->free(job->host, k.f32);
    return status;
}

/* ---- the fewest that do ---- */

static int by_sqnr(const void *a, const void *b) {
    const quant_site *x = *(quant_site *const *)a, *y = *(quant_site *const *)b;
    return x->sqnr < y->sqnr ? -1 : x->sqnr > y->sqnr ? 1 : x < y ? -1 : 1;
}

/* The first n of the ranked stay in f32. Nodes without a weight that read them stay on integers: the plan has a scale
 * for every value. */
static int32_t keep_first(quant_job *job, quant_site *const *ranked, uint64_t n_ranked, uint64_t n, cvr_error *err) {
    for (uint64_t i = 0; i < n_ranked; i++) {
        ranked[i]->int8 = i >= n;
        (void)snprintf(ranked[i]->why, sizeof ranked[i]->why, i < n ? "quant.keep: %.1f dB alone" : "",
                       ranked[i]->sqnr);
    }
    return quant_write(job, err);
}

static int32_t loss_of(const quant_job *job, double *loss, cvr_error *err) {
    double before, after;
    CVR_TRY(job->c->measure(job->c, &before, &after, err));
    *loss = before - after;
    return CVR_OK;
}

static int32_t search(quant_job *job, quant_site **ranked, uint64_t n, double most, cvr_error *err) {
    double loss;
    uint64_t kept = 0, before = 0;
    CVR_TRY(loss_of(job, &loss, err));
    while (loss > most && kept < n) {
        before = kept;
        kept = kept ? 2 * kept : 1;
        kept = kept < n ? kept : n;
        CVR_TRY(keep_first(job, ranked, n, kept, err));
        CVR_TRY(loss_of(job, &loss, err));
    }
    if (loss > most)
        return cvr_fail(err, CVR_ERR_UNSUPPORTED,
                        "quant.keep: with all layers in f32 the metric is still %.3f points lower; allow more, or "
                        "calibrate on more pictures (quant.pictures)",
                        100 * loss);
    while (kept - before > 1) {
        const uint64_t middle = before + (kept - before) / 2;
        CVR_TRY(keep_first(job, ranked, n, middle, err));
        CVR_TRY(loss_of(job, &loss, err));
        *(loss > most ? &before : &kept) = middle;
    }
    return keep_first(job, ranked, n, kept, err);
}

static int32_t read_bound(const char *text, double *most, cvr_error *err) {
    char *end;
    const double percent = strtod(text, &end);
    *most = percent / 100;
    if (end != text && strcmp(end, "%") == 0 && percent >= 0 && percent <= 100) return CVR_OK;
    return cvr_fail(err, CVR_ERR_USAGE, "quant.keep = auto:%s: write auto:0.5%%, the points that may be lost", text);
}

/* A line for each of the ranked, the worst first. */
static int32_t note_ranked(const quant_job *job, quant_site *const *ranked, uint64_t n, cvr_error *err) {
    char text[QUANT_KEY + 64];
    for (uint64_t i = 0; i < n; i++) {
        (void)snprintf(text, sizeof text, "%.480s: %.1f dB", ranked[i]->layer, ranked[i]->sqnr);
        CVR_TRY(job->c->note(job->c, "alone on integers", text, err));
    }
    return CVR_OK;
}

static int32_t rank_and_keep(quant_job *job, quant_site **ranked, int searches, double most, cvr_error *err) {
    uint64_t n = 0;
    CVR_TRY(rank_all(job, err));
    for (uint64_t i = 0; i < job->n_sites; i++)
        if (job->sites[i].int8 && job->sites[i].weights) ranked[n++] = &job->sites[i];
    qsort(ranked, n, sizeof *ranked, by_sqnr);
    CVR_TRY(note_ranked(job, ranked, n, err));
    return searches ? search(job, ranked, n, most, err) : CVR_OK;
}

int32_t quant_keep(quant_job *job, cvr_error *err) {
    const char *keep = job->settings->keep;
    const int searches = strncmp(keep, "auto:", 5) == 0;
    double most = 0;
    if (searches) CVR_TRY(read_bound(keep + 5, &most, err));
    if (!searches && !job->settings->sensitivity) return CVR_OK;
    quant_site **ranked = quant_alloc(job, (job->n_sites + 1) * sizeof *ranked, err);
    if (!ranked) return CVR_ERR_NOMEM;
    const int32_t status = rank_and_keep(job, ranked, searches, most, err);
    job->host->free(job->host, ranked);
    return status;
}
