/*
 * fixed_size_crop (FixedSizeCrop of torchvision's references; Ghiasi et al., "Simple Copy-Paste", 2021): a crop at a
 * random place where the picture is larger, padding at the right and at the bottom where it is smaller. Objects that
 * the crop leaves nothing of are gone. params: [0] top, [1] left; one number decides both.
 */
#include "../transforms.h"
#include "box_rows.h"

typedef struct fixed_size_crop_attrs {
    size_attr size;
    fill_attr fill;
    int64_t padding_mode;
    int64_t mask_fill;
} fixed_size_crop_attrs;

static int32_t check(const void *self, cvr_error *err) {
    const fixed_size_crop_attrs *const a = self;
    CVR_TRY(image_size_given(&a->size, "fixed_size_crop", err));
    return image_fill_given(&a->fill, "fixed_size_crop", err);
}

static int64_t more(int64_t a, int64_t b) {
    return a > b ? a - b : 0;
}

static int32_t make_params(const void *self, const cvr_sample *s, cvr_rng *rng, double *params, cvr_error *err) {
    const fixed_size_crop_attrs *const a = self;
    image im;
    CVR_TRY(image_get(s, &im, NULL, err));
    const double at = cvr_rng_uniform(rng);
    params[0] = (double)(int64_t)((double)more(im.h, size_height(&a->size)) * at);
    params[1] = (double)(int64_t)((double)more(im.w, size_width(&a->size)) * at);
    return CVR_OK;
}

static image_window window_of(const cvr_part_step *step) {
    const fixed_size_crop_attrs *const a = step->attrs;
    return (image_window){
        .pad = {0, 0, more(size_width(&a->size), step->in->width), more(size_height(&a->size), step->in->height)},
        .top = (int64_t)step->params[0],
        .left = (int64_t)step->params[1],
        .mode = a->padding_mode,
        .fill = a->fill,
        .mask_fill = a->mask_fill,
    };
}

static int32_t part_source(const cvr_part_step *step, cvr_error *err) {
    const image_window win = window_of(step);
    (void)err;
    image_window_source(&win, step);
    return CVR_OK;
}

static int32_t part_apply(const cvr_part_step *step, cvr_sample *s, cvr_error *err) {
    const image_window win = window_of(step);
    const cvr_part *const in = step->in, *const out = step->out;
    if (in->height <= out->height && in->width <= out->width) return image_window_apply(&win, step, s, err);
    box_rows_clamp(s, in->height, in->width);
    CVR_TRY(image_window_apply(&win, step, s, err));
    return box_rows_drop_empty(s, err);
}

static int32_t apply(const void *self, const double *params, cvr_sample *s, cvr_error *err) {
    return image_apply_whole(&transform_fixed_size_crop, self, params, s, err);
}

static const cvr_attr_desc *const schema[] = {
    &image_attr_size,
    &image_attr_fill,
    &image_attr_padding_mode,
    &image_attr_mask_fill,
};

const cvr_augment_desc transform_fixed_size_crop = {
    .struct_size = sizeof transform_fixed_size_crop,
    .name = "fixed_size_crop",
    .doc = "A crop at a random place, or padding at the right and at the bottom, to a size",
    .n_attrs = sizeof schema / sizeof schema[0],
    .n_params = 2,
    .attrs = schema,
    .stage = CVR_STAGE_SAMPLE,
    .n_kinds = IMAGE_N_MOVED,
    .kinds = image_moved,
    .moves = 1,
    .check = check,
    .make_params = make_params,
    .apply = apply,
    .part_size = image_size_part,
    .part_source = part_source,
    .part_apply = part_apply,
};
