/*
 * A network in two: what lies in front of one of its stages, and the stage itself. Where the part in front is frozen
 * its result can be computed once, and the stage trained on that.
 */
#include "ir.h"

/* The one value that the layers of `stage` read from layers of other stages. */
int32_t cvr_graph_before(const cvr_graph *g, const char *stage, cvr_value *out, cvr_error *err) {
    bool *inside = cvr_calloc(g->n_values, sizeof *inside);
    size_t n = 0;
    if (!inside) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    for (size_t i = 0; i < g->n_nodes; i++) {
        const ir_node *node = g->nodes[i];
        if (strcmp(store_stage(g->store, node->scope), stage) != 0) continue;
        for (uint32_t k = 0; k < node->n_outputs; k++) inside[node->outputs[k]] = true;
        for (uint32_t k = 0; k < node->n_inputs; k++) {
            const cvr_value v = node->inputs[k];
            if (!v || inside[v] || g->values[v]->kind == VALUE_STORED || g->values[v]->kind == VALUE_SCALAR) continue;
            n += n == 0 || v != *out;
            *out = v;
        }
    }
    cvr_free(inside);
    if (n == 1 && g->values[*out]->kind == VALUE_TEMP) return CVR_OK;
    return cvr_fail(
        err, CVR_ERR_UNSUPPORTED,
        "the stage `%s` of this network reads %zu values of the layers before it, and must read one: switch auxiliary "
        "heads off",
        stage, n);
}

/* Nodes that only it needed are left out when the graph is planned, and so are inputs that only these read. */
int32_t cvr_graph_cut(cvr_graph *g, cvr_value v, const char *name, cvr_error *err) {
    ir_value *value = g->values[v];
    for (size_t i = 1; i < g->n_values; i++)
        if (g->values[i]->name && strcmp(g->values[i]->name, name) == 0)
            return cvr_fail(err, CVR_ERR_INVALID, "there is a value called %s already", name);
    cvr_free(value->name); /* of an input, which then has another name */
    value->name = cvr_strdup(name);
    if (!value->name) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    value->kind = VALUE_INPUT;
    value->needs_gradient = false;
    for (size_t i = 0; i < g->n_nodes; i++) {
        ir_node *n = g->nodes[i];
        for (uint32_t k = 0; k < n->n_outputs; k++)
            if (n->outputs[k] == v) CVR_TRY(graph_add_value(g, &value->type, VALUE_TEMP, &n->outputs[k], err));
    }
    return CVR_OK;
}
