/* A picture with the mask that was predicted for it laid over it, and a legend of the classes. */
#ifndef CVR_SEGMENT_OVERLAY_H
#define CVR_SEGMENT_OVERLAY_H

#include "segment_mask.h"

/* Classes that are in a mask, the largest first, with their share of the pixels that the network saw. */
typedef struct segment_share {
    int64_t klass;
    double share;
} segment_share;
/* Fills `shares` with those that are there, at most SEGMENT_IGNORED of them, and returns their number. */
int64_t segment_shares(const segment_mask *m, int64_t n_classes, segment_share shares[SEGMENT_IGNORED]);

/* PICTURE_overlay.png; nothing where the sink has no picture, or one of another size. */
int32_t segment_overlay_write(const cvr_task_info *info, const segment_mask *m, const cvr_prediction_sink *sink,
                              cvr_error *err);

/* "14.7 %"; "< 0.1 %" of what is there, and hardly to be seen. */
void segment_percent(char text[16], double share);

#endif
