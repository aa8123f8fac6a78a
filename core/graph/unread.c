/* What nothing depends on after a pass has put something else in its place: nodes go, and the stored values that only
 * they read need neither memory nor a place in files. */
#include "ir.h"

bool graph_node_runs(const ir_node *n, const bool *read) {
    bool runs = n->op->mutates != 0;
    for (uint32_t k = 0; k < n->n_outputs; k++) runs = runs || read[n->outputs[k]];
    return runs;
}

bool *graph_find_read(const cvr_graph *g, bool heads) {
    bool *read = cvr_calloc(g->n_values + 1, sizeof *read);
    if (!read) return NULL;
    for (size_t i = 0; i < g->n_outputs; i++) read[g->outputs[i].value] = true;
    for (size_t i = 0; heads && i < g->n_ends; i++)
        if (g->ends[i]->role == CVR_ROLE_HEAD) read[g->ends[i]->value] = true;
    for (size_t i = g->n_nodes; i-- > 0;) {
        const ir_node *n = g->nodes[i];
        const bool runs = graph_node_runs(n, read);
        for (uint32_t k = 0; runs && k < n->n_inputs; k++) read[n->inputs[k]] = true;
    }
    read[CVR_NONE] = false;
    return read;
}

int32_t cvr_graph_drop_unread(cvr_graph *g, cvr_error *err) {
    bool *read = graph_find_read(g, true);
    size_t n_kept = 0;
    if (!read) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    for (size_t i = 0; i < g->n_nodes; i++) {
        ir_node *n = g->nodes[i];
        if (graph_node_runs(n, read) || !graph_is_own(g, n->scope))
            g->nodes[n_kept++] = n;
        else
            graph_free_node(n);
    }
    g->n_nodes = n_kept;
    for (size_t v = 1; v < g->n_values; v++) {
        const ir_value *value = g->values[v];
        if (value->kind != VALUE_STORED || read[v]) continue;
        const cvr_store_entry *e = cvr_store_get(g->store, value->store_index);
        if (e->role <= CVR_STORE_BUFFER && graph_is_own(g, e->name)) store_replace(g->store, value->store_index);
    }
    cvr_free(read);
    return CVR_OK;
}
