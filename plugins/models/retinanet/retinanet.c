/*
 * RetinaNet (Lin, Goyal, Girshick, He, Dollar: "Focal Loss for Dense Object Detection", 2017) on a feature pyramid as
 * torchvision has it; its second version has group normalisation in the heads and learns from the boxes' overlap
 * (Zhang et al.: "Bridging the Gap Between Anchor-based and Anchor-free Detection", 2020). Any body by the key `body`.
 */
#include "../fpn_head.h"
#include <math.h>

#define MOST_OCTAVES 5

typedef struct retinanet_attrs {
    fpn_head_attrs head;
    int64_t octave_scales;
    int64_t n_ratios;
    double ratios[MOST_OCTAVES];
    double fg_iou_thresh, bg_iou_thresh;
    int64_t groups; /* of the second version */
} retinanet_attrs;

static const cvr_box_coder_attrs coder = {CVR_CODER_CENTER, {1, 1, 1, 1}};

/* (h * w * S * R, 4): a size and those between it and its double, whole numbers, each in all ratios */
static cvr_value anchors_of(net *n, const retinanet_attrs *a, double size, cvr_value image, cvr_value map) {
    cvr_grid_anchors_attrs g = {.n_sizes = a->octave_scales, .n_ratios = a->n_ratios};
    for (int64_t i = 0; i < a->octave_scales; i++)
        g.sizes[i] = i == 0 ? size : floor(size * pow(2, (double)i / (double)a->octave_scales));
    memcpy(g.ratios, a->ratios, sizeof a->ratios);
    return detect_grid_anchors(n, &g, image, map);
}

static void put_losses(net *n, const retinanet_attrs *a, int giou, const detect_ends *e, const detect_joined *j) {
    const cvr_match_attrs match = {.high = a->fg_iou_thresh, .low = a->bg_iou_thresh, .low_quality = 1};
    const cvr_anchor_focal_attrs focal = {.alpha = 0.25, .gamma = 2, .norm = CVR_NORM_PICTURE};
    const cvr_anchor_box_loss_attrs box = {.kind = giou ? CVR_BOX_GIOU : CVR_BOX_SMOOTH_L1,
                                           .coder = coder.coder,
                                           .weights = {1, 1, 1, 1},
                                           .norm = CVR_NORM_PICTURE};
    if (n->status == CVR_OK && match.low > match.high)
        n->status = cvr_fail(n->err, CVR_ERR_INVALID, "model.bg_iou_thresh = %g is more than model.fg_iou_thresh = %g",
                             match.low, match.high);
    const cvr_value object = detect_match(n, e, j->anchors, &match), target = detect_targets(n, e, object, -1);
    const cvr_value of_class[2] = {j->logits, target}, of_box[4] = {j->deltas, j->anchors, e->boxes, object};
    detect_put_loss(n, e, "classification", NET_OP("anchor_focal_loss", &focal), of_class, 2, 2);
    detect_put_loss(n, e, "bbox_regression", NET_OP("anchor_box_loss", &box), of_box, 4, 2);
}

static int32_t build(int second, const cvr_builder *b, const cvr_model_args *args, const cvr_io *io, cvr_error *err) {
    const retinanet_attrs *a = (const retinanet_attrs *)args->attrs;
    const int64_t each = a->octave_scales * a->n_ratios, columns = args->num_classes + 1;
    const int tower = second ? FPN_TOWER_NORMED : FPN_TOWER_PLAIN;
    const int64_t groups = second ? a->groups : 1;
    net n = {.b = b, .err = err};
    const detect_ends e = detect_read(&n, io);
    cvr_value maps[FPN_MOST_MAPS];
    detect_heads h = {.n_levels =
                          fpn_head_maps(&n, &a->head, second ? FPN_EXTRA_P6P7_OF_BODY : FPN_EXTRA_P6P7, e.image, maps)};
    for (uint32_t i = 0; i < h.n_levels && n.status == CVR_OK; i++) {
        const cvr_value classes = fpn_tower(&n, "head.classification_head.conv", tower, groups, maps[i]),
                        boxes = fpn_tower(&n, "head.regression_head.conv", tower, groups, maps[i]);
        h.logits[i] = fpn_head_rows(&n, FPN_HEAD_CLASSES, each, columns, fpn_head_prior(), classes);
        h.deltas[i] = fpn_head_rows(&n, "head.regression_head.bbox_reg", each, 4, 0, boxes);
        h.anchors[i] = anchors_of(&n, a, a->head.anchor_sizes[i], e.image, maps[i]);
    }
    if (n.status != CVR_OK) return n.status;
    const detect_joined j = detect_join(&n, &h);
    detect_put_training(&n, &e, j.logits);
    detect_put_heads(&n, &e, &j);
    if (e.boxes) put_losses(&n, a, second, &e, &j);
    if (!b->training) detect_put_by_level(&n, &e, &h, &coder, &a->head.detect);
    return n.status;
}

static int32_t build_first(const cvr_builder *b, const cvr_model_args *args, const cvr_io *io, cvr_error *err) {
    return build(0, b, args, io, err);
}
static int32_t build_second(const cvr_builder *b, const cvr_model_args *args, const cvr_io *io, cvr_error *err) {
    return build(1, b, args, io, err);
}

/* ---- names ---- */

/* torchvision's files from before its version 0.13, and a classifier's. */
#define OLD(head_, i_, twice_, what_)                                                                                  \
    { "head." head_ "_head.conv." #twice_ "." what_, "head." head_ "_head.conv." #i_ ".0." what_ }
#define OLD_LAYER(i_, twice_)                                                                                          \
    OLD("classification", i_, twice_, "weight"), OLD("classification", i_, twice_, "bias"),                            \
        OLD("regression", i_, twice_, "weight"), OLD("regression", i_, twice_, "bias")
static int32_t alias(const char *name, char *out, uint64_t size) {
    static const net_name older[] = {
        OLD_LAYER(0, 0), OLD_LAYER(1, 2), OLD_LAYER(2, 4), OLD_LAYER(3, 6), {"head", "head"},
    };
    if (net_rename(older, NET_COUNT(older), name, out, size)) return 1;
    return fpn_alias(0, FPN_HEAD_CLASSES, name, out, size);
}

/* ---- keys ---- */

static const cvr_attr_desc score = DETECT_SCORE("0.05"), nms = DETECT_NMS("0.5"), per_img = DETECT_PER_IMG("300"),
                           body = FPN_BODY("resnet50"), frozen = FPN_NORM("frozen"), batch = FPN_NORM("batch"),
                           sizes = FPN_HEAD_SIZES("32,64,128,256,512");
static const cvr_attr_desc octave_scales =
    CVR_ATTR_INIT(INT, "octave_scales", "3", "sizes of anchors, from anchor_sizes on, before they double",
                  CVR_ATTR_BETWEEN(1, MOST_OCTAVES));
static const cvr_attr_desc ratios = CVR_ATTR_INIT(FLOATS, "aspect_ratios", "0.5,1,2", "height / width of the anchors",
                                                  .count = MOST_OCTAVES, CVR_ATTR_BETWEEN(0.001, 1000));
static const cvr_attr_desc fg_iou = CVR_ATTR_INIT(
    FLOAT, "fg_iou_thresh", "0.5", "an anchor is matched with an object from this IoU on", CVR_ATTR_BETWEEN(0, 1));
static const cvr_attr_desc bg_iou =
    CVR_ATTR_INIT(FLOAT, "bg_iou_thresh", "0.4",
                  "below this IoU an anchor is background; in between it counts for nothing", CVR_ATTR_BETWEEN(0, 1));

static const cvr_stage *const stages[] = {FPN_STAGES, FPN_HEAD_STAGES};

#define ATTRS(norm_)                                                                                                   \
    &score, &nms, &per_img, &fpn_head_topk, FPN_ATTRS(body, norm_), &sizes, &octave_scales, &ratios, &fg_iou, &bg_iou
static const cvr_attr_desc *const first_attrs[] = {ATTRS(frozen)}, *const second_attrs[] = {ATTRS(batch),
                                                                                            &fpn_head_groups};

#define MODEL(name_, attrs_, build_)                                                                                   \
    &(const cvr_model_desc) {                                                                                          \
        .struct_size = sizeof(cvr_model_desc), .proposes = detect_proposes, .name = name_,                             \
        .doc = "Lin et al. 2017, as in torchvision", .n_attrs = NET_COUNT(attrs_), .attrs = attrs_, .build = build_,   \
        .n_stages = NET_COUNT(stages), .stages = stages, .stride = fpn_stride, .alias = alias                          \
    }
static const cvr_model_desc *const models[] = {
    MODEL("retinanet_resnet50_fpn", first_attrs, build_first),
    MODEL("retinanet_resnet50_fpn_v2", second_attrs, build_second),
};

static int32_t load(const cvr_host *host, const cvr_registrar *r, cvr_error *err) {
    (void)host;
    return net_register(r, models, NET_COUNT(models), err);
}

CVR_DEFINE_PLUGIN("model_retinanet", "0.1.0",
                  FPN_LAYERS DETECT_OPS "layer:group_norm op:grid_anchors op:match_boxes op:anchor_focal_loss", load)
