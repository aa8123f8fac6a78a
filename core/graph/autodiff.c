/*
 * Reverse-mode differentiation: nodes are visited from the last to the first, each op's own `grad` adds the nodes of
 * its gradient, and gradients that meet in one value are added up in the order in which they come.
 */
#include "ir.h"

/* Adds what `by` says is the gradient of its input `i`. */
static int32_t accumulate(cvr_graph *g, const ir_node *by, uint32_t i, cvr_value gradient, cvr_error *err) {
    ir_value *value = g->values[by->inputs[i]];
    const bool floats = value->type.dtype != CVR_I64 && value->type.dtype != CVR_I32;
    if (gradient >= g->n_values)
        return cvr_call_blame(by->op, "grad", by->name, err, "sets grad_inputs[%u] to %u, which is no value", i,
                              gradient);
    if (floats) CVR_TRY(graph_cast(g, gradient, value->type.dtype, &gradient, err));
    if (!same_shape(&value->type, &g->values[gradient]->type)) {
        char want[160], have[160];
        print_shape(&value->type, want, sizeof want);
        print_shape(&g->values[gradient]->type, have, sizeof have);
        return cvr_call_blame(by->op, "grad", by->name, err,
                              "sets grad_inputs[%u] to a value of shape %s, %s; the input has shape %s, %s", i, have,
                              cvr_dtype_name(g->values[gradient]->type.dtype), want, cvr_dtype_name(value->type.dtype));
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
    const uint64_t sum = attrs_sum(n->attrs, n->attrs_size);
    cvr_grad_args args = {sizeof args, n->attrs, n->inputs,   n->outputs,  grad_out,
                          needs,       grad_in,  n->n_inputs, n->n_outputs};
    CVR_TRY(graph_called(g, n->op, "grad", n->name, CVR_CALL(n->op, grad, n->name, err, &g->builder, &args), err));
    CVR_TRY(attrs_check(n->op, "grad", n->name, n->attrs, n->attrs_size, sum, err));
    for (uint32_t i = n->n_inputs; i < CVR_MAX_IO; i++)
        if (grad_in[i])
            return cvr_call_blame(n->op, "grad", n->name, err, "sets grad_inputs[%u]; the node has %u inputs", i,
                                  n->n_inputs);
    for (uint32_t i = 0; i < n->n_inputs; i++) {
        if (needs[i] && grad_in[i]) CVR_TRY(accumulate(g, n, i, grad_in[i], err));
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
