/*
 * random_erasing (torchvision v2 RandomErasing; Zhong et al., "Random Erasing Data Augmentation", 2017). It runs after
 * normalize, as in torchvision's reference recipes: 0 is the mean, and noise has the spread of pixels. Boxes and masks
 * stay, for their objects are still where they were. params: [0] 1 where something is erased, [1] top, [2] left, [3]
 * height, [4] width, [5] and [6] the key of the noise, low and high 32 bits.
 */
#include "../transforms.h"
#include <math.h>
#include <stdlib.h>

#define MOST_CHANNELS 16

typedef struct random_erasing_attrs {
    double p, scale[2], ratio[2];
    const char *value;
} random_erasing_attrs;

/* What `value` says: n numbers, or n = 0 for noise. */
typedef struct erase_value {
    int64_t n;
    double x[MOST_CHANNELS];
} erase_value;

static int32_t parse_value(const char *text, erase_value *v, cvr_error *err) {
    v->n = 0;
    if (strcmp(text, "random") == 0) return CVR_OK;
    for (const char *at = text; v->n < MOST_CHANNELS; at++) {
        char *end = NULL;
        const double x = strtod(at, &end);
        if (end == at || !isfinite(x)) break;
        v->x[v->n++] = x;
        while (*end == ' ') end++;
        if (*end == '\0') return CVR_OK;
        if (*end != ',') break;
        at = end;
    }
    return cvr_fail(err, CVR_ERR_USAGE,
                    "random_erasing: value = '%.40s'; give a number, one a channel (0.5,0.5,0.5), or random", text);
}

static int32_t check(const void *self, cvr_error *err) {
    const random_erasing_attrs *const a = self;
    erase_value v;
    if (a->scale[0] > a->scale[1] || a->ratio[0] > a->ratio[1]) {
        return cvr_fail(err, CVR_ERR_USAGE, "random_erasing: scale and ratio are min,max");
    }
    if (a->ratio[0] <= 0) return cvr_fail(err, CVR_ERR_USAGE, "random_erasing: ratio must be above 0");
    return parse_value(a->value, &v, err);
}

static int32_t draw_box(const random_erasing_attrs *a, const image *im, cvr_rng *rng, double *params) {
    for (int tries = 0; tries < 10; tries++) {
        const double area = (double)im->h * (double)im->w * draw_between(rng, a->scale[0], a->scale[1]);
        const double ratio = exp(draw_between(rng, log(a->ratio[0]), log(a->ratio[1])));
        const int64_t h = (int64_t)rint(sqrt(area * ratio)), w = (int64_t)rint(sqrt(area / ratio));
        if (h >= im->h || w >= im->w) continue;
        params[1] = (double)cvr_rng_below(rng, (uint64_t)(im->h - h + 1));
        params[2] = (double)cvr_rng_below(rng, (uint64_t)(im->w - w + 1));
        params[3] = (double)h;
        params[4] = (double)w;
        return 1;
    }
    return 0;
}

static int32_t make_params(const void *self, const cvr_sample *s, cvr_rng *rng, double *params, cvr_error *err) {
    const random_erasing_attrs *const a = self;
    image im;
    CVR_TRY(image_get(s, &im, NULL, err));
    for (int i = 0; i < 7; i++) params[i] = 0;
    if (!draw_chance(rng, a->p)) return CVR_OK;
    params[0] = draw_box(a, &im, rng, params);
    params[5] = cvr_rng_u32(rng);
    params[6] = cvr_rng_u32(rng);
    return CVR_OK;
}

/* A row of `w` pixels: the value, or standard normal noise. x: (w, C) */
static void erase_row(float *x, int64_t w, int64_t channels, const erase_value *v, cvr_rng *noise) {
    for (int64_t i = 0; i < w * channels; i++)
        x[i] = (float)(v->n == 0 ? cvr_rng_normal(noise) : v->x[v->n == 1 ? 0 : i % channels]);
}

static int32_t apply(const void *self, const double *params, cvr_sample *s, cvr_error *err) {
    const random_erasing_attrs *const a = self;
    image im;
    erase_value v;
    cvr_rng noise;
    CVR_TRY(image_get(s, &im, NULL, err));
    CVR_TRY(parse_value(a->value, &v, err));
    if (im.dtype != CVR_F32) return cvr_fail(err, CVR_ERR_USAGE, "random_erasing takes pictures that are normalised");
    if (v.n > 1 && v.n != im.c) {
        return cvr_fail(err, CVR_ERR_USAGE,
                        "random_erasing: value has %lld numbers for %lld channels; give one, or one a channel",
                        (long long)v.n, (long long)im.c);
    }
    if (params[0] == 0) return CVR_OK;
    cvr_rng_start(&noise, (uint64_t)params[5] | (uint64_t)params[6] << 32, 0);
    const int64_t top = (int64_t)params[1], left = (int64_t)params[2], h = (int64_t)params[3], w = (int64_t)params[4];
    for (int64_t y = top; y < top + h; y++) erase_row((float *)im.data + y * im.row + left * im.c, w, im.c, &v, &noise);
    return CVR_OK;
}

static const cvr_attr_desc *const schema[] = {
    CVR_ATTR(FLOAT, "p", "0.5", "probability of erasing", CVR_ATTR_PLACE_BETWEEN(0, 1)),
    CVR_ATTR(FLOAT, "scale", "0.02,0.33", "share of the picture's area, min,max", .count = 2, CVR_ATTR_BETWEEN(0, 1)),
    CVR_ATTR(FLOAT, "ratio", "0.3,3.3", "height to width, min,max", .count = 2, CVR_ATTR_AT_LEAST(0)),
    CVR_ATTR(STRING, "value", "0",
             "a number, one a channel (0.5,0.5,0.5), or random for normal noise; in normalised pixels"),
};

const cvr_augment_desc transform_random_erasing = {
    .struct_size = sizeof transform_random_erasing,
    .name = "random_erasing",
    .doc = "A rectangle erased, with probability p",
    .n_attrs = sizeof schema / sizeof schema[0],
    .n_params = 7,
    .attrs = schema,
    .stage = CVR_STAGE_NORMALISED,
    .check = check,
    .make_params = make_params,
    .apply = apply,
};
