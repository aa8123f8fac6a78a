/*
 * MobileNetV2 (Sandler, Howard, Zhu, Zhmoginov, Chen: "MobileNetV2: Inverted Residuals and Linear Bottlenecks", 2018)
 * as torchvision has it. Names and initialisation are torchvision's.
 */
#include "mobilenet_v2_trunk.h"

typedef struct mobilenet_attrs {
    double width_mult;
    int64_t round_nearest;
    int64_t last_channel;
    double dropout;
} mobilenet_attrs;

static const net_norm_act relu6 = {"", "relu6"};

/* image: (N, C, H, W) -> output: logits, (N, num_classes) */
static int32_t mobilenet_build(const cvr_builder *b, const cvr_model_args *args, const cvr_io *io, cvr_error *err) {
    const mobilenet_attrs *a = (const mobilenet_attrs *)args->attrs;
    const mobilenet_v2_trunk t = {.width_mult = a->width_mult, .round_nearest = a->round_nearest};
    const double widens = a->width_mult > 1 ? a->width_mult : 1;
    const net_conv2d last = {net_divisible((double)a->last_channel * widens, a->round_nearest), 1, 1, 0, 1, 0};
    net n = {.b = b, .err = err, .conv = {NET_START_KAIMING, 0, 0}, .linear = {NET_START_NORMAL, 0.01, 0}};
    cvr_value blocks[MOBILENET_V2_BLOCKS];
    n.scope = "features.";
    mobilenet_v2_trunk_build(&n, &t, io->input(io, "image"), 0, NULL, blocks);
    cvr_value x = net_conv_norm(&n, blocks[MOBILENET_V2_BLOCKS - 1], "18", &last, &relu6);
    n.scope = NULL;
    x = net_layer(&n, x, "avgpool", "adaptive_avg_pool2d", "1");
    x = net_layer(&n, x, "flatten", "flatten", "");
    x = net_layer(&n, x, "classifier.0", "dropout", net_print("%.17g", a->dropout).s);
    return net_result(&n, io, net_linear(&n, x, "classifier.1", args->num_classes));
}

static const cvr_attr_desc width_mult =
    CVR_ATTR_INIT(FLOAT, "width_mult", "1", "multiplies the channels of every layer", CVR_ATTR_BETWEEN(0.01, 100));
static const cvr_attr_desc round_nearest =
    CVR_ATTR_INIT(INT, "round_nearest", "8", "channels are a multiple of it", CVR_ATTR_BETWEEN(1, 1024));
static const cvr_attr_desc last_channel =
    CVR_ATTR_INIT(INT, "last_channel", "1280", "channels of the last convolution; a width_mult above 1 multiplies it",
                  CVR_ATTR_BETWEEN(1, 65536));
static const cvr_attr_desc dropout =
    CVR_ATTR_INIT(FLOAT, "dropout", "0.2", "probability before the last layer", CVR_ATTR_BETWEEN(0, 1));
static const cvr_attr_desc *const schema[] = {&width_mult, &round_nearest, &last_channel, &dropout};

static const cvr_stage *const stages[] = {
    NET_STAGE("backbone.stem", "features.0,features.1"),
    NET_STAGE("backbone.stage2", "features.2,features.3"),
    NET_STAGE("backbone.stage3", "features.4,features.5,features.6"),
    NET_STAGE("backbone.stage4", "features.7,features.8,features.9,features.10,features.11,features.12,features.13"),
    NET_STAGE("backbone.stage5", "features"),
    NET_STAGE("head", "classifier"),
};

static const cvr_model_desc mobilenet_v2 = {.struct_size = sizeof mobilenet_v2,
                                            .name = "mobilenet_v2",
                                            .doc = "Sandler et al. 2018, as in torchvision",
                                            .n_attrs = sizeof schema / sizeof *schema,
                                            .attrs = schema,
                                            .build = mobilenet_build,
                                            .n_stages = NET_COUNT(stages),
                                            .stages = stages,
                                            .alias = mobilenet_v2_alias};

static int32_t mobilenet_load(const cvr_host *host, const cvr_registrar *r, cvr_error *err) {
    (void)host;
    return r->add(r, CVR_KIND_MODEL, &mobilenet_v2, err);
}

CVR_DEFINE_PLUGIN("model_mobilenet_v2", "0.1.0",
                  "layer:conv2d layer:batch_norm2d layer:relu6 layer:add layer:adaptive_avg_pool2d layer:flatten "
                  "layer:dropout layer:linear",
                  mobilenet_load)
