/*
 * Affine warps. A row of the output is a straight line through the input: of its pixels some in the middle have all
 * four neighbours in the input, some at either end have one of them, and the rest is fill. On u8 the middle is done in
 * fixed point with weights of 8 bits, the ends in float. Pictures are (H, W, C), rows apart by image.row elements;
 * loops go over the output's rows, a row's pixels, its channels.
 */
#include "affine_warp.h"
#include <math.h>

#define MOST_CHANNELS 4

affine_map affine_inverse(const affine_map *map) {
    const double *const m = map->m, det = m[0] * m[4] - m[1] * m[3];
    const double a = m[4] / det, b = -m[1] / det, c = -m[3] / det, d = m[0] / det;
    return (affine_map){{a, b, -(a * m[2] + b * m[5]), c, d, -(c * m[2] + d * m[5])}};
}

void affine_box(const affine_map *map, int64_t h, int64_t w, float *box) {
    const int64_t side[2] = {w, h};
    double lo[2] = {INFINITY, INFINITY}, hi[2] = {-INFINITY, -INFINITY};
    for (int i = 0; i < 4; i++) {
        const double x = (double)box[i % 2 * 2], y = (double)box[i / 2 * 2 + 1];
        for (int k = 0; k < 2; k++) {
            const double v = map->m[3 * k] * x + map->m[3 * k + 1] * y + map->m[3 * k + 2];
            lo[k] = fmin(lo[k], v);
            hi[k] = fmax(hi[k], v);
        }
    }
    for (int k = 0; k < 2; k++) {
        box[k] = image_clamp((float)lo[k], side[k]);
        box[k + 2] = image_clamp((float)hi[k], side[k]);
    }
}

/* ---- a row ---- */

/* Output pixel x of the row comes from (u + du x, v + dv x), where 0 is the middle of the input's first pixel. */
typedef struct line {
    float u, v, du, dv;
} line;

static line line_of(const affine_map *inverse, int64_t y) {
    const double *const m = inverse->m;
    const double mid = (double)y + 0.5;
    return (line){(float)(m[0] * 0.5 + m[1] * mid + m[2] - 0.5), (float)(m[3] * 0.5 + m[4] * mid + m[5] - 0.5),
                  (float)m[0], (float)m[3]};
}

static float at(float from, float step, int64_t x) {
    return from + step * (float)x;
}

static int32_t is_in(const line *l, int64_t x, float lo, float hi_u, float hi_v) {
    const float u = at(l->u, l->du, x), v = at(l->v, l->dv, x);
    return u >= lo && u < hi_u && v >= lo && v < hi_v;
}

/* The pixels of the row that lie in lo <= u < hi_u, lo <= v < hi_v; both coordinates change monotonously, rounding
 * included, so that it is one stretch [*first, *last). */
static void stretch_of(const line *l, float lo, float hi_u, float hi_v, int64_t w, int64_t *first, int64_t *last) {
    const float from[2] = {l->u, l->v}, step[2] = {l->du, l->dv}, hi[2] = {hi_u, hi_v};
    double begin = 0, end = (double)w;
    for (int k = 0; k < 2; k++) {
        if (step[k] == 0) {
            if (!(from[k] >= lo && from[k] < hi[k])) end = 0;
            continue;
        }
        const double a = (double)(lo - from[k]) / (double)step[k], b = (double)(hi[k] - from[k]) / (double)step[k];
        begin = fmax(begin, fmin(a, b));
        end = fmin(end, fmax(a, b) + 1);
    }
    *first = (int64_t)fmin(fmax(floor(begin), 0), (double)w);
    *last = (int64_t)fmin(fmax(ceil(end), (double)*first), (double)w);
    while (*first < *last && !is_in(l, *first, lo, hi_u, hi_v)) ++*first;
    while (*first < *last && !is_in(l, *last - 1, lo, hi_u, hi_v)) --*last;
}

static float value_at(const image *im, int64_t i) {
    return im->dtype == CVR_U8 ? (float)((const uint8_t *)im->data)[i] : ((const float *)im->data)[i];
}

static void put(const image *out, int64_t i, float v) {
    if (out->dtype == CVR_U8)
        ((uint8_t *)out->data)[i] = (uint8_t)(v + 0.5f);
    else
        ((float *)out->data)[i] = v;
}

/* Pixels [first, last) of row y: neighbours outside the input are fill. */
static void ends(const image *im, const image *out, const line *l, int64_t y, int64_t first, int64_t last,
                 const float *fill) {
    for (int64_t x = first; x < last; x++) {
        const float u = at(l->u, l->du, x), v = at(l->v, l->dv, x), fu = floorf(u), fv = floorf(v);
        const float du = u - fu, dv = v - fv;
        const float w[4] = {(1 - du) * (1 - dv), du * (1 - dv), (1 - du) * dv, du * dv};
        for (int64_t c = 0; c < out->c; c++) {
            float sum = 0;
            for (int k = 0; k < 4; k++) {
                const int64_t px = (int64_t)fu + k % 2, py = (int64_t)fv + k / 2;
                const int32_t in = px >= 0 && py >= 0 && px < im->w && py < im->h;
                sum += w[k] * (in ? value_at(im, py * im->row + px * im->c + c) : fill[c]);
            }
            put(out, y * out->row + x * out->c + c, sum);
        }
    }
}

/* Pixels whose neighbours are all there. The sum of the weights is 2^16; `channels` is a constant where it is inlined.
 */
static inline void middle_u8(const image *im, uint8_t *to, const line *l, int64_t first, int64_t last,
                             int64_t channels) {
    const uint8_t *const from = im->data;
    for (int64_t x = first; x < last; x++, to += channels) {
        const float u = at(l->u, l->du, x), v = at(l->v, l->dv, x);
        const int32_t iu = (int32_t)u, iv = (int32_t)v;
        const int32_t du = (int32_t)((u - (float)iu) * 256), dv = (int32_t)((v - (float)iv) * 256);
        const uint8_t *const p = from + iv * im->row + iu * channels, *const q = p + im->row;
        for (int64_t c = 0; c < channels; c++) {
            const int32_t top = p[c] * (256 - du) + p[c + channels] * du,
                          bottom = q[c] * (256 - du) + q[c + channels] * du;
            to[c] = (uint8_t)((top * (256 - dv) + bottom * dv + 32768) >> 16);
        }
    }
}

static void middle(const image *im, const image *out, const line *l, int64_t y, int64_t first, int64_t last,
                   const float *fill) {
    uint8_t *const to = (uint8_t *)out->data + y * out->row + first * out->c;
    if (im->dtype != CVR_U8)
        ends(im, out, l, y, first, last, fill);
    else if (im->c == 3)
        middle_u8(im, to, l, first, last, 3);
    else
        middle_u8(im, to, l, first, last, im->c);
}

int32_t affine_pixels(cvr_sample *s, const affine_map *inverse, const image *im, int64_t h, int64_t w,
                      const fill_attr *fill, image *out, cvr_error *err) {
    float outside[MOST_CHANNELS];
    if (im->c > MOST_CHANNELS)
        return cvr_fail(err, CVR_ERR_UNSUPPORTED, "a picture of %lld channels; at most %d can be warped",
                        (long long)im->c, MOST_CHANNELS);
    CVR_TRY(canvas_new(s, im, h, w, fill, out, err));
    for (int64_t c = 0; c < im->c; c++) outside[c] = (float)image_fill_of(fill, c);
    for (int64_t y = 0; y < h; y++) {
        const line l = line_of(inverse, y);
        int64_t first, last, begin, end;
        stretch_of(&l, -1, (float)im->w, (float)im->h, w, &first, &last);
        stretch_of(&l, 0, (float)(im->w - 1), (float)(im->h - 1), w, &begin, &end);
        if (begin >= end) begin = end = last;
        ends(im, out, &l, y, first, begin, outside);
        middle(im, out, &l, y, begin, end, outside);
        ends(im, out, &l, y, end, last, outside);
    }
    return CVR_OK;
}

void affine_mask(const affine_map *inverse, const image *im, int64_t h, int64_t w, uint8_t *to) {
    const uint8_t *const from = im->data;
    memset(to, 0, (size_t)(h * w));
    for (int64_t y = 0; y < h; y++) {
        const line l = line_of(inverse, y);
        int64_t first, last;
        stretch_of(&l, -0.5f, (float)im->w - 0.5f, (float)im->h - 0.5f, w, &first, &last);
        for (int64_t x = first; x < last; x++) {
            const int64_t px = (int64_t)(at(l.u, l.du, x) + 0.5f), py = (int64_t)(at(l.v, l.dv, x) + 0.5f);
            if (px < im->w && py < im->h) to[y * w + x] = from[py * im->row + px];
        }
    }
}
