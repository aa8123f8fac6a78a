/* What the files of the plugin "layer_loss" share: ops with their reference kernels, and layers. */
#ifndef CVR_LAYERS_LOSS_FAMILY_H
#define CVR_LAYERS_LOSS_FAMILY_H

#include <cvr/plugin/ops/loss.h>
#include <cvr/plugin/ops/reference.h>

#include <math.h>

/* What one file adds. */
typedef struct loss_family {
    const cvr_reference_op *ops;
    const cvr_layer_desc *layers;
    uint32_t n_ops;
    uint32_t n_layers;
} loss_family;

extern const loss_family loss_cross_entropy;
extern const loss_family loss_bce;
extern const loss_family loss_distance; /* mse, l1, smooth_l1 */
extern const loss_family loss_overlap;  /* dice, jaccard, tversky */
extern const loss_family loss_focal;    /* focal, sigmoid_focal */
extern const loss_family loss_lovasz;
extern const loss_family loss_ohem;

int32_t loss_cross_entropy_run(const cvr_kernel_args *a, cvr_error *err);
int32_t loss_cross_entropy_backward_run(const cvr_kernel_args *a, cvr_error *err);

extern const cvr_attr_desc loss_reduction_attr; /* reduction = mean */
extern const cvr_attr_desc loss_ignore_attr;    /* ignore_index = -100 */

/* Emits an op of `n_out` results, of which the loss is the first; the others are for its gradient. */
#define LOSS_MOST_RESULTS 3
int32_t loss_emit(const cvr_builder *b, const char *op, const void *attrs, uint64_t attrs_size, const cvr_value *in,
                  uint32_t n_in, uint32_t n_out, cvr_value *loss, cvr_error *err);

/* A layer on scores, targets and, optionally, weights. */
#define LOSS_LAYER(name_, attrs_, build_, doc_)                                                                        \
    {                                                                                                                  \
        .struct_size = sizeof(cvr_layer_desc), .name = name_, .doc = doc_, .n_attrs = sizeof attrs_ / sizeof *attrs_,  \
        .min_inputs = 2, .max_inputs = 3, .n_outputs = 1, .attrs = attrs_, .build = build_                             \
    }

/* x and target: f32 of one shape. */
int32_t loss_check_pair(const cvr_type *x, const cvr_type *target, cvr_error *err);
/* A scalar f32. */
int32_t loss_check_scalar(const cvr_type *t, cvr_error *err);

/* Scores with indices of classes: x (N,C,...) f32 of rank 2 to 4, target (N,...) i64, and where there is a third input,
 * weight (C) f32. `op` is the name for the message. */
int32_t loss_check_classes(const char *op, const cvr_infer_args *a, cvr_error *err);

/* Where the scores of a position lie in memory: `step` apart, those of position p = n * positions + s from
 * loss_position_at() on. */
typedef struct loss_scores {
    int64_t n, positions, classes, step, position_step;
} loss_scores;

loss_scores loss_scores_of(const cvr_tensor *x);

static inline int64_t loss_position_at(const loss_scores *s, int64_t p) {
    return p / s->positions * s->positions * s->classes + p % s->positions * s->position_step;
}

/* log(sum of exp(x_c)) over the classes of one position */
double loss_log_sum_exp(const float *x, const loss_scores *s);
/* The same where one class alone is told from none: its probability is sigmoid(x), so log(1 + exp(x)). */
double loss_normaliser(const float *x, const loss_scores *s);
/* Every target is a class (with one class: 0 or 1), or the one that is ignored. */
int32_t loss_check_targets(const char *op, const cvr_kernel_args *a, int64_t ignore_index, cvr_error *err);

/* NULL where the input is absent. */
static inline const float *loss_optional(const cvr_kernel_args *a, uint32_t i) {
    return i < a->n_inputs && a->inputs[i] ? a->inputs[i]->data : NULL;
}
static inline double loss_weight_of(const float *weight, int64_t c) {
    return weight ? weight[c] : 1;
}
/* 1 where the target is class c; with one class it is the target itself. */
static inline int loss_is_class(int64_t target, int64_t c, int64_t classes) {
    return classes == 1 ? target == 1 : target == c;
}

/* What each element's loss is divided by. */
static inline double loss_divisor(int64_t reduction, const cvr_tensor *x) {
    return reduction == CVR_LOSS_MEAN ? (double)cvr_numel(x->rank, x->shape) : 1;
}

#endif
