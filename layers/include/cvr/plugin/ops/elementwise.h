/*
 * Elementwise programs as ops, version 1 (plugin "layer_activation"), which passes make of several elementwise ops: one
 * sweep over memory in place of one for each. All tensors are f32. See <cvr/plugin/elementwise.h> for steps.
 *
 * elementwise      x, [more inputs] -> y like x; cvr_elementwise_attrs
 *     Step k makes r[k] of two operands, each an input (by its number) or an earlier r[j] (CVR_STEP_RESULT + j);
 *     y is the last. An input has the shape of x, or broadcasts to it so that its elements repeat evenly in memory: a
 *     scalar, a number of each channel, one of each sample, ...
 * elementwise_sum  the same inputs and attributes -> y like x, sums (C)
 *     C is the size of x's innermost axis in memory (axis 1 of rank 4, else the last); sums[c] = sum of y over all
 *     other axes, as conv2d_backward_bias and linear_backward_bias have it.
 */
#ifndef CVR_PLUGIN_OPS_ELEMENTWISE_H
#define CVR_PLUGIN_OPS_ELEMENTWISE_H

#include <cvr/plugin/elementwise.h>

#ifdef __cplusplus
extern "C" {
#endif

#define CVR_ELEMENTWISE_INPUTS 8
#define CVR_ELEMENTWISE_STEPS 16

typedef struct cvr_elementwise_attrs {
    int64_t n_steps;                          /* numbers: three a step */
    int64_t steps[3 * CVR_ELEMENTWISE_STEPS]; /* code, a, b; b is a where the step has one operand */
    int64_t n_constants;
    double constants[CVR_ELEMENTWISE_STEPS]; /* by step; 0 past the last */
} cvr_elementwise_attrs;

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

#ifdef __cplusplus
}
#endif

CVR_STATIC_ASSERT(sizeof(cvr_elementwise_attrs) == 8 + 384 + 8 + 128, "cvr_elementwise_attrs has padding");

#endif
