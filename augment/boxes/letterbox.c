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
    CVR_TRY(image_size_given(&a->size, "letterbox", err));
    CVR_TRY(image_check_interpolation(a->interpolation, a->antialias, err));
    return image_fill_given(&a->fill, "letterbox", err);
}

/* ---- pixels and boxes ---- */

typedef struct letter_motion {
    const letterbox_attrs *a;
    canvas_fit fit;
} letter_motion;

static int32_t letter_pixels(const void *how, cvr_sample *s, const image *im, const fill_attr *classes, image *out,
                             cvr_error *err) {
    const letter_motion *const m = how;
    const letterbox_attrs *const a = m->a;
    const canvas_place at = {size_height(&a->size), size_width(&a->size), m->fit.top, m->fit.left,
                             classes ? classes : &a->fill};
    image small;
    CVR_TRY(canvas_resize(s, im, m->fit.h, m->fit.w, classes ? INTERPOLATION_NEAREST : a->interpolation, a->antialias,
                          &small, err));
    return canvas_put(s, &small, &at, out, err);
}

/* By the scale before sides are cut, and to the edge of the picture at most. */
static void letter_box(const void *how, float *box) {
    const letter_motion *const m = how;
    const int64_t side[2] = {m->fit.w, m->fit.h}, at[2] = {m->fit.left, m->fit.top};
    for (int i = 0; i < 4; i++) {
        const float x = (float)((double)box[i] * m->fit.scale);
        box[i] = image_clamp(x, side[i % 2]) + (float)at[i % 2];
    }
}

/* A picture that is of the size stays as it is. */
static int32_t apply(const void *self, const double *params, cvr_sample *s, cvr_error *err) {
    const letterbox_attrs *const a = self;
    const int64_t h = size_height(&a->size), w = size_width(&a->size);
    image im;
    (void)params;
    CVR_TRY(image_get(s, &im, NULL, err));
    if (im.h == h && im.w == w) return CVR_OK;
    const letter_motion how = {a, canvas_fit_of(&im, h, w, a->center != 0)};
    const image_motion m = {
        .how = &how,
        .pixels = letter_pixels,
        .box = letter_box,
        .mask_fill = a->mask_fill,
        .matrix = {how.fit.scale, 0, (double)how.fit.left, 0, how.fit.scale, (double)how.fit.top, 0, 0, 1},
    };
    return image_move(s, &m, err);
}

/* All of the picture is seen. */
static int32_t part_source(const cvr_part_step *step, cvr_error *err) {
    (void)err;
    cvr_part_whole(step->in, step->in->height, step->in->width);
    return CVR_OK;
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
    .part_size = image_size_part,
    .part_source = part_source,
    .part_apply = part_apply,
};
