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

/* A side cut to whole pixels as C's int() cuts it (YOLOX does that), but at least 1. */
static inline int64_t canvas_side(double side) {
    return side < 1 ? 1 : (int64_t)side;
}
/* The largest size at which a picture of im's shape is no larger than h x w: at the top left, or in the middle. */
canvas_fit canvas_fit_of(const image *im, int64_t h, int64_t w, int32_t centred);
/* A picture of h x w in the sample's memory, of im's type and channels, all of one colour. */
int32_t canvas_new(cvr_sample *s, const image *im, int64_t h, int64_t w, const fill_attr *fill, image *out,
                   cvr_error *err);
/* Puts `from` at (top, left), where all of it has room. */
void canvas_paste(const image *to, const image *from, int64_t top, int64_t left);
/* `from` on a canvas of its own, h x w; where it is as large as that, it is the canvas. */
typedef struct canvas_place {
    int64_t h, w, top, left;
    const fill_attr *fill;
} canvas_place;
int32_t canvas_put(cvr_sample *s, const image *from, const canvas_place *at, image *out, cvr_error *err);
/* `im` in another size. */
int32_t canvas_resize(cvr_sample *s, const image *im, int64_t h, int64_t w, int64_t interpolation, int64_t antialias,
                      image *out, cvr_error *err);

/* aligned_resize.c: `im` in another size as Darknet makes it, f32; levels of u8 become 0..1. */
int32_t aligned_resize(cvr_sample *s, const image *im, int64_t h, int64_t w, image *out, cvr_error *err);

/* ---- several samples as one ---- */

/* The fields of objects that are joined: cvr_augment_desc.kinds. */
#define CANVAS_N_JOINED 3u
extern const char *const canvas_joined[CANVAS_N_JOINED];
/* `check` of a range of factors, least and most. */
int32_t canvas_check_scale(const double scale[2], const char *transform, cvr_error *err);
/* Whether pixels of one can be put into the other. */
int32_t canvas_check_alike(const image *to, const image *from, const char *transform, cvr_error *err);
/* Rows of `from`'s fields of objects after those of `to`; the pictures have one size by now. */
int32_t canvas_join_objects(cvr_sample *to, const cvr_sample *from, const char *transform, cvr_error *err);

#endif
