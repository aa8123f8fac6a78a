/*
 * pad (torchvision v2 Pad). params: none.
 */
#include "../image_move.h"
#include "../transforms.h"

typedef struct pad_attrs {
    padding_attr padding;
    fill_attr fill;
    int64_t padding_mode;
    int64_t mask_fill;
} pad_attrs;

static int32_t check(const void *self, cvr_error *err) {
    const pad_attrs *const a = self;
    int64_t sides[4];
    if (a->padding.n == 0) return cvr_fail(err, CVR_ERR_USAGE, "pad: give padding");
    CVR_TRY(image_fill_given(&a->fill, "pad", err));
    return image_parse_padding(&a->padding, sides, err);
}

static int32_t apply(const void *self, const double *params, cvr_sample *s, cvr_error *err) {
    const pad_attrs *const a = self;
    cvr_part in, out;
    const cvr_part_step step = {sizeof step, self, params, &in, &out};
    image_window win = {.mode = a->padding_mode, .fill = a->fill, .mask_fill = a->mask_fill};
    image im;
    CVR_TRY(image_get(s, &im, NULL, err));
    CVR_TRY(image_parse_padding(&a->padding, win.pad, err));
    cvr_part_whole(&in, im.h, im.w);
    cvr_part_whole(&out, im.h + win.pad[1] + win.pad[3], im.w + win.pad[0] + win.pad[2]);
    return image_window_apply(&win, &step, s, err);
}

static const cvr_attr_desc *const schema[] = {
    CVR_ATTR(INTS, "padding", NULL, "all sides, or left/right,top/bottom, or left,top,right,bottom", .count = 4,
             CVR_ATTR_PLACE_BETWEEN(0, 65500)),
    &image_attr_fill,
    &image_attr_padding_mode,
    &image_attr_mask_fill,
};

const cvr_augment_desc transform_pad = {
    .struct_size = sizeof transform_pad,
    .name = "pad",
    .doc = "A border around the picture",
    .n_attrs = sizeof schema / sizeof schema[0],
    .attrs = schema,
    .stage = CVR_STAGE_SAMPLE,
    .n_kinds = IMAGE_N_MOVED,
    .kinds = image_moved,
    .moves = 1,
    .check = check,
    .apply = apply,
};
