/*
 * resnet_cifar: the residual networks for CIFAR of He, Zhang, Ren, Sun: "Deep Residual Learning for Image Recognition"
 * (2016), section 4.2: a 3x3 stem, three stages of n basic blocks with 16, 32 and 64 channels, global average pooling;
 * depth = 6n + 2. Where the shape changes, the shortcut is a 1x1 convolution (their option B). Parameters are named as
 * in torchvision's ResNet.
 */
#include "../model_net.h"

typedef struct resnet_cifar_attrs {
    int64_t depth, width;
} resnet_cifar_attrs;

static cvr_value conv_bn(net *n, cvr_value x, const char *block, const char *conv, const char *bn,
                         const net_conv2d *c) {
    x = net_conv(n, x, net_print("%s%s", block, conv).s, c);
    return net_layer(n, x, net_print("%s%s", block, bn).s, "batch_norm2d", "");
}

/* x: (N, C, H, W) -> (N, channels, H / stride, W / stride); identity: C channels, and the shortcut is x itself */
static cvr_value basic_block(net *n, const char *name, int64_t channels, int64_t stride, int identity, cvr_value x) {
    const net_conv2d first = {channels, 3, stride, 1, 1, 0},
                     second = {identity ? net_shape(n, x)[1] : channels, 3, 1, 1, 1, 0};
    const net_text relu = net_print("%srelu", name);
    cvr_value same = x, y = conv_bn(n, x, name, "conv1", "bn1", &first);
    y = net_layer(n, y, relu.s, "relu", "");
    y = conv_bn(n, y, name, "conv2", "bn2", &second);
    if (!identity) {
        const net_conv2d shortcut = {net_shape(n, y)[1], 1, stride, 0, 1, 0};
        same = conv_bn(n, x, name, "downsample.0", "downsample.1", &shortcut);
    }
    y = net_layer2(n, same, y, net_print("%sadd", name).s, "add", "");
    return net_layer(n, y, relu.s, "relu", "");
}

/* image: (N, C, H, W) -> logits: (N, num_classes) */
static int32_t resnet_build(const cvr_builder *b, const cvr_model_args *args, const cvr_io *io, cvr_error *err) {
    const resnet_cifar_attrs *a = (const resnet_cifar_attrs *)args->attrs;
    const net_conv2d stem = {a->width, 3, 1, 1, 1, 0};
    net n = {.b = b, .err = err};
    if (a->depth % 6 != 2)
        return cvr_fail(err, CVR_ERR_INVALID,
                        "model.depth = %lld; this family has 6 n + 2 layers: 8, 14, 20, 32, 44, 56, 110",
                        (long long)a->depth);
    cvr_value x = conv_bn(&n, io->input(io, "image"), "", "conv1", "bn1", &stem);
    x = net_layer(&n, x, "relu", "relu", "");
    for (int64_t stage = 0; stage < 3; stage++) {
        for (int64_t i = 0; i < (a->depth - 2) / 6 && n.status == CVR_OK; i++) {
            const int narrows = stage > 0 && i == 0;
            x = basic_block(&n, net_print("layer%lld.%lld.", (long long)stage + 1, (long long)i).s, a->width << stage,
                            narrows ? 2 : 1, !narrows, x);
        }
    }
    x = net_layer(&n, x, "avgpool", "adaptive_avg_pool2d", "1");
    x = net_layer(&n, x, "flatten", "flatten", "");
    return net_result(&n, io, net_linear(&n, x, "fc", args->num_classes));
}

static const cvr_attr_desc depth =
    CVR_ATTR_INIT(INT, "depth", "20", "layers with weights: 6 n + 2", CVR_ATTR_BETWEEN(8, 1202));
static const cvr_attr_desc width =
    CVR_ATTR_INIT(INT, "width", "16", "channels of the first stage", CVR_ATTR_BETWEEN(1, 4096));
static const cvr_attr_desc *const resnet_schema[] = {&depth, &width};

static const cvr_stage *const stages[] = {
    NET_STAGE("backbone.stem", "conv1,bn1"),
    NET_STAGE("backbone.layer1", "layer1.#"),
    NET_STAGE("backbone.layer2", "layer2.#"),
    NET_STAGE("backbone.layer3", "layer3.#"),
    NET_STAGE("head", "fc"),
};

static const cvr_model_desc resnet_cifar = {.struct_size = sizeof resnet_cifar,
                                            .name = "resnet_cifar",
                                            .doc = "He et al. 2016, section 4.2",
                                            .n_attrs = 2,
                                            .attrs = resnet_schema,
                                            .build = resnet_build,
                                            .n_stages = NET_COUNT(stages),
                                            .stages = stages};

static int32_t resnet_load(const cvr_host *host, const cvr_registrar *r, cvr_error *err) {
    (void)host;
    return r->add(r, CVR_KIND_MODEL, &resnet_cifar, err);
}

CVR_DEFINE_PLUGIN(
    "model_resnet_cifar", "0.1.0",
    "layer:conv2d layer:batch_norm2d layer:relu layer:add layer:adaptive_avg_pool2d layer:flatten layer:linear",
    resnet_load)
