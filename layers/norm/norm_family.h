/* What the files of the plugin "layer_norm" share: ops with their reference kernels, and layers. */
#ifndef CVR_LAYERS_NORM_FAMILY_H
#define CVR_LAYERS_NORM_FAMILY_H

#include <cvr/plugin/ops/norm.h>
#include <cvr/plugin/ops/reference.h>

#include <math.h>

/* What one file adds. */
typedef struct norm_family {
    const cvr_reference_op *ops;
    const cvr_layer_desc *layers;
    uint32_t n_ops;
    uint32_t n_layers;
} norm_family;

extern const norm_family norm_batch;
extern const norm_family norm_batch_act;
extern const norm_family norm_layer;
extern const norm_family norm_group;
extern const norm_family norm_l2;

int32_t norm_batch_run(const cvr_kernel_args *a, cvr_error *err);
int32_t norm_batch_backward_run(const cvr_kernel_args *a, cvr_error *err);
int32_t norm_batch_stats_run(const cvr_kernel_args *a, cvr_error *err);
int32_t norm_batch_apply_run(const cvr_kernel_args *a, cvr_error *err);
int32_t norm_batch_backward_sums_run(const cvr_kernel_args *a, cvr_error *err);
int32_t norm_batch_backward_apply_run(const cvr_kernel_args *a, cvr_error *err);
int32_t norm_batch_inference_run(const cvr_kernel_args *a, cvr_error *err);
int32_t norm_batch_inference_backward_run(const cvr_kernel_args *a, cvr_error *err);

/* What the fused ops share with batch_norm2d and its backward: input 0 is (N,C,H,W), inputs `first` to `last` are
 * vectors (C), where they are there; */
int32_t norm_batch_check(const char *op, const cvr_infer_args *a, uint32_t first, uint32_t last, cvr_error *err);
int32_t norm_batch_infer(const cvr_infer_args *a, cvr_error *err);
int32_t norm_batch_backward_infer(const cvr_infer_args *a, cvr_error *err);
/* `again` of both: inputs as batch_norm2d_act has them. */
int32_t norm_batch_recompute(const cvr_builder *b, cvr_decompose_args *a, int64_t activation, cvr_error *err);
double norm_batch_flops(const cvr_infer_args *a);
extern const cvr_attr_desc norm_momentum_attr; /* momentum = 0.1 */

extern const cvr_attr_desc norm_eps_attr;    /* eps = 1e-05 */
extern const cvr_attr_desc norm_affine_attr; /* affine = yes */

int32_t norm_check_f32(const char *op, const cvr_type *x, cvr_error *err);
/* An optional vector of `n` f32 (rank 1). */
int32_t norm_check_vector(const char *op, const char *what, const cvr_type *v, int64_t n, cvr_error *err);
int32_t norm_check_like(const char *op, const cvr_type *x, const cvr_type *grad, cvr_error *err);

/* op(x, grad, weight, mean, scale) -> dx, dweight, dbias */
int32_t norm_emit_backward(const cvr_builder *b, cvr_grad_args *a, cvr_value x, const char *op, uint64_t attrs_size,
                           const cvr_value statistics[2], cvr_error *err);

/* A scale (`weight`, starts at 1) or shift (`bias`, starts at 0) of this shape. */
int32_t norm_param(const cvr_builder *b, const char *name, double start, uint32_t rank, const int64_t *shape,
                   cvr_value *out, cvr_error *err);

/*
 * Reference kernels of norms over groups of elements (norm_walk.c): x has these logical axes, of which `begin` to
 * end - 1 lie within a group and the others tell groups apart. Steps are floats from one index of an axis to the next,
 * in x and in weight and bias.
 */
typedef struct norm_walk {
    int64_t shape[CVR_MAX_RANK], step[CVR_MAX_RANK], weight_step[CVR_MAX_RANK];
    int64_t begin, end, rank;
} norm_walk;
/* x, [weight], [bias] -> y, mean, invstd */
void norm_walk_run(const cvr_kernel_args *a, const norm_walk *w, double eps);
/* x, grad, [weight], mean, invstd -> dx, dweight, dbias */
void norm_walk_backward(const cvr_kernel_args *a, const norm_walk *w);

/* Input i's numbers, or NULL where it is absent. */
static inline const float *norm_in(const cvr_kernel_args *a, uint32_t i) {
    return i < a->n_inputs && a->inputs[i] ? a->inputs[i]->data : NULL;
}

/* Of both forms of batch_norm2d: batch_norm.c */
extern const cvr_batch_norm_trait norm_batch_evaluated;

/* For cvr_op_desc.trait: norm_onnx.c */
const void *norm_batch_inference_traits(const char *name);
const void *norm_layer_traits(const char *name);
const void *norm_group_traits(const char *name);
const void *norm_l2_traits(const char *name);
extern const cvr_axes_trait norm_batch_axes, norm_layer_axes, norm_group_axes, norm_l2_axes; /* norm_axes.c */

#endif
