/*
 * MobileNetV3 (Howard et al.: "Searching for MobileNetV3", 2019) as torchvision has it: mobilenet_v3_large and
 * mobilenet_v3_small. Names and initialisation are torchvision's.
 */
#include "mobilenet_v3_trunk.h"

typedef struct mobilenet_v3_attrs {
    int64_t size;
    double width_mult;
    double dropout;
    double norm_momentum;
} mobilenet_v3_attrs;

/* Features of the last hidden layer, of either table. */
static const int64_t last_channel[] = {[MOBILENET_V3_LARGE] = 1280, [MOBILENET_V3_SMALL] = 1024};

/* image: (N, C, H, W) -> output: logits, (N, num_classes) */
static int32_t mobilenet_v3_build(const cvr_builder *b, const cvr_model_args *args, const cvr_io *io, cvr_error *err) {
    const mobilenet_v3_attrs *a = (const mobilenet_v3_attrs *)args->attrs;
    const mobilenet_v3_trunk t = {.size = a->size, .width_mult = a->width_mult, .norm_momentum = a->norm_momentum};
    net n = {.b = b, .err = err, .conv = {NET_START_KAIMING, 0, 0}, .linear = {NET_START_NORMAL, 0.01, 0}};
    cvr_value features[MOBILENET_V3_FEATURES];
    n.scope = "features.";
    cvr_value x = features[mobilenet_v3_trunk_build(&n, &t, io->input(io, "image"), features) - 1];
    n.scope = NULL;
    x = net_layer(&n, x, "avgpool", "adaptive_avg_pool2d", "1");
    x = net_layer(&n, x, "flatten", "flatten", "");
    x = net_linear(&n, x, "classifier.0", mobilenet_v3_channels(a->width_mult, last_channel[a->size]));
    x = net_layer(&n, x, "classifier.1", "hardswish", "");
    x = net_layer(&n, x, "classifier.2", "dropout", net_print("%.17g", a->dropout).s);
    return net_result(&n, io, net_linear(&n, x, "classifier.3", args->num_classes));
}

#define TABLE(default_)                                                                                                \
    CVR_ATTR_INIT(CHOICE, "size", default_, "the paper's table 1 or table 2", .choices = "large|small")
static const cvr_attr_desc table_1 = TABLE("large"), table_2 = TABLE("small");
static const cvr_attr_desc width_mult = MOBILENET_V3_WIDTH_MULT, norm_momentum = MOBILENET_V3_NORM_MOMENTUM;
static const cvr_attr_desc dropout =
    CVR_ATTR_INIT(FLOAT, "dropout", "0.2", "probability before the last layer", CVR_ATTR_BETWEEN(0, 1));

static int32_t alias_large(const char *name, char *out, uint64_t size) {
    return mobilenet_v3_alias(MOBILENET_V3_LARGE, name, out, size);
}

static int32_t alias_small(const char *name, char *out, uint64_t size) {
    return mobilenet_v3_alias(MOBILENET_V3_SMALL, name, out, size);
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
        .n_attrs = 4, .attrs = (const cvr_attr_desc *const[]){&table_, &width_mult, &dropout, &norm_momentum},         \
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
