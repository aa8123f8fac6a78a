/*
 * Recompute: values that the backward pass reads, and that are cheap to make again, need not be kept until then (Chen
 * et al., "Training Deep Nets with Sublinear Memory Cost", 2016, for the cheap ops alone). A value is a candidate where
 * its op says how (CVR_OP_AGAIN, cvr_op_desc.again) from what is there in the backward pass anyway; what is not there
 * may be made again itself, so that a chain of residual sums goes back to the convolutions' outputs. The nodes that do
 * it stand just before the first node that reads the value.
 */
#include "rewrite.h"
#include <stdlib.h>

#define CHAIN_MOST 8u      /* nodes in a row, for one value */
#define SMALL_PART 8u      /* what has less than 1/8 of the value's bytes may as well be kept */
#define LEAST_BYTES 65536u /* of a value that is worth the trouble */
#define NOWHERE SIZE_MAX

typedef struct candidate {
    cvr_value value;
    uint64_t bytes;
    uint32_t depth; /* nodes of its chain, if all candidates are dropped */
} candidate;

typedef struct recompute {
    cvr_graph *g;
    rewrite w;
    ir_node **nodes; /* as they were */
    size_t n_nodes, n_values;
    size_t *producer;               /* by value; NOWHERE: no forward node */
    size_t *first_back, *last_back; /* by value: backward nodes that read it; NOWHERE: none */
    bool *excluded;                 /* by value: read by a view, or an output */
    bool *dropped;                  /* by value */
    candidate *candidates;
    size_t n;
} recompute;

static int32_t index_values(recompute *r, cvr_error *err) {
    const cvr_graph *g = r->g;
    r->n_values = g->n_values;
    r->n_nodes = g->n_nodes;
    r->nodes = cvr_calloc(g->n_nodes + 1, sizeof *r->nodes);
    r->producer = cvr_calloc(g->n_values, sizeof *r->producer);
    r->first_back = cvr_calloc(g->n_values, sizeof *r->first_back);
    r->last_back = cvr_calloc(g->n_values, sizeof *r->last_back);
    r->excluded = cvr_calloc(g->n_values, sizeof *r->excluded);
    r->dropped = cvr_calloc(g->n_values, sizeof *r->dropped);
    r->candidates = cvr_calloc(g->n_values, sizeof *r->candidates);
    if (!r->nodes || !r->producer || !r->first_back || !r->last_back || !r->excluded || !r->dropped || !r->candidates)
        return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    for (size_t v = 0; v < g->n_values; v++) r->producer[v] = r->first_back[v] = r->last_back[v] = NOWHERE;
    for (size_t i = 0; i < g->n_nodes; i++) {
        const ir_node *n = r->nodes[i] = g->nodes[i];
        for (uint32_t k = 0; k < n->n_outputs && !n->backward; k++) r->producer[n->outputs[k]] = i;
        for (uint32_t k = 0; k < n->n_inputs; k++) {
            const cvr_value v = n->inputs[k];
            if (n->op->flags & CVR_OP_ALIAS) r->excluded[v] = true;
            if (!n->backward) continue;
            if (r->first_back[v] == NOWHERE) r->first_back[v] = i;
            r->last_back[v] = i;
        }
    }
    for (size_t i = 0; i < g->n_outputs; i++) r->excluded[g->outputs[i].value] = true;
    return CVR_OK;
}

/* Whether a value that is not dropped is there at backward node `at`, or costs next to nothing to keep. */
static bool there(const recompute *r, cvr_value v, size_t at, uint64_t bytes) {
    const ir_value *value = r->g->values[v];
    return value->kind != VALUE_TEMP || type_bytes(&value->type) * SMALL_PART <= bytes ||
           (r->last_back[v] != NOWHERE && r->last_back[v] >= at);
}

/* Nodes that make v again at backward node `at` where all of `dropped` are gone, or 0 where that cannot be. */
static uint32_t chain_length(const recompute *r, cvr_value v, size_t at, uint32_t depth) {
    if (r->producer[v] == NOWHERE || depth >= CHAIN_MOST) return 0;
    const ir_node *n = r->nodes[r->producer[v]];
    const uint64_t bytes = type_bytes(&r->g->values[v]->type);
    const bool pure = (n->op->flags & CVR_OP_AGAIN) && !n->op->mutates;
    uint32_t length = 1;
    if (n->outputs[0] != v || (!pure && !n->op->again)) return 0;
    for (uint32_t k = 0; k < n->n_inputs; k++) {
        const cvr_value x = n->inputs[k];
        if (!x || (n->op->mutates >> k & 1) || (!r->dropped[x] && there(r, x, at, bytes))) continue;
        const uint32_t more = chain_length(r, x, at, depth + 1);
        if (!more) return 0;
        length += more;
    }
    return length <= CHAIN_MOST ? length : 0;
}

/* The shortest chains first, then the largest values: bytes for the least time. */
static int compare_candidates(const void *a, const void *b) {
    const candidate *x = a, *y = b;
    if (x->depth != y->depth) return x->depth < y->depth ? -1 : 1;
    if (x->bytes != y->bytes) return x->bytes > y->bytes ? -1 : 1;
    return x->value < y->value ? -1 : x->value > y->value;
}

/* In forward order, so that what a value's chain would pass through is settled before it. */
static void find_candidates(recompute *r) {
    for (size_t i = 0; i < r->n_nodes && !r->nodes[i]->backward; i++) {
        const ir_node *n = r->nodes[i];
        const cvr_value v = n->n_outputs ? n->outputs[0] : CVR_NONE;
        if (!v || r->excluded[v] || r->first_back[v] == NOWHERE) continue;
        const uint64_t bytes = type_bytes(&r->g->values[v]->type);
        const uint32_t depth = bytes >= LEAST_BYTES ? chain_length(r, v, r->first_back[v], 0) : 0;
        if (!depth) continue;
        r->dropped[v] = true;
        r->candidates[r->n++] = (candidate){v, bytes, depth};
    }
    if (r->n > 1) qsort(r->candidates, r->n, sizeof *r->candidates, compare_candidates);
}

/* Emits nodes that make v again at backward node `at`. */
static int32_t make_again(recompute *r, cvr_value v, size_t at, cvr_value *out, cvr_error *err) {
    cvr_value inputs[CVR_MAX_IO], outputs[CVR_MAX_IO] = {CVR_NONE};
    const ir_node *n = r->nodes[r->producer[v]];
    const uint64_t bytes = type_bytes(&r->g->values[v]->type);
    int32_t status = CVR_OK;
    *out = rewrite_current(&r->w, v);
    if (*out != v) return CVR_OK; /* there again already */
    for (uint32_t k = 0; k < n->n_inputs && status == CVR_OK; k++) {
        const cvr_value x = inputs[k] = n->inputs[k];
        if (!x || (n->op->mutates >> k & 1) || (!r->dropped[x] && there(r, x, at, bytes))) continue;
        status = make_again(r, x, at, &inputs[k], err);
    }
    if (status == CVR_OK) status = rewrite_enter(r->g, n, err);
    r->g->in_backward = true;
    if (status != CVR_OK) return status;
    if (n->op->again) {
        cvr_decompose_args args = {sizeof args, n->attrs, inputs, outputs, n->n_inputs, n->n_outputs};
        for (uint32_t k = 0; k < n->n_outputs; k++) outputs[k] = n->outputs[k];
        status = n->op->again(&r->g->builder, &args, err);
    } else {
        const cvr_op_call call = {.struct_size = sizeof call,
                                  .op = n->op->name,
                                  .attrs = n->attrs,
                                  .attrs_size = n->attrs_size,
                                  .inputs = inputs,
                                  .outputs = outputs,
                                  .n_inputs = n->n_inputs,
                                  .n_outputs = n->n_outputs};
        status = r->g->builder.emit(&r->g->builder, &call, err);
    }
    *out = outputs[0];
    if (status == CVR_OK && !same_shape(&r->g->values[v]->type, &r->g->values[*out]->type))
        status = cvr_fail(err, CVR_ERR_PLUGIN, "op %s: made again, it has another shape", n->op->name);
    return status;
}

/* What node i, a backward one, reads and is not there is made before it. */
static int32_t make_inputs(recompute *r, size_t i, cvr_error *err) {
    int32_t status = CVR_OK;
    for (uint32_t k = 0; k < r->nodes[i]->n_inputs && status == CVR_OK; k++) {
        const cvr_value v = r->nodes[i]->inputs[k];
        cvr_value again;
        if (v >= r->n_values || !r->dropped[v] || rewrite_current(&r->w, v) != v) continue;
        status = make_again(r, v, i, &again, err);
        if (status == CVR_OK) status = rewrite_replace(&r->w, v, again, err);
    }
    return status == CVR_OK ? rewrite_keep_emitted(&r->w, r->n_nodes, err) : status;
}

static int32_t rewrite_nodes(recompute *r, cvr_error *err) {
    int32_t status = CVR_OK;
    for (size_t i = 0; i < r->n_nodes && status == CVR_OK; i++) {
        if (r->nodes[i]->backward) status = make_inputs(r, i, err);
        if (status != CVR_OK) break;
        r->g->nodes[i] = NULL;
        status = rewrite_keep(&r->w, r->nodes[i], err);
    }
    rewrite_finish(&r->w, status);
    rewrite_leave(r->g);
    return status;
}

int32_t cvr_graph_recompute(cvr_graph *g, size_t most, cvr_recompute *out, cvr_error *err) {
    recompute r = {.g = g, .w = {.g = g}};
    const bool was_backward = g->in_backward;
    int32_t status = index_values(&r, err);
    memset(out, 0, sizeof *out);
    if (status == CVR_OK) find_candidates(&r);
    out->candidates = r.n;
    for (size_t i = 0; i < r.n; i++) {
        r.dropped[r.candidates[i].value] = i < most;
        out->dropped += i < most;
        out->bytes += i < most ? r.candidates[i].bytes : 0;
    }
    if (status == CVR_OK && out->dropped) status = rewrite_nodes(&r, err);
    g->in_backward = was_backward;
    cvr_free(r.nodes);
    cvr_free(r.producer);
    cvr_free(r.first_back);
    cvr_free(r.last_back);
    cvr_free(r.excluded);
    cvr_free(r.dropped);
    cvr_free(r.candidates);
    return status;
}
