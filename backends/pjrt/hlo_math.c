/* See hlo.h: formulas. What elementwise programs compute is written as the reference does (ops/elementwise_math.h). */
#include "hlo.h"
#include <cvr/plugin/elementwise_steps.h>
#include <cvr/plugin/ops/norm.h>
#include <math.h>

/* p = p * t + c, from the first coefficient on */
static hlo_value polynomial(hlo *h, hlo_value t, const double *c, uint32_t n) {
    hlo_value p = hlo_fill(h, t, c[0]);
    for (uint32_t i = 1; i < n; i++) p = hlo_add(h, hlo_mul(h, p, t), hlo_f32(h, c[i]));
    return p;
}

static hlo_value copy_sign(hlo *h, hlo_value size, hlo_value of) {
    return hlo_mul(h, size, hlo_unary(h, "sign", of));
}

/* The tail of the normal distribution as the reference has it. */
static hlo_value normal_cdf(hlo *h, hlo_value x) {
    static const double c[] = {-2.062355204e-02, 1.124360624e-01, -2.282146509e-01, 1.917859256e-01, -7.942463544e-02,
                               9.615743766e-02,  7.838944447e-02, 1.102354676e-01,  1.195718089e-01, 1.196866901e-01};
    const hlo_value one = hlo_f32(h, 1), a = hlo_unary(h, "abs", x);
    const hlo_value t = hlo_div(h, one, hlo_add(h, one, hlo_scale(h, a, (double)0.3f)));
    const hlo_value bell = hlo_unary(h, "exponential", hlo_mul(h, hlo_scale(h, x, -0.5), x));
    const hlo_value tail = hlo_mul(h, hlo_mul(h, bell, t), polynomial(h, t, c, sizeof c / sizeof *c));
    return hlo_select(h, hlo_compare(h, "LT", x, hlo_f32(h, 0)), tail, hlo_sub(h, one, tail));
}

static hlo_value erf_of(hlo *h, hlo_value x) {
    static const double c[] = {-1.0 / 75600, 1.0 / 9360, -1.0 / 1320, 1.0 / 216, -1.0 / 42, 0.1, -1.0 / 3};
    const hlo_value a = hlo_unary(h, "abs", x), z = hlo_mul(h, x, x), p = polynomial(h, z, c, sizeof c / sizeof *c);
    const hlo_value close = hlo_scale(h, hlo_add(h, x, hlo_mul(h, x, hlo_mul(h, z, p))), 1.12837917);
    const hlo_value tail = normal_cdf(h, hlo_scale(h, a, -1.41421356));
    const hlo_value far = copy_sign(h, hlo_sub(h, hlo_f32(h, 1), hlo_scale(h, tail, 2)), x);
    return hlo_select(h, hlo_compare(h, "LT", a, hlo_f32(h, 0.5)), close, far);
}

/* b where a < b or b is NaN, else a */
static hlo_value extreme(hlo *h, const char *how, hlo_value a, hlo_value b) {
    const hlo_value takes = hlo_binary(h, "or", hlo_compare(h, how, a, b), hlo_compare(h, "NE", b, b));
    return hlo_select(h, takes, b, a);
}

/* All operands of one shape: what is a constant in a program is a scalar here. */
static void even(hlo *h, hlo_value *v, uint32_t n) {
    uint32_t widest = 0;
    for (uint32_t i = 1; i < n; i++)
        if (v[i].rank > v[widest].rank) widest = i;
    for (uint32_t i = 0; i < n; i++)
        if (v[i].rank == 0 && v[widest].rank) v[i] = hlo_broadcast(h, v[i], v[widest], NULL);
}

hlo_value hlo_step(hlo *h, uint32_t code, const hlo_value operands[4]) {
    hlo_value v[4];
    const uint32_t n = cvr_step_operands(code);
    for (uint32_t i = 0; i < n; i++) v[i] = operands[i];
    even(h, v, n);
    switch (code) {
    case CVR_STEP_ADD: return hlo_add(h, v[0], v[1]);
    case CVR_STEP_SUB: return hlo_sub(h, v[0], v[1]);
    case CVR_STEP_MUL: return hlo_mul(h, v[0], v[1]);
    case CVR_STEP_DIV: return hlo_div(h, v[0], v[1]);
    case CVR_STEP_MAX: return extreme(h, "LT", v[0], v[1]);
    case CVR_STEP_MIN: return extreme(h, "GT", v[0], v[1]);
    case CVR_STEP_NEG: return hlo_unary(h, "negate", v[0]);
    case CVR_STEP_ABS: return hlo_unary(h, "abs", v[0]);
    case CVR_STEP_SQRT: return hlo_unary(h, "sqrt", v[0]);
    case CVR_STEP_RSQRT: return hlo_div(h, hlo_f32(h, 1), hlo_unary(h, "sqrt", v[0]));
    case CVR_STEP_EXP: return hlo_unary(h, "exponential", v[0]);
    case CVR_STEP_LOG: return hlo_unary(h, "log", v[0]);
    case CVR_STEP_TANH: return hlo_unary(h, "tanh", v[0]);
    case CVR_STEP_ERF: return erf_of(h, v[0]);
    case CVR_STEP_NORMAL_CDF: return normal_cdf(h, v[0]);
    case CVR_STEP_ROUND: return hlo_unary(h, "round_nearest_even", v[0]);
    case CVR_STEP_FLOOR: return hlo_unary(h, "floor", v[0]);
    case CVR_STEP_BF16: return hlo_convert(h, hlo_convert(h, v[0], CVR_BF16), CVR_F32);
    case CVR_STEP_SELECT_GT: return hlo_select(h, hlo_compare(h, "GT", v[0], v[1]), v[2], v[3]);
    case CVR_STEP_SELECT_GE: return hlo_select(h, hlo_compare(h, "GE", v[0], v[1]), v[2], v[3]);
    case CVR_STEP_SELECT_EQ: return hlo_select(h, hlo_compare(h, "EQ", v[0], v[1]), v[2], v[3]);
    default: return v[0];
    }
}

hlo_value hlo_sigmoid(hlo *h, hlo_value a) {
    const hlo_value one = hlo_f32(h, 1);
    return hlo_div(h, one, hlo_add(h, one, hlo_unary(h, "exponential", hlo_unary(h, "negate", a))));
}

hlo_value hlo_softmax(hlo *h, hlo_value x, uint32_t axes) {
    const hlo_value most = hlo_expand(h, hlo_reduce(h, "maximum", x, axes), x, axes);
    const hlo_value e = hlo_unary(h, "exponential", hlo_sub(h, x, most));
    return hlo_div(h, e, hlo_expand(h, hlo_sum(h, e, axes), x, axes));
}

hlo_value hlo_power(hlo *h, hlo_value v, double exponent) {
    if (exponent == 0) return hlo_fill(h, v, 1);
    return exponent == 2 ? hlo_mul(h, v, v) : hlo_binary(h, "power", v, hlo_f32(h, exponent));
}

hlo_value hlo_invstd(hlo *h, hlo_value var, double eps) {
    return hlo_div(h, hlo_f32(h, 1), hlo_unary(h, "sqrt", hlo_add(h, var, hlo_f32(h, eps))));
}

hlo_value hlo_softplus(hlo *h, hlo_value a) {
    const hlo_value size = hlo_unary(h, "negate", hlo_unary(h, "abs", a));
    const hlo_value rest = hlo_unary(h, "log_plus_one", hlo_unary(h, "exponential", size));
    return hlo_add(h, hlo_binary(h, "maximum", a, hlo_f32(h, 0)), rest);
}

hlo_value hlo_activation(hlo *h, int64_t activation, hlo_value x) {
    const hlo_value zero = hlo_f32(h, 0);
    switch (activation) {
    case CVR_ACTIVATION_RELU: return hlo_select(h, hlo_compare(h, "GT", x, zero), x, zero);
    case CVR_ACTIVATION_RELU6: return hlo_binary(h, "minimum", hlo_binary(h, "maximum", x, zero), hlo_f32(h, 6));
    case CVR_ACTIVATION_SILU: return hlo_mul(h, x, hlo_sigmoid(h, x));
    default: return x;
    }
}

hlo_value hlo_activation_gradient(hlo *h, int64_t activation, hlo_value y, hlo_value grad) {
    const hlo_value zero = hlo_f32(h, 0), one = hlo_f32(h, 1);
    if (activation == CVR_ACTIVATION_NONE) return grad;
    if (activation == CVR_ACTIVATION_SILU) {
        const hlo_value s = hlo_sigmoid(h, y);
        const hlo_value slope = hlo_add(h, one, hlo_mul(h, y, hlo_sub(h, one, s)));
        return hlo_mul(h, grad, hlo_mul(h, s, slope));
    }
    hlo_value in = hlo_compare(h, "GT", y, zero);
    if (activation == CVR_ACTIVATION_RELU6) in = hlo_binary(h, "and", in, hlo_compare(h, "LT", y, hlo_f32(h, 6)));
    return hlo_select(h, in, grad, zero);
}

/* The upper and the lower word of a * b. */
static void wide_product(hlo *h, uint32_t factor, hlo_value b, hlo_value *high, hlo_value *low) {
    const hlo_value p = hlo_mul(h, hlo_convert(h, b, HLO_U64), hlo_integer(h, HLO_U64, factor));
    *high = hlo_convert(h, hlo_binary(h, "shift_right_logical", p, hlo_integer(h, HLO_U64, 32)), HLO_U32);
    *low = hlo_convert(h, hlo_binary(h, "and", p, hlo_integer(h, HLO_U64, UINT32_MAX)), HLO_U32);
}

void hlo_philox(hlo *h, const hlo_value key[2], const hlo_value counter[4], hlo_value words[4]) {
    hlo_value k0 = key[0], k1 = key[1];
    for (int i = 0; i < 4; i++) words[i] = counter[i];
    for (int round = 0; round < 10; round++) {
        hlo_value high[2], low[2];
        wide_product(h, 0xD2511F53u, words[0], &high[0], &low[0]);
        wide_product(h, 0xCD9E8D57u, words[2], &high[1], &low[1]);
        words[0] = hlo_binary(h, "xor", hlo_binary(h, "xor", high[1], words[1]), k0);
        words[1] = low[1];
        words[2] = hlo_binary(h, "xor", hlo_binary(h, "xor", high[0], words[3]), k1);
        words[3] = low[0];
        k0 = hlo_add(h, k0, hlo_integer(h, HLO_U32, 0x9E3779B9u));
        k1 = hlo_add(h, k1, hlo_integer(h, HLO_U32, 0xBB67AE85u));
    }
}
