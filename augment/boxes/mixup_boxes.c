/*
 * mixup_boxes (Zhang et al., "mixup", 2018, for detectors as YOLOX has it): the mean of the picture and of another one
 * of the data, brought to this one's size, scaled, mirrored by coin and cut out at random; the objects of both. The
 * other comes as the data has it, without mosaic. A picture without objects stays as it is, and so does one whose
 * partner has none. params: [0] 1 where it is done, [1] scale, [2] 1: mirrored, [3] and [4] where the cut begins, as
 * shares of the room that there is along y and x.
 */
#include "../image_kernels.h"
#include "../transforms.h"
#include "canvas.h"

typedef struct mixup_attrs {
    double p, scale[2];
    fill_attr fill;
} mixup_attrs;

static int32_t check(const void *self, cvr_error *err) {
    const mixup_attrs *const a = self;
    CVR_TRY(canvas_check_scale(a->scale, "mixup_boxes", err));
    return image_fill_given(&a->fill, "mixup_boxes", err);
}

static int32_t make_params(const void *self, const cvr_sample *s, cvr_rng *rng, double *params, cvr_error *err) {
    const mixup_attrs *const a = self;
    const cvr_field *const boxes = cvr_sample_find(s, CVR_FIELD_BOXES);
    (void)err;
    params[0] = draw_chance(rng, a->p) && boxes && boxes->shape[0] > 0;
    params[1] = draw_between(rng, a->scale[0], a->scale[1]);
    params[2] = draw_chance(rng, 0.5);
    params[3] = cvr_rng_uniform(rng);
    params[4] = cvr_rng_uniform(rng);
    return CVR_OK;
}

static int32_t alone(const void *self, const double *params) {
    (void)self;
    return params[0] == 0;
}

/* ---- the other picture ---- */

/* Fitted into h x w at the top left of a canvas, which is made jitter times as large, h2 x w2, mirrored, and seen from
 * (top, left) on. */
typedef struct partner {
    const mixup_attrs *a;
    canvas_fit fit;
    int64_t h, w, h2, w2, top, left;
    int32_t mirrored;
    double scale;
} partner;

/* Where a cut of `n` begins in `all` of a side. */
static int64_t cut_at(int64_t all, int64_t n, double share) {
    return all > n ? (int64_t)(share * (double)(all - n)) : 0;
}

static partner partner_of(const mixup_attrs *a, const double *params, const image *to, const image *from) {
    partner p = {.a = a, .fit = canvas_fit_of(from, to->h, to->w, 0), .h = to->h, .w = to->w};
    p.h2 = canvas_side((double)to->h * params[1]);
    p.w2 = canvas_side((double)to->w * params[1]);
    p.scale = p.fit.scale * params[1];
    p.mirrored = params[2] != 0;
    p.top = cut_at(p.h2, p.h, params[3]);
    p.left = cut_at(p.w2, p.w, params[4]);
    return p;
}

/* In new memory: what is resized to its own size still is the data set's. */
static int32_t mirror(cvr_sample *s, const image *im, image *out, cvr_error *err) {
    const image_kernels *const k = image_kernels_best();
    const uint64_t size = cvr_dtype_size(im->dtype);
    CVR_TRY(image_new(s, im, im->h, im->w, im->c, out, err));
    for (int64_t y = 0; y < im->h; y++)
        k->reverse((uint8_t *)out->data + (uint64_t)(y * out->row) * size,
                   (const uint8_t *)im->data + (uint64_t)(y * im->row) * size, im->w, image_pixel_bytes(im));
    return CVR_OK;
}

/* What lies outside of the scaled canvas is black, as in YOLOX. */
static int32_t partner_pixels(const void *how, cvr_sample *s, const image *im, const fill_attr *classes, image *out,
                              cvr_error *err) {
    static const fill_attr black = {1, {0}};
    const partner *const p = how;
    const int64_t interpolation = classes ? INTERPOLATION_NEAREST : INTERPOLATION_BILINEAR;
    const canvas_place first = {p->h, p->w, 0, 0, classes ? classes : &p->a->fill},
                       last = {p->h, p->w, 0, 0, classes ? classes : &black};
    image fitted, canvas, scaled, turned;
    CVR_TRY(canvas_resize(s, im, p->fit.h, p->fit.w, interpolation, 0, &fitted, err));
    CVR_TRY(canvas_put(s, &fitted, &first, &canvas, err));
    CVR_TRY(canvas_resize(s, &canvas, p->h2, p->w2, interpolation, 0, &scaled, err));
    turned = scaled;
    if (p->mirrored) CVR_TRY(mirror(s, &scaled, &turned, err));
    const int64_t h = p->h2 < p->h ? p->h2 : p->h, w = p->w2 < p->w ? p->w2 : p->w;
    const image seen = image_part(&turned, p->top, p->left, h, w);
    return canvas_put(s, &seen, &last, out, err);
}

static void partner_box(const void *how, float *box) {
    const partner *const p = how;
    const int64_t all[2] = {p->w2, p->h2}, at[2] = {p->left, p->top}, side[2] = {p->w, p->h};
    for (int i = 0; i < 4; i++) box[i] = image_clamp((float)((double)box[i] * p->scale), all[i % 2]);
    if (p->mirrored) {
        const float right = box[2];
        box[2] = (float)p->w2 - box[0];
        box[0] = (float)p->w2 - right;
    }
    for (int i = 0; i < 4; i++) box[i] = image_clamp(box[i] - (float)at[i % 2], side[i % 2]);
}

static int32_t bring(const partner *p, cvr_sample *s, cvr_error *err) {
    const double sx = p->mirrored ? -p->scale : p->scale;
    const image_motion m = {
        .how = p,
        .pixels = partner_pixels,
        .box = partner_box,
        .matrix = {sx, 0, (double)((p->mirrored ? p->w2 : 0) - p->left), 0, p->scale, -(double)p->top, 0, 0, 1},
    };
    return image_move(s, &m, err);
}

/* ---- both ---- */

/* Both dense and of one size. Half levels are cut off, as in YOLOX. */
static void blend(const image *to, const image *from) {
    const int64_t n = to->h * to->w * to->c;
    if (to->dtype == CVR_U8) {
        uint8_t *const t = to->data;
        const uint8_t *const f = from->data;
        for (int64_t i = 0; i < n; i++) t[i] = (uint8_t)((t[i] + f[i]) / 2);
    } else {
        float *const t = to->data;
        const float *const f = from->data;
        for (int64_t i = 0; i < n; i++) t[i] = 0.5f * t[i] + 0.5f * f[i];
    }
}

static int32_t apply_many(const void *self, const double *params, cvr_sample *const *samples, uint32_t n,
                          cvr_error *err) {
    image to, from;
    box_rows theirs;
    if (n < 2 || params[0] == 0) return CVR_OK;
    CVR_TRY(box_rows_get(samples[1], "mixup_boxes", &theirs, err));
    if (theirs.n == 0) return CVR_OK;
    CVR_TRY(image_get(samples[0], &to, NULL, err));
    CVR_TRY(image_get(samples[1], &from, NULL, err));
    CVR_TRY(canvas_check_alike(&to, &from, "mixup_boxes", err));
    const partner p = partner_of(self, params, &to, &from);
    CVR_TRY(bring(&p, samples[1], err));
    CVR_TRY(image_get(samples[1], &from, NULL, err));
    CVR_TRY(image_own(samples[0], &to, err));
    blend(&to, &from);
    CVR_TRY(canvas_join_objects(samples[0], samples[1], "mixup_boxes", err));
    return box_rows_drop_empty(samples[0], err);
}

static const cvr_attr_desc *const schema[] = {
    CVR_ATTR(FLOAT, "p", "1", "probability", CVR_ATTR_BETWEEN(0, 1)),
    CVR_ATTR(FLOAT, "scale", "0.5,1.5", "what the other picture's sides are multiplied with, min,max", .count = 2,
             CVR_ATTR_BETWEEN(0, 10)),
    CVR_ATTR(FLOATS, "fill", "114", "what lies beside the other picture; one number, or one a channel", .count = 4),
};

const cvr_augment_desc transform_mixup_boxes = {
    .struct_size = sizeof transform_mixup_boxes,
    .name = "mixup_boxes",
    .doc = "The mean of two pictures, with the objects of both",
    .n_attrs = sizeof schema / sizeof schema[0],
    .n_params = 5,
    .attrs = schema,
    .stage = CVR_STAGE_SAMPLE,
    .n_samples = 2,
    .multiplies = 2,
    .n_kinds = CANVAS_N_JOINED,
    .kinds = canvas_joined,
    .moves = 1,
    .check = check,
    .make_params = make_params,
    .apply_many = apply_many,
    .alone = alone,
    .closes = 1,
    .fresh = 1,
};
