/*
 * SSD300 (Liu et al.: "SSD: Single Shot MultiBox Detector", 2016) on VGG-16, as torchvision has it: conv4_3, scaled to
 * one length, and conv7 are the first maps, four blocks of stride 2 or without padding give the others. Names and
 * initialisation are torchvision's.
 */
#include "ssd_head.h"

#define VGG_STAGES 5
#define FIRST_SCALE 20.0
#define LEAST_SIDE 268 /* of pictures: the fifth map then has 3 x 3 pixels, and the sixth one */

typedef struct ssd300_attrs {
    ssd_attrs ssd;
    int64_t n_layers;
    int64_t layers[VGG_STAGES];
    int64_t width;
} ssd300_attrs;

/* VGG's convolutions of one stage, numbered on from *i. */
static cvr_value vgg_stage(net *n, const ssd300_attrs *a, int stage, const char *part, int *i, cvr_value x) {
    const net_conv2d conv = {a->width << (stage < 3 ? stage : 3), 3, 1, 1, 1, 1};
    for (int64_t k = 0; k < a->layers[stage] && n->status == CVR_OK; k++) {
        x = net_conv(n, x, net_print("%s.%d", part, (*i)++).s, &conv);
        x = net_layer(n, x, net_print("%s.%d", part, (*i)++).s, "relu", "");
    }
    return x;
}

/* Up to conv4_3: x (N, C, H, W) -> (N, 8 * width, H / 8, W / 8), the last half rounded up */
static cvr_value finest(net *n, const ssd300_attrs *a, cvr_value x) {
    int i = 0;
    for (int stage = 0; stage < 4; stage++) {
        if (stage > 0)
            x = net_layer(n, x, net_print("features.%d", i++).s, "max_pool2d", stage == 3 ? "2 ceil_mode=yes" : "2");
        x = vgg_stage(n, a, stage, "features", &i, x);
    }
    return x;
}

/* x of length 1 at each pixel, times a factor of each channel's own */
static cvr_value rescaled(net *n, cvr_value x) {
    const cvr_init init = {sizeof init, CVR_INIT_CONSTANT, 0, FIRST_SCALE, 0};
    if (n->status != CVR_OK) return x;
    const int64_t channels[1] = {net_shape(n, x)[1]}, wide[3] = {channels[0], 1, 1};
    const cvr_value scale = net_declare(n, "backbone.scale_weight", 1, channels, 0, &init);
    x = net_layer(n, x, "normalize", "l2_norm2d", "");
    return net_layer2(n, x, detect_view(n, scale, 3, wide), "rescale", "mul", "");
}

/* conv5 and what stands in place of VGG's dense layers, fc6 and fc7 */
static cvr_value deeper(net *n, const ssd300_attrs *a, cvr_value x) {
    const net_conv2d fc6 = {a->width * 16, 3, 1, 6, 1, 1}, fc7 = {a->width * 16, 1, 1, 0, 1, 1};
    int i = 1;
    x = net_layer(n, x, "extra.0.0", "max_pool2d", "2");
    x = vgg_stage(n, a, 4, "extra.0", &i, x);
    n->conv = (net_start){NET_START_XAVIER, 0, 0};
    x = net_layer(n, x, net_print("extra.0.%d.0", i).s, "max_pool2d", "3 stride=1 padding=1");
    x = net_conv_dilated(n, x, net_print("extra.0.%d.1", i).s, &fc6, 6);
    x = net_layer(n, x, net_print("extra.0.%d.2", i).s, "relu", "");
    x = net_conv(n, x, net_print("extra.0.%d.3", i).s, &fc7);
    return net_layer(n, x, net_print("extra.0.%d.4", i).s, "relu", "");
}

/* A 1x1 convolution and a 3x3 one to twice as many channels, of stride 2, or without padding. */
static cvr_value extra(net *n, int i, int64_t channels, int strided, cvr_value x) {
    const net_conv2d narrow = {channels, 1, 1, 0, 1, 1}, wide = {2 * channels, 3, strided ? 2 : 1, strided, 1, 1};
    x = net_conv(n, x, net_print("extra.%d.0", i).s, &narrow);
    x = net_layer(n, x, net_print("extra.%d.1", i).s, "relu", "");
    x = net_conv(n, x, net_print("extra.%d.2", i).s, &wide);
    return net_layer(n, x, net_print("extra.%d.3", i).s, "relu", "");
}

static cvr_value predict(net *n, const char *name, int64_t channels, cvr_value x) {
    const net_conv2d c = {channels, 3, 1, 1, 1, 1};
    return net_conv(n, x, name, &c);
}

static int32_t check(const net *n, const ssd300_attrs *a, cvr_value image) {
    const int64_t *s = net_shape(n, image);
    if (a->n_layers != VGG_STAGES)
        return cvr_fail(n->err, CVR_ERR_INVALID, "model.layers has %lld numbers; VGG has %d stages",
                        (long long)a->n_layers, VGG_STAGES);
    if (s[2] < LEAST_SIDE || s[3] < LEAST_SIDE)
        return cvr_fail(n->err, CVR_ERR_INVALID,
                        "pictures of %lldx%lld are too small for the six maps of SSD300: set data.img_size to 300, or "
                        "to %d at least",
                        (long long)s[3], (long long)s[2], LEAST_SIDE);
    return CVR_OK;
}

static int32_t build(const cvr_builder *b, const cvr_model_args *args, const cvr_io *io, cvr_error *err) {
    const ssd300_attrs *a = (const ssd300_attrs *)args->attrs;
    net n = {.b = b, .err = err, .conv = {NET_START_KAIMING, 0, 0}, .scope = "backbone."};
    const detect_ends e = detect_read(&n, io);
    const ssd_head head = {&a->ssd, args->num_classes, predict, ""};
    cvr_value maps[SSD_MAPS], x;
    ssd_check(&n, &a->ssd);
    if (n.status == CVR_OK) n.status = check(&n, a, e.image);
    if (n.status != CVR_OK) return n.status;
    x = finest(&n, a, e.image);
    maps[0] = rescaled(&n, x);
    maps[1] = x = deeper(&n, a, x);
    maps[2] = x = extra(&n, 1, 4 * a->width, 1, x);
    maps[3] = x = extra(&n, 2, 2 * a->width, 1, x);
    maps[4] = x = extra(&n, 3, 2 * a->width, 0, x);
    maps[5] = extra(&n, 4, 2 * a->width, 0, x);
    return ssd_build_head(&n, &head, &e, maps);
}

/* A classifier's VGG-16, torchvision's or timm's; its dense layers have no place here. */
static int32_t alias(const char *name, char *out, uint64_t size) {
    static const net_name rules[] = {{"features.24", "backbone.extra.0.1"},
                                     {"features.26", "backbone.extra.0.3"},
                                     {"features.28", "backbone.extra.0.5"},
                                     {"features.#", "backbone.features.{1}"}};
    if (net_rename(rules, NET_COUNT(rules), name, out, size)) return 1;
    const char *const last = strrchr(name, '.');
    const int n = strncmp(name, "classifier.", 11) == 0 || strncmp(name, "pre_logits.", 11) == 0 ||
                          strncmp(name, "head.fc.", 8) == 0
                      ? snprintf(out, size, SSD_CLASS_HEAD ".module_list.0%s", last)
                      : -1;
    return n >= 0 && (uint64_t)n < size;
}

static const cvr_attr_desc score = DETECT_SCORE("0.01"), nms = DETECT_NMS("0.45"), per_img = DETECT_PER_IMG("200"),
                           topk = DETECT_TOPK("400", "boxes of each class"),
                           scales = SSD_SCALES("0.07,0.15,0.33,0.51,0.69,0.87,1.05"),
                           ratios_per_map = SSD_RATIOS_PER_MAP("1,2,2,2,1,1"), steps = SSD_STEPS("8,16,32,64,100,300");
static const cvr_attr_desc layers = CVR_ATTR_INIT(INTS, "layers", "2,2,3,3,3", "convolutions of each of VGG's stages",
                                                  .count = VGG_STAGES, CVR_ATTR_BETWEEN(1, 100));
static const cvr_attr_desc width =
    CVR_ATTR_INIT(INT, "width", "64", "channels of VGG's first stage; all others follow", CVR_ATTR_BETWEEN(1, 4096));

/* torchvision freezes the first of these by default. */
static const cvr_stage *const stages[] = {
    NET_STAGE("backbone.stage1", "backbone.features.0,backbone.features.2"),
    NET_STAGE("backbone.stage2", "backbone.features.5,backbone.features.7"),
    NET_STAGE("backbone.stage3", "backbone.features.10,backbone.features.12,backbone.features.14"),
    NET_STAGE("backbone.stage4", "backbone.features"),
    NET_STAGE("backbone.stage5", "backbone.extra.0.1,backbone.extra.0.3,backbone.extra.0.5"),
    NET_STAGE("head.extra", "backbone.scale_weight,backbone.extra.#"),
    SSD_HEAD_STAGES,
};

static const cvr_model_desc model = {
    .struct_size = sizeof(cvr_model_desc),
    .proposes = detect_proposes,
    .name = "ssd300_vgg16",
    .doc = "Liu et al. 2016, as in torchvision; data.img_size = 300, mean = 0.48235,0.45882,0.40784, std = 1/255",
    .n_attrs = SSD_N_ATTRS + 2,
    .attrs = (const cvr_attr_desc *const[]){SSD_ATTRS(score, nms, per_img, topk, scales, ratios_per_map, steps),
                                            &layers, &width},
    .build = build,
    .square = 1,
    .n_stages = NET_COUNT(stages),
    .stages = stages,
    .alias = alias};

static int32_t load(const cvr_host *host, const cvr_registrar *r, cvr_error *err) {
    (void)host;
    return r->add(r, CVR_KIND_MODEL, &model, err);
}

CVR_DEFINE_PLUGIN("model_ssd300", "0.1.0",
                  DETECT_OPS "op:default_boxes op:match_boxes op:anchor_cross_entropy layer:conv2d layer:relu "
                             "layer:max_pool2d layer:l2_norm2d layer:mul",
                  load)
