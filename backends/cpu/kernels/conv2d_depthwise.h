/*
 * Where a channel stands in the depthwise kernels' own arrays: packed weights and partial sums of their gradient, a row
 * of all channels for each tap. In f32, in order; in bf16, 2 * VEC channels are a vector of the even and one of the odd
 * ones, as the bf16v of cpu_vec.h bring them, and the last of them are filled up.
 */
#ifndef CVR_BACKENDS_CPU_CONV2D_DEPTHWISE_H
#define CVR_BACKENDS_CPU_CONV2D_DEPTHWISE_H

#include "conv2d.h"
#include "cpu_vec.h"

/* Rows behind the packed weights: bias, scale and shift of the epilogue. */
#define DEPTHWISE_VECTORS 3

/* Floats of such a row. */
static inline int64_t depthwise_places(int64_t channels, int64_t bf16) {
    return bf16 ? cpu_ceil_div(channels, 2 * VEC) * 2 * VEC : channels;
}

static inline int64_t depthwise_place(int64_t channel, int64_t bf16) {
    return bf16 ? bf16v_place(channel) : channel;
}

#endif
