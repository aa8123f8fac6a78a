/* Runs the passes that plugins bring, each on the whole graph (cvr/plugin/pass.h). */
#include "rewrite.h"
#include <stdlib.h>

typedef struct pass_run {
    cvr_rewriter api;
    rewrite w;
    const char *name;
    uint64_t n_nodes; /* of the graph as it was; they stand first in its list */
    ir_node **old;    /* the same nodes, also those that were kept or dropped */
    uint8_t *done;
    uint64_t *producer, *first; /* by value */
    uint64_t *uses;
    size_t n_values;
} pass_run;

static void view_node(const cvr_rewriter *r, uint64_t i, cvr_node_view *out) {
    const pass_run *p = r->ctx;
    const ir_node *n = p->old[i];
    *out = (cvr_node_view){sizeof *out, n->op,       n->attrs,     n->attrs_size, n->inputs,
                           n->outputs,  n->n_inputs, n->n_outputs, n->backward,   0};
}

static uint64_t producer_of(const cvr_rewriter *r, cvr_value v) {
    const pass_run *p = r->ctx;
    return v < p->n_values ? p->producer[v] : CVR_NO_NODE;
}

static uint64_t uses_of(const cvr_rewriter *r, cvr_value v, uint64_t *first) {
    const pass_run *p = r->ctx;
    if (first) *first = v < p->n_values ? p->first[v] : CVR_NO_NODE;
    return v < p->n_values ? p->uses[v] : 0;
}

static cvr_value current_of(const cvr_rewriter *r, cvr_value v) {
    const pass_run *p = r->ctx;
    return rewrite_current(&p->w, v);
}

static int32_t take_emitted(pass_run *p, cvr_error *err) {
    return rewrite_keep_emitted(&p->w, p->n_nodes, err);
}

static int32_t keep_old(const cvr_rewriter *r, uint64_t i, cvr_error *err) {
    pass_run *p = r->ctx;
    if (i >= p->n_nodes || p->done[i])
        return cvr_fail(err, CVR_ERR_PLUGIN, "pass %s: node %llu was dealt with before", p->name,
                        (unsigned long long)i);
    const int32_t status = take_emitted(p, err);
    if (status != CVR_OK) return status;
    p->done[i] = 1;
    p->w.g->nodes[i] = NULL;
    return rewrite_keep(&p->w, p->old[i], err);
}

static void drop_old(const cvr_rewriter *r, uint64_t i) {
    pass_run *p = r->ctx;
    if (i < p->n_nodes && !p->done[i]) p->done[i] = 2; /* freed with the graph's old list, at the end */
}

static int32_t enter_old(const cvr_rewriter *r, uint64_t i, cvr_error *err) {
    pass_run *p = r->ctx;
    const int32_t status = take_emitted(p, err);
    return status == CVR_OK ? rewrite_enter(p->w.g, p->old[i], err) : status;
}

static int32_t replace_value(const cvr_rewriter *r, cvr_value from, cvr_value to, cvr_error *err) {
    pass_run *p = r->ctx;
    const cvr_graph *g = p->w.g;
    if (from == CVR_NONE || to == CVR_NONE || from >= g->n_values || to >= g->n_values ||
        !same_shape(&g->values[from]->type, &g->values[to]->type))
        return cvr_fail(err, CVR_ERR_PLUGIN, "pass %s: replaces a value by one of another shape", p->name);
    return rewrite_replace(&p->w, from, to, err);
}

/* ---- who makes and who reads what ---- */

static int32_t index_graph(pass_run *p, cvr_error *err) {
    const cvr_graph *g = p->w.g;
    p->n_values = g->n_values;
    p->n_nodes = g->n_nodes;
    p->old = cvr_calloc(g->n_nodes + 1, sizeof *p->old);
    p->done = cvr_calloc(g->n_nodes + 1, 1);
    p->producer = cvr_calloc(g->n_values, sizeof *p->producer);
    p->first = cvr_calloc(g->n_values, sizeof *p->first);
    p->uses = cvr_calloc(g->n_values, sizeof *p->uses);
    if (!p->old || !p->done || !p->producer || !p->first || !p->uses)
        return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    for (size_t v = 0; v < g->n_values; v++) p->producer[v] = p->first[v] = CVR_NO_NODE;
    for (size_t i = 0; i < g->n_nodes; i++) {
        const ir_node *n = g->nodes[i];
        p->old[i] = g->nodes[i];
        for (uint32_t k = 0; k < n->n_outputs; k++) p->producer[n->outputs[k]] = i;
        for (uint32_t k = 0; k < n->n_inputs; k++) {
            if (p->uses[n->inputs[k]]++ == 0) p->first[n->inputs[k]] = i;
        }
    }
    for (size_t i = 0; i < g->n_outputs; i++) p->uses[g->outputs[i].value]++;
    return CVR_OK;
}

static int32_t run_pass(cvr_graph *g, const cvr_pass_desc *pass, cvr_error *err) {
    pass_run p = {.w = {.g = g}, .name = pass->name};
    int32_t status = index_graph(&p, err);
    p.api = (cvr_rewriter){.struct_size = sizeof p.api,
                           .ctx = &p,
                           .host = cvr_plugins_host(g->plugins),
                           .builder = &g->builder,
                           .n_nodes = g->n_nodes,
                           .node = view_node,
                           .producer = producer_of,
                           .uses = uses_of,
                           .current = current_of,
                           .keep = keep_old,
                           .drop = drop_old,
                           .enter = enter_old,
                           .replace = replace_value};
    if (status == CVR_OK) status = pass->run(&p.api, err);
    if (status == CVR_OK) status = take_emitted(&p, err);
    for (uint64_t i = 0; i < p.n_nodes && status == CVR_OK; i++) {
        if (!p.done[i])
            status = cvr_fail(err, CVR_ERR_PLUGIN, "pass %s: it forgot node %s", pass->name, p.old[i]->name);
    }
    rewrite_finish(&p.w, status);
    rewrite_leave(g);
    cvr_free(p.old);
    cvr_free(p.done);
    cvr_free(p.producer);
    cvr_free(p.first);
    cvr_free(p.uses);
    return status;
}

/* ---- which passes ---- */

static int before(const void *a, const void *b) {
    const cvr_pass_desc *const *x = a, *const *y = b;
    if ((*x)->priority != (*y)->priority) return (*x)->priority > (*y)->priority ? -1 : 1;
    return strcmp((*x)->name, (*y)->name);
}

/* True where a word of `list` is `name`; "auto" stands for all. */
static bool listed(const char *list, const char *name) {
    const size_t n = strlen(name);
    if (strcmp(list, "auto") == 0) return true;
    for (const char *t = list; *t; t += strspn(t, ", ")) {
        const size_t length = strcspn(t, ", ");
        if (length == n && memcmp(t, name, n) == 0) return true;
        t += length;
    }
    return false;
}

/* Every word of a list must be a pass. */
static int32_t check_list(cvr_plugins *plugins, const char *list, cvr_error *err) {
    if (strcmp(list, "auto") == 0) return CVR_OK;
    for (const char *t = list; *t; t += strspn(t, ", ")) {
        const void *desc;
        const size_t n = strcspn(t, ", ");
        char *name = cvr_strndup(t, n);
        if (!name) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
        const int32_t status = n ? cvr_plugins_find(plugins, CVR_KIND_PASS, name, &desc, err) : CVR_OK;
        cvr_free(name);
        if (status != CVR_OK) return status == CVR_ERR_NOTFOUND ? cvr_fail_as(err, CVR_ERR_USAGE) : status;
        t += n;
    }
    return CVR_OK;
}

int32_t cvr_graph_passes(cvr_graph *g, uint32_t stage, const char *list, cvr_error *err) {
    const cvr_pass_desc **passes = NULL;
    const char *name;
    size_t n = 0, capacity = 0;
    int32_t status = strcmp(list, "none") == 0 ? CVR_OK : check_list(g->plugins, list, err);
    const bool was_backward = g->in_backward;
    if (strcmp(list, "none") == 0 || status != CVR_OK) return status;
    for (size_t i = 0; status == CVR_OK && (name = cvr_plugins_name(g->plugins, CVR_KIND_PASS, i)); i++) {
        const void *desc;
        char copy[128];
        (void)snprintf(copy, sizeof copy, "%s", name);
        if (!listed(list, copy)) continue;
        status = cvr_plugins_find(g->plugins, CVR_KIND_PASS, copy, &desc, err);
        if (status != CVR_OK || ((const cvr_pass_desc *)desc)->stage != stage) continue;
        const cvr_pass_desc **more = cvr_grow((void *)(uintptr_t)passes, n, &capacity, sizeof *more);
        if (!more) status = cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
        if (more) passes = more;
        if (more) passes[n++] = desc;
    }
    if (n > 1) qsort((void *)(uintptr_t)passes, n, sizeof *passes, before);
    for (size_t i = 0; i < n && status == CVR_OK; i++) status = run_pass(g, passes[i], err);
    cvr_free((void *)(uintptr_t)passes);
    g->in_backward = was_backward;
    return status;
}
