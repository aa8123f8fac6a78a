/*
 * Reverse-mode differentiation: nodes are visited from the last to the first, each op's own `grad` adds the nodes of
 * its gradient, and gradients that meet in one value are added up in the order in which they come.
 */
#include "ir.h"

static int32_t accumulate(cvr_graph *g, cvr_value v, cvr_value gradient, const ir_node *by, cvr_error *err) {
    ir_value *value = g->values[v];
    const bool floats = gradient < g->n_values && value->type.dtype != CVR_I64 && value->type.dtype != CVR_I32;
    if (floats) CVR_TRY(graph_cast(g, gradient, value->type.dtype, &gradient, err));
    if (gradient >= g->n_values || !same_shape(&value->type, &g->values[gradient]->type)) {
        char want[160], have[160] = "nothing";
        print_shape(&value->type, want, sizeof want);
        if (gradient < g->n_values) print_shape(&g->values[gradient]->type, have, sizeof have);
        return cvr_fail(err, CVR_ERR_PLUGIN, "the gradient of %s has shape %s for an input of shape %s", by->name, have,
                        want);
    }
    CVR_TRY(graph_reorder(g, gradient, &value->type, &gradient, err));
    if (value->gradient == CVR_NONE) {
        value->gradient = gradient;
        return CVR_OK;
    }
    const cvr_value both[2] = {value->gradient, gradient};
    return cvr_emit(&g->builder, "add", NULL, 0, both, 2, &value->gradient, err);
}

static int32_t node_gradient(cvr_graph *g, const ir_node *n, cvr_error *err) {
    cvr_value grad_out[CVR_MAX_IO], grad_in[CVR_MAX_IO] = {CVR_NONE};
    uint32_t needs[CVR_MAX_IO];
    bool any_out = false, any_in = false;
    for (uint32_t i = 0; i < n->n_outputs; i++) {
        grad_out[i] = g->values[n->outputs[i]]->gradient;
        any_out = any_out || grad_out[i];
    }
    for (uint32_t i = 0; i < n->n_inputs; i++) {
        needs[i] = n->inputs[i] && g->values[n->inputs[i]]->needs_gradient;
        any_in = any_in || needs[i];
    }
    if (!any_out || !any_in || !n->op->grad) return CVR_OK;
    cvr_grad_args args = {sizeof args, n->attrs, n->inputs,   n->outputs,  grad_out,
                          needs,       grad_in,  n->n_inputs, n->n_outputs};
    CVR_TRY(n->op->grad(&g->builder, &args, err));
    for (uint32_t i = 0; i < n->n_inputs; i++) {
        if (needs[i] && grad_in[i]) CVR_TRY(accumulate(g, n->inputs[i], grad_in[i], n, err));
    }
    return CVR_OK;
}

/* Gradient nodes are named after the layer that they differentiate. */
int32_t cvr_graph_backward_from(cvr_graph *g, cvr_value v, cvr_value gradient, cvr_error *err) {
    g->in_backward = true;
    CVR_TRY(graph_reorder(g, gradient, &g->values[v]->type, &gradient, err));
    g->values[v]->gradient = gradient;
    for (size_t i = g->n_nodes; i-- > 0;) {
        CVR_TRY(graph_enter(g, g->nodes[i]->scope, err));
        CVR_TRY(node_gradient(g, g->nodes[i], err));
    }
    return graph_enter(g, "", err);
}

int32_t cvr_graph_backward(cvr_graph *g, cvr_value loss, cvr_error *err) {
    const cvr_type *t = &g->values[loss]->type;
    if (t->rank != 0 || t->dtype != CVR_F32) {
        char shape[160];
        print_shape(t, shape, sizeof shape);
        return cvr_fail(err, CVR_ERR_INVALID, "the loss has shape %s; it must be one f32 number", shape);
    }
    cvr_value seed;
    CVR_TRY(g->builder.scalar(&g->builder, "loss_scale", CVR_F32, &seed, err));
    return cvr_graph_backward_from(g, loss, seed, err);
}

static double decay_of(const cvr_update_policy *p, const cvr_store_entry *e) {
    if (e->weight_decay >= 0) return e->weight_decay;
    if (e->flags & CVR_PARAM_NORM) return p->norm_weight_decay;
    return e->flags & CVR_PARAM_BIAS ? p->bias_weight_decay : p->weight_decay;
}

/* A parameter that is to be trained and that no gradient reaches would stay as it is without a word. */
static int32_t check_starved(const cvr_graph *g, cvr_error *err) {
    cvr_text names = {0};
    size_t n = 0;
    for (size_t i = 1; i < g->n_values; i++) {
        const ir_value *v = g->values[i];
        if (v->kind != VALUE_STORED || !v->needs_gradient || v->gradient != CVR_NONE) continue;
        if (n++ < 4) cvr_text_add(&names, "%s%s", n > 1 ? ", " : "", cvr_store_get(g->store, v->store_index)->name);
    }
    if (n)
        cvr_fail(
            err, CVR_ERR_INVALID,
            "no gradient reaches %zu parameter%s (%s%s): an op between them and the loss has no `grad`, or nothing "
            "reads what they make; mend it, or freeze them (model.freeze)",
            n, n == 1 ? "" : "s", names.s ? names.s : "?", n > 4 ? ", ..." : "");
    cvr_text_clear(&names);
    return n ? CVR_ERR_INVALID : CVR_OK;
}

int32_t cvr_graph_update(cvr_graph *g, const cvr_update_policy *policy, cvr_error *err) {
    cvr_value lr;
    CVR_TRY(g->builder.scalar(&g->builder, "lr", CVR_F32, &lr, err));
    g->in_backward = true;
    const size_t n = g->n_values;
    size_t n_updates = 0;
    CVR_TRY(check_starved(g, err));
    for (size_t i = 1; i < n; i++) {
        const ir_value *v = g->values[i];
        if (v->kind != VALUE_STORED || v->gradient == CVR_NONE) continue;
        n_updates++;
        const cvr_store_entry *e = cvr_store_get(g->store, v->store_index);
        char name[32] = "step";
        cvr_value step;
        if (e->thaws_in) (void)snprintf(name, sizeof name, "step_%u", e->thaws_in);
        CVR_TRY(g->builder.scalar(&g->builder, name, CVR_I64, &step, err));
        const cvr_update_args args = {.struct_size = sizeof args,
                                      .attrs = policy->attrs,
                                      .param = (cvr_value)i,
                                      .grad = v->gradient,
                                      .lr = lr,
                                      .step = step,
                                      .weight_decay = decay_of(policy, e),
                                      .lr_factor = e->lr_factor};
        CVR_TRY(graph_enter(g, e->name, err));
        CVR_TRY(policy->optimizer->emit(&g->builder, &args, err));
    }
    if (!n_updates)
        return cvr_fail(err, CVR_ERR_USAGE, "nothing is trained: every parameter that the loss depends on is frozen");
    return graph_enter(g, "", err);
}
