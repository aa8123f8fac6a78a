/*
 * The pass "fuse_stats": conv2d -> batch_norm2d or batch_norm2d_act in training becomes conv2d_stats and
 * batch_norm2d_act with these statistics (see ops/conv.h and ops/norm.h). The batch norm then reads its input once.
 */
#include "chain.h"

#include <cvr/plugin/ops/conv.h>

/* Of a convolution that became conv2d_stats, by its number; 0: it did not. */
typedef struct made_stats {
    cvr_value mean, var;
} made_stats;

static int is_norm(const cvr_node_view *n) {
    return chain_is_op(n, "batch_norm2d") || chain_is_op(n, "batch_norm2d_act");
}

/* Whether the first that reads the convolution's results is a batch norm of them. */
static int feeds_norm(const cvr_rewriter *r, const cvr_node_view *conv) {
    cvr_node_view reader;
    uint64_t first;
    if (r->uses(r, conv->outputs[0], &first) == 0 || first == CVR_NO_NODE) return 0;
    r->node(r, first, &reader);
    return is_norm(&reader) && reader.inputs[0] == conv->outputs[0];
}

static int32_t put_conv(const cvr_rewriter *r, uint64_t i, const cvr_node_view *conv, made_stats *made,
                        cvr_error *err) {
    cvr_value in[3] = {CVR_NONE}, out[3];
    for (uint32_t k = 0; k < conv->n_inputs; k++) in[k] = r->current(r, conv->inputs[k]);
    const cvr_op_call call = {.struct_size = sizeof call,
                              .op = "conv2d_stats",
                              .attrs = conv->attrs,
                              .attrs_size = conv->attrs_size,
                              .inputs = in,
                              .outputs = out,
                              .n_inputs = conv->n_inputs,
                              .n_outputs = 3};
    int32_t status;
    CVR_TRY_OUT(r->enter(r, i, err));
    CVR_TRY_OUT(r->builder->emit(r->builder, &call, err));
    CVR_TRY_OUT(r->replace(r, conv->outputs[0], out[0], err));
    *made = (made_stats){out[1], out[2]};
out:
    r->drop(r, i);
    return status;
}

static int32_t put_norm(const cvr_rewriter *r, uint64_t i, const cvr_node_view *norm, const made_stats *stats,
                        cvr_error *err) {
    const cvr_batch_norm2d_attrs *was = (const cvr_batch_norm2d_attrs *)norm->attrs; /* the first ones of both ops */
    cvr_batch_norm2d_act_attrs attrs = {was->momentum, was->eps, CVR_ACTIVATION_NONE};
    if (chain_is_op(norm, "batch_norm2d_act")) attrs = *(const cvr_batch_norm2d_act_attrs *)norm->attrs;
    cvr_value in[9] = {CVR_NONE}, out[3];
    for (uint32_t k = 0; k < norm->n_inputs; k++) in[k] = r->current(r, norm->inputs[k]);
    in[7] = stats->mean;
    in[8] = stats->var;
    const cvr_op_call call = {.struct_size = sizeof call,
                              .op = "batch_norm2d_act",
                              .attrs = &attrs,
                              .attrs_size = sizeof attrs,
                              .inputs = in,
                              .outputs = out,
                              .n_inputs = 9,
                              .n_outputs = 3};
    int32_t status;
    CVR_TRY_OUT(r->enter(r, i, err));
    CVR_TRY_OUT(r->builder->emit(r->builder, &call, err));
    for (uint32_t k = 0; k < 3; k++) CVR_TRY_OUT(r->replace(r, norm->outputs[k], out[k], err));
out:
    r->drop(r, i);
    return status;
}

/* `made` by node. */
static int32_t fuse_all(const cvr_rewriter *r, made_stats *made, cvr_error *err) {
    for (uint64_t i = 0; i < r->n_nodes; i++) made[i] = (made_stats){CVR_NONE, CVR_NONE};
    for (uint64_t i = 0; i < r->n_nodes; i++) {
        cvr_node_view n;
        r->node(r, i, &n);
        const uint64_t maker = is_norm(&n) ? r->producer(r, n.inputs[0]) : CVR_NO_NODE;
        if (chain_is_op(&n, "conv2d") && feeds_norm(r, &n))
            CVR_TRY(put_conv(r, i, &n, &made[i], err));
        else if (maker != CVR_NO_NODE && made[maker].mean != CVR_NONE)
            CVR_TRY(put_norm(r, i, &n, &made[maker], err));
        else
            CVR_TRY(r->keep(r, i, err));
    }
    return CVR_OK;
}

static int32_t run(const cvr_rewriter *r, cvr_error *err) {
    made_stats *made = (made_stats *)r->host->alloc(r->host, (r->n_nodes + 1) * sizeof *made, 16);
    if (!made) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    const int32_t status = fuse_all(r, made, err);
    r->host->free(r->host, made);
    return status;
}

const cvr_pass_desc fuse_stats_pass = {.struct_size = sizeof fuse_stats_pass,
                                       .name = "fuse_stats",
                                       .doc = "batch norm's statistics in the convolution before it",
                                       .stage = CVR_PASS_NETWORK,
                                       .priority = -10, /* after fuse_norm has made batch_norm2d_act */
                                       .run = run};
