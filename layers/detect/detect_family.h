/* What the files of the plugin "layer_detect" share: ops with their reference kernels, and checks of what they take. */
#ifndef CVR_LAYERS_DETECT_FAMILY_H
#define CVR_LAYERS_DETECT_FAMILY_H

#include <cvr/plugin/formats/onnx.h>
#include <cvr/plugin/ops/check.h>
#include <cvr/plugin/ops/detect_math.h>
#include <cvr/plugin/ops/reference.h>

/* What one file adds. */
typedef struct detect_family {
    const cvr_reference_op *ops;
    uint64_t n_ops;
} detect_family;

extern const detect_family detect_grid_anchors;
extern const detect_family detect_default_boxes;
extern const detect_family detect_box_coder;
extern const detect_family detect_clip_boxes;
extern const detect_family detect_box_iou;
extern const detect_family detect_match_boxes;
extern const detect_family detect_match_points;
extern const detect_family detect_sim_ota;
extern const detect_family detect_sample_rows;
extern const detect_family detect_gather_rows;
extern const detect_family detect_append_rows;
extern const detect_family detect_cut_match;
extern const detect_family detect_top_k;
extern const detect_family detect_nms;

#define DETECT_FAMILY(ops_)                                                                                            \
    { ops_, sizeof ops_ / sizeof *ops_ }

/* ---- shape rules; `op` is the name for the message ---- */

/* Input `i` has an element type and `rank` axes; an axis is as long as `shape` says, where that is not negative. */
int32_t detect_check(const char *op, const cvr_infer_args *a, uint32_t i, uint32_t dtype, uint32_t rank,
                     const int64_t *shape, cvr_error *err);
/* Input `i` is (A,4) or (N,A,4); `n` and `rows` are N and A. */
int32_t detect_check_anchors(const char *op, const cvr_infer_args *a, uint32_t i, int64_t n, int64_t rows,
                             cvr_error *err);
/* A row's number must fit into an index. */
int32_t detect_check_rows(const char *op, int64_t rows, cvr_error *err);

static inline int detect_given(const cvr_infer_args *a, uint32_t i) {
    return i < a->n_inputs && a->inputs[i];
}

/* ---- ONNX: detect_onnx.c, nms_onnx.c ---- */

const void *detect_decode_traits(const char *name);
const void *detect_clip_traits(const char *name);
const void *detect_top_k_traits(const char *name);
const void *detect_nms_traits(const char *name);
extern const cvr_onnx_trait detect_gather_onnx;
/* An op whose kernel reads nothing of its two inputs but their shapes is a constant of the file. */
int32_t detect_write_constant(const cvr_onnx *o, int32_t (*run)(const cvr_kernel_args *a, cvr_error *err),
                              cvr_error *err);

/* ---- kernels ---- */

/* NULL where the input is absent. */
static inline const void *detect_optional(const cvr_kernel_args *a, uint32_t i) {
    return i < a->n_inputs && a->inputs[i] ? a->inputs[i]->data : NULL;
}

/* The boxes of picture n, of (rows,4) for all or (N,rows,4). */
static inline const float *detect_picture(const cvr_tensor *boxes, int64_t n) {
    return (const float *)boxes->data + (boxes->rank == 3 ? n * boxes->shape[1] * boxes->shape[2] : 0);
}

/* Counts (i64) or valid rows (i32; NULL: all) of picture n, of at most `most`. */
int32_t detect_count(const char *op, const int64_t *counts, int64_t n, int64_t most, int64_t *out, cvr_error *err);
int32_t detect_valid(const char *op, const int32_t *valid, int64_t n, int64_t most, int64_t *out, cvr_error *err);

/* Rising order, in place (heapsort): the same result whatever the order before, as no two keys are equal. */
void detect_sort(uint64_t *keys, int64_t n);

extern const cvr_axes_trait detect_map_axes; /* detect_axes.c */

#endif
