/*
 * The ops of the policies, made of what random_affine and the transforms of colour are made of (torchvision v2
 * _apply_image_or_video_transform).
 */
#include "auto_ops.h"
#include "../colour/adjust.h"
#include <math.h>

#define DEGREES (180 / 3.14159265358979323846)

/* ---- geometry ---- */

/* The papers shear about the corner, by a slope. */
static void shear(image_affine *a, int axis, double slope) {
    a->center[0] = a->center[1] = 0;
    a->shear[axis] = atan(slope) * DEGREES;
}

static void shear_x(image_affine *a, double m) {
    shear(a, 0, m);
}

static void shear_y(image_affine *a, double m) {
    shear(a, 1, m);
}

static void translate_x(image_affine *a, double m) {
    a->translate[0] = trunc(m);
}

static void translate_y(image_affine *a, double m) {
    a->translate[1] = trunc(m);
}

/* Anticlockwise, as random_rotation. */
static void rotate(image_affine *a, double m) {
    a->angle = -m;
}

/* ---- colour ---- */

static int32_t brightness(cvr_sample *s, const image *im, double m, cvr_error *err) {
    (void)s, (void)err;
    adjust_brightness(im, 1 + m);
    return CVR_OK;
}

static int32_t color(cvr_sample *s, const image *im, double m, cvr_error *err) {
    (void)s, (void)err;
    adjust_saturation(im, 1 + m);
    return CVR_OK;
}

static int32_t contrast(cvr_sample *s, const image *im, double m, cvr_error *err) {
    (void)s, (void)err;
    adjust_contrast(im, 1 + m);
    return CVR_OK;
}

static int32_t sharpness(cvr_sample *s, const image *im, double m, cvr_error *err) {
    return adjust_sharpness(s, im, 1 + m, err);
}

static int32_t posterize(cvr_sample *s, const image *im, double m, cvr_error *err) {
    (void)s, (void)err;
    levels_posterize(im, (int64_t)m);
    return CVR_OK;
}

static int32_t solarize(cvr_sample *s, const image *im, double m, cvr_error *err) {
    (void)s, (void)err;
    levels_solarize(im, im->dtype == CVR_U8 ? 255 * m : m);
    return CVR_OK;
}

static int32_t autocontrast(cvr_sample *s, const image *im, double m, cvr_error *err) {
    (void)s, (void)m, (void)err;
    levels_autocontrast(im);
    return CVR_OK;
}

static int32_t equalize(cvr_sample *s, const image *im, double m, cvr_error *err) {
    (void)s, (void)m, (void)err;
    levels_equalize(im);
    return CVR_OK;
}

static int32_t invert(cvr_sample *s, const image *im, double m, cvr_error *err) {
    (void)s, (void)m, (void)err;
    levels_invert(im);
    return CVR_OK;
}

const auto_op auto_identity = {NULL, NULL};
const auto_op auto_shear_x = {.affine = shear_x}, auto_shear_y = {.affine = shear_y};
const auto_op auto_translate_x = {.affine = translate_x}, auto_translate_y = {.affine = translate_y};
const auto_op auto_rotate = {.affine = rotate};
const auto_op auto_brightness = {.colour = brightness}, auto_color = {.colour = color};
const auto_op auto_contrast = {.colour = contrast}, auto_sharpness = {.colour = sharpness};
const auto_op auto_posterize = {.colour = posterize}, auto_solarize = {.colour = solarize};
const auto_op auto_autocontrast = {.colour = autocontrast}, auto_equalize = {.colour = equalize};
const auto_op auto_invert = {.colour = invert};

/* ---- choices ---- */

const cvr_attr_desc auto_fill_attr = CVR_ATTR_INIT(
    FLOATS, "fill", "", "what lies outside the picture; one number, or one a channel; empty: black", .count = 4);

double auto_choose(const auto_space *space, int64_t op, int64_t bin, cvr_rng *rng) {
    const auto_entry *const e = &space->entries[op];
    const double choice = (double)(1 + op * space->bins + (e->kind == AUTO_NONE ? 0 : bin));
    return e->is_signed && draw_chance(rng, 0.5) ? -choice : choice;
}

double auto_draw(const auto_space *space, int64_t bin, cvr_rng *rng) {
    const int64_t op = (int64_t)cvr_rng_below(rng, (uint64_t)space->n);
    return auto_choose(space, op, bin < 0 ? (int64_t)cvr_rng_below(rng, (uint64_t)-bin) : bin, rng);
}

/* The entry that a choice names, and its magnitude; NULL for nothing. */
static const auto_entry *chosen(const auto_space *space, double choice, const image *im, double *magnitude) {
    const int64_t code = (int64_t)fabs(choice) - 1;
    if (code < 0 || code / space->bins >= space->n) return NULL;
    const auto_entry *const e = &space->entries[code / space->bins];
    const double m = auto_magnitude(e, code % space->bins, space->bins, im);
    *magnitude = choice < 0 ? -m : m;
    return e;
}

static int32_t look_affine(cvr_sample *s, const auto_look *look, const image_affine *a, const image *im, image *out,
                           cvr_error *err) {
    if (look->fill.n) CVR_TRY(image_check_fill(im, &look->fill, err));
    return image_affine_pixels(s, a, look->interpolation, &look->fill, im, out, err);
}

int32_t auto_do(cvr_sample *s, const auto_space *space, const auto_look *look, double choice, image *im,
                cvr_error *err) {
    const image was = *im;
    double m = 0;
    const auto_entry *const e = chosen(space, choice, &was, &m);
    if (e && e->op->affine) {
        image_affine a = image_affine_none(&was);
        e->op->affine(&a, m);
        return look_affine(s, look, &a, &was, im, err);
    }
    if (!e || !e->op->colour) return CVR_OK;
    CVR_TRY(image_new(s, &was, was.h, was.w, was.c, im, err));
    memcpy(im->data, was.data, image_pixel_bytes(&was) * (uint64_t)(was.h * was.w));
    return e->op->colour(s, im, m, err);
}

/* Tells the sample how its points moved. */
static void tell_moved(cvr_sample *s, const auto_space *space, double choice, const image *im) {
    double m = 0, matrix[9];
    const auto_entry *const e = chosen(space, choice, im, &m);
    if (!e || !e->op->affine) return;
    image_affine a = image_affine_none(im);
    e->op->affine(&a, m);
    image_affine_forward(&a, matrix);
    cvr_sample_moved(s, matrix);
}

int32_t auto_do_all(cvr_sample *s, const auto_space *space, const auto_look *look, const double *choices, int64_t n,
                    cvr_error *err) {
    image im;
    cvr_field *field = NULL;
    CVR_TRY(image_get(s, &im, &field, err));
    CVR_TRY(adjust_check_channels(&im, "a policy", err));
    for (int64_t i = 0; i < n; i++) {
        tell_moved(s, space, choices[i], &im);
        CVR_TRY(auto_do(s, space, look, choices[i], &im, err));
    }
    image_set(field, &im);
    return CVR_OK;
}
