/*
 * One-stage detectors on a feature pyramid: what RetinaNet and FCOS share. The same heads look at every map. Names and
 * initialisation are torchvision's.
 */
#ifndef CVR_MODELS_FPN_HEAD_H
#define CVR_MODELS_FPN_HEAD_H

#include "detect_head.h"
#include "fpn.h"

/* A tower's layers: four times a 3x3 convolution and ReLU, perhaps with group normalisation between them. */
#define FPN_HEAD_DEPTH 4
#define FPN_HEAD_STD 0.01   /* of all weights of the heads at first */
#define FPN_HEAD_PRIOR 0.01 /* what the class scores say at first, by their bias */

#define FPN_TOWER_PLAIN 0  /* NAME.i.0, a convolution with bias, and ReLU */
#define FPN_TOWER_NORMED 1 /* NAME.i.0, one without, NAME.i.1, the norm, and ReLU */
#define FPN_TOWER_FLAT 2   /* NAME.3i, one with bias, NAME.3i+1, the norm, and ReLU */

/* x: (N, C, h, w) -> (N, C, h, w); groups: of the normalisation */
cvr_value fpn_tower(net *n, const char *name, int kind, int64_t groups, cvr_value x);
/* A head's last convolution, 3x3, and what it says as rows: (N, C, h, w) -> (N, h * w * each, columns) */
cvr_value fpn_head_rows(net *n, const char *name, int64_t each, int64_t columns, double bias, cvr_value x);
/* The bias of class scores that makes them FPN_HEAD_PRIOR: -ln((1 - p) / p) */
double fpn_head_prior(void);

/* The first keys. */
typedef struct fpn_head_attrs {
    detect_attrs detect;
    fpn_attrs fpn;
    int64_t n_anchor_sizes;
    double anchor_sizes[FPN_MOST_MAPS];
} fpn_head_attrs;

/* The pyramid's maps, each with an anchor size. Returns how many there are, 0 after a failure. */
uint32_t fpn_head_maps(net *n, const fpn_head_attrs *a, int64_t extra, cvr_value image, cvr_value maps[FPN_MOST_MAPS]);

/* ---- names and schemas ---- */

#define FPN_HEAD_CLASSES "head.classification_head.cls_logits"
#define FPN_HEAD_STAGES                                                                                                \
    NET_STAGE("head", FPN_HEAD_CLASSES), NET_STAGE("head.classification", "head.classification_head"),                 \
        NET_STAGE("head.regression", "head.regression_head")
#define FPN_HEAD_SIZES(default_)                                                                                       \
    CVR_ATTR_INIT(FLOATS, "anchor_sizes", default_, "side of the anchors of each map of the pyramid, pixels",          \
                  .count = FPN_MOST_MAPS, CVR_ATTR_BETWEEN(1, 100000))
extern const cvr_attr_desc fpn_head_topk, fpn_head_groups;

#endif
