/* Ragged values: which inputs of a node are padded, and what that makes of its outputs (CVR_TRAIT_COUNTS). */
#include "ir.h"

int32_t counts_settle(const cvr_graph *g, const ir_node *n, padding *p, cvr_error *err) {
    *p = (padding){.trait = cvr_op_trait(n->op, CVR_TRAIT_COUNTS)};
    for (uint32_t i = 0; i < n->n_inputs; i++) {
        const ir_value *v = n->inputs[i] ? g->values[n->inputs[i]] : NULL;
        if (!v || !v->counts) continue;
        const uint32_t from_last = v->type.rank - v->counts_axis;
        const char *layer = *n->scope ? "layer " : "", *after = *n->scope ? ": " : "";
        if (!p->trait || !(p->trait->honours >> i & 1))
            return cvr_fail(err, CVR_ERR_INVALID,
                            "%s%s%sop %s: input %u is padded along axis %u, and the op does not honour counts", layer,
                            n->scope, after, n->op->name, i, v->counts_axis);
        /* axes need to agree only where they tell which axis of an output is padded */
        if (p->counts && (p->counts != v->counts || (p->trait->padded && p->from_last != from_last)))
            return cvr_fail(err, CVR_ERR_INVALID,
                            "%s%s%sop %s: input %u is padded along axis %u by other counts than an input before", layer,
                            n->scope, after, n->op->name, i, v->counts_axis);
        p->counts = v->counts;
        p->from_last = from_last;
    }
    return CVR_OK;
}

void counts_set(const cvr_graph *g, const ir_node *n, const padding *p) {
    for (uint32_t i = 0; p->counts && i < n->n_outputs; i++) {
        ir_value *v = g->values[n->outputs[i]];
        if (!(p->trait->padded >> i & 1) || v->type.rank < p->from_last) continue;
        v->counts = p->counts;
        v->counts_axis = v->type.rank - p->from_last;
    }
}

cvr_value builder_counts(const cvr_builder *b, cvr_value v, uint32_t *axis) {
    const cvr_graph *g = b->ctx;
    const ir_value *value = v && v < g->n_values ? g->values[v] : NULL;
    if (axis) *axis = value && value->counts ? value->counts_axis : 0;
    return value ? value->counts : CVR_NONE;
}

int32_t builder_set_counts(const cvr_builder *b, cvr_value v, uint32_t axis, cvr_value counts, cvr_error *err) {
    const cvr_graph *g = b->ctx;
    const cvr_type *t = b->type(b, v), *c = b->type(b, counts);
    if (!t || !c || axis == 0 || axis >= t->rank || c->rank != 1 || c->shape[0] != t->shape[0] ||
        (c->dtype != CVR_I32 && c->dtype != CVR_I64))
        return cvr_fail(err, CVR_ERR_PLUGIN,
                        "counts are (N) i32 or i64, for an axis after the first of a value of N samples");
    g->values[v]->counts = counts;
    g->values[v]->counts_axis = axis;
    return CVR_OK;
}
