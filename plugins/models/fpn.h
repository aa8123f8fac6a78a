/*
 * A classifier's stages with a feature pyramid on them (Lin, Dollar, Girshick, He, Hariharan, Belongie: "Feature
 * Pyramid Networks for Object Detection", 2017) as torchvision has it: what the detectors share. Names and
 * initialisation are torchvision's: "backbone.body.*" and "backbone.fpn.*".
 */
#ifndef CVR_MODELS_FPN_H
#define CVR_MODELS_FPN_H

#include "model_net.h"

#define FPN_MOST_STAGES 6 /* stages that a body may have */
#define FPN_MOST_MAPS 8   /* what the pyramid may have: a map for each stage and two extra ones */

/* The coarser maps after the stages' own: none; every second pixel of the last one ("pool"); a convolution of stride 2
 * and another one after ReLU ("p6", "p7"), of the pyramid's last map or of the body's. */
#define FPN_EXTRA_NONE 0
#define FPN_EXTRA_POOL 1
#define FPN_EXTRA_P6P7 2
#define FPN_EXTRA_P6P7_OF_BODY 3

/* Which of the body's stages the pyramid has where the user names none: torchvision's default for its Faster R-CNN (all
 * four of a ResNet, the last two of a MobileNet, both of stride 32), or the last one of each stride from 8 to 32. */
#define FPN_STAGES_OF_RCNN 0
#define FPN_STAGES_FROM_8 1

/* The first keys of such networks, as FPN_ATTRS lists them. */
typedef struct fpn_attrs {
    int64_t body;
    int64_t n_layers;
    int64_t layers[4];
    int64_t width;
    double width_mult;
    int64_t n_returned_layers;
    int64_t returned_layers[FPN_MOST_STAGES];
    int64_t norm;
    double norm_eps;
    int64_t channels;
} fpn_attrs;

typedef struct fpn {
    const fpn_attrs *attrs;
    int64_t stages;   /* FPN_STAGES_*, where the attributes name none */
    int64_t extra;    /* FPN_EXTRA_* */
    const char *norm; /* after each convolution of the pyramid, which then has no bias: "batch_norm2d"; NULL: nothing */
} fpn;

/*
 * image: (N, C, H, W); maps[i]: (N, channels, h_i, w_i), finest first, the extra ones last. Returns how many there are,
 * 0 after a failure. After it net.scope, .norm and .conv are what they were.
 */
size_t fpn_build(net *n, const fpn *f, cvr_value image, cvr_value maps[FPN_MOST_MAPS]);

/* As cvr_model_desc.stride: that of the bodies' last maps; torchvision pads to it as well. */
int64_t fpn_stride(const void *attrs);

/*
 * As cvr_model_desc.alias, what such a network calls the tensors of a classifier's file, torchvision's or timm's, and
 * those of a pyramid from before torchvision 0.13 (inner_blocks.0.weight). The classifier's own, which there is no
 * place for, are this network's `head` ("head.cls_logits"), which they cannot fill. Of two timm names that a ResNet and
 * a MobileNetV3 share, the ResNet's is meant, or with `mobile` the other's.
 */
int32_t fpn_alias(int32_t mobile, const char *head, const char *name, char *out, uint64_t size);

/* ---- schemas ---- */

/* Choices of the key `body`, in the order of its numbers, and defaults of the keys that tell networks apart. */
#define FPN_BODIES "resnet18|resnet34|resnet50|resnet101|mobilenet_v3_large|mobilenet_v3_small|mobilenet_v2"
#define FPN_BODY(default_)                                                                                             \
    CVR_ATTR_INIT(CHOICE, "body", default_, "network that the feature pyramid stands on", .choices = FPN_BODIES)
#define FPN_NORM(default_)                                                                                             \
    CVR_ATTR_INIT(CHOICE, "norm", default_,                                                                            \
                  "the body's norms: frozen with the statistics of its weights' file, or batch norm, which a body "    \
                  "without a file needs",                                                                              \
                  .choices = "frozen|batch")

/* The other keys, defined in fpn.c. */
extern const cvr_attr_desc fpn_layers, fpn_width, fpn_width_mult, fpn_returned_layers, fpn_norm_eps, fpn_channels;
/* Addresses for a schema's array: `body_` and `norm_` are descriptors by FPN_BODY and FPN_NORM. */
#define FPN_ATTRS(body_, norm_)                                                                                        \
    &body_, &fpn_layers, &fpn_width, &fpn_width_mult, &fpn_returned_layers, &norm_, &fpn_norm_eps, &fpn_channels

/*
 * Stages for model.freeze: of a ResNet, and of a MobileNet the blocks of the same stride (MobileNetV3-Large's counts).
 * torchvision freezes the stem and layer1 of a ResNet by default, the stem, layer1 and layer2 of a MobileNetV3.
 */
#define FPN_BODY_STAGES                                                                                                \
    NET_STAGE("backbone.stem", "backbone.body.conv1,backbone.body.bn1,backbone.body.0,backbone.body.1"),               \
        NET_STAGE("backbone.layer1", "backbone.body.layer1.#,backbone.body.2,backbone.body.3"),                        \
        NET_STAGE("backbone.layer2", "backbone.body.layer2.#,backbone.body.4,backbone.body.5,backbone.body.6"),        \
        NET_STAGE("backbone.layer3", "backbone.body.layer3.#,backbone.body.7,backbone.body.8,backbone.body.9,"         \
                                     "backbone.body.10,backbone.body.11,backbone.body.12"),                            \
        NET_STAGE("backbone.layer4", "backbone.body.layer4.#,backbone.body")
/* The pyramid: like all that stands on the body, a classifier's file does not have it. */
#define FPN_STAGES FPN_BODY_STAGES, NET_STAGE("head.fpn", "backbone.fpn")

/* Layers that such a network is made of, for CVR_DEFINE_PLUGIN. */
#define FPN_LAYERS                                                                                                     \
    "layer:conv2d layer:batch_norm2d layer:frozen_batch_norm2d layer:relu layer:relu6 layer:hardswish "                \
    "layer:hardsigmoid layer:mul layer:add layer:max_pool2d layer:adaptive_avg_pool2d layer:upsample "

#endif
