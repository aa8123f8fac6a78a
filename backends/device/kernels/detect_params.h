/* The parameters of the kernels of object detection, as device_params.h has those of the others. */
#ifndef DETECT_PARAMS_H
#define DETECT_PARAMS_H

#include "cvr/device/params.h"

/* ---- anchors.k: boxes (rows,4) on the cells of a map ---- */

#define ANCHORS_GRID 0u
#define ANCHORS_DEFAULT 1u

PARAMS(anchors_params) {
    u64 y;
    u32 rows, each, width; /* `each`: boxes of a cell; `width`: cells of a line */
    u32 sizes;             /* grid: so many of `size`, for each ratio */
    u32 step[2];           /* grid: pixels of a cell, down and to the right */
    f32 cells[2];          /* default: cells of the picture's height and width */
    f32 picture[2];        /* default: height and width */
    f32 high[16], wide[16], size[16];
    f32 side[68]; /* default: width and height of each box, as shares of the picture */
};

    /* ---- boxes.k: one thread a box ---- */

#define BOXES_ENCODE 0u
#define BOXES_DECODE 1u
#define BOXES_DECODE_BACKWARD 2u
#define BOXES_CLIP 3u
#define BOXES_IOU 4u

/* What deltas say: CVR_CODER_* of ops/detect.h. */
#define CODER_CENTER 0u
#define CODER_LTRB 1u
#define CODER_CENTER_OPEN 2u

PARAMS(boxes_params) {
    u64 x, anchors, b, y; /* b: the gradient, the pictures' sizes, or the boxes of the other side */
    u64 counts;           /* iou: i64, boxes of b that are there; 0: all */
    u32 n;                /* boxes, or pairs of them */
    u32 rows;             /* of a picture */
    u32 each;             /* boxes of a row; iou: of b */
    u32 shared_rows;      /* the anchors (iou: x) are the same for all pictures */
    f32 weights[4];
};

    /* ---- match_boxes.k: match (pictures,rows) i32 ---- */

#define MATCH_BEST_ROWS 0u /* one group an object: its best row */
#define MATCH_BOXES 1u     /* one thread a row */
#define MATCH_POINTS 2u

PARAMS(match_boxes_params) {
    u64 anchors, boxes, counts, valid, match; /* valid 0: all rows */
    u64 best;                                 /* (pictures,objects,2): the best row's IoU, and its number */
    u32 pictures, rows, objects, shared_rows;
    u32 low_quality, each_best;
    f32 high, low;
    f32 radius;
    u32 levels, level_end[8];
};

    /* ---- index_rows.k: rows by their numbers, and what tells of rows ---- */

#define INDEX_GATHER 0u
#define INDEX_GATHER_BACKWARD 1u
#define INDEX_APPEND 2u
#define INDEX_CUT 3u     /* cut_match */
#define INDEX_CLASSES 4u /* class_targets */
#define INDEX_SPLIT 5u   /* split_index */
#define INDEX_LABELS 6u  /* pick_labels */

PARAMS(index_rows_params) {
    u64 x, index, y, other;          /* append: the second list; split: the columns */
    u64 counts, more, total;         /* append: (pictures) i32, i64, and i32 that is made; cut: counts */
    u64 offset, background, ignored; /* class_targets: numbers of 64 bits */
    u32 n;                           /* elements of y */
    u32 columns;                     /* elements of a row */
    u32 rows, made;                  /* of x and of y, of a picture */
    u32 shared_rows, unused;
};

    /* ---- sort.k: segments of n keys each, with the numbers that go along ---- */

#define SORT_COUNT 0u
#define SORT_SCAN 1u
#define SORT_PLACE 2u
#define SORT_TILES 8u         /* of GROUP keys, one chunk */
#define SORT_LAST 0xffffffffu /* the largest key */

PARAMS(sort_params) {
    u64 keys, values, keys_to, values_to; /* values 0: 0, 1, 2 and so on in each segment */
    u64 counts;                           /* (segments,256,chunks) */
    u32 n, chunks, segments, shift;       /* the 8 bits from `shift` on decide */
};

    /* ---- top_k.k, sample_rows.k, nms.k: they make keys, and take from what is sorted ---- */

#define TOP_K_KEYS 0u
#define TOP_K_TAKE 1u

PARAMS(top_k_params) {
    u64 x, keys, order; /* (pictures,n) */
    u64 values, index, counts;
    u32 pictures, n, taken, above;
    f32 threshold;
    u32 unused;
};

#define SAMPLE_KEYS 0u
#define SAMPLE_MARK 1u /* one group a picture: which rows are in the sample */
#define SAMPLE_LIST 2u /* one group a picture: their numbers in rising order */
#define SAMPLE_FILL 3u

PARAMS(sample_rows_params) {
    u64 match, seed, step, keys, order, marks, index, counts;
    u32 key[2]; /* the layer's */
    u32 pictures, n, taken, positives, first, unused;
};

#define NMS_KEYS 0u
#define NMS_METHOD 1u /* one group a picture: how many candidates there are, and how groups are kept apart */
#define NMS_TILE 2u   /* one group a picture: GROUP candidates against those that are kept, and each other */
#define NMS_END 3u

/* How groups are kept apart: CVR_NMS_* of ops/detect.h, or not at all. */
#define NMS_AUTO 0u
#define NMS_OFFSET 1u
#define NMS_LOOP 2u
#define NMS_ONE 3u
#define NMS_MOST_OFFSET 1000u

#define NMS_STATE 4u /* numbers of a picture: candidates, offset (f32), whether boxes are moved, kept boxes */

PARAMS(nms_params) {
    u64 boxes, scores, group, valid; /* group, valid: 0 where absent */
    u64 keys, order, state;          /* state: (pictures,NMS_STATE) */
    u64 index, counts;
    u32 pictures, n, most, tile;
    u32 groups, background, method, inclusive;
    f32 iou, score, side;
    u32 unused;
};

    /* ---- sim_ota.k ---- */

#define SIM_OTA_ROWS 0u   /* one thread a row: may it learn anything, and what would it be */
#define SIM_OTA_TAKE 1u   /* one group an object: the rows that it takes */
#define SIM_OTA_SETTLE 2u /* one thread a row: whose it is */
#define SIM_OTA_STATE 6u  /* numbers of a row: box, what all classes cost that it is not, whether it is a candidate */

PARAMS(sim_ota_params) {
    u64 scores, objectness, deltas, anchors, boxes, labels, counts;
    u64 state;        /* (pictures,rows,SIM_OTA_STATE) f32 */
    u64 taken;        /* (pictures,objects,candidates): rows, -1 past them */
    u64 match, share; /* share: IoU, f32 */
    u32 pictures, rows, classes, objects, shared_rows, candidates;
    f32 radius, iou_weight;
    f32 weights[4];
};

    /* ---- scores.k ---- */

#define SCORES_JOINT 0u
#define SCORES_BEST 1u

PARAMS(scores_params) {
    u64 x, other, y, column;
    u32 n, columns; /* joint: numbers; best: rows */
};

#endif
