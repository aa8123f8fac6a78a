/* [yolo] (Redmon and Farhadi, 2018; Bochkovskiy et al., 2020) and [region] (Redmon and Farhadi, 2016) of a .cfg file.
 */
#include "darknet_plan.h"
#include <cvr/plugin/ops/yolo.h>

#define NMS 0.45 /* Darknet's, where the file has none */

static const int64_t yes_no[2] = {0, 1};
static const double shares[2] = {0, 1}, weights[2] = {0, 1000}, anchors[2] = {1e-6, 65536};

static int32_t read_classes(const darknet_cfg *c, const darknet_section *s, darknet_head *h, cvr_error *err) {
    static const int64_t classes[2] = {1, 65536};
    return darknet_cfg_int(c, s, "classes", 20, classes, &h->classes, err);
}

/* Anchors in pairs, and which of them are this layer's: all, or `mask`. */
static int32_t read_anchors(const darknet_cfg *c, const darknet_section *s, darknet_head *h, cvr_error *err) {
    static const int64_t masks[2] = {0, DARKNET_MOST_ANCHORS - 1}, nums[2] = {1, DARKNET_MOST_ANCHORS};
    const darknet_option *o = darknet_cfg_find(c, s, "anchors");
    uint32_t n;
    int64_t num;
    CVR_TRY(darknet_cfg_floats(c, s, "anchors", anchors, h->anchors, 2 * DARKNET_MOST_ANCHORS, &n, err));
    h->n_anchors = n / 2;
    if (n == 0 || n % 2 != 0)
        return darknet_cfg_fail(c, o ? o->line : s->line, err,
                                "%u numbers in `anchors`; give a width and a height each", n);
    CVR_TRY(darknet_cfg_int(c, s, "num", h->n_anchors, nums, &num, err));
    if (num != h->n_anchors)
        return darknet_cfg_fail(c, darknet_cfg_find(c, s, "num")->line, err,
                                "num=%lld, but there are %u anchors; set num=%u", (long long)num, h->n_anchors,
                                h->n_anchors);
    CVR_TRY(darknet_cfg_ints(c, s, "mask", masks, h->mask, DARKNET_MOST_ANCHORS, &h->n_mask, err));
    for (uint32_t i = 0; i < h->n_mask; i++)
        if (h->mask[i] >= num)
            return darknet_cfg_fail(c, darknet_cfg_find(c, s, "mask")->line, err,
                                    "mask names anchor %lld; there are %u, from 0", (long long)h->mask[i],
                                    h->n_anchors);
    for (uint32_t i = 0; !h->n_mask && i < h->n_anchors; i++) h->mask[i] = i;
    if (!h->n_mask) h->n_mask = h->n_anchors;
    return CVR_OK;
}

static int32_t read_box_kind(const darknet_cfg *c, const darknet_section *s, darknet_head *h, cvr_error *err) {
    static const struct {
        const char *name;
        int64_t kind;
    } kinds[] = {{"mse", CVR_YOLO_BOX_SQUARES},
                 {"giou", CVR_YOLO_BOX_GIOU},
                 {"diou", CVR_YOLO_BOX_DIOU},
                 {"ciou", CVR_YOLO_BOX_CIOU}};
    const darknet_option *o = darknet_cfg_find(c, s, "iou_loss");
    h->box_kind = CVR_YOLO_BOX_SQUARES;
    for (size_t i = 0; o && i < sizeof kinds / sizeof *kinds; i++)
        if (strcmp(o->value, kinds[i].name) == 0) {
            h->box_kind = kinds[i].kind;
            return CVR_OK;
        }
    return o ? darknet_cfg_fail(c, o->line, err, "iou_loss=%.40s: known are mse, giou, diou and ciou", o->value)
             : CVR_OK;
}

static int32_t read_loss(const darknet_cfg *c, const darknet_section *s, darknet_head *h, cvr_error *err) {
    static const double scales[2] = {0.1, 10}, one[2] = {1, 10}, half[2] = {0, 0.999}, limits[2] = {1e-3, 1e9};
    double truth_thresh;
    CVR_TRY(darknet_cfg_float(c, s, "ignore_thresh", 0.5, shares, &h->ignore_thresh, err));
    CVR_TRY(darknet_cfg_float(c, s, "truth_thresh", 1, one, &truth_thresh, err));
    CVR_TRY(darknet_cfg_float(c, s, "iou_thresh", 1, shares, &h->iou_thresh, err));
    CVR_TRY(darknet_cfg_float(c, s, "scale_x_y", 1, scales, &h->scale_x_y, err));
    CVR_TRY(darknet_cfg_float(c, s, "iou_normalizer", 1, weights, &h->box_weight, err));
    CVR_TRY(darknet_cfg_float(c, s, "obj_normalizer", 1, weights, &h->objectness_weight, err));
    CVR_TRY(darknet_cfg_float(c, s, "cls_normalizer", 1, weights, &h->class_weight, err));
    CVR_TRY(darknet_cfg_float(c, s, "max_delta", 1e9, limits, &h->max_delta, err));
    CVR_TRY(darknet_cfg_float(c, s, "label_smooth_eps", 0, half, &h->label_smooth, err));
    CVR_TRY(darknet_cfg_int(c, s, "new_coords", 0, yes_no, &h->new_coords, err));
    return read_box_kind(c, s, h, err);
}

/* Suppression is that of Darknet's greedynms, which is its default. */
static void look_at_nms_kind(const darknet_cfg *c, const darknet_section *s) {
    const darknet_option *o = darknet_cfg_find(c, s, "nms_kind");
    if (o && strcmp(o->value, "greedynms") != 0 && strcmp(o->value, "default") != 0)
        darknet_cfg_ignore(c, s, "nms_kind");
}

static int32_t read_yolo(const darknet_cfg *c, const darknet_section *s, darknet_head *h, cvr_error *err) {
    static const char passed[] =
        " max show_details resize=1 track=0 counters_per_class=1 uc_normalizer=1 stopbackward=0 objectness_smooth=0 "
        "embedding_layer=0 track_history_size=0 sim_thresh=0 dets_for_track=0 dets_for_show=0 track_ciou_norm=0 ";
    static const double randoms[2] = {0, 10};
    CVR_TRY(read_loss(c, s, h, err));
    CVR_TRY(darknet_cfg_float(c, s, "jitter", 0.2, shares, &h->jitter, err));
    CVR_TRY(darknet_cfg_float(c, s, "beta_nms", NMS, shares, &h->nms, err));
    CVR_TRY(darknet_cfg_float(c, s, "random", 0, randoms, &h->random, err));
    look_at_nms_kind(c, s);
    return darknet_cfg_check_used(c, s, passed, " focal_loss map ", err);
}

/* Only looked with: what concerns its training is passed over. */
static int32_t read_region(const darknet_cfg *c, const darknet_section *s, darknet_head *h, cvr_error *err) {
    static const char passed[] =
        " bias_match jitter rescore object_scale noobject_scale class_scale coord_scale absolute "
        "thresh random max ";
    static const int64_t four[2] = {4, 4}, one[2] = {1, 1};
    int64_t coords, softmax;
    CVR_TRY(darknet_cfg_int(c, s, "coords", 4, four, &coords, err));
    CVR_TRY(darknet_cfg_int(c, s, "softmax", 0, one, &softmax, err));
    if (!softmax)
        return darknet_cfg_fail(c, s->line, err, "[region] without softmax=1: cvrun has those with it; add the line");
    h->is_region = 1;
    h->scale_x_y = 1;
    h->nms = NMS;
    return darknet_cfg_check_used(c, s, passed, " classfix background tree map log sqrt ", err);
}

int32_t darknet_head_read(darknet_plan *p, const darknet_section *s, cvr_error *err) {
    if (p->n_heads == DARKNET_MOST_HEADS)
        return darknet_cfg_fail(&p->cfg, s->line, err, "more than %u layers of boxes; remove some", DARKNET_MOST_HEADS);
    darknet_head *h = &p->heads[p->n_heads];
    memset(h, 0, sizeof *h);
    h->layer = p->n_layers;
    CVR_TRY(read_classes(&p->cfg, s, h, err));
    CVR_TRY(read_anchors(&p->cfg, s, h, err));
    CVR_TRY(strcmp(s->name, "yolo") == 0 ? read_yolo(&p->cfg, s, h, err) : read_region(&p->cfg, s, h, err));
    if (p->n_heads && (h->classes != p->heads[0].classes || h->is_region != p->heads[0].is_region))
        return darknet_cfg_fail(&p->cfg, s->line, err,
                                "[%.40s] with classes=%lld, but the first one of line %u has %lld; "
                                "all must be alike",
                                s->name, (long long)h->classes, p->layers[p->heads[0].layer].line,
                                (long long)p->heads[0].classes);
    p->layers[p->n_layers] = (darknet_layer){.kind = DARKNET_HEAD,
                                             .line = s->line,
                                             .activation = "",
                                             .stride = 1,
                                             .groups = 1,
                                             .down = p->n_layers ? p->layers[p->n_layers - 1].down : 1};
    p->n_heads++;
    return CVR_OK;
}
