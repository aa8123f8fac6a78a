/* What the files of the plugin "darknet" share: a network as it is being built, and its keys. */
#ifndef CVR_DARKNET_H
#define CVR_DARKNET_H

#include "../detect_head.h"
#include "darknet_plan.h"

/* The keys of [model]. */
typedef struct darknet_attrs {
    const char *cfg;
    double bn_eps;
    detect_attrs limits; /* nms_thresh 0: as the file says */
} darknet_attrs;

typedef struct darknet_build {
    net n;
    const darknet_plan *plan;
    const darknet_attrs *attrs;
    int64_t num_classes;
    cvr_value *values; /* of each layer; a head's is what it reads */
    cvr_value image;   /* (N, C, H, W) */
} darknet_build;

/* darknet_nodes.c: what layer i gives; its inputs are there already. */
cvr_value darknet_node(darknet_build *b, uint32_t i);
/* darknet_detect.c: losses and detections of all heads. */
void darknet_put_boxes(darknet_build *b, const detect_ends *e);

/* darknet_propose.c: the settings that a recipe has for what the file says. */
int32_t darknet_propose(const darknet_plan *p, cvr_propose_fn each, void *ctx, cvr_error *err);
/* darknet_weights.c: the weights format "darknet". */
extern const cvr_weights_desc darknet_weights;

#endif
