/*
 * random_erasing (torchvision v2 RandomErasing; Zhong et al., "Random Erasing Data Augmentation", 2017). params: [0] 1
 * where something is erased, [1] top, [2] left, [3] height, [4] width, [5] and [6] the key of the noise, low and high
 * 32 bits.
 */
#include "../transforms.h"
#include <math.h>
#include <stdlib.h>

#define MOST_CHANNELS 16

typedef struct attrs {
    double p, scale[2], ratio[2];
    const char *value;
} attrs;

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
    const attrs *const a = self;
    erase_value v;
    if (a->scale[0] > a->scale[1] || a->ratio[0] > a->ratio[1]) {
        return cvr_fail(err, CVR_ERR_USAGE, "random_erasing: scale and ratio are min,max");
    }
    if (a->ratio[0] <= 0) return cvr_fail(err, CVR_ERR_USAGE, "random_erasing: ratio must be above 0");
    return parse_value(a->value, &v, err);
}

static int32_t draw_box(const attrs *a, const image *im, cvr_rng *rng, double *params) {
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
    const attrs *const a = self;
    image im;
    const int32_t status = image_get(s, &im, NULL, err);
    if (status != CVR_OK) return status;
    for (int i = 0; i < 7; i++) params[i] = 0;
    if (!draw_chance(rng, a->p)) return CVR_OK;
    params[0] = draw_box(a, &im, rng, params);
    params[5] = cvr_rng_u32(rng);
    params[6] = cvr_rng_u32(rng);
    return CVR_OK;
}

/* A float to u8 as torch casts: cut towards zero, then the low eight bits. */
static uint8_t cast_u8(double v) {
    return (uint8_t)(int64_t)fmax(fmin(v, 1e15), -1e15);
}

/* A row of `w` pixels at element `at`: the value, or standard normal noise. */
static void erase_row(const image *im, int64_t at, int64_t w, const erase_value *v, cvr_rng *noise) {
    for (int64_t i = 0; i < w * im->c; i++) {
        const double x = v->n == 0 ? cvr_rng_normal(noise) : v->x[v->n == 1 ? 0 : i % im->c];
        if (im->dtype == CVR_U8)
            ((uint8_t *)im->data)[at + i] = cast_u8(x);
        else
            ((float *)im->data)[at + i] = (float)x;
    }
}

static int32_t apply(const void *self, const double *params, cvr_sample *s, cvr_error *err) {
    const attrs *const a = self;
    image im, out;
    cvr_field *field = NULL;
    erase_value v;
    cvr_rng noise;
    int32_t status = image_get(s, &im, &field, err);
    if (status == CVR_OK) status = parse_value(a->value, &v, err);
    if (status != CVR_OK) return status;
    if (v.n > 1 && v.n != im.c) {
        return cvr_fail(err, CVR_ERR_USAGE,
                        "random_erasing: value has %lld numbers for %lld channels; give one, or one a channel",
                        (long long)v.n, (long long)im.c);
    }
    if (params[0] == 0) return CVR_OK;
    status = image_new(s, &im, im.h, im.w, im.c, &out, err);
    if (status != CVR_OK) return status;
    memcpy(out.data, im.data, image_pixel_bytes(&im) * (uint64_t)(im.h * im.w));
    cvr_rng_start(&noise, (uint64_t)params[5] | (uint64_t)params[6] << 32, 0);
    const int64_t top = (int64_t)params[1], left = (int64_t)params[2], h = (int64_t)params[3], w = (int64_t)params[4];
    for (int64_t y = top; y < top + h; y++) erase_row(&out, y * out.row + left * out.c, w, &v, &noise);
    image_set(field, &out);
    return CVR_OK;
}

static const cvr_attr_desc p_attr = {sizeof p_attr,
                                     "p",
                                     CVR_ATTR_FLOAT,
                                     1,
                                     CVR_ATTR_POSITIONAL | CVR_ATTR_MIN | CVR_ATTR_MAX,
                                     0,
                                     "0.5",
                                     NULL,
                                     0,
                                     1,
                                     "probability of erasing"};
static const cvr_attr_desc scale = {sizeof scale,
                                    "scale",
                                    CVR_ATTR_FLOAT,
                                    2,
                                    CVR_ATTR_MIN | CVR_ATTR_MAX,
                                    0,
                                    "0.02,0.33",
                                    NULL,
                                    0,
                                    1,
                                    "share of the picture's area, min,max"};
static const cvr_attr_desc ratio = {
    sizeof ratio, "ratio", CVR_ATTR_FLOAT, 2, CVR_ATTR_MIN, 0, "0.3,3.3", NULL, 0, 0, "height to width, min,max"};
static const cvr_attr_desc value = {sizeof value,
                                    "value",
                                    CVR_ATTR_STRING,
                                    1,
                                    0,
                                    0,
                                    "0",
                                    NULL,
                                    0,
                                    0,
                                    "a number, one a channel (0.5,0.5,0.5), or random for normal noise"};
static const cvr_attr_desc *const schema[] = {&p_attr, &scale, &ratio, &value};

const cvr_augment_desc transform_random_erasing = {
    .struct_size = sizeof transform_random_erasing,
    .name = "random_erasing",
    .doc = "A rectangle erased, with probability p",
    .n_attrs = sizeof schema / sizeof schema[0],
    .n_params = 7,
    .attrs = schema,
    .check = check,
    .make_params = make_params,
    .apply = apply,
};
