/*
 * The features of MobileNetV3 (Howard et al.: "Searching for MobileNetV3", 2019) without their classifier, which the
 * classifiers and the segmentation networks on top of them share. Names and initialisation are torchvision's; blocks
 * are named "4.block.0.0", after net.scope ("features." or "backbone.").
 */
#ifndef CVR_MODELS_MOBILENET_V3_TRUNK_H
#define CVR_MODELS_MOBILENET_V3_TRUNK_H

#include "../model_net.h"

#define MOBILENET_V3_LARGE 0
#define MOBILENET_V3_SMALL 1
#define MOBILENET_V3_STRIDE_8 4  /* the block of the large one at whose end a pixel is one of 8x8 for the first time */
#define MOBILENET_V3_FEATURES 17 /* of the large one: the stem, 15 blocks and a last convolution; the small has 13 */

typedef struct mobilenet_v3_trunk {
    int64_t size; /* MOBILENET_V3_* */
    double width_mult;
    double norm_momentum; /* weight of a batch's statistics in the running ones */
    int64_t dilated;      /* the last stage keeps its size and is dilated by 2 in place of its stride */
    int64_t reduced_tail; /* the last stage has half of its channels */
    /* SSDlite's: the first block of the last stage is cut behind its first convolution, whose result goes here, and
     * names begin with "0." before the cut and with "1." and numbers from 0 after it. NULL: neither. */
    cvr_value *cut;
    const char *norm; /* settings of net_norm in place of "eps=0.001" and norm_momentum; NULL: these */
} mobilenet_v3_trunk;

/* image: (N, C, H, W); features[i]: what block i makes of it. Returns how many there are. */
size_t mobilenet_v3_trunk_build(net *n, const mobilenet_v3_trunk *t, cvr_value image,
                                cvr_value features[MOBILENET_V3_FEATURES]);
/* Channels of the paper's tables with the width's factor. */
int64_t mobilenet_v3_channels(double width_mult, int64_t c);
/* timm's names as torchvision's, as cvr_model_desc.alias. */
int32_t mobilenet_v3_alias(int64_t size, const char *name, char *out, uint64_t size_of_out);

/*
 * For a network that has the large one under `scope`: what it calls the tensors of a classifier's file, torchvision's
 * or timm's. The classifier's own, which there is no place for, are this network's `head`, which they cannot fill.
 */
int32_t mobilenet_v3_trunk_alias(const char *scope, const char *head, const char *name, char *out, uint64_t size);

#define MOBILENET_V3_WIDTH_MULT                                                                                        \
    CVR_ATTR_INIT(FLOAT, "width_mult", "1", "multiplies the channels of every layer", CVR_ATTR_BETWEEN(0.01, 100))
#define MOBILENET_V3_NORM_MOMENTUM                                                                                     \
    CVR_ATTR_INIT(FLOAT, "norm_momentum", "0.01", "momentum of the backbone's batch norms", CVR_ATTR_BETWEEN(0, 1))

#endif
