/*
 * Affine maps of pictures with objects, from a canvas to a picture of another size.
 */
#ifndef CVR_AUGMENT_AFFINE_WARP_H
#define CVR_AUGMENT_AFFINE_WARP_H

#include "canvas.h"

/* (x, y) in pixels, the corner of the first at 0, becomes (m0 x + m1 y + m2, m3 x + m4 y + m5). */
typedef struct affine_map {
    double m[6];
} affine_map;

/* Its inverse; the determinant is not 0. */
affine_map affine_inverse(const affine_map *map);
/* The hull of a box's corners, held inside h x w. */
void affine_box(const affine_map *map, int64_t h, int64_t w, float *box);
/* h x w pixels, each looked up in `im` where the inverse map says: bilinear, its border blended with `fill`. */
int32_t affine_pixels(cvr_sample *s, const affine_map *inverse, const image *im, int64_t h, int64_t w,
                      const fill_attr *fill, image *out, cvr_error *err);
/* The same of a mask of one object, u8: the nearest pixel, 0 outside. to: (h, w) */
void affine_mask(const affine_map *inverse, const image *im, int64_t h, int64_t w, uint8_t *to);

#endif
