/*
 * pad (torchvision v2 Pad). params: none.
 */
#include "../transforms.h"

typedef struct attrs {
    padding_attr padding;
    fill_attr fill;
    int64_t padding_mode;
} attrs;

static int32_t check(const void *self, cvr_error *err) {
    const attrs *const a = self;
    int64_t sides[4];
    if (a->padding.n == 0) return cvr_fail(err, CVR_ERR_USAGE, "pad: give padding");
    if (a->fill.n == 0) return cvr_fail(err, CVR_ERR_USAGE, "pad: fill is empty; give one number, or one a channel");
    return image_parse_padding(&a->padding, sides, err);
}

static int32_t apply(const void *self, const double *params, cvr_sample *s, cvr_error *err) {
    const attrs *const a = self;
    image im, out;
    cvr_field *field = NULL;
    (void)params;
    image_window win = {.mode = a->padding_mode, .fill = a->fill};
    int32_t status = image_get(s, &im, &field, err);
    if (status == CVR_OK) status = image_has_no_mask(s, err);
    if (status == CVR_OK) status = image_parse_padding(&a->padding, win.pad, err);
    if (status != CVR_OK) return status;
    win.h = im.h + win.pad[1] + win.pad[3];
    win.w = im.w + win.pad[0] + win.pad[2];
    status = image_copy_window(s, &im, &win, &out, err);
    if (status == CVR_OK) image_set(field, &out);
    return status;
}

static const cvr_attr_desc padding = {sizeof padding,
                                      "padding",
                                      CVR_ATTR_INTS,
                                      4,
                                      CVR_ATTR_POSITIONAL | CVR_ATTR_MIN | CVR_ATTR_MAX,
                                      0,
                                      NULL,
                                      NULL,
                                      0,
                                      65500,
                                      "all sides, or left/right,top/bottom, or left,top,right,bottom"};
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
static const cvr_attr_desc *const schema[] = {&padding, &fill, &padding_mode};

const cvr_augment_desc transform_pad = {
    .struct_size = sizeof transform_pad,
    .name = "pad",
    .doc = "A border around the picture",
    .n_attrs = sizeof schema / sizeof schema[0],
    .attrs = schema,
    .check = check,
    .apply = apply,
};
