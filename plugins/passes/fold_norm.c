/*
 * The pass "fold_norm": batch_norm2d_inference of a convolution that nobody else reads becomes part of it,
 *     weight' = weight * s,  bias' = beta + (bias - mean) * s,  s = gamma / sqrt(var + eps),  a row for each channel.
 * New weight and bias are nodes of the graph that depend on parameters alone: who exports a network computes them once.
 * It must be named, since a run that trains on would have to compute them in every step.
 */
#include "chain.h"

#include <cvr/plugin/ops/conv.h>
#include <cvr/plugin/ops/elementwise.h>
#include <cvr/plugin/ops/shape.h>

/* A convolution whose channels' axis in the weight is known; of a transposed one, that with one group alone. */
static int is_convolution(const cvr_node_view *n) {
    if (chain_is_op(n, "conv2d")) return 1;
    return chain_is_op(n, "conv_transpose2d") && ((const cvr_conv_transpose2d_attrs *)n->attrs)->conv.groups == 1;
}

/* The norm that alone reads the result of node i, or CVR_NO_NODE. */
static uint64_t norm_behind(const cvr_rewriter *r, uint64_t i) {
    cvr_node_view conv, norm;
    uint64_t reader;
    r->node(r, i, &conv);
    if (!is_convolution(&conv) || r->uses(r, conv.outputs[0], &reader) != 1 || reader == CVR_NO_NODE)
        return CVR_NO_NODE;
    r->node(r, reader, &norm);
    return chain_is_op(&norm, "batch_norm2d_inference") && norm.inputs[0] == conv.outputs[0] ? reader : CVR_NO_NODE;
}

/* A program over vectors (C). */
static int32_t emit_program(const cvr_builder *b, const cvr_steps *s, const cvr_value *in, uint32_t n, cvr_value *out,
                            cvr_error *err) {
    cvr_elementwise_attrs attrs;
    cvr_elementwise_attrs_of(s, &attrs);
    return cvr_emit(b, "elementwise", &attrs, sizeof attrs, in, n, out, err);
}

/* s = gamma / sqrt(var + eps), of var and, where there is one, gamma */
static int32_t emit_scale(const cvr_builder *b, cvr_value var, cvr_value gamma, double eps, cvr_value *out,
                          cvr_error *err) {
    cvr_steps s = {.struct_size = sizeof s};
    const cvr_value in[2] = {var, gamma};
    const uint32_t root = cvr_step1(&s, CVR_STEP_SQRT, cvr_step2(&s, CVR_STEP_ADD, 0, cvr_constant(&s, (float)eps)));
    (void)cvr_step2(&s, CVR_STEP_DIV, gamma ? 1 : cvr_constant(&s, 1), root);
    return emit_program(b, &s, in, gamma ? 2 : 1, out, err);
}

/* beta + (bias - mean) * s */
static int32_t emit_bias(const cvr_builder *b, cvr_value beta, cvr_value bias, cvr_value mean, cvr_value scale,
                         cvr_value *out, cvr_error *err) {
    cvr_steps s = {.struct_size = sizeof s};
    cvr_value in[4];
    uint32_t n = 0, added = 0;
    if (bias) in[n++] = bias;
    if (beta) in[added = n++] = beta;
    const uint32_t at_mean = n;
    in[n++] = mean;
    in[n] = scale;
    const uint32_t moved = bias ? cvr_step2(&s, CVR_STEP_SUB, 0, at_mean) : cvr_step1(&s, CVR_STEP_NEG, at_mean);
    const uint32_t product = cvr_step2(&s, CVR_STEP_MUL, moved, n);
    if (beta) (void)cvr_step2(&s, CVR_STEP_ADD, added, product);
    return emit_program(b, &s, in, n + 1, out, err);
}

/* weight * s, s along the axis of the output's channels */
static int32_t emit_weight(const cvr_builder *b, cvr_value weight, cvr_value scale, uint32_t axis, cvr_value *out,
                           cvr_error *err) {
    cvr_view_attrs view = {.rank = 4, .shape = {1, 1, 1, 1}};
    cvr_value in[2] = {weight};
    view.shape[axis] = b->type(b, scale)->shape[0];
    CVR_TRY(cvr_emit(b, "view", &view, sizeof view, &scale, 1, &in[1], err));
    return cvr_emit(b, "mul_broadcast", NULL, 0, in, 2, out, err);
}

static int32_t fold(const cvr_rewriter *r, uint64_t at_conv, uint64_t at_norm, cvr_error *err) {
    const cvr_builder *b = r->builder;
    cvr_node_view conv, norm;
    cvr_value in[3], v[5], scale, out;
    r->node(r, at_conv, &conv);
    r->node(r, at_norm, &norm);
    for (uint32_t k = 1; k < 5; k++) v[k] = norm.inputs[k] ? r->current(r, norm.inputs[k]) : CVR_NONE;
    const cvr_value bias = conv.n_inputs > 2 && conv.inputs[2] ? r->current(r, conv.inputs[2]) : CVR_NONE;
    const uint32_t axis = chain_is_op(&conv, "conv2d") ? 0 : 1;
    CVR_TRY(r->enter(r, at_conv, err));
    in[0] = r->current(r, conv.inputs[0]);
    CVR_TRY(emit_scale(b, v[4], v[1], ((const cvr_batch_norm2d_inference_attrs *)norm.attrs)->eps, &scale, err));
    CVR_TRY(emit_weight(b, r->current(r, conv.inputs[1]), scale, axis, &in[1], err));
    CVR_TRY(emit_bias(b, v[2], bias, v[3], scale, &in[2], err));
    CVR_TRY(cvr_emit(b, conv.op->name, conv.attrs, conv.attrs_size, in, 3, &out, err));
    r->drop(r, at_norm);
    return r->replace(r, norm.outputs[0], out, err);
}

/* The convolution goes when it is met, and comes back in the place of its norm. */
static int32_t run(const cvr_rewriter *r, cvr_error *err) {
    for (uint64_t i = 0; i < r->n_nodes; i++) {
        cvr_node_view n;
        r->node(r, i, &n);
        if (norm_behind(r, i) != CVR_NO_NODE) {
            r->drop(r, i);
            continue;
        }
        const uint64_t conv = chain_is_op(&n, "batch_norm2d_inference") ? r->producer(r, n.inputs[0]) : CVR_NO_NODE;
        if (conv != CVR_NO_NODE && norm_behind(r, conv) == i)
            CVR_TRY(fold(r, conv, i, err));
        else
            CVR_TRY(r->keep(r, i, err));
    }
    return CVR_OK;
}

const cvr_pass_desc fold_norm_pass = {.struct_size = sizeof fold_norm_pass,
                                      .name = "fold_norm",
                                      .doc = "batch norms as part of the convolutions before them, for export",
                                      .stage = CVR_PASS_NETWORK,
                                      .flags = CVR_PASS_OPT_IN,
                                      .run = run};
