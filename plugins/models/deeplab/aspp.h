/*
 * Atrous spatial pyramid pooling (Chen, Papandreou, Schroff, Adam: "Rethinking Atrous Convolution for Semantic Image
 * Segmentation", 2017) as torchvision has it, which DeepLabV3 and DeepLabV3+ share.
 */
#ifndef CVR_MODELS_ASPP_H
#define CVR_MODELS_ASPP_H

#include "../dense_head.h"

/* The first keys of both networks' heads. */
typedef struct aspp_attrs {
    int64_t n_rates;
    int64_t rates[3]; /* of the three 3x3 convolutions */
    int64_t channels; /* of each of the five branches, and of the result */
    double dropout;
} aspp_attrs;

/*
 * x: (N, C, h, w) -> (N, channels, h, w): a 1x1 convolution, three dilated 3x3 ones and the mean over the picture, side
 * by side, projected. Named NAME.convs.0.0 to NAME.convs.4.2 and NAME.project.0
 */
cvr_value aspp(net *n, const char *name, const aspp_attrs *a, cvr_value x);

#define ASPP_CHANNELS                                                                                                  \
    CVR_ATTR_INIT(INT, "aspp_channels", "256", "channels of each branch of the pyramid", CVR_ATTR_BETWEEN(1, 65536))
#define ASPP_RATES(default_, doc_)                                                                                     \
    CVR_ATTR_INIT(INTS, "atrous_rates", default_, doc_, .count = 3, CVR_ATTR_BETWEEN(1, 4096))

#endif
