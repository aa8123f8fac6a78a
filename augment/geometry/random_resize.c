/*
 * random_resize (torchvision v2 RandomResize): the shorter side to a random length; scale_jitter (ScaleJitter; Ghiasi
 * et al., "Simple Copy-Paste", 2021): a random multiple of a size. params of both: [0] height, [1] width.
 */
#include "../image_move.h"
#include "../transforms.h"

typedef struct random_resize_attrs {
    int64_t min_size, max_size;
    int64_t interpolation, antialias;
} random_resize_attrs;

typedef struct scale_jitter_attrs {
    size_attr target_size; /* width, height; none: the picture's own */
    double scale_range[2];
    int64_t interpolation, antialias;
} scale_jitter_attrs;

static int32_t resize_check(const void *self, cvr_error *err) {
    const random_resize_attrs *const a = self;
    if (a->max_size <= a->min_size)
        return cvr_fail(err, CVR_ERR_USAGE, "random_resize: max_size = %lld must be greater than min_size = %lld",
                        (long long)a->max_size, (long long)a->min_size);
    return image_check_interpolation(a->interpolation, a->antialias, err);
}

static int32_t jitter_check(const void *self, cvr_error *err) {
    const scale_jitter_attrs *const a = self;
    if (!(a->scale_range[0] > 0 && a->scale_range[0] <= a->scale_range[1]))
        return cvr_fail(err, CVR_ERR_USAGE, "scale_jitter: scale_range = %g,%g must be min,max, above 0",
                        a->scale_range[0], a->scale_range[1]);
    return image_check_interpolation(a->interpolation, a->antialias, err);
}

/* The shorter side becomes one of min_size to max_size - 1, as torch.randint draws it; the longer one is cut to whole
 * pixels. */
static int32_t resize_params(const void *self, const cvr_sample *s, cvr_rng *rng, double *params, cvr_error *err) {
    const random_resize_attrs *const a = self;
    image im;
    CVR_TRY(image_get(s, &im, NULL, err));
    const int64_t size = a->min_size + (int64_t)cvr_rng_below(rng, (uint64_t)(a->max_size - a->min_size));
    const int64_t shorter = im.w <= im.h ? im.w : im.h, longer = im.w <= im.h ? im.h : im.w;
    const int64_t to_long = (int64_t)((double)(size * longer) / (double)shorter);
    params[im.w <= im.h ? 1 : 0] = (double)size;
    params[im.w <= im.h ? 0 : 1] = (double)to_long;
    return CVR_OK;
}

static double at_least_one(double side) {
    return side < 1 ? 1 : (double)(int64_t)side;
}

static int32_t jitter_params(const void *self, const cvr_sample *s, cvr_rng *rng, double *params, cvr_error *err) {
    const scale_jitter_attrs *const a = self;
    image im;
    CVR_TRY(image_get(s, &im, NULL, err));
    double scale = draw_between(rng, a->scale_range[0], a->scale_range[1]);
    if (a->target_size.n) {
        const double across = (double)a->target_size.x[0] / (double)im.w;
        const double down = (double)a->target_size.x[a->target_size.n - 1] / (double)im.h;
        scale *= across < down ? across : down;
    }
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

static image_crop crop_of(const cvr_part_step *step, int64_t interpolation, int64_t antialias) {
    return (image_crop){
        .h = step->in->height, .w = step->in->width, .interpolation = interpolation, .antialias = antialias};
}

static image_crop resize_crop(const cvr_part_step *step) {
    const random_resize_attrs *const a = step->attrs;
    return crop_of(step, a->interpolation, a->antialias);
}

static image_crop jitter_crop(const cvr_part_step *step) {
    const scale_jitter_attrs *const a = step->attrs;
    return crop_of(step, a->interpolation, a->antialias);
}

static int32_t resize_source(const cvr_part_step *step, cvr_error *err) {
    const image_crop crop = resize_crop(step);
    return image_crop_source(&crop, step, err);
}

static int32_t jitter_source(const cvr_part_step *step, cvr_error *err) {
    const image_crop crop = jitter_crop(step);
    return image_crop_source(&crop, step, err);
}

static int32_t resize_part(const cvr_part_step *step, cvr_sample *s, cvr_error *err) {
    const image_crop crop = resize_crop(step);
    return image_crop_apply(&crop, step, s, err);
}

static int32_t jitter_part(const cvr_part_step *step, cvr_sample *s, cvr_error *err) {
    const image_crop crop = jitter_crop(step);
    return image_crop_apply(&crop, step, s, err);
}

static int32_t resize_apply(const void *self, const double *params, cvr_sample *s, cvr_error *err) {
    return image_apply_whole(&transform_random_resize, self, params, s, err);
}

static int32_t jitter_apply(const void *self, const double *params, cvr_sample *s, cvr_error *err) {
    return image_apply_whole(&transform_scale_jitter, self, params, s, err);
}

static const cvr_attr_desc *const resize_schema[] = {
    CVR_ATTR(INT, "min_size", NULL, "the least that the shorter side becomes", CVR_ATTR_PLACE_BETWEEN(1, 65500)),
    CVR_ATTR(INT, "max_size", NULL, "what it stays below", CVR_ATTR_PLACE_BETWEEN(2, 65500)),
    &image_attr_interpolation,
    &image_attr_antialias,
};

static const cvr_attr_desc *const jitter_schema[] = {
    CVR_ATTR(INTS, "target_size", "",
             "what the picture fits into at a scale of 1, as it keeps its shape: a side, or width,height; empty: its "
             "own size",
             .count = 2, CVR_ATTR_BETWEEN(1, 65500)),
    CVR_ATTR(FLOAT, "scale_range", "0.1,2", "the scale, min,max", .count = 2, CVR_ATTR_BETWEEN(0, 100)),
    &image_attr_interpolation,
    &image_attr_antialias,
};

#define RANDOM_RESIZE(name_, doc_, which_)                                                                             \
    {                                                                                                                  \
        .struct_size = sizeof(cvr_augment_desc), .name = name_, .doc = doc_,                                           \
        .n_attrs = sizeof which_##_schema / sizeof *which_##_schema, .n_params = 2, .attrs = which_##_schema,          \
        .stage = CVR_STAGE_SAMPLE, .n_kinds = IMAGE_N_MOVED, .kinds = image_moved, .moves = 1,                         \
        .check = which_##_check, .make_params = which_##_params, .apply = which_##_apply, .part_size = part_size,      \
        .part_source = which_##_source, .part_apply = which_##_part                                                    \
    }

const cvr_augment_desc transform_random_resize =
    RANDOM_RESIZE("random_resize", "Resize the shorter side to a random length", resize);
const cvr_augment_desc transform_scale_jitter =
    RANDOM_RESIZE("scale_jitter", "Resize to a random multiple of a size, in the picture's shape", jitter);
