/*
 * From a network in f32 to one with explicit quantisation, as ONNX has it (QDQ): around each node that the plan puts on
 * integers stand dequantize in front and quantize behind, its weight is a dequantized i8, its bias a dequantized i32.
 * Every value has one quantize and one dequantize, whoever reads it. The pass "fuse_int8" then makes integers of it.
 */
#include "quant.h"

#include <cvr/plugin/ops/elementwise.h>
#include <cvr/plugin/ops/quant.h>

typedef struct rewriting {
    const cvr_rewriter *r;
    quant_plan plan;
    quant_names names;
    quant_chains chains;
    cvr_value *edge;           /* by node: its output 0, quantised where integers begin; or CVR_NONE */
    cvr_value (*weights)[2];   /* by node: its weight in i8 and the scales, or CVR_NONE */
    cvr_value input, input_dq; /* likewise of the network's input */
} rewriting;

/* x, as it comes back from integers */
static int32_t emit_quantised(const rewriting *w, cvr_value x, const quant_entry *e, cvr_value *out, cvr_error *err) {
    const cvr_quantize_attrs to = {e->scale, e->zero, CVR_U8};
    const cvr_dequantize_attrs from = {e->scale, e->zero, 0};
    cvr_value q;
    CVR_TRY(cvr_emit(w->r->builder, "quantize", &to, sizeof to, &x, 1, &q, err));
    return cvr_emit(w->r->builder, "dequantize", &from, sizeof from, &q, 1, out, err);
}

/* An activation that node i reads: from integers it is there already. `e`: gets its scale. */
static int32_t find_activation(rewriting *w, uint64_t i, cvr_value v, cvr_value *out, const quant_entry **e,
                               cvr_error *err) {
    const uint64_t at = w->r->producer(w->r, v);
    char key[QUANT_KEY], own[QUANT_KEY];
    cvr_value *kept = at == CVR_NO_NODE ? &w->input_dq : &w->edge[at];
    if (at != CVR_NO_NODE && w->chains.head[at] != CVR_NO_NODE) {
        *out = w->r->current(w->r, v);
        *e = w->chains.entry[w->chains.head[at]];
        return CVR_OK;
    }
    quant_value_key(&w->names, w->r, v, key);
    *e = quant_plan_find(&w->plan, QUANT_EDGE, key);
    quant_node_key(&w->names, w->r, i, own);
    if (!*e || (at == CVR_NO_NODE && w->input != CVR_NONE && w->input != v))
        return cvr_fail(err, CVR_ERR_FORMAT, "the plan has no scale for %.200s, which %.200s reads; quantise again",
                        key, own);
    if (*kept == CVR_NONE) CVR_TRY(emit_quantised(w, w->r->current(w->r, v), *e, kept, err));
    if (at == CVR_NO_NODE) w->input = v;
    *out = *kept;
    return CVR_OK;
}

static int32_t declare(const rewriting *w, uint64_t i, const char *what, uint32_t dtype, const cvr_type *like,
                       uint32_t rank, cvr_value *out, cvr_error *err) {
    static const cvr_init zero = {sizeof zero, CVR_INIT_CONSTANT, 0, 0, 0};
    char name[64];
    cvr_param_decl decl = {.struct_size = sizeof decl, .name = name, .dtype = dtype, .rank = rank, .init = &zero};
    quant_param_name(&w->names, i, what, name, sizeof name);
    for (uint32_t k = 0; k < CVR_MAX_RANK; k++) decl.shape[k] = k < rank ? like->shape[k] : 1;
    if (rank > 1) memcpy(decl.order, like->order, sizeof decl.order);
    return w->r->builder->param(w->r->builder, &decl, out, err);
}

/* The first node on integers that reads this weight: others share its integers. */
static uint64_t owner_of(const rewriting *w, uint64_t i, cvr_value weight) {
    for (uint64_t at = 0; at < i; at++)
        if (w->chains.entry[at] && quant_weight_of(w->r, at) == weight) return at;
    return i;
}

/* The weight in i8 and its scales, dequantized; `scale` gets the latter. */
static int32_t emit_weight(const rewriting *w, uint64_t i, cvr_value weight, uint32_t axis, cvr_value *scale,
                           cvr_value *out, cvr_error *err) {
    const cvr_type type = *w->r->builder->type(w->r->builder, weight);
    const cvr_dequantize_attrs rows = {1, 0, axis};
    cvr_type scales;
    cvr_value *in = w->weights[owner_of(w, i, weight)];
    cvr_type_set(&scales, CVR_F32, 1, &type.shape[axis]);
    if (in[0] == CVR_NONE) {
        CVR_TRY(declare(w, i, "weight_int8", CVR_I8, &type, type.rank, &in[0], err));
        CVR_TRY(declare(w, i, "weight_scale", CVR_F32, &scales, 1, &in[1], err));
    }
    *scale = in[1];
    return cvr_emit(w->r->builder, "dequantize", &rows, sizeof rows, in, 2, out, err);
}

/* The bias in i32, whose scale is x's times the weight's. */
static int32_t emit_bias(const rewriting *w, uint64_t i, double x_scale, cvr_value scale, cvr_value *out,
                         cvr_error *err) {
    const cvr_type type = *w->r->builder->type(w->r->builder, scale);
    const cvr_dequantize_attrs one = {1, 0, 0};
    cvr_steps s = {.struct_size = sizeof s};
    cvr_elementwise_attrs attrs;
    cvr_value in[2];
    (void)cvr_step2(&s, CVR_STEP_MUL, 0, cvr_constant(&s, (float)x_scale));
    cvr_elementwise_attrs_of(&s, &attrs);
    CVR_TRY(declare(w, i, "bias_int32", CVR_I32, &type, 1, &in[0], err));
    CVR_TRY(cvr_emit(w->r->builder, "elementwise", &attrs, sizeof attrs, &scale, 1, &in[1], err));
    return cvr_emit(w->r->builder, "dequantize", &one, sizeof one, in, 2, out, err);
}

/* An activation as the node reads it: one that only moves elements has it in its own scale. */
static int32_t find_scaled(rewriting *w, uint64_t i, const cvr_int8_trait *t, cvr_value v, cvr_value *out,
                           const quant_entry **e, cvr_error *err) {
    const quant_entry *own = w->chains.entry[i];
    CVR_TRY(find_activation(w, i, v, out, e, err));
    if (!(t->flags & CVR_INT8_SAME) || quant_same_scale(*e, own)) return CVR_OK;
    return emit_quantised(w, *out, own, out, err);
}

static int32_t gather_inputs(rewriting *w, uint64_t i, const cvr_node_view *n, cvr_value *in, uint32_t *count,
                             cvr_error *err) {
    const cvr_int8_trait *t = cvr_op_trait(n->op, CVR_TRAIT_INT8);
    const quant_entry *x = NULL;
    cvr_value scale = CVR_NONE;
    *count = n->n_inputs;
    for (uint32_t k = 0; k < n->n_inputs; k++) {
        const uint64_t bit = (uint64_t)1 << k;
        if (bit & t->bias) continue;
        if (n->inputs[k] == CVR_NONE)
            in[k] = CVR_NONE;
        else if (bit & t->weight)
            CVR_TRY(emit_weight(w, i, n->inputs[k], quant_weight_axis(t), &scale, &in[k], err));
        else if (bit & t->activations)
            CVR_TRY(find_scaled(w, i, t, n->inputs[k], &in[k], &x, err));
        else
            in[k] = w->r->current(w->r, n->inputs[k]);
    }
    if (!t->bias || !x || scale == CVR_NONE) return CVR_OK;
    uint32_t at = 0;
    while (t->bias >> at != 1) at++;
    for (uint32_t k = n->n_inputs; k < at; k++) in[k] = CVR_NONE;
    if (*count < at + 1) *count = at + 1;
    return emit_bias(w, i, x->scale, scale, &in[at], err);
}

/* The node once more, of these inputs; its bounds follow it. */
static int32_t emit_chain(const rewriting *w, uint64_t i, uint64_t tail, const cvr_value *in, uint32_t count,
                          cvr_value *out, cvr_error *err) {
    cvr_value outputs[CVR_MAX_IO];
    cvr_node_view n;
    w->r->node(w->r, i, &n);
    const cvr_op_call call = {.struct_size = sizeof call,
                              .op = n.op->name,
                              .attrs = n.attrs,
                              .attrs_size = n.attrs_size,
                              .inputs = in,
                              .outputs = outputs,
                              .n_inputs = count,
                              .n_outputs = n.n_outputs};
    CVR_TRY(w->r->builder->emit(w->r->builder, &call, err));
    *out = outputs[0];
    while (i != tail) {
        (void)w->r->uses(w->r, n.outputs[0], &i);
        w->r->node(w->r, i, &n);
        CVR_TRY(cvr_emit(w->r->builder, n.op->name, n.attrs, n.attrs_size, out, 1, out, err));
    }
    return CVR_OK;
}

static int32_t put_on_integers(rewriting *w, uint64_t i, cvr_error *err) {
    cvr_value in[CVR_MAX_IO], out, quantised;
    cvr_node_view n, end;
    uint32_t count;
    const uint64_t tail = w->chains.tail[i];
    w->r->node(w->r, i, &n);
    w->r->node(w->r, tail, &end);
    CVR_TRY(w->r->enter(w->r, i, err));
    CVR_TRY(gather_inputs(w, i, &n, in, &count, err));
    CVR_TRY(emit_chain(w, i, tail, in, count, &out, err));
    CVR_TRY(emit_quantised(w, out, w->chains.entry[i], &quantised, err));
    w->r->drop(w->r, i);
    return w->r->replace(w->r, end.outputs[0], quantised, err);
}

static int32_t rewrite_all(rewriting *w, cvr_error *err) {
    for (uint64_t i = 0; i < w->r->n_nodes; i++) w->edge[i] = w->weights[i][0] = w->weights[i][1] = CVR_NONE;
    for (uint64_t i = 0; i < w->r->n_nodes; i++) {
        if (w->chains.entry[i])
            CVR_TRY(put_on_integers(w, i, err));
        else if (w->chains.head[i] != CVR_NO_NODE) /* a bound, which its op has taken along */
            w->r->drop(w->r, i);
        else
            CVR_TRY(w->r->keep(w->r, i, err));
    }
    return CVR_OK;
}

int32_t quant_rewrite(const cvr_rewriter *r, const char *plan, cvr_error *err) {
    rewriting w = {.r = r};
    int32_t status;
    CVR_TRY(quant_plan_read(&w.plan, r->host, plan, err));
    CVR_TRY_OUT(quant_names_open(&w.names, r, err));
    CVR_TRY_OUT(quant_chains_open(&w.chains, r, &w.plan, &w.names, err));
    w.edge = r->host->alloc(r->host, (r->n_nodes + 1) * sizeof *w.edge, 16);
    w.weights = r->host->alloc(r->host, (r->n_nodes + 1) * sizeof *w.weights, 16);
    status = w.edge && w.weights ? rewrite_all(&w, err) : cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
out:
    quant_chains_close(&w.chains);
    r->host->free(r->host, w.edge);
    r->host->free(r->host, w.weights);
    quant_names_close(&w.names);
    quant_plan_close(&w.plan);
    return status;
}
