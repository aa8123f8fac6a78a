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
/* darknet_note_head for each of a network that was built. */
void darknet_note_heads(const darknet_build *b);
/* darknet_detect.c: losses and detections of all heads. */
void darknet_put_boxes(darknet_build *b, const detect_ends *e);

/* darknet_propose.c: the settings that a recipe has for what the file says. */
int32_t darknet_propose(const darknet_plan *p, cvr_propose_fn each, void *ctx, cvr_error *err);
/* A layer whose filters are `anchors` times what a box has, and a number for each class. */
typedef struct darknet_head_shape {
    uint32_t layer;
    int64_t filters;
    int64_t anchors;     /* 0: other layers' shapes depend on its filters, too, or it is not known */
    int64_t box_numbers; /* 5; 0: of a classifier */
} darknet_head_shape;

/* darknet_weights.c: a head of a network that is built, for files of weights with other classes. */
void darknet_note_head(const darknet_head_shape *shape);
/* darknet_weights.c: the weights format "darknet". */
extern const cvr_weights_desc darknet_weights;

#endif
