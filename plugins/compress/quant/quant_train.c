/*
 * The network of a training step as its integers will compute it (quantisation-aware training: Jacob et al.,
 * Quantization and Training of Neural Networks, 2018): weights and activations are rounded, and gradients pass as if
 * they were not (fake_quantize). A weight has the range that it has in this step, a scale a row; an activation the
 * moving average of those that were seen in the steps before.
 *
 * The weight is rounded as it stands, and not with the batch norm's factors in it: these multiply whole rows, and with
 * a scale a row, rounding and multiplying may change places.
 */
#include "quant.h"

#include <cvr/plugin/ops/arith.h>
#include <cvr/plugin/ops/elementwise.h>
#include <cvr/plugin/ops/quant.h>
#include <cvr/plugin/ops/shape.h>

#define MOST_PAIRS 31 /* of average_update */

/* What a group of values has in this step. */
typedef struct group_step {
    cvr_value scale, zero; /* by the range as it was before the step */
    cvr_value seen[2];     /* least and greatest of its values in this step; CVR_NONE: not met yet */
} group_step;

typedef struct training {
    const cvr_rewriter *r;
    quant_plan plan;
    quant_names names;
    quant_ranges ranges;
    group_step *groups; /* by group */
    cvr_value *edge;    /* by node, and behind them the network's input: rounded, for nodes on integers alone */
    uint32_t stage;
} training;

static int32_t emit_program(const cvr_builder *b, const cvr_steps *s, const cvr_value *in, uint32_t n, cvr_value *out,
                            cvr_error *err) {
    cvr_elementwise_attrs attrs;
    cvr_elementwise_attrs_of(s, &attrs);
    return cvr_emit(b, "elementwise", &attrs, sizeof attrs, in, n, out, err);
}

static int32_t emit_step(const cvr_builder *b, uint32_t code, cvr_value x, cvr_value y, cvr_value *out,
                         cvr_error *err) {
    const cvr_value in[2] = {x, y};
    cvr_steps s = {.struct_size = sizeof s};
    if (y == CVR_NONE)
        (void)cvr_step1(&s, code, 0);
    else
        (void)cvr_step2(&s, code, 0, 1);
    return emit_program(b, &s, in, y == CVR_NONE ? 1 : 2, out, err);
}

/* ---- activations ---- */

/* quant_scale() of a group's range. */
static int32_t emit_scale(const training *w, const cvr_value range[2], group_step *g, cvr_error *err) {
    const cvr_value in[3] = {range[0], range[1]};
    cvr_steps s = {.struct_size = sizeof s};
    const uint32_t none = cvr_constant(&s, 0), low = cvr_step2(&s, CVR_STEP_MIN, 0, none),
                   high = cvr_step2(&s, CVR_STEP_MAX, 1, none),
                   step = cvr_step2(&s, CVR_STEP_DIV, cvr_step2(&s, CVR_STEP_SUB, high, low), cvr_constant(&s, 255));
    (void)cvr_step4(&s, CVR_STEP_SELECT_GT, step, cvr_constant(&s, QUANT_SMALLEST_STEP), step, cvr_constant(&s, 1));
    CVR_TRY(emit_program(w->r->builder, &s, in, 2, &g->scale, err));
    cvr_steps z = {.struct_size = sizeof z};
    const cvr_value of[2] = {range[0], g->scale};
    const uint32_t below = cvr_step2(&z, CVR_STEP_MIN, 0, cvr_constant(&z, 0)),
                   units = cvr_step2(&z, CVR_STEP_DIV, cvr_step1(&z, CVR_STEP_NEG, below), 1),
                   whole = cvr_step2(&z, CVR_STEP_MAX, cvr_step1(&z, CVR_STEP_ROUND, units), cvr_constant(&z, 0));
    (void)cvr_step2(&z, CVR_STEP_MIN, whole, cvr_constant(&z, 255));
    return emit_program(w->r->builder, &z, of, 2, &g->zero, err);
}

static int32_t begin_groups(training *w, cvr_error *err) {
    CVR_TRY(quant_ranges_declare(&w->ranges, err));
    for (uint64_t i = 0; i <= w->r->n_nodes; i++) {
        w->edge[i] = CVR_NONE;
        w->groups[i] = (group_step){CVR_NONE, CVR_NONE, {CVR_NONE, CVR_NONE}};
        if (w->ranges.range[i][0] != CVR_NONE) CVR_TRY(emit_scale(w, w->ranges.range[i], &w->groups[i], err));
    }
    return CVR_OK;
}

/* Least and greatest of x join what was seen of the group. */
static int32_t emit_seen(const training *w, cvr_value x, group_step *g, cvr_error *err) {
    const cvr_builder *b = w->r->builder;
    const cvr_reduce_attrs all = {0};
    cvr_value negative, now[2];
    if (w->stage & QUANT_RANGES_FIXED) return CVR_OK;
    CVR_TRY(emit_step(b, CVR_STEP_NEG, x, CVR_NONE, &negative, err));
    CVR_TRY(cvr_emit(b, "amax", &all, sizeof all, &negative, 1, &now[0], err));
    CVR_TRY(emit_step(b, CVR_STEP_NEG, now[0], CVR_NONE, &now[0], err));
    CVR_TRY(cvr_emit(b, "amax", &all, sizeof all, &x, 1, &now[1], err));
    for (int k = 0; k < 2; k++) {
        if (g->seen[k] == CVR_NONE)
            g->seen[k] = now[k];
        else
            CVR_TRY(emit_step(b, k ? CVR_STEP_MAX : CVR_STEP_MIN, g->seen[k], now[k], &g->seen[k], err));
    }
    return CVR_OK;
}

/* x, as it comes back from integers; what it was is seen. */
static int32_t emit_rounded(const training *w, cvr_value x, uint64_t group, cvr_value *out, cvr_error *err) {
    const cvr_fake_quantize_attrs u8 = {0, 255};
    group_step *g = &w->groups[group];
    const cvr_value in[3] = {x, g->scale, g->zero};
    CVR_TRY(emit_seen(w, x, g, err));
    return cvr_emit(w->r->builder, "fake_quantize", &u8, sizeof u8, in, 3, out, err);
}

/* range += QUANT_AVERAGING * (seen - range), of as many groups at a time as the op takes. */
static int32_t emit_averages(const training *w, cvr_error *err) {
    static const float averaging = (float)QUANT_AVERAGING;
    const cvr_builder *b = w->r->builder;
    const cvr_param_decl decl = {.struct_size = sizeof decl,
                                 .name = "quant_range.averaging",
                                 .dtype = CVR_F32,
                                 .shape = {1, 1, 1, 1, 1, 1},
                                 .flags = CVR_PARAM_CONSTANT,
                                 .values = &averaging};
    cvr_value in[1 + 2 * MOST_PAIRS], none[1];
    uint32_t n = 1;
    if (w->stage & QUANT_RANGES_FIXED) return CVR_OK;
    CVR_TRY(b->param(b, &decl, &in[0], err));
    for (uint64_t i = 0; i <= w->r->n_nodes; i++) {
        for (int k = 0; k < 2 && w->groups[i].seen[k] != CVR_NONE; k++) {
            in[n++] = w->ranges.range[i][k];
            in[n++] = w->groups[i].seen[k];
        }
        if (n == 1 || (n + 4 <= 1 + 2 * MOST_PAIRS && i < w->r->n_nodes)) continue;
        const cvr_op_call call = {
            .struct_size = sizeof call, .op = "average_update", .inputs = in, .outputs = none, .n_inputs = n};
        CVR_TRY(b->emit(b, &call, err));
        n = 1;
    }
    return CVR_OK;
}

/* ---- weights ---- */

/* The weight with a scale a row: its greatest by absolute value is 127. */
static int32_t emit_rows(const training *w, cvr_value weight, cvr_value *out, cvr_error *err) {
    const cvr_builder *b = w->r->builder;
    const cvr_fake_quantize_attrs i8 = {-127, 127};
    cvr_reduce_attrs rows = {.keepdim = 1};
    cvr_value most, in[3] = {weight};
    cvr_steps s = {.struct_size = sizeof s};
    for (uint32_t k = 1; k < b->type(b, weight)->rank; k++) rows.dim[rows.n_dim++] = k;
    CVR_TRY(emit_step(b, CVR_STEP_ABS, weight, CVR_NONE, &most, err));
    CVR_TRY(cvr_emit(b, "amax", &rows, sizeof rows, &most, 1, &most, err));
    const uint32_t step = cvr_step2(&s, CVR_STEP_DIV, 0, cvr_constant(&s, 127));
    (void)cvr_step4(&s, CVR_STEP_SELECT_GT, 0, cvr_constant(&s, QUANT_SMALLEST_STEP), step, cvr_constant(&s, 1));
    CVR_TRY(emit_program(b, &s, &most, 1, &in[1], err));
    CVR_TRY(emit_step(b, CVR_STEP_SUB, in[1], in[1], &in[2], err)); /* zero point 0 */
    CVR_TRY(cvr_emit(b, "fake_quantize", &i8, sizeof i8, in, 3, out, err));
    /* A weight that meets a flattened value lies in another order, in which the scales do not repeat. */
    const cvr_type *was = b->type(b, weight);
    if (memcmp(was->order, b->type(b, *out)->order, sizeof was->order) == 0) return CVR_OK;
    return cvr_emit(b, "from_logical", was->order, sizeof was->order, out, 1, out, err);
}

/* Of a transposed convolution a row is an index along axis 1. */
static int32_t emit_weight(const training *w, const cvr_int8_trait *t, cvr_value weight, cvr_value *out,
                           cvr_error *err) {
    const cvr_permute_attrs swap = {4, {1, 0, 2, 3}};
    const cvr_builder *b = w->r->builder;
    if (quant_weight_axis(t) == 0) return emit_rows(w, weight, out, err);
    CVR_TRY(cvr_emit(b, "permute", &swap, sizeof swap, &weight, 1, out, err));
    CVR_TRY(emit_rows(w, *out, out, err));
    return cvr_emit(b, "permute", &swap, sizeof swap, out, 1, out, err);
}

/* ---- nodes ---- */

/* An activation that a node on integers reads. What training alone has in between, dropout say, is read as it is. */
static int32_t find_activation(const training *w, cvr_value v, cvr_value *out, cvr_error *err) {
    const uint64_t at = w->r->producer(w->r, v);
    uint64_t group;
    *out = w->r->current(w->r, v);
    if (at != CVR_NO_NODE && w->ranges.chains.head[at] != CVR_NO_NODE) return CVR_OK;
    if (!quant_ranges_of(&w->ranges, v, &group)) return CVR_OK;
    cvr_value *rounded = &w->edge[at == CVR_NO_NODE ? w->r->n_nodes : at];
    if (*rounded == CVR_NONE) CVR_TRY(emit_rounded(w, *out, group, rounded, err));
    *out = *rounded;
    return CVR_OK;
}

/* The node once more, of rounded inputs. */
static int32_t put_node(const training *w, uint64_t i, cvr_error *err) {
    cvr_value in[CVR_MAX_IO], outputs[CVR_MAX_IO];
    cvr_node_view n;
    w->r->node(w->r, i, &n);
    const cvr_int8_trait *t = cvr_op_trait(n.op, CVR_TRAIT_INT8);
    CVR_TRY(w->r->enter(w->r, i, err));
    for (uint32_t k = 0; k < n.n_inputs; k++) {
        in[k] = n.inputs[k] == CVR_NONE ? CVR_NONE : w->r->current(w->r, n.inputs[k]);
        if (in[k] == CVR_NONE) continue;
        if (t->weight >> k & 1)
            CVR_TRY(emit_weight(w, t, in[k], &in[k], err));
        else if (quant_is_activation(t, k))
            CVR_TRY(find_activation(w, n.inputs[k], &in[k], err));
    }
    const cvr_op_call call = {.struct_size = sizeof call,
                              .op = n.op->name,
                              .attrs = n.attrs,
                              .attrs_size = n.attrs_size,
                              .inputs = in,
                              .outputs = outputs,
                              .n_inputs = n.n_inputs,
                              .n_outputs = n.n_outputs};
    CVR_TRY(w->r->builder->emit(w->r->builder, &call, err));
    w->r->drop(w->r, i);
    for (uint32_t k = 0; k < n.n_outputs; k++) CVR_TRY(w->r->replace(w->r, n.outputs[k], outputs[k], err));
    return CVR_OK;
}

/* Whether what node i reads has the scale of what it gives. */
static int is_of_one_group(const training *w, uint64_t i) {
    const uint64_t own = quant_ranges_group(&w->ranges, i);
    cvr_node_view n;
    w->r->node(w->r, i, &n);
    const cvr_int8_trait *t = cvr_op_trait(n.op, CVR_TRAIT_INT8);
    for (uint32_t k = 0; k < n.n_inputs; k++) {
        uint64_t group;
        if (!quant_is_activation(t, k) || n.inputs[k] == CVR_NONE) continue;
        if (quant_ranges_of(&w->ranges, n.inputs[k], &group) && group != own) return 0;
    }
    return 1;
}

/* The value at the end of a chain is rounded for all who read it, but for that of a node which only moves elements of
 * its own scale: they are rounded already. One that is another op on integers may give something in between (bilinear
 * upsampling), and one that reads values of several groups gives them all in its own scale. */
static int32_t end_chain(const training *w, uint64_t tail, cvr_error *err) {
    const uint64_t head = w->ranges.chains.head[tail];
    cvr_node_view n, first;
    cvr_value rounded;
    w->r->node(w->r, tail, &n);
    w->r->node(w->r, head, &first);
    const cvr_int8_trait *t = cvr_op_trait(first.op, CVR_TRAIT_INT8);
    if ((t->flags & CVR_INT8_SAME) && !t->op && is_of_one_group(w, head)) return CVR_OK;
    CVR_TRY(w->r->enter(w->r, tail, err));
    const cvr_value x = w->r->current(w->r, n.outputs[0]);
    CVR_TRY(emit_rounded(w, x, quant_ranges_group(&w->ranges, head), &rounded, err));
    CVR_TRY(w->r->enter(w->r, tail, err)); /* what was emitted so far reads x, and not what takes its place */
    return w->r->replace(w->r, x, rounded, err);
}

static int32_t rewrite_all(training *w, cvr_error *err) {
    CVR_TRY(begin_groups(w, err));
    for (uint64_t i = 0; i < w->r->n_nodes; i++) {
        CVR_TRY(w->ranges.chains.entry[i] ? put_node(w, i, err) : w->r->keep(w->r, i, err));
        const uint64_t head = w->ranges.chains.head[i];
        if (head != CVR_NO_NODE && w->ranges.chains.tail[head] == i) CVR_TRY(end_chain(w, i, err));
    }
    return emit_averages(w, err);
}

int32_t quant_train(const cvr_rewriter *r, const char *plan, uint32_t stage, cvr_error *err) {
    training w = {.r = r, .stage = stage};
    const uint64_t n = r->n_nodes + 1;
    int32_t status;
    CVR_TRY(quant_plan_read(&w.plan, r->host, plan, err));
    CVR_TRY_OUT(quant_names_open(&w.names, r, err));
    CVR_TRY_OUT(quant_ranges_open(&w.ranges, r, &w.plan, &w.names, err));
    w.groups = r->host->alloc(r->host, n * sizeof *w.groups, 16);
    w.edge = r->host->alloc(r->host, n * sizeof *w.edge, 16);
    status = w.groups && w.edge ? rewrite_all(&w, err) : cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
out:
    r->host->free(r->host, w.groups);
    r->host->free(r->host, w.edge);
    quant_ranges_close(&w.ranges);
    quant_names_close(&w.names);
    quant_plan_close(&w.plan);
    return status;
}
