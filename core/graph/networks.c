/*
 * A second network in a graph: a teacher, which stays as it is, or what is trained beside the network and is no part of
 * it. Its layers and parameters have its name in front of theirs.
 */
#include "ir.h"

int32_t cvr_graph_enter(cvr_graph *g, const char *network, uint32_t kind, cvr_error *err) {
    if (g->network || !*network || strchr(network, '/'))
        return cvr_fail(err, CVR_ERR_INVALID, "a network within a network, or one without a name");
    g->network = cvr_strdup(network);
    g->network_trains = kind == CVR_NETWORK_TRAINED;
    cvr_text_add(&g->scope, "%s", network);
    if (!g->network_trains) g->builder.training = 0;
    return g->network && !g->scope.failed ? CVR_OK : cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
}

void cvr_graph_leave(cvr_graph *g) {
    cvr_free(g->network);
    g->network = NULL;
    g->network_trains = false;
    g->scope.n = 0;
    if (g->scope.s) g->scope.s[0] = '\0';
    g->builder.training = g->training;
}

const char *graph_own_name(const cvr_graph *g, const char *name) {
    const size_t n = g->network ? strlen(g->network) : 0;
    if (!n || strncmp(name, g->network, n) != 0) return name;
    return name[n] == '.' ? name + n + 1 : name[n] == '\0' ? name + n : name;
}

bool graph_is_own(const cvr_graph *g, const char *name) {
    return !g->network || graph_own_name(g, name) != name;
}

/* The names of the layers that there are stand on their nodes. */
int32_t graph_no_layer(const cvr_graph *g, const char *has, const char *layer, cvr_error *err) {
    const char **names = cvr_calloc(g->n_nodes + 1, sizeof *names);
    size_t n = 0;
    if (!names) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    for (size_t i = 0; i < g->n_nodes; i++) {
        const char *scope = graph_own_name(g, g->nodes[i]->scope);
        if (graph_is_own(g, g->nodes[i]->scope) && (n == 0 || strcmp(names[n - 1], scope) != 0)) names[n++] = scope;
    }
    const char *nearest = cvr_nearest(layer, names, n);
    cvr_fail(err, CVR_ERR_USAGE, "%s no layer `%s`; %s%s%s", has, layer,
             nearest ? "did you mean `" : "`cvrun info` lists them", nearest ? nearest : "", nearest ? "`?" : "");
    cvr_free(names);
    return CVR_ERR_USAGE;
}

/* Whether the scope of a node is the layer's, or of a layer within it. */
static bool is_within(const char *scope, const char *layer) {
    const size_t n = strlen(layer);
    return strncmp(scope, layer, n) == 0 && (scope[n] == '\0' || scope[n] == '.');
}

int32_t cvr_graph_layer_value(const cvr_graph *g, const char *layer, cvr_value *out, cvr_error *err) {
    for (size_t i = g->n_nodes; i-- > 0;) {
        const char *scope = g->nodes[i]->scope;
        if (!graph_is_own(g, scope) || !is_within(graph_own_name(g, scope), layer)) continue;
        *out = g->nodes[i]->outputs[0];
        return CVR_OK;
    }
    *out = CVR_NONE;
    return graph_no_layer(g, "there is", layer, err);
}
