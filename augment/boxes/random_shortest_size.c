/*
 * random_shortest_size (torchvision v2 RandomShortestSize): the shorter side to one of some lengths, the longer one at
 * most to another; both sides are multiplied by one number and cut to whole pixels. params: [0] height, [1] width.
 */
#include "../image_move.h"
#include "../transforms.h"

#define MOST_SIZES 32

typedef struct random_shortest_size_attrs {
    int64_t n;
    int64_t min_size[MOST_SIZES];
    int64_t max_size; /* 0: no limit */
    int64_t interpolation, antialias;
} random_shortest_size_attrs;

static int32_t check(const void *self, cvr_error *err) {
    const random_shortest_size_attrs *const a = self;
    if (a->n == 0) return cvr_fail(err, CVR_ERR_USAGE, "random_shortest_size: give min_size");
    return image_check_interpolation(a->interpolation, a->antialias, err);
}

static double at_least_one(double side) {
    return side < 1 ? 1 : (double)(int64_t)side;
}

static int32_t make_params(const void *self, const cvr_sample *s, cvr_rng *rng, double *params, cvr_error *err) {
    const random_shortest_size_attrs *const a = self;
    image im;
    CVR_TRY(image_get(s, &im, NULL, err));
    const int64_t shorter = im.w < im.h ? im.w : im.h, longer = im.w < im.h ? im.h : im.w,
                  size = a->min_size[cvr_rng_below(rng, (uint64_t)a->n)];
    const double most = (double)a->max_size / (double)longer, wanted = (double)size / (double)shorter,
                 scale = a->max_size && most < wanted ? most : wanted;
    params[0] = at_least_one((double)im.h * scale);
    params[1] = at_least_one((double)im.w * scale);
    return CVR_OK;
}

static int32_t part_size(const cvr_part_step *step, cvr_error *err) {
    (void)err;
    step->out->height = (int64_t)step->params[0];
    step->out->width = (int64_t)step->params[1];
    return CVR_OK;
}

static image_crop crop_of(const cvr_part_step *step) {
    const random_shortest_size_attrs *const a = step->attrs;
    return (image_crop){
        .h = step->in->height, .w = step->in->width, .interpolation = a->interpolation, .antialias = a->antialias};
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
    return image_apply_whole(&transform_random_shortest_size, self, params, s, err);
}

static const cvr_attr_desc *const schema[] = {
    CVR_ATTR(INTS, "min_size", NULL, "lengths of the shorter side, one of which is drawn", .count = MOST_SIZES,
             CVR_ATTR_PLACE_BETWEEN(1, 65500)),
    CVR_ATTR(INT, "max_size", "0", "the most that the longer side may become; 0: no limit",
             CVR_ATTR_PLACE_BETWEEN(0, 65500)),
    &image_attr_interpolation,
    &image_attr_antialias,
};

const cvr_augment_desc transform_random_shortest_size = {
    .struct_size = sizeof transform_random_shortest_size,
    .name = "random_shortest_size",
    .doc = "Resize the shorter side to one of some lengths",
    .n_attrs = sizeof schema / sizeof schema[0],
    .n_params = 2,
    .attrs = schema,
    .stage = CVR_STAGE_SAMPLE,
    .n_kinds = IMAGE_N_MOVED,
    .kinds = image_moved,
    .moves = 1,
    .check = check,
    .make_params = make_params,
    .apply = apply,
    .part_size = part_size,
    .part_source = part_source,
    .part_apply = part_apply,
};
