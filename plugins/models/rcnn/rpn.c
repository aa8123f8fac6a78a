/* The region proposal network (Ren et al. 2015, section 3.1); see rcnn.h. */
#include "rcnn.h"
#include <cvr/plugin/ops/detect_loss.h>
#include <cvr/plugin/ops/detections.h>
#include <stdlib.h>

#define SMALLEST_SIDE 1e-3 /* of a proposal, pixels */

/* What the head says of a level's P = h * w * A anchors. */
typedef struct level {
    cvr_value logits, deltas, anchors; /* (N, P, 1), (N, P, 4), (P, 4) */
    int64_t rows;                      /* P */
} level;

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

/* The head on one map; its weights are the same on each. */
static level look_at(const rcnn *r, size_t i) {
    net *n = r->n;
    const cvr_grid_anchors_attrs g = anchors_of(r, i);
    const int64_t per_place = g.n_sizes * g.n_ratios;
    const cvr_value in[2] = {r->image, r->maps[i]};
    const net_conv2d objectness = {per_place, 1, 1, 0, 1, 1}, deltas = {4 * per_place, 1, 1, 0, 1, 1};
    cvr_value x = r->maps[i];
    for (int k = 0; k < (r->v2 ? 2 : 1) && n->status == CVR_OK; k++) {
        const net_conv2d three = {net_shape(n, x)[1], 3, 1, 1, 1, 1};
        x = net_conv(n, x, net_print("rpn.head.conv.%d.0", k).s, &three);
        x = net_layer(n, x, net_print("rpn.head.conv.%d.1", k).s, "relu", "");
    }
    level l = {.logits = net_conv(n, x, "rpn.head.cls_logits", &objectness),
               .deltas = net_conv(n, x, "rpn.head.bbox_pred", &deltas)};
    rcnn_expect(r, l.logits, 1, per_place, "rpn.head.cls_logits (conv2d)");
    rcnn_expect(r, l.deltas, 1, 4 * per_place, "rpn.head.bbox_pred (conv2d)");
    l.logits = rcnn_rows(r, l.logits, 1);
    l.deltas = rcnn_rows(r, l.deltas, 4);
    l.anchors = net_emit1(n, NET_OP("grid_anchors", &g), in, 2);
    l.rows = n->status == CVR_OK ? net_shape(n, l.logits)[1] : 0;
    return l;
}

/* ---- losses ---- */

/* A class for every object: the only one there is, 0. -> (N, M) i64 */
static cvr_value one_class(const rcnn *r) {
    if (r->n->status != CVR_OK) return CVR_NONE;
    const int64_t *const s = net_shape(r->n, r->boxes);
    static const cvr_init zero = {.struct_size = sizeof zero, .kind = CVR_INIT_CONSTANT};
    const net_text name = net_print("rpn.one_class.%lldx%lld", (long long)s[0], (long long)s[1]);
    const cvr_param_decl d = {.struct_size = sizeof d,
                              .name = name.s,
                              .dtype = CVR_I64,
                              .rank = 2,
                              .shape = {s[0], s[1], 1, 1, 1, 1},
                              .flags = CVR_PARAM_CONSTANT,
                              .init = &zero};
    return net_values(r->n, &d);
}

/* Binary cross entropy of the sampled anchors' logits, and smooth L1 of the deltas of those with an object. all: every
 * level's rows in one */
static void add_losses(const rcnn *r, const level *all) {
    net *n = r->n;
    const rcnn_matching matching = {r->a->rpn_fg_iou_thresh, r->a->rpn_bg_iou_thresh, 1};
    const cvr_class_targets_attrs target_attrs = {0, CVR_MATCH_BACKGROUND, CVR_MATCH_BETWEEN};
    const cvr_anchor_focal_attrs plain = {.alpha = -1, .norm = CVR_NORM_COUNTED};
    const cvr_anchor_box_loss_attrs smooth = {
        CVR_BOX_SMOOTH_L1, CVR_CODER_CENTER, {1, 1, 1, 1}, 1.0 / 9, CVR_NORM_COUNTED};
    cvr_value match = rcnn_match(r, all->anchors, CVR_NONE, &matching), count, out[2];
    const cvr_value index =
        rcnn_sample(r, "rpn", match, r->a->rpn_batch_size_per_image, r->a->rpn_positive_fraction, &count);
    const cvr_value sampled[2] = {rcnn_gather(r, match, index), count};
    match = net_emit1(n, NET_PLAIN_OP("cut_match"), sampled, 2);
    const cvr_value label[2] = {match, one_class(r)};
    const cvr_value target = net_emit1(n, NET_OP("class_targets", &target_attrs), label, 2);
    const cvr_value focal[2] = {rcnn_gather(r, all->logits, index), target};
    rcnn_put(r, "objectness", CVR_ROLE_LOSS, net_emit(n, NET_OP("anchor_focal_loss", &plain), focal, 2, out, 2));
    const cvr_value box[4] = {rcnn_gather(r, all->deltas, index), rcnn_gather_shared(r, all->anchors, index), r->boxes,
                              match};
    rcnn_put(r, "rpn_box_reg", CVR_ROLE_LOSS, net_emit(n, NET_OP("anchor_box_loss", &smooth), box, 4, out, 2));
}

/* ---- proposals ---- */

/* The level of each row of a picture: counts[i] rows of level i. -> (N, P) i32 */
static cvr_value level_groups(const rcnn *r, const int64_t *counts) {
    const int64_t pictures = r->n->status == CVR_OK ? net_shape(r->n, r->image)[0] : 0;
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

/* The boxes of a level's best anchors, (N, k, 4), and their logits, (N, k) */
static cvr_value best_of(const rcnn *r, const level *l, int64_t k, cvr_value *logits) {
    const cvr_top_k_attrs attrs = {.k = k};
    cvr_value flat = CVR_NONE, out[3];
    if (r->n->status == CVR_OK)
        flat = rcnn_view(r, l->logits, 2, (const int64_t[]){net_shape(r->n, l->logits)[0], l->rows});
    *logits = net_emit(r->n, NET_OP("top_k", &attrs), &flat, 1, out, 3);
    const cvr_value in[2] = {rcnn_gather(r, l->deltas, out[1]), rcnn_gather_shared(r, l->anchors, out[1])};
    return net_emit1(r->n, NET_OP("decode_boxes", &coder), in, 2);
}

/* A graph has a result, in training too, where nobody reads it: the proposals, as if there were one class. */
static void put_proposals(const rcnn *r, cvr_value boxes, cvr_value scores, cvr_value index, int64_t rows) {
    const cvr_split_index_attrs split = {rows};
    cvr_value at[2];
    net_emit(r->n, NET_OP("split_index", &split), &index, 1, at, 2);
    rcnn_put(r, "boxes", CVR_ROLE_RESULT, boxes);
    rcnn_put(r, "scores", CVR_ROLE_RESULT, scores);
    rcnn_put(r, "labels", CVR_ROLE_RESULT, net_emit1(r->n, NET_PLAIN_OP("pick_labels"), at, 1));
}

/* Nothing that is trained follows from a proposal: no gradient goes through what is chosen here. */
static rcnn_rois select_proposals(const rcnn *r, const level *levels) {
    const int training = r->n->b->training != 0;
    const int64_t before = training ? r->a->rpn_pre_nms_top_n_train : r->a->rpn_pre_nms_top_n_test,
                  after = training ? r->a->rpn_post_nms_top_n_train : r->a->rpn_post_nms_top_n_test;
    cvr_value boxes[FPN_MOST_MAPS], logits[FPN_MOST_MAPS], scores, kept[2];
    int64_t counts[FPN_MOST_MAPS], rows = 0;
    for (size_t i = 0; i < r->n_maps; i++) {
        counts[i] = levels[i].rows < before ? levels[i].rows : before;
        rows += counts[i];
        boxes[i] = best_of(r, &levels[i], counts[i], &logits[i]);
    }
    const cvr_value all = net_concat(r->n, boxes, (uint32_t)r->n_maps, 1, "rpn.boxes"), clip[2] = {all, r->size};
    scores = net_concat(r->n, logits, (uint32_t)r->n_maps, 1, "rpn.logits");
    scores = net_layer(r->n, scores, "rpn.scores", "sigmoid", "");
    const cvr_value in[3] = {net_emit1(r->n, NET_PLAIN_OP("clip_boxes"), clip, 2), scores, level_groups(r, counts)};
    const cvr_nms_attrs nms = {.iou_threshold = r->a->rpn_nms_thresh,
                               .score_threshold = r->a->rpn_score_thresh,
                               .inclusive = 1,
                               .min_size = SMALLEST_SIDE,
                               .max_out = after < rows ? after : rows,
                               .n_groups = 0,
                               .method = CVR_NMS_AUTO};
    net_emit(r->n, NET_OP("nms", &nms), in, 3, kept, 2);
    const rcnn_rois rois = {.boxes = rcnn_gather(r, in[0], kept[0]), .count = kept[1]};
    if (training && r->boxes != CVR_NONE) put_proposals(r, rois.boxes, rcnn_gather(r, scores, kept[0]), kept[0], rows);
    return rois;
}

rcnn_rois rcnn_propose(const rcnn *r) {
    level levels[FPN_MOST_MAPS], all = {.rows = 0};
    cvr_value logits[FPN_MOST_MAPS], deltas[FPN_MOST_MAPS], anchors[FPN_MOST_MAPS];
    check_sizes(r);
    r->n->conv = (net_start){NET_START_NORMAL, 0.01, 0};
    for (size_t i = 0; i < r->n_maps; i++) {
        levels[i] = look_at(r, i);
        logits[i] = levels[i].logits;
        deltas[i] = levels[i].deltas;
        anchors[i] = levels[i].anchors;
    }
    if (r->boxes != CVR_NONE && r->n->status == CVR_OK) {
        const uint32_t n = (uint32_t)r->n_maps;
        all.logits = net_concat(r->n, logits, n, 1, "rpn.all_logits");
        all.deltas = net_concat(r->n, deltas, n, 1, "rpn.all_deltas");
        all.anchors = net_concat(r->n, anchors, n, 0, "rpn.all_anchors");
        add_losses(r, &all);
    }
    return select_proposals(r, levels);
}
