/* The parameters of the kernels that compute losses of detection and segmentation, and of those that read Darknet's
 * maps of boxes and regions of interest. */
#ifndef LOSS_PARAMS_H
#define LOSS_PARAMS_H

#include "device_params.h"

/* ---- row_counts.k: what the sums of a loss are divided by ---- */

#define COUNT_ROWS 0u /* one group a picture */
#define COUNT_NORM 1u

/* How counts become a divisor: CVR_NORM_* of ops/detect_loss.h, and two that are one number for all pictures. */
#define NORM_COUNTED 0u
#define NORM_POSITIVES 1u
#define NORM_PICTURE 2u
#define NORM_TOTAL 3u /* the count times `factor` */
#define NORM_LEAST 4u /* the count, at least 1 */

PARAMS(row_counts_params) {
    u64 x;            /* (pictures,rows) i32, or with `wide` i64 */
    u64 counts, norm; /* (pictures) f32 */
    u32 pictures, rows, wide, least, kind;
    f32 factor;
};

    /* ---- row_loss.k: losses of rows, a few threads a row ---- */

#define ROW_FOCAL 0u
#define ROW_QUALITY 1u
#define ROW_CENTERNESS 2u
#define ROW_MASK 3u

PARAMS(row_loss_params) {
    u64 x, target, quality, anchors, boxes, label, norm, seed, y; /* y: the loss of each row, or the gradient */
    u32 rows, in_picture;                                         /* all rows, and those of a picture */
    u32 terms, columns;                                           /* numbers of a row; classes */
    u32 objects, shared_rows;
    u32 norms; /* 1: one for all pictures */
    f32 alpha, gamma;
    u32 unused;
};

/* ---- box_loss.k ---- */

/* CVR_BOX_* of ops/detect_loss.h */
#define BOX_SMOOTH_L1 0u
#define BOX_GIOU 1u
#define BOX_DIOU 2u
#define BOX_CIOU 3u
#define BOX_SQUARED_IOU 4u

PARAMS(box_loss_params) {
    u64 deltas, anchors, boxes, match, label, norm, seed, y; /* label 0: one box a row */
    u32 rows, in_picture, each, objects, shared_rows;        /* each: boxes of a row */
    f32 weights[4], beta;
};

    /* ---- hard_rows.k: cross entropy of rows with an object and of the hardest of the others ---- */

#define HARD_ROWS 0u
#define HARD_KEEP 1u /* one group a picture */
#define HARD_LOSS 2u
#define HARD_BACKWARD 3u

PARAMS(hard_rows_params) {
    u64 x, target, lse, keep, norm, seed, y; /* y: losses of rows, or the gradient */
    u64 keys, order;
    u32 rows, in_picture, pictures, columns;
    f32 negatives;
    u32 unused;
};

/* ---- scores of classes at positions, along any axis ---- */

STRUCT(class_rows) {
    u32 rows, terms;
    device_walk outer; /* `to`: the position's number, `from`: where its scores begin */
    device_walk inner; /* `from`: of each class */
    u32 ignored[2];
};

    /* ---- overlap.k ---- */

#define OVERLAP_LSE 0u
#define OVERLAP_SUMS 1u /* one group a chunk of positions */
#define OVERLAP_END 2u
#define OVERLAP_BACKWARD 3u
#define OVERLAP_CHUNK 4096u

PARAMS(overlap_params) {
    u64 x, target, weight, lse, partials, sums, loss, slopes, seed, y; /* partials: (chunks,3,classes) */
    class_rows s;
    u32 chunks, log_loss;
    f32 alpha, beta, gamma, smoothing;
};

    /* ---- lovasz.k ---- */

#define LOVASZ_KEYS 0u
#define LOVASZ_COUNT 1u /* one group a chunk of sorted positions */
#define LOVASZ_GROW 2u
#define LOVASZ_END 3u
#define LOVASZ_SOFTMAX 4u
#define LOVASZ_CHUNK 2048u

PARAMS(lovasz_params) {
    u64 x, target, weight, lse, slope, loss;
    u64 keys, order; /* (classes at once, positions) */
    u64 counts;      /* (classes,chunks): positions of the class */
    u64 partials;    /* (classes,chunks): parts of the classes' losses */
    u64 scale;       /* one f32 */
    class_rows s;
    u32 first, classes; /* of this turn */
    u32 chunks, unused;
};

    /* ---- hard_targets.k ---- */

#define HARDER_KEYS 0u
#define HARDER_BOUND 1u
#define HARDER_TAKE 2u

PARAMS(hard_targets_params) {
    u64 x, target, lse, y, chances, keys, bound; /* chances: of each position's class */
    class_rows s;
    u32 least; /* positions that count at least */
    f32 thresh;
};

/* ---- yolo.k, yolo_loss.k: rows of a map ---- */

PARAMS(yolo_params) {
    u64 x, boxes, scores;
    u32 rows, in_picture, each, columns; /* each: anchors of a cell */
    u32 cells[2];                        /* down, to the right */
    f32 size[2], scale;
    f32 anchors[64];
    u32 unused;
};

#define YOLO_SEATS 0u /* one thread an object */
#define YOLO_MATCH 1u /* one thread a row */
#define YOLO_LOSS 2u
#define YOLO_BACKWARD 3u /* one thread a number */
#define YOLO_SQUARES 0u  /* the loss of boxes: CVR_YOLO_BOX_* of ops/yolo.h; the others are BOX_GIOU and so on */

PARAMS(yolo_loss_params) {
    u64 x, boxes, labels, counts, match, seats, y; /* seats: (pictures,objects,2); y: (rows,3), or the gradient */
    u64 seed[3];                                   /* 0: none */
    u32 rows, in_picture, each, columns;
    u32 cells[2];
    u32 squares, box;
    f32 size[2], scale;
    u32 pictures, objects, network; /* network: all of its anchors */
    f32 ignore_thresh, iou_thresh;
    f32 weights[3]; /* of box, objectness, classes */
    f32 max_delta, smoothing;
    u32 mask[32];
    f32 anchors[64];
    u32 unused;
};

    /* ---- roi.k ---- */

#define ROI_AXES 0u
#define ROI_ALIGN 1u
#define ROI_BACKWARD 2u
#define ROI_MASKS 3u
#define ROI_MAPS 6
#define ROI_AXIS 4u     /* numbers of an axis: start, length of a bin, samples of a bin, their distance */
#define ROI_STATE 9u    /* of a roi: both axes, and its level */
#define ROI_CHANNELS 8u /* that a thread has in the gradient */

PARAMS(roi_params) {
    u64 rois, counts, match, state, y, x; /* x: the gradient, or the masks */
    u64 maps[ROI_MAPS];
    u32 height[ROI_MAPS], width[ROI_MAPS];
    u32 pictures, in_picture, bins[2], channels, levels, level;
    u32 aligned, sampling; /* sampling 0: one sample a pixel */
    f32 scale[ROI_MAPS], least, most;
    u32 unused;
};

#endif
