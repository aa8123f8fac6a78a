/*
 * A Darknet network as a list of layers whose settings are checked, but for shapes, which the graph checks as they are
 * built. Layers are numbered as Darknet does it: from 0, without [net].
 */
#ifndef CVR_DARKNET_PLAN_H
#define CVR_DARKNET_PLAN_H

#include "darknet_cfg.h"

#define DARKNET_MOST_FROM 32u
#define DARKNET_MOST_HEADS 16u
#define DARKNET_MOST_ANCHORS 32u
#define DARKNET_MOST_STEPS 32u

typedef enum darknet_kind {
    DARKNET_CONVOLUTIONAL,
    DARKNET_CONNECTED,
    DARKNET_MAXPOOL,
    DARKNET_AVGPOOL,
    DARKNET_ROUTE,
    DARKNET_SHORTCUT,
    DARKNET_UPSAMPLE,
    DARKNET_REORG,
    DARKNET_DROPOUT,
    DARKNET_SOFTMAX,
    DARKNET_COST,
    DARKNET_HEAD /* [yolo] or [region] */
} darknet_kind;

/* What a layer of boxes says of itself. Defaults are Darknet's. */
typedef struct darknet_head {
    uint32_t layer; /* its number */
    uint32_t is_region;
    int64_t classes;
    uint32_t n_anchors, n_mask;
    double anchors[2 * DARKNET_MOST_ANCHORS]; /* widths and heights: pixels; [region]: cells of the map */
    int64_t mask[DARKNET_MOST_ANCHORS];
    double ignore_thresh, iou_thresh, scale_x_y;
    double box_weight, objectness_weight, class_weight, max_delta, label_smooth;
    int64_t box_kind; /* CVR_YOLO_BOX_* of ops/yolo.h */
    int64_t new_coords;
    double random; /* 0: pictures have one size; 1: the network's own sizes; else by how much they differ */
    double jitter, nms;
} darknet_head;

typedef struct darknet_layer {
    uint32_t kind, line;
    int64_t size, stride, padding, filters, groups, group_id, dilation;
    int64_t normalized, reverse;
    const char *activation, *settings; /* a layer of cvrun, or "", and its settings */
    double probability;
    uint32_t n_from;
    uint32_t feeds_result; /* 1: the number of classes decides how many filters it has */
    int32_t from[DARKNET_MOST_FROM];
    double down; /* pixels of the picture to one of this layer's; 0: it has none */
} darknet_layer;

/* How the learning rate changes. */
typedef enum darknet_policy {
    DARKNET_CONSTANT,
    DARKNET_STEPS,
    DARKNET_STEP,
    DARKNET_POLY,
    DARKNET_SGDR,
    DARKNET_POLICY_UNKNOWN /* Darknet has it, cvrun has not */
} darknet_policy;

/* What [net] says. */
typedef struct darknet_net {
    int64_t batch, width, height, channels, burn_in, max_batches, mosaic, letter_box, flip, adam, resize_step;
    int64_t step, cycle, min_crop, max_crop;
    double learning_rate, momentum, decay, hue, saturation, exposure, power;
    double scale, lr_min, beta1, beta2, eps, angle;
    uint32_t n_steps, policy, has_letter_box, reserved;
    int64_t steps[DARKNET_MOST_STEPS];
    double scales[DARKNET_MOST_STEPS];
} darknet_net;

typedef struct darknet_plan {
    darknet_cfg cfg;
    darknet_net net;
    darknet_layer *layers;
    uint32_t n_layers, n_heads;
    darknet_head heads[DARKNET_MOST_HEADS];
} darknet_plan;

/* Opens the file and checks it. Close it whatever came of that. */
int32_t darknet_plan_open(const cvr_host *host, const char *path, darknet_plan *out, cvr_error *err);
/* The same of bytes. */
int32_t darknet_plan_parse(const cvr_host *host, const char *path, const char *bytes, uint64_t n, darknet_plan *out,
                           cvr_error *err);
void darknet_plan_close(darknet_plan *p);

/* What sides of pictures must be multiples of. */
int64_t darknet_plan_stride(const darknet_plan *p);

/* How many classes the file's own network tells apart. */
int64_t darknet_plan_classes(const darknet_plan *p);

/* Whether what layer i gives goes anywhere but to the head behind it. */
int32_t darknet_plan_shares(const darknet_plan *p, uint32_t i);

/* darknet_layers.c: layer number p->n_layers of a section. */
int32_t darknet_layer_read(darknet_plan *p, const darknet_section *s, cvr_error *err);
/* darknet_heads.c: [yolo] and [region]. */
int32_t darknet_head_read(darknet_plan *p, const darknet_section *s, cvr_error *err);

#endif
