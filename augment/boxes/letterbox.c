/*
 * letterbox (YOLO's detectors): the picture with its aspect ratio kept in a square of one colour, at the top left, or
 * with center=yes in the middle. Sizes are cut to whole pixels and boxes multiplied by the scale before that, as YOLOX
 * does. With aligned=yes as Darknet does: aligned_resize.c, an f32 picture, and boxes go by the size that it has after
 * it was cut. params: none.
 */
#include "../transforms.h"
#include "canvas.h"

typedef struct letterbox_attrs {
    size_attr size;
    fill_attr fill;
    int64_t center, interpolation, antialias, mask_fill, aligned;
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
    double scale[2], shift[2]; /* of boxes, x and y */
} letter_motion;

/* Sides by whole numbers, as Darknet has them: 400 x 300 in 128 is 128 x 96, where a product with a scale may be less.
 */
static void fit_aligned(letter_motion *m, const image *im) {
    const int64_t h = size_height(&m->a->size), w = size_width(&m->a->size);
    const int32_t wide = (float)w / (float)im->w < (float)h / (float)im->h, centred = m->a->center != 0;
    m->fit.w = wide ? w : canvas_side((double)(im->w * h / im->h));
    m->fit.h = wide ? canvas_side((double)(im->h * w / im->w)) : h;
    m->fit.left = centred ? (w - m->fit.w) / 2 : 0;
    m->fit.top = centred ? (h - m->fit.h) / 2 : 0;
    m->scale[0] = (double)m->fit.w / (double)im->w;
    m->scale[1] = (double)m->fit.h / (double)im->h;
    m->shift[0] = centred ? (double)(w - m->fit.w) / 2 : 0;
    m->shift[1] = centred ? (double)(h - m->fit.h) / 2 : 0;
}

static letter_motion motion_of(const letterbox_attrs *a, const image *im) {
    letter_motion m = {a, canvas_fit_of(im, size_height(&a->size), size_width(&a->size), a->center != 0), {0}, {0}};
    m.scale[0] = m.scale[1] = m.fit.scale;
    m.shift[0] = (double)m.fit.left;
    m.shift[1] = (double)m.fit.top;
    if (a->aligned) fit_aligned(&m, im);
    return m;
}

/* What lies beside an f32 picture that was u8: levels of it as well. */
static fill_attr fill_of(const letterbox_attrs *a, const image *im) {
    fill_attr fill = a->fill;
    for (int64_t i = 0; i < fill.n && im->dtype == CVR_U8; i++) fill.x[i] /= 255;
    return fill;
}

static int32_t aligned_pixels(const letter_motion *m, cvr_sample *s, const image *im, image *out, cvr_error *err) {
    const fill_attr fill = fill_of(m->a, im);
    const canvas_place at = {size_height(&m->a->size), size_width(&m->a->size), m->fit.top, m->fit.left, &fill};
    image small;
    CVR_TRY(aligned_resize(s, im, m->fit.h, m->fit.w, &small, err));
    return canvas_put(s, &small, &at, out, err);
}

static int32_t letter_pixels(const void *how, cvr_sample *s, const image *im, const fill_attr *classes, image *out,
                             cvr_error *err) {
    const letter_motion *const m = how;
    const letterbox_attrs *const a = m->a;
    const canvas_place at = {size_height(&a->size), size_width(&a->size), m->fit.top, m->fit.left,
                             classes ? classes : &a->fill};
    image small;
    if (a->aligned && !classes) return aligned_pixels(m, s, im, out, err);
    CVR_TRY(canvas_resize(s, im, m->fit.h, m->fit.w, classes ? INTERPOLATION_NEAREST : a->interpolation, a->antialias,
                          &small, err));
    return canvas_put(s, &small, &at, out, err);
}

/* By the scale, and to the edge of the picture at most. */
static void letter_box(const void *how, float *box) {
    const letter_motion *const m = how;
    const int64_t side[2] = {m->fit.w, m->fit.h};
    for (int i = 0; i < 4; i++) {
        const float x = (float)((double)box[i] * m->scale[i % 2]);
        box[i] = image_clamp(x, side[i % 2]) + (float)m->shift[i % 2];
    }
}

/* A picture that is of the size stays as it is, but becomes f32 like all others where Darknet's resizing makes them so.
 */
static int32_t apply(const void *self, const double *params, cvr_sample *s, cvr_error *err) {
    const letterbox_attrs *const a = self;
    const int64_t h = size_height(&a->size), w = size_width(&a->size);
    image im;
    (void)params;
    CVR_TRY(image_get(s, &im, NULL, err));
    if (im.h == h && im.w == w && !a->aligned) return CVR_OK;
    const letter_motion how = motion_of(a, &im);
    const image_motion m = {
        .how = &how,
        .pixels = letter_pixels,
        .box = letter_box,
        .mask_fill = a->mask_fill,
        .matrix = {how.scale[0], 0, how.shift[0], 0, how.scale[1], how.shift[1], 0, 0, 1},
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
    CVR_ATTR(BOOL, "aligned", "no",
             "yes: resized as Darknet does it, the pixels at the corners staying there, in floating point; "
             "interpolation and antialias do not count"),
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
