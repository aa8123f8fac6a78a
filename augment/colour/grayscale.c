/*
 * grayscale (torchvision v2 Grayscale). params: none.
 */
#include "../transforms.h"
#include "luma.h"

typedef struct grayscale_attrs {
    int64_t num_output_channels;
} grayscale_attrs;

static int32_t check(const void *self, cvr_error *err) {
    const int64_t n = ((const grayscale_attrs *)self)->num_output_channels;
    return n == 1 || n == 3
               ? CVR_OK
               : cvr_fail(err, CVR_ERR_USAGE, "grayscale: num_output_channels is 1 or 3, not %lld", (long long)n);
}

/* x: (n,C) of which the first three channels count when there are as many; to: (n,channels) */
static void grey_u8(uint8_t *to, const uint8_t *x, int64_t n, int64_t from, int64_t channels) {
    for (int64_t i = 0; i < n; i++, x += from) {
        const uint8_t v = from == 3 ? (uint8_t)luma_of(x[0], x[1], x[2]) : x[0];
        for (int64_t c = 0; c < channels; c++) *to++ = v;
    }
}

static void grey_f32(float *to, const float *x, int64_t n, int64_t from, int64_t channels) {
    for (int64_t i = 0; i < n; i++, x += from) {
        const float v = from == 3 ? luma_of(x[0], x[1], x[2]) : x[0];
        for (int64_t c = 0; c < channels; c++) *to++ = v;
    }
}

static int32_t apply(const void *self, const double *params, cvr_sample *s, cvr_error *err) {
    const int64_t channels = ((const grayscale_attrs *)self)->num_output_channels;
    image im, out;
    cvr_field *field = NULL;
    (void)params;
    CVR_TRY(image_get(s, &im, &field, err));
    if (im.c != 1 && im.c != 3) {
        return cvr_fail(err, CVR_ERR_USAGE, "grayscale takes 1 or 3 channels, not %lld", (long long)im.c);
    }
    CVR_TRY(image_new(s, &im, im.h, im.w, channels, &out, err));
    if (im.dtype == CVR_U8)
        grey_u8(out.data, im.data, im.h * im.w, im.c, channels);
    else
        grey_f32(out.data, im.data, im.h * im.w, im.c, channels);
    image_set(field, &out);
    return CVR_OK;
}

static const cvr_attr_desc *const schema[] = {
    CVR_ATTR(INT, "num_output_channels", "1", "1, or 3 alike", CVR_ATTR_PLACE_BETWEEN(1, 3)),
};

const cvr_augment_desc transform_grayscale = {
    .struct_size = sizeof transform_grayscale,
    .name = "grayscale",
    .doc = "Colour to grey",
    .n_attrs = 1,
    .attrs = schema,
    .stage = CVR_STAGE_SAMPLE,
    .check = check,
    .apply = apply,
};
