/* Finds chains and puts one op in the place of each (see chain.h). */
#include "chain.h"

/* The node that alone reads v, or CVR_NO_NODE. */
static uint64_t only_reader(const cvr_rewriter *r, cvr_value v, cvr_node_view *out) {
    uint64_t first;
    if (r->uses(r, v, &first) != 1 || first == CVR_NO_NODE) return CVR_NO_NODE;
    r->node(r, first, out);
    return first;
}

static int64_t activation_of(const cvr_node_view *n, int64_t silu) {
    return chain_is_op(n, "relu")           ? CVR_ACTIVATION_RELU
           : chain_is_op(n, "relu6")        ? CVR_ACTIVATION_RELU6
           : silu && chain_is_op(n, "silu") ? CVR_ACTIVATION_SILU
                                            : CVR_ACTIVATION_NONE;
}

/* None of a norm's scale, shift and statistics is trained: no gradient needs what lies before it. */
static int is_frozen(const cvr_rewriter *r, const cvr_node_view *norm) {
    for (uint32_t i = 1; i < norm->n_inputs; i++) {
        cvr_value_view v = {.struct_size = sizeof v};
        if (norm->inputs[i] == CVR_NONE) continue;
        r->value(r, norm->inputs[i], &v);
        if ((v.kind != CVR_VALUE_PARAMETER && v.kind != CVR_VALUE_BUFFER) || (v.flags & CVR_PARAM_TRAINABLE)) return 0;
    }
    return 1;
}

/* What follows node i, the head. A sum that is part of another chain ends this one: a sum of two is the first one's. */
static chain follow(const cvr_rewriter *r, const chain_rule *rule, uint64_t i, const cvr_node_view *head,
                    const chain *chains) {
    chain c = {i, CVR_NO_NODE, CVR_NO_NODE, CVR_NO_NODE, i, CVR_NONE, CVR_ACTIVATION_NONE};
    cvr_node_view next;
    cvr_value y = head->outputs[0];
    uint64_t at = only_reader(r, y, &next);
    if (at != CVR_NO_NODE && rule->norm && chain_is_op(&next, rule->norm) && next.inputs[0] == y &&
        (!rule->frozen || is_frozen(r, &next))) {
        c.norm = c.last = at;
        y = next.outputs[0];
        at = only_reader(r, y, &next);
    }
    if (at != CVR_NO_NODE && chain_is_op(&next, "add")) {
        if (chains[at].last != CVR_NO_NODE) return c;
        c.add = c.last = at;
        c.residual = next.inputs[next.inputs[0] == y ? 1 : 0];
        y = next.outputs[0];
        at = only_reader(r, y, &next);
    }
    const int64_t activation =
        at == CVR_NO_NODE ? CVR_ACTIVATION_NONE : activation_of(&next, rule->silu && c.add == CVR_NO_NODE);
    if (activation != CVR_ACTIVATION_NONE) {
        c.act = c.last = at;
        c.activation = activation;
    }
    return c;
}

/* Notes the chain that starts at node i, the head; 0 where nothing follows that could be fused. */
static int start_chain(const cvr_rewriter *r, const chain_rule *rule, uint64_t i, const cvr_node_view *head,
                       chain *chains) {
    const chain c = follow(r, rule, i, head, chains);
    const uint64_t parts[] = {c.norm, c.add, c.act};
    if (c.last == i) return 0;
    for (size_t k = 0; k < sizeof parts / sizeof *parts; k++)
        if (parts[k] != CVR_NO_NODE) chains[parts[k]] = c;
    return 1;
}

static int32_t put(const cvr_rewriter *r, const chain_rule *rule, const chain *c, cvr_error *err) {
    cvr_node_view end;
    cvr_value out = CVR_NONE;
    r->node(r, c->last, &end);
    CVR_TRY(r->enter(r, c->head, err));
    CVR_TRY(rule->fuse(r, c, &out, err));
    return r->replace(r, end.outputs[0], out, err);
}

/* `chains` by the nodes that are part of one, the heads aside. */
static int32_t fuse_all(const cvr_rewriter *r, const chain_rule *rule, chain *chains, cvr_error *err) {
    for (uint64_t i = 0; i < r->n_nodes; i++) chains[i].last = CVR_NO_NODE;
    for (uint64_t i = 0; i < r->n_nodes; i++) {
        cvr_node_view n;
        r->node(r, i, &n);
        if (chains[i].last == i) CVR_TRY(put(r, rule, &chains[i], err));
        if (chains[i].last != CVR_NO_NODE || (chain_is_op(&n, rule->head) && start_chain(r, rule, i, &n, chains)))
            r->drop(r, i);
        else
            CVR_TRY(r->keep(r, i, err));
    }
    return CVR_OK;
}

int32_t chain_run(const cvr_rewriter *r, const chain_rule *rule, cvr_error *err) {
    chain *chains = (chain *)r->host->alloc(r->host, (r->n_nodes + 1) * sizeof *chains, 16);
    if (!chains) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    const int32_t status = fuse_all(r, rule, chains, err);
    r->host->free(r->host, chains);
    return status;
}

static int32_t load(const cvr_host *host, const cvr_registrar *r, cvr_error *err) {
    (void)host;
    CVR_TRY(r->add(r, CVR_KIND_PASS, &fuse_norm_pass, err));
    CVR_TRY(r->add(r, CVR_KIND_PASS, &fuse_conv_pass, err));
    CVR_TRY(r->add(r, CVR_KIND_PASS, &fuse_elementwise_pass, err));
    CVR_TRY(r->add(r, CVR_KIND_PASS, &fuse_grads_pass, err));
    CVR_TRY(r->add(r, CVR_KIND_PASS, &fuse_dense_pass, err));
    CVR_TRY(r->add(r, CVR_KIND_PASS, &fold_norm_pass, err));
    CVR_TRY(r->add(r, CVR_KIND_PASS, &freeze_norm_pass, err));
    return r->add(r, CVR_KIND_PASS, &fuse_stats_pass, err);
}

CVR_DEFINE_PLUGIN("pass_fuse", "0.1.0",
                  "op:batch_norm2d_act op:batch_norm2d_backward_apply op:conv2d_act op:conv2d_backward_input_norm "
                  "op:conv2d_stats op:elementwise op:linear_backward_weight_bias op:mul_broadcast op:view",
                  load)
