/*
 * The pass "fuse_norm": batch_norm2d -> [add] -> [relu or relu6], or batch_norm2d -> silu, becomes one op (see
 * ops/norm.h). Two reads and a write of memory in place of five and three.
 */
#include "chain.h"

static int32_t fuse(const cvr_rewriter *r, const chain *c, cvr_value *out, cvr_error *err) {
    cvr_node_view norm;
    cvr_value in[7] = {CVR_NONE}, outputs[3];
    r->node(r, c->head, &norm);
    const cvr_batch_norm2d_attrs *was = (const cvr_batch_norm2d_attrs *)norm.attrs;
    const cvr_batch_norm2d_act_attrs attrs = {was->momentum, was->eps, c->activation};
    for (uint32_t k = 0; k < norm.n_inputs; k++) in[k] = r->current(r, norm.inputs[k]);
    in[6] = r->current(r, c->residual);
    const cvr_op_call call = {.struct_size = sizeof call,
                              .op = "batch_norm2d_act",
                              .attrs = &attrs,
                              .attrs_size = sizeof attrs,
                              .inputs = in,
                              .outputs = outputs,
                              .n_inputs = 7,
                              .n_outputs = 3};
    const int32_t status = r->builder->emit(r->builder, &call, err);
    *out = outputs[0];
    return status;
}

static int32_t run(const cvr_rewriter *r, cvr_error *err) {
    static const chain_rule rule = {.head = "batch_norm2d", .silu = 1, .fuse = fuse};
    return chain_run(r, &rule, err);
}

const cvr_pass_desc fuse_norm_pass = {.struct_size = sizeof fuse_norm_pass,
                                      .name = "fuse_norm",
                                      .doc = "batch norm + residual + activation as one op",
                                      .stage = CVR_PASS_NETWORK,
                                      .run = run};
