/*
 * LR-ASPP on MobileNetV3 (Howard et al.: "Searching for MobileNetV3", 2019, section 6.4) as torchvision has it: the
 * last features (output stride 16), gated by their mean over the picture, and those of output stride 8 are classified
 * each and added. Results are made as large as the picture bilinearly. Names and initialisation are torchvision's.
 */
#include "../dense_head.h"
#include "../mobilenet/mobilenet_v3_trunk.h"

typedef struct lraspp_attrs {
    int64_t inter_channels;
    double width_mult, norm_momentum;
} lraspp_attrs;

/* low: (N, C, h, w), high: (N, D, h / 2, w / 2) -> logits, (N, num_classes, h, w) */
static cvr_value head(net *n, int64_t inter_channels, int64_t num_classes, cvr_value low, cvr_value high) {
    const net_conv2d one = {inter_channels, 1, 1, 0, 1, 0}, classes = {num_classes, 1, 1, 0, 1, 1};
    low = net_conv(n, low, "classifier.low_classifier", &classes);
    cvr_value x = dense_conv(n, "classifier.cbr", 0, &one, 1, high);
    const net_conv2d gate = {net_shape(n, x)[1], 1, 1, 0, 1, 0};
    cvr_value s = net_layer(n, high, "classifier.scale.0", "adaptive_avg_pool2d", "1");
    s = net_conv(n, s, "classifier.scale.1", &gate);
    s = net_layer(n, s, "classifier.scale.2", "sigmoid", "");
    x = net_layer2(n, x, s, "classifier.mul", "mul", "");
    x = dense_resize(n, x, "classifier.resize", low, DENSE_BILINEAR);
    const net_conv2d same = {net_shape(n, low)[1], 1, 1, 0, 1, 1};
    x = net_conv(n, x, "classifier.high_classifier", &same);
    return net_layer2(n, low, x, "classifier.add", "add", "");
}

/* image: (N, C, H, W) -> output: logits, (N, num_classes, H, W) */
static int32_t lraspp_build(const cvr_builder *b, const cvr_model_args *args, const cvr_io *io, cvr_error *err) {
    const lraspp_attrs *a = (const lraspp_attrs *)args->attrs;
    const mobilenet_v3_trunk t = {
        .size = MOBILENET_V3_LARGE, .width_mult = a->width_mult, .norm_momentum = a->norm_momentum, .dilated = 1};
    net n = {.b = b, .err = err, .conv = DENSE_KAIMING, .scope = "backbone."};
    const cvr_value image = io->input(io, "image");
    cvr_value all[MOBILENET_V3_FEATURES];
    const size_t count = mobilenet_v3_trunk_build(&n, &t, image, all);
    n.scope = NULL;
    n.conv = DENSE_TORCH;
    const cvr_value x = head(&n, a->inter_channels, args->num_classes, all[MOBILENET_V3_STRIDE_8], all[count - 1]);
    return net_result(&n, io, dense_resize(&n, x, "resize", image, DENSE_BILINEAR));
}

static int32_t lraspp_alias(const char *name, char *out, uint64_t size) {
    return mobilenet_v3_trunk_alias("backbone.", "classifier.low_classifier", name, out, size);
}

static const cvr_attr_desc *const schema[] = {
    CVR_ATTR(INT, "inter_channels", "128", "channels of the gated features", CVR_ATTR_BETWEEN(1, 65536)),
    &(const cvr_attr_desc)MOBILENET_V3_WIDTH_MULT,
    &(const cvr_attr_desc)MOBILENET_V3_NORM_MOMENTUM,
};

static const cvr_stage *const stages[] = {
    DENSE_MOBILENET_V3_STAGES,
    NET_STAGE("head", "classifier.low_classifier,classifier.high_classifier"),
    NET_STAGE("head.decoder", "classifier"),
};

static const cvr_model_desc lraspp = {.struct_size = sizeof lraspp,
                                      .proposes = dense_proposes,
                                      .name = "lraspp_mobilenet_v3_large",
                                      .doc = "Howard et al. 2019, as in torchvision",
                                      .n_attrs = NET_COUNT(schema),
                                      .attrs = schema,
                                      .build = lraspp_build,
                                      .n_stages = NET_COUNT(stages),
                                      .stages = stages,
                                      .alias = lraspp_alias};

static int32_t lraspp_load(const cvr_host *host, const cvr_registrar *r, cvr_error *err) {
    (void)host;
    return r->add(r, CVR_KIND_MODEL, &lraspp, err);
}

CVR_DEFINE_PLUGIN("model_lraspp", "0.1.0",
                  "layer:conv2d layer:batch_norm2d layer:relu layer:hardswish layer:hardsigmoid layer:sigmoid "
                  "layer:mul layer:add layer:adaptive_avg_pool2d layer:upsample",
                  lraspp_load)
