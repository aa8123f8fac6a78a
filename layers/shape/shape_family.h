/* What the files of the plugin "layer_shape" share: ops with their reference kernels, layers, and steps in memory. */
#ifndef CVR_LAYERS_SHAPE_FAMILY_H
#define CVR_LAYERS_SHAPE_FAMILY_H

#include <cvr/plugin/ops/reference.h>
#include <cvr/plugin/ops/shape.h>

/* What one file adds. */
typedef struct shape_family {
    const cvr_reference_op *ops;
    const cvr_layer_desc *layers;
    uint32_t n_ops;
    uint32_t n_layers;
} shape_family;

extern const shape_family shape_view;   /* flatten, unflatten, view */
extern const shape_family shape_order;  /* to_logical, from_logical */
extern const shape_family shape_move;   /* permute */
extern const shape_family shape_tokens; /* to_tokens, from_tokens */
extern const shape_family shape_window; /* window_partition, window_merge */
extern const shape_family shape_take;   /* take_rows */
extern const shape_family shape_pieces; /* concat, slice, chunk */

/* For cvr_op_desc.trait: shape_onnx.c */
const void *shape_flatten_traits(const char *name);
const void *shape_unflatten_traits(const char *name);
const void *shape_view_traits(const char *name);
const void *shape_permute_traits(const char *name);
const void *shape_concat_traits(const char *name);
const void *shape_slice_traits(const char *name);
const void *shape_take_rows_traits(const char *name);
const void *shape_to_tokens_traits(const char *name);
const void *shape_from_tokens_traits(const char *name);
const void *shape_partition_traits(const char *name);
const void *shape_merge_traits(const char *name);
/* shape_axes.c */
extern const cvr_axes_trait shape_flatten_axes, shape_unflatten_axes, shape_view_axes, shape_to_logical_axes,
    shape_from_logical_axes, shape_to_tokens_axes, shape_from_tokens_axes, shape_permute_axes, shape_concat_axes,
    shape_slice_axes, shape_take_rows_axes;

/* Steps in memory, in elements, along each logical axis: rank 4 lies as (N, H, W, C), all else row-major. */
static inline void shape_steps(uint32_t rank, const int64_t *shape, int64_t *step) {
    int64_t at = 1;
    for (uint32_t i = rank; i-- > 0;) {
        step[i] = at;
        at *= shape[i];
    }
    if (rank != 4) return;
    step[1] = 1;
    step[2] = shape[1] * shape[3];
    step[3] = shape[1];
}

/* Where element `i`, counted in logical row-major order, lies in memory. */
static inline int64_t shape_at(uint32_t rank, const int64_t *shape, const int64_t *step, int64_t i) {
    int64_t at = 0;
    for (uint32_t a = rank; a-- > 0;) {
        at += i % shape[a] * step[a];
        i /= shape[a];
    }
    return at;
}

/* A negative axis counts from the last; CVR_ERR_INVALID where there is no such axis. */
static inline int32_t shape_axis(int64_t dim, uint32_t rank, int64_t *axis, cvr_error *err) {
    *axis = dim < 0 ? dim + rank : dim;
    if (*axis >= 0 && *axis < (int64_t)rank) return CVR_OK;
    return cvr_fail(err, CVR_ERR_INVALID, "dim %lld of a tensor with %u axes", (long long)dim, rank);
}

/* Brings a flattened value into logical order, where it is not in it. */
int32_t shape_plain(const cvr_builder *b, cvr_value *x, cvr_error *err);

#endif
