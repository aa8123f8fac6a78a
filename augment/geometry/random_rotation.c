/*
 * random_rotation (torchvision v2 RandomRotation, rotate_image): anticlockwise, about the centre, through an affine
 * grid in float as grid_sample takes it. params: [0] angle in degrees.
 */
#include "../image_move.h"
#include "../image_warp.h"
#include "../transforms.h"
#include <math.h>

#define PI 3.14159265358979323846

typedef struct pair_attr {
    int64_t n;
    double x[2];
} pair_attr;

typedef struct random_rotation_attrs {
    pair_attr degrees;
    int64_t interpolation;
    int64_t expand;
    pair_attr center; /* x, y in pixels; none: the middle */
    fill_attr fill;
    int64_t mask_fill;
    double p;
} random_rotation_attrs;

static int32_t check(const void *self, cvr_error *err) {
    const random_rotation_attrs *const a = self;
    if (a->degrees.n == 0) return cvr_fail(err, CVR_ERR_USAGE, "random_rotation: give degrees");
    if (a->degrees.n == 1 && a->degrees.x[0] < 0) {
        return cvr_fail(err, CVR_ERR_USAGE, "random_rotation: degrees = %g is one number and must not be negative",
                        a->degrees.x[0]);
    }
    if (a->degrees.n == 2 && a->degrees.x[0] > a->degrees.x[1]) {
        return cvr_fail(err, CVR_ERR_USAGE, "random_rotation: degrees = %g,%g must be min,max", a->degrees.x[0],
                        a->degrees.x[1]);
    }
    if (a->center.n == 1) return cvr_fail(err, CVR_ERR_USAGE, "random_rotation: center takes two numbers, x,y");
    return image_fill_given(&a->fill, "random_rotation", err);
}

static int32_t make_params(const void *self, const cvr_sample *s, cvr_rng *rng, double *params, cvr_error *err) {
    const random_rotation_attrs *const a = self;
    const pair_attr *const d = &a->degrees;
    (void)s;
    (void)err;
    params[0] = 0;
    if (a->p < 1 && !draw_chance(rng, a->p)) return CVR_OK;
    params[0] = draw_between(rng, d->n == 1 ? -d->x[0] : d->x[0], d->x[d->n - 1]);
    return CVR_OK;
}

/* Quarter turns anticlockwise, without arithmetic on pixels. */
static void turn(const image *out, const image *im, int32_t quarters) {
    const uint64_t p = image_pixel_bytes(im);
    for (int64_t y = 0; y < out->h; y++) {
        for (int64_t x = 0; x < out->w; x++) {
            const int64_t sy = quarters == 1 ? x : quarters == 2 ? im->h - 1 - y : im->h - 1 - x;
            const int64_t sx = quarters == 1 ? im->w - 1 - y : quarters == 2 ? im->w - 1 - x : y;
            memcpy((char *)out->data + (uint64_t)(y * out->w + x) * p,
                   (const char *)im->data + (uint64_t)(sy * im->w + sx) * p, p);
        }
    }
}

/* Output to input: (x', y') = (m0 x + m1 y + m2, m3 x + m4 y + m5), the origin in the middle of either picture. */
static void inverse_matrix(const random_rotation_attrs *a, const image *im, double angle, double m[6]) {
    const double r = -angle * (PI / 180), c = cos(r), s = sin(r);
    const double cx = a->center.n ? a->center.x[0] - (double)im->w * 0.5 : 0;
    const double cy = a->center.n ? a->center.x[1] - (double)im->h * 0.5 : 0;
    const double inverse[6] = {c, s, cx - c * cx - s * cy, -s, c, cy + s * cx - c * cy};
    memcpy(m, inverse, sizeof inverse);
}

/* How far the turned corners reach along one axis, as PIL counts pixels: tenths of thousandths are cut off. */
static int64_t reach(float half_w, float half_h, float half, float a, float b, float c) {
    const float xs[4] = {-half_w, -half_w, half_w, half_w}, ys[4] = {-half_h, half_h, half_h, -half_h};
    float lo = INFINITY, hi = -INFINITY;
    for (int i = 0; i < 4; i++) {
        const float v = xs[i] * a + ys[i] * b + c;
        lo = fminf(lo, v);
        hi = fmaxf(hi, v);
    }
    return (int64_t)(ceilf(truncf((hi + half) * 10000.0f) * 1e-4f) - floorf(truncf((lo + half) * 10000.0f) * 1e-4f));
}

/* 1 to 3 quarter turns where torchvision turns without arithmetic, 0 where the picture stays, -1 for all else. */
static int32_t quarters_of(const random_rotation_attrs *a, const image *im, double angle) {
    if (a->center.n) return -1;
    if (angle == 0) return 0;
    if (angle == 180) return 2;
    if (!a->expand && im->h != im->w) return -1;
    return angle == 90 ? 1 : angle == 270 ? 3 : -1;
}

typedef struct rotation {
    const random_rotation_attrs *a;
    int64_t w, h; /* of what comes out */
    int32_t quarters;
    float inverse[6]; /* for pixels: output to input, from the middles */
    float forward[9]; /* for boxes: input to output, from the corners */
} rotation;

static int32_t rotate_pixels(const void *how, cvr_sample *s, const image *im, const fill_attr *classes, image *out,
                             cvr_error *err) {
    const rotation *const r = how;
    *out = *im;
    if (!classes) CVR_TRY(image_check_fill(im, &r->a->fill, err));
    if (r->quarters == 0) return CVR_OK;
    CVR_TRY(image_new(s, im, r->h, r->w, im->c, out, err));
    if (r->quarters > 0) {
        turn(out, im, r->quarters);
        return CVR_OK;
    }
    image_affine_grid grid = {.in_w = im->w, .in_h = im->h, .out_w = r->w, .out_h = r->h};
    const image_warp warp = {&grid, image_affine_row, classes ? INTERPOLATION_NEAREST : r->a->interpolation,
                             classes ? classes : &r->a->fill};
    memcpy(grid.m, r->inverse, sizeof grid.m);
    return image_warp_run(s, &warp, im, out, err);
}

/* The box around the four turned corners, held inside the picture. (With `expand` torchvision's boxes are held inside a
 * size that it computes once more, with other roundings: often a pixel more or less than the picture's.) */
static void rotate_box(const void *how, float *box) {
    const rotation *const r = how;
    image_warp_box(r->forward, r->w, r->h, box);
}

/* For boxes: about the centre. With `expand` the turned picture's corner becomes the new origin; its size is rounded,
 * so that pixels may lie up to a pixel beside their boxes, as in torchvision. */
static void forward_matrix(const random_rotation_attrs *a, const image *im, double angle, float m[9]) {
    const double r = -angle * (PI / 180), c = cos(r), s = sin(r);
    const double cx = a->center.n ? a->center.x[0] : (double)im->w * 0.5;
    const double cy = a->center.n ? a->center.x[1] : (double)im->h * 0.5;
    const double forward[6] = {c, -s, cx - c * cx + s * cy, s, c, cy - s * cx - c * cy};
    for (int i = 0; i < 9; i++) m[i] = i < 6 ? (float)forward[i] : i == 8;
    for (int k = 0; k < 2 && a->expand; k++) {
        float *const row = m + 3 * k, x = row[0] * (float)im->w, y = row[1] * (float)im->h;
        row[2] -= fminf(fminf(row[2], y + row[2]), fminf(x + y + row[2], x + row[2]));
    }
}

/* Where the middle of the input's pixels goes, and the rest from there; quarters are exact. */
static void geometry_of(const image *im, const rotation *r, const double inverse[6], double g[9]) {
    static const double cosine[4] = {1, 0, -1, 0}, sine[4] = {0, -1, 0, 1};
    const double c = r->quarters < 0 ? inverse[0] : cosine[r->quarters];
    const double s = r->quarters < 0 ? inverse[1] : sine[r->quarters];
    const double x = (double)im->w * 0.5 + inverse[2], y = (double)im->h * 0.5 + inverse[5];
    const double matrix[9] = {
        c, -s, (double)r->w * 0.5 - (c * x - s * y), s, c, (double)r->h * 0.5 - (s * x + c * y), 0, 0, 1};
    memcpy(g, matrix, sizeof matrix);
}

static int32_t apply(const void *self, const double *params, cvr_sample *s, cvr_error *err) {
    const random_rotation_attrs *const a = self;
    rotation r = {.a = a};
    image_motion m = {.how = &r, .pixels = rotate_pixels, .box = rotate_box, .mask_fill = a->mask_fill};
    image im;
    double inverse[6], angle = fmod(params[0], 360);
    CVR_TRY(image_get(s, &im, NULL, err));
    if (angle < 0) angle += 360;
    r.quarters = quarters_of(a, &im, angle);
    r.h = r.quarters == 1 || r.quarters == 3 ? im.w : im.h;
    r.w = r.quarters == 1 || r.quarters == 3 ? im.h : im.w;
    inverse_matrix(a, &im, angle, inverse);
    for (int i = 0; i < 6; i++) r.inverse[i] = (float)inverse[i];
    if (r.quarters < 0 && a->expand) {
        const float half_w = 0.5f * (float)im.w, half_h = 0.5f * (float)im.h;
        r.w = reach(half_w, half_h, half_w, r.inverse[0], r.inverse[1], r.inverse[2]);
        r.h = reach(half_w, half_h, half_h, r.inverse[3], r.inverse[4], r.inverse[5]);
    }
    forward_matrix(a, &im, params[0], r.forward);
    geometry_of(&im, &r, inverse, m.matrix);
    return image_move(s, &m, err);
}

static const cvr_attr_desc *const schema[] = {
    CVR_ATTR(FLOATS, "degrees", NULL, "a number d for -d..d, or min,max", .count = 2, .flags = CVR_ATTR_POSITIONAL),
    CVR_ATTR(CHOICE, "interpolation", "nearest", "how pixels are found between pixels", .choices = INTERPOLATION_MODES),
    CVR_ATTR(BOOL, "expand", "no", "make the picture large enough to hold all of the turned one"),
    CVR_ATTR(FLOATS, "center", "", "x,y in pixels; empty: the middle", .count = 2),
    &image_attr_fill,
    &image_attr_mask_fill,
    CVR_ATTR(FLOAT, "p", "1", "probability", CVR_ATTR_BETWEEN(0, 1)),
};

const cvr_augment_desc transform_random_rotation = {
    .struct_size = sizeof transform_random_rotation,
    .name = "random_rotation",
    .doc = "Turned by a random angle",
    .n_attrs = sizeof schema / sizeof schema[0],
    .n_params = 1,
    .attrs = schema,
    .stage = CVR_STAGE_SAMPLE,
    .n_kinds = IMAGE_N_MOVED,
    .kinds = image_moved,
    .moves = 1,
    .check = check,
    .make_params = make_params,
    .apply = apply,
};
