/*
 * Settings that several transforms have.
 */
#include "image_attrs.h"
#include "image_view.h"

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

int32_t image_size_given(const size_attr *size, const char *transform, cvr_error *err) {
    return size->n > 0 ? CVR_OK : cvr_fail(err, CVR_ERR_USAGE, "%s: give size", transform);
}

const cvr_attr_desc image_attr_size = CVR_ATTR_INIT(INTS, "size", NULL, "side of the square, or height,width",
                                                    .count = 2, CVR_ATTR_PLACE_BETWEEN(1, 65500));
const cvr_attr_desc image_attr_fill =
    CVR_ATTR_INIT(FLOATS, "fill", "0", "what lies outside the picture; one number, or one a channel", .count = 4);
const cvr_attr_desc image_attr_mask_fill =
    CVR_ATTR_INIT(INT, "mask_fill", "0", "class that a mask has outside the picture; 255: none, it does not count",
                  CVR_ATTR_BETWEEN(0, 255));
const cvr_attr_desc image_attr_padding_mode =
    CVR_ATTR_INIT(CHOICE, "padding_mode", "constant", "where the border comes from", .choices = PADDING_MODES);
const cvr_attr_desc image_attr_interpolation =
    CVR_ATTR_INIT(CHOICE, "interpolation", "bilinear", "how pixels are found between pixels",
                  .choices = INTERPOLATION_MODES "|bicubic");
const cvr_attr_desc image_attr_antialias =
    CVR_ATTR_INIT(BOOL, "antialias", "yes", "bilinear: average over all pixels that an output pixel covers");

int32_t image_check_interpolation(int64_t interpolation, int64_t antialias, cvr_error *err) {
    if (interpolation != INTERPOLATION_BICUBIC || antialias) return CVR_OK;
    return cvr_fail(err, CVR_ERR_USAGE, "interpolation=bicubic goes with antialias=yes only");
}
