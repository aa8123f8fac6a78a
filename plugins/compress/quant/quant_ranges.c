/*
 * Ranges of values that are learned in training: which values share one, and where it is kept. A range is named after
 * one of its values, so that the network as it is trained and as it is evaluated, whose nodes differ, find the same.
 */
#include "quant.h"

#define INPUT(w_) ((w_)->r->n_nodes) /* the network's input, behind all nodes */

/* ---- which entries of the plan ---- */

/* A batch norm is, when the network is evaluated, part of the layer before it, or another op of the same name. */
static const quant_entry *find_norm(const quant_ranges *w, uint64_t at, const char *evaluated) {
    const cvr_rewriter *r = w->r;
    char key[QUANT_KEY];
    cvr_node_view n;
    r->node(r, at, &n);
    const uint64_t before = r->producer(r, n.inputs[0]);
    if (before != CVR_NO_NODE && r->uses(r, n.inputs[0], NULL) == 1) {
        quant_node_key(w->names, r, before, key);
        const quant_entry *e = quant_plan_find(w->plan, QUANT_EDGE, key);
        if (e) return e;
    }
    (void)snprintf(key, sizeof key, "%.240s%s%.240s", n.scope, *n.scope ? "/" : "", evaluated);
    return quant_plan_find(w->plan, QUANT_EDGE, key);
}

static const quant_entry *find_edge(const quant_ranges *w, cvr_value v) {
    const uint64_t at = w->r->producer(w->r, v);
    char key[QUANT_KEY];
    cvr_node_view n;
    quant_value_key(w->names, w->r, v, key);
    const quant_entry *e = quant_plan_find(w->plan, QUANT_EDGE, key);
    if (e || at == CVR_NO_NODE) return e;
    w->r->node(w->r, at, &n);
    const cvr_batch_norm_trait *norm = cvr_op_trait(n.op, CVR_TRAIT_BATCH_NORM);
    return norm ? find_norm(w, at, norm->evaluated) : NULL;
}

/* While the graph still is as it was. */
static void find_edges(quant_ranges *w) {
    const cvr_rewriter *r = w->r;
    for (uint64_t i = 0; i <= INPUT(w); i++) w->edge[i] = NULL;
    for (uint64_t i = 0; i < r->n_nodes; i++) {
        cvr_node_view n;
        r->node(r, i, &n);
        const cvr_int8_trait *t = cvr_op_trait(n.op, CVR_TRAIT_INT8);
        for (uint32_t k = 0; k < n.n_inputs && w->chains.entry[i]; k++) {
            if (!quant_is_activation(t, k) || n.inputs[k] == CVR_NONE) continue;
            const uint64_t at = r->producer(r, n.inputs[k]);
            if (at == CVR_NO_NODE || w->chains.head[at] == CVR_NO_NODE)
                w->edge[at == CVR_NO_NODE ? INPUT(w) : at] = find_edge(w, n.inputs[k]);
        }
    }
}

/* ---- groups ---- */

uint64_t quant_ranges_group(const quant_ranges *w, uint64_t i) {
    while (w->group[i] != i) i = w->group[i];
    return i;
}

const quant_entry *quant_ranges_of(const quant_ranges *w, cvr_value v, uint64_t *group) {
    const uint64_t at = w->r->producer(w->r, v), head = at == CVR_NO_NODE ? CVR_NO_NODE : w->chains.head[at];
    *group = quant_ranges_group(w, head != CVR_NO_NODE ? head : at == CVR_NO_NODE ? INPUT(w) : at);
    return head != CVR_NO_NODE ? w->chains.entry[head] : w->edge[at == CVR_NO_NODE ? INPUT(w) : at];
}

static void join(quant_ranges *w, uint64_t a, uint64_t b) {
    a = quant_ranges_group(w, a);
    b = quant_ranges_group(w, b);
    w->group[a > b ? a : b] = a < b ? a : b;
}

static void note(quant_ranges *w, uint64_t group, const quant_entry *e) {
    const quant_entry **least = &w->least[quant_ranges_group(w, group)];
    if (!*least || strcmp(e->key, (*least)->key) < 0) *least = e;
}

/* Joins what shares a scale: of a node that only moves elements, what it reads and gives. Or notes the entries of what
 * nodes read. */
static void see_inputs(quant_ranges *w, uint64_t i, int joins) {
    cvr_node_view n;
    w->r->node(w->r, i, &n);
    const cvr_int8_trait *t = cvr_op_trait(n.op, CVR_TRAIT_INT8);
    uint64_t first = i;
    for (uint32_t k = 0; k < n.n_inputs; k++) {
        uint64_t group;
        if (!quant_is_activation(t, k) || n.inputs[k] == CVR_NONE) continue;
        const quant_entry *e = quant_ranges_of(w, n.inputs[k], &group);
        if (!e) continue;
        if (!joins)
            note(w, group, e);
        else if ((t->flags & CVR_INT8_SAME) ? quant_same_scale(e, w->chains.entry[i])
                                            : (t->flags & CVR_INT8_SHARED) && first != i)
            join(w, group, first);
        if (t->flags & CVR_INT8_SHARED) first = group;
    }
}

static void find_groups(quant_ranges *w) {
    for (uint64_t i = 0; i <= INPUT(w); i++) {
        w->group[i] = i;
        w->least[i] = NULL;
        w->range[i][0] = w->range[i][1] = CVR_NONE;
    }
    for (int joins = 1; joins >= 0; joins--)
        for (uint64_t i = 0; i < w->r->n_nodes; i++) {
            if (!w->chains.entry[i]) continue;
            see_inputs(w, i, joins);
            if (!joins) note(w, i, w->chains.entry[i]);
        }
}

/* ---- where ranges are kept ---- */

static int32_t declare(const quant_ranges *w, const quant_entry *e, const char *end, double start, cvr_value *out,
                       cvr_error *err) {
    const cvr_init init = {.struct_size = sizeof init, .kind = CVR_INIT_CONSTANT, .a = start};
    char name[QUANT_KEY + 32];
    (void)snprintf(name, sizeof name, "quant_range.%s.%s", e->key, end);
    const cvr_param_decl decl = {.struct_size = sizeof decl,
                                 .name = name,
                                 .dtype = CVR_F32,
                                 .shape = {1, 1, 1, 1, 1, 1},
                                 .flags = CVR_PARAM_STATE,
                                 .init = &init};
    return w->r->builder->param(w->r->builder, &decl, out, err);
}

int32_t quant_ranges_declare(quant_ranges *w, cvr_error *err) {
    for (uint64_t i = 0; i <= INPUT(w); i++) {
        const quant_entry *e = w->least[i];
        if (!e || quant_ranges_group(w, i) != i) continue;
        CVR_TRY(declare(w, e, "low", -e->scale * e->zero, &w->range[i][0], err));
        CVR_TRY(declare(w, e, "high", e->scale * (255 - e->zero), &w->range[i][1], err));
    }
    return CVR_OK;
}

/* ---- opening ---- */

int32_t quant_ranges_open(quant_ranges *w, const cvr_rewriter *r, const quant_plan *plan, const quant_names *names,
                          cvr_error *err) {
    const uint64_t n = r->n_nodes + 1;
    *w = (quant_ranges){.r = r, .plan = plan, .names = names};
    w->edge = r->host->alloc(r->host, n * sizeof *w->edge, 16);
    w->group = r->host->alloc(r->host, n * sizeof *w->group, 16);
    w->least = r->host->alloc(r->host, n * sizeof *w->least, 16);
    w->range = r->host->alloc(r->host, n * sizeof *w->range, 16);
    if (!w->edge || !w->group || !w->least || !w->range) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    CVR_TRY(quant_chains_open(&w->chains, r, plan, names, err));
    find_edges(w);
    find_groups(w);
    return CVR_OK;
}

void quant_ranges_close(quant_ranges *w) {
    const cvr_host *h = w->r ? w->r->host : NULL;
    if (!h) return;
    quant_chains_close(&w->chains);
    h->free(h, (void *)(uintptr_t)w->edge);
    h->free(h, w->group);
    h->free(h, (void *)(uintptr_t)w->least);
    h->free(h, w->range);
}
