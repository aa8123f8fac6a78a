/*
 * resnet_cifar: the residual networks for CIFAR of He, Zhang, Ren, Sun: "Deep Residual Learning for Image Recognition"
 * (2016), section 4.2: a 3x3 stem, three stages of n basic blocks with 16, 32 and 64 channels, global average pooling;
 * depth = 6n + 2. Where the shape changes, the shortcut is a 1x1 convolution (their option B). Parameters are named as
 * in torchvision's ResNet.
 */
#include <cvr/plugin/plugin.h>

typedef struct resnet_attrs {
    int64_t depth, width;
} resnet_attrs;

static int32_t conv_bn(const cvr_builder *b, const char *conv, const char *bn, const char *settings, cvr_value *x,
                       cvr_error *err) {
    const int32_t status = cvr_layer(b, conv, "conv2d", settings, *x, x, err);
    return status == CVR_OK ? cvr_layer(b, bn, "batch_norm2d", "", *x, x, err) : status;
}

/* x: (N, C, H, W) -> (N, channels, H / stride, W / stride) */
static int32_t basic_block(const cvr_builder *b, const char *name, int64_t channels, int64_t stride, cvr_value *x,
                           cvr_error *err) {
    char conv[5][64], settings[2][64];
    static const char *const parts[5] = {"conv1", "bn1", "conv2", "bn2", "relu"};
    cvr_value y = *x, sum[2] = {*x, CVR_NONE};
    for (int i = 0; i < 5; i++) (void)snprintf(conv[i], sizeof conv[i], "%s.%s", name, parts[i]);
    (void)snprintf(settings[0], sizeof settings[0], "%lld kernel_size=3 stride=%lld padding=1 bias=no",
                   (long long)channels, (long long)stride);
    (void)snprintf(settings[1], sizeof settings[1], "%lld kernel_size=3 padding=1 bias=no", (long long)channels);
    int32_t status = conv_bn(b, conv[0], conv[1], settings[0], &y, err);
    if (status == CVR_OK) status = cvr_layer(b, conv[4], "relu", "", y, &y, err);
    if (status == CVR_OK) status = conv_bn(b, conv[2], conv[3], settings[1], &y, err);
    if (status == CVR_OK && (stride != 1 || b->type(b, *x)->shape[1] != channels)) {
        char shortcut[2][64], one[64];
        for (int i = 0; i < 2; i++) (void)snprintf(shortcut[i], sizeof shortcut[i], "%s.downsample.%d", name, i);
        (void)snprintf(one, sizeof one, "%lld kernel_size=1 stride=%lld bias=no", (long long)channels,
                       (long long)stride);
        status = conv_bn(b, shortcut[0], shortcut[1], one, &sum[0], err);
    }
    sum[1] = y;
    char add[64];
    (void)snprintf(add, sizeof add, "%s.add", name);
    const cvr_layer_call call = {sizeof call, "add", add, "", sum, &y, 2, 1};
    if (status == CVR_OK) status = b->layer(b, &call, err);
    return status == CVR_OK ? cvr_layer(b, conv[4], "relu", "", y, x, err) : status;
}

/* image: (N, C, H, W) -> logits: (N, num_classes) */
static int32_t resnet_build(const cvr_builder *b, const cvr_model_args *args, const cvr_io *io, cvr_error *err) {
    const resnet_attrs *a = (const resnet_attrs *)args->attrs;
    char settings[64], name[32];
    cvr_value x = io->input(io, "image");
    if (a->depth % 6 != 2)
        return cvr_fail(err, CVR_ERR_INVALID,
                        "model.depth = %lld; this family has 6 n + 2 layers: 8, 14, 20, 32, 44, 56, 110",
                        (long long)a->depth);
    (void)snprintf(settings, sizeof settings, "%lld kernel_size=3 padding=1 bias=no", (long long)a->width);
    int32_t status = conv_bn(b, "conv1", "bn1", settings, &x, err);
    if (status == CVR_OK) status = cvr_layer(b, "relu", "relu", "", x, &x, err);
    for (int64_t stage = 0; stage < 3; stage++) {
        for (int64_t i = 0; i < (a->depth - 2) / 6 && status == CVR_OK; i++) {
            (void)snprintf(name, sizeof name, "layer%lld.%lld", (long long)stage + 1, (long long)i);
            status = basic_block(b, name, a->width << stage, stage > 0 && i == 0 ? 2 : 1, &x, err);
        }
    }
    (void)snprintf(settings, sizeof settings, "%lld", (long long)args->num_classes);
    if (status == CVR_OK) status = cvr_layer(b, "avgpool", "adaptive_avg_pool2d", "1", x, &x, err);
    if (status == CVR_OK) status = cvr_layer(b, "flatten", "flatten", "", x, &x, err);
    if (status == CVR_OK) status = cvr_layer(b, "fc", "linear", settings, x, &x, err);
    return status == CVR_OK ? io->put(io, "output", CVR_ROLE_RESULT, x, err) : status;
}

static const cvr_attr_desc depth =
    CVR_ATTR_INIT(INT, "depth", "20", "layers with weights: 6 n + 2", CVR_ATTR_BETWEEN(8, 1202));
static const cvr_attr_desc width =
    CVR_ATTR_INIT(INT, "width", "16", "channels of the first stage", CVR_ATTR_BETWEEN(1, 4096));
static const cvr_attr_desc *const resnet_schema[] = {&depth, &width};

#define STAGE(name_, globs_)                                                                                           \
    &(const cvr_stage) {                                                                                               \
        sizeof(cvr_stage), name_, globs_                                                                               \
    }
static const cvr_stage *const stages[] = {
    STAGE("backbone.stem", "conv1,bn1"),
    STAGE("backbone.layer1", "layer1"),
    STAGE("backbone.layer2", "layer2"),
    STAGE("backbone.layer3", "layer3"),
    STAGE("head", "fc"),
};

static const cvr_model_desc resnet_cifar = {.struct_size = sizeof resnet_cifar,
                                            .name = "resnet_cifar",
                                            .doc = "He et al. 2016, section 4.2",
                                            .n_attrs = 2,
                                            .attrs = resnet_schema,
                                            .build = resnet_build,
                                            .n_stages = sizeof stages / sizeof *stages,
                                            .stages = stages};

static int32_t resnet_load(const cvr_host *host, const cvr_registrar *r, cvr_error *err) {
    (void)host;
    return r->add(r, CVR_KIND_MODEL, &resnet_cifar, err);
}

CVR_DEFINE_PLUGIN(
    "model_resnet_cifar", "0.1.0",
    "layer:conv2d layer:batch_norm2d layer:relu layer:add layer:adaptive_avg_pool2d layer:flatten layer:linear",
    resnet_load)
