/*
 * U-Net (Ronneberger, Fischer, Brox, 2015) on a ResNet, as segmentation_models.pytorch builds it: five blocks, each of
 * which makes its input as large as the next larger features (nearest), puts these behind it and has two 3x3
 * convolutions; the last block has no features beside it and the picture's size. So pictures may have any size. Names
 * and initialisation are that library's, the ResNet's those of torchvision; pictures want ImageNet's mean and std where
 * the ResNet's weights do.
 */
#include "../dense_head.h"

#define BLOCKS 5

typedef struct unet_resnet_attrs {
    int64_t n_layers;
    int64_t layers[4];
    int64_t block, width;
    int64_t n_channels;
    int64_t channels[BLOCKS];
} unet_resnet_attrs;

/* x: (N, C, h, w), skip: (N, S, H, W), or CVR_NONE and (N, ., H, W) `like` -> (N, channels, H, W) */
static cvr_value up(net *n, int i, int64_t channels, cvr_value x, cvr_value skip, cvr_value like) {
    const net_conv2d three = {channels, 3, 1, 1, 1, 0};
    const net_text name = net_print("decoder.blocks.%d", i);
    x = dense_resize(n, x, net_print("%s.resize", name.s).s, like, DENSE_NEAREST);
    if (skip != CVR_NONE) x = net_layer2(n, x, skip, net_print("%s.concat", name.s).s, "concat", "1");
    x = dense_conv(n, net_print("%s.conv1", name.s).s, 0, &three, 1, x);
    return dense_conv(n, net_print("%s.conv2", name.s).s, 0, &three, 1, x);
}

/* image: (N, C, H, W) -> output: logits, (N, num_classes, H, W) */
static int32_t unet_resnet_build(const cvr_builder *b, const cvr_model_args *args, const cvr_io *io, cvr_error *err) {
    const unet_resnet_attrs *a = (const unet_resnet_attrs *)args->attrs;
    const net_conv2d classes = {args->num_classes, 3, 1, 1, 1, 1};
    const dense_resnet resnet = {
        .n_layers = a->n_layers, .layers = {a->layers[0], a->layers[1], a->layers[2], a->layers[3]}, .width = a->width};
    net n = {.b = b, .err = err, .conv = DENSE_KAIMING, .scope = "encoder."};
    resnet_trunk t = dense_trunk(&n, &resnet, 0);
    const cvr_value image = io->input(io, "image");
    cvr_value skips[BLOCKS] = {image, image, image, image, image}, x;
    if (n.status == CVR_OK && a->n_channels != BLOCKS)
        n.status =
            cvr_fail(err, CVR_ERR_INVALID, "model.decoder_channels has %lld numbers; the decoder has five blocks",
                     (long long)a->n_channels);
    if (n.status != CVR_OK) return n.status;
    t.block = a->block;
    skips[0] = resnet_trunk_stem(&n, &t, image);
    resnet_trunk_stages(&n, &t, skips[0], skips + 1);
    n.scope = NULL;
    n.conv = (net_start){NET_START_KAIMING_UNIFORM, 0, 0};
    x = skips[BLOCKS - 1];
    for (int i = 0; i < BLOCKS; i++) {
        const cvr_value skip = i + 1 < BLOCKS ? skips[BLOCKS - 2 - i] : CVR_NONE;
        x = up(&n, i, a->channels[i], x, skip, skip == CVR_NONE ? image : skip);
    }
    n.conv = (net_start){NET_START_XAVIER, 0, 0};
    return net_result(&n, io, net_conv(&n, x, "segmentation_head.0", &classes));
}

static int32_t unet_resnet_alias(const char *name, char *out, uint64_t size) {
    return resnet_trunk_alias("encoder.", "segmentation_head.0", name, out, size);
}

#define BLOCK(default_)                                                                                                \
    CVR_ATTR_INIT(CHOICE, "block", default_, "kind of the residual blocks", .choices = "basic|bottleneck")
static const cvr_attr_desc layers = RESNET_LAYERS(RESNET_LAYERS_50), width = RESNET_WIDTH, basic = BLOCK("basic"),
                           bottleneck = BLOCK("bottleneck");
static const cvr_attr_desc decoder_channels =
    CVR_ATTR_INIT(INTS, "decoder_channels", "256,128,64,32,16", "channels of the decoder's blocks", .count = BLOCKS,
                  CVR_ATTR_BETWEEN(1, 65536));

static const cvr_stage *const stages[] = {
    NET_STAGE("backbone.stem", "encoder.conv1,encoder.bn1"), NET_STAGE("backbone.layer1", "encoder.layer1.#"),
    NET_STAGE("backbone.layer2", "encoder.layer2.#"),        NET_STAGE("backbone.layer3", "encoder.layer3.#"),
    NET_STAGE("backbone.layer4", "encoder.layer4.#"),        NET_STAGE("head", "segmentation_head"),
    NET_STAGE("head.decoder", "decoder.blocks.#"),
};

#define MODEL(name_, block_)                                                                                           \
    &(const cvr_model_desc) {                                                                                          \
        .struct_size = sizeof(cvr_model_desc), .proposes = dense_proposes, .name = name_,                              \
        .doc = "Ronneberger et al. 2015, as in segmentation_models.pytorch", .n_attrs = 4,                             \
        .attrs = (const cvr_attr_desc *const[]){&layers, &block_, &width, &decoder_channels},                          \
        .build = unet_resnet_build, .n_stages = NET_COUNT(stages), .stages = stages, .alias = unet_resnet_alias        \
    }
static const cvr_model_desc *const models[] = {MODEL("unet_resnet34", basic), MODEL("unet_resnet50", bottleneck)};

static int32_t unet_resnet_load(const cvr_host *host, const cvr_registrar *r, cvr_error *err) {
    (void)host;
    return net_register(r, models, NET_COUNT(models), err);
}

CVR_DEFINE_PLUGIN("model_unet_resnet", "0.1.0",
                  "layer:conv2d layer:batch_norm2d layer:relu layer:max_pool2d layer:add layer:concat layer:upsample",
                  unet_resnet_load)
