/*
 * Attributes of the ops that make a detector's results of what its heads say, version 1 (plugin "layer_detections").
 * Words and shapes as in ops/detect.h. None of them has a gradient.
 *
 * split_index     index (N,B) i32 -> row (N,B) i32, column (N,B) i32; cvr_split_index_attrs
 *     Where the place `index` of (N,A*K) lies in A rows of K columns: index / columns, index % columns. A negative
 *     index gives -1 and -1.
 * pick_labels     group (N,P) i32, [index (N,D) i32] -> label (N,D) i64; no attributes
 *     group[index], or without `index` group itself (D = P); -1 for a negative index or group, which stands for padding
 * joint_score     x (N,A,K), y (N,A,1) -> (N,A,K); no attributes
 *     sqrt(sigmoid(x) * sigmoid(y)) (Tian et al., "FCOS: A simple and strong anchor-free object detector", 2020)
 * best_class      x (N,A,K), y (N,A,1) -> score (N,A), class (N,A) i32; no attributes
 *     sigmoid(y) times the largest sigmoid of a row's classes, and which one that is, the first of equal ones (Redmon
 *     and Farhadi: "YOLOv3", 2018; Ge et al.: "YOLOX", 2021)
 */
#ifndef CVR_PLUGIN_OPS_DETECTIONS_H
#define CVR_PLUGIN_OPS_DETECTIONS_H

#include <cvr/plugin/abi.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct cvr_split_index_attrs {
    int64_t columns;
} cvr_split_index_attrs;

/* The first largest of a row's numbers; what is NaN is passed over. */
static inline int32_t cvr_best_column(const float *x, int64_t columns) {
    int32_t best = 0;
    for (int32_t k = 1; k < columns; k++)
        if (x[k] > x[best] || (x[best] != x[best] && x[k] == x[k])) best = k;
    return best;
}

#ifdef __cplusplus
}
#endif

CVR_STATIC_ASSERT(sizeof(cvr_split_index_attrs) == 8, "cvr_split_index_attrs has padding");

#endif
