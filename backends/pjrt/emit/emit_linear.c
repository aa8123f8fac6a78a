/* Dense layers, products of matrices, attention (<cvr/plugin/ops/linear.h>, <cvr/plugin/ops/attention.h>). */
#include "emit.h"
#include "emit_heads.h"
#include <cvr/plugin/ops/attention.h>
#include <cvr/plugin/ops/linear.h>
#include <math.h>

/* Both in the type of the activation, which is the first. */
static hlo_value operand(hlo *h, uint32_t i, uint32_t first) {
    const uint32_t dtype = h->a->inputs[first]->dtype;
    return hlo_convert(h, hlo_input_raw(h, i), dtype == CVR_BF16 || dtype == CVR_F16 ? dtype : CVR_F32);
}

HLO_EMITTER(linear) {
    const hlo_value x = operand(h, 0, 0);
    const hlo_value y = hlo_dot(h, x, operand(h, 1, 0), 0, x.rank - 1, 1);
    hlo_result(h, hlo_has(h, 2) ? hlo_add(h, y, hlo_along(h, hlo_input(h, 2), y, y.rank - 1)) : y);
}

HLO_EMITTER(linear_backward_input) {
    const hlo_value grad = operand(h, 0, 0);
    hlo_result(h, hlo_dot(h, grad, operand(h, 1, 0), 0, grad.rank - 1, 0));
}

/* (rows, last axis) */
static hlo_value as_rows(hlo *h, hlo_value x) {
    const int64_t last = x.shape[x.rank - 1], shape[2] = {hlo_count(x) / last, last};
    return hlo_reshape(h, x, 2, shape);
}

HLO_EMITTER(linear_backward_weight) {
    hlo_result(h, hlo_dot(h, as_rows(h, operand(h, 1, 0)), as_rows(h, operand(h, 0, 0)), 0, 0, 0));
}

HLO_EMITTER(linear_backward_bias) {
    hlo_result(h, hlo_sum(h, as_rows(h, hlo_input(h, 0)), 1));
}

HLO_EMITTER(matmul) {
    const cvr_matmul_attrs *attrs = HLO_ATTRS(cvr_matmul_attrs);
    const hlo_value a = operand(h, 0, 0), b = operand(h, 1, 0);
    const uint32_t n = a.rank - 2;
    hlo_result(h, hlo_dot(h, a, b, n, attrs->transpose_a ? n : n + 1, attrs->transpose_b ? n + 1 : n));
}

/* ---- attention ---- */

hlo_value heads_apart(hlo *h, hlo_value x, int64_t heads) {
    const int64_t shape[4] = {x.shape[0], x.shape[1], heads, x.shape[2] / heads};
    static const uint32_t order[4] = {0, 2, 1, 3};
    return hlo_transpose(h, hlo_reshape(h, x, 4, shape), order);
}

hlo_value heads_together(hlo *h, hlo_value x) {
    static const uint32_t order[4] = {0, 2, 1, 3};
    const int64_t shape[3] = {x.shape[0], x.shape[2], x.shape[1] * x.shape[3]};
    return hlo_reshape(h, hlo_transpose(h, x, order), 3, shape);
}

static hlo_value head(hlo *h, uint32_t i, int64_t heads) {
    return heads_apart(h, operand(h, i, 0), heads);
}

/* s[l,j] = q[l] k[j] / sqrt(E) */
static hlo_value scores(hlo *h, hlo_value q, hlo_value k) {
    return hlo_scale(h, hlo_dot(h, q, k, 2, 3, 3), 1 / sqrt((double)q.shape[3]));
}

HLO_EMITTER(attention) {
    const int64_t heads = HLO_ATTRS(cvr_attention_attrs)->num_heads;
    const hlo_value q = head(h, 0, heads), k = head(h, 1, heads), v = head(h, 2, heads), s = scores(h, q, k);
    const hlo_value most = hlo_reduce(h, "maximum", s, 8);
    const hlo_value e = hlo_unary(h, "exponential", hlo_sub(h, s, hlo_expand(h, most, s, 8))), sum = hlo_sum(h, e, 8);
    const hlo_value p = hlo_div(h, e, hlo_expand(h, sum, e, 8));
    hlo_result(h, heads_together(h, hlo_dot(h, hlo_convert(h, p, v.dtype), v, 2, 3, 2)));
    hlo_result(h, hlo_add(h, most, hlo_unary(h, "log", sum)));
}

HLO_EMITTER(attention_backward) {
    const int64_t heads = HLO_ATTRS(cvr_attention_attrs)->num_heads;
    const hlo_value q = head(h, 0, heads), k = head(h, 1, heads), v = head(h, 2, heads), grad = head(h, 5, heads);
    const hlo_value s = scores(h, q, k), f32_grad = hlo_convert(h, grad, CVR_F32);
    hlo_value like = s, lse = hlo_input(h, 4);
    like.rank = 3;
    lse = hlo_reshape_like(h, lse, like);
    const hlo_value p = hlo_unary(h, "exponential", hlo_sub(h, s, hlo_expand(h, lse, s, 8)));
    const hlo_value y = heads_apart(h, hlo_input(h, 3), heads);
    const hlo_value d = hlo_sum(h, hlo_mul(h, f32_grad, y), 8), dp = hlo_dot(h, grad, v, 2, 3, 3);
    hlo_value t = hlo_mul(h, p, hlo_sub(h, dp, hlo_expand(h, d, dp, 8)));
    t = hlo_convert(h, hlo_scale(h, t, 1 / sqrt((double)q.shape[3])), q.dtype);
    hlo_result(h, heads_together(h, hlo_dot(h, t, k, 2, 3, 2)));
    hlo_result(h, heads_together(h, hlo_dot(h, t, q, 2, 2, 2)));
    hlo_result(h, heads_together(h, hlo_dot(h, hlo_convert(h, p, q.dtype), grad, 2, 2, 2)));
}

const hlo_op emit_linear_ops[] = {HLO_OP("linear", linear),
                                  HLO_OP("linear_backward_input", linear_backward_input),
                                  HLO_OP("linear_backward_weight", linear_backward_weight),
                                  HLO_OP("linear_backward_bias", linear_backward_bias),
                                  HLO_OP("matmul", matmul),
                                  HLO_OP("scaled_dot_product_attention", attention),
                                  HLO_OP("scaled_dot_product_attention_backward", attention_backward),
                                  {.op = NULL}};
