/* SSD on any features; see the header. */
#include "ssd_head.h"

static const cvr_box_coder_attrs coder = {CVR_CODER_CENTER, {10, 10, 5, 5}};

const cvr_attr_desc ssd_iou_thresh = CVR_ATTR_INIT(
    FLOAT, "iou_thresh", "0.5", "a default box is matched with an object from this IoU on", CVR_ATTR_BETWEEN(0, 1));
const cvr_attr_desc ssd_positive_fraction =
    CVR_ATTR_INIT(FLOAT, "positive_fraction", "0.25",
                  "share of matched boxes in those that the classes learn from; the rest is the hardest background",
                  CVR_ATTR_BETWEEN(0.001, 1));
const cvr_attr_desc ssd_aspect_ratios =
    CVR_ATTR_INIT(FLOATS, "aspect_ratios", "2,3", "width / height of default boxes beside the square ones", .count = 4,
                  CVR_ATTR_BETWEEN(0.01, 100));
const cvr_attr_desc ssd_clip =
    CVR_ATTR_INIT(BOOL, "clip", "yes", "no default box is larger than the picture; its place may reach out of it");

static int32_t check(const ssd_attrs *a, cvr_error *err) {
    if (a->n_scales != SSD_MAPS + 1)
        return cvr_fail(err, CVR_ERR_INVALID, "model.scales has %lld numbers; it must have %d", (long long)a->n_scales,
                        SSD_MAPS + 1);
    if (a->n_ratios_per_map != SSD_MAPS)
        return cvr_fail(err, CVR_ERR_INVALID, "model.ratios_per_map has %lld numbers; it must have %d",
                        (long long)a->n_ratios_per_map, SSD_MAPS);
    if (a->n_steps != 0 && a->n_steps != SSD_MAPS)
        return cvr_fail(err, CVR_ERR_INVALID, "model.steps has %lld numbers; it must have none or %d",
                        (long long)a->n_steps, SSD_MAPS);
    for (int i = 0; i < SSD_MAPS; i++)
        if (a->ratios_per_map[i] > a->n_ratios)
            return cvr_fail(err, CVR_ERR_INVALID, "model.ratios_per_map wants %lld of %lld model.aspect_ratios",
                            (long long)a->ratios_per_map[i], (long long)a->n_ratios);
    return CVR_OK;
}

void ssd_check(net *n, const ssd_attrs *a) {
    if (n->status == CVR_OK) n->status = check(a, n->err);
}

/* (A_i, 4): the default boxes of map i */
static cvr_value default_boxes(net *n, const ssd_attrs *a, int i, cvr_value image, cvr_value map) {
    cvr_default_boxes_attrs d = {.scale = a->scales[i],
                                 .next_scale = a->scales[i + 1],
                                 .n_ratios = a->ratios_per_map[i],
                                 .step = a->n_steps ? a->steps[i] : 0,
                                 .clip = a->clip};
    const cvr_value in[2] = {image, map};
    memcpy(d.ratios, a->ratios, sizeof a->ratios);
    return net_emit1(n, NET_OP("default_boxes", &d), in, 2);
}

static void put_losses(net *n, const ssd_attrs *a, const detect_ends *e, const detect_joined *j) {
    const cvr_match_attrs match = {.high = a->iou_thresh, .low = a->iou_thresh, .each_best = 1};
    const cvr_anchor_cross_entropy_attrs hard = {(1 - a->positive_fraction) / a->positive_fraction};
    cvr_anchor_box_loss_attrs box = {.kind = CVR_BOX_SMOOTH_L1, .beta = 1, .norm = CVR_NORM_POSITIVES};
    const cvr_value object = detect_match(n, e, j->anchors, &match), target = detect_targets(n, e, object, 0);
    const cvr_value of_class[2] = {j->logits, target}, of_box[4] = {j->deltas, j->anchors, e->boxes, object};
    box.coder = coder.coder;
    memcpy(box.weights, coder.weights, sizeof box.weights);
    detect_put_loss(n, e, "classification", NET_OP("anchor_cross_entropy", &hard), of_class, 2, 4);
    detect_put_loss(n, e, "bbox_regression", NET_OP("anchor_box_loss", &box), of_box, 4, 2);
}

int32_t ssd_build_head(net *n, const ssd_head *h, const detect_ends *e, const cvr_value maps[SSD_MAPS]) {
    const ssd_attrs *a = h->attrs;
    const int64_t columns = h->num_classes + 1;
    detect_heads heads = {.n_levels = SSD_MAPS};
    n->scope = NULL;
    for (int i = 0; i < SSD_MAPS && n->status == CVR_OK; i++) {
        const int64_t each = 2 + 2 * a->ratios_per_map[i];
        const net_text classes = net_print("head.classification_head.module_list.%d", i),
                       offsets = net_print("head.regression_head.module_list.%d", i);
        const cvr_value x = h->predict(n, classes.s, each * columns, maps[i]),
                        y = h->predict(n, offsets.s, each * 4, maps[i]);
        heads.logits[i] = detect_rows(n, x, net_print("%s%s", classes.s, h->last).s, each, columns);
        heads.deltas[i] = detect_rows(n, y, net_print("%s%s", offsets.s, h->last).s, each, 4);
        heads.anchors[i] = default_boxes(n, a, i, e->image, maps[i]);
    }
    const detect_joined j = detect_join(n, &heads);
    detect_put_training(n, e, j.logits);
    detect_put_heads(n, e, &j);
    if (e->boxes) put_losses(n, a, e, &j);
    if (!n->b->training) detect_put_by_class(n, e, &j, &coder, &a->detect);
    return n->status;
}
