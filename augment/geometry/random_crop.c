/*
 * random_crop (torchvision v2 RandomCrop): padding, then a crop at a random place. params: [0] to [3] padding (left,
 * top, right, bottom), [4] top, [5] left.
 */
#include "../transforms.h"

typedef struct attrs {
    size_attr size;
    padding_attr padding;
    int64_t pad_if_needed;
    fill_attr fill;
    int64_t padding_mode;
} attrs;

static int32_t check(const void *self, cvr_error *err) {
    const attrs *const a = self;
    int64_t sides[4];
    if (a->size.n == 0) return cvr_fail(err, CVR_ERR_USAGE, "random_crop: give size");
    if (a->fill.n == 0)
        return cvr_fail(err, CVR_ERR_USAGE, "random_crop: fill is empty; give one number, or one a channel");
    return image_parse_padding(&a->padding, sides, err);
}

/* Pads both ends of an axis by what it lacks, as torchvision does; so that the crop lies at a random offset. */
static int64_t lacking(const attrs *a, int64_t padded, int64_t wanted) {
    return a->pad_if_needed && padded < wanted ? wanted - padded : 0;
}

static int32_t make_params(const void *self, const cvr_sample *s, cvr_rng *rng, double *params, cvr_error *err) {
    const attrs *const a = self;
    const int64_t h = a->size.x[0], w = a->size.x[a->size.n - 1];
    int64_t pad[4];
    image im;
    int32_t status = image_get(s, &im, NULL, err);
    if (status == CVR_OK) status = image_parse_padding(&a->padding, pad, err);
    if (status != CVR_OK) return status;
    const int64_t more_h = lacking(a, im.h + pad[1] + pad[3], h), more_w = lacking(a, im.w + pad[0] + pad[2], w);
    pad[0] += more_w;
    pad[1] += more_h;
    pad[2] += more_w;
    pad[3] += more_h;
    const int64_t room_h = im.h + pad[1] + pad[3] - h, room_w = im.w + pad[0] + pad[2] - w;
    if (room_h < 0 || room_w < 0) {
        return cvr_fail(err, CVR_ERR_USAGE,
                        "random_crop: size %lld x %lld is larger than the padded picture of %lld x %lld; use "
                        "pad_if_needed=yes or resize first",
                        (long long)w, (long long)h, (long long)(room_w + w), (long long)(room_h + h));
    }
    for (int i = 0; i < 4; i++) params[i] = (double)pad[i];
    params[4] = room_h ? (double)cvr_rng_below(rng, (uint64_t)room_h + 1) : 0;
    params[5] = room_w ? (double)cvr_rng_below(rng, (uint64_t)room_w + 1) : 0;
    return CVR_OK;
}

static int32_t apply(const void *self, const double *params, cvr_sample *s, cvr_error *err) {
    const attrs *const a = self;
    image im, out;
    cvr_field *field = NULL;
    image_window win = {
        .top = (int64_t)params[4], .left = (int64_t)params[5], .mode = a->padding_mode, .fill = a->fill};
    win.h = a->size.x[0];
    win.w = a->size.x[a->size.n - 1];
    for (int i = 0; i < 4; i++) win.pad[i] = (int64_t)params[i];
    int32_t status = image_get(s, &im, &field, err);
    if (status == CVR_OK) status = image_has_no_mask(s, err);
    if (status != CVR_OK) return status;
    status = image_copy_window(s, &im, &win, &out, err);
    if (status == CVR_OK) image_set(field, &out);
    return status;
}

static const cvr_attr_desc size = {sizeof size,
                                   "size",
                                   CVR_ATTR_INTS,
                                   2,
                                   CVR_ATTR_POSITIONAL | CVR_ATTR_MIN | CVR_ATTR_MAX,
                                   0,
                                   NULL,
                                   NULL,
                                   1,
                                   65500,
                                   "side of the square, or height,width"};
static const cvr_attr_desc padding = {sizeof padding,
                                      "padding",
                                      CVR_ATTR_INTS,
                                      4,
                                      CVR_ATTR_MIN | CVR_ATTR_MAX,
                                      0,
                                      "",
                                      NULL,
                                      0,
                                      65500,
                                      "all sides, or left/right,top/bottom, or left,top,right,bottom; empty: none"};
static const cvr_attr_desc pad_if_needed = {sizeof pad_if_needed,
                                            "pad_if_needed",
                                            CVR_ATTR_BOOL,
                                            1,
                                            0,
                                            0,
                                            "no",
                                            NULL,
                                            0,
                                            0,
                                            "pad a picture that is smaller than size"};
static const cvr_attr_desc fill = {sizeof fill,
                                   "fill",
                                   CVR_ATTR_FLOATS,
                                   4,
                                   0,
                                   0,
                                   "0",
                                   NULL,
                                   0,
                                   0,
                                   "what the border is filled with; one number, or one a channel"};
static const cvr_attr_desc padding_mode = {
    sizeof padding_mode,          "padding_mode", CVR_ATTR_CHOICE, 1, 0, 0, "constant", PADDING_MODES, 0, 0,
    "where the border comes from"};
static const cvr_attr_desc *const schema[] = {&size, &padding, &pad_if_needed, &fill, &padding_mode};

const cvr_augment_desc transform_random_crop = {
    .struct_size = sizeof transform_random_crop,
    .name = "random_crop",
    .doc = "A crop at a random place, with or without padding",
    .n_attrs = sizeof schema / sizeof schema[0],
    .n_params = 6,
    .attrs = schema,
    .check = check,
    .make_params = make_params,
    .apply = apply,
};
