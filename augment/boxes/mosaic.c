/*
 * mosaic (Bochkovskiy et al., "YOLOv4", 2020, as YOLOX has it): four pictures around a random point of a canvas twice
 * as large, which is then turned, scaled, sheared and shifted into a picture of the size that is wanted. Boxes become
 * the hull of their corners, and end where the picture ends. params: [0] 1 where it is done, [1] and [2] row and column
 * of the point, [3] degrees of the turn, [4] scale, [5] and [6] shift along x and y in pixels, [7] and [8] degrees of
 * shear along x and y.
 */
#include "../transforms.h"
#include "affine_warp.h"
#include <math.h>

#define PI 3.14159265358979323846
#define N_TILES 4

typedef struct mosaic_attrs {
    size_attr size;
    double p, degrees, translate, scale[2], shear;
    fill_attr fill;
} mosaic_attrs;

static int32_t check(const void *self, cvr_error *err) {
    const mosaic_attrs *const a = self;
    CVR_TRY(image_size_given(&a->size, "mosaic", err));
    CVR_TRY(canvas_check_scale(a->scale, "mosaic", err));
    return image_fill_given(&a->fill, "mosaic", err);
}

static int32_t make_params(const void *self, const cvr_sample *s, cvr_rng *rng, double *params, cvr_error *err) {
    const mosaic_attrs *const a = self;
    const double h = (double)size_height(&a->size), w = (double)size_width(&a->size);
    (void)s, (void)err;
    params[0] = draw_chance(rng, a->p);
    params[1] = floor(draw_between(rng, 0.5, 1.5) * h);
    params[2] = floor(draw_between(rng, 0.5, 1.5) * w);
    params[3] = draw_between(rng, -a->degrees, a->degrees);
    params[4] = draw_between(rng, a->scale[0], a->scale[1]);
    params[5] = draw_between(rng, -a->translate, a->translate) * w;
    params[6] = draw_between(rng, -a->translate, a->translate) * h;
    params[7] = draw_between(rng, -a->shear, a->shear);
    params[8] = draw_between(rng, -a->shear, a->shear);
    return CVR_OK;
}

static int32_t alone(const void *self, const double *params) {
    (void)self;
    return params[0] == 0;
}

/* From the canvas to the picture: about the canvas's corner, so that with scale 1 its first quarter is seen. */
static affine_map map_of(const double *params) {
    const double r = params[3] * (PI / 180), c = params[4] * cos(r), s = params[4] * sin(r);
    const double x = tan(params[7] * (PI / 180)), y = tan(params[8] * (PI / 180));
    return (affine_map){{c - y * s, s + y * c, params[5], x * c - s, x * s + c, params[6]}};
}

/* ---- one of the four ---- */

/* What of a picture, made fit.h x fit.w, is seen: rows and columns from (from_top, from_left) on lie at (top, left). */
typedef struct tile {
    canvas_fit fit;
    int64_t top, left, h, w, from_top, from_left;
    int64_t canvas_h, canvas_w;
} tile;

/* Along one side: a picture of n pixels ends at the point, or begins there. */
static void place(int64_t point, int64_t canvas, int64_t n, int32_t after, int64_t *to, int64_t *from,
                  int64_t *length) {
    const int64_t room = after ? canvas - point : point;
    *length = n < room ? n : room;
    *to = after ? point : point - *length;
    *from = after ? 0 : n - *length;
}

static tile tile_of(const mosaic_attrs *a, const double *params, const image *im, int i) {
    const int64_t h = size_height(&a->size), w = size_width(&a->size);
    tile t = {.fit = canvas_fit_of(im, h, w, 0), .canvas_h = 2 * h, .canvas_w = 2 * w};
    place((int64_t)params[1], t.canvas_h, t.fit.h, i / 2, &t.top, &t.from_top, &t.h);
    place((int64_t)params[2], t.canvas_w, t.fit.w, i % 2, &t.left, &t.from_left, &t.w);
    return t;
}

static int32_t tile_pixels(const void *how, cvr_sample *s, const image *im, const fill_attr *classes, image *out,
                           cvr_error *err) {
    const tile *const t = how;
    return canvas_resize(s, im, t->fit.h, t->fit.w, classes ? INTERPOLATION_NEAREST : INTERPOLATION_BILINEAR, 0, out,
                         err);
}

static void tile_box(const void *how, float *box) {
    const tile *const t = how;
    const int64_t side[2] = {t->canvas_w, t->canvas_h}, pad[2] = {t->left - t->from_left, t->top - t->from_top};
    for (int i = 0; i < 4; i++)
        box[i] = image_clamp((float)((double)box[i] * t->fit.scale + (double)pad[i % 2]), side[i % 2]);
}

/* The sample in the size of its tile, its boxes on the canvas. */
static int32_t bring_to_tile(const tile *t, cvr_sample *s, cvr_error *err) {
    const double scale = t->fit.scale;
    const image_motion m = {
        .how = t,
        .pixels = tile_pixels,
        .box = tile_box,
        .matrix = {scale, 0, (double)(t->left - t->from_left), 0, scale, (double)(t->top - t->from_top), 0, 0, 1},
    };
    return image_move(s, &m, err);
}

/* The masks of a tile's objects: (n, fit.h, fit.w) to (n, h, w) of the picture. */
static int32_t warp_masks(const tile *t, const affine_map *inverse, int64_t h, int64_t w, cvr_sample *s,
                          cvr_error *err) {
    cvr_field *const f = cvr_sample_find(s, CVR_FIELD_MASKS);
    affine_map shifted = *inverse;
    if (!f) return CVR_OK;
    const int64_t n = f->shape[0];
    uint8_t *const to = s->alloc(s, (uint64_t)(n * h * w) + 1);
    if (!to) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory for the masks of %lld objects", (long long)n);
    shifted.m[2] -= (double)t->left;
    shifted.m[5] -= (double)t->top;
    for (int64_t k = 0; k < n; k++) {
        const image mask = {t->fit.h, t->fit.w, 1, t->fit.w, CVR_U8, 0, (uint8_t *)f->data + k * t->fit.h * t->fit.w};
        const image seen = image_part(&mask, t->from_top, t->from_left, t->h, t->w);
        affine_mask(&shifted, &seen, h, w, to + k * h * w);
    }
    f->data = to;
    f->shape[1] = h;
    f->shape[2] = w;
    return CVR_OK;
}

/* ---- the four together ---- */

typedef struct mosaic {
    const mosaic_attrs *a;
    const double *params;
    affine_map map, inverse;
    image canvas;
} mosaic;

/* Picture, boxes and masks of sample i, onto the canvas and through the map. */
static int32_t add_tile(const mosaic *m, cvr_sample *s, int i, cvr_error *err) {
    const int64_t h = size_height(&m->a->size), w = size_width(&m->a->size);
    image im;
    CVR_TRY(image_get(s, &im, NULL, err));
    CVR_TRY(canvas_check_alike(&m->canvas, &im, "mosaic", err));
    const tile t = tile_of(m->a, m->params, &im, i);
    CVR_TRY(bring_to_tile(&t, s, err));
    CVR_TRY(image_get(s, &im, NULL, err));
    const image seen = image_part(&im, t.from_top, t.from_left, t.h, t.w);
    canvas_paste(&m->canvas, &seen, t.top, t.left);
    const cvr_field *const boxes = cvr_sample_find(s, CVR_FIELD_BOXES);
    for (int64_t k = 0; boxes && k < boxes->shape[0]; k++) affine_box(&m->map, h, w, (float *)boxes->data + 4 * k);
    return warp_masks(&t, &m->inverse, h, w, s, err);
}

static int32_t apply_many(const void *self, const double *params, cvr_sample *const *samples, uint32_t n,
                          cvr_error *err) {
    mosaic m = {.a = self, .params = params, .map = map_of(params)};
    cvr_field *picture = NULL;
    image first, out;
    if (n < N_TILES || params[0] == 0) return CVR_OK;
    m.inverse = affine_inverse(&m.map);
    const int64_t h = size_height(&m.a->size), w = size_width(&m.a->size);
    CVR_TRY(image_get(samples[0], &first, &picture, err));
    CVR_TRY(canvas_new(samples[0], &first, 2 * h, 2 * w, &m.a->fill, &m.canvas, err));
    for (int i = 0; i < N_TILES; i++) CVR_TRY(add_tile(&m, samples[i], i, err));
    CVR_TRY(affine_pixels(samples[0], &m.inverse, &m.canvas, h, w, &m.a->fill, &out, err));
    image_set(picture, &out);
    const double *const a = m.map.m, matrix[9] = {a[0], a[1], a[2], a[3], a[4], a[5], 0, 0, 1};
    cvr_sample_moved(samples[0], matrix);
    for (int i = 1; i < N_TILES; i++) CVR_TRY(canvas_join_objects(samples[0], samples[i], "mosaic", err));
    return box_rows_drop_empty(samples[0], err);
}

static const cvr_attr_desc *const schema[] = {
    &image_attr_size,
    CVR_ATTR(FLOAT, "p", "1", "probability; else the picture stays as it is", CVR_ATTR_BETWEEN(0, 1)),
    CVR_ATTR(FLOAT, "degrees", "10", "most that the canvas is turned, either way", CVR_ATTR_BETWEEN(0, 180)),
    CVR_ATTR(FLOAT, "translate", "0.1", "most that it is shifted, as a share of the size", CVR_ATTR_BETWEEN(0, 1)),
    CVR_ATTR(FLOAT, "scale", "0.1,2", "what its sides are multiplied with, min,max", .count = 2,
             CVR_ATTR_BETWEEN(0, 100)),
    CVR_ATTR(FLOAT, "shear", "2", "degrees, the most along x and along y", CVR_ATTR_BETWEEN(0, 44)),
    CVR_ATTR(FLOATS, "fill", "114", "what lies where no picture is; one number, or one a channel", .count = 4),
};

const cvr_augment_desc transform_mosaic = {
    .struct_size = sizeof transform_mosaic,
    .name = "mosaic",
    .doc = "Four pictures with their objects around a point, then turned, scaled, sheared and shifted",
    .n_attrs = sizeof schema / sizeof schema[0],
    .n_params = 9,
    .attrs = schema,
    .stage = CVR_STAGE_SAMPLE,
    .n_samples = N_TILES,
    .multiplies = N_TILES,
    .n_kinds = CANVAS_N_JOINED,
    .kinds = canvas_joined,
    .moves = 1,
    .check = check,
    .make_params = make_params,
    .apply_many = apply_many,
    .alone = alone,
    .closes = 1,
};
