/* The graph: values, nodes, and the builder through which plugins add to it. Shapes are inferred as nodes are added. */
#include "ir.h"

int32_t graph_add_value(cvr_graph *g, const cvr_type *type, value_kind kind, cvr_value *out, cvr_error *err) {
    ir_value **more = cvr_grow(g->values, g->n_values, &g->values_capacity, sizeof *more);
    if (more) g->values = more;
    ir_value *v = cvr_calloc(1, sizeof *v);
    if (!more || !v) {
        cvr_free(v);
        return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    }
    v->type = *type;
    v->type.struct_size = sizeof v->type;
    for (uint32_t i = type->rank; i < CVR_MAX_RANK; i++) v->type.shape[i] = 1;
    v->kind = kind;
    *out = (cvr_value)g->n_values;
    more[g->n_values++] = v;
    return CVR_OK;
}

static const cvr_type *builder_type(const cvr_builder *b, cvr_value v) {
    const cvr_graph *g = b->ctx;
    return v != CVR_NONE && v < g->n_values ? &g->values[v]->type : NULL;
}

static const char *builder_scope(const cvr_builder *b) {
    const cvr_graph *g = b->ctx;
    return g->scope.s ? g->scope.s : "";
}

int32_t graph_enter(cvr_graph *g, const char *scope, cvr_error *err) {
    g->scope.n = 0;
    cvr_text_add(&g->scope, "%s", scope);
    return g->scope.failed ? cvr_fail(err, CVR_ERR_NOMEM, "out of memory") : CVR_OK;
}

static uint32_t builder_param_flags(const cvr_builder *b, cvr_value v) {
    const cvr_graph *g = b->ctx;
    if (v == CVR_NONE || v >= g->n_values || g->values[v]->kind != VALUE_STORED) return 0;
    return cvr_store_get(g->store, g->values[v]->store_index)->flags;
}

/* ---- adding a node ---- */

void graph_free_node(ir_node *n) {
    if (!n) return;
    cvr_free(n->attrs);
    cvr_free(n->name);
    cvr_free(n->scope);
    cvr_free(n->inputs);
    cvr_free(n);
}

static ir_node *new_node(const cvr_graph *g, const cvr_op_desc *op, const cvr_op_call *call) {
    ir_node *n = cvr_calloc(1, sizeof *n);
    if (!n) return NULL;
    cvr_text name = {0};
    const char *scope = builder_scope(&g->builder);
    cvr_text_add(&name, "%s%s%s", scope, *scope ? "/" : "", op->name);
    n->op = op;
    n->name = name.s;
    n->scope = cvr_strdup(scope);
    n->n_inputs = call->n_inputs;
    n->n_outputs = op->n_outputs;
    n->backward = g->in_backward;
    n->recompute = g->in_recompute;
    n->attrs_size = call->attrs_size;
    n->inputs = cvr_calloc((size_t)call->n_inputs + op->n_outputs + 1, sizeof *n->inputs);
    n->attrs = cvr_calloc(1, call->attrs_size + 8);
    if (!n->name || !n->scope || !n->inputs || !n->attrs) {
        graph_free_node(n);
        return NULL;
    }
    n->outputs = n->inputs + call->n_inputs;
    if (call->n_inputs) memcpy(n->inputs, call->inputs, call->n_inputs * sizeof *n->inputs);
    if (call->attrs_size) memcpy(n->attrs, call->attrs, call->attrs_size);
    return n;
}

/* The call by itself, before anything of it is read. */
static int32_t check_form(const cvr_op_call *c, cvr_error *err) {
    const char *what = NULL;
    if (!c || c->struct_size < sizeof *c)
        what = "struct_size";
    else if (!c->op)
        what = "op";
    else if (c->n_inputs && !c->inputs)
        what = "inputs";
    else if (c->n_outputs && !c->outputs)
        what = "outputs";
    else if (c->attrs_size && !c->attrs)
        what = "attrs";
    return what ? cvr_fail(err, CVR_ERR_PLUGIN, "emit(%s): `%s` of its cvr_op_call is missing or makes no sense",
                           c && c->struct_size >= sizeof *c && c->op ? c->op : "", what)
                : CVR_OK;
}

static int32_t check_call(const cvr_graph *g, const cvr_op_desc *op, const cvr_op_call *call, cvr_error *err) {
    const cvr_schema schema = {op->attrs, op->n_attrs};
    const uint64_t size = cvr_schema_size(&schema, err);
    if (call->attrs_size != size) {
        return cvr_fail(err, CVR_ERR_PLUGIN, "op %s: given %llu bytes of attributes, its schema has %llu", op->name,
                        (unsigned long long)call->attrs_size, (unsigned long long)size);
    }
    if (call->n_inputs < op->min_inputs || call->n_inputs > op->max_inputs || call->n_inputs > CVR_MAX_IO) {
        return cvr_fail(err, CVR_ERR_INVALID, "op %s: %u inputs; it takes %u to %u", op->name, call->n_inputs,
                        op->min_inputs, op->max_inputs);
    }
    if (call->n_outputs > op->n_outputs || op->n_outputs > CVR_MAX_IO) {
        return cvr_fail(err, CVR_ERR_PLUGIN, "op %s: %u outputs wanted; it has %u", op->name, call->n_outputs,
                        op->n_outputs);
    }
    for (uint32_t i = 0; i < call->n_inputs; i++) {
        const cvr_value v = call->inputs[i];
        if (v >= g->n_values || (v == CVR_NONE && !(op->optional >> i & 1))) {
            return cvr_fail(err, CVR_ERR_PLUGIN, "op %s: input %u is missing", op->name, i);
        }
        if ((op->mutates >> i & 1) && v != CVR_NONE && g->values[v]->kind != VALUE_STORED) {
            return cvr_fail(err, CVR_ERR_PLUGIN, "op %s: input %u is updated in place and must be a parameter or state",
                            op->name, i);
        }
    }
    return CVR_OK;
}

/* Brings inputs whose elements lie in another order than the op can take into one that it can. */
static int32_t settle_order(cvr_graph *g, ir_node *n, cvr_error *err) {
    if (n->op->flags & (CVR_OP_ORDER_AWARE | CVR_OP_ALIAS)) return CVR_OK;
    bool agree = (n->op->flags & CVR_OP_ORDER_FREE) != 0;
    const cvr_type *first = n->n_inputs ? builder_type(&g->builder, n->inputs[0]) : NULL;
    for (uint32_t i = 0; i < n->n_inputs; i++) {
        const cvr_type *t = builder_type(&g->builder, n->inputs[i]);
        if (agree && t && cvr_numel(t->rank, t->shape) != 1 && !same_order(t, first)) agree = false;
    }
    if (agree) return CVR_OK;
    for (uint32_t i = 0; i < n->n_inputs; i++) {
        const cvr_type *t = builder_type(&g->builder, n->inputs[i]);
        if (!t || !has_order(t)) continue;
        CVR_TRY(graph_reorder(g, n->inputs[i], NULL, &n->inputs[i], err));
    }
    return CVR_OK;
}

static int32_t push_node(cvr_graph *g, ir_node *n, const cvr_type *types, cvr_error *err) {
    ir_node **more = cvr_grow(g->nodes, g->n_nodes, &g->nodes_capacity, sizeof *more);
    if (!more) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    g->nodes = more;
    bool needs = false;
    for (uint32_t i = 0; i < n->n_inputs; i++)
        needs = needs || (n->inputs[i] && g->values[n->inputs[i]]->needs_gradient);
    for (uint32_t i = 0; i < n->n_outputs; i++) {
        CVR_TRY(graph_add_value(g, &types[i], VALUE_TEMP, &n->outputs[i], err));
        g->values[n->outputs[i]]->needs_gradient = needs && n->op->grad && !g->in_backward;
    }
    g->nodes[g->n_nodes++] = n;
    return CVR_OK;
}

static void note_updates(cvr_graph *g, const ir_node *n) {
    for (uint32_t i = 0; i < n->n_inputs; i++) {
        const ir_value *v = g->values[n->inputs[i]];
        if ((n->op->mutates >> i & 1) && v && v->kind == VALUE_STORED) store_note_updated(g->store, v->store_index);
    }
}

static int32_t add_node(cvr_graph *g, const cvr_op_call *call, cvr_error *err) {
    const void *found;
    cvr_type types[CVR_MAX_IO];
    padding padded;
    uint32_t low;
    int32_t status = CVR_OK;
    CVR_TRY(check_form(call, err));
    CVR_TRY(cvr_plugins_find(g->plugins, CVR_KIND_OP, call->op, &found, err));
    CVR_TRY(check_call(g, found, call, err));
    ir_node *n = new_node(g, found, call);
    if (!n) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    CVR_TRY_OUT(counts_settle(g, n, &padded, err));
    CVR_TRY_OUT(settle_order(g, n, err));
    CVR_TRY_OUT(settle_precision(g, n, &low, err));
    CVR_TRY_OUT(infer_types(g, n, types, err));
    CVR_TRY_OUT(push_node(g, n, types, err));
    counts_set(g, n, &padded);
    note_updates(g, n);
    if (call->n_outputs) memcpy(call->outputs, n->outputs, call->n_outputs * sizeof *call->outputs);
    if (low && call->n_outputs && types[0].dtype == CVR_F32)
        return graph_cast(g, call->outputs[0], low, &call->outputs[0], err);
    return CVR_OK;
out:
    graph_free_node(n);
    return status;
}

/* A failure is remembered: a callback that hides it is found out (graph_called). */
static int32_t builder_emit(const cvr_builder *b, const cvr_op_call *call, cvr_error *err) {
    cvr_error own;
    if (!err) cvr_error_init(err = &own);
    return graph_noted(b->ctx, add_node(b->ctx, call, err), err);
}

int32_t graph_emit_like(cvr_graph *g, const ir_node *n, const cvr_value *inputs, cvr_value *outputs, cvr_error *err) {
    const cvr_op_call call = {sizeof call, n->op->name, n->attrs,    n->attrs_size,
                              inputs,      outputs,     n->n_inputs, n->n_outputs};
    return g->builder.emit(&g->builder, &call, err);
}

int32_t graph_reorder(cvr_graph *g, cvr_value v, const cvr_type *like, cvr_value *out, cvr_error *err) {
    const cvr_type *t = builder_type(&g->builder, v);
    *out = v;
    if (like && same_order(t, like)) return CVR_OK;
    if (has_order(t)) {
        const int32_t status = cvr_emit(&g->builder, "to_logical", NULL, 0, &v, 1, out, err);
        if (status != CVR_OK || !like || !has_order(like)) return status;
        v = *out;
    }
    if (!like || !has_order(like)) return CVR_OK;
    return cvr_emit(&g->builder, "from_logical", like->order, sizeof like->order, &v, 1, out, err);
}

/* ---- the graph itself ---- */

int32_t cvr_graph_create(cvr_graph **out, cvr_plugins *plugins, cvr_store *store, bool training, cvr_error *err) {
    cvr_graph *g = cvr_calloc(1, sizeof *g);
    if (!g) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    g->builder = (cvr_builder){.struct_size = sizeof g->builder,
                               .ctx = g,
                               .training = training,
                               .type = builder_type,
                               .emit = builder_emit,
                               .layer = builder_layer,
                               .param = builder_param,
                               .slot = builder_slot,
                               .scalar = builder_scalar,
                               .scope = builder_scope,
                               .param_flags = builder_param_flags,
                               .counts = builder_counts,
                               .set_counts = builder_set_counts};
    graph_open_io(g);
    g->plugins = plugins;
    g->store = store;
    g->training = training;
    g->values = cvr_grow(NULL, 0, &g->values_capacity, sizeof *g->values);
    g->n_values = 1;
    if (!g->values) cvr_graph_destroy(&g);
    *out = g;
    return g ? CVR_OK : cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
}

void cvr_graph_destroy(cvr_graph **graph) {
    cvr_graph *g = *graph;
    if (!g) return;
    for (size_t i = 1; g->values && i < g->n_values; i++) {
        cvr_free(g->values[i]->name);
        cvr_free(g->values[i]);
    }
    for (size_t i = 0; i < g->n_nodes; i++) graph_free_node(g->nodes[i]);
    for (size_t i = 0; i < g->n_outputs; i++) cvr_free(g->outputs[i].name);
    graph_close_io(g);
    if (g->owns_store) cvr_store_destroy(&g->store);
    cvr_free(g->by_entry);
    cvr_free(g->overrides_used);
    cvr_free(g->network);
    cvr_free(g->values);
    cvr_free(g->nodes);
    cvr_free(g->outputs);
    cvr_text_clear(&g->scope);
    cvr_free(g);
    *graph = NULL;
}

void cvr_graph_math(cvr_graph *g, uint32_t math) {
    g->math = math;
}

void cvr_graph_nondeterministic(cvr_graph *g) {
    g->nondeterministic = true;
}

const cvr_builder *cvr_graph_builder(const cvr_graph *g) {
    return &g->builder;
}

static int32_t add_named(cvr_graph *g, const char *name, const cvr_type *type, value_kind kind, cvr_value *out,
                         cvr_error *err) {
    CVR_TRY(check_type(type, name, err));
    CVR_TRY(graph_add_value(g, type, kind, out, err));
    g->values[*out]->name = cvr_strdup(name);
    return g->values[*out]->name ? CVR_OK : cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
}

int32_t cvr_graph_input(cvr_graph *g, const char *name, const cvr_type *type, cvr_value *out, cvr_error *err) {
    return add_named(g, name, type, VALUE_INPUT, out, err);
}

int32_t builder_scalar(const cvr_builder *b, const char *name, uint32_t dtype, cvr_value *out, cvr_error *err) {
    cvr_graph *g = b->ctx;
    cvr_type type;
    cvr_error own;
    if (!err) cvr_error_init(err = &own);
    if (!name || !*name || !out) return graph_noted(g, cvr_fail(err, CVR_ERR_PLUGIN, "a scalar without a name"), err);
    for (size_t i = 1; i < g->n_values; i++) {
        if (!g->values[i]->name || strcmp(g->values[i]->name, name) != 0) continue;
        *out = (cvr_value)i;
        if (g->values[i]->kind == VALUE_SCALAR && g->values[i]->type.dtype == dtype) return CVR_OK;
        cvr_fail(err, CVR_ERR_PLUGIN, "the scalar `%s` is an input, or another %s, already", name,
                 cvr_dtype_name(g->values[i]->type.dtype));
        return graph_noted(g, CVR_ERR_PLUGIN, err);
    }
    cvr_type_set(&type, dtype, 0, NULL);
    return graph_noted(g, add_named(g, name, &type, VALUE_SCALAR, out, err), err);
}

size_t cvr_graph_nodes(const cvr_graph *g) {
    return g->n_nodes;
}

void cvr_graph_node(const cvr_graph *g, size_t i, cvr_graph_node_info *info) {
    const ir_node *n = g->nodes[i];
    *info = (cvr_graph_node_info){n->op, n->attrs, n->attrs_size, n->inputs, n->outputs, n->n_inputs, n->n_outputs};
}

int32_t cvr_graph_output(cvr_graph *g, const char *name, cvr_value v, cvr_error *err) {
    ir_output *more = cvr_grow(g->outputs, g->n_outputs, &g->outputs_capacity, sizeof *more);
    if (more) g->outputs = more;
    char *copy = cvr_strdup(name);
    if (!more || !copy) {
        cvr_free(copy);
        return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    }
    g->values[v]->kept = true;
    more[g->n_outputs++] = (ir_output){copy, v, false};
    return CVR_OK;
}

int32_t graph_new_output(cvr_graph *g, const char *name, cvr_value v, cvr_error *err) {
    if (!name || !*name || v == CVR_NONE || v >= g->n_values)
        return cvr_fail(err, CVR_ERR_PLUGIN, "an output `%s` without name or value", name ? name : "");
    if (cvr_graph_output_value(g, name) != CVR_NONE)
        return cvr_fail(err, CVR_ERR_PLUGIN, "the program has an output `%s` already", name);
    return cvr_graph_output(g, name, v, err);
}

int32_t graph_blame(cvr_error *err, int32_t status, const char *what, const char *name) {
    char why[700];
    if (status == CVR_OK || !err) return status;
    (void)snprintf(why, sizeof why, "%.699s", err->message[0] ? err->message : "it failed and did not say why");
    (void)snprintf(err->message, sizeof err->message, "%s %s: %s", what, name, why);
    err->code = status;
    return status;
}

cvr_value cvr_graph_output_value(const cvr_graph *g, const char *name) {
    for (size_t i = 0; i < g->n_outputs; i++) {
        if (strcmp(g->outputs[i].name, name) == 0) return g->outputs[i].value;
    }
    return CVR_NONE;
}

cvr_value cvr_graph_gradient(const cvr_graph *g, cvr_value v) {
    return g->values[v]->gradient;
}

void cvr_graph_wants_gradient(cvr_graph *g, cvr_value v) {
    g->values[v]->needs_gradient = true;
}

cvr_value cvr_graph_param(const cvr_graph *g, const char *name) {
    const int64_t i = cvr_store_find(g->store, name);
    return i >= 0 && (size_t)i < g->n_by_entry ? g->by_entry[i] : CVR_NONE;
}
