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

/* The steps of attributes that the op's `infer` has checked. */
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

#ifdef __cplusplus
}
#endif

#endif
