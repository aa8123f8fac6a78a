/* What an op says of its outputs: their types, in low precision as well, and what a run of it costs. */
#include "ir.h"

static bool is_low(uint32_t dtype) {
    return dtype == CVR_BF16 || dtype == CVR_F16;
}

uint32_t node_low_precision(const cvr_graph *g, const ir_node *n) {
    for (uint32_t i = 0; i < n->n_inputs; i++) {
        if (n->inputs[i] && is_low(g->values[n->inputs[i]]->type.dtype)) return g->values[n->inputs[i]]->type.dtype;
    }
    return 0;
}

/* Which outputs have the activations' element type; 0 where the op knows nothing of low precision. */
static bool takes_low(const cvr_op_desc *op, uint64_t *follows) {
    const bool alike = (op->flags & (CVR_OP_ORDER_FREE | CVR_OP_ALIAS)) != 0;
    const cvr_precision_trait *t = cvr_op_trait(op, CVR_TRAIT_PRECISION);
    *follows = (t ? t->follows : 0) | alike;
    return alike || t;
}

/* Fences an op that cannot be in a program of low precision: its inputs become f32. `low`: what its output returns to,
 * or 0. */
int32_t settle_precision(cvr_graph *g, ir_node *n, uint32_t *low, cvr_error *err) {
    uint64_t follows;
    *low = node_low_precision(g, n);
    if (*low == 0 || takes_low(n->op, &follows)) {
        *low = 0;
        return CVR_OK;
    }
    for (uint32_t i = 0; i < n->n_inputs; i++) {
        if (n->inputs[i] && is_low(g->values[n->inputs[i]]->type.dtype))
            CVR_TRY(graph_cast(g, n->inputs[i], CVR_F32, &n->inputs[i], err));
    }
    return CVR_OK;
}

/* ---- what `infer` says ---- */

/* Whether an input is empty, as a list of no boxes is: outputs may be so, too. */
static bool any_empty(const cvr_infer_args *a) {
    for (uint32_t i = 0; i < a->n_inputs; i++)
        if (a->inputs[i] && cvr_numel(a->inputs[i]->rank, a->inputs[i]->shape) == 0) return true;
    return false;
}

/* An output that no kernel could fill is the op's mistake, unless an op of ours was given settings that lead to it. */
static int32_t check_output(const ir_node *n, const cvr_infer_args *a, uint32_t i, cvr_error *err) {
    const cvr_type *t = a->outputs[i];
    const char *why = NULL;
    char shape[160] = "";
    int64_t least = any_empty(a) ? 0 : 1, numel = 1;
    if (!t->dtype && !t->rank)
        why = "leaves it unset";
    else if (!cvr_dtype_size(t->dtype))
        why = "gives it an element type that is none";
    else if (t->rank > CVR_MAX_RANK)
        why = "gives it more axes than there can be";
    for (uint32_t k = 0; !why && k < t->rank; k++) {
        if (t->shape[k] < least)
            why = "gives it an axis that is not positive";
        else if (__builtin_mul_overflow(numel, t->shape[k], &numel) || numel > INT64_MAX / 64)
            why = "makes it too large to count";
    }
    if (!why) return check_type(t, n->op->name, err);
    if (t->rank <= CVR_MAX_RANK) print_shape(t, shape, sizeof shape);
    return cvr_call_blame(n->op, "infer", n->name, err, "%s: outputs[%u], element type %u, rank %u, shape %s", why, i,
                          t->dtype, t->rank, *shape ? shape : "?");
}

int32_t infer_types(cvr_graph *g, ir_node *n, cvr_type *types, cvr_error *err) {
    const cvr_type *in[CVR_MAX_IO] = {NULL};
    cvr_type *out[CVR_MAX_IO] = {NULL}, plain[CVR_MAX_IO];
    const uint32_t low = node_low_precision(g, n);
    const uint64_t sum = attrs_sum(n->attrs, n->attrs_size);
    uint64_t follows;
    takes_low(n->op, &follows);
    for (uint32_t i = 0; i < n->n_inputs; i++) {
        in[i] = g->builder.type(&g->builder, n->inputs[i]);
        if (!in[i] || !is_low(in[i]->dtype)) continue;
        plain[i] = *in[i];
        plain[i].dtype = CVR_F32;
        in[i] = &plain[i];
    }
    for (uint32_t i = 0; i < n->n_outputs; i++) {
        out[i] = &types[i];
        memset(out[i], 0, sizeof *out[i]);
        out[i]->struct_size = sizeof *out[i];
    }
    const cvr_infer_args args = {sizeof args, n->attrs, in, out, n->n_inputs, n->n_outputs};
    CVR_TRY(CVR_CALL(n->op, infer, n->name, err, &args));
    CVR_TRY(attrs_check(n->op, "infer", n->name, n->attrs, n->attrs_size, sum, err));
    for (uint32_t i = 0; i < n->n_outputs; i++) CVR_TRY(check_output(n, &args, i, err));
    if ((n->op->flags & CVR_OP_ORDER_FREE) && n->n_outputs && in[0])
        memcpy(types[0].order, in[0]->order, sizeof types[0].order);
    for (uint32_t i = 0; low && i < n->n_outputs; i++) {
        if ((follows >> i & 1) && types[i].dtype == CVR_F32) types[i].dtype = low;
    }
    for (uint32_t i = 0; i < n->n_outputs; i++) CVR_TRY(check_type(&types[i], n->op->name, err));
    return CVR_OK;
}

double node_flops(const cvr_graph *g, const ir_node *n) {
    const cvr_type *in[CVR_MAX_IO];
    cvr_type *out[CVR_MAX_IO];
    for (uint32_t i = 0; i < n->n_inputs; i++) in[i] = g->builder.type(&g->builder, n->inputs[i]);
    for (uint32_t i = 0; i < n->n_outputs; i++) out[i] = &g->values[n->outputs[i]]->type;
    const cvr_infer_args args = {sizeof args, n->attrs, in, out, n->n_inputs, n->n_outputs};
    double flops = 0;
    if (n->op->flops) CVR_CALL_TO(flops, n->op, flops, n->name, &args);
    return flops >= 0 && flops < 1e30 ? flops : 0;
}

/* ---- callbacks ---- */

uint64_t attrs_sum(const void *attrs, uint64_t n) {
    uint64_t h = 0xcbf29ce484222325ull;
    for (uint64_t i = 0; i < n; i++) h = (h ^ ((const uint8_t *)attrs)[i]) * 0x100000001b3ull;
    return h;
}

int32_t attrs_check(const void *desc, const char *callback, const char *where, const void *attrs, uint64_t n,
                    uint64_t sum, cvr_error *err) {
    if (attrs_sum(attrs, n) == sum) return CVR_OK;
    return cvr_call_blame(desc, callback, where, err, "changed its attributes, which it may only read");
}

int32_t graph_called(cvr_graph *g, const void *desc, const char *callback, const char *where, int32_t status,
                     cvr_error *err) {
    char why[sizeof g->failed];
    memcpy(why, g->failed, sizeof why);
    g->failed[0] = '\0';
    if (status != CVR_OK || !*why) return status;
    return cvr_call_blame(desc, callback, where, err, "said that all is well, but what it asked for failed: %s", why);
}

int32_t graph_noted(cvr_graph *g, int32_t status, const cvr_error *err) {
    if (status != CVR_OK && !g->failed[0]) (void)snprintf(g->failed, sizeof g->failed, "%.299s", err->message);
    return status;
}
