/*
 * The pass "fuse_norm": batch_norm2d -> [add] -> [relu or relu6] becomes one op, where nobody else reads what lies
 * between (see ops/norm.h). Two reads and a write of memory in place of five and three.
 */
#include <cvr/plugin/ops/norm.h>
#include <cvr/plugin/plugin.h>

/* A batch_norm2d with what follows it. Node numbers; CVR_NO_NODE: not there. */
typedef struct chain {
    uint64_t norm, add, act, last;
    cvr_value residual;
    int64_t activation;
} chain;

static int is_op(const cvr_node_view *n, const char *name) {
    return strcmp(n->op->name, name) == 0;
}

/* The node that alone reads v, or CVR_NO_NODE. */
static uint64_t only_reader(const cvr_rewriter *r, cvr_value v, cvr_node_view *out) {
    uint64_t first;
    if (r->uses(r, v, &first) != 1 || first == CVR_NO_NODE) return CVR_NO_NODE;
    r->node(r, first, out);
    return first;
}

static int64_t activation_of(const cvr_node_view *n) {
    return is_op(n, "relu") ? CVR_ACTIVATION_RELU : is_op(n, "relu6") ? CVR_ACTIVATION_RELU6 : CVR_ACTIVATION_NONE;
}

/* What follows node i, a batch_norm2d; `last` is where all of its inputs are known. */
static chain follow(const cvr_rewriter *r, uint64_t i, const cvr_node_view *norm) {
    chain c = {i, CVR_NO_NODE, CVR_NO_NODE, i, CVR_NONE, CVR_ACTIVATION_NONE};
    cvr_node_view next;
    cvr_value y = norm->outputs[0];
    uint64_t at = only_reader(r, y, &next);
    if (at != CVR_NO_NODE && is_op(&next, "add")) {
        c.add = c.last = at;
        c.residual = next.inputs[next.inputs[0] == y ? 1 : 0];
        y = next.outputs[0];
        at = only_reader(r, y, &next);
    }
    if (at != CVR_NO_NODE && activation_of(&next) != CVR_ACTIVATION_NONE) {
        c.act = c.last = at;
        c.activation = activation_of(&next);
    }
    return c;
}

/* Emits the fused op in the place of the chain's last node. */
static int32_t fuse(const cvr_rewriter *r, const chain *c, cvr_error *err) {
    const cvr_builder *b = r->builder;
    cvr_node_view norm, end;
    cvr_value in[7] = {CVR_NONE}, out[3];
    r->node(r, c->norm, &norm);
    r->node(r, c->last, &end);
    const cvr_batch_norm2d_attrs *was = (const cvr_batch_norm2d_attrs *)norm.attrs;
    const cvr_batch_norm2d_act_attrs attrs = {was->momentum, was->eps, c->activation};
    for (uint32_t k = 0; k < norm.n_inputs; k++) in[k] = r->current(r, norm.inputs[k]);
    in[6] = r->current(r, c->residual);
    const cvr_op_call call = {.struct_size = sizeof call,
                              .op = "batch_norm2d_act",
                              .attrs = &attrs,
                              .attrs_size = sizeof attrs,
                              .inputs = in,
                              .outputs = out,
                              .n_inputs = 7,
                              .n_outputs = 3};
    int32_t status = r->enter(r, c->norm, err);
    if (status == CVR_OK) status = b->emit(b, &call, err);
    return status == CVR_OK ? r->replace(r, end.outputs[0], out[0], err) : status;
}

/* Notes the chain that starts at node i, a batch_norm2d; 0 where nothing follows that could be fused. */
static int start_chain(const cvr_rewriter *r, uint64_t i, const cvr_node_view *norm, chain *chains) {
    const chain c = follow(r, i, norm);
    /* A sum of two normalisations is the first one's. */
    if (c.last == i || (c.add != CVR_NO_NODE && chains[c.add].last != CVR_NO_NODE)) return 0;
    if (c.add != CVR_NO_NODE) chains[c.add] = c;
    if (c.act != CVR_NO_NODE) chains[c.act] = c;
    return 1;
}

/* `chains` by the nodes that are part of one. */
static int32_t fuse_all(const cvr_rewriter *r, chain *chains, cvr_error *err) {
    int32_t status = CVR_OK;
    for (uint64_t i = 0; i < r->n_nodes; i++) chains[i].last = CVR_NO_NODE;
    for (uint64_t i = 0; i < r->n_nodes && status == CVR_OK; i++) {
        cvr_node_view n;
        r->node(r, i, &n);
        if (chains[i].last == i) status = fuse(r, &chains[i], err);
        if (chains[i].last != CVR_NO_NODE || (is_op(&n, "batch_norm2d") && start_chain(r, i, &n, chains)))
            r->drop(r, i);
        else if (status == CVR_OK)
            status = r->keep(r, i, err);
    }
    return status;
}

static int32_t run(const cvr_rewriter *r, cvr_error *err) {
    chain *chains = (chain *)r->host->alloc(r->host, (r->n_nodes + 1) * sizeof *chains, 16);
    if (!chains) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    const int32_t status = fuse_all(r, chains, err);
    r->host->free(r->host, chains);
    return status;
}

static const cvr_pass_desc fuse_norm = {.struct_size = sizeof fuse_norm,
                                        .name = "fuse_norm",
                                        .doc = "batch norm + residual + activation as one op",
                                        .stage = CVR_PASS_NETWORK,
                                        .run = run};

static int32_t load(const cvr_host *host, const cvr_registrar *r, cvr_error *err) {
    (void)host;
    return r->add(r, CVR_KIND_PASS, &fuse_norm, err);
}

CVR_DEFINE_PLUGIN("pass_fuse_norm", "0.1.0", "op:batch_norm2d_act", load)
