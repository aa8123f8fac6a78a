/* The region proposal network (Ren et al. 2015, section 3.1); see rcnn.h. */
#include "rcnn.h"
#include <cvr/plugin/ops/detections.h>
#include <stdlib.h>

#define SMALLEST_SIDE 1e-3 /* of a proposal, pixels */

static const cvr_box_coder_attrs coder = {CVR_CODER_CENTER, {1, 1, 1, 1}};

/* A map's anchors: of the level's own size, or of all sizes. */
static cvr_grid_anchors_attrs anchors_of(const rcnn *r, size_t i) {
    cvr_grid_anchors_attrs g = {.n_sizes = r->a->n_anchor_sizes, .n_ratios = r->a->n_anchor_ratios};
    memcpy(g.sizes, r->a->anchor_sizes, sizeof g.sizes);
    memcpy(g.ratios, r->a->anchor_ratios, sizeof g.ratios);
    if (!r->a->anchors_each) {
        g.n_sizes = 1;
        g.sizes[0] = r->a->anchor_sizes[i];
    }
    return g;
}

static void check_sizes(const rcnn *r) {
    const int64_t sizes = r->a->n_anchor_sizes, levels = (int64_t)r->n_maps;
    if (r->n->status != CVR_OK || (r->a->anchors_each && sizes > 0) || sizes == levels) return;
    r->n->status = cvr_fail(r->n->err, CVR_ERR_INVALID,
                            "model.anchor_sizes has %lld sizes for %lld maps; give one for each, or set "
                            "model.anchor_levels = all to have all of them on each map",
                            (long long)sizes, (long long)levels);
}

/* The head on map i, of P = h * w * A anchors: logits (N, P, 1), deltas (N, P, 4) and anchors (P, 4). Its weights are
 * the same on each map. */
static void look_at(const rcnn *r, uint32_t i, detect_heads *h) {
    net *n = r->n;
    const cvr_grid_anchors_attrs g = anchors_of(r, i);
    const int64_t each = g.n_sizes * g.n_ratios;
    const net_conv2d objectness = {each, 1, 1, 0, 1, 1}, deltas = {4 * each, 1, 1, 0, 1, 1};
    cvr_value x = r->maps[i];
    for (int k = 0; k < (r->v2 ? 2 : 1) && n->status == CVR_OK; k++) {
        const net_conv2d three = {net_shape(n, x)[1], 3, 1, 1, 1, 1};
        x = net_conv(n, x, net_print("rpn.head.conv.%d.0", k).s, &three);
        x = net_layer(n, x, net_print("rpn.head.conv.%d.1", k).s, "relu", "");
    }
    h->logits[i] = detect_rows(n, net_conv(n, x, "rpn.head.cls_logits", &objectness), "rpn.head.cls_logits", each, 1);
    h->deltas[i] = detect_rows(n, net_conv(n, x, "rpn.head.bbox_pred", &deltas), "rpn.head.bbox_pred", each, 4);
    h->anchors[i] = detect_grid_anchors(n, &g, r->e.image, r->maps[i]);
}

/* ---- losses ---- */

/* Binary cross entropy of the sampled anchors' logits, and smooth L1 of the deltas of those with an object. */
static void add_losses(const rcnn *r, const detect_joined *all) {
    net *n = r->n;
    const rcnn_matching matching = {r->a->rpn_fg_iou_thresh, r->a->rpn_bg_iou_thresh, 1};
    const cvr_class_targets_attrs target_attrs = {0, CVR_MATCH_BACKGROUND, CVR_MATCH_BETWEEN};
    const cvr_anchor_focal_attrs plain = {.alpha = -1, .norm = CVR_NORM_COUNTED};
    const cvr_anchor_box_loss_attrs smooth = {
        CVR_BOX_SMOOTH_L1, CVR_CODER_CENTER, {1, 1, 1, 1}, 1.0 / 9, CVR_NORM_COUNTED};
    cvr_value match = rcnn_match(r, all->anchors, CVR_NONE, &matching), count;
    const cvr_value index =
        rcnn_sample(r, "rpn", match, r->a->rpn_batch_size_per_image, r->a->rpn_positive_fraction, &count);
    const cvr_value sampled[2] = {detect_gather(r->n, match, index, 0), count};
    match = net_emit1(n, NET_PLAIN_OP("cut_match"), sampled, 2);
    const cvr_value label[2] = {match, detect_one_class(n, &r->e)};
    const cvr_value target = net_emit1(n, NET_OP("class_targets", &target_attrs), label, 2);
    const cvr_value focal[2] = {detect_gather(r->n, all->logits, index, 0), target};
    detect_put_loss(n, &r->e, "objectness", NET_OP("anchor_focal_loss", &plain), focal, 2, 2);
    const cvr_value box[4] = {detect_gather(r->n, all->deltas, index, 0), detect_gather(r->n, all->anchors, index, 1),
                              r->e.boxes, match};
    detect_put_loss(n, &r->e, "rpn_box_reg", NET_OP("anchor_box_loss", &smooth), box, 4, 2);
}

/* ---- proposals ---- */

/* The level of each row of a picture: counts[i] rows of level i. -> (N, P) i32 */
static cvr_value level_groups(const rcnn *r, const int64_t *counts) {
    const int64_t pictures = r->n->status == CVR_OK ? net_shape(r->n, r->e.image)[0] : 0;
    net_text name = net_print("rpn.levels.%lld", (long long)pictures);
    int64_t rows = 0;
    for (size_t i = 0; i < r->n_maps; i++) {
        rows += counts[i];
        name = net_print("%s.%lld", name.s, (long long)counts[i]);
    }
    int32_t *values = calloc((size_t)(pictures * rows) + 1, sizeof *values), *v = values;
    if (!values && r->n->status == CVR_OK) r->n->status = cvr_fail(r->n->err, CVR_ERR_NOMEM, "out of memory");
    for (int64_t p = 0; p < pictures && r->n->status == CVR_OK; p++)
        for (size_t i = 0; i < r->n_maps; i++)
            for (int64_t k = 0; k < counts[i]; k++) *v++ = (int32_t)i;
    const cvr_param_decl d = {.struct_size = sizeof d,
                              .name = name.s,
                              .dtype = CVR_I32,
                              .rank = 2,
                              .shape = {pictures, rows, 1, 1, 1, 1},
                              .flags = CVR_PARAM_CONSTANT,
                              .values = values};
    const cvr_value groups = net_values(r->n, &d);
    free(values);
    return groups;
}

/* The boxes of the best anchors of level i, (N, k, 4), and their logits, (N, k) */
static cvr_value best_of(const rcnn *r, const detect_heads *h, uint32_t i, int64_t k, cvr_value *logits) {
    const cvr_top_k_attrs attrs = {.k = k};
    cvr_value out[3];
    if (r->n->status != CVR_OK) return CVR_NONE;
    const int64_t *const s = net_shape(r->n, h->logits[i]);
    const cvr_value flat = detect_view(r->n, h->logits[i], 2, s);
    *logits = net_emit(r->n, NET_OP("top_k", &attrs), &flat, 1, out, 3);
    const cvr_value in[2] = {detect_gather(r->n, h->deltas[i], out[1], 0),
                             detect_gather(r->n, h->anchors[i], out[1], 1)};
    return net_emit1(r->n, NET_OP("decode_boxes", &coder), in, 2);
}

/* A graph has a result, in training too, where nobody reads it: the proposals, as if there were one class. */
static void put_proposals(const rcnn *r, cvr_value boxes, cvr_value scores, cvr_value index, int64_t rows) {
    const cvr_split_index_attrs split = {rows};
    cvr_value at[2];
    net_emit(r->n, NET_OP("split_index", &split), &index, 1, at, 2);
    detect_put(r->n, &r->e, "boxes", CVR_ROLE_RESULT, boxes);
    detect_put(r->n, &r->e, "scores", CVR_ROLE_RESULT, scores);
    detect_put(r->n, &r->e, "labels", CVR_ROLE_RESULT, net_emit1(r->n, NET_PLAIN_OP("pick_labels"), at, 1));
}

/* Nothing that is trained follows from a proposal: no gradient goes through what is chosen here. */
static rcnn_rois select_proposals(const rcnn *r, const detect_heads *h) {
    net *n = r->n;
    const int training = n->b->training != 0;
    const int64_t before = training ? r->a->rpn_pre_nms_top_n_train : r->a->rpn_pre_nms_top_n_test,
                  after = training ? r->a->rpn_post_nms_top_n_train : r->a->rpn_post_nms_top_n_test;
    cvr_value boxes[FPN_MOST_MAPS], logits[FPN_MOST_MAPS], kept[2];
    int64_t counts[FPN_MOST_MAPS], rows = 0;
    for (uint32_t i = 0; i < h->n_levels && n->status == CVR_OK; i++) {
        counts[i] = net_shape(n, h->logits[i])[1];
        if (counts[i] > before) counts[i] = before;
        rows += counts[i];
        boxes[i] = best_of(r, h, i, counts[i], &logits[i]);
    }
    if (n->status != CVR_OK) return (rcnn_rois){.count = CVR_NONE};
    const cvr_value clip[2] = {net_concat(n, boxes, h->n_levels, 1, "rpn.boxes"), r->e.image_size};
    cvr_value scores = net_concat(n, logits, h->n_levels, 1, "rpn.logits");
    scores = net_layer(n, detect_f32(n, scores), "rpn.scores", "sigmoid", "");
    const cvr_value in[3] = {net_emit1(n, NET_PLAIN_OP("clip_boxes"), clip, 2), scores, level_groups(r, counts)};
    const cvr_nms_attrs nms = {.iou_threshold = r->a->rpn_nms_thresh,
                               .score_threshold = r->a->rpn_score_thresh,
                               .inclusive = 1,
                               .min_size = SMALLEST_SIDE,
                               .max_out = after < rows ? after : rows,
                               .method = CVR_NMS_AUTO};
    net_emit(n, NET_OP("nms", &nms), in, 3, kept, 2);
    const rcnn_rois rois = {.boxes = detect_gather(r->n, in[0], kept[0], 0), .count = kept[1]};
    if (training && r->e.boxes) put_proposals(r, rois.boxes, detect_gather(r->n, scores, kept[0], 0), kept[0], rows);
    return rois;
}

rcnn_rois rcnn_propose(const rcnn *r) {
    detect_heads h = {.n_levels = (uint32_t)r->n_maps};
    check_sizes(r);
    r->n->conv = (net_start){NET_START_NORMAL, 0.01, 0};
    for (uint32_t i = 0; i < h.n_levels; i++) look_at(r, i, &h);
    if (r->e.boxes && r->n->status == CVR_OK) {
        const detect_joined all = detect_join(r->n, &h);
        add_losses(r, &all);
    }
    return select_proposals(r, &h);
}
