/* A graph's nodes taken out and put back, with values replaced on the way. */
#include "rewrite.h"

cvr_value rewrite_current(const rewrite *r, cvr_value v) {
    while (v < r->n_replaced && r->replaced[v]) v = r->replaced[v]; /* what replaced it may have been replaced */
    return v;
}

int32_t rewrite_replace(rewrite *r, cvr_value from, cvr_value to, cvr_error *err) {
    while (r->n_replaced <= from) {
        cvr_value *more = cvr_grow(r->replaced, r->n_replaced, &r->replaced_capacity, sizeof *more);
        if (!more) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
        r->replaced = more;
        more[r->n_replaced++] = CVR_NONE;
    }
    r->replaced[from] = to;
    ir_value *is = r->g->values[to];
    const ir_value *was = r->g->values[from];
    if (!is->counts) {
        is->counts = was->counts;
        is->counts_axis = was->counts_axis;
    }
    if (r->g->values[from]->kept) r->g->values[to]->kept = true;
    return CVR_OK;
}

int32_t rewrite_keep(rewrite *r, ir_node *n, cvr_error *err) {
    ir_node **more = cvr_grow(r->nodes, r->n, &r->capacity, sizeof *more);
    if (!more) {
        graph_free_node(n);
        return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    }
    r->nodes = more;
    for (uint32_t i = 0; i < n->n_inputs; i++) n->inputs[i] = rewrite_current(r, n->inputs[i]);
    more[r->n++] = n;
    return CVR_OK;
}

int32_t rewrite_keep_emitted(rewrite *r, size_t first, cvr_error *err) {
    int32_t status = CVR_OK;
    for (size_t i = first; i < r->g->n_nodes; i++) {
        ir_node *n = r->g->nodes[i];
        r->g->nodes[i] = NULL;
        if (status == CVR_OK)
            status = rewrite_keep(r, n, err);
        else
            graph_free_node(n);
    }
    r->g->n_nodes = first;
    return status;
}

void rewrite_finish(rewrite *r, int32_t status) {
    cvr_graph *g = r->g;
    for (size_t i = 0; i < g->n_nodes; i++) graph_free_node(g->nodes[i]);
    for (size_t i = 0; i < g->n_outputs && status == CVR_OK; i++)
        g->outputs[i].value = rewrite_current(r, g->outputs[i].value);
    for (size_t i = 0; i < g->n_ends && status == CVR_OK; i++)
        g->ends[i]->value = rewrite_current(r, g->ends[i]->value);
    if (status != CVR_OK) {
        for (size_t i = 0; i < r->n; i++) graph_free_node(r->nodes[i]);
        r->n = 0;
    }
    cvr_free(g->nodes);
    g->nodes = r->nodes;
    g->n_nodes = r->n;
    g->nodes_capacity = r->capacity;
    cvr_free(r->replaced);
}

int32_t rewrite_enter(cvr_graph *g, const ir_node *n, cvr_error *err) {
    g->in_backward = n->backward;
    g->in_recompute = n->recompute;
    return graph_enter(g, n->scope, err);
}

void rewrite_leave(cvr_graph *g) {
    g->scope.n = 0;
    if (g->scope.s) g->scope.s[0] = '\0';
}
