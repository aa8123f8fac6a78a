/*
 * Faster R-CNN and Mask R-CNN on a feature pyramid as torchvision has them (rcnn.h): on a ResNet-50, the second version
 * of that (Li, Xie, Chen, Dollar, He, Girshick: "Benchmarking Detection Transfer Learning with Vision Transformers",
 * 2021), and on a MobileNetV3; any other body by the key `body`. Names, initialisation and defaults are torchvision's.
 */
#include "rcnn.h"

/* What no key says. */
typedef struct rcnn_kind {
    int v2, masks;
} rcnn_kind;

/* What only an R-CNN asks for: masks, and what its samplers draw from. */
static void take_targets(rcnn *r, int masks) {
    net *n = r->n;
    if (r->e.boxes == CVR_NONE || n->status != CVR_OK) return;
    r->masks = r->e.io->input(r->e.io, "masks");
    if (masks && r->masks == CVR_NONE)
        n->status = cvr_fail(n->err, CVR_ERR_INVALID,
                             "a Mask R-CNN learns from a mask for each object; this data has none, choose another "
                             "data.format or a Faster R-CNN");
    if (n->status == CVR_OK) n->status = n->b->scalar(n->b, "seed", CVR_I64, &r->seed, n->err);
    if (n->status == CVR_OK) n->status = n->b->scalar(n->b, "step", CVR_I64, &r->step, n->err);
}

static int32_t build(const rcnn_kind *kind, const cvr_builder *b, const cvr_model_args *args, const cvr_io *io,
                     cvr_error *err) {
    const rcnn_attrs *a = (const rcnn_attrs *)args->attrs;
    net n = {.b = b, .err = err};
    rcnn r = {.n = &n, .a = a, .e = detect_read(&n, io), .v2 = kind->v2, .classes = args->num_classes + 1};
    const fpn pyramid = {&a->fpn, FPN_STAGES_OF_RCNN, FPN_EXTRA_POOL, kind->v2 ? "batch_norm2d" : NULL};
    take_targets(&r, kind->masks);
    r.n_maps = fpn_build(&n, &pyramid, r.e.image, r.maps);
    if (n.status != CVR_OK) return n.status;
    r.n_roi_maps = r.n_maps - 1; /* all but "pool" */
    const rcnn_rois proposals = rcnn_propose(&r);
    rcnn_detect(&r, &proposals, kind->masks);
    return n.status;
}

static int32_t build_faster(const cvr_builder *b, const cvr_model_args *args, const cvr_io *io, cvr_error *err) {
    return build(&(const rcnn_kind){0, 0}, b, args, io, err);
}
static int32_t build_faster_v2(const cvr_builder *b, const cvr_model_args *args, const cvr_io *io, cvr_error *err) {
    return build(&(const rcnn_kind){1, 0}, b, args, io, err);
}
static int32_t build_mask(const cvr_builder *b, const cvr_model_args *args, const cvr_io *io, cvr_error *err) {
    return build(&(const rcnn_kind){0, 1}, b, args, io, err);
}
static int32_t build_mask_v2(const cvr_builder *b, const cvr_model_args *args, const cvr_io *io, cvr_error *err) {
    return build(&(const rcnn_kind){1, 1}, b, args, io, err);
}

/* ---- names ---- */

#define CLASSIFIER "roi_heads.box_predictor.cls_score"

/* torchvision's files from before its version 0.13, and a classifier's. */
static int32_t alias(int32_t mobile, const char *name, char *out, uint64_t size) {
    static const net_name older[] = {
        {"rpn.head.conv.weight", "rpn.head.conv.0.0.weight"},
        {"rpn.head.conv.bias", "rpn.head.conv.0.0.bias"},
        {"roi_heads.mask_head.mask_fcn1", "roi_heads.mask_head.0.0"},
        {"roi_heads.mask_head.mask_fcn2", "roi_heads.mask_head.1.0"},
        {"roi_heads.mask_head.mask_fcn3", "roi_heads.mask_head.2.0"},
        {"roi_heads.mask_head.mask_fcn4", "roi_heads.mask_head.3.0"},
        {"rpn", "rpn"},
        {"roi_heads", "roi_heads"},
    };
    if (net_rename(older, NET_COUNT(older), name, out, size)) return 1;
    return fpn_alias(mobile, CLASSIFIER, name, out, size);
}
static int32_t resnet_alias(const char *name, char *out, uint64_t size) {
    return alias(0, name, out, size);
}
static int32_t mobilenet_alias(const char *name, char *out, uint64_t size) {
    return alias(1, name, out, size);
}

/* ---- keys ---- */

#define SHARE(name_, default_, doc_) CVR_ATTR(FLOAT, name_, default_, doc_, CVR_ATTR_BETWEEN(0, 1))
#define NUMBER(name_, default_, doc_) CVR_ATTR(INT, name_, default_, doc_, CVR_ATTR_BETWEEN(1, 1000000))
#define BEFORE(name_, default_) NUMBER(name_, default_, "proposals of each level before non-maximum suppression")
#define AFTER(name_, default_) NUMBER(name_, default_, "proposals of a picture after non-maximum suppression")
#define SCORE(default_) SHARE("rpn_score_thresh", default_, "proposals with a lower score are left out")

static const cvr_attr_desc resnet50 = FPN_BODY("resnet50"), mobilenet = FPN_BODY("mobilenet_v3_large"),
                           frozen = FPN_NORM("frozen"), batch = FPN_NORM("batch");

/* The keys of `body_` and `norm_` on, up to the numbers that tell torchvision's networks apart. */
#define FIRST(body_, norm_, each_)                                                                                     \
    FPN_ATTRS(body_, norm_),                                                                                           \
        CVR_ATTR(FLOATS, "anchor_sizes", "32,64,128,256,512", "sides of the anchors, pixels",                          \
                 .count = CVR_ANCHOR_MOST, CVR_ATTR_BETWEEN(1, 100000)),                                               \
        CVR_ATTR(FLOATS, "anchor_ratios", "0.5,1,2", "height / width of the anchors", .count = CVR_ANCHOR_MOST,        \
                 CVR_ATTR_BETWEEN(0.001, 1000)),                                                                       \
        CVR_ATTR(CHOICE, "anchor_levels", each_, "each level has the size in its place, or each has all sizes",        \
                 .choices = "one|all")
#define RPN                                                                                                            \
    SHARE("rpn_nms_thresh", "0.7", "IoU from which a proposal suppresses a lower one of its level"),                   \
        SHARE("rpn_fg_iou_thresh", "0.7", "least IoU of an anchor with an object that it learns as one"),              \
        SHARE("rpn_bg_iou_thresh", "0.3", "IoU of an anchor below which it is background"),                            \
        NUMBER("rpn_batch_size_per_image", "256", "anchors of a picture that the RPN learns from"),                    \
        SHARE("rpn_positive_fraction", "0.5", "share of them that may have an object")
#define BOX                                                                                                            \
    SHARE("box_score_thresh", "0.05", "detections with a lower score are left out"),                                   \
        SHARE("box_nms_thresh", "0.5", "IoU from which a detection suppresses a lower one of its class"),              \
        NUMBER("box_detections_per_img", "100", "detections of a picture at most"),                                    \
        SHARE("box_fg_iou_thresh", "0.5", "least IoU of a proposal with an object that it learns as one"),             \
        SHARE("box_bg_iou_thresh", "0.5", "IoU of a proposal below which it is background"),                           \
        NUMBER("box_batch_size_per_image", "512", "proposals of a picture that the heads learn from"),                 \
        SHARE("box_positive_fraction", "0.25", "share of them that may have an object"),                               \
        NUMBER("representation_size", "1024", "outputs of the box head's linear layers"),                              \
        CVR_ATTR(CHOICE, "draw", "random", "which anchors and proposals are learnt from: by chance, or the first",     \
                 .choices = "random|first")
#define REST(score_) RPN, SCORE(score_), BOX

static const cvr_attr_desc *const usual[] = {
    FIRST(resnet50, frozen, "one"),           BEFORE("rpn_pre_nms_top_n_train", "2000"),
    BEFORE("rpn_pre_nms_top_n_test", "1000"), AFTER("rpn_post_nms_top_n_train", "2000"),
    AFTER("rpn_post_nms_top_n_test", "1000"), REST("0")};
static const cvr_attr_desc *const second[] = {FIRST(resnet50, batch, "one"),
                                              BEFORE("rpn_pre_nms_top_n_train", "2000"),
                                              BEFORE("rpn_pre_nms_top_n_test", "1000"),
                                              AFTER("rpn_post_nms_top_n_train", "2000"),
                                              AFTER("rpn_post_nms_top_n_test", "1000"),
                                              REST("0")};
static const cvr_attr_desc *const mobile[] = {
    FIRST(mobilenet, frozen, "all"),          BEFORE("rpn_pre_nms_top_n_train", "2000"),
    BEFORE("rpn_pre_nms_top_n_test", "1000"), AFTER("rpn_post_nms_top_n_train", "2000"),
    AFTER("rpn_post_nms_top_n_test", "1000"), REST("0.05")};
static const cvr_attr_desc *const mobile_320[] = {
    FIRST(mobilenet, frozen, "all"),         BEFORE("rpn_pre_nms_top_n_train", "2000"),
    BEFORE("rpn_pre_nms_top_n_test", "150"), AFTER("rpn_post_nms_top_n_train", "2000"),
    AFTER("rpn_post_nms_top_n_test", "150"), REST("0.05")};

/* ---- models ---- */

/* The predictors, whose shapes the number of classes decides; what else stands on the pyramid. */
static const cvr_stage *const stages[] = {
    FPN_STAGES,
    NET_STAGE("head", "roi_heads.box_predictor,roi_heads.mask_predictor.mask_fcn_logits"),
    NET_STAGE("head.rpn", "rpn"),
    NET_STAGE("head.roi", "roi_heads"),
};

#define FASTER "Ren et al. 2015, as in torchvision"
#define MASK "He et al. 2017, as in torchvision"
static const char *const masks[] = {"masks"};
#define MODEL(name_, doc_, schema_, build_, alias_, ...)                                                               \
    &(const cvr_model_desc) {                                                                                          \
        .struct_size = sizeof(cvr_model_desc), .proposes = detect_proposes, .name = name_, .doc = doc_,                \
        .n_attrs = NET_COUNT(schema_), .attrs = schema_, .build = build_, .n_stages = NET_COUNT(stages),               \
        .stages = stages, .stride = fpn_stride, .alias = alias_, __VA_ARGS__                                           \
    }
static const cvr_model_desc *const models[] = {
    MODEL("fasterrcnn_resnet50_fpn", FASTER, usual, build_faster, resnet_alias),
    MODEL("fasterrcnn_resnet50_fpn_v2", FASTER, second, build_faster_v2, resnet_alias),
    MODEL("fasterrcnn_mobilenet_v3_large_fpn", FASTER, mobile, build_faster, mobilenet_alias),
    MODEL("fasterrcnn_mobilenet_v3_large_320_fpn", FASTER, mobile_320, build_faster, mobilenet_alias),
    MODEL("maskrcnn_resnet50_fpn", MASK, usual, build_mask, resnet_alias, .reads = masks, .n_reads = NET_COUNT(masks)),
    MODEL("maskrcnn_resnet50_fpn_v2", MASK, second, build_mask_v2, resnet_alias, .reads = masks,
          .n_reads = NET_COUNT(masks)),
};

CVR_STATIC_ASSERT(sizeof(rcnn_attrs) % 8 == 0, "attributes are of 8-byte cells");

static int32_t load(const cvr_host *host, const cvr_registrar *r, cvr_error *err) {
    (void)host;
    return net_register(r, models, NET_COUNT(models), err);
}

CVR_DEFINE_PLUGIN("model_rcnn", "0.1.0",
                  FPN_LAYERS DETECT_OPS
                  "layer:linear layer:flatten layer:sigmoid layer:softmax layer:slice layer:permute "
                  "layer:conv_transpose2d layer:cross_entropy op:grid_anchors op:match_boxes "
                  "op:sample_rows op:roi_align op:mask_targets op:anchor_focal_loss op:mask_loss "
                  "op:append_rows op:cut_match",
                  load)
