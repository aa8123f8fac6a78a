/*
 * Pictures on a canvas: how a picture fits into a rectangle with its aspect ratio kept (a letterbox), canvases of one
 * colour, and what several samples share that become one.
 */
#ifndef CVR_AUGMENT_CANVAS_H
#define CVR_AUGMENT_CANVAS_H

#include "box_rows.h"

/* A picture, made `scale` times as large and cut to h x w whole pixels, at (top, left). */
typedef struct canvas_fit {
    double scale;
    int64_t h, w, top, left;
} canvas_fit;

/* The largest size at which a picture of im's shape is no larger than h x w: at the top left, or in the middle. Sides
 * are cut as C's int() cuts them (YOLOX does that), and are at least 1. */
canvas_fit canvas_fit_of(const image *im, int64_t h, int64_t w, int32_t centred);
/* A picture of h x w in the sample's memory, of im's type and channels, all of one colour. */
int32_t canvas_new(cvr_sample *s, const image *im, int64_t h, int64_t w, const fill_attr *fill, image *out,
                   cvr_error *err);
/* Puts `from` at (top, left), where all of it has room. */
void canvas_paste(const image *to, const image *from, int64_t top, int64_t left);
/* `im` in another size. */
int32_t canvas_resize(cvr_sample *s, const image *im, int64_t h, int64_t w, int64_t interpolation, int64_t antialias,
                      image *out, cvr_error *err);

/* Brings the picture, its boxes and masks to a canvas of h x w. A picture that is of that size stays as it is. */
typedef struct canvas_letter {
    int64_t h, w, centred;
    fill_attr fill;
    int64_t interpolation, antialias, mask_fill;
} canvas_letter;
int32_t canvas_letter_apply(const canvas_letter *l, cvr_sample *s, cvr_error *err);

/* Rows of `from`'s fields of boxes, classes and masks of objects after those of `to`; the pictures have one size by
 * now. */
int32_t canvas_join_objects(cvr_sample *to, const cvr_sample *from, const char *transform, cvr_error *err);

#endif
