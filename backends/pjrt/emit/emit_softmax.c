/* Softmax and its logarithm along an axis (<cvr/plugin/ops/activation.h>). */
#include "emit.h"
#include <cvr/plugin/ops/activation.h>

static uint32_t axis_of(const hlo *h, hlo_value x) {
    return 1u << hlo_axis(x.rank, ((const cvr_softmax_attrs *)h->a->attrs)->dim);
}

HLO_EMITTER(softmax) {
    const hlo_value x = hlo_input(h, 0);
    hlo_result(h, hlo_softmax(h, x, axis_of(h, x)));
}

HLO_EMITTER(log_softmax) {
    const hlo_value x = hlo_input(h, 0);
    const uint32_t axis = axis_of(h, x);
    const hlo_value d = hlo_sub(h, x, hlo_expand(h, hlo_reduce(h, "maximum", x, axis), x, axis));
    const hlo_value sum = hlo_sum(h, hlo_unary(h, "exponential", d), axis);
    hlo_result(h, hlo_sub(h, d, hlo_unary(h, "log", hlo_expand(h, sum, x, axis))));
}

/* y, grad: y * (grad - sum of grad * y) */
HLO_EMITTER(softmax_backward) {
    const hlo_value y = hlo_input(h, 0), grad = hlo_input(h, 1);
    const uint32_t axis = axis_of(h, y);
    const hlo_value dot = hlo_expand(h, hlo_sum(h, hlo_mul(h, grad, y), axis), y, axis);
    hlo_result(h, hlo_mul(h, y, hlo_sub(h, grad, dot)));
}

/* y, grad: grad - exp(y) * sum of grad */
HLO_EMITTER(log_softmax_backward) {
    const hlo_value y = hlo_input(h, 0), grad = hlo_input(h, 1);
    const uint32_t axis = axis_of(h, y);
    const hlo_value sum = hlo_expand(h, hlo_sum(h, grad, axis), y, axis);
    hlo_result(h, hlo_sub(h, grad, hlo_mul(h, hlo_unary(h, "exponential", y), sum)));
}

const hlo_op emit_softmax_ops[] = {HLO_OP("softmax", softmax),
                                   HLO_OP("softmax_backward", softmax_backward),
                                   HLO_OP("log_softmax", log_softmax),
                                   HLO_OP("log_softmax_backward", log_softmax_backward),
                                   {.op = NULL}};
