/*
 * resize (torchvision v2 Resize). params: none.
 */
#include "../image_move.h"
#include "../transforms.h"

typedef struct resize_attrs {
    size_attr size; /* none: max_size alone decides; one: the shorter side; two: height, width */
    int64_t interpolation;
    int64_t max_size; /* 0: no limit on the longer side */
    int64_t antialias;
    int64_t sides; /* SIDES_* */
} resize_attrs;

enum { SIDES_EXACT, SIDES_SCALED };

static int32_t check(const void *self, cvr_error *err) {
    const resize_attrs *const a = self;
    if (a->size.n == 0 && a->max_size == 0) return cvr_fail(err, CVR_ERR_USAGE, "resize: give size or max_size");
    if (a->size.n == 2 && a->max_size) {
        return cvr_fail(err, CVR_ERR_USAGE, "resize: max_size goes with one number in size, the shorter side");
    }
    if (a->sides == SIDES_SCALED && (a->size.n != 1 || (a->max_size && a->max_size < a->size.x[0])))
        return cvr_fail(err, CVR_ERR_USAGE,
                        "resize: sides=scaled goes with one number in size, and max_size = %lld must not be less",
                        (long long)a->max_size);
    if (a->sides == SIDES_EXACT && a->size.n == 1 && a->max_size && a->max_size <= a->size.x[0]) {
        return cvr_fail(err, CVR_ERR_USAGE, "resize: max_size = %lld must be greater than size = %lld",
                        (long long)a->max_size, (long long)a->size.x[0]);
    }
    return image_check_interpolation(a->interpolation, a->antialias, err);
}

/* int(a * b / c) as Python computes it. */
static int64_t scaled(int64_t a, int64_t b, int64_t c) {
    return (int64_t)((double)(a * b) / (double)c);
}

/* min(size / shorter, max_size / longer) of both sides, in double, cut to whole pixels as GeneralizedRCNNTransform has
 * it: a shorter side of 167 becomes 799 of 800. */
static void scale_both(const resize_attrs *a, int64_t shorter, int64_t longer, const cvr_part *in, cvr_part *out) {
    const double across = (double)a->size.x[0] / (double)shorter, most = (double)a->max_size / (double)longer;
    const double scale = a->max_size && most < across ? most : across;
    const int64_t height = (int64_t)((double)in->height * scale), width = (int64_t)((double)in->width * scale);
    out->height = height > 1 ? height : 1;
    out->width = width > 1 ? width : 1;
}

static int32_t part_size(const cvr_part_step *step, cvr_error *err) {
    const resize_attrs *const a = step->attrs;
    const cvr_part *const in = step->in;
    cvr_part *const out = step->out;
    const int64_t narrow = in->width <= in->height, shorter = narrow ? in->width : in->height,
                  longer = narrow ? in->height : in->width;
    (void)err;
    if (a->size.n == 2) {
        out->height = a->size.x[0];
        out->width = a->size.x[1];
        return CVR_OK;
    }
    if (a->sides == SIDES_SCALED) {
        scale_both(a, shorter, longer, in, out);
        return CVR_OK;
    }
    int64_t to_short = a->size.n ? a->size.x[0] : scaled(a->max_size, shorter, longer);
    int64_t to_long = a->size.n ? scaled(to_short, longer, shorter) : a->max_size;
    if (a->size.n && a->max_size && to_long > a->max_size) {
        to_short = scaled(a->max_size, to_short, to_long);
        to_long = a->max_size;
    }
    out->width = narrow ? to_short : to_long;
    out->height = narrow ? to_long : to_short;
    return CVR_OK;
}

static image_crop crop_of(const cvr_part_step *step) {
    const resize_attrs *const a = step->attrs;
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
    return image_apply_whole(&transform_resize, self, params, s, err);
}

static const cvr_attr_desc *const schema[] = {
    CVR_ATTR(INTS, "size", NULL, "the shorter side, or height,width", .count = 2, CVR_ATTR_PLACE_BETWEEN(1, 65500)),
    &image_attr_interpolation,
    CVR_ATTR(INT, "max_size", "0", "the most that the longer side may become; 0: no limit", CVR_ATTR_BETWEEN(0, 65500)),
    &image_attr_antialias,
    CVR_ATTR(CHOICE, "sides", "exact",
             "exact: the shorter side is size; scaled: both are multiplied by one number and cut to whole pixels, as "
             "torchvision's detectors have it, so that the shorter one may lack a pixel",
             .choices = "exact|scaled"),
};

const cvr_augment_desc transform_resize = {
    .struct_size = sizeof transform_resize,
    .name = "resize",
    .doc = "Resize to a size, or the shorter side to a length",
    .n_attrs = sizeof schema / sizeof schema[0],
    .attrs = schema,
    .stage = CVR_STAGE_SAMPLE,
    .n_kinds = IMAGE_N_MOVED,
    .kinds = image_moved,
    .moves = 1,
    .check = check,
    .apply = apply,
    .part_size = part_size,
    .part_source = part_source,
    .part_apply = part_apply,
};
