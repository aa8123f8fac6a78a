/*
 * In mixed precision weights are f32, and tensor cores want them in the activations' type. A kernel that has to cast
 * them says so (CVR_KERNEL_CASTS). The forward pass, the data gradient and what is recomputed read the same weight, so
 * it is cast once, by a node of its own in front of its first reader, and all kernels that say so read the result.
 *
 * A cast holds until something writes the value that it was made of: what is read after that is cast again.
 */
#include "plan.h"
#include "rewrite.h"

#define CASTS_INPUTS 16u /* that CVR_KERNEL_CASTS can name */

/* What the node's inputs could be cast for: those f32 ones that some kernel of the device says it casts. */
static int32_t find_castable(const shared_casts *c, const cvr_graph *g, const ir_node *n, uint32_t *inputs,
                             cvr_error *err) {
    const cvr_backend_desc *b = c->device->backend;
    *inputs = 0;
    for (uint32_t i = 0; i < b->n_runs; i++) {
        const cvr_kernel_desc *const *kernels;
        size_t count;
        CVR_TRY(cvr_plugins_kernels(c->device->plugins, n->op, b->runs[i], &kernels, &count, err));
        for (size_t k = 0; k < count; k++) *inputs |= kernels[k]->flags >> CASTS_INPUTS;
    }
    for (uint32_t i = 0; i < CASTS_INPUTS; i++) {
        const cvr_value v = i < n->n_inputs ? n->inputs[i] : CVR_NONE;
        if (v == CVR_NONE || g->values[v]->type.dtype != CVR_F32) *inputs &= ~(1u << i);
    }
    return CVR_OK;
}

/* Whether the kernel that takes the node with these inputs in `dtype` is one that would cast them all by itself. */
static int32_t kernel_casts(const shared_casts *c, cvr_graph *g, const ir_node *n, uint32_t inputs, uint32_t dtype,
                            bool *does, cvr_error *err) {
    const cvr_backend_desc *b = c->device->backend;
    const plan_request r = {g, c->device, 1, 0, NULL};
    const cvr_kernel_desc *kernel;
    node_signature s;
    cvr_text why = {0};
    make_signature(&s, &r, n);
    for (uint32_t i = 0; i < CASTS_INPUTS; i++)
        if (inputs >> i & 1) s.tensors[i].dtype = dtype;
    const int32_t status = resolve_signature(&r, n, &s, b->runs, b->n_runs, &kernel, &why, err);
    cvr_text_clear(&why);
    *does = kernel && (kernel->flags >> CASTS_INPUTS & inputs) == inputs;
    return status;
}

/* The value's cast, made now if there is none. */
static int32_t cast_of(shared_casts *c, rewrite *w, const ir_node *n, cvr_value v, uint32_t dtype, cvr_value *out,
                       cvr_error *err) {
    cvr_graph *g = w->g;
    const size_t first = g->n_nodes;
    if (v >= c->n) {
        cvr_value *more = cvr_calloc(g->n_values, sizeof *more);
        if (!more) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
        if (c->n) memcpy(more, c->of, c->n * sizeof *more);
        cvr_free(c->of);
        c->of = more;
        c->n = g->n_values;
    }
    *out = c->of[v];
    if (*out != CVR_NONE && g->values[*out]->type.dtype == dtype) return CVR_OK;
    CVR_TRY(rewrite_enter(g, n, err));
    const int32_t status = graph_cast(g, v, dtype, out, err);
    rewrite_leave(g);
    CVR_TRY(status);
    c->of[v] = *out;
    return rewrite_keep_emitted(w, first, err);
}

/* What a view is a view of; itself, where v is none. */
static cvr_value root_of(const rewrite *w, cvr_value v) {
    for (size_t i = w->n; i-- > 0 && w->g->values[v]->kind == VALUE_TEMP;)
        if ((w->nodes[i]->op->flags & CVR_OP_ALIAS) && w->nodes[i]->outputs[0] == v) v = w->nodes[i]->inputs[0];
    return v;
}

/* Casts of what the node writes hold no longer, nor of views of it. */
static void forget(shared_casts *c, const rewrite *w, const ir_node *n) {
    for (uint32_t i = 0; i < n->n_inputs && i < 64; i++) {
        if (!(n->op->mutates >> i & 1) || n->inputs[i] == CVR_NONE) continue;
        const cvr_value written = root_of(w, n->inputs[i]);
        for (cvr_value v = 1; v < c->n; v++)
            if (c->of[v] != CVR_NONE && root_of(w, v) == written) c->of[v] = CVR_NONE;
    }
}

int32_t shared_casts_give(shared_casts *c, rewrite *w, ir_node *n, cvr_error *err) {
    const uint32_t dtype = node_low_precision(w->g, n);
    uint32_t inputs = 0;
    bool casts = false;
    for (uint32_t i = 0; i < n->n_inputs; i++) n->inputs[i] = rewrite_current(w, n->inputs[i]);
    if (dtype) CVR_TRY(find_castable(c, w->g, n, &inputs, err));
    if (inputs) CVR_TRY(kernel_casts(c, w->g, n, inputs, dtype, &casts, err));
    for (uint32_t i = 0; casts && i < CASTS_INPUTS; i++)
        if (inputs >> i & 1) CVR_TRY(cast_of(c, w, n, n->inputs[i], dtype, &n->inputs[i], err));
    forget(c, w, n);
    return CVR_OK;
}
