/*
 * The pass "fuse_conv": conv2d -> [batch_norm2d_inference] -> [add] -> [relu or relu6] becomes one op (see ops/conv.h),
 * whose results never meet memory in between. A training step needs what lies before a batch norm that learns, but
 * nothing of what lies between a convolution and an activation.
 */
#include "chain.h"

#include <cvr/plugin/ops/conv.h>

static int32_t fuse(const cvr_rewriter *r, const chain *c, cvr_value *out, cvr_error *err) {
    cvr_node_view conv, norm;
    cvr_value in[8] = {CVR_NONE};
    cvr_conv2d_act_attrs attrs = {.activation = c->activation};
    r->node(r, c->head, &conv);
    attrs.conv = *(const cvr_conv2d_attrs *)conv.attrs;
    for (uint32_t k = 0; k < conv.n_inputs; k++) in[k] = r->current(r, conv.inputs[k]);
    if (c->norm != CVR_NO_NODE) {
        r->node(r, c->norm, &norm);
        attrs.eps = ((const cvr_batch_norm2d_inference_attrs *)norm.attrs)->eps;
        for (uint32_t k = 1; k < norm.n_inputs; k++) in[2 + k] = r->current(r, norm.inputs[k]);
    }
    in[7] = r->current(r, c->residual);
    return cvr_emit(r->builder, "conv2d_act", &attrs, sizeof attrs, in, 8, out, err);
}

static int32_t run(const cvr_rewriter *r, cvr_error *err) {
    const chain_rule rule = {
        .head = "conv2d", .norm = "batch_norm2d_inference", .frozen = r->builder->training, .fuse = fuse};
    return chain_run(r, &rule, err);
}

const cvr_pass_desc fuse_conv_pass = {
    .struct_size = sizeof fuse_conv_pass,
    .name = "fuse_conv",
    .doc = "convolution + batch norm (in training a frozen one) + residual + activation as one op",
    .stage = CVR_PASS_NETWORK,
    .run = run};
