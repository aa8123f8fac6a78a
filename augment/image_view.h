/*
 * What the transforms share: the picture of a sample as (H, W, C) pixels of u8 or f32, windows of it, and resampling.
 */
#ifndef CVR_AUGMENT_IMAGE_VIEW_H
#define CVR_AUGMENT_IMAGE_VIEW_H

#include "image_attrs.h"

/* (H,W,C), C innermost; u8 or f32. `row` is the distance between rows in elements: w * c, or more for a part of a
 * larger picture. */
typedef struct image {
    int64_t h, w, c, row;
    uint32_t dtype;
    uint32_t reserved;
    void *data;
} image;

/* The picture of the sample, with its field. Fails where there is none, or of a type that no transform knows. */
int32_t image_get(const cvr_sample *s, image *out, cvr_field **field, cvr_error *err);
/* The picture that a field holds. */
int32_t image_of_field(const cvr_field *f, image *out, cvr_error *err);
/* A dense picture in the sample's memory, not yet filled; sides and channels are checked. */
int32_t image_new(cvr_sample *s, const image *like, int64_t h, int64_t w, int64_t c, image *out, cvr_error *err);
/* Makes `im` (dense) the sample's picture. */
void image_set(cvr_field *field, const image *im);
/* The same with any `im`: copied where its rows are apart. */
int32_t image_set_dense(cvr_sample *s, cvr_field *field, const image *im, cvr_error *err);
/* Makes a copy the sample's picture, so that it may be written; the old pixels may be the data set's. */
int32_t image_own(cvr_sample *s, image *out, cvr_error *err);
/* The part of `im` that begins at (top, left); shares its memory. */
image image_part(const image *im, int64_t top, int64_t left, int64_t h, int64_t w);
/* Bytes of a pixel. */
uint64_t image_pixel_bytes(const image *im);
/* A window of a picture that was padded (left, top, right, bottom): pad and crop in one copy. */
typedef struct image_window {
    int64_t pad[4];
    int64_t top, left, h, w; /* in the padded picture */
    int64_t mode;            /* PADDING_* */
    fill_attr fill;
    int64_t mask_fill;
} image_window;
int32_t image_copy_window(cvr_sample *s, const image *im, const image_window *win, image *out, cvr_error *err);

/* One side of a resampling: `in` pixels, of which `length` from `start` on (0 and `in`, but where a picture was
 * reduced), become `out`. Of these, `n` from `from` on are wanted. Pixel 0 lies at `at` in memory: below 0 where it is
 * not there. */
typedef struct image_span {
    double start, length;
    int64_t in, at, out, from, n;
} image_span;
/* All of `in` pixels to all of `out`. */
image_span image_span_all(int64_t in, int64_t out);

/* torch.nn.functional.interpolate, as torchvision v2 calls it for u8 and for f32 tensors. */
typedef struct image_resize {
    image_span down, across;
    int64_t interpolation, antialias;
} image_resize;
int32_t image_resample(cvr_sample *s, const image *im, const image_resize *how, image *out, cvr_error *err);
/* The pixels [*lo, *hi) of the side's `in` that the wanted ones are made from. */
void image_span_source(const image_span *span, int64_t interpolation, int64_t antialias, int64_t *lo, int64_t *hi);

/* A crop that is resized to step->out's size: the part of the input that it needs, and the doing. See cvr_augment_desc.
 */
typedef struct image_crop {
    int64_t top, left, h, w;
    int64_t interpolation, antialias;
    int64_t clips; /* 1: boxes end where the crop ends */
} image_crop;
int32_t image_crop_source(const image_crop *c, const cvr_part_step *step, cvr_error *err);
int32_t image_crop_apply(const image_crop *c, const cvr_part_step *step, cvr_sample *s, cvr_error *err);
/* The same for a window; win->h and win->w do not count. One that is padded needs all of its input. */
void image_window_source(const image_window *win, const cvr_part_step *step);
int32_t image_window_apply(const image_window *win, const cvr_part_step *step, cvr_sample *s, cvr_error *err);
/* The same where nothing moves: what is in memory and not in step->out is cut off. */
int32_t image_stay_apply(const cvr_part_step *step, cvr_sample *s, cvr_error *err);
/* The whole output from the whole input: `apply` of a transform that works part by part. */
int32_t image_apply_whole(const cvr_augment_desc *d, const void *attrs, const double *params, cvr_sample *s,
                          cvr_error *err);
/* `part_size` of a transform whose first attribute is the size of what it makes (size_attr). */
int32_t image_size_part(const cvr_part_step *step, cvr_error *err);

/* Uniform in [a, b). */
double draw_between(cvr_rng *rng, double a, double b);
/* 1 with probability p. */
int32_t draw_chance(cvr_rng *rng, double p);

#endif
