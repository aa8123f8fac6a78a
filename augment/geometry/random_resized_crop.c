/*
 * random_resized_crop (torchvision v2 RandomResizedCrop; Szegedy et al., "Going Deeper with Convolutions", 2015): a
 * crop of random area and aspect ratio, resized. params: [0] top, [1] left, [2] height, [3] width.
 */
#include "../image_move.h"
#include "../transforms.h"
#include <math.h>

typedef struct random_resized_crop_attrs {
    size_attr size;
    double scale[2], ratio[2];
    int64_t interpolation, antialias;
} random_resized_crop_attrs;

static int32_t check(const void *self, cvr_error *err) {
    const random_resized_crop_attrs *const a = self;
    CVR_TRY(image_size_given(&a->size, "random_resized_crop", err));
    if (a->scale[0] > a->scale[1] || a->ratio[0] > a->ratio[1]) {
        return cvr_fail(err, CVR_ERR_USAGE, "random_resized_crop: scale and ratio are min,max");
    }
    if (a->ratio[0] <= 0) return cvr_fail(err, CVR_ERR_USAGE, "random_resized_crop: ratio must be above 0");
    return image_check_interpolation(a->interpolation, a->antialias, err);
}

static void put_box(double *params, int64_t top, int64_t left, int64_t h, int64_t w) {
    params[0] = (double)top;
    params[1] = (double)left;
    params[2] = (double)h;
    params[3] = (double)w;
}

/* After ten draws that do not fit: the largest central crop whose ratio is allowed. */
static void central(const random_resized_crop_attrs *a, const image *im, double *params) {
    const double in_ratio = (double)im->w / (double)im->h;
    int64_t w = im->w, h = im->h;
    if (in_ratio < a->ratio[0])
        h = (int64_t)rint((double)w / a->ratio[0]);
    else if (in_ratio > a->ratio[1])
        w = (int64_t)rint((double)h * a->ratio[1]);
    /* A strip thinner than the ratio rounds to nothing. */
    if (h < 1) h = 1;
    if (w < 1) w = 1;
    put_box(params, (im->h - h) / 2, (im->w - w) / 2, h, w);
}

static int32_t make_params(const void *self, const cvr_sample *s, cvr_rng *rng, double *params, cvr_error *err) {
    const random_resized_crop_attrs *const a = self;
    image im;
    CVR_TRY(image_get(s, &im, NULL, err));
    for (int tries = 0; tries < 10; tries++) {
        const double area = (double)im.h * (double)im.w * draw_between(rng, a->scale[0], a->scale[1]);
        const double ratio = exp(draw_between(rng, log(a->ratio[0]), log(a->ratio[1])));
        const int64_t w = (int64_t)rint(sqrt(area * ratio)), h = (int64_t)rint(sqrt(area / ratio));
        if (w <= 0 || h <= 0 || w > im.w || h > im.h) continue;
        const int64_t top = (int64_t)cvr_rng_below(rng, (uint64_t)(im.h - h + 1));
        put_box(params, top, (int64_t)cvr_rng_below(rng, (uint64_t)(im.w - w + 1)), h, w);
        return CVR_OK;
    }
    central(a, &im, params);
    return CVR_OK;
}

static image_crop crop_of(const cvr_part_step *step) {
    const random_resized_crop_attrs *const a = step->attrs;
    const double *const p = step->params;
    return (image_crop){(int64_t)p[0], (int64_t)p[1], (int64_t)p[2], (int64_t)p[3], a->interpolation, a->antialias, 1};
}

static int32_t part_source(const cvr_part_step *step, cvr_error *err) {
    const image_crop crop = crop_of(step);
    return image_crop_source(&crop, step, err);
}

static int32_t part_apply(const cvr_part_step *step, cvr_sample *s, cvr_error *err) {
    const image_crop crop = crop_of(step);
    return image_crop_apply(&crop, step, s, err);
}

static int32_t apply(const void *self, const double *params, cvr_sample *s, cvr_error *err) {
    return image_apply_whole(&transform_random_resized_crop, self, params, s, err);
}

static const cvr_attr_desc *const schema[] = {
    &image_attr_size,
    CVR_ATTR(FLOAT, "scale", "0.08,1", "share of the picture's area, min,max", .count = 2, CVR_ATTR_BETWEEN(0, 1)),
    CVR_ATTR(FLOAT, "ratio", "0.75,1.3333333333333333", "width to height, min,max", .count = 2, CVR_ATTR_AT_LEAST(0)),
    &image_attr_interpolation,
    &image_attr_antialias,
};

const cvr_augment_desc transform_random_resized_crop = {
    .struct_size = sizeof transform_random_resized_crop,
    .name = "random_resized_crop",
    .doc = "A crop of random area and aspect ratio, resized",
    .n_attrs = sizeof schema / sizeof schema[0],
    .n_params = 4,
    .attrs = schema,
    .stage = CVR_STAGE_SAMPLE,
    .n_kinds = IMAGE_N_MOVED,
    .kinds = image_moved,
    .moves = 1,
    .check = check,
    .make_params = make_params,
    .apply = apply,
    .part_size = image_size_part,
    .part_source = part_source,
    .part_apply = part_apply,
};
