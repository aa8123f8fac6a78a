/*
 * SSD (Liu et al.: "SSD: Single Shot MultiBox Detector", 2016) on any features, as torchvision has it: default boxes,
 * matching, losses with hard negatives, detections. What differs between its members is how a map becomes scores and
 * offsets.
 */
#ifndef CVR_MODELS_SSD_HEAD_H
#define CVR_MODELS_SSD_HEAD_H

#include "../detect_head.h"

#define SSD_MAPS 6

/* The first keys of such networks. */
typedef struct ssd_attrs {
    detect_attrs detect;
    double iou_thresh, positive_fraction;
    int64_t n_scales;
    double scales[SSD_MAPS + 1];
    int64_t n_ratios;
    double ratios[4];
    int64_t n_ratios_per_map;
    int64_t ratios_per_map[SSD_MAPS];
    int64_t n_steps;
    int64_t steps[SSD_MAPS];
    int64_t clip;
} ssd_attrs;

/* Scores or offsets of map i: x (N, C, H, W) -> (N, channels, H, W). `name`: "head.classification_head.module_list.0"
 */
typedef cvr_value (*ssd_predict_fn)(net *n, const char *name, int64_t channels, cvr_value x);

typedef struct ssd_head {
    const ssd_attrs *attrs;
    int64_t num_classes;
    ssd_predict_fn predict;
    const char *last; /* what stands after the name of the layer that says it: "" or ".1" */
} ssd_head;

/* A failure where the settings do not go together: before anything is built. */
void ssd_check(net *n, const ssd_attrs *a);
/* Everything after the features: maps, finest first. Returns what became of the whole network. */
int32_t ssd_build_head(net *n, const ssd_head *h, const detect_ends *e, const cvr_value maps[SSD_MAPS]);

/* ---- schemas ---- */

#define SSD_SCALES(default_)                                                                                           \
    CVR_ATTR_INIT(FLOATS, "scales", default_,                                                                          \
                  "sides of each map's default boxes, as shares of the picture, and one more for after the last",      \
                  .count = SSD_MAPS + 1, CVR_ATTR_BETWEEN(0.0001, 10))
#define SSD_RATIOS_PER_MAP(default_)                                                                                   \
    CVR_ATTR_INIT(INTS, "ratios_per_map", default_, "how many of aspect_ratios, from the first on, each map has",      \
                  .count = SSD_MAPS, CVR_ATTR_BETWEEN(0, 4))
#define SSD_STEPS(default_)                                                                                            \
    CVR_ATTR_INIT(INTS, "steps", default_, "pixels from one default box to the next on each map; none: by its size",   \
                  .count = SSD_MAPS, CVR_ATTR_BETWEEN(1, 65536))
extern const cvr_attr_desc ssd_iou_thresh, ssd_positive_fraction, ssd_aspect_ratios, ssd_clip;

/* Addresses for a schema's array, in the order of ssd_attrs. */
#define SSD_ATTRS(score_, nms_, per_img_, topk_, scales_, ratios_per_map_, steps_)                                     \
    &score_, &nms_, &per_img_, &topk_, &ssd_iou_thresh, &ssd_positive_fraction, &scales_, &ssd_aspect_ratios,          \
        &ratios_per_map_, &steps_, &ssd_clip
#define SSD_N_ATTRS 11

#define SSD_CLASS_HEAD "head.classification_head"
#define SSD_HEAD_STAGES NET_STAGE("head", SSD_CLASS_HEAD), NET_STAGE("head.regression", "head.regression_head")

#endif
