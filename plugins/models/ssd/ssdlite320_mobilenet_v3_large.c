/*
 * SSDlite320 on MobileNetV3-Large (Howard et al.: "Searching for MobileNetV3", 2019, 6.3; the heads are those of
 * Sandler et al.: "MobileNetV2", 2018, 6.2) as torchvision has it. The first maps are the widened input of the first
 * block of stride 32, and the last convolution; four blocks of stride 2 give the others. Names and initialisation are
 * torchvision's, whose last stage has half of its channels (reduced_tail) unless ImageNet's weights begin.
 */
#include "../mobilenet/mobilenet_v3_trunk.h"
#include "ssd_head.h"

#define LEAST_CHANNELS 16

typedef struct ssdlite_attrs {
    ssd_attrs ssd;
    double width_mult;
    int64_t reduced_tail;
} ssdlite_attrs;

static const net_norm_act relu6_after = {"eps=0.001 momentum=0.03", "relu6"};

/* 3x3 of each channel by itself. x: (N, C, H, W) -> (N, C, H / stride, W / stride) */
static cvr_value depthwise(net *n, const char *name, int64_t stride, cvr_value x) {
    if (n->status != CVR_OK) return x;
    const int64_t channels = net_shape(n, x)[1];
    const net_conv2d c = {channels, 3, stride, 1, channels, 0};
    return net_conv_norm(n, x, name, &c, &relu6_after);
}

/* A convolution to half of the channels, one of stride 2, one to all. x: (N, C, H, W) -> (N, channels, H / 2, W / 2) */
static cvr_value extra(net *n, const ssdlite_attrs *a, int i, int64_t channels, cvr_value x) {
    const int64_t scaled = (int64_t)((double)channels * a->width_mult),
                  out = scaled > LEAST_CHANNELS ? scaled : LEAST_CHANNELS;
    const net_conv2d narrow = {out / 2, 1, 1, 0, 1, 0}, wide = {out, 1, 1, 0, 1, 0};
    x = net_conv_norm(n, x, net_print("extra.%d.0", i).s, &narrow, &relu6_after);
    x = depthwise(n, net_print("extra.%d.1", i).s, 2, x);
    return net_conv_norm(n, x, net_print("extra.%d.2", i).s, &wide, &relu6_after);
}

static cvr_value predict(net *n, const char *name, int64_t channels, cvr_value x) {
    const net_conv2d c = {channels, 1, 1, 0, 1, 1};
    x = depthwise(n, net_print("%s.0", name).s, 1, x);
    return net_conv(n, x, net_print("%s.1", name).s, &c);
}

static int32_t build(const cvr_builder *b, const cvr_model_args *args, const cvr_io *io, cvr_error *err) {
    static const int64_t channels[SSD_MAPS] = {0, 0, 512, 256, 256, 128};
    const ssdlite_attrs *a = (const ssdlite_attrs *)args->attrs;
    net n = {.b = b, .err = err, .conv = {NET_START_NORMAL, 0.03, 0}, .scope = "backbone.features."};
    const detect_ends e = detect_read(&n, io);
    const ssd_head head = {&a->ssd, args->num_classes, predict, ".1"};
    cvr_value maps[SSD_MAPS], features[MOBILENET_V3_FEATURES];
    const mobilenet_v3_trunk t = {.size = MOBILENET_V3_LARGE,
                                  .width_mult = a->width_mult,
                                  .norm_momentum = 0.03,
                                  .reduced_tail = a->reduced_tail,
                                  .cut = &maps[0]};
    ssd_check(&n, &a->ssd);
    if (n.status != CVR_OK) return n.status;
    maps[1] = features[mobilenet_v3_trunk_build(&n, &t, e.image, features) - 1];
    n.scope = "backbone.";
    for (int i = 2; i < SSD_MAPS; i++) maps[i] = extra(&n, a, i - 2, channels[i], maps[i - 1]);
    return ssd_build_head(&n, &head, &e, maps);
}

/* A classifier's MobileNetV3-Large, torchvision's or timm's; its dense layers have no place here. */
static int32_t alias(const char *name, char *out, uint64_t size) {
    static const net_name rules[] = {
        {"features.13.block.0", "backbone.features.0.13"},  {"features.13.block.#", "backbone.features.1.0.{1}"},
        {"features.14", "backbone.features.1.1"},           {"features.15", "backbone.features.1.2"},
        {"features.16", "backbone.features.1.3"},           {"features.#", "backbone.features.0.{1}"},
        {"classifier.#", SSD_CLASS_HEAD ".module_list.0.1"}};
    char own[160];
    if (strncmp(name, "features.", 9) == 0 || strncmp(name, "classifier.", 11) == 0)
        (void)snprintf(own, sizeof own, "%.150s", name);
    else if (!mobilenet_v3_alias(MOBILENET_V3_LARGE, name, own, sizeof own))
        return 0;
    return net_rename(rules, NET_COUNT(rules), own, out, size);
}

static const cvr_attr_desc score = DETECT_SCORE("0.001"), nms = DETECT_NMS("0.55"), per_img = DETECT_PER_IMG("300"),
                           topk = DETECT_TOPK("300", "boxes of each class"),
                           scales = SSD_SCALES("0.2,0.35,0.5,0.65,0.8,0.95,1"),
                           ratios_per_map = SSD_RATIOS_PER_MAP("2,2,2,2,2,2"), steps = SSD_STEPS("");
static const cvr_attr_desc width_mult = MOBILENET_V3_WIDTH_MULT;
static const cvr_attr_desc reduced_tail = CVR_ATTR_INIT(
    BOOL, "reduced_tail", "yes", "half of the last stage's channels; ImageNet's weights of the backbone want `no`");

#define EARLY(i_) "backbone.features.0." #i_
static const cvr_stage *const stages[] = {
    NET_STAGE("backbone.stem", EARLY(0) "," EARLY(1)),
    NET_STAGE("backbone.stage2", EARLY(2) "," EARLY(3)),
    NET_STAGE("backbone.stage3", EARLY(4) "," EARLY(5) "," EARLY(6)),
    NET_STAGE("backbone.stage4", EARLY(7) "," EARLY(8) "," EARLY(9) "," EARLY(10) "," EARLY(11) "," EARLY(12)),
    NET_STAGE("backbone.stage5", "backbone.features"),
    NET_STAGE("head.extra", "backbone.extra.#"),
    SSD_HEAD_STAGES,
};

static const cvr_model_desc model = {
    .struct_size = sizeof(cvr_model_desc),
    .proposes = detect_proposes,
    .name = "ssdlite320_mobilenet_v3_large",
    .doc = "Howard et al. 2019, as in torchvision; data.img_size = 320, mean = 0.5,0.5,0.5, std = 0.5,0.5,0.5",
    .n_attrs = SSD_N_ATTRS + 2,
    .attrs = (const cvr_attr_desc *const[]){SSD_ATTRS(score, nms, per_img, topk, scales, ratios_per_map, steps),
                                            &width_mult, &reduced_tail},
    .build = build,
    .square = 1,
    .n_stages = NET_COUNT(stages),
    .stages = stages,
    .alias = alias};

static int32_t load(const cvr_host *host, const cvr_registrar *r, cvr_error *err) {
    (void)host;
    return r->add(r, CVR_KIND_MODEL, &model, err);
}

CVR_DEFINE_PLUGIN("model_ssdlite", "0.1.0",
                  DETECT_OPS "op:default_boxes op:match_boxes op:anchor_cross_entropy layer:conv2d layer:batch_norm2d "
                             "layer:relu layer:relu6 layer:hardswish layer:hardsigmoid layer:mul layer:add "
                             "layer:adaptive_avg_pool2d",
                  load)
