/*
 * From Darknet's layers of boxes to losses and detections (ops/yolo.h). Of each picture the topk_candidates best pairs
 * of box and class are looked at, as many classes of a box as pass the threshold; suppression is within a class, on
 * boxes that may reach out of the picture, as in Darknet.
 */
#include "darknet.h"
#include <cvr/plugin/ops/yolo.h>

#define LOSSES 3

/* ---- losses ---- */

static cvr_yolo_loss_attrs loss_of(const darknet_build *b, const darknet_head *h) {
    const int64_t *s = net_shape(&b->n, b->image);
    cvr_yolo_loss_attrs a = {.size = {s[2], s[3]},
                             .n_anchors = 2 * h->n_anchors,
                             .n_mask = h->n_mask,
                             .scale_x_y = h->scale_x_y,
                             .new_coords = h->new_coords,
                             .ignore_thresh = h->ignore_thresh,
                             .iou_thresh = h->iou_thresh,
                             .box = h->box_kind,
                             .box_weight = h->box_weight,
                             .objectness_weight = h->objectness_weight,
                             .class_weight = h->class_weight,
                             .max_delta = h->max_delta,
                             .label_smooth = h->label_smooth};
    memcpy(a.anchors, h->anchors, sizeof a.anchors);
    memcpy(a.mask, h->mask, sizeof a.mask);
    return a;
}

/* The sums over all heads, each loss by itself. */
static void put_losses(darknet_build *b, const detect_ends *e) {
    static const char *const names[LOSSES] = {"box", "objectness", "class"};
    cvr_value sum[LOSSES] = {CVR_NONE};
    for (uint32_t k = 0; k < b->plan->n_heads && b->n.status == CVR_OK; k++) {
        const darknet_head *h = &b->plan->heads[k];
        const cvr_yolo_loss_attrs a = loss_of(b, h);
        const cvr_value in[4] = {detect_f32(&b->n, b->values[h->layer]), e->boxes, e->labels, e->counts};
        cvr_value out[LOSSES + 1];
        (void)net_emit(&b->n, NET_OP("yolo_loss", &a), in, 4, out, LOSSES + 1);
        for (int i = 0; i < LOSSES; i++)
            sum[i] = k ? net_layer2(&b->n, sum[i], out[i], net_print("loss.%u.%s", h->layer, names[i]).s, "add", "")
                       : out[i];
    }
    for (int i = 0; i < LOSSES; i++) detect_put(&b->n, e, names[i], CVR_ROLE_LOSS, sum[i]);
}

/* ---- detections ---- */

/* [region]'s anchors are in cells of its map. */
static cvr_yolo_attrs boxes_of(const darknet_build *b, const darknet_head *h) {
    const int64_t *s = net_shape(&b->n, b->image), *map = net_shape(&b->n, b->values[h->layer]);
    cvr_yolo_attrs a = {.size = {s[2], s[3]},
                        .n_anchors = 2 * h->n_mask,
                        .scale_x_y = h->scale_x_y,
                        .new_coords = h->new_coords,
                        .softmax = h->is_region};
    for (uint32_t i = 0; i < h->n_mask; i++)
        for (uint32_t k = 0; k < 2; k++)
            a.anchors[2 * i + k] =
                h->anchors[2 * h->mask[i] + k] * (h->is_region ? (double)s[3 - k] / (double)map[3 - k] : 1);
    return a;
}

/* All heads' boxes (N, P, 4) and scores (N, P, K). */
static void all_boxes(darknet_build *b, cvr_value out[2]) {
    cvr_value parts[2][DARKNET_MOST_HEADS];
    for (uint32_t k = 0; k < b->plan->n_heads; k++) {
        const darknet_head *h = &b->plan->heads[k];
        const cvr_value x = detect_f32(&b->n, b->values[h->layer]);
        cvr_value both[2];
        if (b->n.status != CVR_OK) return;
        const cvr_yolo_attrs a = boxes_of(b, h);
        (void)net_emit(&b->n, NET_OP("yolo_boxes", &a), &x, 1, both, 2);
        for (int i = 0; i < 2; i++) parts[i][k] = both[i];
    }
    for (int i = 0; i < 2; i++) out[i] = detect_concat(&b->n, parts[i], b->plan->n_heads, 1);
}

/* For an export without decoding: the maps as they are, (N, anchors * (5 + K), h, w), "head0" the file's first. */
static void put_heads(darknet_build *b, const detect_ends *e) {
    for (uint32_t k = 0; k < b->plan->n_heads; k++)
        detect_put(&b->n, e, net_print("head%u", k).s, CVR_ROLE_HEAD, b->values[b->plan->heads[k].layer]);
}

static void put_detections(darknet_build *b, const detect_ends *e) {
    detect_attrs limits = b->attrs->limits;
    cvr_value all[2] = {CVR_NONE, CVR_NONE};
    put_heads(b, e);
    all_boxes(b, all);
    detect_candidates best = detect_best_pairs(&b->n, all[1], all[0], limits.topk_candidates);
    best.method = CVR_NMS_LOOP;
    best.reach_out = 1;
    if (limits.nms_thresh == 0) limits.nms_thresh = b->plan->heads[0].nms;
    (void)detect_put_results(&b->n, e, &best, &limits);
}

void darknet_put_boxes(darknet_build *b, const detect_ends *e) {
    const darknet_head *first = &b->plan->heads[0];
    if (b->n.status != CVR_OK) return;
    if (first->is_region && b->n.b->training)
        b->n.status = darknet_cfg_fail(&b->plan->cfg, b->plan->layers[first->layer].line, b->n.err,
                                       "[region] predicts, but is not trained here; train a network with [yolo]");
    if (e->boxes && !first->is_region) put_losses(b, e);
    detect_put_training(&b->n, e, b->values[first->layer]);
    if (!b->n.b->training) put_detections(b, e);
}
