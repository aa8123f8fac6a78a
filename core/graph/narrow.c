/*
 * A network with fewer channels than its model builds. The model builds on a graph of its own (a trace), which knows no
 * other widths than the model's; then what it built is built once more on the real graph, with parameters that lack
 * what is gone, and with attributes that follow. So no model, layer or command need know of it.
 */
#include "axes.h"

/* ---- the trace ---- */

/* Values that the graph has so far, under the same numbers: inputs, and what stands in for them. */
static int32_t copy_outside(cvr_graph *t, const cvr_graph *g, cvr_error *err) {
    for (size_t i = 1; i < g->n_values; i++) {
        const ir_value *from = g->values[i];
        cvr_value v;
        CVR_TRY(graph_add_value(t, &from->type, from->kind == VALUE_STORED ? VALUE_TEMP : from->kind, &v, err));
        ir_value *to = t->values[v];
        to->counts = from->counts;
        to->counts_axis = from->counts_axis;
        to->stand_in = from->stand_in;
        to->name = from->name ? cvr_strdup(from->name) : NULL;
        if (from->name && !to->name) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    }
    t->n_outside = t->n_values;
    return CVR_OK;
}

int32_t cvr_graph_trace(cvr_graph **out, const cvr_graph *g, cvr_error *err) {
    cvr_store *store;
    *out = NULL;
    CVR_TRY(store_scratch(&store, g->store, err));
    const bool trains = g->training && g->builder.training; /* within a frozen network it does not */
    int32_t status = cvr_graph_create(out, g->plugins, store, trains, err);
    if (status != CVR_OK) {
        cvr_store_destroy(&store);
        return status;
    }
    (*out)->owns_store = true;
    (*out)->builder.training = g->builder.training;
    status = copy_outside(*out, g, err);
    if (status != CVR_OK) cvr_graph_destroy(out);
    return status;
}

/* ---- building it once more ---- */

typedef struct narrowing {
    cvr_graph *to;
    const cvr_graph *from;
    cvr_channels *channels;
    cvr_value *made; /* by value of the trace */
    char *prefix;    /* of layers: the network that is being built, or "" */
} narrowing;

/* The number of elements that stay along each axis. Of a single channel both orders of a flattened value are one, which
 * is told by no order. */
static void narrow_type(const cvr_channels *a, cvr_value v, cvr_type *t) {
    *t = a->g->values[v]->type;
    for (uint32_t i = 0; i < t->rank; i++) t->shape[i] = axes_left(a, v, i, 0, t->shape[i]);
    if (t->order[0]) t->order[0] = t->shape[1] / (t->order[1] * t->order[2]);
    if (t->order[0] == 1) memset(t->order, 0, sizeof t->order);
}

static int32_t narrow_stored(narrowing *n, cvr_value v, cvr_error *err) {
    const ir_value *is = n->from->values[v];
    const cvr_store_entry *e = cvr_store_get(n->from->store, is->store_index);
    cvr_type t;
    cvr_init init;
    const void *values = store_start(n->from->store, is->store_index, &init);
    void *cut = NULL;
    int32_t status;
    narrow_type(n->channels, v, &t);
    if (values) {
        cut = cvr_alloc_aligned(type_bytes(&t) + 8, 64);
        if (!cut) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
        cvr_channels_cut(n->channels, e->name, values, cut);
    }
    cvr_param_decl decl = {.struct_size = sizeof decl,
                           .name = e->name,
                           .dtype = t.dtype,
                           .rank = t.rank,
                           .flags = e->flags,
                           .init = init.struct_size ? &init : NULL,
                           .values = cut};
    memcpy(decl.shape, t.shape, sizeof decl.shape);
    memcpy(decl.order, t.order, sizeof decl.order);
    CVR_TRY_OUT(graph_enter(n->to, n->prefix, err));
    CVR_TRY_OUT(n->to->builder.param(&n->to->builder, &decl, &n->made[v], err));
    n->to->values[n->made[v]]->layer = is->layer;
out:
    cvr_free(cut);
    return status;
}

/* The value that stands for one of the trace's. */
static int32_t value_of(narrowing *n, cvr_value v, cvr_value *out, cvr_error *err) {
    const ir_value *is = v ? n->from->values[v] : NULL;
    if (v && !n->made[v] && is->kind == VALUE_STORED) CVR_TRY(narrow_stored(n, v, err));
    if (v && !n->made[v] && is->kind == VALUE_SCALAR)
        CVR_TRY(n->to->builder.scalar(&n->to->builder, is->name, is->type.dtype, &n->made[v], err));
    *out = n->made[v];
    return CVR_OK;
}

static int32_t check_widths(const narrowing *n, const ir_node *node, const cvr_value *outputs, cvr_error *err) {
    for (uint32_t i = 0; i < node->n_outputs; i++) {
        cvr_type expected;
        narrow_type(n->channels, node->outputs[i], &expected);
        const cvr_type *is = &n->to->values[outputs[i]]->type;
        if (same_shape(&expected, is) && same_order(&expected, is)) continue;
        char wanted[160], shape[160];
        print_shape(&expected, wanted, sizeof wanted);
        print_shape(is, shape, sizeof shape);
        return cvr_call_blame(node->op, "trait", node->name, err, "makes %s, and by what it ties (%s) it would make %s",
                              shape, CVR_TRAIT_AXES, wanted);
    }
    return CVR_OK;
}

static int32_t narrow_node(narrowing *n, const ir_node *node, cvr_error *err) {
    cvr_value inputs[CVR_MAX_IO], outputs[CVR_MAX_IO];
    cvr_text scope = {0};
    void *attrs = cvr_calloc(1, node->attrs_size + 8);
    int32_t status;
    if (!attrs) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    memcpy(attrs, node->attrs, node->attrs_size);
    axes_narrow_attrs(n->channels, node, attrs);
    for (uint32_t i = 0; i < node->n_inputs; i++) CVR_TRY_OUT(value_of(n, node->inputs[i], &inputs[i], err));
    cvr_text_add(&scope, "%s%s%s", n->prefix, *n->prefix && *node->scope ? "." : "", node->scope);
    CVR_TRY_OUT(scope.failed ? cvr_fail(err, CVR_ERR_NOMEM, "out of memory") : graph_enter(n->to, scope.s, err));
    const cvr_op_call call = {sizeof call, node->op->name, attrs,          node->attrs_size,
                              inputs,      outputs,        node->n_inputs, node->n_outputs};
    CVR_TRY_OUT(n->to->builder.emit(&n->to->builder, &call, err));
    CVR_TRY_OUT(check_widths(n, node, outputs, err));
    for (uint32_t i = 0; i < node->n_outputs; i++) {
        const ir_value *was = n->from->values[node->outputs[i]];
        n->made[node->outputs[i]] = outputs[i];
        CVR_TRY_OUT(value_of(n, was->counts, &n->to->values[outputs[i]]->counts, err));
        n->to->values[outputs[i]]->counts_axis = was->counts_axis;
    }
out:
    cvr_text_clear(&scope);
    cvr_free(attrs);
    return status;
}

/* What the network gives. */
static int32_t narrow_ends(narrowing *n, cvr_error *err) {
    for (size_t i = 0; i < n->from->n_ends; i++) {
        const cvr_io_output *end = n->from->ends[i];
        cvr_value v;
        CVR_TRY(value_of(n, end->value, &v, err));
        CVR_TRY(graph_add_end(n->to, end->name, end->role, v, err));
        n->to->ends[n->to->n_ends - 1]->weight = end->weight;
    }
    for (size_t i = 0; i < n->from->n_outputs; i++) {
        cvr_value v;
        CVR_TRY(value_of(n, n->from->outputs[i].value, &v, err));
        CVR_TRY(cvr_graph_output(n->to, n->from->outputs[i].name, v, err));
    }
    return CVR_OK;
}

int32_t cvr_graph_narrow(cvr_graph *to, const cvr_graph *from, cvr_channels *channels, cvr_error *err) {
    narrowing n = {.to = to, .from = from, .channels = channels};
    int32_t status;
    n.made = cvr_calloc(from->n_values, sizeof *n.made);
    n.prefix = cvr_strdup(to->scope.s ? to->scope.s : "");
    CVR_TRY_OUT(n.made && n.prefix ? CVR_OK : cvr_fail(err, CVR_ERR_NOMEM, "out of memory"));
    for (size_t v = 1; v < from->n_outside; v++) n.made[v] = (cvr_value)v;
    /* Parameters in the order in which the model declares them: files have them so. */
    for (size_t v = from->n_outside; v < from->n_values; v++)
        if (from->values[v]->kind == VALUE_STORED) CVR_TRY_OUT(narrow_stored(&n, (cvr_value)v, err));
    for (size_t i = 0; i < from->n_nodes; i++) CVR_TRY_OUT(narrow_node(&n, from->nodes[i], err));
    CVR_TRY_OUT(narrow_ends(&n, err));
    status = graph_enter(to, n.prefix, err);
out:
    cvr_free(n.made);
    cvr_free(n.prefix);
    return status;
}

/* ---- what is left of a parameter ---- */

/* Elements that lack what `was` marks already; NULL: all are there. */
static void cut_axis(const cvr_channels *a, const uint8_t *was, cvr_value v, uint32_t axis, const char **from,
                     char **to) {
    const cvr_type *t = &a->g->values[v]->type;
    const uint64_t size = cvr_dtype_size(t->dtype);
    uint64_t inner = size;
    if (axis == t->rank) {
        memcpy(*to, *from, size);
        *from += size;
        *to += size;
        return;
    }
    for (uint32_t i = axis + 1; i < t->rank; i++) {
        uint64_t there = 0;
        for (int64_t k = 0; k < t->shape[i]; k++) there += !(was && was[axes_set(a, v, i, k)]);
        inner *= there;
    }
    for (int64_t i = 0; i < t->shape[axis]; i++) {
        const uint32_t set = axes_set(a, v, axis, i);
        if (!a->gone[set])
            cut_axis(a, was, v, axis + 1, from, to);
        else if (!was || !was[set])
            *from += inner;
    }
}

static bool cut(const cvr_channels *a, const uint8_t *was, const char *param, const void *from, void *to) {
    const cvr_value v = cvr_graph_param(a->g, param);
    const char *p = from;
    char *q = to;
    if (v != CVR_NONE) cut_axis(a, was, v, 0, &p, &q);
    return v != CVR_NONE;
}

bool cvr_channels_cut(const cvr_channels *a, const char *param, const void *whole, void *left) {
    return cut(a, NULL, param, whole, left);
}

bool cvr_channels_cut_again(const cvr_channels *a, const char *param, const void *before, void *left) {
    return cut(a, a->before, param, before, left);
}

bool cvr_channels_type(const cvr_channels *a, const char *param, cvr_type *t) {
    const cvr_value v = cvr_graph_param(a->g, param);
    if (v != CVR_NONE) narrow_type(a, v, t);
    return v != CVR_NONE;
}
