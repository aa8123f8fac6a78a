/* Runs the passes that plugins bring, each on the whole graph (cvr/plugin/pass.h). */
#include "rewrite.h"
#include <stdlib.h>

/* A pass of the list that a recipe gives, with its settings. */
typedef struct listed_pass {
    const cvr_pass_desc *pass;
    void *attrs;
} listed_pass;

typedef struct pass_list {
    listed_pass *all;
    size_t n, capacity;
} pass_list;

typedef struct pass_run {
    cvr_rewriter api;
    rewrite w;
    bool misused;
    bool by_itself;   /* sees the network alone: what stands in for an input is that input */
    uint64_t n_nodes; /* of the graph as it was; they stand first in its list */
    ir_node **old;    /* the same nodes, also those that were kept or dropped */
    uint8_t *done;
    uint64_t *producer, *first; /* by value */
    uint64_t *uses;
    size_t n_values;
} pass_run;

static void view_node(const cvr_rewriter *r, uint64_t i, cvr_node_view *out) {
    static const ir_node none = {.name = "", .scope = ""};
    const pass_run *p = r->ctx;
    const cvr_graph *g = p->w.g;
    const ir_node *n = i < p->n_nodes ? p->old[i] : &none;
    *out = (cvr_node_view){.struct_size = sizeof *out,
                           .op = n->op,
                           .attrs = n->attrs,
                           .attrs_size = n->attrs_size,
                           .inputs = n->inputs,
                           .outputs = n->outputs,
                           .n_inputs = n->n_inputs,
                           .n_outputs = n->n_outputs,
                           .backward = n->backward,
                           .name = graph_own_name(g, n->name),
                           .scope = graph_own_name(g, n->scope)};
}

static uint32_t stored_kind(uint32_t role) {
    switch (role) {
    case CVR_STORE_TRAINED:
    case CVR_STORE_FROZEN: return CVR_VALUE_PARAMETER;
    case CVR_STORE_BUFFER: return CVR_VALUE_BUFFER;
    case CVR_STORE_CONSTANT: return CVR_VALUE_CONSTANT;
    default: return CVR_VALUE_STATE;
    }
}

/* The input that a value stands in for (cvr_graph_stand_in), or NULL. */
static const char *input_of(const cvr_graph *g, cvr_value v) {
    for (size_t i = 1; i < g->n_values; i++)
        if (g->values[i]->kind == VALUE_INPUT && g->values[i]->stand_in == v) return g->values[i]->name;
    return NULL;
}

static void view_value(const cvr_rewriter *r, cvr_value v, cvr_value_view *out) {
    static const uint32_t kinds[] = {
        [VALUE_TEMP] = CVR_VALUE_TEMPORARY, [VALUE_INPUT] = CVR_VALUE_INPUT, [VALUE_SCALAR] = CVR_VALUE_SCALAR};
    const pass_run *p = r->ctx;
    const cvr_graph *g = p->w.g;
    const ir_value *value = v < g->n_values ? g->values[v] : NULL;
    *out = (cvr_value_view){.struct_size = sizeof *out, .name = ""};
    if (!value) return;
    out->type = &value->type;
    if (value->kind == VALUE_STORED) {
        const cvr_store_entry *e = cvr_store_get(g->store, value->store_index);
        out->name = graph_own_name(g, e->name);
        out->kind = stored_kind(e->role);
        out->flags = e->role == CVR_STORE_TRAINED ? e->flags : e->flags & ~CVR_PARAM_TRAINABLE;
    } else {
        const char *input = p->by_itself && value->kind == VALUE_TEMP ? input_of(g, v) : NULL;
        const bool hidden = p->by_itself && value->stand_in; /* something else has its name */
        out->name = input ? input : value->name && !hidden ? value->name : "";
        out->kind = input ? CVR_VALUE_INPUT : kinds[value->kind];
    }
}

static int32_t add_output(const cvr_rewriter *r, const char *name, cvr_value v, cvr_error *err) {
    return graph_new_output(((const pass_run *)r->ctx)->w.g, name, v, err);
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
        return cvr_fail(err, CVR_ERR_PLUGIN, "node %llu is none, or was dealt with before", (unsigned long long)i);
    CVR_TRY(take_emitted(p, err));
    p->done[i] = 1;
    p->w.g->nodes[i] = NULL;
    return rewrite_keep(&p->w, p->old[i], err);
}

static void drop_old(const cvr_rewriter *r, uint64_t i) {
    pass_run *p = r->ctx;
    if (i >= p->n_nodes || p->done[i])
        p->misused = true;
    else
        p->done[i] = 2; /* freed with the graph's old list, at the end */
}

static int32_t enter_old(const cvr_rewriter *r, uint64_t i, cvr_error *err) {
    pass_run *p = r->ctx;
    if (i >= p->n_nodes) return cvr_fail(err, CVR_ERR_PLUGIN, "there is no node %llu", (unsigned long long)i);
    CVR_TRY(take_emitted(p, err));
    return rewrite_enter(p->w.g, p->old[i], err);
}

static int32_t replace_value(const cvr_rewriter *r, cvr_value from, cvr_value to, cvr_error *err) {
    pass_run *p = r->ctx;
    const cvr_graph *g = p->w.g;
    if (from == CVR_NONE || to == CVR_NONE || from >= g->n_values || to >= g->n_values ||
        !same_shape(&g->values[from]->type, &g->values[to]->type))
        return cvr_fail(err, CVR_ERR_PLUGIN, "replaces a value by one of another shape");
    for (cvr_value v = to; v != CVR_NONE; v = v < p->w.n_replaced ? p->w.replaced[v] : CVR_NONE)
        if (v == from) return cvr_fail(err, CVR_ERR_PLUGIN, "replaces a value by itself");
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
    for (size_t v = 1; p->by_itself && v < g->n_values; v++)
        if (g->values[v]->kind == VALUE_INPUT) p->producer[g->values[v]->stand_in] = CVR_NO_NODE;
    return CVR_OK;
}

static int32_t check_made(const pass_run *p, const uint8_t *made, cvr_value v, const char *who, cvr_error *err) {
    const cvr_graph *g = p->w.g;
    if (v == CVR_NONE || g->values[v]->kind != VALUE_TEMP || made[v]) return CVR_OK;
    return cvr_fail(err, CVR_ERR_PLUGIN, "%s reads a value that no node before it makes", who);
}

/* Every node was dealt with once, and all that is read is made before. */
static int32_t check_rewritten(const pass_run *p, cvr_error *err) {
    const cvr_graph *g = p->w.g;
    uint8_t *made = cvr_calloc(g->n_values, 1);
    int32_t status = made ? CVR_OK : cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    if (made && p->misused)
        status = cvr_fail(err, CVR_ERR_PLUGIN, "drops a node that is none, or was dealt with before");
    for (uint64_t i = 0; i < p->n_nodes && status == CVR_OK; i++)
        if (!p->done[i]) status = cvr_fail(err, CVR_ERR_PLUGIN, "it forgot node %s", p->old[i]->name);
    for (size_t i = 0; i < p->w.n && status == CVR_OK; i++) {
        const ir_node *n = p->w.nodes[i];
        for (uint32_t k = 0; k < n->n_inputs && status == CVR_OK; k++)
            status = check_made(p, made, n->inputs[k], n->name, err);
        for (uint32_t k = 0; k < n->n_outputs; k++) made[n->outputs[k]] = 1;
    }
    for (size_t i = 0; i < g->n_outputs && status == CVR_OK; i++)
        status = check_made(p, made, rewrite_current(&p->w, g->outputs[i].value), g->outputs[i].name, err);
    cvr_free(made);
    return status;
}

static int32_t run_pass(cvr_graph *g, const listed_pass *l, bool by_itself, cvr_error *err) {
    const cvr_pass_desc *pass = l->pass;
    pass_run p = {.w = {.g = g}, .by_itself = by_itself};
    int32_t status;
    CVR_TRY_OUT(index_graph(&p, err));
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
                           .replace = replace_value,
                           .attrs = l->attrs,
                           .value = view_value,
                           .output = add_output};
    CVR_TRY_OUT(graph_called(g, pass, "run", NULL, CVR_CALL(pass, run, NULL, err, &p.api), err));
    CVR_TRY_OUT(take_emitted(&p, err));
    CVR_TRY_OUT(check_rewritten(&p, err));
out:
    rewrite_finish(&p.w, graph_blame(err, status, "pass", pass->name));
    rewrite_leave(g);
    cvr_free(p.old);
    cvr_free(p.done);
    cvr_free(p.producer);
    cvr_free(p.first);
    cvr_free(p.uses);
    return status;
}

/* ---- which passes ---- */

/* A word of a list, NAME or NAME(SETTINGS); n is 0 at the end. */
typedef struct pass_word {
    const char *name, *settings; /* settings NULL: none are given */
    size_t n, n_settings;
} pass_word;

static int32_t next_word(const char **list, pass_word *w, cvr_error *err) {
    const char *t = *list + strspn(*list, ", ");
    *w = (pass_word){.name = t, .n = strcspn(t, ", (")};
    t += w->n;
    if (*t == '(') {
        w->settings = t + 1;
        w->n_settings = strcspn(w->settings, ")");
        t = w->settings + w->n_settings;
        if (*t++ != ')')
            return cvr_fail(err, CVR_ERR_USAGE, "`%.*s(` has no closing bracket; write NAME(key=value key=value)",
                            (int)w->n, w->name);
    }
    *list = t;
    return CVR_OK;
}

static bool is_word(const pass_word *w, const char *text) {
    return strlen(text) == w->n && memcmp(text, w->name, w->n) == 0;
}

static int32_t add_pass(pass_list *l, cvr_plugins *plugins, const char *name, const pass_word *w, cvr_error *err) {
    const void *desc;
    char *settings = w && w->settings ? cvr_strndup(w->settings, w->n_settings) : NULL;
    int32_t status = cvr_plugins_find(plugins, CVR_KIND_PASS, name, &desc, err);
    const cvr_pass_desc *pass = desc;
    listed_pass *to = NULL;
    if (status != CVR_OK || (!w && (pass->flags & CVR_PASS_OPT_IN))) goto out;
    for (size_t i = 0; i < l->n; i++)
        if (l->all[i].pass == pass) to = &l->all[i];
    if (!to) {
        listed_pass *more = cvr_grow(l->all, l->n, &l->capacity, sizeof *more);
        status = more ? CVR_OK : cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
        if (!more) goto out;
        l->all = more;
        to = &more[l->n++];
        *to = (listed_pass){.pass = pass};
    } else if (!w || !settings) {
        goto out; /* named after `auto`, or twice */
    }
    cvr_free(to->attrs);
    to->attrs = NULL;
    status = cvr_attrs_parse(&(const cvr_schema){pass->attrs, pass->n_attrs}, settings ? settings : "", NULL, name,
                             &to->attrs, err);
out:
    cvr_free(settings);
    return status == CVR_ERR_NOTFOUND ? cvr_fail_as(err, CVR_ERR_USAGE) : status;
}

static int before(const void *a, const void *b) {
    const cvr_pass_desc *x = ((const listed_pass *)a)->pass, *y = ((const listed_pass *)b)->pass;
    if (x->priority != y->priority) return x->priority > y->priority ? -1 : 1;
    return strcmp(x->name, y->name);
}

/* "auto, acme.count(limit=3)": all passes that are not opt-in, and this one. "none": no pass. */
static int32_t read_list(pass_list *l, cvr_plugins *plugins, const char *list, cvr_error *err) {
    const char *name;
    for (;;) {
        pass_word w;
        CVR_TRY(next_word(&list, &w, err));
        if (w.n == 0 && w.settings) return cvr_fail(err, CVR_ERR_USAGE, "brackets without the name of a pass");
        if (w.n == 0) break;
        if (is_word(&w, "none") && l->n == 0 && !*list) return CVR_OK;
        if (is_word(&w, "auto")) {
            for (size_t i = 0; (name = cvr_plugins_name(plugins, CVR_KIND_PASS, i)); i++)
                CVR_TRY(add_pass(l, plugins, name, NULL, err));
            continue;
        }
        char *copy = cvr_strndup(w.name, w.n);
        const int32_t status =
            copy ? add_pass(l, plugins, copy, &w, err) : cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
        cvr_free(copy);
        CVR_TRY(status);
    }
    if (l->n > 1) qsort(l->all, l->n, sizeof *l->all, before);
    return CVR_OK;
}

int32_t cvr_graph_pass(cvr_graph *g, const cvr_pass_desc *pass, const void *attrs, cvr_error *err) {
    const listed_pass l = {pass, (void *)(uintptr_t)attrs};
    const bool was_backward = g->in_backward;
    const int32_t status = run_pass(g, &l, true, err);
    g->in_backward = was_backward;
    return status;
}

int32_t cvr_graph_passes(cvr_graph *g, uint32_t stage, const char *list, cvr_error *err) {
    pass_list l = {0};
    const bool was_backward = g->in_backward;
    int32_t status;
    CVR_TRY_OUT(read_list(&l, g->plugins, list, err));
    for (size_t i = 0; i < l.n; i++)
        if (l.all[i].pass->stage == stage) CVR_TRY_OUT(run_pass(g, &l.all[i], false, err));
out:
    for (size_t i = 0; i < l.n; i++) cvr_free(l.all[i].attrs);
    cvr_free(l.all);
    g->in_backward = was_backward;
    return status;
}
