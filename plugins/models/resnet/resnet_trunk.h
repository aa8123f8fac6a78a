/*
 * The stages of a ResNet without its classifier: what the classifiers of this family and the segmentation networks on
 * top of one share. Names and initialisation are torchvision's; layers are named "layer1.0.conv1", after net.scope.
 */
#ifndef CVR_MODELS_RESNET_TRUNK_H
#define CVR_MODELS_RESNET_TRUNK_H

#include "../model_net.h"

#define RESNET_BASIC 0
#define RESNET_BOTTLENECK 1

#define RESNET_STEM_IMAGENET 0 /* 7x7 of stride 2, max pool */
#define RESNET_STEM_CIFAR 1    /* 3x3 of stride 1 */
/* Three 3x3, the first of stride 2, the last twice as wide, max pool: He et al.: "Bag of Tricks for Image
 * Classification with Convolutional Neural Networks", 2019, its ResNet-C. Named "layer0.0" and so on, as in semseg. */
#define RESNET_STEM_DEEP 2

typedef struct resnet_trunk {
    int64_t n_layers;
    int64_t layers[4]; /* blocks of each stage */
    int64_t block, stem, width;
    int64_t groups, width_per_group; /* 1 and 64: plain bottlenecks */
    /* Where a stage would be smaller than the picture / output_stride, it keeps its size and the 3x3 convolutions of
     * its bottlenecks are dilated by what its strides would have been. 0: no stage is. */
    int64_t output_stride;
    int64_t first_too; /* so is its first block; 0: that has the dilation of the stage before, as in torchvision */
    const char *norm;  /* settings of net_norm; NULL: its defaults */
} resnet_trunk;

/* Blocks of ResNet-34 and ResNet-50, and of ResNet-101, as defaults of a key `layers`. */
#define RESNET_LAYERS_50 "3,4,6,3"
#define RESNET_LAYERS_101 "3,4,23,3"
#define RESNET_LAYERS(default_)                                                                                        \
    CVR_ATTR_INIT(INTS, "layers", default_, "blocks of each stage", .count = 4, CVR_ATTR_BETWEEN(1, 1000))
#define RESNET_WIDTH                                                                                                   \
    CVR_ATTR_INIT(INT, "width", "64", "channels of the stem; each stage after the first doubles them",                 \
                  CVR_ATTR_BETWEEN(1, 4096))

/* The stem without its max pool. image: (N, C, H, W) -> (N, width, H / 2, W / 2); the whole size for CIFAR */
cvr_value resnet_trunk_stem(net *n, const resnet_trunk *t, cvr_value image);
/* The stem's result goes in; stages[i] is what stage i + 1 makes of it: (N, width * 2^i * expansion, H / s, W / s) */
void resnet_trunk_stages(net *n, const resnet_trunk *t, cvr_value x, cvr_value stages[4]);

/*
 * For a network that has a ResNet under "backbone.": what it calls the tensors of a classifier's file. The classifier's
 * last layer, which there is no place for, is this network's `head`, which the file cannot fill.
 */
int32_t resnet_trunk_alias(const char *scope, const char *head, const char *name, char *out, uint64_t size);

#endif
