/*
 * random_photometric_distort (torchvision v2 RandomPhotometricDistort; Liu et al., "SSD: Single Shot MultiBox
 * Detector", 2016): brightness, contrast, saturation, hue and the order of the channels, each with probability p.
 * params: [0] to [3] the factors of brightness, contrast, saturation and hue, where 1, of hue 0, leaves the picture;
 * [4] 1: contrast goes before saturation and hue; [5] to [7] the channel that each of three is taken from.
 */
#include "../transforms.h"
#include "adjust.h"

enum { BRIGHTNESS, CONTRAST, SATURATION, HUE, FACTORS };
static const char *const names[FACTORS] = {"brightness", "contrast", "saturation", "hue"};

typedef struct photometric_attrs {
    double range[FACTORS][2];
    double p;
} photometric_attrs;

static int32_t check(const void *self, cvr_error *err) {
    const photometric_attrs *const a = self;
    for (int i = 0; i < FACTORS; i++) {
        const double *const x = a->range[i], least = i == HUE ? -0.5 : 0;
        if (!(x[0] <= x[1]) || x[0] < least || (i == HUE && x[1] > 0.5))
            return cvr_fail(err, CVR_ERR_USAGE,
                            "random_photometric_distort: %s from %g to %g; it must grow and lie in %s", names[i], x[0],
                            x[1], i == HUE ? "-0.5 to 0.5" : "0 to infinity");
    }
    return CVR_OK;
}

static void draw_order(cvr_rng *rng, double order[3]) {
    /* Fisher and Yates. */
    for (int i = 2; i > 0; i--) {
        const uint64_t k = cvr_rng_below(rng, (uint64_t)i + 1);
        const double t = order[i];
        order[i] = order[k];
        order[k] = t;
    }
}

static int32_t make_params(const void *self, const cvr_sample *s, cvr_rng *rng, double *params, cvr_error *err) {
    const photometric_attrs *const a = self;
    (void)s, (void)err;
    for (int i = 0; i < FACTORS; i++) {
        params[i] = i == HUE ? 0 : 1;
        if (draw_chance(rng, a->p)) params[i] = draw_between(rng, a->range[i][0], a->range[i][1]);
    }
    params[4] = draw_chance(rng, 0.5);
    for (int i = 0; i < 3; i++) params[5 + i] = i;
    if (draw_chance(rng, a->p)) draw_order(rng, params + 5);
    return CVR_OK;
}

static void reorder(const image *im, const double *order) {
    const uint64_t size = cvr_dtype_size(im->dtype);
    char pixel[3 * sizeof(float)];
    if (im->c != 3 || (order[0] == 0 && order[1] == 1)) return;
    for (int64_t i = 0; i < im->h * im->w; i++) {
        char *const at = (char *)im->data + (uint64_t)i * 3 * size;
        memcpy(pixel, at, 3 * size);
        for (uint64_t c = 0; c < 3; c++) memcpy(at + c * size, pixel + (uint64_t)order[c] * size, size);
    }
}

static int32_t apply(const void *self, const double *params, cvr_sample *s, cvr_error *err) {
    const double contrast = (double)(float)params[CONTRAST];
    image im;
    (void)self;
    CVR_TRY(image_own(s, &im, err));
    CVR_TRY(adjust_check_channels(&im, "random_photometric_distort", err));
    if (params[BRIGHTNESS] != 1) adjust_brightness(&im, (double)(float)params[BRIGHTNESS]);
    if (contrast != 1 && params[4] != 0) adjust_contrast(&im, contrast);
    if (params[SATURATION] != 1) adjust_saturation(&im, (double)(float)params[SATURATION]);
    if (params[HUE] != 0) adjust_hue(&im, (double)(float)params[HUE]);
    if (contrast != 1 && params[4] == 0) adjust_contrast(&im, contrast);
    reorder(&im, params + 5);
    return CVR_OK;
}

static const cvr_attr_desc *const schema[] = {
    CVR_ATTR(FLOAT, "brightness", "0.875,1.125", "factor of the brightness, min,max", .count = 2),
    CVR_ATTR(FLOAT, "contrast", "0.5,1.5", "factor of the contrast, min,max", .count = 2),
    CVR_ATTR(FLOAT, "saturation", "0.5,1.5", "factor of the saturation, min,max", .count = 2),
    CVR_ATTR(FLOAT, "hue", "-0.05,0.05", "turn of the colour circle, min,max, within -0.5..0.5", .count = 2),
    CVR_ATTR(FLOAT, "p", "0.5", "probability of each change", CVR_ATTR_BETWEEN(0, 1)),
};

const cvr_augment_desc transform_random_photometric_distort = {
    .struct_size = sizeof transform_random_photometric_distort,
    .name = "random_photometric_distort",
    .doc = "Brightness, contrast, saturation, hue and the order of the channels, each with probability p",
    .n_attrs = sizeof schema / sizeof schema[0],
    .n_params = 8,
    .attrs = schema,
    .stage = CVR_STAGE_SAMPLE,
    .check = check,
    .make_params = make_params,
    .apply = apply,
};
