/*
 * What networks with a class for each pixel share: the heads that stand on a classifier's stages, and how their results
 * get to another size. Names are torchvision's.
 */
#ifndef CVR_MODELS_DENSE_HEAD_H
#define CVR_MODELS_DENSE_HEAD_H

#include "resnet/resnet_trunk.h"

#define DENSE_NEAREST "nearest"
#define DENSE_BILINEAR "bilinear"                        /* centres of pixels stay where they are, as in torchvision */
#define DENSE_CORNERS "bilinear align_corners=yes"       /* centres of the corners' pixels do */
#define DENSE_TORCH ((net_start){NET_START_TORCH, 0, 0}) /* how torchvision's heads start */
#define DENSE_KAIMING ((net_start){NET_START_KAIMING, 0, 0}) /* how its backbones do */

/* x: (N, C, H, W) -> (N, C, height and width of `like`) */
cvr_value dense_resize(net *n, cvr_value x, const char *name, cvr_value like, const char *mode);

/* ReLU(batch norm(convolution)) with names that count on: NAME.i, NAME.i+1, NAME.i+2 */
cvr_value dense_conv(net *n, const char *name, int i, const net_conv2d *c, int64_t dilation, cvr_value x);

/*
 * The head of "Fully Convolutional Networks for Semantic Segmentation" (Long, Shelhamer, Darrell, 2015) as torchvision
 * has it: a 3x3 convolution to a quarter of the channels, then one to the classes. x: (N, C, h, w) -> (N, num_classes,
 * h, w). `drop`: a layer and its settings, "dropout" and "0.1"
 */
typedef struct dense_fcn {
    const char *name, *drop;
    double p;
    int64_t num_classes;
    int64_t channels; /* of the 3x3 convolution in place of a quarter; 0: that */
} dense_fcn;
cvr_value dense_fcn_head(net *n, const dense_fcn *h, cvr_value x);

/* As cvr_model_desc.proposes: the task. */
int32_t dense_proposes(const void *attrs, cvr_propose_fn each, void *ctx, cvr_error *err);

/* ---- on a ResNet ---- */

/* The first keys of such networks. */
typedef struct dense_resnet {
    int64_t n_layers;
    int64_t layers[4];
    int64_t width;
} dense_resnet;
/* A trunk of these; a failure where it would not have four stages. */
resnet_trunk dense_trunk(net *n, const dense_resnet *a, int64_t output_stride);

/* ---- schemas ---- */

#define DENSE_AUX_LOSS                                                                                                 \
    CVR_ATTR_INIT(BOOL, "aux_loss", "yes", "an auxiliary head in training, whose loss counts train.aux_weight")
#define DENSE_DROPOUT(default_)                                                                                        \
    CVR_ATTR_INIT(FLOAT, "dropout", default_, "probability in the head", CVR_ATTR_BETWEEN(0, 1))
#define DENSE_DROPOUT_AUX                                                                                              \
    CVR_ATTR_INIT(FLOAT, "dropout_aux", "0.1", "probability in the auxiliary head", CVR_ATTR_BETWEEN(0, 1))

#define DENSE_RESNET_STAGES                                                                                            \
    NET_STAGE("backbone.stem", "backbone.conv1,backbone.bn1"), NET_STAGE("backbone.layer1", "backbone.layer1.#"),      \
        NET_STAGE("backbone.layer2", "backbone.layer2.#"), NET_STAGE("backbone.layer3", "backbone.layer3.#"),          \
        NET_STAGE("backbone.layer4", "backbone.layer4.#")
#define DENSE_MOBILENET_V3_STAGES                                                                                      \
    NET_STAGE("backbone.stem", "backbone.0,backbone.1"), NET_STAGE("backbone.stage2", "backbone.2,backbone.3"),        \
        NET_STAGE("backbone.stage3", "backbone.4,backbone.5,backbone.6"),                                              \
        NET_STAGE("backbone.stage4", "backbone.7,backbone.8,backbone.9"), NET_STAGE("backbone.stage5", "backbone")
/* The last layers, whose shape the number of classes decides, and what else stands after the backbone. */
#define DENSE_HEAD_STAGES                                                                                              \
    NET_STAGE("head", "classifier.4,aux_classifier.4"), NET_STAGE("head.auxiliary", "aux_classifier"),                 \
        NET_STAGE("head.decoder", "classifier")

#endif
