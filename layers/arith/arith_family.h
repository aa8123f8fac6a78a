/* What the files of the plugin "layer_arith" share: ops with their reference kernels, layers, and walks over tensors.
 */
#ifndef CVR_LAYERS_ARITH_FAMILY_H
#define CVR_LAYERS_ARITH_FAMILY_H

#include <cvr/plugin/ops/arith.h>
#include <cvr/plugin/ops/reference.h>

/* What one file adds. */
typedef struct arith_family {
    const cvr_reference_op *ops;
    const cvr_layer_desc *layers;
    uint32_t n_ops;
    uint32_t n_layers;
} arith_family;

extern const arith_family arith_broadcast; /* add_broadcast, mul, mul_broadcast */
extern const arith_family arith_expand;    /* sum_to, expand */
extern const arith_family arith_reduce;    /* sum, mean, amax */

/* Steps in memory, in elements, along each logical axis: rank 4 lies as (N, H, W, C), all else row-major. */
static inline void arith_steps(uint32_t rank, const int64_t *shape, int64_t *step) {
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

/* Where element `i`, counted in logical row-major order of `shape`, lies for these steps. */
static inline int64_t arith_at(uint32_t rank, const int64_t *shape, const int64_t *step, int64_t i) {
    int64_t at = 0;
    for (uint32_t a = rank; a-- > 0;) {
        at += i % shape[a] * step[a];
        i /= shape[a];
    }
    return at;
}

/* Steps of x along the axes of an output of `rank` axes that x is broadcast to: 0 where it repeats. */
static inline void arith_broadcast_steps(const cvr_tensor *x, uint32_t rank, int64_t *step) {
    int64_t own[CVR_MAX_RANK];
    arith_steps(x->rank, x->shape, own);
    for (uint32_t i = 0; i < rank; i++) {
        const uint32_t missing = rank - x->rank;
        step[i] = i < missing || x->shape[i - missing] == 1 ? 0 : own[i - missing];
    }
}

/* For cvr_op_desc.trait: arith_onnx.c */
const void *arith_expand_traits(const char *name);
const void *arith_sum_traits(const char *name);
const void *arith_mean_traits(const char *name);
const void *arith_amax_traits(const char *name);
extern const cvr_axes_trait arith_add_axes, arith_mul_axes, arith_expand_axes, arith_reduce_axes; /* arith_axes.c */

int32_t arith_check_f32(const char *op, const cvr_infer_args *a, cvr_error *err);

/* `v` summed down to the shape of `like`; `v` itself where it has it. With `times`, their product summed. */
int32_t arith_sum_to(const cvr_builder *b, cvr_value v, cvr_value times, cvr_value like, cvr_value *out,
                     cvr_error *err);

#endif
