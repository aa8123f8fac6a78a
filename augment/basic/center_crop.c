/*
 * center_crop (torchvision v2 CenterCrop): the middle, padded with 0 where the picture is smaller. params: none. Where
 * an odd number of pixels is added, torchvision's boxes lie one pixel beside its pictures; here they do not.
 */
#include "../image_move.h"
#include "../transforms.h"
#include <math.h>

typedef struct center_crop_attrs {
    size_attr size;
} center_crop_attrs;

static int32_t check(const void *self, cvr_error *err) {
    return image_size_given(&((const center_crop_attrs *)self)->size, "center_crop", err);
}

static int64_t at_least(int64_t a, int64_t b) {
    return a > b ? a : b;
}

static image_window window_of(const cvr_part_step *step) {
    const center_crop_attrs *const a = step->attrs;
    const int64_t h = size_height(&a->size), w = size_width(&a->size), in_h = step->in->height, in_w = step->in->width;
    image_window win = {.mode = PADDING_CONSTANT, .fill = {1, {0}}};
    /* The odd pixel of padding goes to the right and to the bottom. */
    win.pad[0] = at_least(w - in_w, 0) / 2;
    win.pad[1] = at_least(h - in_h, 0) / 2;
    win.pad[2] = (at_least(w - in_w, 0) + 1) / 2;
    win.pad[3] = (at_least(h - in_h, 0) + 1) / 2;
    /* Half to even, as Python rounds. */
    win.top = (int64_t)rint((double)at_least(in_h - h, 0) / 2);
    win.left = (int64_t)rint((double)at_least(in_w - w, 0) / 2);
    return win;
}

static int32_t part_source(const cvr_part_step *step, cvr_error *err) {
    const image_window win = window_of(step);
    (void)err;
    image_window_source(&win, step);
    return CVR_OK;
}

static int32_t part_apply(const cvr_part_step *step, cvr_sample *s, cvr_error *err) {
    const image_window win = window_of(step);
    return image_window_apply(&win, step, s, err);
}

static int32_t apply(const void *self, const double *params, cvr_sample *s, cvr_error *err) {
    return image_apply_whole(&transform_center_crop, self, params, s, err);
}

static const cvr_attr_desc *const schema[] = {
    &image_attr_size,
};

const cvr_augment_desc transform_center_crop = {
    .struct_size = sizeof transform_center_crop,
    .name = "center_crop",
    .doc = "The middle of the picture, padded with 0 where it is smaller",
    .n_attrs = sizeof schema / sizeof schema[0],
    .attrs = schema,
    .stage = CVR_STAGE_SAMPLE,
    .n_kinds = IMAGE_N_MOVED,
    .kinds = image_moved,
    .moves = 1,
    .check = check,
    .apply = apply,
    .part_size = image_size_part,
    .part_source = part_source,
    .part_apply = part_apply,
};
