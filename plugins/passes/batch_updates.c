/*
 * The pass "batch_updates": updates of small parameters that have an op and its attributes in common become one node
 * (CVR_TRAIT_MULTI_TENSOR), as the multi-tensor optimizers of Apex and torch.optim's `foreach` have it. A network has
 * more vectors than matrices, and a node for each costs more than its arithmetic.
 *
 * An update frees its gradient, and one of many frees them all only after the last: so only small parameters take part,
 * and few bytes at a time. A large one gains nothing anyway, as it fills the threads by itself.
 */
#include <cvr/plugin/plugin.h>

#define SMALL_BYTES (64u << 10)  /* of a parameter */
#define BATCH_BYTES (256u << 10) /* of gradients that wait for one another */
#define MOST_BATCHES 8u          /* that are open at once: kinds of weight decay and the like */

/* Updates that will be one node. */
typedef struct batch {
    uint64_t nodes[CVR_MAX_IO];
    uint32_t n, n_inputs;
    cvr_value inputs[CVR_MAX_IO]; /* of that node */
    uint64_t changed;             /* bit i: it changes input i */
    uint64_t bytes;
} batch;

typedef struct batches {
    const cvr_rewriter *r;
    batch open[MOST_BATCHES];
    uint32_t n;
} batches;

static uint64_t value_bytes(const cvr_rewriter *r, cvr_value v) {
    const cvr_type *t = v ? r->builder->type(r->builder, v) : NULL;
    return t ? (uint64_t)cvr_numel(t->rank, t->shape) * cvr_dtype_size(t->dtype) : 0;
}

/* Bytes of the update's largest input: parameter, gradient and state are alike. */
static uint64_t update_bytes(const cvr_rewriter *r, const cvr_node_view *n) {
    uint64_t most = 0;
    for (uint32_t k = 0; k < n->n_inputs; k++) {
        const uint64_t bytes = value_bytes(r, n->inputs[k]);
        if (bytes > most) most = bytes;
    }
    return most;
}

static const cvr_multi_tensor_trait *multi_tensor(const cvr_op_desc *op) {
    return (const cvr_multi_tensor_trait *)cvr_op_trait(op, CVR_TRAIT_MULTI_TENSOR);
}

static int is_shared(const cvr_op_desc *op, uint32_t input) {
    return (int)(multi_tensor(op)->shared >> input & 1);
}

static uint32_t count_own(const cvr_op_desc *op) {
    uint32_t n = 0;
    for (uint32_t k = 0; k < op->max_inputs; k++) n += !is_shared(op, k);
    return n;
}

/* ---- a batch ---- */

static void push_input(batch *b, cvr_value v, int changed) {
    b->changed |= (uint64_t)(changed && v) << b->n_inputs;
    b->inputs[b->n_inputs++] = v;
}

static void push_update(batch *b, const cvr_node_view *n, uint64_t i, uint64_t bytes) {
    for (uint32_t k = 0; k < n->op->max_inputs && b->n == 0; k++)
        if (is_shared(n->op, k)) push_input(b, n->inputs[k], 0);
    for (uint32_t k = 0; k < n->op->max_inputs; k++)
        if (!is_shared(n->op, k))
            push_input(b, k < n->n_inputs ? n->inputs[k] : CVR_NONE, (int)(n->op->mutates >> k & 1));
    b->nodes[b->n++] = i;
    b->bytes += bytes;
}

/* Whether the batch changes what the node reads, or reads what it changes: the node then stays behind it. */
static int depends(const batch *b, const cvr_node_view *n) {
    for (uint32_t k = 0; k < n->n_inputs; k++)
        for (uint32_t i = 0; i < b->n_inputs; i++)
            if (n->inputs[k] && n->inputs[k] == b->inputs[i] && ((n->op->mutates >> k | b->changed >> i) & 1)) return 1;
    return 0;
}

/* Whether the update may join: the same op, attributes and shared inputs. */
static int is_alike(const cvr_rewriter *r, const batch *b, const cvr_node_view *n) {
    cvr_node_view first;
    uint32_t at = 0;
    r->node(r, b->nodes[0], &first);
    if (first.op != n->op || first.backward != n->backward || memcmp(first.attrs, n->attrs, n->attrs_size) != 0)
        return 0;
    for (uint32_t k = 0; k < n->op->max_inputs; k++)
        if (is_shared(n->op, k) && n->inputs[k] != b->inputs[at++]) return 0;
    return 1;
}

static int has_room(const batch *b, const cvr_op_desc *op, uint64_t bytes) {
    return b->n_inputs + count_own(op) <= CVR_MAX_IO && b->bytes + bytes <= BATCH_BYTES;
}

/* The batch becomes a node; one update alone stays what it is. */
static int32_t close_batch(batches *all, uint32_t at, cvr_error *err) {
    const cvr_rewriter *r = all->r;
    batch b = all->open[at];
    cvr_node_view first;
    cvr_value none[1];
    all->open[at] = all->open[--all->n];
    if (b.n == 1) return r->keep(r, b.nodes[0], err);
    r->node(r, b.nodes[0], &first);
    for (uint32_t i = 0; i < b.n_inputs; i++) b.inputs[i] = b.inputs[i] ? r->current(r, b.inputs[i]) : CVR_NONE;
    for (uint32_t i = 0; i < b.n; i++) r->drop(r, b.nodes[i]);
    const cvr_op_call call = {.struct_size = sizeof call,
                              .op = multi_tensor(first.op)->op,
                              .attrs = first.attrs,
                              .attrs_size = first.attrs_size,
                              .inputs = b.inputs,
                              .outputs = none,
                              .n_inputs = b.n_inputs};
    CVR_TRY(r->enter(r, b.nodes[0], err));
    return r->builder->emit(r->builder, &call, err);
}

/* ---- the pass ---- */

/* Batches that the node has to stay behind. */
static int32_t close_before(batches *all, const cvr_node_view *n, cvr_error *err) {
    for (uint32_t i = all->n; i-- > 0;)
        if (depends(&all->open[i], n)) CVR_TRY(close_batch(all, i, err));
    return CVR_OK;
}

static int32_t add_update(batches *all, const cvr_node_view *n, uint64_t i, uint64_t bytes, cvr_error *err) {
    uint32_t at = 0;
    while (at < all->n && !is_alike(all->r, &all->open[at], n)) at++;
    if (at < all->n && !has_room(&all->open[at], n->op, bytes)) {
        CVR_TRY(close_batch(all, at, err));
        at = all->n;
    } else if (at == MOST_BATCHES) {
        CVR_TRY(close_batch(all, 0, err));
        at = all->n;
    }
    if (at == all->n) all->open[all->n++] = (batch){.n = 0};
    push_update(&all->open[at], n, i, bytes);
    return CVR_OK;
}

static int32_t run_all(batches *all, cvr_error *err) {
    const cvr_rewriter *r = all->r;
    for (uint64_t i = 0; i < r->n_nodes; i++) {
        cvr_node_view n;
        uint64_t bytes = 0;
        r->node(r, i, &n);
        const int small = multi_tensor(n.op) && n.n_outputs == 0 && (bytes = update_bytes(r, &n)) <= SMALL_BYTES;
        CVR_TRY(close_before(all, &n, err));
        CVR_TRY(small ? add_update(all, &n, i, bytes, err) : r->keep(r, i, err));
    }
    while (all->n) CVR_TRY(close_batch(all, 0, err));
    return CVR_OK;
}

static int32_t run(const cvr_rewriter *r, cvr_error *err) {
    batches *all = (batches *)r->host->alloc(r->host, sizeof *all, 16);
    if (!all) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    all->r = r;
    all->n = 0;
    const int32_t status = run_all(all, err);
    r->host->free(r->host, all);
    return status;
}

static const cvr_pass_desc batch_updates = {.struct_size = sizeof batch_updates,
                                            .name = "batch_updates",
                                            .doc = "updates of small parameters, many in a node",
                                            .stage = CVR_PASS_STEP,
                                            .run = run};

static int32_t load(const cvr_host *host, const cvr_registrar *r, cvr_error *err) {
    (void)host;
    return r->add(r, CVR_KIND_PASS, &batch_updates, err);
}

CVR_DEFINE_PLUGIN("pass_updates", "0.1.0", "", load)
