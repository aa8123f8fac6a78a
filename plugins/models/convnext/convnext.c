/*
 * ConvNeXt (Liu, Mao, Wu, Feichtenhofer, Darrell, Xie: "A ConvNet for the 2020s", 2022) as torchvision has it. Names
 * and initialisation are torchvision's (its trunc_normal_ is cut at -2 and 2, far outside of a deviation of 0.02).
 */
#include "../model_net.h"

typedef struct convnext_attrs {
    int64_t n_layers;
    int64_t layers[4];
    int64_t width;
    double layer_scale;
    double drop_path;
} convnext_attrs;

/* x: (N, C, H, W) -> the same: x + drop(layer_scale * MLP(norm(7x7 depthwise convolution of x))) */
static cvr_value block(net *n, const char *name, double layer_scale, double drop, cvr_value x) {
    const int64_t *shape = net_shape(n, x), channels = shape[1];
    const net_conv2d depthwise = {channels, 7, 1, 3, channels, 1};
    const net_text size = net_print("%lld,%lld", (long long)shape[2], (long long)shape[3]);
    const cvr_init init = {sizeof init, CVR_INIT_CONSTANT, 0, layer_scale, 0};
    cvr_value y = net_conv(n, x, net_print("%s.block.0", name).s, &depthwise);
    y = net_layer(n, y, net_print("%s.block.1", name).s, "to_tokens", "");
    y = net_layer(n, y, net_print("%s.block.2", name).s, "layer_norm",
                  net_print("%lld eps=1e-6", (long long)net_shape(n, y)[2]).s);
    y = net_linear(n, y, net_print("%s.block.3", name).s, 4 * channels);
    y = net_layer(n, y, net_print("%s.block.4", name).s, "gelu", "");
    y = net_linear(n, y, net_print("%s.block.5", name).s, channels);
    y = net_layer(n, y, net_print("%s.block.6", name).s, "from_tokens", size.s);
    const int64_t scale_shape[3] = {net_shape(n, y)[1], 1, 1};
    const cvr_value scale = net_declare(n, net_print("%s.layer_scale", name).s, 3, scale_shape, 0, &init);
    y = net_layer2(n, scale, y, net_print("%s.scaled", name).s, "mul", "");
    y = net_layer(n, y, net_print("%s.stochastic_depth", name).s, "stochastic_depth", net_print("%.17g", drop).s);
    return net_layer2(n, y, x, net_print("%s.add", name).s, "add", "");
}

/* image: (N, C, H, W) -> output: logits, (N, num_classes) */
static int32_t convnext_build(const cvr_builder *b, const cvr_model_args *args, const cvr_io *io, cvr_error *err) {
    const convnext_attrs *a = (const convnext_attrs *)args->attrs;
    const net_start start = {NET_START_NORMAL, 0.02, 0};
    const net_conv2d stem = {a->width, 4, 4, 0, 1, 1};
    net n = {.b = b, .err = err, .conv = start, .linear = start};
    const cvr_value image = io->input(io, "image");
    int64_t total = 0, id = 0;
    for (int64_t i = 0; i < a->n_layers; i++) total += a->layers[i];
    cvr_value x = net_conv(&n, image, "features.0.0", &stem);
    x = net_layer(&n, x, "features.0.1", "layer_norm2d", "eps=1e-6");
    for (int64_t stage = 0; stage < a->n_layers; stage++) {
        for (int64_t i = 0; i < a->layers[stage] && n.status == CVR_OK; i++, id++) {
            const double drop = total > 1 ? a->drop_path * (double)id / ((double)total - 1) : 0;
            x = block(&n, net_print("features.%lld.%lld", 2 * (long long)stage + 1, (long long)i).s, a->layer_scale,
                      drop, x);
        }
        if (stage + 1 == a->n_layers) break;
        const net_conv2d down = {a->width << (stage + 1), 2, 2, 0, 1, 1};
        const net_text name = net_print("features.%lld", 2 * (long long)stage + 2);
        x = net_layer(&n, x, net_print("%s.0", name.s).s, "layer_norm2d", "eps=1e-6");
        x = net_conv(&n, x, net_print("%s.1", name.s).s, &down);
    }
    x = net_layer(&n, x, "avgpool", "adaptive_avg_pool2d", "1");
    x = net_layer(&n, x, "classifier.0", "layer_norm2d", "eps=1e-6");
    x = net_layer(&n, x, "classifier.1", "flatten", "");
    return net_result(&n, io, net_linear(&n, x, "classifier.2", args->num_classes));
}

/* What tells the members of the family apart: defaults. */
#define LAYERS(default_)                                                                                               \
    CVR_ATTR_INIT(INTS, "layers", default_, "blocks of each stage", .count = 4, CVR_ATTR_BETWEEN(1, 1000))
#define WIDTH(default_)                                                                                                \
    CVR_ATTR_INIT(INT, "width", default_, "channels of the first stage; each after it doubles them",                   \
                  CVR_ATTR_BETWEEN(1, 4096))
#define DROP_PATH(default_)                                                                                            \
    CVR_ATTR_INIT(FLOAT, "drop_path", default_, "stochastic depth of the last block; it rises from 0 at the first",    \
                  CVR_ATTR_BETWEEN(0, 1))
static const cvr_attr_desc layers_9 = LAYERS("3,3,9,3"), layers_27 = LAYERS("3,3,27,3");
static const cvr_attr_desc width_96 = WIDTH("96"), width_128 = WIDTH("128"), width_192 = WIDTH("192");
static const cvr_attr_desc drop_01 = DROP_PATH("0.1"), drop_04 = DROP_PATH("0.4"), drop_05 = DROP_PATH("0.5");
static const cvr_attr_desc layer_scale =
    CVR_ATTR_INIT(FLOAT, "layer_scale", "1e-6", "what the blocks' layer scales start from");

static const net_name timm_names[] = {
    {"stem.#", "features.0.{1}"},
    {"stages.#.downsample.#", "features.{1:2+0}.{2}"},
    {"stages.#.blocks.#.conv_dw", "features.{1:2+1}.{2}.block.0"},
    {"stages.#.blocks.#.norm", "features.{1:2+1}.{2}.block.2"},
    {"stages.#.blocks.#.mlp.fc1", "features.{1:2+1}.{2}.block.3"},
    {"stages.#.blocks.#.mlp.fc2", "features.{1:2+1}.{2}.block.5"},
    {"stages.#.blocks.#.gamma", "features.{1:2+1}.{2}.layer_scale"},
    {"head.norm", "classifier.0"},
    {"head.fc", "classifier.2"},
};

static int32_t timm_alias(const char *name, char *out, uint64_t size) {
    return net_rename(timm_names, NET_COUNT(timm_names), name, out, size);
}

static const cvr_stage *const stages[] = {
    NET_STAGE("backbone.stem", "features.0"),
    NET_STAGE("backbone.stage1", "features.1.#"),
    NET_STAGE("backbone.stage2", "features.2,features.3.#"),
    NET_STAGE("backbone.stage3", "features.4,features.5.#"),
    NET_STAGE("backbone.stage4", "features.6,features.7.#"),
    NET_STAGE("backbone.norm", "classifier.0"),
    NET_STAGE("head", "classifier"),
};

#define MODEL(name_, layers_, width_, drop_)                                                                           \
    &(const cvr_model_desc) {                                                                                          \
        .struct_size = sizeof(cvr_model_desc), .name = name_, .doc = "Liu et al. 2022, as in torchvision",             \
        .n_attrs = 4, .attrs = (const cvr_attr_desc *const[]){&layers_, &width_, &layer_scale, &drop_},                \
        .build = convnext_build, .n_stages = NET_COUNT(stages), .stages = stages, .alias = timm_alias                  \
    }

static const cvr_model_desc *const models[] = {
    MODEL("convnext_tiny", layers_9, width_96, drop_01),
    MODEL("convnext_small", layers_27, width_96, drop_04),
    MODEL("convnext_base", layers_27, width_128, drop_05),
    MODEL("convnext_large", layers_27, width_192, drop_05),
};

static int32_t convnext_load(const cvr_host *host, const cvr_registrar *r, cvr_error *err) {
    (void)host;
    return net_register(r, models, NET_COUNT(models), err);
}

CVR_DEFINE_PLUGIN("model_convnext", "0.1.0",
                  "layer:conv2d layer:layer_norm2d layer:layer_norm layer:to_tokens layer:from_tokens layer:linear "
                  "layer:gelu layer:mul layer:stochastic_depth layer:add layer:adaptive_avg_pool2d layer:flatten",
                  convnext_load)
