/*
 * MobileNetV3 (Howard et al.: "Searching for MobileNetV3", 2019) as torchvision has it: mobilenet_v3_large and
 * mobilenet_v3_small. Names and initialisation are torchvision's.
 */
#include "../model_net.h"

#define NORM "eps=0.001 momentum=0.01"

typedef struct mobilenet_v3_attrs {
    int64_t size;
    double width_mult;
    double dropout;
} mobilenet_v3_attrs;

/* The paper's tables 1 and 2: kernel, channels within and at the end, squeeze-and-excitation, hard swish, stride. */
typedef struct bneck_row {
    int64_t kernel, expanded, out, squeeze, hard_swish, stride;
} bneck_row;
static const bneck_row large[] = {
    {3, 16, 16, 0, 0, 1},   {3, 64, 24, 0, 0, 2},   {3, 72, 24, 0, 0, 1},   {5, 72, 40, 1, 0, 2},
    {5, 120, 40, 1, 0, 1},  {5, 120, 40, 1, 0, 1},  {3, 240, 80, 0, 1, 2},  {3, 200, 80, 0, 1, 1},
    {3, 184, 80, 0, 1, 1},  {3, 184, 80, 0, 1, 1},  {3, 480, 112, 1, 1, 1}, {3, 672, 112, 1, 1, 1},
    {5, 672, 160, 1, 1, 2}, {5, 960, 160, 1, 1, 1}, {5, 960, 160, 1, 1, 1},
};
static const bneck_row small[] = {
    {3, 16, 16, 1, 0, 2},  {3, 72, 24, 0, 0, 2},  {3, 88, 24, 0, 0, 1},  {5, 96, 40, 1, 1, 2},
    {5, 240, 40, 1, 1, 1}, {5, 240, 40, 1, 1, 1}, {5, 120, 48, 1, 1, 1}, {5, 144, 48, 1, 1, 1},
    {5, 288, 96, 1, 1, 2}, {5, 576, 96, 1, 1, 1}, {5, 576, 96, 1, 1, 1},
};
#define STEM_CHANNELS 16

/* Either table, and features of the last hidden layer. */
static const struct {
    const bneck_row *rows;
    size_t count;
    int64_t last_channel;
} sizes[] = {{large, NET_COUNT(large), 1280}, {small, NET_COUNT(small), 1024}};

/* One block, all channels multiplied. `in`: the channels that the table gives it. */
typedef struct bneck {
    bneck_row row;
    int64_t in;
} bneck;

static int64_t channels(const mobilenet_v3_attrs *a, int64_t c) {
    return net_divisible((double)c * a->width_mult, 8);
}

/* x: (N, C, H, W) -> (N, out, H / stride, W / stride) */
static cvr_value inverted_residual(net *n, const char *name, const bneck *k, cvr_value x) {
    const int64_t in = net_shape(n, x)[1], residual = k->row.stride == 1 && k->in == k->row.out;
    const net_norm_act act = {NORM, k->row.hard_swish ? "hardswish" : "relu"}, linear = {NORM, NULL};
    const net_conv2d expand = {k->row.expanded, 1, 1, 0, 1, 0}, project = {residual ? in : k->row.out, 1, 1, 0, 1, 0};
    const net_squeeze squeeze = {net_divisible((double)(k->row.expanded / 4), 8), "relu", "hardsigmoid"};
    cvr_value y = x;
    int i = 0;
    if (k->row.expanded != k->in) y = net_conv_norm(n, y, net_print("%s.block.%d", name, i++).s, &expand, &act);
    const int64_t hidden = net_shape(n, y)[1];
    const net_conv2d depthwise = {hidden, k->row.kernel, k->row.stride, k->row.kernel / 2, hidden, 0};
    y = net_conv_norm(n, y, net_print("%s.block.%d", name, i++).s, &depthwise, &act);
    if (k->row.squeeze) y = net_squeeze_excite(n, y, net_print("%s.block.%d", name, i++).s, &squeeze);
    y = net_conv_norm(n, y, net_print("%s.block.%d", name, i).s, &project, &linear);
    return residual ? net_layer2(n, y, x, net_print("%s.add", name).s, "add", "") : y;
}

/* image: (N, C, H, W) -> output: logits, (N, num_classes) */
static int32_t mobilenet_v3_build(const cvr_builder *b, const cvr_model_args *args, const cvr_io *io, cvr_error *err) {
    const mobilenet_v3_attrs *a = (const mobilenet_v3_attrs *)args->attrs;
    const bneck_row *rows = sizes[a->size].rows;
    const size_t count = sizes[a->size].count;
    const net_norm_act hard_swish = {NORM, "hardswish"};
    const net_conv2d stem = {channels(a, STEM_CHANNELS), 3, 2, 1, 1, 0},
                     last = {6 * channels(a, rows[count - 1].out), 1, 1, 0, 1, 0};
    net n = {.b = b, .err = err, .conv = {NET_START_KAIMING, 0, 0}, .linear = {NET_START_NORMAL, 0.01, 0}};
    cvr_value x = net_conv_norm(&n, io->input(io, "image"), "features.0", &stem, &hard_swish);
    int64_t in = stem.out_channels;
    for (size_t i = 0; i < count && n.status == CVR_OK; i++) {
        bneck k = {rows[i], in};
        k.row.expanded = channels(a, rows[i].expanded);
        k.row.out = in = channels(a, rows[i].out);
        x = inverted_residual(&n, net_print("features.%d", (int)i + 1).s, &k, x);
    }
    x = net_conv_norm(&n, x, net_print("features.%d", (int)count + 1).s, &last, &hard_swish);
    x = net_layer(&n, x, "avgpool", "adaptive_avg_pool2d", "1");
    x = net_layer(&n, x, "flatten", "flatten", "");
    x = net_linear(&n, x, "classifier.0", channels(a, sizes[a->size].last_channel));
    x = net_layer(&n, x, "classifier.1", "hardswish", "");
    x = net_layer(&n, x, "classifier.2", "dropout", net_print("%.17g", a->dropout).s);
    return net_result(&n, io, net_linear(&n, x, "classifier.3", args->num_classes));
}

#define TABLE(default_)                                                                                                \
    CVR_ATTR_INIT(CHOICE, "size", default_, "the paper's table 1 or table 2", .choices = "large|small")
static const cvr_attr_desc table_1 = TABLE("large"), table_2 = TABLE("small");
static const cvr_attr_desc width_mult =
    CVR_ATTR_INIT(FLOAT, "width_mult", "1", "multiplies the channels of every layer", CVR_ATTR_BETWEEN(0.01, 100));
static const cvr_attr_desc dropout =
    CVR_ATTR_INIT(FLOAT, "dropout", "0.2", "probability before the last layer", CVR_ATTR_BETWEEN(0, 1));

/* ---- timm's names ---- */

static const int64_t large_stages[] = {1, 2, 3, 4, 2, 3}, small_stages[] = {1, 2, 3, 2, 3};

/* What a part of a block is called; parts count from the block's first convolution on. */
static int32_t block_alias(const bneck_row *row, int expands, const char *part, int64_t feature, char *out,
                           uint64_t size) {
    const int dw = expands, squeeze = dw + 1, project = squeeze + (row->squeeze != 0);
    const net_text base = net_print("features.%lld.block", (long long)feature);
    const net_name rules[] = {
        {expands ? "conv_pw" : "conv_dw", net_print("%s.0.0", base.s).s},
        {"bn1", net_print("%s.0.1", base.s).s},
        {expands ? "conv_dw" : "conv_pw", net_print("%s.%d.0", base.s, expands ? dw : project).s},
        {"bn2", net_print("%s.%d.1", base.s, expands ? dw : project).s},
        {"se.conv_reduce", net_print("%s.%d.fc1", base.s, squeeze).s},
        {"se.conv_expand", net_print("%s.%d.fc2", base.s, squeeze).s},
        {"conv_pwl", net_print("%s.%d.0", base.s, project).s},
        {"bn3", net_print("%s.%d.1", base.s, project).s},
    };
    return net_rename(rules, NET_COUNT(rules), part, out, size);
}

/* timm counts blocks within a stage, torchvision all of them; the last stage is the convolution after them. */
static int32_t timm_alias(int which, const int64_t *stages_of, int n_stages, const char *name, char *out,
                          uint64_t size) {
    const int64_t count = (int64_t)sizes[which].count;
    const net_text last = net_print("features.%lld.0", (long long)count + 1),
                   last_norm = net_print("features.%lld.1", (long long)count + 1);
    const net_name others[] = {{"conv_stem", "features.0.0"},
                               {"bn1", "features.0.1"},
                               {"conv", last.s},
                               {"conv_head", "classifier.0"},
                               {"classifier", "classifier.3"}},
                   ends[] = {{"conv", last.s}, {"bn1", last_norm.s}};
    int stage, block, length = 0;
    if (sscanf(name, "blocks.%d.%d.%n", &stage, &block, &length) != 2 || !length)
        return net_rename(others, NET_COUNT(others), name, out, size);
    if (stage == n_stages) return net_rename(ends, NET_COUNT(ends), name + length, out, size);
    int64_t i = block;
    for (int k = 0; k < stage && k < n_stages; k++) i += stages_of[k];
    if (stage < 0 || block < 0 || i >= count) return 0;
    return block_alias(&sizes[which].rows[i], i > 0, name + length, i + 1, out, size);
}

static int32_t alias_large(const char *name, char *out, uint64_t size) {
    return timm_alias(0, large_stages, NET_COUNT(large_stages), name, out, size);
}

static int32_t alias_small(const char *name, char *out, uint64_t size) {
    return timm_alias(1, small_stages, NET_COUNT(small_stages), name, out, size);
}

static const cvr_stage *const stages[] = {
    NET_STAGE("head", "classifier.3"),
    NET_STAGE("backbone.classifier", "classifier"),
    NET_STAGE("backbone.stem", "features.0,features.1"),
    NET_STAGE("backbone.stage2", "features.2,features.3"),
    NET_STAGE("backbone.stage3", "features.4,features.5,features.6"),
    NET_STAGE("backbone.stage4", "features.7,features.8,features.9"),
    NET_STAGE("backbone.stage5", "features"),
};

#define MODEL(name_, table_, alias_)                                                                                   \
    &(const cvr_model_desc) {                                                                                          \
        .struct_size = sizeof(cvr_model_desc), .name = name_, .doc = "Howard et al. 2019, as in torchvision",          \
        .n_attrs = 3, .attrs = (const cvr_attr_desc *const[]){&table_, &width_mult, &dropout},                         \
        .build = mobilenet_v3_build, .n_stages = NET_COUNT(stages), .stages = stages, .alias = alias_                  \
    }

static const cvr_model_desc *const models[] = {
    MODEL("mobilenet_v3_large", table_1, alias_large),
    MODEL("mobilenet_v3_small", table_2, alias_small),
};

static int32_t mobilenet_v3_load(const cvr_host *host, const cvr_registrar *r, cvr_error *err) {
    (void)host;
    return net_register(r, models, NET_COUNT(models), err);
}

CVR_DEFINE_PLUGIN("model_mobilenet_v3", "0.1.0",
                  "layer:conv2d layer:batch_norm2d layer:relu layer:hardswish layer:hardsigmoid layer:mul layer:add "
                  "layer:adaptive_avg_pool2d layer:flatten layer:dropout layer:linear",
                  mobilenet_v3_load)
