/*
 * random_affine (torchvision v2 RandomAffine). params: [0] angle, [1] and [2] translation along x and y in pixels, [3]
 * scale, [4] and [5] shear along x and y; angles in degrees.
 */
#include "../image_move.h"
#include "../image_warp.h"
#include "../transforms.h"
#include <math.h>

typedef struct pair_attr {
    int64_t n;
    double x[2];
} pair_attr;

typedef struct random_affine_attrs {
    pair_attr degrees, translate, scale;
    struct {
        int64_t n; /* 1: -x..x along x; 2: min,max along x; 4: and along y */
        double x[4];
    } shear;
    int64_t interpolation;
    fill_attr fill;
    pair_attr center;
    int64_t mask_fill;
} random_affine_attrs;

static int32_t is_range(int64_t n, const double *x) {
    return n == 1 ? x[0] >= 0 : n == 2 && x[0] <= x[1];
}

static int32_t check(const void *self, cvr_error *err) {
    const random_affine_attrs *const a = self;
    if (!is_range(a->degrees.n, a->degrees.x))
        return cvr_fail(err, CVR_ERR_USAGE, "random_affine: degrees is one number from 0 on, or min,max");
    if (a->translate.n && (a->translate.n != 2 || a->translate.x[0] > 1 || a->translate.x[1] > 1))
        return cvr_fail(err, CVR_ERR_USAGE, "random_affine: translate is two shares of width and height, 0 to 1");
    if (a->scale.n && (a->scale.n != 2 || a->scale.x[0] <= 0 || a->scale.x[0] > a->scale.x[1]))
        return cvr_fail(err, CVR_ERR_USAGE, "random_affine: scale is min,max, above 0");
    if (a->shear.n && !is_range(a->shear.n == 4 ? 2 : a->shear.n, a->shear.x))
        return cvr_fail(err, CVR_ERR_USAGE,
                        "random_affine: shear is one number from 0 on, min,max, or min,max for y too");
    if (a->shear.n == 4 && a->shear.x[2] > a->shear.x[3])
        return cvr_fail(err, CVR_ERR_USAGE, "random_affine: shear along y from %g to %g", a->shear.x[2], a->shear.x[3]);
    if (a->center.n == 1) return cvr_fail(err, CVR_ERR_USAGE, "random_affine: center takes two numbers, x,y");
    return image_fill_given(&a->fill, "random_affine", err);
}

/* From -x..x for one number, else from min..max. */
static double draw_range(cvr_rng *rng, int64_t n, const double *x) {
    return n == 1 ? draw_between(rng, -x[0], x[0]) : draw_between(rng, x[0], x[1]);
}

static int32_t make_params(const void *self, const cvr_sample *s, cvr_rng *rng, double *params, cvr_error *err) {
    const random_affine_attrs *const a = self;
    image im;
    CVR_TRY(image_get(s, &im, NULL, err));
    params[0] = draw_range(rng, a->degrees.n, a->degrees.x);
    for (int k = 0; k < 2; k++) {
        const double most = a->translate.x[k] * (double)(k ? im.h : im.w);
        params[1 + k] = a->translate.n ? rint(draw_between(rng, -most, most)) : 0;
    }
    params[3] = a->scale.n ? draw_between(rng, a->scale.x[0], a->scale.x[1]) : 1;
    params[4] = a->shear.n ? draw_range(rng, a->shear.n, a->shear.x) : 0;
    params[5] = a->shear.n == 4 ? draw_between(rng, a->shear.x[2], a->shear.x[3]) : 0;
    return CVR_OK;
}

typedef struct affine_motion {
    const random_affine_attrs *a;
    image_affine affine;
    float forward[9];
    int64_t w, h;
} affine_motion;

static int32_t affine_pixels(const void *how, cvr_sample *s, const image *im, const fill_attr *classes, image *out,
                             cvr_error *err) {
    const affine_motion *const m = how;
    if (!classes) CVR_TRY(image_check_fill(im, &m->a->fill, err));
    return image_affine_pixels(s, &m->affine, classes ? INTERPOLATION_NEAREST : m->a->interpolation,
                               classes ? classes : &m->a->fill, im, out, err);
}

static void affine_box(const void *how, float *box) {
    const affine_motion *const m = how;
    image_warp_box(m->forward, m->w, m->h, box);
}

static int32_t apply(const void *self, const double *params, cvr_sample *s, cvr_error *err) {
    const random_affine_attrs *const a = self;
    affine_motion how = {.a = a};
    image_motion m = {.how = &how, .pixels = affine_pixels, .box = affine_box, .mask_fill = a->mask_fill};
    image im;
    CVR_TRY(image_get(s, &im, NULL, err));
    how.w = im.w;
    how.h = im.h;
    how.affine = image_affine_none(&im);
    how.affine.angle = params[0];
    how.affine.scale = params[3];
    for (int k = 0; k < 2; k++) {
        how.affine.translate[k] = params[1 + k];
        how.affine.shear[k] = params[4 + k];
        if (a->center.n) how.affine.center[k] = a->center.x[k];
    }
    image_affine_forward(&how.affine, m.matrix);
    for (int i = 0; i < 9; i++) how.forward[i] = (float)m.matrix[i];
    return image_move(s, &m, err);
}

static const cvr_attr_desc *const schema[] = {
    CVR_ATTR(FLOATS, "degrees", NULL, "a number d for -d..d, or min,max; 0: not turned", .count = 2,
             .flags = CVR_ATTR_POSITIONAL),
    CVR_ATTR(FLOATS, "translate", "", "most shift along x and y, as shares of width and height; empty: none",
             .count = 2, CVR_ATTR_AT_LEAST(0)),
    CVR_ATTR(FLOATS, "scale", "", "min,max; empty: as it is", .count = 2, CVR_ATTR_AT_LEAST(0)),
    CVR_ATTR(FLOATS, "shear", "", "degrees: x for -x..x along x, or min,max, or both for x and y; empty: none",
             .count = 4, CVR_ATTR_BETWEEN(-89, 89)),
    CVR_ATTR(CHOICE, "interpolation", "nearest", "how pixels are found between pixels", .choices = INTERPOLATION_MODES),
    &image_attr_fill,
    CVR_ATTR(FLOATS, "center", "", "x,y in pixels; empty: the middle", .count = 2),
    &image_attr_mask_fill,
};

const cvr_augment_desc transform_random_affine = {
    .struct_size = sizeof transform_random_affine,
    .name = "random_affine",
    .doc = "Turned, shifted, scaled and sheared at random",
    .n_attrs = sizeof schema / sizeof schema[0],
    .n_params = 6,
    .attrs = schema,
    .stage = CVR_STAGE_SAMPLE,
    .n_kinds = IMAGE_N_MOVED,
    .kinds = image_moved,
    .moves = 1,
    .check = check,
    .make_params = make_params,
    .apply = apply,
};
