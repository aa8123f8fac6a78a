/*
 * The blocks of MobileNetV2 (Sandler, Howard, Zhu, Zhmoginov, Chen: "MobileNetV2: Inverted Residuals and Linear
 * Bottlenecks", 2018) without its last convolution and classifier, which the classifier and the segmentation network on
 * top of them share. Names and initialisation are torchvision's; blocks are named "4.conv.0.0", after net.scope.
 */
#ifndef CVR_MODELS_MOBILENET_V2_TRUNK_H
#define CVR_MODELS_MOBILENET_V2_TRUNK_H

#include "../model_net.h"

#define MOBILENET_V2_BLOCKS 18 /* with the stem */

typedef struct mobilenet_v2_trunk {
    double width_mult;
    int64_t round_nearest; /* channels are a multiple of it */
    /* Where a stage would be smaller than the picture / output_stride, it keeps its size and is dilated in place of its
     * stride; its first block has the dilation of the stage before. 0: no stage is. */
    int64_t output_stride;
    /* Zeros stand around what a block gets, in front of the 1x1 convolution that widens it, and none around the
     * picture; 0: they stand around the 3x3 convolutions, as in torchvision. */
    int64_t pads_input;
    const char *norm; /* settings of net_norm; NULL: its defaults */
} mobilenet_v2_trunk;

/* image: (N, C, H, W); blocks[i]: what block i makes of it. From block `from` on net.scope is `scope`. */
void mobilenet_v2_trunk_build(net *n, const mobilenet_v2_trunk *t, cvr_value image, int from, const char *scope,
                              cvr_value blocks[MOBILENET_V2_BLOCKS]);
/* timm's names as torchvision's, as cvr_model_desc.alias. */
int32_t mobilenet_v2_alias(const char *name, char *out, uint64_t size);

#endif
