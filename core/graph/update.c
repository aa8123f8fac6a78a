/*
 * The updates of a step: every parameter that is trained has a gradient and is updated exactly once. One that no
 * gradient reaches would stay as it is without a word, so the op that starves it is looked for and named.
 */
#include "ir.h"

static double decay_of(const cvr_update_policy *p, const cvr_store_entry *e) {
    if (e->weight_decay >= 0) return e->weight_decay;
    if (e->flags & CVR_PARAM_NORM) return p->norm_weight_decay;
    return e->flags & CVR_PARAM_BIAS ? p->bias_weight_decay : p->weight_decay;
}

/* ---- starved parameters ---- */

static bool has_gradient(const cvr_graph *g, const ir_node *n) {
    for (uint32_t i = 0; i < n->n_outputs; i++)
        if (g->values[n->outputs[i]]->gradient) return true;
    return false;
}

/* The node where the way from `param` to the loss ends: its outputs have a gradient and it hands none on. NULL: nothing
 * that the loss depends on reads the parameter. */
static const ir_node *starver(const cvr_graph *g, cvr_value param, bool *from_param) {
    from_param[param] = true;
    for (size_t i = 0; i < g->n_nodes; i++) {
        const ir_node *n = g->nodes[i];
        bool reads = false;
        for (uint32_t k = 0; k < n->n_inputs; k++) reads = reads || from_param[n->inputs[k]];
        if (!reads || n->backward) continue;
        if (has_gradient(g, n) || !n->op->grad) return n; /* an op without `grad` lets none through to what it reads */
        for (uint32_t k = 0; k < n->n_outputs; k++) from_param[n->outputs[k]] = true;
    }
    return NULL;
}

static bool is_read(const cvr_graph *g, cvr_value v) {
    for (size_t i = 0; i < g->n_nodes; i++)
        for (uint32_t k = 0; k < g->nodes[i]->n_inputs; k++)
            if (g->nodes[i]->inputs[k] == v) return true;
    return false;
}

/* Why no gradient comes: the callback that hands none on, or that declared what nothing reads. False: the network is
 * such that the loss does not depend on it, which is no plugin's fault. */
static bool blame_starver(const cvr_graph *g, cvr_value param, const ir_node *n, cvr_error *err) {
    const ir_value *v = g->values[param];
    if (n)
        (void)cvr_call_blame(n->op, "grad", n->name, err, n->op->grad ? "gives none" : "is NULL");
    else if (v->layer && !is_read(g, param))
        (void)cvr_call_blame(v->layer, "build", cvr_store_get(g->store, v->store_index)->name, err,
                             "declares it, and nothing reads it");
    else
        return false;
    return true;
}

static int32_t tell_starved(const cvr_graph *g, cvr_value param, const char *names, size_t count, cvr_error *err) {
    bool *from_param = cvr_calloc(g->n_values, sizeof *from_param);
    if (!from_param) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    const ir_node *n = starver(g, param, from_param);
    cvr_free(from_param);
    const char *verb = count == 1 ? "gets" : "get";
    if (!blame_starver(g, param, n, err))
        return cvr_fail(err, CVR_ERR_INVALID,
                        "%s %s no gradient: the loss depends on nothing that reads %s; mend the network, or freeze %s "
                        "(model.freeze)",
                        names, verb, count == 1 ? "it" : "them", count == 1 ? "it" : "them");
    char who[600];
    (void)snprintf(who, sizeof who, "%.599s", err->message);
    return cvr_fail(err, CVR_ERR_INVALID, "%.300s %s no gradient: %s; mend it, or freeze %s (model.freeze)", names,
                    verb, who, count == 1 ? "it" : "them");
}

int32_t graph_check_starved(const cvr_graph *g, cvr_error *err) {
    cvr_text names = {0};
    cvr_value first = CVR_NONE;
    size_t n = 0;
    for (size_t i = 1; i < g->n_values; i++) {
        const ir_value *v = g->values[i];
        if (v->kind != VALUE_STORED || !v->needs_gradient || v->gradient != CVR_NONE) continue;
        if (!first) first = (cvr_value)i;
        if (n++ < 4) cvr_text_add(&names, "%s%s", n > 1 ? ", " : "", cvr_store_get(g->store, v->store_index)->name);
    }
    if (n > 4) cvr_text_add(&names, " and %zu more", n - 4);
    const int32_t status = n ? tell_starved(g, first, names.s ? names.s : "a parameter", n, err) : CVR_OK;
    cvr_text_clear(&names);
    return status;
}

/* ---- once each ---- */

/* How often the nodes from `first` on update each value. */
static void count_updates(const cvr_graph *g, size_t first, uint32_t *count) {
    for (size_t i = first; i < g->n_nodes; i++)
        for (uint32_t k = 0; k < g->nodes[i]->n_inputs; k++)
            if (g->nodes[i]->op->mutates >> k & 1) count[g->nodes[i]->inputs[k]]++;
}

static int32_t check_once(const cvr_graph *g, const cvr_optimizer_desc *o, size_t n_values, size_t first,
                          cvr_error *err) {
    uint32_t *count = cvr_calloc(g->n_values, sizeof *count);
    int32_t status = count ? CVR_OK : cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    if (count) count_updates(g, first, count);
    for (size_t i = 1; i < n_values && status == CVR_OK; i++) {
        const ir_value *v = g->values[i];
        const uint32_t wanted = v->gradient != CVR_NONE;
        if (v->kind != VALUE_STORED || count[i] == wanted) continue;
        const cvr_store_entry *e = cvr_store_get(g->store, v->store_index);
        status = cvr_call_blame(o, "emit", e->name, err, "updates it %u times in a step; %s", count[i],
                                wanted ? "once is right" : "it is not trained");
    }
    cvr_free(count);
    return status;
}

int32_t cvr_graph_update(cvr_graph *g, const cvr_update_policy *policy, cvr_error *err) {
    const cvr_optimizer_desc *o = policy->optimizer;
    cvr_value lr;
    CVR_TRY(g->builder.scalar(&g->builder, "lr", CVR_F32, &lr, err));
    g->in_backward = true;
    const size_t n = g->n_values, first = g->n_nodes;
    size_t n_updates = 0;
    CVR_TRY(graph_check_starved(g, err));
    for (size_t i = 1; i < n; i++) {
        const ir_value *v = g->values[i];
        if (v->kind != VALUE_STORED || v->gradient == CVR_NONE) continue;
        n_updates++;
        const cvr_store_entry *e = cvr_store_get(g->store, v->store_index);
        char name[32] = "updates";
        cvr_value step;
        if (e->thaws_in) (void)snprintf(name, sizeof name, "updates_%u", e->thaws_in);
        CVR_TRY(g->builder.scalar(&g->builder, name, CVR_I64, &step, err));
        const cvr_update_args args = {.struct_size = sizeof args,
                                      .attrs = policy->attrs,
                                      .param = (cvr_value)i,
                                      .grad = v->gradient,
                                      .lr = lr,
                                      .step = step,
                                      .weight_decay = decay_of(policy, e),
                                      .lr_factor = e->lr_factor};
        const char *param = e->name; /* state that `emit` declares may move the entries */
        CVR_TRY(graph_enter(g, param, err));
        CVR_TRY(graph_called(g, o, "emit", param, CVR_CALL(o, emit, param, err, &g->builder, &args), err));
    }
    if (!n_updates)
        return cvr_fail(err, CVR_ERR_USAGE, "nothing is trained: every parameter that the loss depends on is frozen");
    CVR_TRY(check_once(g, o, n, first, err));
    return graph_enter(g, "", err);
}
