/* Which nodes may run on integers, which values need a scale, and the weights as they are in f32: one run of the
 * network, whose batch norms are folded by then. */
#include "quant.h"

#include <cvr/plugin/names.h>
#include <cvr/plugin/ops/quant.h>
#include <stdlib.h>

void *quant_alloc(const quant_job *job, uint64_t bytes, cvr_error *err) {
    void *p = job->host->alloc(job->host, bytes ? bytes : 1, 64);
    if (p)
        memset(p, 0, bytes);
    else
        cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    return p;
}

char *quant_copy(const quant_job *job, const char *text, cvr_error *err) {
    char *copy = quant_alloc(job, strlen(text) + 1, err);
    if (copy) memcpy(copy, text, strlen(text) + 1);
    return copy;
}

int32_t quant_grow(const quant_job *job, void **array, uint64_t n, uint64_t wanted, uint64_t *capacity, uint64_t size,
                   cvr_error *err) {
    uint64_t wide = *capacity ? *capacity : 64;
    if (wanted <= *capacity) return CVR_OK;
    while (wide < wanted) wide *= 2;
    void *more = quant_alloc(job, wide * size, err);
    if (!more) return CVR_ERR_NOMEM;
    if (n) memcpy(more, *array, n * size);
    job->host->free(job->host, *array);
    *array = more;
    *capacity = wide;
    return CVR_OK;
}

/* ---- values ---- */

/* The number of a value by its key; a new one where it is not there yet. */
static int32_t value_of(quant_job *job, const char *key, int32_t edge, uint64_t *out, cvr_error *err) {
    for (*out = 0; *out < job->n_values; (*out)++)
        if (strcmp(job->values[*out].key, key) == 0) return CVR_OK;
    CVR_TRY(quant_grow(job, (void **)&job->values, job->n_values, job->n_values + 1, &job->values_capacity,
                       sizeof *job->values, err));
    quant_value *v = &job->values[job->n_values];
    *v = (quant_value){.key = quant_copy(job, key, err), .same = job->n_values, .edge = edge, .scale = 1};
    if (!v->key) return CVR_ERR_NOMEM;
    job->n_values++;
    return CVR_OK;
}

uint64_t quant_root(const quant_job *job, uint64_t v) {
    while (job->values[v].same != v) v = job->values[v].same;
    return v;
}

/* ---- sites ---- */

typedef struct collecting {
    quant_job *job;
    const cvr_rewriter *r;
    quant_names names;
    uint64_t *site_of; /* by node: the site whose value it makes, or CVR_NO_NODE */
} collecting;

static int is_on_integers(const collecting *w, cvr_value v) {
    const uint64_t at = v == CVR_NONE ? CVR_NO_NODE : w->r->producer(w->r, v);
    return at != CVR_NO_NODE && w->site_of[at] != CVR_NO_NODE;
}

/* What a value made on integers is within (quant_bounds). */
static uint64_t bounds_of(const collecting *w, cvr_value v) {
    if (!is_on_integers(w, v)) return 0;
    return w->job->values[w->job->sites[w->site_of[w->r->producer(w->r, v)]].out].bounds;
}

/* Whether activations of a node that wants one scale for all are within the same bounds: see share_scales(). */
static int have_one_scale(const collecting *w, const cvr_node_view *n, const cvr_int8_trait *t) {
    uint64_t first = 0;
    int seen = 0;
    for (uint32_t k = 0; k < n->n_inputs && (t->flags & CVR_INT8_SHARED); k++) {
        if (!quant_is_activation(t, k) || n->inputs[k] == CVR_NONE) continue;
        if (seen++ && bounds_of(w, n->inputs[k]) != first) return 0;
        first = bounds_of(w, n->inputs[k]);
    }
    return 1;
}

/* `made`: what the node makes of it */
static const char *weight_reason(const cvr_type *weight, const cvr_type *made, uint32_t axis) {
    const int64_t rows = weight->shape[axis], terms = rows ? cvr_numel(weight->rank, weight->shape) / rows : 0;
    if (terms > CVR_INT8_MOST_TERMS) return "sums of more products than 32 bits hold";
    if (axis && made->shape[1] != rows) return "transposed, in groups that would share scales";
    return NULL;
}

/* Why the node stays in f32, or NULL. */
static const char *reason(const collecting *w, uint64_t i, const cvr_node_view *n, const cvr_int8_trait *t,
                          const char *layer) {
    const cvr_builder *b = w->r->builder;
    const quant_settings *s = w->job->settings;
    char key[QUANT_KEY];
    if (w->job->given) {
        quant_node_key(&w->names, w->r, i, key);
        return quant_plan_find(w->job->given, QUANT_INT8, key) ? NULL : "not in the plan";
    }
    if (cvr_names_fit(s->skip, layer)) return "quant.skip";
    if (strncmp(s->keep, "auto:", 5) != 0 && cvr_names_fit(s->keep, layer)) return "quant.keep";
    for (uint32_t k = 0; k < n->n_inputs; k++) {
        const uint64_t bit = (uint64_t)1 << k;
        if (n->inputs[k] == CVR_NONE) continue;
        const cvr_type *type = b->type(b, n->inputs[k]);
        if (type->dtype != CVR_F32) return "not in f32";
        if (bit & t->weight) {
            const char *why = weight_reason(type, b->type(b, n->outputs[0]), quant_weight_axis(t));
            if (why) return why;
        }
        if (!t->weight && (bit & t->activations) && !is_on_integers(w, n->inputs[k])) return "behind a layer in f32";
    }
    return have_one_scale(w, n, t) ? NULL : "activations within a bound and others, which would share a scale";
}

static void share_scale(quant_job *job, uint64_t v, uint64_t with) {
    const uint64_t a = quant_root(job, v), b = quant_root(job, with);
    job->values[a > b ? a : b].same = a < b ? a : b;
}

/* What a node without bounds gives is within those that all it reads are within, if it only moves elements. */
static uint64_t common_bounds(const quant_job *job, const uint64_t *in, uint32_t n) {
    const uint64_t first = n ? job->values[in[0]].bounds : 0;
    for (uint32_t k = 1; k < n; k++)
        if (job->values[in[k]].bounds != first) return 0;
    return first;
}

/*
 * Values that a node which only moves elements reads share its scale, or one among themselves. But a value that is
 * within bounds (relu) and one that is not have scales of their own, since a bound is what the scale's range leaves
 * out: a node that only moves elements reads the former with another scale then, and one whose activations have to
 * share one (attention) stays in f32.
 */
static void share_scales(quant_job *job, const quant_site *s, const uint64_t *in, uint32_t n) {
    quant_value *out = &job->values[s->out];
    if ((s->trait->flags & CVR_INT8_SAME) && !out->bounds) out->bounds = common_bounds(job, in, n);
    for (uint32_t k = 0; k < n; k++) {
        if ((s->trait->flags & CVR_INT8_SAME) && job->values[in[k]].bounds == out->bounds)
            share_scale(job, in[k], s->out);
        if (s->trait->flags & CVR_INT8_SHARED) share_scale(job, in[k], in[0]);
    }
}

static int32_t add_inputs(collecting *w, quant_site *s, const cvr_node_view *n, cvr_error *err) {
    uint64_t in[CVR_MAX_IO];
    uint32_t count = 0;
    char key[QUANT_KEY];
    for (uint32_t k = 0; k < n->n_inputs; k++) {
        uint64_t v;
        if (!quant_is_activation(s->trait, k) || n->inputs[k] == CVR_NONE) continue;
        const uint64_t at = w->r->producer(w->r, n->inputs[k]);
        if (at != CVR_NO_NODE && w->site_of[at] != CVR_NO_NODE) {
            v = w->job->sites[w->site_of[at]].out;
        } else {
            quant_value_key(&w->names, w->r, n->inputs[k], key);
            CVR_TRY(value_of(w->job, key, 1, &v, err));
        }
        if (s->n_in < 2) s->in[s->n_in++] = v;
        in[count++] = v;
    }
    share_scales(w->job, s, in, count);
    return CVR_OK;
}

static void name_parameters(const collecting *w, uint64_t i, const cvr_node_view *n, quant_site *s) {
    static const char *const what[3] = {"weight_int8", "weight_scale", "bias_int32"};
    char *const names[3] = {s->weight_name, s->scale_name, s->bias_name};
    for (int k = 0; k < 3; k++) {
        char own[64];
        quant_param_name(&w->names, i, what[k], own, sizeof own);
        (void)snprintf(names[k], QUANT_KEY, "%.400s%s%s", n->scope, *n->scope ? "." : "", own);
    }
}

/* Weight and bias are outputs of this run. */
static int32_t ask_for_weights(collecting *w, uint64_t i, const cvr_node_view *n, quant_site *s, cvr_error *err) {
    const cvr_builder *b = w->r->builder;
    name_parameters(w, i, n, s);
    s->weight_value = quant_weight_of(w->r, i);
    for (uint32_t k = 0; k < n->n_inputs; k++) {
        const uint64_t bit = (uint64_t)1 << k;
        char name[64];
        if (n->inputs[k] == CVR_NONE || !(bit & (s->trait->weight | s->trait->bias))) continue;
        *(bit & s->trait->weight ? &s->weight : &s->bias) = *b->type(b, n->inputs[k]);
        (void)snprintf(name, sizeof name, QUANT_PREFIX "%c:%llu", bit & s->trait->weight ? 'w' : 'b',
                       (unsigned long long)(s - w->job->sites));
        CVR_TRY(w->r->output(w->r, name, w->r->current(w->r, n->inputs[k]), err));
    }
    return CVR_OK;
}

static int32_t add_site(collecting *w, uint64_t i, const cvr_int8_trait *t, cvr_error *err) {
    quant_job *job = w->job;
    char key[QUANT_KEY];
    cvr_node_view n;
    w->r->node(w->r, i, &n);
    /* What only moves elements, weights' say, is worth no word where there are no integers to move. */
    if (!t->op && reason(w, i, &n, t, n.scope)) return CVR_OK;
    CVR_TRY(quant_grow(job, (void **)&job->sites, job->n_sites, job->n_sites + 1, &job->sites_capacity,
                       sizeof *job->sites, err));
    quant_site *s = &job->sites[job->n_sites];
    quant_node_key(&w->names, w->r, i, key);
    *s = (quant_site){.trait = t, .key = quant_copy(job, key, err)};
    if (!s->key) return CVR_ERR_NOMEM;
    s->layer = quant_copy(job, *n.scope ? n.scope : key, err);
    job->n_sites++;
    if (!s->layer) return CVR_ERR_NOMEM;
    const char *why = reason(w, i, &n, t, s->layer);
    if (why) {
        (void)snprintf(s->why, sizeof s->why, "%s", why);
        return CVR_OK;
    }
    const uint64_t tail = quant_tail(w->r, i);
    char value[QUANT_KEY];
    s->int8 = 1;
    quant_node_key(&w->names, w->r, tail, value);
    CVR_TRY(value_of(job, value, 0, &s->out, err));
    job->values[s->out].bounds = quant_bounds(w->r, i, tail);
    CVR_TRY(add_inputs(w, s, &n, err));
    if (t->weight) CVR_TRY(ask_for_weights(w, i, &n, s, err));
    w->site_of[tail] = job->n_sites - 1;
    return CVR_OK;
}

static int32_t collect_all(collecting *w, cvr_error *err) {
    const cvr_rewriter *r = w->r;
    for (uint64_t i = 0; i < r->n_nodes; i++) w->site_of[i] = CVR_NO_NODE;
    for (uint64_t i = 0; i < r->n_nodes; i++) {
        const cvr_int8_trait *t = quant_trait(r, i);
        CVR_TRY(r->keep(r, i, err));
        if (t) CVR_TRY(add_site(w, i, t, err));
    }
    return CVR_OK;
}

static int32_t find_sites(void *ctx, const cvr_rewriter *r, cvr_error *err) {
    collecting w = {.job = ctx, .r = r};
    CVR_TRY(quant_names_open(&w.names, r, err));
    w.site_of = r->host->alloc(r->host, (r->n_nodes + 1) * sizeof *w.site_of, 16);
    const int32_t status = w.site_of ? collect_all(&w, err) : cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    r->host->free(r->host, w.site_of);
    quant_names_close(&w.names);
    return status;
}

/* ---- weights ---- */

static int32_t take_weights(void *ctx, const char *name, const cvr_tensor *t, cvr_error *err) {
    quant_job *job = ctx;
    const char kind = name[strlen(QUANT_PREFIX)];
    const uint64_t i = strtoull(name + strlen(QUANT_PREFIX) + 2, NULL, 10),
                   bytes = (uint64_t)cvr_numel(t->rank, t->shape) * sizeof(float);
    if ((kind != 'w' && kind != 'b') || i >= job->n_sites) return CVR_OK;
    float **to = kind == 'w' ? &job->sites[i].weights : &job->sites[i].biases;
    *to = quant_alloc(job, bytes, err);
    if (!*to) return CVR_ERR_NOMEM;
    memcpy(*to, t->data, bytes);
    return CVR_OK;
}

int32_t quant_collect(quant_job *job, cvr_error *err) {
    const cvr_probe probe = {.struct_size = sizeof probe,
                             .ctx = job,
                             .rewrite = find_sites,
                             .prefix = QUANT_PREFIX,
                             .see = take_weights,
                             .batches = 1};
    CVR_TRY(job->c->probe(job->c, &probe, err));
    for (uint64_t i = 0; i < job->n_sites; i++)
        if (job->sites[i].int8 && job->sites[i].weight.rank) return CVR_OK;
    return cvr_fail(err, CVR_ERR_UNSUPPORTED,
                    "nothing of this network can run on integers: it has no convolution or linear layer that is not "
                    "left out by quant.skip");
}

void quant_close(quant_job *job) {
    const cvr_host *h = job->host;
    for (uint64_t i = 0; i < job->n_values; i++) {
        h->free(h, job->values[i].key);
        h->free(h, job->values[i].bins);
        h->free(h, job->values[i].mean);
    }
    for (uint64_t i = 0; i < job->n_sites; i++) {
        h->free(h, job->sites[i].key);
        h->free(h, job->sites[i].layer);
        h->free(h, job->sites[i].weights);
        h->free(h, job->sites[i].biases);
    }
    h->free(h, job->values);
    h->free(h, job->sites);
    h->free(h, job->plan);
}
