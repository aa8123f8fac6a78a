/*
 * normalize (torchvision v2 ToDtype and Normalize): (x / 255 - mean) / std of a u8 picture, (x - mean) / std of one
 * that is f32 already, channel by channel. params: none.
 */
#include "../transforms.h"
#include <cvr/plugin/ops/image.h>

/* Pictures have at most so many. */
#define MOST_CHANNELS 4

typedef struct channel_attr {
    int64_t n;
    double x[MOST_CHANNELS];
} channel_attr;

typedef struct normalize_attrs {
    channel_attr mean, std;
} normalize_attrs;

static int32_t check(const void *self, cvr_error *err) {
    const normalize_attrs *const a = self;
    if (a->mean.n == 0 || a->std.n == 0) return cvr_fail(err, CVR_ERR_USAGE, "normalize: give mean and std");
    for (int64_t i = 0; i < a->std.n; i++) {
        if ((float)a->std.x[i] == 0) return cvr_fail(err, CVR_ERR_USAGE, "normalize: std = 0 would divide by zero");
    }
    return CVR_OK;
}

/* One number is for all channels; more of them than channels do no harm. */
static int32_t check_channels(const normalize_attrs *a, int64_t channels, cvr_error *err) {
    if (channels <= MOST_CHANNELS && (a->mean.n == 1 || a->mean.n >= channels) &&
        (a->std.n == 1 || a->std.n >= channels))
        return CVR_OK;
    return cvr_fail(err, CVR_ERR_USAGE,
                    "normalize: %lld means and %lld stds for %lld channels; give one, or one for each of at most %d",
                    (long long)a->mean.n, (long long)a->std.n, (long long)channels, MOST_CHANNELS);
}

static double channel_of(const channel_attr *a, int64_t c) {
    return a->x[a->n == 1 ? 0 : c];
}

/* u8 has 256 levels: each is normalised once, and the rest is looking up. from, to: (pixels, channels) */
static void normalize_u8(float *to, const uint8_t *from, int64_t pixels, int64_t channels, const normalize_attrs *a) {
    float table[MOST_CHANNELS][256];
    for (int64_t c = 0; c < channels; c++) {
        const float mean = (float)channel_of(&a->mean, c), std = (float)channel_of(&a->std, c);
        for (int k = 0; k < 256; k++) table[c][k] = ((float)k / 255.0f - mean) / std;
    }
    if (channels == 3) {
        for (int64_t p = 0; p < pixels; p++, from += 3, to += 3) {
            to[0] = table[0][from[0]];
            to[1] = table[1][from[1]];
            to[2] = table[2][from[2]];
        }
        return;
    }
    for (int64_t p = 0; p < pixels; p++) {
        for (int64_t c = 0; c < channels; c++) *to++ = table[c][*from++];
    }
}

static void normalize_f32(float *to, const float *from, int64_t pixels, int64_t channels, const normalize_attrs *a) {
    for (int64_t c = 0; c < channels; c++) {
        const float mean = (float)channel_of(&a->mean, c), std = (float)channel_of(&a->std, c);
        for (int64_t i = c; i < pixels * channels; i += channels) to[i] = (from[i] - mean) / std;
    }
}

static int32_t apply(const void *self, const double *params, cvr_sample *s, cvr_error *err) {
    const normalize_attrs *const a = self;
    const image like = {.dtype = CVR_F32};
    image im, out;
    cvr_field *field = NULL;
    (void)params;
    CVR_TRY(image_get(s, &im, &field, err));
    CVR_TRY(check_channels(a, im.c, err));
    CVR_TRY(image_new(s, &like, im.h, im.w, im.c, &out, err));
    if (im.dtype == CVR_U8)
        normalize_u8(out.data, im.data, im.h * im.w, im.c, a);
    else
        normalize_f32(out.data, im.data, im.h * im.w, im.c, a);
    image_set(field, &out);
    return CVR_OK;
}

/* On the device, from u8 (N, C, H, W). */
static int32_t emit(const cvr_builder *b, const void *self, cvr_value params, cvr_value pixels, cvr_value *out,
                    cvr_error *err) {
    const normalize_attrs *const a = self;
    cvr_normalize_pixels_attrs op;
    (void)params;
    CVR_TRY(check_channels(a, b->type(b, pixels)->shape[1], err));
    for (int64_t c = 0; c < MOST_CHANNELS; c++) {
        op.mean[c] = a->mean.n == 1 || c < a->mean.n ? channel_of(&a->mean, c) : 0;
        op.std[c] = a->std.n == 1 || c < a->std.n ? channel_of(&a->std, c) : 1;
    }
    return cvr_emit(b, "normalize_pixels", &op, sizeof op, &pixels, 1, out, err);
}

static const cvr_attr_desc *const schema[] = {
    CVR_ATTR(FLOATS, "mean", NULL, "mean of each channel, in 0..1", .count = MOST_CHANNELS,
             .flags = CVR_ATTR_POSITIONAL),
    CVR_ATTR(FLOATS, "std", NULL, "standard deviation of each channel", .count = MOST_CHANNELS,
             .flags = CVR_ATTR_POSITIONAL),
};

const cvr_augment_desc transform_normalize = {
    .struct_size = sizeof transform_normalize,
    .name = "normalize",
    .doc = "Pixels to floating point: (x / 255 - mean) / std, channel by channel",
    .n_attrs = sizeof schema / sizeof schema[0],
    .attrs = schema,
    .stage = CVR_STAGE_NORMALISE,
    .check = check,
    .apply = apply,
    .emit = emit,
};
