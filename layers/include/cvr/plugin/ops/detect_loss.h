/*
 * Attributes of the losses of object detection, version 1 (plugin "layer_detect_loss"). Words and shapes as in
 * ops/detect.h: `match` (N,A) i32 says which object each row stands for, so targets are never made into tensors of
 * their own. f32 unless said otherwise; a loss is a scalar (). All sums are in double, in a fixed order.
 *
 * What the sum over rows is divided by, `norm`:
 *     CVR_NORM_COUNTED    rows of the batch that are not CVR_MATCH_BETWEEN (0 rows: the loss is 0)
 *     CVR_NORM_POSITIVES  rows of the batch that have an object, at least 1
 *     CVR_NORM_PICTURE    for each picture its rows that have an object, at least 1; then the mean over the pictures
 *
 * class_targets    match (N,A) i32, box_labels (N,M) i64 -> (N,A) i64: label + offset of the object; `background`
 *     where there is none; `ignore` where the match is between. cvr_class_targets_attrs. box_labels may be padded.
 *
 * anchor_focal_loss  x (N,A,K), target (N,A) i64 -> loss (), norm (N); cvr_anchor_focal_attrs
 *     torchvision.ops.sigmoid_focal_loss, summed over classes: y = [target = k], q = sigmoid(x_k) where y, else
 *     1 - sigmoid(x_k), l = -a * (1 - q)^gamma * log q, a = alpha where y, else 1 - alpha (1 for both where alpha < 0).
 *     target: a class; -1: none of them; -2: the row counts for nothing. Rows with an object are those with
 *     target >= `first_class` (RetinaNet's class 0 is never an object). norm: the divisor of each picture. With K 1,
 *     alpha -1 and gamma 0 it is binary cross entropy with logits (RPN's objectness: target 0, -1 or -2).
 * anchor_focal_loss_backward  x, target, norm, grad () -> dx; cvr_anchor_focal_attrs
 *
 * anchor_cross_entropy  x (N,A,K), target (N,A) i64 -> loss (), lse (N,A), keep (N,A) u8, norm ();
 *     cvr_anchor_cross_entropy_attrs. Cross entropy of every row (target 0: background), of which all rows with
 *     target > 0 count, and of the background in each picture the ceil(negatives * positives of the picture) rows with
 *     the largest loss, equal ones by row (SSD's hard negatives); negatives < 0: all. Where that is more than there is
 *     background, rows with an object are taken for the rest, the first ones, and count twice, as in torchvision. Sum /
 *     max(1, positives of the batch). target < 0: the row counts for nothing. A loss that is NaN counts as the largest.
 *     keep: how often each row counts.
 * anchor_cross_entropy_backward  x, target, lse, keep, norm, grad () -> dx; no attributes
 *
 * anchor_box_loss  deltas (N,A,4*K), anchors (A,4) or (N,A,4), boxes (N,M,4), match (N,A) i32, [label (N,A) i64] ->
 *     loss (), norm (N); cvr_anchor_box_loss_attrs. Rows with an object count. With `label`, K > 1 and the four
 *     numbers of that class are taken; else K = 1. boxes may be padded.
 *     CVR_BOX_SMOOTH_L1 (`beta`; 0: |d|): on deltas, against the encoded object; sum over the four numbers
 *     CVR_BOX_SQUARED_IOU: 1 - IoU^2 of the decoded box and the object (Ge et al., "YOLOX", 2021)
 *     CVR_BOX_GIOU, _DIOU, _CIOU: of the decoded box and the object, torchvision.ops.*_box_iou_loss, eps 1e-7
 *     (Rezatofighi et al., 2019; Zheng et al., 2020); `coder` and `weights` as in decode_boxes. The alpha of CIoU has
 *     no gradient.
 * anchor_box_loss_backward  deltas, anchors, boxes, match, [label], norm, grad () -> ddeltas; cvr_anchor_box_loss_attrs
 *
 * anchor_quality_loss  x (N,A,K), target (N,A) i64, quality (N,A) -> loss (), norm (N); cvr_anchor_quality_attrs
 *     Rows with target >= 0 count: binary cross entropy with logits, summed over classes, against `quality` for the
 *     row's own class and 0 for all others (Ge et al., "YOLOX", 2021: the quality is the box's IoU, here
 *     without a gradient).
 *
 * anchor_quality_loss_backward  x, target, quality, norm, grad () -> dx; cvr_anchor_quality_attrs
 *
 * centerness_loss  x (N,A,1), anchors (A,4) or (N,A,4), boxes (N,M,4), match (N,A) i32 -> loss (), norm (N);
 *     cvr_centerness_attrs. Rows with an object: binary cross entropy with logits against
 *     sqrt(min(l,r) / max(l,r) * min(t,b) / max(t,b)), l, t, r, b from the anchor's centre to the object's sides
 *     (Tian et al., "FCOS", 2019).
 * centerness_loss_backward  x, anchors, boxes, match, norm, grad () -> dx; cvr_centerness_attrs
 *
 * mask_loss        x (N*R,K,S,S), target (N,R,S*S), label (N,R) i64, match (N,R) i32 -> loss (), norm (); no attributes
 *     Binary cross entropy with logits of channel `label` of the rows that have an object, mean over them and their
 *     pixels; 0 where there are none.
 * mask_loss_backward  x, target, label, match, norm, grad () -> dx; no attributes
 */
#ifndef CVR_PLUGIN_OPS_DETECT_LOSS_H
#define CVR_PLUGIN_OPS_DETECT_LOSS_H

#include <cvr/plugin/abi.h>

#ifdef __cplusplus
extern "C" {
#endif

#define CVR_NORM_COUNTED 0
#define CVR_NORM_POSITIVES 1
#define CVR_NORM_PICTURE 2

#define CVR_BOX_SMOOTH_L1 0
#define CVR_BOX_GIOU 1
#define CVR_BOX_DIOU 2
#define CVR_BOX_CIOU 3
#define CVR_BOX_SQUARED_IOU 4

typedef struct cvr_class_targets_attrs {
    int64_t offset, background, ignore;
} cvr_class_targets_attrs;

typedef struct cvr_anchor_focal_attrs {
    double alpha, gamma;
    int64_t norm; /* CVR_NORM_* */
    int64_t first_class;
} cvr_anchor_focal_attrs;

typedef struct cvr_anchor_cross_entropy_attrs {
    double negatives; /* to one positive */
} cvr_anchor_cross_entropy_attrs;

typedef struct cvr_anchor_box_loss_attrs {
    int64_t kind;      /* CVR_BOX_* */
    int64_t coder;     /* CVR_CODER_* */
    double weights[4]; /* of dx, dy, dw, dh */
    double beta;
    int64_t norm; /* CVR_NORM_* */
} cvr_anchor_box_loss_attrs;

typedef struct cvr_anchor_quality_attrs {
    int64_t norm; /* CVR_NORM_* */
} cvr_anchor_quality_attrs;

typedef struct cvr_centerness_attrs {
    int64_t norm; /* CVR_NORM_* */
} cvr_centerness_attrs;

#ifdef __cplusplus
}
#endif

CVR_STATIC_ASSERT(sizeof(cvr_class_targets_attrs) == 24, "cvr_class_targets_attrs has padding");
CVR_STATIC_ASSERT(sizeof(cvr_anchor_focal_attrs) == 32, "cvr_anchor_focal_attrs has padding");
CVR_STATIC_ASSERT(sizeof(cvr_anchor_cross_entropy_attrs) == 8, "cvr_anchor_cross_entropy_attrs has padding");
CVR_STATIC_ASSERT(sizeof(cvr_anchor_box_loss_attrs) == 64, "cvr_anchor_box_loss_attrs has padding");
CVR_STATIC_ASSERT(sizeof(cvr_anchor_quality_attrs) == 8, "cvr_anchor_quality_attrs has padding");
CVR_STATIC_ASSERT(sizeof(cvr_centerness_attrs) == 8, "cvr_centerness_attrs has padding");

#endif
