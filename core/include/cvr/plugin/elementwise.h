/*
 * Elementwise programs: what an op that computes every element of its output from those in the same place of its inputs
 * says about itself, so that a pass can make one op of several. A step has one or two operands of one shape, or that
 * broadcast as in NumPy; it rounds its result to f32, and is the op of its name to the bit (ops/activation.h; add and
 * mul are a + b and a * b).
 */
#ifndef CVR_PLUGIN_ELEMENTWISE_H
#define CVR_PLUGIN_ELEMENTWISE_H

#include "graph.h"

#ifdef __cplusplus
extern "C" {
#endif

#define CVR_STEP_ADD 1u
#define CVR_STEP_MUL 2u
/* Activations: operand a is x. */
#define CVR_STEP_RELU 3u
#define CVR_STEP_RELU6 4u
#define CVR_STEP_LEAKY_RELU 5u /* constant: the slope */
#define CVR_STEP_SIGMOID 6u
#define CVR_STEP_TANH 7u
#define CVR_STEP_HARDSIGMOID 8u
#define CVR_STEP_HARDSWISH 9u
#define CVR_STEP_SILU 10u
#define CVR_STEP_GELU 11u
#define CVR_STEP_GELU_TANH 12u
#define CVR_STEP_ACTIVATIONS 10u
/* Their gradients: operand a is what the op's backward calls `saved`, b the gradient of the output. */
#define CVR_STEP_BACKWARD(activation) ((activation) + CVR_STEP_ACTIVATIONS)
#define CVR_STEP_LAST CVR_STEP_BACKWARD(CVR_STEP_GELU_TANH)

static inline int cvr_step_has_two(uint64_t code) {
    return code <= CVR_STEP_MUL || code > CVR_STEP_GELU_TANH;
}

/* An operand's number is that of an input, or this and the number of the step whose result it is. */
#define CVR_STEP_RESULT 64u

typedef struct cvr_step {
    uint32_t code; /* CVR_STEP_* */
    uint32_t a, b; /* operands */
    uint32_t reserved;
    double constant;
} cvr_step;

/* Most steps that one op may be. */
#define CVR_STEPS_OF_OP 4u

/* `operands` is as long as the op has inputs, `steps` as CVR_STEPS_OF_OP; the callback fills both and their numbers.
 * An operand is one of `inputs` or a value that the callback emits: from attributes, types and inputs that are scalars,
 * since the others may not be computed yet. The last step's result is output 0. */
typedef struct cvr_steps_args {
    uint64_t struct_size;
    const void *attrs;
    const cvr_value *inputs;
    cvr_value *operands;
    cvr_step *steps;
    uint32_t n_inputs;
    uint32_t n_operands;
    uint32_t n_steps;
    uint32_t reserved;
} cvr_steps_args;

/* One step of the op's own inputs. */
static inline void cvr_steps_one(cvr_steps_args *a, uint32_t code, double constant) {
    cvr_step *s = &a->steps[0];
    a->n_operands = cvr_step_has_two(code) ? 2 : 1;
    for (uint32_t i = 0; i < a->n_operands; i++) a->operands[i] = a->inputs[i];
    s->code = code;
    s->a = 0;
    s->b = a->n_operands - 1;
    s->reserved = 0;
    s->constant = constant;
    a->n_steps = 1;
}

#ifdef __cplusplus
}
#endif

CVR_STATIC_ASSERT(sizeof(cvr_step) == 24, "cvr_step has padding");
CVR_STATIC_ASSERT(sizeof(cvr_steps_args) == 56, "cvr_steps_args has padding");

#endif
