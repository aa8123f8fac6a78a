/*
 * resize (torchvision v2 Resize). params: none.
 */
#include "../transforms.h"

typedef struct attrs {
    size_attr size; /* none: max_size alone decides; one: the shorter side; two: height, width */
    int64_t interpolation;
    int64_t max_size; /* 0: no limit on the longer side */
    int64_t antialias;
} attrs;

static int32_t check(const void *self, cvr_error *err) {
    const attrs *const a = self;
    if (a->size.n == 0 && a->max_size == 0) return cvr_fail(err, CVR_ERR_USAGE, "resize: give size or max_size");
    if (a->size.n == 2 && a->max_size) {
        return cvr_fail(err, CVR_ERR_USAGE, "resize: max_size goes with one number in size, the shorter side");
    }
    if (a->size.n == 1 && a->max_size && a->max_size <= a->size.x[0]) {
        return cvr_fail(err, CVR_ERR_USAGE, "resize: max_size = %lld must be greater than size = %lld",
                        (long long)a->max_size, (long long)a->size.x[0]);
    }
    return CVR_OK;
}

/* int(a * b / c) as Python computes it. */
static int64_t scaled(int64_t a, int64_t b, int64_t c) {
    return (int64_t)((double)(a * b) / (double)c);
}

static void target_size(const attrs *a, const image *im, image_resize *how) {
    const int64_t narrow = im->w <= im->h, shorter = narrow ? im->w : im->h, longer = narrow ? im->h : im->w;
    if (a->size.n == 2) {
        how->h = a->size.x[0];
        how->w = a->size.x[1];
        return;
    }
    int64_t to_short = a->size.n ? a->size.x[0] : scaled(a->max_size, shorter, longer);
    int64_t to_long = a->size.n ? scaled(to_short, longer, shorter) : a->max_size;
    if (a->size.n && a->max_size && to_long > a->max_size) {
        to_short = scaled(a->max_size, to_short, to_long);
        to_long = a->max_size;
    }
    how->w = narrow ? to_short : to_long;
    how->h = narrow ? to_long : to_short;
}

static int32_t apply(const void *self, const double *params, cvr_sample *s, cvr_error *err) {
    const attrs *const a = self;
    image im, out;
    cvr_field *field = NULL;
    (void)params;
    int32_t status = image_get(s, &im, &field, err);
    if (status != CVR_OK) return status;
    image_resize how = {0, 0, a->interpolation, a->antialias};
    target_size(a, &im, &how);
    if (how.h == im.h && how.w == im.w) return CVR_OK;
    status = image_has_no_mask(s, err);
    if (status == CVR_OK) status = image_resample(s, &im, &how, &out, err);
    if (status == CVR_OK) image_set(field, &out);
    return status;
}

static const cvr_attr_desc size = {sizeof size,
                                   "size",
                                   CVR_ATTR_INTS,
                                   2,
                                   CVR_ATTR_POSITIONAL | CVR_ATTR_MIN | CVR_ATTR_MAX,
                                   0,
                                   NULL,
                                   NULL,
                                   1,
                                   65500,
                                   "the shorter side, or height,width"};
static const cvr_attr_desc interpolation = {sizeof interpolation,
                                            "interpolation",
                                            CVR_ATTR_CHOICE,
                                            1,
                                            0,
                                            0,
                                            "bilinear",
                                            INTERPOLATION_MODES,
                                            0,
                                            0,
                                            "how pixels are found between pixels"};
static const cvr_attr_desc max_size = {sizeof max_size,
                                       "max_size",
                                       CVR_ATTR_INT,
                                       1,
                                       CVR_ATTR_MIN | CVR_ATTR_MAX,
                                       0,
                                       "0",
                                       NULL,
                                       0,
                                       65500,
                                       "the most that the longer side may become; 0: no limit"};
static const cvr_attr_desc antialias = {sizeof antialias,
                                        "antialias",
                                        CVR_ATTR_BOOL,
                                        1,
                                        0,
                                        0,
                                        "yes",
                                        NULL,
                                        0,
                                        0,
                                        "bilinear: average over all pixels that an output pixel covers"};
static const cvr_attr_desc *const schema[] = {&size, &interpolation, &max_size, &antialias};

const cvr_augment_desc transform_resize = {
    .struct_size = sizeof transform_resize,
    .name = "resize",
    .doc = "Resize to a size, or the shorter side to a length",
    .n_attrs = sizeof schema / sizeof schema[0],
    .attrs = schema,
    .check = check,
    .apply = apply,
};
