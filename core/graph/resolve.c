/*
 * Which kernel runs a node: the device's own, else the op's meaning in other ops, else a kernel on the host. Everything
 * is settled before the first step.
 */
#include "plan.h"

typedef struct signature {
    cvr_signature sig;
    cvr_tensor tensors[2 * CVR_MAX_IO];
    const cvr_tensor *pointers[2 * CVR_MAX_IO];
} signature;

static void make_signature(signature *s, const cvr_graph *g, const ir_node *n, uint32_t n_workers) {
    for (uint32_t i = 0; i < n->n_inputs + n->n_outputs; i++) {
        const cvr_value v = i < n->n_inputs ? n->inputs[i] : n->outputs[i - n->n_inputs];
        s->pointers[i] = v ? &s->tensors[i] : NULL;
        if (v) s->tensors[i] = tensor_of(&g->values[v]->type);
    }
    s->sig = (cvr_signature){sizeof s->sig, n->attrs,     s->pointers, s->pointers + n->n_inputs,
                             n->n_inputs,   n->n_outputs, n_workers,   0};
}

int32_t resolve_kernel(const plan_request *r, const ir_node *n, const char *const *backends, uint32_t n_backends,
                       const cvr_kernel_desc **out, cvr_text *why, cvr_error *err) {
    signature s;
    *out = NULL;
    make_signature(&s, r->graph, n, r->n_workers);
    for (uint32_t b = 0; b < n_backends && !*out; b++) {
        const cvr_kernel_desc *const *kernels;
        size_t count;
        const int32_t status = cvr_plugins_kernels(r->device->plugins, n->op, backends[b], &kernels, &count, err);
        if (status != CVR_OK) return status;
        if (count == 0 && backends[b]) cvr_text_add(why, "%s%s has no kernel", why->n ? "; " : "", backends[b]);
        for (size_t i = 0; i < count && !*out; i++) {
            cvr_error reason;
            cvr_error_init(&reason);
            if (!kernels[i]->supports || kernels[i]->supports(&s.sig, &reason) == CVR_OK)
                *out = kernels[i];
            else
                cvr_text_add(why, "%s%s: %s", why->n ? "; " : "", kernels[i]->backend, reason.message);
        }
        cvr_free((void *)(uintptr_t)kernels);
    }
    return CVR_OK;
}

/* ---- lowering ---- */

typedef struct lowering {
    cvr_graph *g;
    cvr_value *renamed; /* by value number before lowering */
    size_t n_before;
    ir_node **nodes;
    size_t n, capacity;
} lowering;

static int32_t keep_node(lowering *l, ir_node *n, cvr_error *err) {
    ir_node **more = cvr_grow(l->nodes, l->n, &l->capacity, sizeof *more);
    if (!more) graph_free_node(n);
    if (!more) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    l->nodes = more;
    for (uint32_t i = 0; i < n->n_inputs; i++) {
        if (n->inputs[i] < l->n_before) n->inputs[i] = l->renamed[n->inputs[i]];
    }
    more[l->n++] = n;
    return CVR_OK;
}

static int32_t lower_node(lowering *l, cvr_device *d, ir_node *n, uint32_t depth, cvr_error *err);

/* The decomposition's outputs take the names of the node's. */
static int32_t rename_outputs(lowering *l, const ir_node *n, const cvr_value *outputs, cvr_error *err) {
    cvr_graph *g = l->g;
    for (uint32_t i = 0; i < n->n_outputs; i++) {
        if (outputs[i] == CVR_NONE || !same_shape(&g->values[outputs[i]]->type, &g->values[n->outputs[i]]->type)) {
            return cvr_fail(err, CVR_ERR_PLUGIN, "op %s: its decomposition gives output %u another shape", n->op->name,
                            i);
        }
        if (n->outputs[i] < l->n_before) l->renamed[n->outputs[i]] = outputs[i];
        if (g->values[n->outputs[i]]->kept) g->values[outputs[i]]->kept = true;
    }
    return CVR_OK;
}

/* Lets the op say what it means; the nodes that it emits take this node's place. Takes the node over. */
static int32_t decompose(lowering *l, cvr_device *d, ir_node *n, uint32_t depth, cvr_error *err) {
    cvr_value outputs[CVR_MAX_IO] = {CVR_NONE};
    cvr_graph *g = l->g;
    const size_t first = g->n_nodes;
    const char *slash = strchr(n->name, '/');
    for (uint32_t i = 0; i < n->n_inputs; i++) {
        if (n->inputs[i] < l->n_before) n->inputs[i] = l->renamed[n->inputs[i]];
    }
    cvr_decompose_args args = {sizeof args, n->attrs, n->inputs, outputs, n->n_inputs, n->n_outputs};
    g->in_backward = n->backward;
    g->scope.n = 0;
    cvr_text_add(&g->scope, "%.*s", slash ? (int)(slash - n->name) : 0, n->name);
    int32_t status = depth > 16 ? cvr_fail(err, CVR_ERR_PLUGIN, "op %s decomposes into itself", n->op->name)
                                : n->op->decompose(&g->builder, &args, err);
    g->scope.n = 0;
    if (g->scope.s) g->scope.s[0] = '\0';
    if (status == CVR_OK) status = rename_outputs(l, n, outputs, err);
    const size_t last = g->n_nodes;
    for (size_t i = first; i < last; i++) {
        ir_node *part = g->nodes[i];
        g->nodes[i] = NULL;
        if (status == CVR_OK)
            status = lower_node(l, d, part, depth + 1, err);
        else
            graph_free_node(part);
    }
    graph_free_node(n);
    return status;
}

static int32_t lower_node(lowering *l, cvr_device *d, ir_node *n, uint32_t depth, cvr_error *err) {
    if (!n->op->decompose) return keep_node(l, n, err);
    const plan_request r = {l->g, d, 1, 0};
    const cvr_kernel_desc *kernel;
    cvr_text why = {0};
    const int32_t status = resolve_kernel(&r, n, d->backend->runs, d->backend->n_runs, &kernel, &why, err);
    cvr_text_clear(&why);
    if (status != CVR_OK) graph_free_node(n);
    if (status != CVR_OK) return status;
    return kernel ? keep_node(l, n, err) : decompose(l, d, n, depth, err);
}

int32_t lower_graph(cvr_graph *g, cvr_device *d, cvr_error *err) {
    bool any = false;
    for (size_t i = 0; i < g->n_nodes; i++) any = any || g->nodes[i]->op->decompose;
    if (!any) return CVR_OK;
    lowering l = {.g = g, .n_before = g->n_values};
    l.renamed = cvr_calloc(g->n_values, sizeof *l.renamed);
    if (!l.renamed) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    for (size_t i = 0; i < g->n_values; i++) l.renamed[i] = (cvr_value)i;
    int32_t status = CVR_OK;
    const size_t n = g->n_nodes;
    for (size_t i = 0; i < n && status == CVR_OK; i++) {
        ir_node *node = g->nodes[i];
        g->nodes[i] = NULL;
        status = lower_node(&l, d, node, 0, err);
    }
    for (size_t i = 0; i < g->n_outputs && status == CVR_OK; i++) {
        if (g->outputs[i].value < l.n_before) g->outputs[i].value = l.renamed[g->outputs[i].value];
    }
    if (status == CVR_OK) {
        cvr_free(g->nodes);
        g->nodes = l.nodes;
        g->n_nodes = l.n;
        g->nodes_capacity = l.capacity;
    } else {
        for (size_t i = 0; i < l.n; i++) graph_free_node(l.nodes[i]);
        cvr_free(l.nodes);
    }
    cvr_free(l.renamed);
    return status;
}
