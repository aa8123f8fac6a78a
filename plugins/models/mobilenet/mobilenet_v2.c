/*
 * MobileNetV2 (Sandler, Howard, Zhu, Zhmoginov, Chen: "MobileNetV2: Inverted Residuals and Linear Bottlenecks", 2018)
 * as torchvision has it. Names and initialisation are torchvision's.
 */
#include "../model_net.h"

typedef struct mobilenet_attrs {
    double width_mult;
    int64_t round_nearest;
    int64_t last_channel;
    double dropout;
} mobilenet_attrs;

/* The paper's table 2: expansion factor t, channels c, repeats n, stride of the first s. */
typedef struct setting {
    int64_t t, c, n, s;
} setting;

/* One block: the width that it is meant to get decides whether its result is added to what it got. */
typedef struct inverted_block {
    int64_t t, c, stride, in;
} inverted_block;
static const setting settings[] = {{1, 16, 1, 1}, {6, 24, 2, 2},  {6, 32, 3, 2}, {6, 64, 4, 2},
                                   {6, 96, 3, 1}, {6, 160, 3, 2}, {6, 320, 1, 1}};

static const net_norm_act relu6 = {"", "relu6"};

/* x: (N, C, H, W) -> (N, out, H / stride, W / stride) by way of C * t channels */
static cvr_value inverted_residual(net *n, const char *name, const inverted_block *s, cvr_value x) {
    const int64_t in = net_shape(n, x)[1], residual = s->stride == 1 && s->in == s->c;
    const net_conv2d expand = {in * s->t, 1, 1, 0, 1, 0}, project = {residual ? in : s->c, 1, 1, 0, 1, 0};
    cvr_value y = x;
    int i = 0;
    if (s->t != 1) y = net_conv_norm(n, y, net_print("%s.conv.%d", name, i++).s, &expand, &relu6);
    const int64_t hidden = net_shape(n, y)[1];
    const net_conv2d depthwise = {hidden, 3, s->stride, 1, hidden, 0};
    y = net_conv_norm(n, y, net_print("%s.conv.%d", name, i++).s, &depthwise, &relu6);
    y = net_conv(n, y, net_print("%s.conv.%d", name, i++).s, &project);
    y = net_layer(n, y, net_print("%s.conv.%d", name, i).s, "batch_norm2d", "");
    return residual ? net_layer2(n, x, y, net_print("%s.add", name).s, "add", "") : y;
}

/* image: (N, C, H, W) -> output: logits, (N, num_classes) */
static int32_t mobilenet_build(const cvr_builder *b, const cvr_model_args *args, const cvr_io *io, cvr_error *err) {
    const mobilenet_attrs *a = (const mobilenet_attrs *)args->attrs;
    const double m = a->width_mult;
    const net_conv2d stem = {net_divisible(32 * m, a->round_nearest), 3, 2, 1, 1, 0},
                     last = {net_divisible((double)a->last_channel * (m > 1 ? m : 1), a->round_nearest), 1, 1, 0, 1, 0};
    net n = {.b = b, .err = err, .conv = {NET_START_KAIMING, 0, 0}, .linear = {NET_START_NORMAL, 0.01, 0}};
    const cvr_value image = io->input(io, "image");
    cvr_value x = net_conv_norm(&n, image, "features.0", &stem, &relu6);
    int64_t width = stem.out_channels;
    int block = 1;
    for (size_t k = 0; k < sizeof settings / sizeof *settings; k++) {
        for (int64_t i = 0; i < settings[k].n && n.status == CVR_OK; i++) {
            const inverted_block s = {settings[k].t, net_divisible((double)settings[k].c * m, a->round_nearest),
                                      i == 0 ? settings[k].s : 1, width};
            width = s.c;
            x = inverted_residual(&n, net_print("features.%d", block++).s, &s, x);
        }
    }
    x = net_conv_norm(&n, x, net_print("features.%d", block).s, &last, &relu6);
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

/* The first block has no expansion in front of its depthwise convolution; the others come before it in this list. */
static const net_name timm_names[] = {
    {"conv_stem", "features.0.0"},
    {"bn1", "features.0.1"},
    {"conv_head", "features.18.0"},
    {"bn2", "features.18.1"},
    {"classifier", "classifier.1"},
    {"block.#.conv_pw", "features.{1}.conv.0.0"},
    {"block.#.bn1", "features.{1}.conv.0.1"},
    {"block.#.conv_dw", "features.{1}.conv.1.0"},
    {"block.#.bn2", "features.{1}.conv.1.1"},
    {"block.#.conv_pwl", "features.{1}.conv.2"},
    {"block.#.bn3", "features.{1}.conv.3"},
};
static const net_name timm_first[] = {
    {"conv_dw", "features.1.conv.0.0"},
    {"bn1", "features.1.conv.0.1"},
    {"conv_pw", "features.1.conv.1"},
    {"bn2", "features.1.conv.2"},
};

/* timm counts blocks within a stage, torchvision all of them. */
static int32_t timm_alias(const char *name, char *out, uint64_t size) {
    int stage, block, length = 0;
    char flat[160];
    if (sscanf(name, "blocks.%d.%d.%n", &stage, &block, &length) != 2 || !length)
        return net_rename(timm_names, NET_COUNT(timm_names), name, out, size);
    if (stage == 0) return net_rename(timm_first, NET_COUNT(timm_first), name + length, out, size);
    for (int i = 0; i < stage && i < (int)NET_COUNT(settings); i++) block += (int)settings[i].n;
    (void)snprintf(flat, sizeof flat, "block.%d.%s", block + 1, name + length);
    return net_rename(timm_names, NET_COUNT(timm_names), flat, out, size);
}

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
                                            .alias = timm_alias};

static int32_t mobilenet_load(const cvr_host *host, const cvr_registrar *r, cvr_error *err) {
    (void)host;
    return r->add(r, CVR_KIND_MODEL, &mobilenet_v2, err);
}

CVR_DEFINE_PLUGIN("model_mobilenet_v2", "0.1.0",
                  "layer:conv2d layer:batch_norm2d layer:relu6 layer:add layer:adaptive_avg_pool2d layer:flatten "
                  "layer:dropout layer:linear",
                  mobilenet_load)
