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

#ifdef __cplusplus
}
#endif

CVR_STATIC_ASSERT(sizeof(cvr_split_index_attrs) == 8, "cvr_split_index_attrs has padding");

#endif
