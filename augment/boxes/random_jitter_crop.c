/*
 * random_jitter_crop: the crops of Darknet (public domain), the picture brought to one size whatever its shape. mode =
 * crop: every side of the picture moves by up to `jitter` of its length, inwards or outwards, and what lies between is
 * stretched to the size (AlexeyAB's). mode = place: the picture, its aspect ratio changed by jitter, at a random place
 * of a canvas that it fits (pjreddie's). What is outside of the picture is fill. params: [0] to [3] left, top, width
 * and height, in pixels of the picture, of what becomes the whole output.
 */
#include "../transforms.h"
#include "canvas.h"
#include <math.h>

enum { MODE_CROP, MODE_PLACE };

typedef struct jitter_attrs {
    size_attr size;
    double jitter;
    int64_t mode;
    fill_attr fill;
    int64_t mask_fill;
} jitter_attrs;

static int32_t check(const void *self, cvr_error *err) {
    const jitter_attrs *const a = self;
    CVR_TRY(image_size_given(&a->size, "random_jitter_crop", err));
    return image_fill_given(&a->fill, "random_jitter_crop", err);
}

static void draw_crop(const jitter_attrs *a, double w, double h, cvr_rng *rng, double *params) {
    const double dw = w * a->jitter, dh = h * a->jitter;
    const double left = draw_between(rng, -dw, dw), right = draw_between(rng, -dw, dw);
    const double top = draw_between(rng, -dh, dh), bottom = draw_between(rng, -dh, dh);
    params[0] = left;
    params[1] = top;
    params[2] = w - left - right;
    params[3] = h - top - bottom;
}

/* The picture is nw x nh of the output, at (dx, dy). */
static void draw_place(const jitter_attrs *a, double w, double h, cvr_rng *rng, double *params) {
    const double out_h = (double)size_height(&a->size), out_w = (double)size_width(&a->size);
    const double dw = w * a->jitter, dh = h * a->jitter;
    const double ratio = (w + draw_between(rng, -dw, dw)) / (h + draw_between(rng, -dh, dh));
    const double nw = ratio < 1 ? out_h * ratio : out_w, nh = ratio < 1 ? out_h : out_w / ratio;
    const double dx = draw_between(rng, 0, out_w - nw), dy = draw_between(rng, 0, out_h - nh);
    params[0] = -dx * w / nw;
    params[1] = -dy * h / nh;
    params[2] = out_w * w / nw;
    params[3] = out_h * h / nh;
}

static int32_t make_params(const void *self, const cvr_sample *s, cvr_rng *rng, double *params, cvr_error *err) {
    const jitter_attrs *const a = self;
    image im;
    CVR_TRY(image_get(s, &im, NULL, err));
    (a->mode == MODE_CROP ? draw_crop : draw_place)(a, (double)im.w, (double)im.h, rng, params);
    return CVR_OK;
}

/* ---- one side ---- */

/* Of a side: pixels [in, in + in_n) of the picture become [out, out + out_n) of the output. */
typedef struct stretch {
    int64_t in, in_n, out, out_n;
    double scale, shift; /* of coordinates */
} stretch;

static int64_t held(double x, int64_t least, int64_t most) {
    return x < (double)least ? least : x > (double)most ? most : (int64_t)x;
}

/* At least a pixel of both, whatever was drawn. */
static stretch stretch_of(double from, double length, int64_t n, int64_t size) {
    stretch s = {.scale = (double)size / length};
    s.shift = -from * s.scale;
    s.in = held(rint(from), 0, n - 1);
    s.in_n = held(rint(from + length), s.in + 1, n) - s.in;
    s.out = held(rint((double)s.in * s.scale + s.shift), 0, size - 1);
    s.out_n = held(rint((double)(s.in + s.in_n) * s.scale + s.shift), s.out + 1, size) - s.out;
    return s;
}

typedef struct jitter_motion {
    const jitter_attrs *a;
    int64_t h, w;
    stretch down, across;
} jitter_motion;

static int32_t jitter_pixels(const void *how, cvr_sample *s, const image *im, const fill_attr *classes, image *out,
                             cvr_error *err) {
    const jitter_motion *const m = how;
    const image part = image_part(im, m->down.in, m->across.in, m->down.in_n, m->across.in_n);
    const canvas_place at = {m->h, m->w, m->down.out, m->across.out, classes ? classes : &m->a->fill};
    image seen;
    CVR_TRY(canvas_resize(s, &part, m->down.out_n, m->across.out_n,
                          classes ? INTERPOLATION_NEAREST : INTERPOLATION_BILINEAR, 0, &seen, err));
    return canvas_put(s, &seen, &at, out, err);
}

static void jitter_box(const void *how, float *box) {
    const jitter_motion *const m = how;
    const stretch *const s[2] = {&m->across, &m->down};
    const int64_t side[2] = {m->w, m->h};
    for (int i = 0; i < 4; i++)
        box[i] = image_clamp((float)((double)box[i] * s[i % 2]->scale + s[i % 2]->shift), side[i % 2]);
}

static int32_t apply(const void *self, const double *params, cvr_sample *s, cvr_error *err) {
    const jitter_attrs *const a = self;
    jitter_motion how = {.a = a, .h = size_height(&a->size), .w = size_width(&a->size)};
    image im;
    CVR_TRY(image_get(s, &im, NULL, err));
    how.across = stretch_of(params[0], params[2], im.w, how.w);
    how.down = stretch_of(params[1], params[3], im.h, how.h);
    const image_motion m = {
        .how = &how,
        .pixels = jitter_pixels,
        .box = jitter_box,
        .mask_fill = a->mask_fill,
        .matrix = {how.across.scale, 0, how.across.shift, 0, how.down.scale, how.down.shift, 0, 0, 1},
    };
    CVR_TRY(image_move(s, &m, err));
    return box_rows_drop_empty(s, err);
}

static const cvr_attr_desc *const schema[] = {
    &image_attr_size,
    CVR_ATTR(FLOAT, "jitter", "0.3", "most that a side, or the aspect ratio, changes, as a share",
             CVR_ATTR_BETWEEN(0, 0.45)),
    CVR_ATTR(CHOICE, "mode", "crop", "crop: every side moves; place: the picture lies somewhere on a canvas",
             .choices = "crop|place"),
    CVR_ATTR(FLOATS, "fill", "127", "what lies beside the picture; one number, or one a channel", .count = 4),
    &image_attr_mask_fill,
};

const cvr_augment_desc transform_random_jitter_crop = {
    .struct_size = sizeof transform_random_jitter_crop,
    .name = "random_jitter_crop",
    .doc = "The picture with its sides moved, brought to one size: Darknet's jitter",
    .n_attrs = sizeof schema / sizeof schema[0],
    .n_params = 4,
    .attrs = schema,
    .stage = CVR_STAGE_SAMPLE,
    .n_kinds = IMAGE_N_MOVED,
    .kinds = image_moved,
    .moves = 1,
    .check = check,
    .make_params = make_params,
    .apply = apply,
};
