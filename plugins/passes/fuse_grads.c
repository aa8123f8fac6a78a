/*
 * The pass "fuse_grads": conv2d_backward_input -> [add] -> the backward pass of a batch norm becomes
 * conv2d_backward_input_norm and batch_norm2d_backward_apply (see ops/conv.h and ops/norm.h): the mirror of fuse_stats.
 * The batch norm then reads its gradient and its input once, and where gradients meet, their sum is not made first.
 *
 * The new node stands where the convolution's stood, and what is added has been made before, so that nothing lives
 * longer than it did. Depthwise convolutions are left alone: they take as long as their memory does, so that there is
 * nothing to hide the sums behind.
 */
#include "chain.h"

#include <cvr/plugin/ops/conv.h>

/* Inputs of a batch norm's backward pass. */
enum { X, GRAD, WEIGHT, MEAN, INVSTD, Y, BIAS };

/* One place: nodes, CVR_NO_NODE where there is none. */
typedef struct meeting {
    uint64_t norm, conv, add;
    cvr_value other;                /* what is added */
    cvr_value grad, dweight, dbias; /* the new node's */
} meeting;

static int is_sum(const cvr_node_view *n) {
    return chain_is_op(n, "batch_norm2d_add_act_backward");
}

static int is_norm(const cvr_node_view *n) {
    return is_sum(n) || chain_is_op(n, "batch_norm2d_act_backward") || chain_is_op(n, "batch_norm2d_backward");
}

/* The convolution whose data gradient v is, where nobody else reads it; or CVR_NO_NODE. */
static uint64_t conv_of(const cvr_rewriter *r, cvr_value v) {
    const uint64_t by = r->producer(r, v);
    cvr_node_view n;
    if (by == CVR_NO_NODE || r->uses(r, v, NULL) != 1) return CVR_NO_NODE;
    r->node(r, by, &n);
    if (!chain_is_op(&n, "conv2d_backward_input")) return CVR_NO_NODE;
    const cvr_type *weight = r->builder->type(r->builder, n.inputs[1]);
    const int64_t groups = ((const cvr_conv2d_backward_input_attrs *)n.attrs)->conv.groups;
    return groups > 1 && weight->shape[0] == groups && weight->shape[1] == 1 ? CVR_NO_NODE : by;
}

/* Whether v is there before node i. */
static int made_before(const cvr_rewriter *r, cvr_value v, uint64_t i) {
    const uint64_t by = r->producer(r, v);
    return by == CVR_NO_NODE || by < i;
}

/* What makes the gradient of a batch norm; conv CVR_NO_NODE: nothing that could be fused. */
static meeting meet(const cvr_rewriter *r, uint64_t i, const cvr_node_view *norm) {
    meeting m = {i, conv_of(r, norm->inputs[GRAD]), CVR_NO_NODE, CVR_NONE, CVR_NONE, CVR_NONE, CVR_NONE};
    const uint64_t by = r->producer(r, norm->inputs[GRAD]);
    cvr_node_view add;
    if (m.conv != CVR_NO_NODE || by == CVR_NO_NODE || r->uses(r, norm->inputs[GRAD], NULL) != 1) return m;
    r->node(r, by, &add);
    if (!chain_is_op(&add, "add")) return m;
    for (int k = 0; k < 2; k++) {
        const cvr_value other = add.inputs[1 - k];
        const uint64_t conv = conv_of(r, add.inputs[k]);
        if (conv == CVR_NO_NODE || !made_before(r, other, conv)) continue;
        if (!chain_same_shape(r->builder->type(r->builder, other), r->builder->type(r->builder, add.outputs[0])))
            continue;
        m.conv = conv;
        m.add = by;
        m.other = other;
    }
    return m;
}

static int64_t activation_of(const cvr_node_view *norm) {
    if (chain_is_op(norm, "batch_norm2d_backward")) return CVR_ACTIVATION_NONE;
    return ((const cvr_batch_norm2d_act_attrs *)norm->attrs)->activation;
}

static int32_t put_conv(const cvr_rewriter *r, meeting *m, cvr_error *err) {
    cvr_node_view conv, norm;
    cvr_value out[3];
    r->node(r, m->conv, &conv);
    r->node(r, m->norm, &norm);
    const cvr_conv2d_backward_input_norm_attrs attrs = {*(const cvr_conv2d_backward_input_attrs *)conv.attrs,
                                                        activation_of(&norm)};
    cvr_value in[9] = {conv.inputs[0],
                       conv.inputs[1],
                       m->other,
                       norm.inputs[X],
                       norm.inputs[WEIGHT],
                       norm.inputs[MEAN],
                       norm.inputs[INVSTD],
                       norm.n_inputs > BIAS ? norm.inputs[BIAS] : CVR_NONE,
                       is_sum(&norm) ? norm.inputs[Y] : CVR_NONE};
    for (int k = 0; k < 9; k++) in[k] = r->current(r, in[k]);
    const cvr_op_call call = {.struct_size = sizeof call,
                              .op = "conv2d_backward_input_norm",
                              .attrs = &attrs,
                              .attrs_size = sizeof attrs,
                              .inputs = in,
                              .outputs = out,
                              .n_inputs = 9,
                              .n_outputs = 3};
    CVR_TRY(r->enter(r, m->conv, err));
    CVR_TRY(r->builder->emit(r->builder, &call, err));
    m->grad = out[0];
    m->dweight = out[1];
    m->dbias = out[2];
    return CVR_OK;
}

static int32_t put_norm(const cvr_rewriter *r, const meeting *m, cvr_error *err) {
    cvr_node_view norm;
    cvr_value dx = CVR_NONE;
    r->node(r, m->norm, &norm);
    cvr_value in[7] = {norm.inputs[X], m->grad, norm.inputs[WEIGHT], norm.inputs[MEAN], norm.inputs[INVSTD],
                       m->dweight,     m->dbias};
    for (int k = 0; k < 7; k++) in[k] = r->current(r, in[k]);
    CVR_TRY(r->enter(r, m->norm, err));
    CVR_TRY(cvr_emit(r->builder, "batch_norm2d_backward_apply", NULL, 0, in, 7, &dx, err));
    const cvr_value made[4] = {dx, m->dweight, m->dbias, m->grad};
    for (uint32_t k = 0; k < norm.n_outputs; k++) CVR_TRY(r->replace(r, norm.outputs[k], made[k], err));
    return CVR_OK;
}

/* `at`: by node that is part of one, its meeting. */
static void find(const cvr_rewriter *r, meeting *meetings, meeting **at) {
    uint64_t n_meetings = 0;
    for (uint64_t i = 0; i < r->n_nodes; i++) at[i] = NULL;
    for (uint64_t i = 0; i < r->n_nodes; i++) {
        cvr_node_view n;
        r->node(r, i, &n);
        if (!is_norm(&n)) continue;
        meeting *m = &meetings[n_meetings];
        *m = meet(r, i, &n);
        if (m->conv == CVR_NO_NODE) continue;
        n_meetings++;
        at[m->norm] = at[m->conv] = m;
        if (m->add != CVR_NO_NODE) at[m->add] = m;
    }
}

static int32_t fuse_all(const cvr_rewriter *r, meeting *meetings, meeting **at, cvr_error *err) {
    find(r, meetings, at);
    for (uint64_t i = 0; i < r->n_nodes; i++) {
        meeting *m = at[i];
        if (!m)
            CVR_TRY(r->keep(r, i, err));
        else if (i == m->conv)
            CVR_TRY(put_conv(r, m, err));
        else if (i == m->norm)
            CVR_TRY(put_norm(r, m, err));
        if (m) r->drop(r, i);
    }
    return CVR_OK;
}

static int32_t run(const cvr_rewriter *r, cvr_error *err) {
    const uint64_t n = r->n_nodes + 1;
    meeting *meetings = (meeting *)r->host->alloc(r->host, n * sizeof *meetings, 16);
    meeting **at = (meeting **)r->host->alloc(r->host, n * sizeof *at, 16);
    const int32_t status =
        meetings && at ? fuse_all(r, meetings, at, err) : cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    r->host->free(r->host, meetings);
    r->host->free(r->host, at);
    return status;
}

const cvr_pass_desc fuse_grads_pass = {.struct_size = sizeof fuse_grads_pass,
                                       .name = "fuse_grads",
                                       .doc = "batch norm's gradients in the convolution's data gradient after it",
                                       .stage = CVR_PASS_STEP,
                                       .priority = 10, /* before fuse_elementwise takes the sums */
                                       .run = run};
