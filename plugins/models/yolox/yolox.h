/*
 * YOLOX (Ge, Liu, Wang, Li, Sun: "YOLOX: Exceeding YOLO Series in 2021", 2021): what its files share. Names of
 * parameters, initialisation and numbers are those of the reference implementation (Megvii-BaseDetection/YOLOX), so
 * that its checkpoints fit.
 */
#ifndef CVR_MODELS_YOLOX_H
#define CVR_MODELS_YOLOX_H

#include "../detect_head.h"

#define YOLOX_LEVELS 3u        /* maps at strides of 8, 16 and 32 */
#define YOLOX_FIRST_STRIDE 8   /* of the finest map */
#define YOLOX_LAST_STRIDE 32   /* sides of pictures are multiples of it */
#define YOLOX_BASE_CHANNELS 64 /* of the stem, times width_mult */

/* The keys, in the order of the schema. */
typedef struct yolox_attrs {
    double score_thresh, nms_thresh;
    int64_t detections_per_img;
    double depth_mult, width_mult;
    int64_t depthwise;  /* 0 or 1 */
    int64_t activation; /* index into YOLOX_ACTIVATIONS */
} yolox_attrs;

#define YOLOX_ACTIVATIONS "silu|relu|leaky_relu"

/* A network that is being built. */
typedef struct yolox {
    net *n;
    const yolox_attrs *a;
} yolox;

/* A convolution without bias, batch norm and activation: NAME.conv, NAME.bn, NAME.act. Odd square kernels, padded so
 * that only the stride makes the map smaller. */
typedef struct yolox_conv {
    int64_t out_channels, kernel_size, stride, groups;
} yolox_conv;
cvr_value yolox_base_conv(const yolox *y, const char *name, const yolox_conv *c, cvr_value x);
/* The same, or in depthwise networks two of them: NAME.dconv, each channel by itself, and NAME.pconv, 1x1. */
cvr_value yolox_any_conv(const yolox *y, const char *name, const yolox_conv *c, cvr_value x);

/* channels * width_mult, cut to a whole number, at least 1 */
int64_t yolox_channels(const yolox *y, int64_t channels);

/* image (N, C, H, W) -> the maps at strides 8, 16 and 32 (CSPDarknet and a path aggregation network). */
void yolox_body(const yolox *y, cvr_value image, cvr_value maps[YOLOX_LEVELS]);

/* What the heads say of all maps, one after the other. A: cells of all maps. */
typedef struct yolox_said {
    cvr_value classes;    /* (N, A, K) logits */
    cvr_value objectness; /* (N, A, 1) logits */
    cvr_value deltas;     /* (N, A, 4) */
    cvr_value cells;      /* (A, 4): squares of the stride's side around the cells' upper left corners */
} yolox_said;
yolox_said yolox_heads(const yolox *y, cvr_value image, const cvr_value maps[YOLOX_LEVELS], int64_t num_classes);

/* SimOTA, and the losses "iou", "conf", "cls" and "l1". */
void yolox_put_losses(const yolox *y, const detect_ends *e, const yolox_said *said);
/* "boxes", "scores" and "labels". */
void yolox_put_results(const yolox *y, const detect_ends *e, const yolox_said *said);

#endif
