/*
 * The parts of Faster R-CNN (Ren, He, Girshick, Sun: "Faster R-CNN: Towards Real-Time Object Detection with Region
 * Proposal Networks", 2015) and Mask R-CNN (He, Gkioxari, Dollar, Girshick: "Mask R-CNN", 2017) on a feature pyramid,
 * as torchvision has them. Shapes: N pictures, R rows a picture (proposals or samples), M objects a picture at most, K
 * classes, to which the networks add class 0, the background.
 *
 * Shapes are known when the graph is built, so where torchvision has as many rows as it happens to find, there is room
 * here for as many as there may be, and a count. Rows past it carry no loss and give no result.
 */
#ifndef CVR_MODELS_RCNN_H
#define CVR_MODELS_RCNN_H

#include "../detect_head.h"
#include "../fpn.h"

/* The keys, as rcnn.c lists them. */
typedef struct rcnn_attrs {
    fpn_attrs fpn;
    int64_t n_anchor_sizes;
    double anchor_sizes[CVR_ANCHOR_MOST];
    int64_t n_anchor_ratios;
    double anchor_ratios[CVR_ANCHOR_MOST];
    int64_t anchors_each; /* 0: a size for each level, 1: all sizes on each */
    int64_t rpn_pre_nms_top_n_train, rpn_pre_nms_top_n_test;
    int64_t rpn_post_nms_top_n_train, rpn_post_nms_top_n_test;
    double rpn_nms_thresh, rpn_fg_iou_thresh, rpn_bg_iou_thresh;
    int64_t rpn_batch_size_per_image;
    double rpn_positive_fraction, rpn_score_thresh;
    double box_score_thresh, box_nms_thresh;
    int64_t box_detections_per_img;
    double box_fg_iou_thresh, box_bg_iou_thresh;
    int64_t box_batch_size_per_image;
    double box_positive_fraction;
    int64_t representation_size;
    int64_t draw; /* CVR_DRAW_* */
} rcnn_attrs;

/* One network while it is being built. */
typedef struct rcnn {
    net *n;
    const rcnn_attrs *a;
    detect_ends e;
    cvr_value masks; /* (N, M, H, W); CVR_NONE: no targets, or no Mask R-CNN */
    int v2;          /* batch norms in the heads, two convolutions in the RPN, and so on */
    int64_t classes; /* K + 1 */
    size_t n_maps, n_roi_maps;
    cvr_value maps[FPN_MOST_MAPS]; /* finest first; regions are read from the first n_roi_maps */
    cvr_value seed, step;          /* where there are targets */
} rcnn;

/* Boxes that are looked at: (N, R, 4), of which `count` (N) are valid. */
typedef struct rcnn_rois {
    cvr_value boxes, count;
    cvr_value match; /* (N, R) i32: the object of each row; CVR_NONE without targets */
} rcnn_rois;

/* ---- rpn.c ---- */

/* The region proposal network: its losses "objectness" and "rpn_box_reg" where there are targets; and its proposals. */
rcnn_rois rcnn_propose(const rcnn *r);

/* ---- roi_heads.c ---- */

/* The heads on the proposals: losses "classifier", "box_reg" and "mask" where there are targets, and in evaluation the
 * results "boxes", "scores", "labels" and "masks". `has_masks`: it is a Mask R-CNN. */
void rcnn_detect(const rcnn *r, const rcnn_rois *proposals, int has_masks);
/* What the maps have in the regions: (N*R, C, side, side), zeros past `count` unless it is CVR_NONE. */
cvr_value rcnn_pool(const rcnn *r, const rcnn_rois *rois, int64_t side);

/* ---- mask_head.c ---- */

/* The loss "mask" of the rows of `samples` that have an object. */
void rcnn_mask_loss(const rcnn *r, const rcnn_rois *samples);
/* The result "masks", (N, D, side * side): probabilities of the class `column` (N, D) i32 of each detection. */
void rcnn_mask_result(const rcnn *r, const rcnn_rois *detections, cvr_value column);

/* ---- samples.c ---- */

/* What a row is matched with: at least `high` of a union with an object, below `low` background. */
typedef struct rcnn_matching {
    double high, low;
    int64_t low_quality;
} rcnn_matching;

/* boxes: (A, 4) or (N, A, 4); count: CVR_NONE where all are valid. -> (N, A) i32 */
cvr_value rcnn_match(const rcnn *r, cvr_value boxes, cvr_value count, const rcnn_matching *m);
/* `rows` of the rows of a picture that `match` (N, A) knows, of which positive ones at most their share. -> index (N,
 * rows) i32 and *count (N); `name` tells its random numbers from others'. */
cvr_value rcnn_sample(const rcnn *r, const char *name, cvr_value match, int64_t rows, double positive_fraction,
                      cvr_value *count);
/* The same of the first rows. */
cvr_value rcnn_first(const rcnn *r, cvr_value match, int64_t rows, cvr_value *count);
/* Refuses a layer whose width [layers] has changed, where something counts on it. */
void rcnn_expect(const rcnn *r, cvr_value x, int axis, int64_t width, const char *layer);

#endif
