/* The mask head (He et al. 2017, section 3); see rcnn.h. */
#include "rcnn.h"

#define SIDE 14 /* of what the head sees of a region; its masks are twice as large */
#define CONVS 4

/* boxes: (N, R, 4) -> logits of each class: (N*R, K + 1, 28, 28) */
static cvr_value look_at(const rcnn *r, const rcnn_rois *rois) {
    net *n = r->n;
    cvr_value x = rcnn_pool(r, rois, SIDE);
    const net_conv2d logits = {r->classes, 1, 1, 0, 1, 1};
    n->conv = (net_start){NET_START_KAIMING, 0, 0};
    for (int i = 0; i < CONVS && n->status == CVR_OK; i++) {
        const net_conv2d three = {net_shape(n, x)[1], 3, 1, 1, 1, !r->v2};
        x = net_conv(n, x, net_print("roi_heads.mask_head.%d.0", i).s, &three);
        if (r->v2) x = net_norm(n, x, net_print("roi_heads.mask_head.%d.1", i).s, "");
        x = net_layer(n, x, net_print("roi_heads.mask_head.%d.relu", i).s, "relu", "");
    }
    n->conv = (net_start){NET_START_KAIMING, 0, NET_BIAS_TORCH};
    if (n->status != CVR_OK) return x;
    x = net_conv_transpose(n, x, "roi_heads.mask_predictor.conv5_mask",
                           net_print("%lld kernel_size=2 stride=2", (long long)net_shape(n, x)[1]).s);
    x = net_layer(n, x, "roi_heads.mask_predictor.relu", "relu", "");
    x = net_conv(n, x, "roi_heads.mask_predictor.mask_fcn_logits", &logits);
    rcnn_expect(r, x, 1, r->classes, "roi_heads.mask_predictor.mask_fcn_logits (conv2d)");
    return x;
}

/*
 * The mask head learns from the samples that have an object, of which there is room for as many as the sampler takes.
 * Where there are fewer, they are repeated, and count once. A batch norm sees the repetitions: its statistics are
 * torchvision's where all of them are different.
 */
void rcnn_mask_loss(const rcnn *r, const rcnn_rois *samples) {
    net *n = r->n;
    const cvr_mask_targets_attrs targets = {2 * SIDE};
    const rcnn_matching with_object = {r->a->box_fg_iou_thresh, 0, 0};
    const int64_t share = (int64_t)((double)r->a->box_batch_size_per_image * r->a->box_positive_fraction);
    rcnn_rois rois = {CVR_NONE, CVR_NONE, CVR_NONE};
    const cvr_value index =
        rcnn_first(r, rcnn_match(r, samples->boxes, samples->count, &with_object), share > 0 ? share : 1, &rois.count);
    rois.boxes = detect_gather(r->n, samples->boxes, index, 0);
    rois.match = rcnn_match(r, rois.boxes, rois.count, &with_object);
    const rcnn_rois whole = {rois.boxes, CVR_NONE, CVR_NONE};
    const cvr_value logits = look_at(r, r->v2 ? &whole : &rois);
    const cvr_value in[3] = {r->masks, rois.boxes, rois.match};
    const cvr_value loss[4] = {logits, net_emit1(n, NET_OP("mask_targets", &targets), in, 3),
                               detect_targets(n, &r->e, rois.match, 0), rois.match};
    detect_put_loss(n, &r->e, "mask", NET_PLAIN_OP("mask_loss"), loss, 4, 2);
}

/* Each region's own class of its K + 1 maps, then a sigmoid. */
void rcnn_mask_result(const rcnn *r, const rcnn_rois *detections, cvr_value column) {
    net *n = r->n;
    cvr_value x = look_at(r, detections);
    x = net_emit1(n, NET_PLAIN_OP("to_tokens"), &x, 1);
    x = net_layer(n, x, "mask_objects", "slice", "2 start=1");
    x = net_layer(n, x, "mask_classes", "permute", "0,2,1");
    if (n->status != CVR_OK) return;
    const int64_t *const s = net_shape(n, column), pixels = net_shape(n, x)[2];
    const cvr_value which = detect_view(r->n, column, 2, (const int64_t[]){s[0] * s[1], 1});
    x = detect_view(r->n, detect_gather(r->n, x, which, 0), 3, (const int64_t[]){s[0], s[1], pixels});
    detect_put(r->n, &r->e, "masks", CVR_ROLE_RESULT, net_layer(n, x, "mask_sigmoid", "sigmoid", ""));
}
