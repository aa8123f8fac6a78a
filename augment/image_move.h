/*
 * A transform of geometry says once how pixels and boxes move; image_move() walks over the fields of a sample and moves
 * each as its kind asks, as torchvision v2 does with its tv_tensors.
 */
#ifndef CVR_AUGMENT_IMAGE_MOVE_H
#define CVR_AUGMENT_IMAGE_MOVE_H

#include "image_view.h"

typedef struct image_motion {
    const void *how; /* handed to both */
    /*
     * `im`, moved: new memory or a part of the old. `classes` is NULL for a picture. Else pixels are classes, which are
     * taken from the nearest and never mixed, and this is the class outside the picture.
     */
    int32_t (*pixels)(const void *how, cvr_sample *s, const image *im, const fill_attr *classes, image *out,
                      cvr_error *err);
    /* x1, y1, x2, y2, in place. */
    void (*box)(const void *how, float *box);
    int64_t mask_fill;
    double matrix[9]; /* where points go: see cvr_origin.geometry */
} image_motion;

/* Moves pictures, masks and boxes, and says so to cvr_sample_moved. Boxes that end up empty stay, as in torchvision. */
int32_t image_move(cvr_sample *s, const image_motion *m, cvr_error *err);

/* What it moves beside pictures: cvr_augment_desc.kinds. */
#define IMAGE_N_MOVED 3u
extern const char *const image_moved[IMAGE_N_MOVED];

/* Holds a coordinate inside a side, as torch.clamp does. */
static inline float image_clamp(float x, int64_t side) {
    return x < 0 ? 0 : x > (float)side ? (float)side : x;
}

#endif
