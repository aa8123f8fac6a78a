/*
 * normalize (torchvision v2 Normalize): (x - mean) / std, channel by channel, on f32. params: none.
 */
#include "../transforms.h"

#define MOST_CHANNELS 16

typedef struct channel_attr {
    int64_t n;
    double x[MOST_CHANNELS];
} channel_attr;

typedef struct attrs {
    channel_attr mean, std;
} attrs;

static int32_t check(const void *self, cvr_error *err) {
    const attrs *const a = self;
    if (a->mean.n == 0 || a->std.n == 0) return cvr_fail(err, CVR_ERR_USAGE, "normalize: give mean and std");
    for (int64_t i = 0; i < a->std.n; i++) {
        if ((float)a->std.x[i] == 0) return cvr_fail(err, CVR_ERR_USAGE, "normalize: std = 0 would divide by zero");
    }
    return CVR_OK;
}

static int32_t apply(const void *self, const double *params, cvr_sample *s, cvr_error *err) {
    const attrs *const a = self;
    image im, out;
    cvr_field *field = NULL;
    (void)params;
    int32_t status = image_get(s, &im, &field, err);
    if (status != CVR_OK) return status;
    if (im.dtype != CVR_F32)
        return cvr_fail(err, CVR_ERR_USAGE, "normalize takes floating point pictures; put to_tensor before it");
    if ((a->mean.n != 1 && a->mean.n != im.c) || (a->std.n != 1 && a->std.n != im.c)) {
        return cvr_fail(err, CVR_ERR_USAGE,
                        "normalize: %lld means and %lld stds for %lld channels; give one, or one a channel",
                        (long long)a->mean.n, (long long)a->std.n, (long long)im.c);
    }
    status = image_new(s, &im, im.h, im.w, im.c, &out, err);
    if (status != CVR_OK) return status;
    const float *const from = im.data;
    float *const to = out.data;
    for (int64_t c = 0; c < im.c; c++) {
        const float mean = (float)a->mean.x[a->mean.n == 1 ? 0 : c], std = (float)a->std.x[a->std.n == 1 ? 0 : c];
        for (int64_t i = c; i < im.h * im.row; i += im.c) to[i] = (from[i] - mean) / std;
    }
    image_set(field, &out);
    return CVR_OK;
}

static const cvr_attr_desc mean_attr = {sizeof mean_attr,
                                        "mean",
                                        CVR_ATTR_FLOATS,
                                        MOST_CHANNELS,
                                        CVR_ATTR_POSITIONAL,
                                        0,
                                        NULL,
                                        NULL,
                                        0,
                                        0,
                                        "mean of each channel, in 0..1"};
static const cvr_attr_desc std_attr = {sizeof std_attr,
                                       "std",
                                       CVR_ATTR_FLOATS,
                                       MOST_CHANNELS,
                                       CVR_ATTR_POSITIONAL,
                                       0,
                                       NULL,
                                       NULL,
                                       0,
                                       0,
                                       "standard deviation of each channel"};
static const cvr_attr_desc *const schema[] = {&mean_attr, &std_attr};

const cvr_augment_desc transform_normalize = {
    .struct_size = sizeof transform_normalize,
    .name = "normalize",
    .doc = "(x - mean) / std, channel by channel",
    .n_attrs = sizeof schema / sizeof schema[0],
    .attrs = schema,
    .check = check,
    .apply = apply,
};
