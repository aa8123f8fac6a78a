/*
 * Attributes of the arithmetic ops, version 1 (plugin "layer_arith"). All tensors are f32. Shapes broadcast as in
 * NumPy: aligned at their last logical axis, an axis of 1 (or one that is missing) is repeated. An op has no
 * attributes where no struct is named. (`add` of two equal shapes is the core's.)
 *
 * add_broadcast   a, b -> a + b
 * mul             a, b of one shape -> a * b
 * mul_broadcast   a, b -> a * b
 * sum_to          a, [b like a] -> y: a (or a * b), summed over the axes along which `shape` would broadcast to a's;
 *                 cvr_sum_to_attrs
 * expand          x -> y of `shape`: scale * x, repeated; cvr_expand_attrs
 *                 x has the axes of `shape` with the full size or 1 each, or has all of them but those in `dim`, which
 *                 are then the repeated ones
 *
 * sum, mean, amax x -> y: over the axes in `dim` (none named: over all), which stay with size 1 if keepdim, else go;
 *                 cvr_reduce_attrs
 * amax_backward   x, y, grad -> dx: grad / (how many of the reduced elements equal y) where x equals y, else 0;
 *                 cvr_reduce_attrs
 */
#ifndef CVR_PLUGIN_OPS_ARITH_H
#define CVR_PLUGIN_OPS_ARITH_H

#include <cvr/plugin/abi.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct cvr_sum_to_attrs {
    int64_t rank;
    int64_t shape[CVR_MAX_RANK];
} cvr_sum_to_attrs;

typedef struct cvr_expand_attrs {
    int64_t rank;
    int64_t shape[CVR_MAX_RANK];
    int64_t n_dim;
    int64_t dim[CVR_MAX_RANK];
    double scale;
} cvr_expand_attrs;

/* dim: 0 <= dim[i] < rank, each once. */
typedef struct cvr_reduce_attrs {
    int64_t n_dim;
    int64_t dim[CVR_MAX_RANK];
    int64_t keepdim; /* 0 or 1 */
} cvr_reduce_attrs;

#ifdef __cplusplus
}
#endif

CVR_STATIC_ASSERT(sizeof(cvr_sum_to_attrs) == 56, "cvr_sum_to_attrs has padding");
CVR_STATIC_ASSERT(sizeof(cvr_expand_attrs) == 120, "cvr_expand_attrs has padding");
CVR_STATIC_ASSERT(sizeof(cvr_reduce_attrs) == 64, "cvr_reduce_attrs has padding");

#endif
