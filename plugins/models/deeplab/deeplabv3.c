/*
 * DeepLabV3 (Chen, Papandreou, Schroff, Adam: "Rethinking Atrous Convolution for Semantic Image Segmentation", 2017) as
 * torchvision has it: on a ResNet of output stride 8 or a MobileNetV3 of output stride 16, with an auxiliary head.
 * Results are made as large as the picture bilinearly. Names and initialisation are torchvision's.
 */
#include "../mobilenet/mobilenet_v3_trunk.h"
#include "aspp.h"

/* Of all; then come a backbone's own. */
typedef struct deeplab_attrs {
    aspp_attrs aspp;
    int64_t aux_loss;
    double dropout_aux;
} deeplab_attrs;
typedef struct deeplab_resnet_attrs {
    deeplab_attrs head;
    dense_resnet resnet;
} deeplab_resnet_attrs;
typedef struct deeplab_mobilenet_attrs {
    deeplab_attrs head;
    double width_mult, norm_momentum;
} deeplab_mobilenet_attrs;

/* What the backbone gives. */
typedef struct features {
    cvr_value image, out, aux;
} features;

/* Both heads. -> output and aux: logits, (N, num_classes, H, W) */
static int32_t add_heads(net *n, const deeplab_attrs *a, const cvr_io *io, int64_t num_classes, const features *f) {
    const net_conv2d three = {a->aspp.channels, 3, 1, 1, 1, 0}, classes = {num_classes, 1, 1, 0, 1, 1};
    const dense_fcn aux = {"aux_classifier", "dropout", a->dropout_aux, num_classes, 0};
    n->scope = NULL;
    n->conv = DENSE_TORCH;
    cvr_value x = aspp(n, "classifier.0", &a->aspp, f->out);
    x = dense_conv(n, "classifier", 1, &three, 1, x);
    x = net_conv(n, x, "classifier.4", &classes);
    x = dense_resize(n, x, "resize", f->image, DENSE_BILINEAR);
    if (a->aux_loss) {
        const cvr_value y = dense_fcn_head(n, &aux, f->aux);
        net_auxiliary(n, io, "aux", 0.5, dense_resize(n, y, "aux_resize", f->image, DENSE_BILINEAR));
    }
    return net_result(n, io, x);
}

/* image: (N, C, H, W) */
static int32_t build_on_resnet(const cvr_builder *b, const cvr_model_args *args, const cvr_io *io, cvr_error *err) {
    const deeplab_resnet_attrs *a = (const deeplab_resnet_attrs *)args->attrs;
    net n = {.b = b, .err = err, .conv = DENSE_KAIMING, .scope = "backbone."};
    const resnet_trunk t = dense_trunk(&n, &a->resnet, 8);
    const cvr_value image = io->input(io, "image");
    cvr_value stages[4] = {image, image, image, image};
    if (n.status == CVR_OK) resnet_trunk_stages(&n, &t, resnet_trunk_stem(&n, &t, image), stages);
    const features f = {image, stages[3], stages[2]};
    return add_heads(&n, &a->head, io, args->num_classes, &f);
}

static int32_t build_on_mobilenet(const cvr_builder *b, const cvr_model_args *args, const cvr_io *io, cvr_error *err) {
    const deeplab_mobilenet_attrs *a = (const deeplab_mobilenet_attrs *)args->attrs;
    const mobilenet_v3_trunk t = {
        .size = MOBILENET_V3_LARGE, .width_mult = a->width_mult, .norm_momentum = a->norm_momentum, .dilated = 1};
    net n = {.b = b, .err = err, .conv = DENSE_KAIMING, .scope = "backbone."};
    const cvr_value image = io->input(io, "image");
    cvr_value all[MOBILENET_V3_FEATURES];
    const size_t count = mobilenet_v3_trunk_build(&n, &t, image, all);
    const features f = {image, all[count - 1], all[MOBILENET_V3_STRIDE_8]};
    return add_heads(&n, &a->head, io, args->num_classes, &f);
}

static int32_t resnet_alias(const char *name, char *out, uint64_t size) {
    return resnet_trunk_alias("backbone.", "classifier.4", name, out, size);
}

static int32_t mobilenet_alias(const char *name, char *out, uint64_t size) {
    return mobilenet_v3_trunk_alias("backbone.", "classifier.4", name, out, size);
}

static const cvr_attr_desc rates = ASPP_RATES("12,24,36", "dilations of the pyramid's three 3x3 convolutions"),
                           channels = ASPP_CHANNELS, dropout = DENSE_DROPOUT("0.5"), aux_loss = DENSE_AUX_LOSS,
                           dropout_aux = DENSE_DROPOUT_AUX, layers_50 = RESNET_LAYERS(RESNET_LAYERS_50),
                           layers_101 = RESNET_LAYERS(RESNET_LAYERS_101), width = RESNET_WIDTH;
static const cvr_attr_desc width_mult = MOBILENET_V3_WIDTH_MULT, norm_momentum = MOBILENET_V3_NORM_MOMENTUM;

static const cvr_stage *const resnet_stages[] = {DENSE_RESNET_STAGES, DENSE_HEAD_STAGES};
static const cvr_stage *const mobilenet_stages[] = {DENSE_MOBILENET_V3_STAGES, DENSE_HEAD_STAGES};

#define MODEL(name_, build_, alias_, stages_, ...)                                                                     \
    &(const cvr_model_desc) {                                                                                          \
        .struct_size = sizeof(cvr_model_desc), .proposes = dense_proposes, .name = name_,                              \
        .doc = "Chen et al. 2017, as in torchvision",                                                                  \
        .n_attrs = 5 + sizeof((const void *[]){__VA_ARGS__}) / sizeof(void *),                                         \
        .attrs = (const cvr_attr_desc *const[]){&rates, &channels, &dropout, &aux_loss, &dropout_aux, __VA_ARGS__},    \
        .build = build_, .n_stages = NET_COUNT(stages_), .stages = stages_, .alias = alias_                            \
    }
static const cvr_model_desc *const models[] = {
    MODEL("deeplabv3_resnet50", build_on_resnet, resnet_alias, resnet_stages, &layers_50, &width),
    MODEL("deeplabv3_resnet101", build_on_resnet, resnet_alias, resnet_stages, &layers_101, &width),
    MODEL("deeplabv3_mobilenet_v3_large", build_on_mobilenet, mobilenet_alias, mobilenet_stages, &width_mult,
          &norm_momentum),
};

static int32_t deeplabv3_load(const cvr_host *host, const cvr_registrar *r, cvr_error *err) {
    (void)host;
    return net_register(r, models, NET_COUNT(models), err);
}

CVR_DEFINE_PLUGIN("model_deeplabv3", "0.1.0",
                  "layer:conv2d layer:batch_norm2d layer:relu layer:hardswish layer:hardsigmoid layer:mul layer:add "
                  "layer:max_pool2d layer:adaptive_avg_pool2d layer:concat layer:dropout layer:upsample",
                  deeplabv3_load)
