/*
 * Warping: every pixel of the output is looked up at a place of the input. Affine, perspective and elastic transforms
 * differ only in the places.
 */
#ifndef CVR_AUGMENT_IMAGE_WARP_H
#define CVR_AUGMENT_IMAGE_WARP_H

#include "image_view.h"

typedef struct image_warp {
    const void *how; /* handed to `row` */
    /* Where the pixels of output row y come from, in the input's pixels: 0 is the middle of the first. sx, sy: (w) */
    void (*row)(const void *how, int64_t y, int64_t w, float *sx, float *sy);
    int64_t interpolation;
    const fill_attr *fill; /* outside the input; without a number it is black, and edges are not blended twice */
} image_warp;

/* torch.nn.functional.grid_sample (align_corners=False, zeros outside) with torchvision's fill. out: dense, of the
 * size that is wanted, with the channels and the type of `im`. */
int32_t image_warp_run(cvr_sample *s, const image_warp *w, const image *im, const image *out, cvr_error *err);

/* An affine map from output to input, its origin in the middle of either picture. */
typedef struct image_affine_grid {
    float m[6]; /* (x', y') = (m0 x + m1 y + m2, m3 x + m4 y + m5) */
    int64_t in_w, in_h, out_w, out_h;
} image_affine_grid;
void image_affine_row(const void *grid, int64_t y, int64_t w, float *sx, float *sy);

/* What torchvision calls an affine transform: turned clockwise, sheared, scaled and shifted about a centre. */
typedef struct image_affine {
    double angle, shear[2]; /* in degrees */
    double translate[2];    /* x, y in pixels */
    double scale;
    double center[2]; /* x, y in pixels from the top left corner */
} image_affine;
/* The one that changes nothing. */
image_affine image_affine_none(const image *im);
/* Output to input, for image_affine_grid. */
void image_affine_inverse(const image_affine *a, const image *im, float m[6]);
/* Input to output, from the top left corner; the last row is 0 0 1. */
void image_affine_forward(const image_affine *a, double m[9]);
/* `im` through it, same size. */
int32_t image_affine_pixels(cvr_sample *s, const image_affine *a, int64_t interpolation, const fill_attr *fill,
                            const image *im, image *out, cvr_error *err);

/* The box around a box's four corners, where m (3x3, from the corner) takes them; held inside (w, h). */
void image_warp_box(const float m[9], int64_t w, int64_t h, float *box);

#endif
