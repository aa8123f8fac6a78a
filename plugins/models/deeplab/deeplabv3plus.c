/*
 * DeepLabV3+ (Chen, Zhu, Papandreou, Schroff, Adam: "Encoder-Decoder with Atrous Separable Convolution for Semantic
 * Image Segmentation", 2018), of which there is no one reference: names and numbers are those of VainF's
 * DeepLabV3Plus-Pytorch, which has torchvision's ResNets and pyramid. The pyramid's result, as large as the features of
 * output stride 4, and these, reduced, are put side by side, low ones first, and classified.
 *
 * Its MobileNetV2 has its zeros around the input of each block, so that weights of torchvision's mean about the same at
 * the borders of the picture and exactly the same elsewhere.
 */
#include "../mobilenet/mobilenet_v2_trunk.h"
#include "aspp.h"

#define LOW_BLOCK 3 /* of MobileNetV2: the last of output stride 4 */

/* Of all; then come a backbone's own. */
typedef struct plus_attrs {
    aspp_attrs aspp;
    int64_t output_stride; /* 0: 16, 1: 8 */
    int64_t low_channels;
} plus_attrs;
typedef struct plus_resnet_attrs {
    plus_attrs head;
    dense_resnet resnet;
    double norm_momentum;
} plus_resnet_attrs;
typedef struct plus_mobilenet_attrs {
    plus_attrs head;
    double width_mult, norm_momentum;
} plus_mobilenet_attrs;

static int64_t stride_of(const plus_attrs *a) {
    return a->output_stride ? 8 : 16;
}

/* What the backbone gives. */
typedef struct features {
    cvr_value image, low, high;
} features;

/* low: (N, C, h, w), high: (N, D, h / s, w / s) -> output: logits, (N, num_classes, H, W) */
static int32_t add_head(net *n, const plus_attrs *a, const cvr_io *io, int64_t num_classes, const features *f) {
    const net_conv2d reduce = {a->low_channels, 1, 1, 0, 1, 0}, three = {a->aspp.channels, 3, 1, 1, 1, 0},
                     classes = {num_classes, 1, 1, 0, 1, 1};
    aspp_attrs pyramid = a->aspp;
    for (int i = 0; i < 3 && a->aspp.n_rates == 0; i++) pyramid.rates[i] = (i + 1) * 96 / stride_of(a);
    pyramid.n_rates = a->aspp.n_rates ? a->aspp.n_rates : 3;
    n->scope = NULL;
    n->conv = (net_start){NET_START_KAIMING_IN, 0, NET_BIAS_TORCH};
    const cvr_value low = dense_conv(n, "classifier.project", 0, &reduce, 1, f->low);
    cvr_value x = aspp(n, "classifier.aspp", &pyramid, f->high);
    x = dense_resize(n, x, "classifier.resize", low, DENSE_BILINEAR);
    x = net_layer2(n, low, x, "classifier.concat", "concat", "1");
    x = dense_conv(n, "classifier.classifier", 0, &three, 1, x);
    x = net_conv(n, x, "classifier.classifier.3", &classes);
    return net_result(n, io, dense_resize(n, x, "resize", f->image, DENSE_BILINEAR));
}

/* image: (N, C, H, W) */
static int32_t build_on_resnet(const cvr_builder *b, const cvr_model_args *args, const cvr_io *io, cvr_error *err) {
    const plus_resnet_attrs *a = (const plus_resnet_attrs *)args->attrs;
    net n = {.b = b, .err = err, .conv = DENSE_KAIMING, .scope = "backbone."};
    resnet_trunk t = dense_trunk(&n, &a->resnet, stride_of(&a->head));
    const cvr_value image = io->input(io, "image");
    cvr_value stages[4] = {image, image, image, image};
    const net_text norm = net_print("momentum=%.17g", a->norm_momentum);
    t.norm = norm.s;
    if (n.status == CVR_OK) resnet_trunk_stages(&n, &t, resnet_trunk_stem(&n, &t, image), stages);
    const features f = {image, stages[0], stages[3]};
    return add_head(&n, &a->head, io, args->num_classes, &f);
}

static int32_t build_on_mobilenet(const cvr_builder *b, const cvr_model_args *args, const cvr_io *io, cvr_error *err) {
    const plus_mobilenet_attrs *a = (const plus_mobilenet_attrs *)args->attrs;
    const net_text norm = net_print("momentum=%.17g", a->norm_momentum);
    const mobilenet_v2_trunk t = {.width_mult = a->width_mult,
                                  .round_nearest = 8,
                                  .output_stride = stride_of(&a->head),
                                  .pads_input = 1,
                                  .norm = norm.s};
    net n = {.b = b, .err = err, .conv = DENSE_KAIMING, .scope = "backbone.low_level_features."};
    const cvr_value image = io->input(io, "image");
    cvr_value blocks[MOBILENET_V2_BLOCKS];
    mobilenet_v2_trunk_build(&n, &t, image, LOW_BLOCK + 1, "backbone.high_level_features.", blocks);
    const features f = {image, blocks[LOW_BLOCK], blocks[MOBILENET_V2_BLOCKS - 1]};
    return add_head(&n, &a->head, io, args->num_classes, &f);
}

static int32_t resnet_alias(const char *name, char *out, uint64_t size) {
    return resnet_trunk_alias("backbone.", "classifier.classifier.3", name, out, size);
}

/* torchvision's or timm's MobileNetV2; its last convolution and its classifier have no place here. */
static int32_t mobilenet_alias(const char *name, char *out, uint64_t size) {
    char own[160];
    int block, length = 0;
    if (strncmp(name, "features.", 9) == 0 || strncmp(name, "classifier.", 11) == 0)
        (void)snprintf(own, sizeof own, "%.150s", name);
    else if (!mobilenet_v2_alias(name, own, sizeof own))
        return 0;
    const int kept = sscanf(own, "features.%d%n", &block, &length) == 1 && block < MOBILENET_V2_BLOCKS;
    const int n = kept ? snprintf(out, size, "backbone.%s_level_features.%d%s", block > LOW_BLOCK ? "high" : "low",
                                  block, own + length)
                       : snprintf(out, size, "classifier.classifier.3.weight");
    return n >= 0 && (uint64_t)n < size;
}

static const cvr_attr_desc rates =
                               ASPP_RATES("", "dilations of the pyramid's three 3x3 convolutions; left out: 6,12,18 "
                                              "of output stride 16, 12,24,36 of 8"),
                           channels = ASPP_CHANNELS, dropout = DENSE_DROPOUT("0.1");
static const cvr_attr_desc output_stride = CVR_ATTR_INIT(
    CHOICE, "output_stride", "16", "pixels of the picture for one of the backbone's last features", .choices = "16|8");
static const cvr_attr_desc low_channels =
    CVR_ATTR_INIT(INT, "low_channels", "48", "channels that the features of output stride 4 are reduced to",
                  CVR_ATTR_BETWEEN(1, 65536));
static const cvr_attr_desc layers_50 = RESNET_LAYERS(RESNET_LAYERS_50), layers_101 = RESNET_LAYERS(RESNET_LAYERS_101),
                           width = RESNET_WIDTH,
                           width_mult = CVR_ATTR_INIT(FLOAT, "width_mult", "1",
                                                      "multiplies the channels of the backbone's layers",
                                                      CVR_ATTR_BETWEEN(0.01, 100)),
                           norm_momentum =
                               CVR_ATTR_INIT(FLOAT, "norm_momentum", "0.01", "momentum of the backbone's batch norms",
                                             CVR_ATTR_BETWEEN(0, 1));

#define HEAD_STAGES NET_STAGE("head", "classifier.classifier.3"), NET_STAGE("head.decoder", "classifier")
static const cvr_stage *const resnet_stages[] = {DENSE_RESNET_STAGES, HEAD_STAGES};
#define HIGH "backbone.high_level_features."
static const cvr_stage *const mobilenet_stages[] = {
    NET_STAGE("backbone.stem", "backbone.low_level_features.0,backbone.low_level_features.1"),
    NET_STAGE("backbone.stage2", "backbone.low_level_features"),
    NET_STAGE("backbone.stage3", HIGH "4," HIGH "5," HIGH "6"),
    NET_STAGE("backbone.stage4", HIGH "7," HIGH "8," HIGH "9," HIGH "10," HIGH "11," HIGH "12," HIGH "13"),
    NET_STAGE("backbone.stage5", "backbone"),
    HEAD_STAGES,
};

#define MODEL(name_, build_, alias_, stages_, ...)                                                                     \
    &(const cvr_model_desc) {                                                                                          \
        .struct_size = sizeof(cvr_model_desc), .proposes = dense_proposes, .name = name_,                              \
        .doc = "Chen et al. 2018, as VainF has it",                                                                    \
        .n_attrs = 5 + sizeof((const void *[]){__VA_ARGS__}) / sizeof(void *),                                         \
        .attrs =                                                                                                       \
            (const cvr_attr_desc *const[]){&rates, &channels, &dropout, &output_stride, &low_channels, __VA_ARGS__},   \
        .build = build_, .n_stages = NET_COUNT(stages_), .stages = stages_, .alias = alias_                            \
    }
static const cvr_model_desc *const models[] = {
    MODEL("deeplabv3plus_resnet50", build_on_resnet, resnet_alias, resnet_stages, &layers_50, &width, &norm_momentum),
    MODEL("deeplabv3plus_resnet101", build_on_resnet, resnet_alias, resnet_stages, &layers_101, &width, &norm_momentum),
    MODEL("deeplabv3plus_mobilenet_v2", build_on_mobilenet, mobilenet_alias, mobilenet_stages, &width_mult,
          &norm_momentum),
};

static int32_t deeplabv3plus_load(const cvr_host *host, const cvr_registrar *r, cvr_error *err) {
    (void)host;
    return net_register(r, models, NET_COUNT(models), err);
}

CVR_DEFINE_PLUGIN("model_deeplabv3plus", "0.1.0",
                  "layer:conv2d layer:batch_norm2d layer:relu layer:relu6 layer:add layer:max_pool2d "
                  "layer:adaptive_avg_pool2d layer:concat layer:dropout layer:upsample",
                  deeplabv3plus_load)
