/*
 * The pass "freeze_norm": in a training step, batch norms by their running statistics, which then stay as they are;
 * scale and shift are trained on. For the last epochs of training for integers, where the network is to be what will be
 * evaluated. It must be named.
 */
#include "chain.h"

static int32_t freeze(const cvr_rewriter *r, uint64_t i, const cvr_node_view *n, cvr_error *err) {
    const cvr_batch_norm2d_inference_attrs attrs = {((const cvr_batch_norm2d_attrs *)n->attrs)->eps};
    cvr_value in[5], out;
    for (uint32_t k = 0; k < 5; k++) in[k] = n->inputs[k] == CVR_NONE ? CVR_NONE : r->current(r, n->inputs[k]);
    CVR_TRY(r->enter(r, i, err));
    CVR_TRY(cvr_emit(r->builder, "batch_norm2d_inference", &attrs, sizeof attrs, in, 5, &out, err));
    r->drop(r, i);
    return r->replace(r, n->outputs[0], out, err);
}

/* One without running statistics is evaluated by the batch's, too. */
static int has_statistics(const cvr_node_view *n) {
    return n->n_inputs > 4 && n->inputs[3] != CVR_NONE && n->inputs[4] != CVR_NONE;
}

static int32_t run(const cvr_rewriter *r, cvr_error *err) {
    for (uint64_t i = 0; i < r->n_nodes; i++) {
        cvr_node_view n;
        r->node(r, i, &n);
        if (chain_is_op(&n, "batch_norm2d") && has_statistics(&n))
            CVR_TRY(freeze(r, i, &n, err));
        else
            CVR_TRY(r->keep(r, i, err));
    }
    return CVR_OK;
}

const cvr_pass_desc freeze_norm_pass = {.struct_size = sizeof freeze_norm_pass,
                                        .name = "freeze_norm",
                                        .doc = "batch norms by running statistics in training, too",
                                        .stage = CVR_PASS_NETWORK,
                                        .flags = CVR_PASS_OPT_IN,
                                        .run = run};
