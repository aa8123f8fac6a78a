/*
 * What detectors share: reading pictures and boxes, heads on several maps, losses, and detections from what the heads
 * say (ops/detect.h, detect_loss.h, detections.h). Names and numbers are torchvision's, but for two things: classes
 * count from 0 outside of the network, and within it background is column 0.
 */
#ifndef CVR_MODELS_DETECT_HEAD_H
#define CVR_MODELS_DETECT_HEAD_H

#include "model_net.h"
#include <cvr/plugin/ops/detect.h>
#include <cvr/plugin/ops/detect_loss.h>

#define DETECT_MOST_LEVELS 8u

/* What a detector reads. CVR_NONE for the last three where there are no targets. */
typedef struct detect_ends {
    const cvr_io *io;
    cvr_value image;                 /* (N, C, H, W) */
    cvr_value image_size;            /* (N, 2) */
    cvr_value boxes, labels, counts; /* (N, M, 4), (N, M) i64, (N) */
} detect_ends;
/* Without image_size pictures are as large as their canvas. */
detect_ends detect_read(net *n, const cvr_io *io);

/* Rows of x by their numbers, zeros for -1: (N, P) or (N, P, C), index (N, B) i32 -> (N, B) or (N, B, C); shared: of
 * the same rows for all pictures, x (P, C). */
cvr_value detect_gather(net *n, cvr_value x, cvr_value index, int shared);
void detect_put(net *n, const detect_ends *e, const char *name, uint32_t role, cvr_value v);

/* x in f32 where activations are bf16: scores that are ranked, as of two hundred steps between 0 and 1 many would be
 * alike. */
cvr_value detect_f32(net *n, cvr_value x);
/* `parts`, one behind the other along `dim`. */
cvr_value detect_concat(net *n, const cvr_value *parts, uint32_t count, int64_t dim);
/* x with another shape of as many elements, in place; neither has rank 4. */
cvr_value detect_view(net *n, cvr_value x, uint32_t rank, const int64_t *shape);

/* As cvr_model_desc.proposes: the task. */
int32_t detect_proposes(const void *attrs, cvr_propose_fn each, void *ctx, cvr_error *err);

/* ---- heads ---- */

/* What the heads say of each map, and where its anchors are. A_i: anchors of map i. */
typedef struct detect_heads {
    uint32_t n_levels;
    cvr_value logits[DETECT_MOST_LEVELS];     /* (N, A_i, K + 1) */
    cvr_value deltas[DETECT_MOST_LEVELS];     /* (N, A_i, 4) */
    cvr_value centerness[DETECT_MOST_LEVELS]; /* (N, A_i, 1); CVR_NONE: this network has none */
    cvr_value anchors[DETECT_MOST_LEVELS];    /* (A_i, 4) */
} detect_heads;
/* All maps, one after the other: (N, A, K + 1), (N, A, 4), (N, A, 1), (A, 4) */
typedef struct detect_joined {
    cvr_value logits, deltas, centerness, anchors;
} detect_joined;

/* A convolution whose weights start from N(0, std), its biases at `bias`; where these are NaN, as the layer has it. */
cvr_value detect_conv(net *n, cvr_value x, const char *name, const net_conv2d *c, double std, double bias);
/* What the layer `name` gave, x (N, each * columns, H, W) -> (N, H * W * each, columns) in torchvision's order, without
 * a copy. each: anchors of a pixel */
cvr_value detect_rows(net *n, cvr_value x, const char *name, int64_t each, int64_t columns);
/* (h * w * S * R, 4): anchors on each pixel of a map, by model.anchor_sizes. One that rounding leaves without a side is
 * an error: nothing can be said by what share of it a box differs. */
cvr_value detect_grid_anchors(net *n, const cvr_grid_anchors_attrs *a, cvr_value image, cvr_value map);
detect_joined detect_join(net *n, const detect_heads *h);
/* For an export without decoding: "logits", "deltas", "anchors" and, where there is one, "centerness", as they are. */
void detect_put_heads(net *n, const detect_ends *e, const detect_joined *j);
/* In training, which looks at losses alone but needs some result: the logits as "scores". */
void detect_put_training(net *n, const detect_ends *e, cvr_value logits);

/* ---- losses ---- */

/* (N, A) i32: the object of each anchor by IoU */
cvr_value detect_match(net *n, const detect_ends *e, cvr_value anchors, const cvr_match_attrs *a);
/* (N, A) i64: class + 1 of the object of each row, `background` where there is none, -2 where it counts for nothing */
cvr_value detect_targets(net *n, const detect_ends *e, cvr_value match, int64_t background);
/* (N, M) i64: a class for every object, the only one there is, 0. For targets that only tell objects from background.
 */
cvr_value detect_one_class(net *n, const detect_ends *e);
/* Adds a node of `n_out` outputs and puts the first one as the loss `name`. */
void detect_put_loss(net *n, const detect_ends *e, const char *name, const net_op *op, const cvr_value *in,
                     uint32_t n_in, uint32_t n_out);

/* ---- detections ---- */

/* The first keys of such networks. */
typedef struct detect_attrs {
    double score_thresh, nms_thresh;
    int64_t detections_per_img, topk_candidates;
} detect_attrs;

/*
 * The best boxes of each picture as "boxes" (N,D,4), "scores" (N,D), "labels" (N,D) i64, the best first, -1 where there
 * are no more.
 *
 * by_level (RetinaNet, FCOS): of each map the topk_candidates best pairs of anchor and class, each class by itself a
 * sigmoid, with centerness the root of the product of both; then suppression within each class.
 * by_class (SSD): of each class, by softmax, the topk_candidates best anchors; then the same.
 */
void detect_put_by_level(net *n, const detect_ends *e, const detect_heads *h, const cvr_box_coder_attrs *coder,
                         const detect_attrs *a);
void detect_put_by_class(net *n, const detect_ends *e, const detect_joined *j, const cvr_box_coder_attrs *coder,
                         const detect_attrs *a);

/* Candidates: boxes (N, P, 4), scores (N, P), group (N, P) i32, the class; or none, and row i is of class i % n_groups
 */
typedef struct detect_candidates {
    cvr_value boxes, scores, group;
    int64_t n_groups;
    double min_size;   /* least side of a box, pixels; 0: any */
    int64_t method;    /* CVR_NMS_* */
    int64_t inclusive; /* 1: a score of score_thresh is enough */
    int64_t reach_out; /* 1: boxes may reach out of the picture, and are cut to it after suppression */
} detect_candidates;
/* The `most` best pairs of row and class: scores (N, P, K), boxes (N, P, 4). */
detect_candidates detect_best_pairs(net *n, cvr_value scores, cvr_value boxes, int64_t most);
/* What was found: boxes (N, D, 4), how many of them are valid, (N), and their classes, (N, D) i32, CVR_NONE where
 * candidates have a group. */
typedef struct detect_found {
    cvr_value boxes, count, labels;
} detect_found;
/* Suppression within each class, and the results. */
detect_found detect_put_results(net *n, const detect_ends *e, const detect_candidates *c, const detect_attrs *a);

/* ---- schemas ---- */

#define DETECT_SCORE(default_)                                                                                         \
    CVR_ATTR_INIT(FLOAT, "score_thresh", default_, "detections have a higher score", CVR_ATTR_BETWEEN(0, 1))
#define DETECT_NMS(default_)                                                                                           \
    CVR_ATTR_INIT(FLOAT, "nms_thresh", default_,                                                                       \
                  "of two detections of a class with a larger IoU the one of lower score is dropped",                  \
                  CVR_ATTR_BETWEEN(0, 1))
#define DETECT_PER_IMG(default_)                                                                                       \
    CVR_ATTR_INIT(INT, "detections_per_img", default_, "most detections of a picture", CVR_ATTR_BETWEEN(1, 100000))
#define DETECT_TOPK(default_, of_)                                                                                     \
    CVR_ATTR_INIT(INT, "topk_candidates", default_, "best " of_ " that suppression looks at",                          \
                  CVR_ATTR_BETWEEN(1, 1000000))
/* Plugins that such a network is made of, for CVR_DEFINE_PLUGIN. */
#define DETECT_OPS                                                                                                     \
    "op:to_tokens op:view op:concat op:slice op:sigmoid op:softmax op:permute op:top_k op:gather_rows op:nms "         \
    "op:decode_boxes op:clip_boxes op:class_targets op:anchor_box_loss op:split_index op:pick_labels layer:concat "

#endif
