/* Elementwise programs (<cvr/plugin/ops/elementwise.h>): all activations and their gradients come here as such. */
#include "emit.h"
#include <cvr/plugin/ops/elementwise.h>

/* An input, repeated to the result's shape: element i of the result is element i / inner % size of it. */
static hlo_value repeated(hlo *h, uint32_t i, hlo_value y) {
    const cvr_tensor *to = h->a->outputs[0], *from = h->a->inputs[i];
    const hlo_value x = hlo_input(h, i);
    int64_t inner, size;
    const uint32_t middle = 1;
    if (x.rank == y.rank && memcmp(x.shape, y.shape, y.rank * sizeof *y.shape) == 0) return x;
    if (!cvr_elementwise_repeat(to->rank, to->shape, from->rank, from->shape, &inner, &size)) {
        hlo_fail(h, "input %u does not repeat evenly", i);
        return x;
    }
    if (size == 1) return hlo_reshape(h, x, 0, NULL);
    const hlo_value parts = {.dtype = CVR_F32, .rank = 3, .shape = {hlo_count(y) / (inner * size), size, inner}};
    return hlo_reshape_like(h, hlo_broadcast(h, hlo_reshape(h, x, 1, &size), parts, &middle), y);
}

static hlo_value operand(hlo *h, const cvr_steps *s, uint32_t from, const hlo_value *inputs, const hlo_value *results) {
    if (from >= CVR_STEP_CONSTANT) return hlo_f32(h, (double)s->constants[from - CVR_STEP_CONSTANT]);
    return from >= CVR_STEP_RESULT ? results[from - CVR_STEP_RESULT] : inputs[from];
}

static hlo_value program(hlo *h) {
    hlo_value inputs[CVR_ELEMENTWISE_INPUTS], results[CVR_MOST_STEPS], last;
    hlo_value y = hlo_like(h->a->outputs[0]);
    cvr_steps s;
    y.dtype = CVR_F32;
    cvr_elementwise_steps(HLO_ATTRS(cvr_elementwise_attrs), &s);
    for (uint32_t i = 0; i < h->a->n_inputs && i < CVR_ELEMENTWISE_INPUTS; i++) inputs[i] = repeated(h, i, y);
    last = y;
    for (uint32_t k = 0; k < s.n_steps; k++) {
        hlo_value v[4];
        for (uint32_t i = 0; i < cvr_step_operands(s.steps[k].code); i++)
            v[i] = operand(h, &s, s.steps[k].operands[i], inputs, results);
        last = results[k] = hlo_step(h, s.steps[k].code, v);
    }
    return last.rank == y.rank ? last : hlo_broadcast(h, last, y, NULL);
}

HLO_EMITTER(elementwise) {
    hlo_result(h, program(h));
}

HLO_EMITTER(elementwise_sum) {
    const hlo_value y = program(h);
    hlo_result(h, y);
    hlo_result(h, hlo_sum(h, y, (1u << (y.rank - 1)) - 1));
}

HLO_EMITTER(add) {
    hlo_result(h, hlo_add(h, hlo_input(h, 0), hlo_input(h, 1)));
}

HLO_EMITTER(mul) {
    hlo_result(h, hlo_mul(h, hlo_input(h, 0), hlo_input(h, 1)));
}

/* To what the output is. */
HLO_EMITTER(cast) {
    hlo_result(h, hlo_input_raw(h, 0));
}

const hlo_op emit_elementwise_ops[] = {HLO_OP("elementwise", elementwise),
                                       HLO_OP("elementwise_sum", elementwise_sum),
                                       HLO_OP("add", add),
                                       HLO_OP("mul", mul),
                                       HLO_OP("cast", cast),
                                       {.op = NULL}};
