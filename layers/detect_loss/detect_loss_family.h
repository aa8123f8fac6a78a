/* What the files of the plugin "layer_detect_loss" share: ops with their reference kernels. */
#ifndef CVR_LAYERS_DETECT_LOSS_FAMILY_H
#define CVR_LAYERS_DETECT_LOSS_FAMILY_H

#include <cvr/plugin/ops/check.h>
#include <cvr/plugin/ops/detect_loss_math.h>
#include <cvr/plugin/ops/reference.h>

/* What one file adds. */
typedef struct detect_loss_family {
    const cvr_reference_op *ops;
    uint64_t n;
} detect_loss_family;

extern const detect_loss_family detect_class_targets;
extern const detect_loss_family detect_focal;
extern const detect_loss_family detect_quality;
extern const detect_loss_family detect_entropy;
extern const detect_loss_family detect_box_loss;
extern const detect_loss_family detect_centerness;
extern const detect_loss_family detect_mask_loss;

extern const cvr_attr_desc detect_norm_attr; /* norm = counted|positives|picture */

/* ---- shapes ---- */

/* Refuses an input that is not of this type and rank: `wanted` says in the message what it should be. */
int32_t detect_check(const char *op, const char *what, const cvr_type *t, uint32_t dtype, uint32_t rank,
                     const char *wanted, cvr_error *err);
/* Axis `k` of a value must have `n` elements. */
int32_t detect_check_axis(const char *op, const char *what, const cvr_type *t, uint32_t k, int64_t n, cvr_error *err);
/* One f32 number: the gradient of a loss, or a norm. */
int32_t detect_check_scalar(const char *op, const char *what, const cvr_type *t, cvr_error *err);
/* x (N,A,K), target (N,A) i64: inputs 0 and 1 */
int32_t detect_check_scores(const char *op, const cvr_infer_args *a, cvr_error *err);
/* match (N,A) i32 */
int32_t detect_check_match(const char *op, const cvr_type *match, int64_t n, int64_t rows, cvr_error *err);
/* anchors (A,4) or (N,A,4), boxes (N,M,4), match (N,A) */
int32_t detect_check_rows(const char *op, const cvr_type *anchors, const cvr_type *boxes, const cvr_type *match,
                          int64_t n, int64_t rows, cvr_error *err);
/* Sets output i to a scalar, f32. */
void detect_set_scalar(const cvr_infer_args *a, uint32_t i);
/* The outputs of a loss of rows: loss (), norm (N). */
int32_t detect_set_loss(const cvr_infer_args *a);
/* Its gradient is like input 0; norm (N) is input i, the gradient of the loss the next. */
int32_t detect_set_gradient(const char *op, const cvr_infer_args *a, uint32_t i, cvr_error *err);

/* ---- numbers ---- */

static inline float detect_scalar(const cvr_kernel_args *a, uint32_t i) {
    return *(const float *)a->inputs[i]->data;
}

/* ---- descriptors ---- */

#define DETECT_COUNT(list_) (sizeof(list_) / sizeof *(list_))

/* A loss and its gradient: what a file calls infer, grad, run and flops, backward_infer and backward_run. The rest of
 * the descriptor follows. */
#define DETECT_LOSS(name_, least_, most_, results_, doc_, ...)                                                         \
    .op = {.struct_size = sizeof(cvr_op_desc),                                                                         \
           .name = name_,                                                                                              \
           .version = 1,                                                                                               \
           .min_inputs = least_,                                                                                       \
           .max_inputs = most_,                                                                                        \
           .n_outputs = results_,                                                                                      \
           .infer = infer,                                                                                             \
           .grad = grad,                                                                                               \
           .flops = flops,                                                                                             \
           .doc = doc_,                                                                                                \
           __VA_ARGS__},                                                                                               \
    .reference = {sizeof(cvr_cpu_fn), run}
#define DETECT_LOSS_BACKWARD(name_, inputs_, doc_, ...)                                                                \
    .op = {.struct_size = sizeof(cvr_op_desc),                                                                         \
           .name = name_,                                                                                              \
           .version = 1,                                                                                               \
           .min_inputs = inputs_,                                                                                      \
           .max_inputs = inputs_,                                                                                      \
           .n_outputs = 1,                                                                                             \
           .infer = backward_infer,                                                                                    \
           .flops = flops,                                                                                             \
           .doc = doc_,                                                                                                \
           __VA_ARGS__},                                                                                               \
    .reference = {sizeof(cvr_cpu_fn), backward_run}
#define DETECT_ATTRS(list_) .n_attrs = DETECT_COUNT(list_), .attrs = list_

/* Ops may read padded inputs: `honours` of cvr_counts_trait. Losses stay f32 in a program of low precision; a gradient
 * has the type of what it is the gradient of. */
#define DETECT_TRAITS(name_, precision_, honours_)                                                                     \
    static const cvr_counts_trait name_##_counts = {sizeof(cvr_counts_trait), honours_, 0};                            \
    CVR_DEFINE_TRAITS(name_, {CVR_TRAIT_PRECISION, &precision_}, {CVR_TRAIT_COUNTS, &name_##_counts})

#endif
