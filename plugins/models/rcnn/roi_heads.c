/* The heads that look at regions: their samples, losses and detections (Ren et al. 2015, section 3.2); see rcnn.h. */
#include "rcnn.h"
#include <math.h>

#define SIDE 7             /* of what the box head sees of a region */
#define BOX_CONVS 4        /* of the second version's head */
#define SMALLEST_SIDE 1e-2 /* of a detection, pixels */
#define BOX_WEIGHTS                                                                                                    \
    { 10, 10, 5, 5 }

/* What the head says of each region. */
typedef struct box_outputs {
    cvr_value scores, deltas; /* (N*R, K + 1), (N*R, 4 * (K + 1)) */
} box_outputs;

/* ---- pooling ---- */

/* The power of 2 nearest to the map's share of the picture. torchvision takes the largest picture of its first batch
 * in place of the canvas; it is the same unless a picture fills less than 0.7 of its canvas. */
static double scale_of(const rcnn *r, cvr_value map) {
    return exp2(round(log2((double)net_shape(r->n, map)[2] / (double)net_shape(r->n, r->e.image)[2])));
}

cvr_value rcnn_pool(const rcnn *r, const rcnn_rois *rois, int64_t side) {
    cvr_roi_align_attrs attrs = {.output_size = {side, side}, .sampling_ratio = 2};
    cvr_value in[2 + FPN_MOST_MAPS] = {rois->boxes, rois->count};
    if (r->n->status != CVR_OK) return CVR_NONE;
    for (size_t i = 0; i < r->n_roi_maps; i++) {
        attrs.scales[i] = scale_of(r, r->maps[i]);
        in[2 + i] = r->maps[i];
        /* A region reads the map of its size, and so never one that has no smaller scale than the map before: with a
         * MobileNet's two maps of stride 32 that is the first. */
        if (i > 0 && attrs.scales[i] >= attrs.scales[i - 1]) break;
        if (i > 0 && attrs.scales[i] * 2 != attrs.scales[i - 1])
            r->n->status = cvr_fail(r->n->err, CVR_ERR_INVALID,
                                    "model.returned_layers: regions are read from maps of which each is half as large "
                                    "as the one before");
        attrs.n_scales = (int64_t)i + 1;
    }
    return net_emit1(r->n, NET_OP("roi_align", &attrs), in, 2 + (uint32_t)attrs.n_scales);
}

/* ---- the box head ---- */

/* x: (N*R, C, 7, 7) -> (N*R, C, 7, 7) */
static cvr_value convolutions(net *n, cvr_value x) {
    const net_norm_act relu = {"", "relu"};
    n->conv = (net_start){NET_START_KAIMING, 0, 0};
    for (int i = 0; i < BOX_CONVS && n->status == CVR_OK; i++) {
        const net_conv2d three = {net_shape(n, x)[1], 3, 1, 1, 1, 0};
        x = net_conv_norm(n, x, net_print("roi_heads.box_head.%d", i).s, &three, &relu);
    }
    return x;
}

static box_outputs look_at(const rcnn *r, const rcnn_rois *rois) {
    net *n = r->n;
    cvr_value x = rcnn_pool(r, rois, SIDE);
    if (r->v2) x = convolutions(n, x);
    n->linear = (net_start){NET_START_TORCH, 0, 0};
    x = net_layer(n, x, "roi_heads.box_head.flatten", "flatten", "");
    x = net_linear(n, x, r->v2 ? "roi_heads.box_head.5" : "roi_heads.box_head.fc6", r->a->representation_size);
    x = net_layer(n, x, r->v2 ? "roi_heads.box_head.6" : "roi_heads.box_head.relu6", "relu", "");
    if (!r->v2) {
        x = net_linear(n, x, "roi_heads.box_head.fc7", r->a->representation_size);
        x = net_layer(n, x, "roi_heads.box_head.relu7", "relu", "");
    }
    const box_outputs out = {net_linear(n, x, "roi_heads.box_predictor.cls_score", r->classes),
                             net_linear(n, x, "roi_heads.box_predictor.bbox_pred", 4 * r->classes)};
    rcnn_expect(r, out.scores, 1, r->classes, "roi_heads.box_predictor.cls_score (linear)");
    rcnn_expect(r, out.deltas, 1, 4 * r->classes, "roi_heads.box_predictor.bbox_pred (linear)");
    return out;
}

/* x: (N*R, k) -> (N, R, k) */
static cvr_value by_picture(const rcnn *r, cvr_value x, const rcnn_rois *rois) {
    if (r->n->status != CVR_OK) return CVR_NONE;
    const int64_t *const s = net_shape(r->n, rois->boxes);
    return detect_view(r->n, x, 3, (const int64_t[]){s[0], s[1], net_shape(r->n, x)[1]});
}

/* ---- samples and losses ---- */

/* The objects themselves are proposals, too. Samples that only fill a picture up repeat others, and count for nothing;
 * what a batch norm makes of them is what it would make of a picture with these twice. */
static rcnn_rois select_samples(const rcnn *r, const rcnn_rois *proposals) {
    const rcnn_matching matching = {r->a->box_fg_iou_thresh, r->a->box_bg_iou_thresh, 0};
    const cvr_value in[4] = {proposals->boxes, proposals->count, r->e.boxes, r->e.counts};
    cvr_value all[2], count;
    net_emit(r->n, NET_PLAIN_OP("append_rows"), in, 4, all, 2);
    const cvr_value match = rcnn_match(r, all[0], all[1], &matching);
    const cvr_value index =
        rcnn_sample(r, "roi_heads", match, r->a->box_batch_size_per_image, r->a->box_positive_fraction, &count);
    const cvr_value boxes = detect_gather(r->n, all[0], index, 0);
    return (rcnn_rois){boxes, count, rcnn_match(r, boxes, count, &matching)};
}

static void add_losses(const rcnn *r, const rcnn_rois *samples) {
    net *n = r->n;
    const cvr_anchor_box_loss_attrs smooth = {CVR_BOX_SMOOTH_L1, CVR_CODER_CENTER, BOX_WEIGHTS, 1.0 / 9,
                                              CVR_NORM_COUNTED};
    const rcnn_rois whole = {samples->boxes, CVR_NONE, CVR_NONE};
    const box_outputs o = look_at(r, r->v2 ? &whole : samples);
    const cvr_value target = detect_targets(n, &r->e, samples->match, 0);
    if (n->status != CVR_OK) return;
    const int64_t rows = net_shape(n, o.scores)[0];
    const cvr_value flat = detect_view(r->n, target, 1, &rows);
    detect_put(r->n, &r->e, "classifier", CVR_ROLE_LOSS,
               net_layer2(n, detect_f32(n, o.scores), flat, "classifier", "cross_entropy",
                          net_print("ignore_index=%d", CVR_MATCH_BETWEEN).s));
    const cvr_value box[5] = {by_picture(r, o.deltas, samples), samples->boxes, r->e.boxes, samples->match, target};
    detect_put_loss(n, &r->e, "box_reg", NET_OP("anchor_box_loss", &smooth), box, 5, 2);
}

/* ---- detections ---- */

/* x: (N, R, (K + 1) * k) -> (N, R, K * k): without the background */
static cvr_value objects_of(const rcnn *r, cvr_value x, int64_t k, const char *name) {
    return net_layer(r->n, x, name, "slice", net_print("2 start=%lld", (long long)k).s);
}

/*
 * Every class of every proposal is a candidate: row p * K + k. A row past the proposals' count has a box without sides,
 * which the smallest side leaves out.
 */
static void add_detections(const rcnn *r, const rcnn_rois *proposals, int has_masks) {
    net *n = r->n;
    const cvr_box_coder_attrs coder = {CVR_CODER_CENTER, BOX_WEIGHTS};
    const box_outputs o = look_at(r, proposals);
    const detect_joined heads = {by_picture(r, o.scores, proposals), by_picture(r, o.deltas, proposals), CVR_NONE,
                                 proposals->boxes};
    cvr_value scores = by_picture(r, net_layer(n, detect_f32(n, o.scores), "softmax", "softmax", "1"), proposals);
    scores = objects_of(r, scores, 1, "object_scores");
    const cvr_value deltas[2] = {objects_of(r, heads.deltas, 4, "object_deltas"), proposals->boxes};
    const cvr_value decoded[2] = {net_emit1(n, NET_OP("decode_boxes", &coder), deltas, 2), r->e.image_size};
    cvr_value boxes = net_emit1(n, NET_PLAIN_OP("clip_boxes"), decoded, 2);
    detect_put_heads(n, &r->e, &heads);
    if (n->status != CVR_OK) return;
    const int64_t pictures = net_shape(n, scores)[0], classes = r->classes - 1,
                  rows = net_shape(n, scores)[1] * classes;
    const detect_attrs limits = {.score_thresh = r->a->box_score_thresh,
                                 .nms_thresh = r->a->box_nms_thresh,
                                 .detections_per_img = r->a->box_detections_per_img};
    const detect_candidates all = {.boxes = detect_view(n, boxes, 3, (const int64_t[]){pictures, rows, 4}),
                                   .scores = detect_view(n, scores, 2, (const int64_t[]){pictures, rows}),
                                   .n_groups = classes,
                                   .min_size = SMALLEST_SIDE};
    const detect_found found = detect_put_results(n, &r->e, &all, &limits);
    const rcnn_rois rois = {found.boxes, found.count, CVR_NONE};
    if (has_masks) rcnn_mask_result(r, &rois, found.labels);
}

void rcnn_detect(const rcnn *r, const rcnn_rois *proposals, int has_masks) {
    if (r->e.boxes && r->n->status == CVR_OK) {
        const rcnn_rois samples = select_samples(r, proposals);
        add_losses(r, &samples);
        if (has_masks) rcnn_mask_loss(r, &samples);
    }
    if (!r->n->b->training || !r->e.boxes) add_detections(r, proposals, has_masks);
}
