/*
 * Recompute: a value that the backward pass reads need not be kept from the forward pass if it can be computed a second
 * time (Chen et al., "Training Deep Nets with Sublinear Memory Cost", 2016). A value is a candidate if its op says how
 * to compute it (CVR_TRAIT_RECOMPUTE) from values that are in memory during the backward pass anyway. An input that is
 * not in memory may be recomputed itself, so a chain of residual sums goes back to the outputs of the convolutions. The
 * recomputing nodes stand just before the first node that reads the value, and every value is recomputed once. The
 * values that cost the least time for each byte are dropped first: those that only move memory, then products, of
 * which every second one in a row is kept.
 */
#include "rewrite.h"
#include <stdlib.h>

#define CHAIN_MOST 8u      /* nodes in a row that recompute one value */
#define PRODUCTS_MOST 1u   /* nodes of a chain that are bound by arithmetic, not by memory */
#define FLOPS_A_BYTE 8.0   /* f32 operations of a core in the time in which it moves one byte */
#define SMALL_PART 8u      /* an input with less than 1/8 of the value's bytes may as well be kept */
#define LEAST_BYTES 65536u /* a smaller value is not worth recomputing */
#define NOWHERE SIZE_MAX

typedef struct droppable {
    cvr_value value;
    double cost; /* of recomputing it, for each of its bytes: the time of moving a byte is 1 */
} droppable;

/* The chain of nodes that recomputes a value. */
typedef struct recompute_chain {
    uint64_t query; /* for which the rest holds */
    uint32_t length, products;
} recompute_chain;

typedef struct recompute {
    cvr_graph *g;
    rewrite w;
    ir_node **nodes; /* as they were */
    size_t n_nodes, n_values;
    size_t *producer;               /* by value; NOWHERE: no forward node */
    size_t *first_back, *last_back; /* by value: backward nodes that read it; NOWHERE: none */
    bool *excluded;                 /* by value: read by a view, or an output */
    bool *dropped;                  /* by value */
    bool *product;                  /* by node */
    recompute_chain *chains;        /* by value */
    uint64_t query;
    droppable *candidates;
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
    r->product = cvr_calloc(g->n_nodes + 1, sizeof *r->product);
    r->chains = cvr_calloc(g->n_values, sizeof *r->chains);
    r->candidates = cvr_calloc(g->n_values, sizeof *r->candidates);
    if (!r->nodes || !r->producer || !r->first_back || !r->last_back || !r->excluded || !r->dropped || !r->product ||
        !r->chains || !r->candidates)
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

/* How output 0 of a node is recomputed, or NULL where it has to be kept. */
static const cvr_recompute_trait *recompute_of(const ir_node *n) {
    const cvr_recompute_trait *t = cvr_op_trait(n->op, CVR_TRAIT_RECOMPUTE);
    return t && (t->emit || !n->op->mutates) ? t : NULL;
}

/* Whether v can be recomputed before `at`, a backward node, when no value of `dropped` is kept. If so, r->chains[v] is
 * set. */
static bool find_chain(recompute *r, cvr_value v, size_t at, uint32_t most) {
    recompute_chain *c = &r->chains[v];
    if (c->query == r->query) return c->length <= most;
    if (r->producer[v] == NOWHERE || most == 0) return false;
    const ir_node *n = r->nodes[r->producer[v]];
    const uint64_t bytes = type_bytes(&r->g->values[v]->type);
    recompute_chain own = {r->query, 0, 0};
    if (n->outputs[0] != v || !recompute_of(n)) return false;
    for (uint32_t k = 0; k < n->n_inputs; k++) {
        const cvr_value x = n->inputs[k];
        if (!x || (n->op->mutates >> k & 1) || (!r->dropped[x] && there(r, x, at, bytes))) continue;
        if (!find_chain(r, x, at, most - 1)) return false;
        if (r->chains[x].length > own.length) own.length = r->chains[x].length;
        if (r->chains[x].products > own.products) own.products = r->chains[x].products;
    }
    own.length++;
    own.products += r->product[r->producer[v]];
    *c = own;
    return own.products <= PRODUCTS_MOST;
}

static bool can_recompute(recompute *r, cvr_value v) {
    r->query++;
    return find_chain(r, v, r->first_back[v], CHAIN_MOST);
}

/* The cost of recomputing output 0 of node i, as the number of bytes that could be moved in the same time. */
static double recompute_cost(recompute *r, size_t i) {
    const ir_node *n = r->nodes[i];
    double bytes = (double)type_bytes(&r->g->values[n->outputs[0]]->type);
    for (uint32_t k = 0; k < n->n_inputs; k++) {
        const cvr_value x = n->inputs[k];
        if (x && !(n->op->mutates >> k & 1)) bytes += (double)type_bytes(&r->g->values[x]->type);
    }
    const double flops = !recompute_of(n)->emit ? node_flops(r->g, n)
                                                : 0; /* the nodes that `emit` makes are not known, but they are cheap */
    r->product[i] = flops > FLOPS_A_BYTE * bytes;
    return bytes + flops / FLOPS_A_BYTE;
}

static int compare_candidates(const void *a, const void *b) {
    const droppable *x = a, *y = b;
    if (x->cost != y->cost) return x->cost < y->cost ? -1 : 1;
    return x->value < y->value ? -1 : x->value > y->value;
}

/* A candidate is taken if it can be recomputed, and if all that were taken before it still can. */
static void take_candidates(recompute *r) {
    const size_t n = r->n;
    r->n = 0;
    for (size_t i = 0; i < n; i++) {
        const droppable c = r->candidates[i];
        bool good = can_recompute(r, c.value);
        r->dropped[c.value] = true;
        for (size_t k = 0; k < r->n && good; k++) good = can_recompute(r, r->candidates[k].value);
        r->dropped[c.value] = good;
        if (good) r->candidates[r->n++] = c;
    }
}

static void find_candidates(recompute *r) {
    for (size_t i = 0; i < r->n_nodes && !r->nodes[i]->backward; i++) {
        const ir_node *n = r->nodes[i];
        const cvr_value v = n->n_outputs ? n->outputs[0] : CVR_NONE;
        if (!v || !recompute_of(n)) continue;
        const double bytes = (double)type_bytes(&r->g->values[v]->type), cost = recompute_cost(r, i);
        if (r->excluded[v] || r->first_back[v] == NOWHERE || bytes < LEAST_BYTES) continue;
        r->candidates[r->n++] = (droppable){v, cost / bytes};
    }
    if (r->n > 1) qsort(r->candidates, r->n, sizeof *r->candidates, compare_candidates);
    take_candidates(r);
}

/* Emits the nodes that recompute v before backward node `at`. */
static int32_t recompute_value(recompute *r, cvr_value v, size_t at, cvr_value *out, cvr_error *err) {
    cvr_value inputs[CVR_MAX_IO], outputs[CVR_MAX_IO] = {CVR_NONE};
    const ir_node *n = r->nodes[r->producer[v]];
    const cvr_recompute_trait *how = recompute_of(n);
    const uint64_t bytes = type_bytes(&r->g->values[v]->type);
    *out = rewrite_current(&r->w, v);
    if (*out != v) return CVR_OK; /* it was recomputed before */
    for (uint32_t k = 0; k < n->n_inputs; k++) {
        const cvr_value x = inputs[k] = n->inputs[k];
        if (!x || (n->op->mutates >> k & 1) || (!r->dropped[x] && there(r, x, at, bytes))) continue;
        CVR_TRY(recompute_value(r, x, at, &inputs[k], err));
    }
    CVR_TRY(rewrite_enter(r->g, n, err));
    r->g->in_backward = r->g->in_recompute = true;
    if (how->emit) {
        cvr_decompose_args args = {sizeof args, n->attrs, inputs, outputs, n->n_inputs, n->n_outputs};
        for (uint32_t k = 0; k < n->n_outputs; k++) outputs[k] = n->outputs[k];
        cvr_call_enter(n->op, "trait: recompute", n->name, err);
        int32_t status = cvr_call_leave(how->emit(&r->g->builder, &args, err), err);
        status = graph_called(r->g, n->op, "trait: recompute", n->name, status, err);
        CVR_TRY(status);
    } else {
        CVR_TRY(graph_emit_like(r->g, n, inputs, outputs, err));
    }
    *out = outputs[0];
    return *out && *out < r->g->n_values && same_shape(&r->g->values[v]->type, &r->g->values[*out]->type)
               ? CVR_OK
               : cvr_fail(err, CVR_ERR_PLUGIN, "op %s: recomputed, it has another shape", n->op->name);
}

/* Recomputes the dropped values that node i, a backward node, reads. */
static int32_t make_inputs(recompute *r, size_t i, cvr_error *err) {
    for (uint32_t k = 0; k < r->nodes[i]->n_inputs; k++) {
        const cvr_value v = r->nodes[i]->inputs[k];
        cvr_value value;
        if (v >= r->n_values || !r->dropped[v] || rewrite_current(&r->w, v) != v) continue;
        CVR_TRY(recompute_value(r, v, i, &value, err));
        CVR_TRY(rewrite_replace(&r->w, v, value, err));
    }
    return rewrite_keep_emitted(&r->w, r->n_nodes, err);
}

static int32_t rewrite_nodes(recompute *r, cvr_error *err) {
    int32_t status = CVR_OK;
    for (size_t i = 0; i < r->n_nodes; i++) {
        if (r->nodes[i]->backward) CVR_TRY_OUT(make_inputs(r, i, err));
        r->g->nodes[i] = NULL;
        CVR_TRY_OUT(rewrite_keep(&r->w, r->nodes[i], err));
    }
out:
    rewrite_finish(&r->w, status);
    rewrite_leave(r->g);
    return status;
}

int32_t cvr_graph_recompute(cvr_graph *g, size_t most, cvr_recompute *out, cvr_error *err) {
    recompute r = {.g = g, .w = {.g = g}};
    const bool was_backward = g->in_backward;
    int32_t status;
    memset(out, 0, sizeof *out);
    CVR_TRY_OUT(index_values(&r, err));
    find_candidates(&r);
    out->candidates = r.n;
    for (size_t i = 0; i < r.n; i++) {
        r.dropped[r.candidates[i].value] = i < most;
        out->dropped += i < most;
    }
    if (out->dropped) CVR_TRY_OUT(rewrite_nodes(&r, err));
out:
    g->in_backward = was_backward;
    g->in_recompute = false;
    cvr_free(r.nodes);
    cvr_free(r.producer);
    cvr_free(r.first_back);
    cvr_free(r.last_back);
    cvr_free(r.excluded);
    cvr_free(r.dropped);
    cvr_free(r.product);
    cvr_free(r.chains);
    cvr_free(r.candidates);
    return status;
}
