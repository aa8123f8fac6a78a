/*
 * Elementwise programs as ops, version 1 (plugin "layer_activation"), which passes make of several elementwise ops: one
 * sweep over memory in place of one for each. All tensors are f32. See <cvr/plugin/elementwise_steps.h> for steps.
 *
 * elementwise      x, [more inputs] -> y like x; cvr_elementwise_attrs
 *     Step k makes r[k] of its operands, each an input (by its number), an earlier r[j] (CVR_STEP_RESULT + j) or a
 *     constant (CVR_STEP_CONSTANT + j); y is the last. An input has the shape of x, or broadcasts to it so that its
 *     elements repeat evenly in memory: a scalar, a number of each channel, one of each sample, ...
 * elementwise_sum  the same inputs and attributes -> y like x, sums (C)
 *     C is the size of x's innermost axis in memory (axis 1 of rank 4, else the last); sums[c] = sum of y over all
 *     other axes, as conv2d_backward_bias and linear_backward_bias have it.
 *
 * An op with the trait CVR_TRAIT_ELEMENTWISE needs no kernel of its own: cvr_elementwise_decompose says what it is
 * where a backend has none. One that wants a reference kernel all the same has cvr_elementwise_run.
 */
#ifndef CVR_PLUGIN_OPS_ELEMENTWISE_H
#define CVR_PLUGIN_OPS_ELEMENTWISE_H

#include <cvr/plugin/kernel.h>
#include <cvr/plugin/ops/elementwise_math.h>

#ifdef __cplusplus
extern "C" {
#endif

#define CVR_ELEMENTWISE_INPUTS 8
#define CVR_ELEMENTWISE_STEPS CVR_MOST_STEPS

typedef struct cvr_elementwise_attrs {
    int64_t n_steps;                          /* numbers: five a step */
    int64_t steps[5 * CVR_ELEMENTWISE_STEPS]; /* code and operands; 0 for an operand that the step does not have */
    int64_t n_constants;
    double constants[CVR_ELEMENTWISE_STEPS]; /* rounded to f32 */
} cvr_elementwise_attrs;

/* Between the attributes, which the op's `infer` has checked, and steps. */
static inline void cvr_elementwise_steps(const cvr_elementwise_attrs *attrs, cvr_steps *s) {
    s->struct_size = sizeof *s;
    s->n_steps = (uint32_t)(attrs->n_steps / 5);
    s->n_constants = (uint32_t)attrs->n_constants;
    for (uint32_t k = 0; k < s->n_steps; k++) {
        s->steps[k].code = (uint32_t)attrs->steps[5 * k];
        for (uint32_t i = 0; i < 4; i++) s->steps[k].operands[i] = (uint32_t)attrs->steps[5 * k + 1 + i];
        s->steps[k].reserved = 0;
    }
    for (uint32_t k = 0; k < s->n_constants; k++) s->constants[k] = (float)attrs->constants[k];
}

static inline void cvr_elementwise_attrs_of(const cvr_steps *s, cvr_elementwise_attrs *attrs) {
    memset(attrs, 0, sizeof *attrs);
    attrs->n_steps = 5 * (int64_t)s->n_steps;
    attrs->n_constants = s->n_constants;
    for (uint32_t k = 0; k < s->n_steps; k++) {
        attrs->steps[5 * k] = s->steps[k].code;
        for (uint32_t i = 0; i < 4; i++) attrs->steps[5 * k + 1 + i] = s->steps[k].operands[i];
    }
    for (uint32_t k = 0; k < s->n_constants; k++) attrs->constants[k] = (double)s->constants[k];
}

/* Whether every step exists and has operands that are there before it. */
static inline int cvr_steps_valid(const cvr_steps *s, uint32_t n_inputs) {
    if (s->n_steps == 0 || s->n_steps > CVR_MOST_STEPS || s->n_constants > CVR_MOST_STEPS) return 0;
    for (uint32_t k = 0; k < s->n_steps; k++) {
        const uint32_t n = cvr_step_operands(s->steps[k].code);
        if (n == 0) return 0;
        for (uint32_t i = 0; i < n; i++) {
            const uint32_t from = s->steps[k].operands[i];
            if (from >= CVR_STEP_CONSTANT ? from - CVR_STEP_CONSTANT >= s->n_constants
                : from >= CVR_STEP_RESULT ? from - CVR_STEP_RESULT >= k
                                          : from >= n_inputs)
                return 0;
        }
    }
    return 1;
}

/*
 * How x repeats in the memory of a result of this shape: result element i is made of x's element i / inner % size. 0
 * where it is not repeated evenly.
 */
static inline int cvr_elementwise_repeat(uint32_t rank, const int64_t *shape, uint32_t x_rank, const int64_t *x_shape,
                                         int64_t *inner, int64_t *size) {
    static const uint32_t pixels[4] = {0, 2, 3, 1};
    int axes = 0, ended = 0;
    *inner = *size = 1;
    if (x_rank > rank) return 0;
    for (uint32_t k = rank; k-- > 0;) {
        const uint32_t axis = rank == 4 ? pixels[k] : k;
        const int64_t n = shape[axis], m = axis < rank - x_rank ? 1 : x_shape[axis - (rank - x_rank)];
        if (m != n && m != 1) return 0;
        if (n == 1) continue;
        if (m == n) {
            if (ended) return 0;
            *size *= n;
            axes++;
        } else if (axes == 0) {
            *inner *= n;
        } else {
            ended = 1;
        }
    }
    return axes < 2 || (x_rank == 4) == (rank == 4);
}

/* The reference: a program over whole tensors, f32, output 0 of the shape of the first input that has it. */
static inline int32_t cvr_elementwise_run(const cvr_kernel_args *a, const cvr_steps *s) {
    const cvr_tensor *y = a->outputs[0];
    const int64_t n = cvr_numel(y->rank, y->shape);
    int64_t inner[CVR_ELEMENTWISE_INPUTS], size[CVR_ELEMENTWISE_INPUTS];
    const uint32_t n_inputs = a->n_inputs < CVR_ELEMENTWISE_INPUTS ? a->n_inputs : CVR_ELEMENTWISE_INPUTS;
    for (uint32_t k = 0; k < n_inputs; k++)
        (void)cvr_elementwise_repeat(y->rank, y->shape, a->inputs[k]->rank, a->inputs[k]->shape, &inner[k], &size[k]);
    for (int64_t i = 0; i < n; i++) {
        float x[CVR_ELEMENTWISE_INPUTS];
        for (uint32_t k = 0; k < n_inputs; k++)
            x[k] = ((const float *)a->inputs[k]->data)[inner[k] == 1 && size[k] == n ? i : i / inner[k] % size[k]];
        ((float *)y->data)[i] = cvr_steps_value(s, x);
    }
    return CVR_OK;
}

/* The meaning, in the op `elementwise`, of an op that has the trait: for its `decompose`. Its inputs are of one shape.
 */
static inline int32_t cvr_elementwise_decompose(const cvr_builder *b, cvr_decompose_args *a,
                                                const cvr_elementwise_trait *trait, cvr_error *err) {
    cvr_elementwise_attrs attrs;
    cvr_value operands[CVR_MAX_IO];
    cvr_steps s;
    cvr_operands_args args = {sizeof args, a->attrs, a->inputs, operands, a->n_inputs, a->n_inputs};
    memset(&s, 0, sizeof s);
    s.struct_size = sizeof s;
    for (uint32_t i = 0; i < a->n_inputs; i++) operands[i] = a->inputs[i];
    if (trait->operands) CVR_TRY(trait->operands(b, &args, err));
    trait->steps(a->attrs, &s);
    if (!cvr_steps_valid(&s, args.n_operands))
        return cvr_fail(err, CVR_ERR_PLUGIN,
                        "an elementwise program names an operand that is not there, or has more "
                        "than %u steps",
                        CVR_MOST_STEPS);
    cvr_elementwise_attrs_of(&s, &attrs);
    return cvr_emit(b, "elementwise", &attrs, sizeof attrs, operands, args.n_operands, &a->outputs[0], err);
}

#ifdef __cplusplus
}
#endif

CVR_STATIC_ASSERT(sizeof(cvr_elementwise_attrs) == 8 + 8 * 160 + 8 + 256, "cvr_elementwise_attrs has padding");

#endif
