/*
 * center_crop (torchvision v2 CenterCrop): the middle, padded with 0 where the picture is smaller. params: none.
 */
#include "../transforms.h"
#include <math.h>

typedef struct attrs {
    size_attr size;
} attrs;

static int32_t check(const void *self, cvr_error *err) {
    return ((const attrs *)self)->size.n > 0 ? CVR_OK : cvr_fail(err, CVR_ERR_USAGE, "center_crop: give size");
}

static int64_t at_least(int64_t a, int64_t b) {
    return a > b ? a : b;
}

static int32_t apply(const void *self, const double *params, cvr_sample *s, cvr_error *err) {
    const attrs *const a = self;
    const int64_t h = a->size.x[0], w = a->size.x[a->size.n - 1];
    image im, out;
    cvr_field *field = NULL;
    (void)params;
    int32_t status = image_get(s, &im, &field, err);
    if (status != CVR_OK) return status;
    if (h == im.h && w == im.w) return CVR_OK;
    status = image_has_no_mask(s, err);
    if (status != CVR_OK) return status;
    image_window win = {.h = h, .w = w, .mode = PADDING_CONSTANT, .fill = {1, {0}}};
    /* The odd pixel of padding goes to the right and to the bottom. */
    win.pad[0] = at_least(w - im.w, 0) / 2;
    win.pad[1] = at_least(h - im.h, 0) / 2;
    win.pad[2] = (at_least(w - im.w, 0) + 1) / 2;
    win.pad[3] = (at_least(h - im.h, 0) + 1) / 2;
    /* Half to even, as Python rounds. */
    win.top = (int64_t)rint((double)at_least(im.h - h, 0) / 2);
    win.left = (int64_t)rint((double)at_least(im.w - w, 0) / 2);
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
static const cvr_attr_desc *const schema[] = {&size};

const cvr_augment_desc transform_center_crop = {
    .struct_size = sizeof transform_center_crop,
    .name = "center_crop",
    .doc = "The middle of the picture, padded with 0 where it is smaller",
    .n_attrs = sizeof schema / sizeof schema[0],
    .attrs = schema,
    .check = check,
    .apply = apply,
};
