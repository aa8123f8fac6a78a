/*
 * Attributes of the ops of Darknet's [yolo] and [region] layers, version 1 (plugin "layer_yolo"): Redmon and Farhadi,
 * "YOLO9000", 2016, and "YOLOv3", 2018; Bochkovskiy, Wang and Liao, "YOLOv4", 2020. Words as in ops/detect.h. Tensors
 * are f32 unless said otherwise.
 *
 * x (N,A*(5+K),h,w) is what a network says of a map of h x w cells, A anchors each. Of every anchor: t_x, t_y, t_w,
 * t_h, objectness and K classes. Row (y * w + x) * A + a is anchor a of cell (x, y); there are P = h*w*A. With s =
 * sigmoid, z = scale_x_y and an anchor of pw x ph pixels, a box in units of the picture's W x H (`size`) pixels is
 *     x = (cell + z * s(t_x) - (z - 1) / 2) / w,  w = exp(t_w) * pw / W,  y and h likewise
 * and with new_coords (YOLOv4-CSP), where a sigmoid is in front of this layer,
 *     x = (cell + z * t_x - (z - 1) / 2) / w,  w = (2 t_w)^2 * pw / W,  and s() of objectness and classes is left out.
 *
 * yolo_boxes       x -> boxes (N,P,4) in pixels, scores (N,P,K) = s(objectness) * s(class); cvr_yolo_attrs
 *     softmax: classes exclude each other, exp(class) / sum of exp(class) in place of s(class) ([region])
 *
 * yolo_loss        x, boxes (N,M,4), box_labels (N,M) i64, counts (N) i64 -> box (), objectness (), class (),
 *     match (N,P) i32; cvr_yolo_loss_attrs. match: the object of a row, the last one of several, CVR_MATCH_BACKGROUND,
 *     or CVR_MATCH_BETWEEN where its box has IoU > ignore_thresh with any object. An object belongs to the cell of its
 *     centre and there to the one of all `anchors` of the network whose shape has the largest IoU with it, if that is
 *     of `mask`, this layer's; with iou_thresh < 1 also to every anchor of `mask` whose shape has a larger IoU than
 *     that. One with a side below a thousandth of the picture's, or its centre outside, belongs to none.
 *     Sums over rows / N, in double:
 *     objectness  BCE with logits, target 1 of rows with an object, 0 of background; times objectness_weight
 *     class       rows with an object: BCE with logits of each class, target 1 of those of all its objects; times
 *                 class_weight. label_smooth e: targets y * (1 - e) + e / 2
 *     box         rows with an object, times box_weight. CVR_YOLO_BOX_GIOU, _DIOU, _CIOU: 1 - overlap of the boxes, in
 *                 units of the picture (ops/detect_loss.h). CVR_YOLO_BOX_SQUARES, of an object of w x h whose centre
 *                 is at (x, y) in its cell, with c(x) = (x + (z - 1) / 2) / z:
 *         (2 - w * h) * (z * (BCE(t_x, c(x)) + BCE(t_y, c(y)))
 *                        + ((t_w - ln(w * W / pw))^2 + (t_h - ln(h * H / ph))^2) / 2)
 *     With new_coords (t - target)^2 / 2 stands for every BCE, and sqrt(w * W / (4 pw)) for ln(w * W / pw).
 *
 * yolo_loss_backward  x, boxes, box_labels, counts, match, dbox (), dobjectness (), dclass () -> dx;
 *     cvr_yolo_loss_attrs. The derivative, but for the losses of overlap, whose gradient is Darknet's: d loss / d (x,
 *     y, w, h of the box) is taken for that of t_x, t_y, t_w, t_h, without new_coords the sides' times exp(t_w) and
 *     exp(t_h). Of all kinds no number of the box's gradient is larger than max_delta, before it is divided by N; NaN
 *     is 0 there.
 */
#ifndef CVR_PLUGIN_OPS_YOLO_H
#define CVR_PLUGIN_OPS_YOLO_H

#include <cvr/plugin/abi.h>

#ifdef __cplusplus
extern "C" {
#endif

#define CVR_YOLO_MOST_ANCHORS 32u

#define CVR_YOLO_BOX_SQUARES 0
#define CVR_YOLO_BOX_GIOU 1
#define CVR_YOLO_BOX_DIOU 2
#define CVR_YOLO_BOX_CIOU 3

typedef struct cvr_yolo_attrs {
    int64_t size[2]; /* height and width of the picture, H and W */
    int64_t n_anchors;
    double anchors[2 * CVR_YOLO_MOST_ANCHORS]; /* this layer's: pw, ph, pw, ph, ... */
    double scale_x_y;
    int64_t new_coords, softmax; /* 0 or 1 */
} cvr_yolo_attrs;

typedef struct cvr_yolo_loss_attrs {
    int64_t size[2];
    int64_t n_anchors;
    double anchors[2 * CVR_YOLO_MOST_ANCHORS]; /* all of the network */
    int64_t n_mask;
    int64_t mask[CVR_YOLO_MOST_ANCHORS]; /* which of them are this layer's */
    double scale_x_y;
    int64_t new_coords;
    double ignore_thresh, iou_thresh;
    int64_t box; /* CVR_YOLO_BOX_* */
    double box_weight, objectness_weight, class_weight;
    double max_delta, label_smooth;
} cvr_yolo_loss_attrs;

#ifdef __cplusplus
}
#endif

CVR_STATIC_ASSERT(sizeof(cvr_yolo_attrs) == 560, "cvr_yolo_attrs has padding");
CVR_STATIC_ASSERT(sizeof(cvr_yolo_loss_attrs) == 880, "cvr_yolo_loss_attrs has padding");

#endif
