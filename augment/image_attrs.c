/*
 * Settings that several transforms have.
 */
#include "image_attrs.h"
#include "image.h"

int32_t image_check_fill(const image *im, const fill_attr *fill, cvr_error *err) {
    if (fill->n != 1 && fill->n != im->c) {
        return cvr_fail(err, CVR_ERR_USAGE, "fill has %lld numbers for %lld channels; give one, or one a channel",
                        (long long)fill->n, (long long)im->c);
    }
    for (int64_t i = 0; i < fill->n && im->dtype == CVR_U8; i++) {
        if (!(fill->x[i] >= 0 && fill->x[i] <= 255)) {
            return cvr_fail(err, CVR_ERR_USAGE, "fill = %g on a picture of 0 to 255", fill->x[i]);
        }
    }
    return CVR_OK;
}

double image_fill_of(const fill_attr *fill, int64_t channel) {
    return fill->x[fill->n == 1 ? 0 : channel];
}

int32_t image_parse_padding(const padding_attr *padding, int64_t sides[4], cvr_error *err) {
    const int64_t *const x = padding->x;
    for (int i = 0; i < 4; i++) sides[i] = 0;
    switch (padding->n) {
    case 0: return CVR_OK;
    case 1: sides[0] = sides[1] = sides[2] = sides[3] = x[0]; return CVR_OK;
    case 2:
        sides[0] = sides[2] = x[0];
        sides[1] = sides[3] = x[1];
        return CVR_OK;
    case 4: memcpy(sides, x, 4 * sizeof *sides); return CVR_OK;
    default:
        return cvr_fail(err, CVR_ERR_USAGE,
                        "padding takes 1, 2 or 4 numbers: all, left/right,top/bottom or left,top,right,bottom");
    }
}

int32_t image_fill_given(const fill_attr *fill, const char *transform, cvr_error *err) {
    return fill->n > 0
               ? CVR_OK
               : cvr_fail(err, CVR_ERR_USAGE, "%s: fill is empty; give one number, or one a channel", transform);
}

const cvr_attr_desc image_attr_size = {
    .struct_size = sizeof image_attr_size,
    .name = "size",
    .kind = CVR_ATTR_INTS,
    .count = 2,
    .flags = CVR_ATTR_POSITIONAL | CVR_ATTR_MIN | CVR_ATTR_MAX,
    .min = 1,
    .max = 65500,
    .doc = "side of the square, or height,width",
};
const cvr_attr_desc image_attr_fill = {
    .struct_size = sizeof image_attr_fill,
    .name = "fill",
    .kind = CVR_ATTR_FLOATS,
    .count = 4,
    .default_text = "0",
    .doc = "what lies outside the picture; one number, or one a channel",
};
const cvr_attr_desc image_attr_mask_fill = {
    .struct_size = sizeof image_attr_mask_fill,
    .name = "mask_fill",
    .kind = CVR_ATTR_INT,
    .count = 1,
    .flags = CVR_ATTR_MIN | CVR_ATTR_MAX,
    .default_text = "0",
    .max = 255,
    .doc = "class that a mask has outside the picture; 255: none, it does not count",
};
const cvr_attr_desc image_attr_padding_mode = {
    .struct_size = sizeof image_attr_padding_mode,
    .name = "padding_mode",
    .kind = CVR_ATTR_CHOICE,
    .count = 1,
    .default_text = "constant",
    .choices = PADDING_MODES,
    .doc = "where the border comes from",
};
const cvr_attr_desc image_attr_interpolation = {
    .struct_size = sizeof image_attr_interpolation,
    .name = "interpolation",
    .kind = CVR_ATTR_CHOICE,
    .count = 1,
    .default_text = "bilinear",
    .choices = INTERPOLATION_MODES,
    .doc = "how pixels are found between pixels",
};
const cvr_attr_desc image_attr_antialias = {
    .struct_size = sizeof image_attr_antialias,
    .name = "antialias",
    .kind = CVR_ATTR_BOOL,
    .count = 1,
    .default_text = "yes",
    .doc = "bilinear: average over all pixels that an output pixel covers",
};
