/*
 * color_jitter (torchvision v2 ColorJitter): brightness, contrast, saturation and hue in random order. params: [0] to
 * [3] the order (0 brightness, 1 contrast, 2 saturation, 3 hue), [4] to [7] the factor of each.
 */
#include "../transforms.h"
#include "adjust.h"

typedef struct range_attr {
    int64_t n; /* 0: not adjusted; 1: that much around the neutral value; 2: min,max */
    double x[2];
} range_attr;

typedef struct color_jitter_attrs {
    range_attr ranges[4];
} color_jitter_attrs;

static const char *const names[4] = {"brightness", "contrast", "saturation", "hue"};

/* The range that a setting means; 0 where nothing is to be done. */
static int32_t range_of(const range_attr *r, int32_t hue, double out[2]) {
    const double neutral = hue ? 0 : 1;
    if (r->n == 0) return 0;
    out[0] = r->n == 2 ? r->x[0] : neutral - r->x[0];
    out[1] = r->n == 2 ? r->x[1] : neutral + r->x[0];
    if (r->n == 1 && !hue && out[0] < 0) out[0] = 0;
    return !(out[0] == neutral && out[1] == neutral);
}

static int32_t check(const void *self, cvr_error *err) {
    const color_jitter_attrs *const a = self;
    for (int i = 0; i < 4; i++) {
        const range_attr *const r = &a->ranges[i];
        double x[2];
        if (r->n == 1 && r->x[0] < 0) {
            return cvr_fail(err, CVR_ERR_USAGE, "color_jitter: %s = %g is one number and must not be negative",
                            names[i], r->x[0]);
        }
        if (!range_of(r, i == 3, x)) continue;
        if (!(x[0] <= x[1]) || x[0] < (i == 3 ? -0.5 : 0) || (i == 3 && x[1] > 0.5)) {
            return cvr_fail(err, CVR_ERR_USAGE, "color_jitter: %s from %g to %g; it must grow and lie in %s", names[i],
                            x[0], x[1], i == 3 ? "-0.5 to 0.5" : "0 to infinity");
        }
    }
    return CVR_OK;
}

static int32_t make_params(const void *self, const cvr_sample *s, cvr_rng *rng, double *params, cvr_error *err) {
    const color_jitter_attrs *const a = self;
    (void)s;
    (void)err;
    for (int i = 0; i < 4; i++) params[i] = i;
    /* Fisher and Yates. */
    for (int i = 3; i > 0; i--) {
        const uint64_t k = cvr_rng_below(rng, (uint64_t)i + 1);
        const double t = params[i];
        params[i] = params[k];
        params[k] = t;
    }
    for (int i = 0; i < 4; i++) {
        double x[2];
        params[4 + i] = range_of(&a->ranges[i], i == 3, x) ? draw_between(rng, x[0], x[1]) : (i == 3 ? 0 : 1);
    }
    return CVR_OK;
}

static int32_t apply(const void *self, const double *params, cvr_sample *s, cvr_error *err) {
    static void (*const adjust[4])(const image *, double) = {adjust_brightness, adjust_contrast, adjust_saturation,
                                                             adjust_hue};
    const color_jitter_attrs *const a = self;
    image im;
    CVR_TRY(image_own(s, &im, err));
    CVR_TRY(adjust_check_channels(&im, "color_jitter", err));
    for (int i = 0; i < 4; i++) {
        const int which = (int)params[i];
        double x[2];
        if (range_of(&a->ranges[which], which == 3, x)) adjust[which](&im, (double)(float)params[4 + which]);
    }
    return CVR_OK;
}

static const cvr_attr_desc *const schema[] = {
    CVR_ATTR(FLOATS, "brightness", "", "x for 1-x..1+x, or min,max; empty: as it is", .count = 2),
    CVR_ATTR(FLOATS, "contrast", "", "x for 1-x..1+x, or min,max; empty: as it is", .count = 2),
    CVR_ATTR(FLOATS, "saturation", "", "x for 1-x..1+x, or min,max; empty: as it is", .count = 2),
    CVR_ATTR(FLOATS, "hue", "", "x for -x..x, or min,max, within -0.5..0.5; empty: as it is", .count = 2),
};

const cvr_augment_desc transform_color_jitter = {
    .struct_size = sizeof transform_color_jitter,
    .name = "color_jitter",
    .doc = "Random brightness, contrast, saturation and hue",
    .n_attrs = sizeof schema / sizeof schema[0],
    .n_params = 8,
    .attrs = schema,
    .stage = CVR_STAGE_SAMPLE,
    .check = check,
    .make_params = make_params,
    .apply = apply,
};
