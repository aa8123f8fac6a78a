/*
 * The pass "fuse_dense": linear_backward_weight and linear_backward_bias of the same gradient become
 * linear_backward_weight_bias (see ops/linear.h), which a backend may compute in one pass over the gradient, and which
 * means both where it has no kernel. Bias gradients that an elementwise program sums up on its way are left there.
 */
#include "chain.h"

/* The node behind i that sums the columns of the gradient that i multiplies, or CVR_NO_NODE. */
static uint64_t bias_of(const cvr_rewriter *r, uint64_t i, const cvr_node_view *weight) {
    for (uint64_t k = i + 1; k < r->n_nodes; k++) {
        cvr_node_view n;
        r->node(r, k, &n);
        if (chain_is_op(&n, "linear_backward_bias") && n.inputs[0] == weight->inputs[1]) return k;
    }
    return CVR_NO_NODE;
}

static int32_t put(const cvr_rewriter *r, uint64_t i, uint64_t bias, cvr_error *err) {
    cvr_node_view weight, sums;
    cvr_value out[2];
    r->node(r, i, &weight);
    r->node(r, bias, &sums);
    const cvr_value in[2] = {r->current(r, weight.inputs[0]), r->current(r, weight.inputs[1])};
    const cvr_op_call call = {.struct_size = sizeof call,
                              .op = "linear_backward_weight_bias",
                              .inputs = in,
                              .outputs = out,
                              .n_inputs = 2,
                              .n_outputs = 2};
    CVR_TRY(r->enter(r, i, err));
    CVR_TRY(r->builder->emit(r->builder, &call, err));
    CVR_TRY(r->replace(r, weight.outputs[0], out[0], err));
    return r->replace(r, sums.outputs[0], out[1], err);
}

/* `taken` by node: whether it was fused. */
static int32_t fuse_all(const cvr_rewriter *r, uint8_t *taken, cvr_error *err) {
    for (uint64_t i = 0; i < r->n_nodes; i++) {
        cvr_node_view n;
        r->node(r, i, &n);
        const uint64_t bias = chain_is_op(&n, "linear_backward_weight") ? bias_of(r, i, &n) : CVR_NO_NODE;
        if (bias != CVR_NO_NODE && !taken[bias]) {
            CVR_TRY(put(r, i, bias, err));
            taken[i] = taken[bias] = 1;
        }
        if (taken[i])
            r->drop(r, i);
        else
            CVR_TRY(r->keep(r, i, err));
    }
    return CVR_OK;
}

static int32_t run(const cvr_rewriter *r, cvr_error *err) {
    uint8_t *taken = (uint8_t *)r->host->alloc(r->host, r->n_nodes + 1, 16);
    if (!taken) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    memset(taken, 0, r->n_nodes + 1);
    const int32_t status = fuse_all(r, taken, err);
    r->host->free(r->host, taken);
    return status;
}

const cvr_pass_desc fuse_dense_pass = {.struct_size = sizeof fuse_dense_pass,
                                       .name = "fuse_dense",
                                       .doc = "the gradients of a dense layer's weight and bias in one node",
                                       .stage = CVR_PASS_STEP,
                                       .priority = -10, /* after fuse_elementwise has taken the sums that it can */
                                       .run = run};
