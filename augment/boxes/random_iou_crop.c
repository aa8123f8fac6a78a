/*
 * random_iou_crop (torchvision v2 RandomIoUCrop; Liu et al., "SSD: Single Shot MultiBox Detector", 2016): a crop that
 * some object overlaps as far as a number says that is drawn first. Objects whose centre is outside of it are gone, as
 * in torchvision after SanitizeBoundingBoxes. params: [0] 1 where there is a crop, [1] top, [2] left, [3] height, [4]
 * width.
 */
#include "../transforms.h"
#include "box_rows.h"

#define MOST_OPTIONS 16
#define MOST_ROUNDS 100 /* options that are tried where none leads to a crop, before the picture stays as it is */

typedef struct random_iou_crop_attrs {
    double min_scale, max_scale, min_aspect_ratio, max_aspect_ratio;
    int64_t n_options;
    double sampler_options[MOST_OPTIONS];
    int64_t trials;
} random_iou_crop_attrs;

typedef struct crop {
    int64_t top, left, height, width;
} crop;

static int32_t check(const void *self, cvr_error *err) {
    const random_iou_crop_attrs *const a = self;
    if (a->n_options == 0) return cvr_fail(err, CVR_ERR_USAGE, "random_iou_crop: sampler_options is empty");
    if (!(a->min_scale > 0 && a->min_scale <= a->max_scale))
        return cvr_fail(err, CVR_ERR_USAGE, "random_iou_crop: min_scale = %g must be above 0, max_scale = %g not less",
                        a->min_scale, a->max_scale);
    if (!(a->min_aspect_ratio <= a->max_aspect_ratio))
        return cvr_fail(err, CVR_ERR_USAGE, "random_iou_crop: min_aspect_ratio = %g is more than max_aspect_ratio = %g",
                        a->min_aspect_ratio, a->max_aspect_ratio);
    return CVR_OK;
}

static int32_t has_centre(const crop *c, const float *b) {
    const float x = 0.5f * (b[0] + b[2]), y = 0.5f * (b[1] + b[3]);
    return (float)c->left < x && x < (float)(c->left + c->width) && (float)c->top < y &&
           y < (float)(c->top + c->height);
}

static float overlap(float a_lo, float a_hi, float b_lo, float b_hi) {
    const float lo = a_lo > b_lo ? a_lo : b_lo, hi = a_hi < b_hi ? a_hi : b_hi;
    return hi > lo ? hi - lo : 0;
}

/* Intersection over union of a box and the crop. */
static float iou(const crop *c, const float *b) {
    const float x = (float)c->left, y = (float)c->top, w = (float)c->width, h = (float)c->height,
                both = overlap(x, x + w, b[0], b[2]) * overlap(y, y + h, b[1], b[3]);
    return both / (w * h + (b[2] - b[0]) * (b[3] - b[1]) - both);
}

/* Of the objects whose centre is inside, one has to overlap the crop far enough. */
static int32_t is_good(const crop *c, const box_rows *boxes, double least) {
    for (int64_t i = 0; i < boxes->n; i++) {
        const float *const b = boxes->xyxy + 4 * i;
        if (has_centre(c, b) && (double)iou(c, b) >= least) return 1;
    }
    return 0;
}

/* 0 where the crop that was drawn has no pixel, or an aspect ratio that is not wanted. */
static int32_t draw_crop(const random_iou_crop_attrs *a, const image *im, cvr_rng *rng, crop *c) {
    c->width = (int64_t)((double)im->w * draw_between(rng, a->min_scale, a->max_scale));
    c->height = (int64_t)((double)im->h * draw_between(rng, a->min_scale, a->max_scale));
    if (c->width < 1 || c->height < 1) return 0;
    const double ratio = (double)c->width / (double)c->height;
    if (!(a->min_aspect_ratio <= ratio && ratio <= a->max_aspect_ratio)) return 0;
    c->left = (int64_t)((double)(im->w - c->width) * cvr_rng_uniform(rng));
    c->top = (int64_t)((double)(im->h - c->height) * cvr_rng_uniform(rng));
    return 1;
}

static int32_t make_params(const void *self, const cvr_sample *s, cvr_rng *rng, double *params, cvr_error *err) {
    const random_iou_crop_attrs *const a = self;
    box_rows boxes;
    image im;
    crop c;
    CVR_TRY(image_get(s, &im, NULL, err));
    CVR_TRY(box_rows_get(s, "random_iou_crop", &boxes, err));
    for (int64_t round = 0; round < MOST_ROUNDS && boxes.n > 0; round++) {
        const double least = a->sampler_options[cvr_rng_below(rng, (uint64_t)a->n_options)];
        if (least >= 1) return CVR_OK;
        for (int64_t k = 0; k < a->trials; k++) {
            if (!draw_crop(a, &im, rng, &c) || !is_good(&c, &boxes, least)) continue;
            params[0] = 1;
            params[1] = (double)c.top;
            params[2] = (double)c.left;
            params[3] = (double)c.height;
            params[4] = (double)c.width;
            return CVR_OK;
        }
    }
    return CVR_OK;
}

static int32_t apply(const void *self, const double *params, cvr_sample *s, cvr_error *err) {
    const crop c = {(int64_t)params[1], (int64_t)params[2], (int64_t)params[3], (int64_t)params[4]};
    const image_window win = {.top = c.top, .left = c.left, .fill = {.n = 1}};
    cvr_part in, out;
    const cvr_part_step step = {sizeof step, self, params, &in, &out};
    box_rows boxes;
    uint8_t *keep;
    image im;
    if (params[0] == 0) return CVR_OK;
    CVR_TRY(image_get(s, &im, NULL, err));
    CVR_TRY(box_rows_get(s, "random_iou_crop", &boxes, err));
    CVR_TRY(box_rows_flags(s, boxes.n, &keep, err));
    for (int64_t i = 0; i < boxes.n; i++) keep[i] = (uint8_t)has_centre(&c, boxes.xyxy + 4 * i);
    CVR_TRY(box_rows_keep(s, keep, boxes.n, err));
    cvr_part_whole(&in, im.h, im.w);
    cvr_part_whole(&out, c.height, c.width);
    return image_window_apply(&win, &step, s, err);
}

static const cvr_attr_desc *const schema[] = {
    CVR_ATTR(FLOAT, "min_scale", "0.3", "the least share of a side that the crop has", CVR_ATTR_BETWEEN(0, 1)),
    CVR_ATTR(FLOAT, "max_scale", "1", "the most", CVR_ATTR_BETWEEN(0, 1)),
    CVR_ATTR(FLOAT, "min_aspect_ratio", "0.5", "width / height of the crop, the least", CVR_ATTR_AT_LEAST(0)),
    CVR_ATTR(FLOAT, "max_aspect_ratio", "2", "the most", CVR_ATTR_AT_LEAST(0)),
    CVR_ATTR(FLOATS, "sampler_options", "0,0.1,0.3,0.5,0.7,0.9,1",
             "one is drawn: the intersection over union that an object must have with the crop; 1 and more: no crop",
             .count = MOST_OPTIONS, CVR_ATTR_AT_LEAST(0)),
    CVR_ATTR(INT, "trials", "40", "crops that are tried before another option is drawn", CVR_ATTR_BETWEEN(1, 10000)),
};

const cvr_augment_desc transform_random_iou_crop = {
    .struct_size = sizeof transform_random_iou_crop,
    .name = "random_iou_crop",
    .doc = "A random crop that overlaps an object far enough; objects whose centre is outside are dropped",
    .n_attrs = sizeof schema / sizeof schema[0],
    .n_params = 5,
    .attrs = schema,
    .stage = CVR_STAGE_SAMPLE,
    .n_kinds = IMAGE_N_MOVED,
    .kinds = image_moved,
    .moves = 1,
    .check = check,
    .make_params = make_params,
    .apply = apply,
};
