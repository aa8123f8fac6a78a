/*
 * From Darknet's layers of boxes to losses and detections (ops/yolo.h). Of each picture the topk_candidates best pairs
 * of box and class are looked at, as many classes of a box as pass the threshold; suppression is within a class, on
 * boxes that may reach out of the picture, as in Darknet.
 */
#include "darknet.h"
#include <cvr/plugin/ops/activation.h>
#include <cvr/plugin/ops/detections.h>
#include <cvr/plugin/ops/shape.h>
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

static cvr_value joined(net *n, const cvr_value *parts, uint32_t count) {
    const cvr_concat_attrs a = {1};
    return count == 1 ? parts[0] : net_emit1(n, NET_OP("concat", &a), parts, count);
}

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
    for (int i = 0; i < 2; i++) out[i] = joined(&b->n, parts[i], b->plan->n_heads);
}

static void put_detections(darknet_build *b, const detect_ends *e) {
    net *n = &b->n;
    const darknet_attrs *a = b->attrs;
    cvr_value all[2] = {CVR_NONE, CVR_NONE}, best[3], place[2], kept[2];
    all_boxes(b, all);
    if (n->status != CVR_OK) return;
    const int64_t *s = net_shape(n, all[1]), classes = s[2], pairs = s[1] * s[2], flat[2] = {s[0], pairs};
    const cvr_top_k_attrs top = {a->topk_candidates < pairs ? a->topk_candidates : pairs, 1, a->score_thresh};
    const cvr_split_index_attrs split = {classes};
    const cvr_value scores = detect_view(n, all[1], 2, flat);
    (void)net_emit(n, NET_OP("top_k", &top), &scores, 1, best, 3);
    (void)net_emit(n, NET_OP("split_index", &split), &best[1], 1, place, 2);
    const cvr_nms_attrs nms = {.iou_threshold = a->nms_thresh > 0 ? a->nms_thresh : b->plan->heads[0].nms,
                               .max_out = a->detections_per_img < top.k ? a->detections_per_img : top.k,
                               .method = CVR_NMS_LOOP};
    const cvr_value boxes = detect_gather(n, all[0], place[0], 0), in[4] = {boxes, best[0], place[1], best[2]};
    (void)net_emit(n, NET_OP("nms", &nms), in, 4, kept, 2);
    const cvr_value clipped[2] = {detect_gather(n, boxes, kept[0], 0), e->image_size}, labels[2] = {place[1], kept[0]};
    detect_put(&b->n, e, "boxes", CVR_ROLE_RESULT, net_emit1(n, NET_PLAIN_OP("clip_boxes"), clipped, 2));
    detect_put(&b->n, e, "scores", CVR_ROLE_RESULT, detect_gather(n, best[0], kept[0], 0));
    detect_put(&b->n, e, "labels", CVR_ROLE_RESULT, net_emit1(n, NET_PLAIN_OP("pick_labels"), labels, 2));
}

void darknet_put_boxes(darknet_build *b, const detect_ends *e) {
    const darknet_head *first = &b->plan->heads[0];
    if (b->n.status != CVR_OK) return;
    if (first->is_region && b->n.b->training)
        b->n.status = darknet_cfg_fail(&b->plan->cfg, b->plan->layers[first->layer].line, b->n.err,
                                       "[region] predicts, but is not trained here; train a network with [yolo]");
    if (e->boxes && !first->is_region) put_losses(b, e);
    if (b->n.b->training)
        detect_put(&b->n, e, "map", CVR_ROLE_RESULT, b->values[first->layer]); /* training wants some result */
    else
        put_detections(b, e);
}
