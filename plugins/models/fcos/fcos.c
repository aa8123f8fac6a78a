/*
 * FCOS (Tian, Shen, Chen, He: "FCOS: Fully Convolutional One-Stage Object Detection", 2019, and "FCOS: A simple and
 * strong anchor-free object detector", 2020) on a feature pyramid as torchvision has it: every pixel of a map is a
 * point that may be within an object, and says how far that reaches and how near its middle is. Any body by the key
 * `body`.
 */
#include "../fpn_head.h"

typedef struct fcos_attrs {
    fpn_head_attrs head;
    double radius;
    int64_t groups;
} fcos_attrs;

static const cvr_box_coder_attrs coder = {CVR_CODER_LTRB, {1, 1, 1, 1}};

/* (h * w, 4): squares around the points */
static cvr_value points_of(net *n, double size, cvr_value image, cvr_value map) {
    const cvr_grid_anchors_attrs g = {.n_sizes = 1, .sizes = {size}, .n_ratios = 1, .ratios = {1}};
    return detect_grid_anchors(n, &g, image, map);
}

/* (N, A) i32: the object of each point */
static cvr_value match(net *n, const fcos_attrs *a, const detect_ends *e, const detect_heads *h,
                       const detect_joined *j) {
    cvr_match_points_attrs m = {.radius = a->radius, .n_levels = h->n_levels};
    const cvr_value in[3] = {j->anchors, e->boxes, e->counts};
    int64_t end = 0;
    for (uint32_t i = 0; i < h->n_levels && n->status == CVR_OK; i++)
        m.level_ends[i] = end += net_shape(n, h->anchors[i])[0];
    return net_emit1(n, NET_OP("match_points", &m), in, 3);
}

static void put_losses(net *n, const fcos_attrs *a, const detect_ends *e, const detect_heads *h,
                       const detect_joined *j) {
    const cvr_anchor_focal_attrs focal = {.alpha = 0.25, .gamma = 2, .norm = CVR_NORM_POSITIVES};
    const cvr_anchor_box_loss_attrs box = {
        .kind = CVR_BOX_GIOU, .coder = coder.coder, .weights = {1, 1, 1, 1}, .norm = CVR_NORM_POSITIVES};
    const cvr_centerness_attrs middle = {CVR_NORM_POSITIVES};
    const cvr_value object = match(n, a, e, h, j), target = detect_targets(n, e, object, -1);
    const cvr_value of_class[2] = {j->logits, target}, of_box[4] = {j->deltas, j->anchors, e->boxes, object},
                    of_middle[4] = {j->centerness, j->anchors, e->boxes, object};
    detect_put_loss(n, e, "classification", NET_OP("anchor_focal_loss", &focal), of_class, 2, 2);
    detect_put_loss(n, e, "bbox_regression", NET_OP("anchor_box_loss", &box), of_box, 4, 2);
    detect_put_loss(n, e, "bbox_ctrness", NET_OP("centerness_loss", &middle), of_middle, 4, 2);
}

static int32_t build(const cvr_builder *b, const cvr_model_args *args, const cvr_io *io, cvr_error *err) {
    const fcos_attrs *a = (const fcos_attrs *)args->attrs;
    net n = {.b = b, .err = err};
    const detect_ends e = detect_read(&n, io);
    cvr_value maps[FPN_MOST_MAPS];
    detect_heads h = {.n_levels = fpn_head_maps(&n, &a->head, FPN_EXTRA_P6P7, e.image, maps)};
    for (uint32_t i = 0; i < h.n_levels && n.status == CVR_OK; i++) {
        const cvr_value classes = fpn_tower(&n, "head.classification_head.conv", FPN_TOWER_FLAT, a->groups, maps[i]),
                        boxes = fpn_tower(&n, "head.regression_head.conv", FPN_TOWER_FLAT, a->groups, maps[i]);
        h.logits[i] = fpn_head_rows(&n, FPN_HEAD_CLASSES, 1, args->num_classes + 1, fpn_head_prior(), classes);
        const cvr_value sides = fpn_head_rows(&n, "head.regression_head.bbox_reg", 1, 4, 0, boxes);
        h.deltas[i] = net_layer(&n, sides, "head.regression_head.relu", "relu", "");
        h.centerness[i] = fpn_head_rows(&n, "head.regression_head.bbox_ctrness", 1, 1, 0, boxes);
        h.anchors[i] = points_of(&n, a->head.anchor_sizes[i], e.image, maps[i]);
    }
    if (n.status != CVR_OK) return n.status;
    const detect_joined j = detect_join(&n, &h);
    detect_put_training(&n, &e, j.logits);
    detect_put_heads(&n, &e, &j);
    if (e.boxes) put_losses(&n, a, &e, &h, &j);
    if (!b->training) detect_put_by_level(&n, &e, &h, &coder, &a->head.detect);
    return n.status;
}

static int32_t alias(const char *name, char *out, uint64_t size) {
    static const net_name own[] = {{"head", "head"}};
    if (net_rename(own, NET_COUNT(own), name, out, size)) return 1;
    return fpn_alias(0, FPN_HEAD_CLASSES, name, out, size);
}

static const cvr_attr_desc score = DETECT_SCORE("0.2"), nms = DETECT_NMS("0.6"), per_img = DETECT_PER_IMG("100"),
                           body = FPN_BODY("resnet50"), frozen = FPN_NORM("frozen"),
                           sizes = FPN_HEAD_SIZES("8,16,32,64,128");
static const cvr_attr_desc radius = CVR_ATTR_INIT(
    FLOAT, "center_sampling_radius", "1.5",
    "how far from an object's middle points belong to it, in sides of their anchor", CVR_ATTR_BETWEEN(0.01, 1000));

static const cvr_stage *const stages[] = {FPN_STAGES, FPN_HEAD_STAGES};
static const cvr_attr_desc *const attrs[] = {&score, &nms,    &per_img,        &fpn_head_topk, FPN_ATTRS(body, frozen),
                                             &sizes, &radius, &fpn_head_groups};

static const cvr_model_desc model = {.struct_size = sizeof(cvr_model_desc),
                                     .proposes = detect_proposes,
                                     .name = "fcos_resnet50_fpn",
                                     .doc = "Tian et al. 2019, as in torchvision",
                                     .n_attrs = NET_COUNT(attrs),
                                     .attrs = attrs,
                                     .build = build,
                                     .n_stages = NET_COUNT(stages),
                                     .stages = stages,
                                     .stride = fpn_stride,
                                     .alias = alias};

static int32_t load(const cvr_host *host, const cvr_registrar *r, cvr_error *err) {
    (void)host;
    return r->add(r, CVR_KIND_MODEL, &model, err);
}

CVR_DEFINE_PLUGIN("model_fcos", "0.1.0",
                  FPN_LAYERS DETECT_OPS "layer:group_norm op:grid_anchors op:match_points op:anchor_focal_loss "
                                        "op:centerness_loss op:joint_score",
                  load)
