/*
 * random_hsv and random_hsv_scale: hue, saturation and value, as YOLO's detectors change them. The first adds (YOLOX:
 * 5, 30, 30 in OpenCV's units of 8-bit pictures, each with probability 0.5), the second turns the hue and multiplies
 * the others (Darknet's hue, saturation, exposure). params: [0] turn of the colour circle in sixths, [1] and [2]
 * factors of saturation and value, [3] and [4] what is then added to them, as shares; all HSV in 0..1.
 */
#include "../transforms.h"
#include "adjust.h"

#define N_PARAMS 5
#define BLOCK 64 /* pixels at a time: a picture's channels apart, so that compilers use vectors */

typedef struct random_hsv_attrs {
    double hue, saturation, value, p;
} random_hsv_attrs;

typedef struct random_hsv_scale_attrs {
    double hue, saturation, exposure;
} random_hsv_scale_attrs;

/* ---- what is drawn ---- */

static double draw_gain(cvr_rng *rng, double most, double p) {
    const double gain = draw_between(rng, -most, most);
    return draw_chance(rng, p) ? gain : 0;
}

/* OpenCV's circle has 180 steps, saturation and value 255. */
static int32_t make_params(const void *self, const cvr_sample *s, cvr_rng *rng, double *params, cvr_error *err) {
    const random_hsv_attrs *const a = self;
    (void)s, (void)err;
    params[0] = draw_gain(rng, a->hue, a->p) / 30;
    params[1] = params[2] = 1;
    params[3] = draw_gain(rng, a->saturation, a->p) / 255;
    params[4] = draw_gain(rng, a->value, a->p) / 255;
    return CVR_OK;
}

/* 1 to `most`, or one over that. */
static double draw_scale(cvr_rng *rng, double most) {
    const double scale = draw_between(rng, 1, most);
    return draw_chance(rng, 0.5) ? scale : 1 / scale;
}

static int32_t make_scale_params(const void *self, const cvr_sample *s, cvr_rng *rng, double *params, cvr_error *err) {
    const random_hsv_scale_attrs *const a = self;
    (void)s, (void)err;
    params[0] = draw_between(rng, -a->hue, a->hue) * 6;
    params[1] = draw_scale(rng, a->saturation);
    params[2] = draw_scale(rng, a->exposure);
    params[3] = params[4] = 0;
    return CVR_OK;
}

/* ---- pixels ---- */

typedef struct change {
    float turn, times_s, times_v, plus_s, plus_v;
} change;

static float least_of(float a, float b) {
    return a < b ? a : b;
}

static float most_of(float a, float b) {
    return a > b ? a : b;
}

static float unit(float x) {
    return least_of(most_of(x, 0), 1);
}

/* One of three channels: v - v s clamp(min(k, 4 - k), 0, 1) with k = (n + h) mod 6; n is 5, 3, 1 of red, green, blue.
 */
static float channel(float n, float h, float s, float v) {
    const float at = n + h, k = at - 6 * (float)(at >= 6);
    return v - v * s * unit(least_of(k, 4 - k));
}

/* rgb: three rows of BLOCK, in 0..1. Choices are products with 0 and 1, so that compilers find no branches. */
static void change_block(float (*rgb)[BLOCK], const change *c) {
    for (int i = 0; i < BLOCK; i++) {
        const float r = rgb[0][i], g = rgb[1][i], b = rgb[2][i];
        const float most = most_of(r, most_of(g, b)), range = most - least_of(r, least_of(g, b));
        const float by = 1 / (range + (float)(range <= 0));
        const float red = (float)(most == r), green = (1 - red) * (float)(most == g), blue = 1 - red - green;
        const float sixth = red * ((g - b) * by) + green * (2 + (b - r) * by) + blue * (4 + (r - g) * by);
        const float turned = sixth + c->turn; /* -1 to 5, and the turn of -3 to 3 */
        const float above = turned + 6 * (float)(turned < 0), h = above - 6 * (float)(above >= 6);
        const float s = unit(range / (most + (float)(most <= 0)) * c->times_s + c->plus_s);
        const float v = unit(most * c->times_v + c->plus_v);
        rgb[0][i] = channel(5, h, s, v);
        rgb[1][i] = channel(3, h, s, v);
        rgb[2][i] = channel(1, h, s, v);
    }
}

/* n pixels of three channels. */
static void change_u8(uint8_t *x, int64_t n, const change *c) {
    float rgb[3][BLOCK] = {{0}};
    for (int64_t i = 0; i < n; i++)
        for (int64_t k = 0; k < 3; k++) rgb[k][i] = (float)x[3 * i + k] * (1.0f / 255);
    change_block(rgb, c);
    for (int64_t i = 0; i < n; i++)
        for (int64_t k = 0; k < 3; k++) x[3 * i + k] = (uint8_t)(rgb[k][i] * 255 + 0.5f);
}

static void change_f32(float *x, int64_t n, const change *c) {
    float rgb[3][BLOCK] = {{0}};
    for (int64_t i = 0; i < n; i++)
        for (int64_t k = 0; k < 3; k++) rgb[k][i] = unit(x[3 * i + k]);
    change_block(rgb, c);
    for (int64_t i = 0; i < n; i++)
        for (int64_t k = 0; k < 3; k++) x[3 * i + k] = rgb[k][i];
}

/* Grey has a value only. */
static void change_grey(const image *im, const change *c) {
    uint8_t *const b = im->data;
    float *const f = im->data;
    for (int64_t i = 0; i < im->h * im->w; i++) {
        if (im->dtype == CVR_U8)
            b[i] = (uint8_t)(unit((float)b[i] * (1.0f / 255) * c->times_v + c->plus_v) * 255 + 0.5f);
        else
            f[i] = unit(f[i] * c->times_v + c->plus_v);
    }
}

static int32_t apply_change(const double *p, const char *transform, cvr_sample *s, cvr_error *err) {
    const change c = {(float)p[0], (float)p[1], (float)p[2], (float)p[3], (float)p[4]};
    image im;
    if (p[0] == 0 && p[1] == 1 && p[2] == 1 && p[3] == 0 && p[4] == 0) return CVR_OK;
    CVR_TRY(image_own(s, &im, err));
    CVR_TRY(adjust_check_channels(&im, transform, err));
    if (im.c == 1) {
        change_grey(&im, &c);
        return CVR_OK;
    }
    const int64_t pixels = im.h * im.w;
    for (int64_t at = 0; at < pixels; at += BLOCK) {
        const int64_t n = pixels - at < BLOCK ? pixels - at : BLOCK;
        if (im.dtype == CVR_U8)
            change_u8((uint8_t *)im.data + 3 * at, n, &c);
        else
            change_f32((float *)im.data + 3 * at, n, &c);
    }
    return CVR_OK;
}

static int32_t apply(const void *self, const double *params, cvr_sample *s, cvr_error *err) {
    (void)self;
    return apply_change(params, "random_hsv", s, err);
}

static int32_t apply_scale(const void *self, const double *params, cvr_sample *s, cvr_error *err) {
    (void)self;
    return apply_change(params, "random_hsv_scale", s, err);
}

/* ---- descriptors ---- */

static const cvr_attr_desc *const schema[] = {
    CVR_ATTR(FLOAT, "hue", "5", "most that is added to the hue or taken from it, of 180 around the circle",
             CVR_ATTR_BETWEEN(0, 90)),
    CVR_ATTR(FLOAT, "saturation", "30", "the same of the saturation, of 255", CVR_ATTR_BETWEEN(0, 255)),
    CVR_ATTR(FLOAT, "value", "30", "the same of the value, of 255", CVR_ATTR_BETWEEN(0, 255)),
    CVR_ATTR(FLOAT, "p", "0.5", "probability of each change", CVR_ATTR_BETWEEN(0, 1)),
};

static const cvr_attr_desc *const scale_schema[] = {
    CVR_ATTR(FLOAT, "hue", "0.1", "most that the hue is turned, either way, as a share of the circle",
             CVR_ATTR_BETWEEN(0, 0.5)),
    CVR_ATTR(FLOAT, "saturation", "1.5", "most that the saturation is multiplied with or divided by",
             CVR_ATTR_BETWEEN(1, 100)),
    CVR_ATTR(FLOAT, "exposure", "1.5", "the same of the value", CVR_ATTR_BETWEEN(1, 100)),
};

const cvr_augment_desc transform_random_hsv = {
    .struct_size = sizeof transform_random_hsv,
    .name = "random_hsv",
    .doc = "Something is added to hue, saturation and value, or taken from them, each with probability p",
    .n_attrs = sizeof schema / sizeof schema[0],
    .n_params = N_PARAMS,
    .attrs = schema,
    .stage = CVR_STAGE_SAMPLE,
    .make_params = make_params,
    .apply = apply,
};

const cvr_augment_desc transform_random_hsv_scale = {
    .struct_size = sizeof transform_random_hsv_scale,
    .name = "random_hsv_scale",
    .doc = "The hue is turned, saturation and value are multiplied or divided: Darknet's hue, saturation, exposure",
    .n_attrs = sizeof scale_schema / sizeof scale_schema[0],
    .n_params = N_PARAMS,
    .attrs = scale_schema,
    .stage = CVR_STAGE_SAMPLE,
    .make_params = make_scale_params,
    .apply = apply_scale,
};
