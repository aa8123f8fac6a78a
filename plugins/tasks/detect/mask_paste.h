/*
 * A mask as Mask R-CNN says it, a small square of probabilities that belongs to a box (He et al., 2017), brought to the
 * picture: as torchvision's paste_masks_in_image does it, and inside where the probability is over 0.5, as its
 * reference script hands masks to COCO.
 */
#ifndef CVR_DETECT_MASK_PASTE_H
#define CVR_DETECT_MASK_PASTE_H

#include "../../rle/rle.h"

typedef struct mask_small {
    const float *probabilities; /* (side, side) */
    int64_t side;
    float box[4]; /* x1, y1, x2, y2 in pixels of the picture */
} mask_small;

/* `out` gets the mask of the picture's height x width; see rle.h for whose memory that is. */
int32_t mask_paste(rle *out, const mask_small *m, int64_t height, int64_t width, cvr_error *err);

#endif
