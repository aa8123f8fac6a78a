/*
 * Looking pixels up, in float, with the roundings of torchvision's grids: they decide which pixel is the nearest.
 */
#include "image_warp.h"
#include <math.h>

#define PI 3.14159265358979323846
#define MOST_CHANNELS 64

static int32_t inside(const image *im, int64_t x, int64_t y) {
    return x >= 0 && y >= 0 && x < im->w && y < im->h;
}

static float value_at(const image *im, int64_t i) {
    return im->dtype == CVR_U8 ? (float)((const uint8_t *)im->data)[i] : ((const float *)im->data)[i];
}

/* Element i of `out`. */
static void put(const image *out, int64_t i, float v) {
    if (out->dtype == CVR_U8)
        ((uint8_t *)out->data)[i] = (uint8_t)rintf(v);
    else
        ((float *)out->data)[i] = v;
}

/* A place that no picture reaches, or that is not a number, is outside; the cast to a whole number stays defined. */
static int32_t is_far(float x, float y) {
    return !(fabsf(x) < 1e9f && fabsf(y) < 1e9f);
}

/* `at`: element of `out` where the row begins */
static void nearest_row(const image *im, const image *out, int64_t at, const float *sx, const float *sy,
                        const float *fill) {
    for (int64_t x = 0; x < out->w; x++, at += out->c) {
        const int64_t ix = is_far(sx[x], sy[x]) ? -1 : (int64_t)rintf(sx[x]);
        const int64_t iy = ix < 0 ? -1 : (int64_t)rintf(sy[x]);
        const int32_t in = inside(im, ix, iy);
        const int64_t from = iy * im->row + ix * im->c;
        for (int64_t c = 0; c < out->c; c++) put(out, at + c, in ? value_at(im, from + c) : fill[c]);
    }
}

/*
 * torchvision samples the picture and a mask of ones, both with zeros outside, and gives mask * (value - fill) + fill;
 * without a fill it is the value alone.
 */
static void bilinear_row(const image *im, const image *out, int64_t at, const float *sx, const float *sy,
                         const float *fill, int32_t filled) {
    for (int64_t x = 0; x < out->w; x++, at += out->c) {
        const int32_t far = is_far(sx[x], sy[x]);
        const float fx = far ? -2 : floorf(sx[x]), fy = far ? -2 : floorf(sy[x]);
        const float dx = far ? 0 : sx[x] - fx, dy = far ? 0 : sy[x] - fy;
        const float w[4] = {(1 - dx) * (1 - dy), dx * (1 - dy), (1 - dx) * dy, dx * dy};
        int64_t from[4];
        float mask = 0;
        for (int k = 0; k < 4; k++) {
            const int64_t px = (int64_t)fx + k % 2, py = (int64_t)fy + k / 2;
            from[k] = inside(im, px, py) ? py * im->row + px * im->c : -1;
            if (from[k] >= 0) mask += w[k];
        }
        for (int64_t c = 0; c < out->c; c++) {
            float value = 0;
            for (int k = 0; k < 4; k++)
                if (from[k] >= 0) value += w[k] * value_at(im, from[k] + c);
            put(out, at + c, filled ? mask * (value - fill[c]) + fill[c] : value);
        }
    }
}

int32_t image_warp_run(cvr_sample *s, const image_warp *w, const image *im, const image *out, cvr_error *err) {
    float fill[MOST_CHANNELS];
    if (out->c > MOST_CHANNELS)
        return cvr_fail(err, CVR_ERR_UNSUPPORTED, "a picture of %lld channels; at most %d can be warped",
                        (long long)out->c, MOST_CHANNELS);
    for (int64_t c = 0; c < out->c; c++) fill[c] = w->fill->n ? (float)image_fill_of(w->fill, c) : 0;
    float *const places = s->alloc(s, 2 * (uint64_t)out->w * sizeof *places);
    if (!places) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory for a row of %lld pixels", (long long)out->w);
    float *const sx = places, *const sy = places + out->w;
    for (int64_t y = 0; y < out->h; y++) {
        w->row(w->how, y, out->w, sx, sy);
        if (w->interpolation == INTERPOLATION_NEAREST)
            nearest_row(im, out, y * out->row, sx, sy, fill);
        else
            bilinear_row(im, out, y * out->row, sx, sy, fill, w->fill->n > 0);
    }
    return CVR_OK;
}

/* The grid in -1..1, then in pixels: the roundings of the original are part of the result. */
void image_affine_row(const void *grid, int64_t y, int64_t w, float *sx, float *sy) {
    const image_affine_grid *const g = grid;
    const float half_w = (float)(0.5 * (double)g->in_w), half_h = (float)(0.5 * (double)g->in_h);
    const float m[6] = {g->m[0] / half_w, g->m[1] / half_w, g->m[2] / half_w,
                        g->m[3] / half_h, g->m[4] / half_h, g->m[5] / half_h};
    const float by = (float)y - (float)(g->out_h - 1) * 0.5f, middle = (float)(g->out_w - 1) * 0.5f;
    for (int64_t x = 0; x < w; x++) {
        const float bx = (float)x - middle;
        const float gx = bx * m[0] + by * m[1] + m[2], gy = bx * m[3] + by * m[4] + m[5];
        sx[x] = ((gx + 1) * (float)g->in_w - 1) / 2;
        sy[x] = ((gy + 1) * (float)g->in_h - 1) / 2;
    }
}

image_affine image_affine_none(const image *im) {
    return (image_affine){.scale = 1, .center = {(double)im->w * 0.5, (double)im->h * 0.5}};
}

/* Rotation and shears as one 2x2 matrix of determinant 1: R(angle) SHy(shear[1]) SHx(shear[0]). */
static void turn_and_shear(const image_affine *a, double m[4]) {
    const double r = a->angle * (PI / 180), sx = a->shear[0] * (PI / 180), sy = a->shear[1] * (PI / 180);
    m[0] = cos(r - sy) / cos(sy);
    m[1] = -cos(r - sy) * tan(sx) / cos(sy) - sin(r);
    m[2] = sin(r - sy) / cos(sy);
    m[3] = -sin(r - sy) * tan(sx) / cos(sy) + cos(r);
}

void image_affine_inverse(const image_affine *a, const image *im, float m[6]) {
    const double cx = a->center[0] - (double)im->w * 0.5, cy = a->center[1] - (double)im->h * 0.5;
    double t[4];
    turn_and_shear(a, t);
    const double i[4] = {t[3] / a->scale, -t[1] / a->scale, -t[2] / a->scale, t[0] / a->scale};
    const double x = -cx - a->translate[0], y = -cy - a->translate[1];
    const double inverse[6] = {i[0], i[1], i[0] * x + i[1] * y + cx, i[2], i[3], i[2] * x + i[3] * y + cy};
    for (int k = 0; k < 6; k++) m[k] = (float)inverse[k];
}

void image_affine_forward(const image_affine *a, double m[9]) {
    const double cx = a->center[0], cy = a->center[1];
    double t[4];
    turn_and_shear(a, t);
    for (int k = 0; k < 4; k++) t[k] *= a->scale;
    const double forward[9] = {t[0], t[1], -t[0] * cx - t[1] * cy + cx + a->translate[0],
                               t[2], t[3], -t[2] * cx - t[3] * cy + cy + a->translate[1],
                               0,    0,    1};
    memcpy(m, forward, sizeof forward);
}

int32_t image_affine_pixels(cvr_sample *s, const image_affine *a, int64_t interpolation, const fill_attr *fill,
                            const image *im, image *out, cvr_error *err) {
    image_affine_grid grid = {.in_w = im->w, .in_h = im->h, .out_w = im->w, .out_h = im->h};
    const image_warp warp = {&grid, image_affine_row, interpolation, fill};
    image_affine_inverse(a, im, grid.m);
    CVR_TRY(image_new(s, im, im->h, im->w, im->c, out, err));
    return image_warp_run(s, &warp, im, out, err);
}

void image_warp_box(const float m[9], int64_t w, int64_t h, float *box) {
    const float side[2] = {(float)w, (float)h};
    float lo[2] = {INFINITY, INFINITY}, hi[2] = {-INFINITY, -INFINITY};
    for (int i = 0; i < 4; i++) {
        const float x = box[i % 2 * 2], y = box[i / 2 * 2 + 1], depth = x * m[6] + y * m[7] + m[8];
        for (int k = 0; k < 2; k++) {
            const float v = (x * m[3 * k] + y * m[3 * k + 1] + m[3 * k + 2]) / depth;
            lo[k] = fminf(lo[k], v);
            hi[k] = fmaxf(hi[k], v);
        }
    }
    for (int k = 0; k < 2; k++) {
        box[k] = fmaxf(fminf(lo[k], side[k]), 0);
        box[k + 2] = fmaxf(fminf(hi[k], side[k]), 0);
    }
}
