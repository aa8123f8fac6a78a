/* What the files of the plugin "layer_loss" share: ops with their reference kernels, and layers. */
#ifndef CVR_LAYERS_LOSS_FAMILY_H
#define CVR_LAYERS_LOSS_FAMILY_H

#include <cvr/plugin/ops/loss.h>
#include <cvr/plugin/plugin.h>

#include <math.h>

/* An op, its reference kernel, and the inputs that the kernel may overwrite (bit i: input i). */
typedef struct loss_op {
    cvr_op_desc op;
    cvr_cpu_fn reference;
    uint64_t inplace;
} loss_op;

/* What one file adds. */
typedef struct loss_family {
    const loss_op *ops;
    const cvr_layer_desc *layers;
    uint32_t n_ops;
    uint32_t n_layers;
} loss_family;

extern const loss_family loss_cross_entropy;
extern const loss_family loss_bce;
extern const loss_family loss_distance; /* mse, l1, smooth_l1 */

int32_t loss_cross_entropy_run(const cvr_kernel_args *a, cvr_error *err);
int32_t loss_cross_entropy_backward_run(const cvr_kernel_args *a, cvr_error *err);

extern const cvr_attr_desc loss_reduction_attr; /* reduction = mean */

/* x and target: f32 of one shape. */
int32_t loss_check_pair(const cvr_type *x, const cvr_type *target, cvr_error *err);
/* A scalar f32. */
int32_t loss_check_scalar(const cvr_type *t, cvr_error *err);

/* What each element's loss is divided by. */
static inline double loss_divisor(int64_t reduction, const cvr_tensor *x) {
    return reduction == CVR_LOSS_MEAN ? (double)cvr_numel(x->rank, x->shape) : 1;
}

#endif
