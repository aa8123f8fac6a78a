/*
 * Which kernel runs a node: the device's own, else the op's meaning in other ops, else a kernel on the host. Everything
 * is settled before the first step.
 */
#include "plan.h"
#include "rewrite.h"

void make_signature(node_signature *s, const plan_request *r, const ir_node *n) {
    const cvr_graph *g = r->graph;
    for (uint32_t i = 0; i < n->n_inputs + n->n_outputs; i++) {
        const cvr_value v = i < n->n_inputs ? n->inputs[i] : n->outputs[i - n->n_inputs];
        s->pointers[i] = v ? &s->tensors[i] : NULL;
        if (v) s->tensors[i] = tensor_of(&g->values[v]->type);
    }
    s->sig = (cvr_signature){sizeof s->sig,
                             n->attrs,
                             s->pointers,
                             s->pointers + n->n_inputs,
                             n->n_inputs,
                             n->n_outputs,
                             r->n_workers,
                             g->math,
                             0,
                             0,
                             NULL};
}

void address_signature(node_signature *s, const plan_request *r, const cvr_kernel_desc *k) {
    const bool host = cvr_kernel_is_host(k);
    s->sig.n_workers = host ? r->n_workers : 1;
    s->sig.device = host ? NULL : r->device->info;
}

bool can_prepare(const plan_request *r, const ir_node *n, const cvr_kernel_desc *k) {
    bool all = r->constant && k->prepares;
    for (uint32_t i = 0; all && i < n->n_inputs && i < 64; i++)
        all = !(k->prepares >> i & 1) || !n->inputs[i] || r->constant[n->inputs[i]];
    return all;
}

/* A kernel that is not flagged for it never sees another floating-point type than f32. */
static bool fits_precision(const cvr_kernel_desc *k, const node_signature *s) {
    for (uint32_t i = 0; i < s->sig.n_inputs + s->sig.n_outputs; i++) {
        const uint32_t dtype = s->pointers[i] ? s->tensors[i].dtype : CVR_F32;
        if (dtype == CVR_BF16 && !(k->flags & CVR_KERNEL_BF16)) return false;
        if (dtype == CVR_F16 && !(k->flags & CVR_KERNEL_F16)) return false;
    }
    return true;
}

/* Kernels for other CPU features often have the same reason: it is told once. */
static void add_reason(cvr_text *why, const char *backend, const char *reason) {
    char text[1200];
    (void)snprintf(text, sizeof text, "%.100s: %s", backend, reason);
    if (!why->s || !strstr(why->s, text)) cvr_text_add(why, "%s%s", why->n ? "; " : "", text);
}

/* Whether a kernel takes the node; else a reason is added to `why`. */
static bool takes_node(const plan_request *r, const ir_node *n, const cvr_kernel_desc *k, bool on_host,
                       node_signature *s, cvr_text *why) {
    cvr_error reason = CVR_ERROR_INIT;
    s->sig.prepared = can_prepare(r, n, k);
    address_signature(s, r, k);
    if (!on_host && !cvr_device_takes(r->device, k, reason.message, sizeof reason.message)) {
        add_reason(why, k->backend, reason.message);
    } else if (!fits_precision(k, s)) {
        add_reason(why, k->backend, "f32 only");
    } else if (!(k->flags & CVR_KERNEL_DETERMINISTIC) && !r->graph->nondeterministic) {
        add_reason(why, k->backend, "it may give other bits each time, which run.deterministic=no allows");
    } else if (k->supports && CVR_CALL(k, supports, n->name, &reason, &s->sig) != CVR_OK) {
        add_reason(why, k->backend, reason.message);
    } else {
        return true;
    }
    return false;
}

int32_t resolve_signature(const plan_request *r, const ir_node *n, node_signature *s, const char *const *backends,
                          uint32_t n_backends, const cvr_kernel_desc **out, cvr_text *why, cvr_error *err) {
    *out = NULL;
    for (uint32_t b = 0; b < n_backends && !*out; b++) {
        const cvr_kernel_desc *const *kernels;
        size_t count;
        CVR_TRY(cvr_plugins_kernels(r->device->plugins, n->op, backends[b], &kernels, &count, err));
        if (count == 0 && backends[b]) cvr_text_add(why, "%s%s has no kernel", why->n ? "; " : "", backends[b]);
        for (size_t i = 0; i < count && !*out; i++)
            if (takes_node(r, n, kernels[i], !backends[b], s, why)) *out = kernels[i];
    }
    return CVR_OK;
}

int32_t resolve_kernel(const plan_request *r, const ir_node *n, const char *const *backends, uint32_t n_backends,
                       const cvr_kernel_desc **out, cvr_text *why, cvr_error *err) {
    node_signature s;
    make_signature(&s, r, n);
    return resolve_signature(r, n, &s, backends, n_backends, out, why, err);
}

/* ---- lowering ---- */

static int32_t lower_node(rewrite *w, const lowering *l, ir_node *n, uint32_t depth, cvr_error *err);

/* The decomposition's outputs take the place of the node's. */
static int32_t replace_outputs(rewrite *w, const ir_node *n, const cvr_value *outputs, cvr_error *err) {
    const cvr_graph *g = w->g;
    for (uint32_t i = 0; i < n->n_outputs; i++) {
        if (outputs[i] == CVR_NONE || outputs[i] >= g->n_values ||
            !same_shape(&g->values[outputs[i]]->type, &g->values[n->outputs[i]]->type))
            return cvr_call_blame(n->op, "decompose", n->name, err,
                                  "gives outputs[%u] another shape than `infer`, or none", i);
        CVR_TRY(rewrite_replace(w, n->outputs[i], outputs[i], err));
    }
    return CVR_OK;
}

/* What a node of low precision means where no kernel takes that: the same in f32, between casts. */
static int32_t fence(cvr_graph *g, const ir_node *n, cvr_value *outputs, cvr_error *err) {
    cvr_value inputs[CVR_MAX_IO];
    for (uint32_t i = 0; i < n->n_inputs; i++) {
        const uint32_t dtype = n->inputs[i] ? g->values[n->inputs[i]]->type.dtype : 0;
        inputs[i] = n->inputs[i];
        if (dtype == CVR_BF16 || dtype == CVR_F16) CVR_TRY(graph_cast(g, inputs[i], CVR_F32, &inputs[i], err));
    }
    CVR_TRY(graph_emit_like(g, n, inputs, outputs, err));
    for (uint32_t i = 0; i < n->n_outputs; i++) /* casts nothing that has the type already */
        CVR_TRY(graph_cast(g, outputs[i], g->values[n->outputs[i]]->type.dtype, &outputs[i], err));
    return CVR_OK;
}

/* Whether `elementwise` can take the node's place: every input has the output's shape, or repeats evenly in it. One
 * that says by `operands` what its inputs are has seen to that. */
bool node_is_program(const cvr_graph *g, const ir_node *n) {
    const cvr_elementwise_trait *program = cvr_op_trait(n->op, CVR_TRAIT_ELEMENTWISE);
    if (!program || n->n_outputs != 1 || n->n_inputs > CVR_ELEMENTWISE_INPUTS) return false;
    const cvr_type *y = &g->values[n->outputs[0]]->type;
    for (uint32_t i = 0; i < n->n_inputs && !program->operands; i++) {
        const cvr_type *x = n->inputs[i] ? &g->values[n->inputs[i]]->type : NULL;
        int64_t inner, size;
        if (!x || !cvr_elementwise_repeat(y->rank, y->shape, x->rank, x->shape, &inner, &size)) return false;
        if (i == 0 && !same_shape(x, y)) return false;
    }
    return true;
}

/* The op's meaning in other ops: its own word, else the elementwise program that it says it is; else it is fenced. */
static int32_t meaning(cvr_graph *g, const ir_node *n, cvr_decompose_args *a, cvr_error *err) {
    const cvr_elementwise_trait *program = cvr_op_trait(n->op, CVR_TRAIT_ELEMENTWISE);
    if (n->op->decompose) return CVR_CALL(n->op, decompose, n->name, err, &g->builder, a);
    if (node_is_program(g, n)) return cvr_elementwise_decompose(&g->builder, a, program, err);
    return fence(g, n, a->outputs, err);
}

/* The op says what it means, or is fenced; its outputs are replaced. */
static int32_t emit_meaning(rewrite *w, const ir_node *n, uint32_t depth, cvr_error *err) {
    cvr_value outputs[CVR_MAX_IO] = {CVR_NONE};
    cvr_graph *g = w->g;
    cvr_decompose_args args = {sizeof args, n->attrs, n->inputs, outputs, n->n_inputs, n->n_outputs};
    const uint64_t sum = attrs_sum(n->attrs, n->attrs_size);
    CVR_TRY(rewrite_enter(g, n, err));
    if (depth > 16) return cvr_fail(err, CVR_ERR_PLUGIN, "op %s decomposes into itself", n->op->name);
    const int32_t status = meaning(g, n, &args, err);
    if (status != CVR_OK) return graph_blame(err, status, "op", n->op->name);
    CVR_TRY(graph_called(g, n->op, "decompose", n->name, status, err));
    CVR_TRY(attrs_check(n->op, "decompose", n->name, n->attrs, n->attrs_size, sum, err));
    return replace_outputs(w, n, outputs, err);
}

/* The nodes that are emitted take this node's place. Takes the node over. */
static int32_t decompose(rewrite *w, const lowering *l, ir_node *n, uint32_t depth, cvr_error *err) {
    cvr_graph *g = w->g;
    const size_t first = g->n_nodes;
    for (uint32_t i = 0; i < n->n_inputs; i++) n->inputs[i] = rewrite_current(w, n->inputs[i]);
    int32_t status = emit_meaning(w, n, depth, err);
    rewrite_leave(g);
    const size_t last = g->n_nodes;
    for (size_t i = first; i < last; i++) {
        ir_node *part = g->nodes[i];
        g->nodes[i] = NULL;
        if (status == CVR_OK)
            status = lower_node(w, l, part, depth + 1, err);
        else
            graph_free_node(part);
    }
    graph_free_node(n);
    return status;
}

static int32_t lower_node(rewrite *w, const lowering *l, ir_node *n, uint32_t depth, cvr_error *err) {
    bool keep;
    int32_t status = l->inputs ? l->inputs(l, w, n, err) : CVR_OK;
    if (status == CVR_OK) status = l->keeps(l, w->g, n, &keep, err);
    if (status != CVR_OK) {
        graph_free_node(n);
        return status;
    }
    return keep ? rewrite_keep(w, n, err) : decompose(w, l, n, depth, err);
}

int32_t lower_graph(cvr_graph *g, const lowering *l, cvr_error *err) {
    rewrite w = {.g = g};
    int32_t status = CVR_OK;
    const size_t n = g->n_nodes;
    for (size_t i = 0; i < n; i++) {
        ir_node *node = g->nodes[i];
        g->nodes[i] = NULL;
        CVR_TRY_OUT(lower_node(&w, l, node, 0, err));
    }
out:
    rewrite_finish(&w, status);
    return status;
}

/* Whether the device runs the node as it is, or it can be nothing else. */
static int32_t device_keeps(const lowering *l, cvr_graph *g, const ir_node *n, bool *keep, cvr_error *err) {
    cvr_device *d = ((const shared_casts *)l->ctx)->device;
    const bool fenced = node_low_precision(g, n) != 0;
    *keep = (!n->op->decompose && !node_is_program(g, n) && !fenced) || (n->op->flags & CVR_OP_ALIAS) ||
            strcmp(n->op->name, "cast") == 0;
    if (*keep) return CVR_OK;
    const plan_request r = {g, d, 1, 0, NULL};
    const cvr_kernel_desc *kernel;
    cvr_text why = {0};
    const int32_t status = resolve_kernel(&r, n, d->backend->runs, d->backend->n_runs, &kernel, &why, err);
    cvr_text_clear(&why);
    *keep = kernel != NULL;
    return status;
}

static int32_t device_inputs(const lowering *l, rewrite *w, ir_node *n, cvr_error *err) {
    return shared_casts_give(l->ctx, w, n, err);
}

int32_t lower_for_device(cvr_graph *g, cvr_device *d, cvr_error *err) {
    shared_casts casts = {.device = d};
    const lowering l = {device_keeps, &casts, device_inputs};
    const int32_t status = lower_graph(g, &l, err);
    cvr_free(casts.of);
    return status;
}
