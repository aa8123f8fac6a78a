/*
 * Blurring with a Gaussian (torchvision v2 gaussian_blur), for gaussian_blur and elastic_transform.
 */
#ifndef CVR_AUGMENT_IMAGE_BLUR_H
#define CVR_AUGMENT_IMAGE_BLUR_H

#include "image_view.h"

typedef struct image_blur {
    int64_t size[2]; /* of the kernel, x and y; odd */
    double sigma[2];
    const char *transform; /* for messages */
} image_blur;

/* The border is mirrored, so that the picture must be larger than half the kernel. Beside torch's sum over the square
 * this one goes along rows, then along columns: u8 differs by a level where a sum lies halfway. im: dense */
int32_t image_blur_run(cvr_sample *s, const image_blur *b, const image *im, image *out, cvr_error *err);

#endif
