/*
 * letterbox (YOLO's detectors): the picture with its aspect ratio kept in a square of one colour, at the top left, or
 * with center=yes in the middle. Sizes are cut to whole pixels and boxes multiplied by the scale before that, as YOLOX
 * does. params: none.
 */
#include "../transforms.h"
#include "canvas.h"

typedef struct letterbox_attrs {
    size_attr size;
    fill_attr fill;
    int64_t center, interpolation, antialias, mask_fill;
} letterbox_attrs;

static int32_t check(const void *self, cvr_error *err) {
    const letterbox_attrs *const a = self;
    if (a->size.n == 0) return cvr_fail(err, CVR_ERR_USAGE, "letterbox: give size");
    CVR_TRY(image_check_interpolation(a->interpolation, a->antialias, err));
    return image_fill_given(&a->fill, "letterbox", err);
}

static int32_t part_size(const cvr_part_step *step, cvr_error *err) {
    const letterbox_attrs *const a = step->attrs;
    (void)err;
    step->out->height = a->size.x[0];
    step->out->width = a->size.x[a->size.n - 1];
    return CVR_OK;
}

/* All of it is seen. */
static int32_t part_source(const cvr_part_step *step, cvr_error *err) {
    (void)err;
    cvr_part_whole(step->in, step->in->height, step->in->width);
    return CVR_OK;
}

static int32_t apply(const void *self, const double *params, cvr_sample *s, cvr_error *err) {
    const letterbox_attrs *const a = self;
    const canvas_letter letter = {
        .h = a->size.x[0],
        .w = a->size.x[a->size.n - 1],
        .centred = a->center,
        .fill = a->fill,
        .interpolation = a->interpolation,
        .antialias = a->antialias,
        .mask_fill = a->mask_fill,
    };
    (void)params;
    return canvas_letter_apply(&letter, s, err);
}

static int32_t part_apply(const cvr_part_step *step, cvr_sample *s, cvr_error *err) {
    const cvr_part *const out = step->out;
    cvr_part whole;
    const cvr_part_step cut = {sizeof cut, step->attrs, step->params, &whole, step->out};
    CVR_TRY(apply(step->attrs, step->params, s, err));
    cvr_part_whole(&whole, out->height, out->width);
    return image_stay_apply(&cut, s, err);
}

static const cvr_attr_desc *const schema[] = {
    &image_attr_size,
    CVR_ATTR(FLOATS, "fill", "114", "what lies beside the picture; one number, or one a channel", .count = 4),
    CVR_ATTR(BOOL, "center", "no", "yes: in the middle, as Darknet has it; no: at the top left, as YOLOX"),
    &image_attr_interpolation,
    CVR_ATTR(BOOL, "antialias", "no", "bilinear: average over all pixels that an output pixel covers"),
    &image_attr_mask_fill,
};

const cvr_augment_desc transform_letterbox = {
    .struct_size = sizeof transform_letterbox,
    .name = "letterbox",
    .doc = "The picture in a square of one colour, its aspect ratio kept",
    .n_attrs = sizeof schema / sizeof schema[0],
    .attrs = schema,
    .stage = CVR_STAGE_SAMPLE,
    .n_kinds = IMAGE_N_MOVED,
    .kinds = image_moved,
    .moves = 1,
    .check = check,
    .apply = apply,
    .part_size = part_size,
    .part_source = part_source,
    .part_apply = part_apply,
};
