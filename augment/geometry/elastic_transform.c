/*
 * elastic_transform (torchvision v2 ElasticTransform; Simard et al., "Best Practices for Convolutional Neural Networks
 * Applied to Visual Document Analysis", 2003): every pixel moves by blurred noise. params: [0] and [1] the key of the
 * noise, low and high 32 bits; stream 0 moves along x, 1 along y, a number a pixel, row by row.
 */
#include "../image_blur.h"
#include "../image_move.h"
#include "../image_warp.h"
#include "../transforms.h"
#include <math.h>

typedef struct pair_attr {
    int64_t n;
    double x[2]; /* along x and y */
} pair_attr;

typedef struct elastic_transform_attrs {
    pair_attr alpha, sigma;
    int64_t interpolation;
    fill_attr fill;
    int64_t mask_fill;
} elastic_transform_attrs;

static int32_t check(const void *self, cvr_error *err) {
    const elastic_transform_attrs *const a = self;
    if (a->alpha.n < 1 || a->sigma.n < 1)
        return cvr_fail(err, CVR_ERR_USAGE, "elastic_transform: alpha and sigma take one number, or two, for x and y");
    if ((a->sigma.x[0] > 0) != (a->sigma.x[a->sigma.n - 1] > 0))
        return cvr_fail(err, CVR_ERR_USAGE, "elastic_transform: sigma is above 0 for both, x and y, or 0 for both");
    return image_fill_given(&a->fill, "elastic_transform", err);
}

static int32_t make_params(const void *self, const cvr_sample *s, cvr_rng *rng, double *params, cvr_error *err) {
    (void)self, (void)s, (void)err;
    params[0] = cvr_rng_u32(rng);
    params[1] = cvr_rng_u32(rng);
    return CVR_OK;
}

typedef struct elastic {
    const elastic_transform_attrs *a;
    int64_t w, h;
    image along[2]; /* (H, W) f32: how far pixels move along x and y, in the grid's -1..1 */
} elastic;

static double axis_of(const pair_attr *p, int axis) {
    return p->x[p->n == 1 ? 0 : axis];
}

/* Noise in -1..1, blurred, times alpha. */
static int32_t displacement(const elastic *e, cvr_sample *s, uint64_t key, int axis, image *out, cvr_error *err) {
    const image like = {.dtype = CVR_F32};
    const double sigma[2] = {axis_of(&e->a->sigma, 0), axis_of(&e->a->sigma, 1)};
    const int64_t size = (int64_t)(8 * sigma[axis] + 1) / 2 * 2 + 1;
    const image_blur blur = {{size, size}, {sigma[0], sigma[1]}, "elastic_transform"};
    const float alpha = (float)axis_of(&e->a->alpha, axis), side = (float)(axis ? e->h : e->w);
    image noise;
    cvr_rng rng;
    CVR_TRY(image_new(s, &like, e->h, e->w, 1, &noise, err));
    cvr_rng_start(&rng, key, (uint64_t)axis);
    float *x = noise.data;
    for (int64_t i = 0; i < e->h * e->w; i++) x[i] = (float)cvr_rng_uniform(&rng) * 2 - 1;
    *out = noise;
    if (sigma[axis] > 0) CVR_TRY(image_blur_run(s, &blur, &noise, out, err));
    x = out->data;
    for (int64_t i = 0; i < e->h * e->w; i++) x[i] = x[i] * alpha / side;
    return CVR_OK;
}

/* Pixel `i` of a side in the grid's -1..1, moved by `by`; and back in pixels. */
static float moved(int64_t i, int64_t side, float by) {
    const float at = (float)(2 * i + 1 - side) / (float)side;
    return ((at + by + 1) * (float)side - 1) / 2;
}

static void elastic_row(const void *how, int64_t y, int64_t w, float *sx, float *sy) {
    const elastic *const e = how;
    const float *const dx = (const float *)e->along[0].data + y * w, *const dy =
                                                                         (const float *)e->along[1].data + y * w;
    for (int64_t x = 0; x < w; x++) {
        sx[x] = moved(x, e->w, dx[x]);
        sy[x] = moved(y, e->h, dy[x]);
    }
}

static int32_t elastic_pixels(const void *how, cvr_sample *s, const image *im, const fill_attr *classes, image *out,
                              cvr_error *err) {
    const elastic *const e = how;
    const image_warp warp = {e, elastic_row, classes ? INTERPOLATION_NEAREST : e->a->interpolation,
                             classes ? classes : &e->a->fill};
    if (!classes) CVR_TRY(image_check_fill(im, &e->a->fill, err));
    CVR_TRY(image_new(s, im, im->h, im->w, im->c, out, err));
    return image_warp_run(s, &warp, im, out, err);
}

static int64_t held(float x, int64_t side) {
    return x < 0 ? 0 : x > (float)(side - 1) ? side - 1 : (int64_t)x;
}

/* Around the corners, each moved by the reverse of what its pixel moves by: as torchvision, an approximation. */
static void elastic_box(const void *how, float *box) {
    const elastic *const e = how;
    float lo[2] = {INFINITY, INFINITY}, hi[2] = {-INFINITY, -INFINITY};
    for (int i = 0; i < 4; i++) {
        const int64_t x = held(ceilf(box[i % 2 * 2]), e->w), y = held(ceilf(box[i / 2 * 2 + 1]), e->h);
        for (int k = 0; k < 2; k++) {
            const float by = ((const float *)e->along[k].data)[y * e->w + x];
            const float v = moved(k ? y : x, k ? e->h : e->w, -by);
            lo[k] = fminf(lo[k], v);
            hi[k] = fmaxf(hi[k], v);
        }
    }
    for (int k = 0; k < 2; k++) {
        box[k] = image_clamp(lo[k], k ? e->h : e->w);
        box[k + 2] = image_clamp(hi[k], k ? e->h : e->w);
    }
}

/* No matrix says how pixels moved: the sample's geometry stays, right up to some pixels. */
static int32_t apply(const void *self, const double *params, cvr_sample *s, cvr_error *err) {
    const uint64_t key = (uint64_t)params[0] | (uint64_t)params[1] << 32;
    elastic how = {.a = self};
    const image_motion m = {.how = &how,
                            .pixels = elastic_pixels,
                            .box = elastic_box,
                            .mask_fill = how.a->mask_fill,
                            .matrix = {1, 0, 0, 0, 1, 0, 0, 0, 1}};
    image im;
    CVR_TRY(image_get(s, &im, NULL, err));
    how.w = im.w;
    how.h = im.h;
    for (int k = 0; k < 2; k++) CVR_TRY(displacement(&how, s, key, k, &how.along[k], err));
    return image_move(s, &m, err);
}

static const cvr_attr_desc *const schema[] = {
    CVR_ATTR(FLOATS, "alpha", "50", "how far pixels move: a number, or one for x and one for y", .count = 2,
             CVR_ATTR_AT_LEAST(0)),
    CVR_ATTR(FLOATS, "sigma", "5",
             "how smooth the motion is, in pixels: a number, or one for x and one for y; 0: noise", .count = 2,
             CVR_ATTR_BETWEEN(0, 100)),
    CVR_ATTR(CHOICE, "interpolation", "bilinear", "how pixels are found between pixels",
             .choices = INTERPOLATION_MODES),
    &image_attr_fill,
    &image_attr_mask_fill,
};

const cvr_augment_desc transform_elastic_transform = {
    .struct_size = sizeof transform_elastic_transform,
    .name = "elastic_transform",
    .doc = "Pixels moved by smooth noise, as seen through water",
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
};
