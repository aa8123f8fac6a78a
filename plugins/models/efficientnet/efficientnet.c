/*
 * EfficientNet (Tan, Le: "EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks", 2019) as
 * torchvision has it: efficientnet_b0 to efficientnet_b7. Names and initialisation are torchvision's.
 */
#include "../model_net.h"
#include <math.h>

typedef struct efficientnet_attrs {
    double width_mult, depth_mult;
    double dropout, drop_path;
    double norm_eps, norm_momentum;
} efficientnet_attrs;

/* The paper's table 1: expansion, kernel, stride of the first, channels, repeats. */
typedef struct mbconv_row {
    int64_t expand, kernel, stride, out, repeats;
} mbconv_row;
static const mbconv_row table[] = {{1, 3, 1, 16, 1},  {6, 3, 2, 24, 2},  {6, 5, 2, 40, 2}, {6, 3, 2, 80, 3},
                                   {6, 5, 1, 112, 3}, {6, 5, 2, 192, 4}, {6, 3, 1, 320, 1}};
#define STEM_CHANNELS 32

/* One block; `in`: the channels that the table gives it. */
typedef struct mbconv {
    int64_t expand, kernel, stride, in, out;
    double drop;
    const char *norm;
} mbconv;

static int64_t channels(const efficientnet_attrs *a, int64_t c) {
    return net_divisible((double)c * a->width_mult, 8);
}

static int64_t depth(const efficientnet_attrs *a, int64_t repeats) {
    return (int64_t)ceil((double)repeats * a->depth_mult);
}

/* x: (N, C, H, W) -> (N, out, H / stride, W / stride) */
static cvr_value inverted_residual(net *n, const char *name, const mbconv *k, cvr_value x) {
    const int64_t in = net_shape(n, x)[1], residual = k->stride == 1 && k->in == k->out,
                  expanded = net_divisible((double)(k->in * k->expand), 8);
    const net_norm_act silu = {k->norm, "silu"}, linear = {k->norm, NULL};
    const net_conv2d expand = {expanded, 1, 1, 0, 1, 0}, project = {residual ? in : k->out, 1, 1, 0, 1, 0};
    const net_squeeze squeeze = {k->in / 4 > 1 ? k->in / 4 : 1, "silu", "sigmoid"};
    cvr_value y = x;
    int i = 0;
    if (expanded != k->in) y = net_conv_norm(n, y, net_print("%s.block.%d", name, i++).s, &expand, &silu);
    const int64_t hidden = net_shape(n, y)[1];
    const net_conv2d depthwise = {hidden, k->kernel, k->stride, k->kernel / 2, hidden, 0};
    y = net_conv_norm(n, y, net_print("%s.block.%d", name, i++).s, &depthwise, &silu);
    y = net_squeeze_excite(n, y, net_print("%s.block.%d", name, i++).s, &squeeze);
    y = net_conv_norm(n, y, net_print("%s.block.%d", name, i).s, &project, &linear);
    if (!residual) return y;
    y = net_layer(n, y, net_print("%s.stochastic_depth", name).s, "stochastic_depth", net_print("%.17g", k->drop).s);
    return net_layer2(n, y, x, net_print("%s.add", name).s, "add", "");
}

/* All blocks of the table, features.1 to features.7; x: (N, C, H, W) */
static cvr_value blocks(net *n, const efficientnet_attrs *a, const char *norm, cvr_value x) {
    int64_t total = 0, id = 0, in = channels(a, STEM_CHANNELS);
    for (size_t k = 0; k < NET_COUNT(table); k++) total += depth(a, table[k].repeats);
    for (size_t k = 0; k < NET_COUNT(table); k++) {
        for (int64_t i = 0; i < depth(a, table[k].repeats) && n->status == CVR_OK; i++, id++) {
            const mbconv block = {.expand = table[k].expand,
                                  .kernel = table[k].kernel,
                                  .stride = i == 0 ? table[k].stride : 1,
                                  .in = in,
                                  .out = channels(a, table[k].out),
                                  .drop = a->drop_path * (double)id / (double)total,
                                  .norm = norm};
            x = inverted_residual(n, net_print("features.%d.%d", (int)k + 1, (int)i).s, &block, x);
            in = block.out;
        }
    }
    return x;
}

/* image: (N, C, H, W) -> output: logits, (N, num_classes) */
static int32_t efficientnet_build(const cvr_builder *b, const cvr_model_args *args, const cvr_io *io, cvr_error *err) {
    const efficientnet_attrs *a = (const efficientnet_attrs *)args->attrs;
    const net_text norm = net_print("eps=%.17g momentum=%.17g", a->norm_eps, a->norm_momentum);
    const net_norm_act silu = {norm.s, "silu"};
    const net_conv2d stem = {channels(a, STEM_CHANNELS), 3, 2, 1, 1, 0},
                     last = {4 * channels(a, table[NET_COUNT(table) - 1].out), 1, 1, 0, 1, 0};
    net n = {.b = b, .err = err, .conv = {NET_START_KAIMING, 0, 0}};
    n.linear = (net_start){NET_START_UNIFORM, 1 / sqrt((double)args->num_classes), 0};
    cvr_value x = net_conv_norm(&n, io->input(io, "image"), "features.0", &stem, &silu);
    x = blocks(&n, a, norm.s, x);
    x = net_conv_norm(&n, x, net_print("features.%d", (int)NET_COUNT(table) + 1).s, &last, &silu);
    x = net_layer(&n, x, "avgpool", "adaptive_avg_pool2d", "1");
    x = net_layer(&n, x, "flatten", "flatten", "");
    x = net_layer(&n, x, "classifier.0", "dropout", net_print("%.17g", a->dropout).s);
    return net_result(&n, io, net_linear(&n, x, "classifier.1", args->num_classes));
}

/* What tells the members of the family apart: defaults. */
#define WIDTH(default_)                                                                                                \
    CVR_ATTR(FLOAT, "width_mult", default_, "multiplies the channels of every layer", CVR_ATTR_BETWEEN(0.01, 100))
#define DEPTH(default_)                                                                                                \
    CVR_ATTR(FLOAT, "depth_mult", default_, "multiplies the blocks of every stage", CVR_ATTR_BETWEEN(0.01, 100))
#define DROPOUT(default_)                                                                                              \
    CVR_ATTR(FLOAT, "dropout", default_, "probability before the last layer", CVR_ATTR_BETWEEN(0, 1))
#define DROP_PATH                                                                                                      \
    CVR_ATTR(FLOAT, "drop_path", "0.2", "stochastic depth after the last block; it rises from 0 at the first",         \
             CVR_ATTR_BETWEEN(0, 1))
#define NORM_EPS(default_) CVR_ATTR(FLOAT, "norm_eps", default_, "eps of the batch norms", CVR_ATTR_AT_LEAST(0))
#define NORM_MOMENTUM(default_)                                                                                        \
    CVR_ATTR(FLOAT, "norm_momentum", default_, "momentum of the batch norms", CVR_ATTR_BETWEEN(0, 1))

/* The blocks of the first stage have no expansion in front of their depthwise convolution. */
static const net_name timm_names[] = {
    {"conv_stem", "features.0.0"},
    {"bn1", "features.0.1"},
    {"conv_head", "features.8.0"},
    {"bn2", "features.8.1"},
    {"classifier", "classifier.1"},
    {"blocks.0.#.conv_dw", "features.1.{1}.block.0.0"},
    {"blocks.0.#.bn1", "features.1.{1}.block.0.1"},
    {"blocks.0.#.se.conv_reduce", "features.1.{1}.block.1.fc1"},
    {"blocks.0.#.se.conv_expand", "features.1.{1}.block.1.fc2"},
    {"blocks.0.#.conv_pw", "features.1.{1}.block.2.0"},
    {"blocks.0.#.bn2", "features.1.{1}.block.2.1"},
    {"blocks.#.#.conv_pw", "features.{1:1+1}.{2}.block.0.0"},
    {"blocks.#.#.bn1", "features.{1:1+1}.{2}.block.0.1"},
    {"blocks.#.#.conv_dw", "features.{1:1+1}.{2}.block.1.0"},
    {"blocks.#.#.bn2", "features.{1:1+1}.{2}.block.1.1"},
    {"blocks.#.#.se.conv_reduce", "features.{1:1+1}.{2}.block.2.fc1"},
    {"blocks.#.#.se.conv_expand", "features.{1:1+1}.{2}.block.2.fc2"},
    {"blocks.#.#.conv_pwl", "features.{1:1+1}.{2}.block.3.0"},
    {"blocks.#.#.bn3", "features.{1:1+1}.{2}.block.3.1"},
};

static int32_t timm_alias(const char *name, char *out, uint64_t size) {
    return net_rename(timm_names, NET_COUNT(timm_names), name, out, size);
}

static const cvr_stage *const stages[] = {
    NET_STAGE("backbone.stem", "features.0"),
    NET_STAGE("backbone.stage1", "features.1.#"),
    NET_STAGE("backbone.stage2", "features.2.#"),
    NET_STAGE("backbone.stage3", "features.3.#"),
    NET_STAGE("backbone.stage4", "features.4.#"),
    NET_STAGE("backbone.stage5", "features.5.#"),
    NET_STAGE("backbone.stage6", "features.6.#"),
    NET_STAGE("backbone.stage7", "features.7.#,features.8"),
    NET_STAGE("head", "classifier"),
};

#define MODEL(name_, width_, depth_, dropout_, eps_, momentum_)                                                        \
    &(const cvr_model_desc) {                                                                                          \
        .struct_size = sizeof(cvr_model_desc), .name = name_, .doc = "Tan, Le 2019, as in torchvision", .n_attrs = 6,  \
        .attrs = (const cvr_attr_desc *const[]){WIDTH(width_), DEPTH(depth_),  DROPOUT(dropout_),                      \
                                                DROP_PATH,     NORM_EPS(eps_), NORM_MOMENTUM(momentum_)},              \
        .build = efficientnet_build, .n_stages = NET_COUNT(stages), .stages = stages, .alias = timm_alias              \
    }

/* The authors' scaling coefficients; the batch norms of the larger ones are TensorFlow's. */
static const cvr_model_desc *const models[] = {
    MODEL("efficientnet_b0", "1", "1", "0.2", "1e-5", "0.1"),
    MODEL("efficientnet_b1", "1", "1.1", "0.2", "1e-5", "0.1"),
    MODEL("efficientnet_b2", "1.1", "1.2", "0.3", "1e-5", "0.1"),
    MODEL("efficientnet_b3", "1.2", "1.4", "0.3", "1e-5", "0.1"),
    MODEL("efficientnet_b4", "1.4", "1.8", "0.4", "1e-5", "0.1"),
    MODEL("efficientnet_b5", "1.6", "2.2", "0.4", "0.001", "0.01"),
    MODEL("efficientnet_b6", "1.8", "2.6", "0.5", "0.001", "0.01"),
    MODEL("efficientnet_b7", "2", "3.1", "0.5", "0.001", "0.01"),
};

static int32_t efficientnet_load(const cvr_host *host, const cvr_registrar *r, cvr_error *err) {
    (void)host;
    return net_register(r, models, NET_COUNT(models), err);
}

CVR_DEFINE_PLUGIN("model_efficientnet", "0.1.0",
                  "layer:conv2d layer:batch_norm2d layer:silu layer:sigmoid layer:mul layer:stochastic_depth layer:add "
                  "layer:adaptive_avg_pool2d layer:flatten layer:dropout layer:linear",
                  efficientnet_load)
