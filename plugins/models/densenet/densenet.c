/*
 * DenseNet-BC (Huang, Liu, van der Maaten, Weinberger: "Densely Connected Convolutional Networks", 2017) as torchvision
 * has it: densenet121, 161, 169 and 201. Names and initialisation are torchvision's.
 */
#include "../model_net.h"
#include <math.h>

typedef struct densenet_attrs {
    int64_t n_layers;
    int64_t layers[4];
    int64_t growth_rate;
    int64_t width;
    int64_t bn_size;
    double drop_rate;
} densenet_attrs;

/* torch.nn.init.kaiming_normal_ by what a convolution reads, as its default is: std sqrt(2 / (C * R * S)) */
static cvr_value conv(net *n, const char *name, const net_conv2d *c, cvr_value x) {
    const int64_t fan_in = net_shape(n, x)[1] * c->kernel_size * c->kernel_size;
    n->conv = (net_start){NET_START_NORMAL, sqrt(2 / (double)fan_in), 0};
    return net_conv(n, x, name, c);
}

/* convolution(ReLU(batch norm(x))), the layers numbered `i` in a dense layer */
static cvr_value norm_relu_conv(net *n, const char *name, const char *i, const net_conv2d *c, cvr_value x) {
    x = net_layer(n, x, net_print("%s.norm%s", name, i).s, "batch_norm2d", "");
    x = net_layer(n, x, net_print("%s.relu%s", name, i).s, "relu", "");
    return conv(n, net_print("%s.conv%s", name, i).s, c, x);
}

/* x: (N, C, H, W) -> (N, C + growth_rate, H, W): x, and what was made of it */
static cvr_value dense_layer(net *n, const char *name, const densenet_attrs *a, cvr_value x) {
    const net_conv2d narrow = {a->bn_size * a->growth_rate, 1, 1, 0, 1, 0}, grow = {a->growth_rate, 3, 1, 1, 1, 0};
    cvr_value y = norm_relu_conv(n, name, "1", &narrow, x);
    y = norm_relu_conv(n, name, "2", &grow, y);
    y = net_layer(n, y, net_print("%s.dropout", name).s, "dropout", net_print("%.17g", a->drop_rate).s);
    return net_layer2(n, x, y, net_print("%s.concat", name).s, "concat", "1");
}

/* x: (N, C, H, W) -> (N, C / 2, H / 2, W / 2) */
static cvr_value transition(net *n, const char *name, cvr_value x) {
    const net_conv2d halve = {net_shape(n, x)[1] / 2, 1, 1, 0, 1, 0};
    x = norm_relu_conv(n, name, "", &halve, x);
    return net_layer(n, x, net_print("%s.pool", name).s, "avg_pool2d", "2");
}

/* image: (N, C, H, W) -> output: logits, (N, num_classes) */
static int32_t densenet_build(const cvr_builder *b, const cvr_model_args *args, const cvr_io *io, cvr_error *err) {
    const densenet_attrs *a = (const densenet_attrs *)args->attrs;
    const net_conv2d stem = {a->width, 7, 2, 3, 1, 0};
    net n = {.b = b, .err = err};
    cvr_value x = conv(&n, "features.conv0", &stem, io->input(io, "image"));
    x = net_layer(&n, x, "features.norm0", "batch_norm2d", "");
    x = net_layer(&n, x, "features.relu0", "relu", "");
    x = net_layer(&n, x, "features.pool0", "max_pool2d", "3 stride=2 padding=1");
    for (int64_t block = 0; block < a->n_layers && n.status == CVR_OK; block++) {
        for (int64_t i = 0; i < a->layers[block] && n.status == CVR_OK; i++)
            x = dense_layer(&n, net_print("features.denseblock%d.denselayer%d", (int)block + 1, (int)i + 1).s, a, x);
        if (block + 1 < a->n_layers) x = transition(&n, net_print("features.transition%d", (int)block + 1).s, x);
    }
    x = net_layer(&n, x, "features.norm5", "batch_norm2d", "");
    x = net_layer(&n, x, "relu", "relu", "");
    x = net_layer(&n, x, "avgpool", "adaptive_avg_pool2d", "1");
    x = net_layer(&n, x, "flatten", "flatten", "");
    if (n.status == CVR_OK)
        n.linear = (net_start){NET_START_UNIFORM, 1 / sqrt((double)net_shape(&n, x)[1]), 0}; /* torch's, bias 0 */
    return net_result(&n, io, net_linear(&n, x, "classifier", args->num_classes));
}

/* What tells the members of the family apart: defaults. */
#define LAYERS(default_)                                                                                               \
    CVR_ATTR_INIT(INTS, "layers", default_, "dense layers of each block", .count = 4, CVR_ATTR_BETWEEN(1, 1000))
#define GROWTH(default_)                                                                                               \
    CVR_ATTR_INIT(INT, "growth_rate", default_, "channels that a dense layer adds", CVR_ATTR_BETWEEN(1, 4096))
#define WIDTH(default_) CVR_ATTR_INIT(INT, "width", default_, "channels of the stem", CVR_ATTR_BETWEEN(1, 4096))
static const cvr_attr_desc layers_121 = LAYERS("6,12,24,16"), layers_161 = LAYERS("6,12,36,24"),
                           layers_169 = LAYERS("6,12,32,32"), layers_201 = LAYERS("6,12,48,32");
static const cvr_attr_desc growth_32 = GROWTH("32"), growth_48 = GROWTH("48"), width_64 = WIDTH("64"),
                           width_96 = WIDTH("96");
static const cvr_attr_desc bn_size = CVR_ATTR_INIT(
    INT, "bn_size", "4", "channels of the bottlenecks, in multiples of growth_rate", CVR_ATTR_BETWEEN(1, 64));
static const cvr_attr_desc drop_rate =
    CVR_ATTR_INIT(FLOAT, "drop_rate", "0", "dropout at the end of each dense layer", CVR_ATTR_BETWEEN(0, 1));

/* Files of before PyTorch 0.4 have a dot more in the names of dense layers. */
static const net_name old_names[] = {
    {"features.denseblock#.denselayer#.norm.#", "features.denseblock{1}.denselayer{2}.norm{3}"},
    {"features.denseblock#.denselayer#.conv.#", "features.denseblock{1}.denselayer{2}.conv{3}"},
    {"features", "features"},
    {"classifier", "classifier"},
};

static int32_t old_alias(const char *name, char *out, uint64_t size) {
    return net_rename(old_names, NET_COUNT(old_names), name, out, size);
}

static const cvr_stage *const stages[] = {
    NET_STAGE("backbone.stem", "features.conv0,features.norm0"),
    NET_STAGE("backbone.block1", "features.denseblock1.denselayer#,features.transition1"),
    NET_STAGE("backbone.block2", "features.denseblock2.denselayer#,features.transition2"),
    NET_STAGE("backbone.block3", "features.denseblock3.denselayer#,features.transition3"),
    NET_STAGE("backbone.block4", "features.denseblock4.denselayer#,features.norm5"),
    NET_STAGE("head", "classifier"),
};

#define MODEL(name_, layers_, growth_, width_)                                                                         \
    &(const cvr_model_desc) {                                                                                          \
        .struct_size = sizeof(cvr_model_desc), .name = name_, .doc = "Huang et al. 2017, as in torchvision",           \
        .n_attrs = 5, .attrs = (const cvr_attr_desc *const[]){&layers_, &growth_, &width_, &bn_size, &drop_rate},      \
        .build = densenet_build, .n_stages = NET_COUNT(stages), .stages = stages, .alias = old_alias                   \
    }

static const cvr_model_desc *const models[] = {
    MODEL("densenet121", layers_121, growth_32, width_64),
    MODEL("densenet161", layers_161, growth_48, width_96),
    MODEL("densenet169", layers_169, growth_32, width_64),
    MODEL("densenet201", layers_201, growth_32, width_64),
};

static int32_t densenet_load(const cvr_host *host, const cvr_registrar *r, cvr_error *err) {
    (void)host;
    return net_register(r, models, NET_COUNT(models), err);
}

CVR_DEFINE_PLUGIN("model_densenet", "0.1.0",
                  "layer:conv2d layer:batch_norm2d layer:relu layer:max_pool2d layer:dropout layer:concat "
                  "layer:avg_pool2d layer:adaptive_avg_pool2d layer:flatten layer:linear",
                  densenet_load)
