/*
 * VGG (Simonyan, Zisserman: "Very Deep Convolutional Networks for Large-Scale Image Recognition", 2015) as torchvision
 * has it: vgg11, 13, 16, 19, and with batch normalisation after every convolution as vgg11_bn and so on. Names and
 * initialisation are torchvision's.
 */
#include "../model_net.h"

typedef struct vgg_attrs {
    int64_t n_layers;
    int64_t layers[5];
    int64_t batch_norm;
    int64_t width;
    int64_t classifier_width;
    double dropout;
} vgg_attrs;

/* Layers are numbered as in torchvision's Sequential. */
static net_text numbered(const char *part, int64_t *i) {
    return net_print("%s.%lld", part, (long long)(*i)++);
}

/* x: (N, C, H, W) -> (N, channels, H / 2^stages, W / 2^stages) */
static cvr_value features(net *n, const vgg_attrs *a, cvr_value x) {
    int64_t i = 0;
    for (int64_t stage = 0; stage < a->n_layers; stage++) {
        const net_conv2d conv = {a->width << (stage < 3 ? stage : 3), 3, 1, 1, 1, 1}; /* at most 8 times the width */
        for (int64_t k = 0; k < a->layers[stage] && n->status == CVR_OK; k++) {
            x = net_conv(n, x, numbered("features", &i).s, &conv);
            if (a->batch_norm) x = net_layer(n, x, numbered("features", &i).s, "batch_norm2d", "");
            x = net_layer(n, x, numbered("features", &i).s, "relu", "");
        }
        x = net_layer(n, x, numbered("features", &i).s, "max_pool2d", "2");
    }
    return x;
}

/* image: (N, C, H, W) -> output: logits, (N, num_classes) */
static int32_t vgg_build(const cvr_builder *b, const cvr_model_args *args, const cvr_io *io, cvr_error *err) {
    const vgg_attrs *a = (const vgg_attrs *)args->attrs;
    const net_text dropout = net_print("%.17g", a->dropout);
    net n = {.b = b, .err = err, .conv = {NET_START_KAIMING, 0, 0}, .linear = {NET_START_NORMAL, 0.01, 0}};
    const cvr_value image = io->input(io, "image");
    cvr_value x = features(&n, a, image);
    int64_t i = 0;
    x = net_layer(&n, x, "avgpool", "adaptive_avg_pool2d", "7");
    x = net_layer(&n, x, "flatten", "flatten", "");
    for (int k = 0; k < 2; k++) {
        x = net_linear(&n, x, numbered("classifier", &i).s, a->classifier_width);
        x = net_layer(&n, x, numbered("classifier", &i).s, "relu", "");
        x = net_layer(&n, x, numbered("classifier", &i).s, "dropout", dropout.s);
    }
    return net_result(&n, io, net_linear(&n, x, numbered("classifier", &i).s, args->num_classes));
}

static const cvr_attr_desc width = CVR_ATTR_INIT(
    INT, "width", "64", "channels of the first stage; the next three double them", CVR_ATTR_BETWEEN(1, 4096));
static const cvr_attr_desc classifier_width = CVR_ATTR_INIT(
    INT, "classifier_width", "4096", "features of the two hidden dense layers", CVR_ATTR_BETWEEN(1, 65536));
static const cvr_attr_desc dropout =
    CVR_ATTR_INIT(FLOAT, "dropout", "0.5", "probability after each hidden dense layer", CVR_ATTR_BETWEEN(0, 1));

/* What tells the members of the family apart: defaults. */
#define LAYERS(default_)                                                                                               \
    {                                                                                                                  \
        .struct_size = sizeof(cvr_attr_desc), .name = "layers", .kind = CVR_ATTR_INTS, .count = 5,                     \
        .flags = CVR_ATTR_MIN | CVR_ATTR_MAX, .default_text = default_, .min = 1, .max = 100,                          \
        .doc = "convolutions of each stage"                                                                            \
    }
#define BATCH_NORM(default_)                                                                                           \
    {                                                                                                                  \
        .struct_size = sizeof(cvr_attr_desc), .name = "batch_norm", .kind = CVR_ATTR_BOOL, .count = 1,                 \
        .default_text = default_, .doc = "normalise after every convolution"                                           \
    }
static const cvr_attr_desc layers_11 = LAYERS("1,1,2,2,2"), layers_13 = LAYERS("2,2,2,2,2"),
                           layers_16 = LAYERS("2,2,3,3,3"), layers_19 = LAYERS("2,2,4,4,4"), plain = BATCH_NORM("no"),
                           normed = BATCH_NORM("yes");

static const net_name timm_names[] = {
    {"pre_logits.fc1", "classifier.0"},
    {"pre_logits.fc2", "classifier.3"},
    {"head.fc", "classifier.6"},
    {"features.#", "features.{1}"},
};

static int32_t timm_alias(const char *name, char *out, uint64_t size) {
    return net_rename(timm_names, NET_COUNT(timm_names), name, out, size);
}

static const cvr_stage *const stages[] = {
    NET_STAGE("backbone.features", "features"),
    NET_STAGE("head", "classifier.6"),
    NET_STAGE("backbone.classifier", "classifier"),
};

#define MODEL(name_, layers_, norm_)                                                                                   \
    &(const cvr_model_desc) {                                                                                          \
        .struct_size = sizeof(cvr_model_desc), .name = name_, .doc = "Simonyan, Zisserman 2015, as in torchvision",    \
        .n_attrs = 5, .attrs = (const cvr_attr_desc *const[]){&layers_, &norm_, &width, &classifier_width, &dropout},  \
        .build = vgg_build, .n_stages = NET_COUNT(stages), .stages = stages, .alias = timm_alias                       \
    }

static const cvr_model_desc *const models[] = {
    MODEL("vgg11", layers_11, plain),     MODEL("vgg13", layers_13, plain),     MODEL("vgg16", layers_16, plain),
    MODEL("vgg19", layers_19, plain),     MODEL("vgg11_bn", layers_11, normed), MODEL("vgg13_bn", layers_13, normed),
    MODEL("vgg16_bn", layers_16, normed), MODEL("vgg19_bn", layers_19, normed),
};

static int32_t vgg_load(const cvr_host *host, const cvr_registrar *r, cvr_error *err) {
    (void)host;
    return net_register(r, models, sizeof models / sizeof *models, err);
}

CVR_DEFINE_PLUGIN("model_vgg", "0.1.0",
                  "layer:conv2d layer:batch_norm2d layer:relu layer:max_pool2d layer:adaptive_avg_pool2d layer:flatten "
                  "layer:linear layer:dropout",
                  vgg_load)
