/*
 * What happens to gradients between the backward pass and the updates: they are added up over the parts of a batch,
 * gradient plugins work on them, and running means follow the parameters after the updates.
 */
#include "ir.h"
#include <stdlib.h>

#define PAIRS_AT_ONCE 31 /* a scalar and so many pairs are CVR_MAX_IO inputs at most */

/* ---- gradient plugins ---- */

static int before(const void *a, const void *b) {
    const cvr_gradient_plugin *x = a, *y = b;
    if (x->desc->priority != y->desc->priority) return x->desc->priority > y->desc->priority ? -1 : 1;
    return strcmp(x->desc->name, y->desc->name);
}

int32_t cvr_gradient_plugins(cvr_plugins *plugins, cvr_config *config, cvr_gradient_plugin **out, size_t *n,
                             cvr_error *err) {
    const char *name;
    size_t capacity = 0;
    *out = NULL;
    *n = 0;
    for (size_t i = 0; (name = cvr_plugins_name(plugins, CVR_KIND_GRADIENT, i)); i++) {
        cvr_gradient_plugin *more = cvr_grow(*out, *n, &capacity, sizeof *more);
        const void *desc;
        char copy[128];
        if (!more) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
        *out = more;
        (void)snprintf(copy, sizeof copy, "%s", name);
        CVR_TRY(cvr_plugins_find(plugins, CVR_KIND_GRADIENT, copy, &desc, err));
        more[*n] = (cvr_gradient_plugin){.desc = desc};
        const cvr_schema schema = {more[*n].desc->attrs, more[*n].desc->n_attrs};
        CVR_TRY(cvr_config_bind(config, "train", &schema, &more[*n].attrs, err));
        ++*n;
    }
    if (*n > 1) qsort(*out, *n, sizeof **out, before);
    return CVR_OK;
}

typedef struct gradient_run {
    cvr_gradients api;
    cvr_graph *g;
    cvr_gradient *all;
    const cvr_gradient **pointers;
} gradient_run;

static int32_t replace_gradient(const cvr_gradients *api, uint64_t i, cvr_value v, cvr_error *err) {
    gradient_run *r = api->ctx;
    if (i >= api->n || v == CVR_NONE || v >= r->g->n_values)
        return cvr_fail(err, CVR_ERR_PLUGIN, "replaces gradient %llu of %llu", (unsigned long long)i,
                        (unsigned long long)api->n);
    const cvr_type *is = &r->g->values[v]->type, *was = &r->g->values[r->all[i].param]->type;
    if (!same_shape(is, was) || !same_order(is, was) || is->dtype != CVR_F32)
        return cvr_fail(err, CVR_ERR_PLUGIN, "replaces the gradient of %s by a value of another shape or type",
                        r->all[i].name);
    r->all[i].grad = v;
    return CVR_OK;
}

static int32_t add_output(const cvr_gradients *api, const char *name, cvr_value v, cvr_error *err) {
    return graph_new_output(((gradient_run *)api->ctx)->g, name, v, err);
}

static int32_t add_veto(const cvr_gradients *api, const char *name, cvr_value v, cvr_error *err) {
    cvr_graph *g = ((gradient_run *)api->ctx)->g;
    CVR_TRY(add_output(api, name, v, err));
    if (cvr_numel(g->values[v]->type.rank, g->values[v]->type.shape) != 1)
        return cvr_fail(err, CVR_ERR_PLUGIN, "%s: a veto is one number", name);
    g->outputs[g->n_outputs - 1].veto = VETO_NOT_ZERO;
    return CVR_OK;
}

int32_t cvr_graph_guard(cvr_graph *g, const char *output, cvr_error *err) {
    for (size_t i = 0; i < g->n_outputs; i++) {
        const cvr_type *t = &g->values[g->outputs[i].value]->type;
        if (strcmp(g->outputs[i].name, output) != 0 || t->dtype != CVR_F32 || cvr_numel(t->rank, t->shape) != 1)
            continue;
        g->outputs[i].veto = VETO_NOT_FINITE;
        return CVR_OK;
    }
    return cvr_fail(err, CVR_ERR_INVALID, "there is no output %s of one f32 number", output);
}

/* All stored values that have a gradient, in the order in which the graph met them. */
static int32_t list_gradients(gradient_run *r, cvr_error *err) {
    const cvr_graph *g = r->g;
    r->all = cvr_calloc(g->n_values, sizeof *r->all);
    r->pointers = cvr_calloc(g->n_values, sizeof *r->pointers);
    if (!r->all || !r->pointers) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    for (size_t v = 1; v < g->n_values; v++) {
        if (g->values[v]->kind != VALUE_STORED || !g->values[v]->gradient) continue;
        const cvr_store_entry *e = cvr_store_get(g->store, g->values[v]->store_index);
        r->pointers[r->api.n] = &r->all[r->api.n];
        r->all[r->api.n++] = (cvr_gradient){sizeof *r->all, e->name, e->stage, (cvr_value)v, g->values[v]->gradient};
    }
    r->api.all = r->pointers;
    return CVR_OK;
}

static int32_t run_plugin(gradient_run *r, const cvr_gradient_plugin *p, cvr_error *err) {
    r->api.attrs = p->attrs;
    r->g->scope.n = 0;
    cvr_text_add(&r->g->scope, "%s", p->desc->name);
    int32_t status = CVR_CALL(p->desc, run, NULL, err, &r->api);
    status = graph_called(r->g, p->desc, "run", NULL, status, err);
    r->g->scope.n = 0;
    if (r->g->scope.s) r->g->scope.s[0] = '\0';
    return graph_blame(err, status, "gradient plugin", p->desc->name);
}

int32_t cvr_graph_gradients(cvr_graph *g, const cvr_gradient_plugin *plugins, size_t n, cvr_error *err) {
    gradient_run r = {.g = g};
    r.api = (cvr_gradients){.struct_size = sizeof r.api,
                            .ctx = &r,
                            .host = cvr_plugins_host(g->plugins),
                            .builder = &g->builder,
                            .replace = replace_gradient,
                            .veto = add_veto,
                            .output = add_output};
    g->in_backward = true;
    int32_t status;
    CVR_TRY_OUT(n ? list_gradients(&r, err) : CVR_OK);
    for (size_t i = 0; i < n; i++) CVR_TRY_OUT(run_plugin(&r, &plugins[i], err));
    for (size_t i = 0; i < r.api.n; i++) g->values[r.all[i].param]->gradient = r.all[i].grad;
out:
    cvr_free((void *)r.pointers);
    cvr_free(r.all);
    return status;
}

/* ---- gradients over the parts of a batch ---- */

int32_t cvr_graph_accumulate(cvr_graph *g, cvr_error *err) {
    cvr_value in[3], none[1];
    const cvr_op_call call = {
        .struct_size = sizeof call, .op = "gradient_accumulate", .inputs = in, .outputs = none, .n_inputs = 3};
    CVR_TRY(g->builder.scalar(&g->builder, "micro_step", CVR_I64, &in[0], err));
    g->in_backward = true;
    CVR_TRY(graph_check_starved(g, err));
    for (size_t v = 1, n = g->n_values; v < n; v++) {
        if (g->values[v]->kind != VALUE_STORED || !g->values[v]->gradient) continue;
        CVR_TRY(graph_companion(g, g->values[v]->store_index, "gradient", CVR_STORE_GRADIENT, &in[1], err));
        in[2] = g->values[v]->gradient;
        CVR_TRY(g->builder.emit(&g->builder, &call, err));
    }
    return CVR_OK;
}

int32_t cvr_graph_take_gradients(cvr_graph *g, cvr_error *err) {
    for (size_t i = 0; i < cvr_store_count(g->store); i++) {
        const cvr_store_entry *e = cvr_store_get(g->store, i);
        cvr_value param;
        if (e->role != CVR_STORE_GRADIENT) continue;
        CVR_TRY(graph_stored(g, (size_t)e->of, &param, err));
        CVR_TRY(graph_stored(g, i, &g->values[param]->gradient, err));
    }
    return CVR_OK;
}

/* ---- running means ---- */

void cvr_graph_use_averages(cvr_graph *g) {
    g->averages = true;
}

int32_t cvr_graph_average(cvr_graph *g, cvr_error *err) {
    cvr_value in[1 + 2 * PAIRS_AT_ONCE], none[1];
    uint32_t n = 1;
    const size_t count = cvr_store_count(g->store);
    CVR_TRY(g->builder.scalar(&g->builder, "average_weight", CVR_F32, &in[0], err));
    g->in_backward = true;
    for (size_t i = 0; i <= count; i++) {
        const cvr_store_entry *e = i < count ? cvr_store_get(g->store, i) : NULL;
        const bool averaged = e && (e->role == CVR_STORE_TRAINED || e->role == CVR_STORE_BUFFER) && !*e->network;
        if (averaged) {
            CVR_TRY(graph_companion(g, i, "average", CVR_STORE_AVERAGE, &in[n], err));
            CVR_TRY(graph_stored(g, i, &in[n + 1], err));
            n += 2;
        }
        if (n < 1 + 2 * PAIRS_AT_ONCE && (i < count || n == 1)) continue;
        const cvr_op_call call = {
            .struct_size = sizeof call, .op = "average_update", .inputs = in, .outputs = none, .n_inputs = n};
        CVR_TRY(g->builder.emit(&g->builder, &call, err));
        n = 1;
    }
    return CVR_OK;
}
