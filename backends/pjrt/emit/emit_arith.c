/* Sums, products and reductions that broadcast (<cvr/plugin/ops/arith.h>), in logical order as the formulas are. */
#include "emit.h"
#include <cvr/plugin/ops/arith.h>

/* Repeated to `like` as in NumPy, both in logical order: aligned at the last axis. */
static hlo_value stretched(hlo *h, hlo_value a, hlo_value like) {
    uint32_t axes[HLO_RANK], n = 0;
    hlo_value kept = {.dtype = a.dtype};
    for (uint32_t i = 0; i < a.rank; i++) {
        const uint32_t axis = like.rank - a.rank + i;
        if (a.shape[i] == 1 && like.shape[axis] != 1) continue;
        kept.shape[kept.rank++] = a.shape[i];
        axes[n++] = axis;
    }
    return hlo_broadcast(h, hlo_reshape_like(h, a, kept), like, axes);
}

static hlo_value logical_output(const hlo *h) {
    const cvr_tensor *t = h->a->outputs[0];
    hlo_value v = {.dtype = CVR_F32, .rank = t->rank};
    for (uint32_t i = 0; i < t->rank; i++) v.shape[i] = t->shape[i];
    return v;
}

static void broadcast_op(hlo *h, const char *op) {
    const hlo_value y = logical_output(h);
    const hlo_value a = stretched(h, hlo_to_logical(h, hlo_input(h, 0)), y);
    const hlo_value b = stretched(h, hlo_to_logical(h, hlo_input(h, 1)), y);
    hlo_result(h, hlo_to_memory(h, hlo_binary(h, op, a, b)));
}

HLO_EMITTER(add_broadcast) {
    broadcast_op(h, "add");
}
HLO_EMITTER(mul_broadcast) {
    broadcast_op(h, "multiply");
}

HLO_EMITTER(sum_to) {
    const hlo_value y = logical_output(h);
    hlo_value a = hlo_input(h, 0);
    uint32_t axes = 0;
    if (hlo_has(h, 1)) a = hlo_mul(h, a, hlo_input(h, 1));
    a = hlo_to_logical(h, a);
    for (uint32_t i = 0; i < a.rank; i++) {
        const uint32_t missing = a.rank - y.rank;
        if (i < missing || (y.shape[i - missing] == 1 && a.shape[i] != 1)) axes |= 1u << i;
    }
    hlo_result(h, hlo_to_memory(h, hlo_reshape_like(h, hlo_sum(h, a, axes), y)));
}

HLO_EMITTER(expand) {
    const cvr_expand_attrs *attrs = HLO_ATTRS(cvr_expand_attrs);
    const hlo_value y = logical_output(h);
    hlo_value x = hlo_to_logical(h, hlo_input(h, 0));
    if (attrs->scale != 1) x = hlo_scale(h, x, attrs->scale);
    if (x.rank != y.rank) { /* the axes in `dim` are missing: they come back with size 1 */
        hlo_value whole = y;
        for (int64_t i = 0; i < attrs->n_dim; i++) whole.shape[attrs->dim[i]] = 1;
        x = hlo_reshape_like(h, x, whole);
    }
    hlo_result(h, hlo_to_memory(h, stretched(h, x, y)));
}

/* The axes that are reduced. */
static uint32_t reduced(const cvr_reduce_attrs *attrs, uint32_t rank) {
    uint32_t axes = 0;
    for (int64_t i = 0; i < attrs->n_dim; i++) axes |= 1u << attrs->dim[i];
    return attrs->n_dim ? axes : (1u << rank) - 1;
}

static void reduce_op(hlo *h, const char *op, int mean) {
    const hlo_value x = hlo_to_logical(h, hlo_input(h, 0)), like = logical_output(h);
    const uint32_t axes = reduced(HLO_ATTRS(cvr_reduce_attrs), x.rank);
    const hlo_value y = mean ? hlo_mean(h, x, axes) : hlo_reduce(h, op, x, axes);
    hlo_result(h, hlo_to_memory(h, hlo_reshape_like(h, y, like)));
}

HLO_EMITTER(sum) {
    reduce_op(h, "add", 0);
}
HLO_EMITTER(mean) {
    reduce_op(h, "add", 1);
}
HLO_EMITTER(amax) {
    reduce_op(h, "maximum", 0);
}

/* x, y, grad: shared by all that are the largest */
HLO_EMITTER(amax_backward) {
    const hlo_value x = hlo_to_logical(h, hlo_input(h, 0));
    const uint32_t axes = reduced(HLO_ATTRS(cvr_reduce_attrs), x.rank);
    hlo_value left = {.dtype = CVR_F32};
    for (uint32_t i = 0; i < x.rank; i++)
        if (!(axes >> i & 1)) left.shape[left.rank++] = x.shape[i];
    const hlo_value y = hlo_reshape_like(h, hlo_to_logical(h, hlo_input(h, 1)), left);
    const hlo_value grad = hlo_reshape_like(h, hlo_to_logical(h, hlo_input(h, 2)), left);
    const hlo_value is = hlo_compare(h, "EQ", x, hlo_expand(h, y, x, axes));
    const hlo_value n = hlo_sum(h, hlo_convert(h, is, CVR_F32), axes);
    const hlo_value share = hlo_expand(h, hlo_div(h, grad, n), x, axes);
    hlo_result(h, hlo_to_memory(h, hlo_select(h, is, share, hlo_f32(h, 0))));
}

const hlo_op emit_arith_ops[] = {HLO_OP("add_broadcast", add_broadcast),
                                 HLO_OP("mul_broadcast", mul_broadcast),
                                 HLO_OP("sum_to", sum_to),
                                 HLO_OP("expand", expand),
                                 HLO_OP("sum", sum),
                                 HLO_OP("mean", mean),
                                 HLO_OP("amax", amax),
                                 HLO_OP("amax_backward", amax_backward),
                                 {.op = NULL}};
