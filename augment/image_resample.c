/*
 * Resizing as torch.nn.functional.interpolate does it on the CPU: separable, columns first. u8 works in Pillow's scheme
 * of 16-bit fixed-point weights with rounding to u8 between the passes, f32 in float.
 */
#include "image_axis.h"
#include <math.h>

static int32_t out_of_memory(cvr_error *err) {
    return cvr_fail(err, CVR_ERR_NOMEM, "out of memory for resizing a picture");
}

/* The triangle filter. */
static double hat(double x) {
    const double a = fabs(x);
    return a < 1 ? 1 - a : 0;
}

/* With antialias the triangle is as wide as the step between outputs, where that is more than a pixel. */
static void antialias_row(image_axis *a, int64_t i) {
    const double scale = (double)a->in / (double)a->out, support = scale >= 1 ? scale : 1,
                 center = scale * ((double)i + 0.5);
    double *const w = a->exact + i * a->taps;
    double sum = 0;
    int64_t lo = (int64_t)(center - support + 0.5), hi = (int64_t)(center + support + 0.5);
    if (lo < 0) lo = 0;
    if (hi > a->in) hi = a->in;
    if (hi - lo > a->taps) hi = lo + a->taps;
    a->first[i] = lo;
    a->count[i] = hi - lo;
    for (int64_t k = 0; k < hi - lo; k++) sum += w[k] = hat(((double)(lo + k) - center + 0.5) / support);
    for (int64_t k = 0; k < hi - lo && sum != 0; k++) w[k] /= sum;
}

/* Without: the two neighbours of the centre, held inside the picture. */
static void linear_row(image_axis *a, int64_t i) {
    const double scale = (double)a->in / (double)a->out, at = fmax(scale * ((double)i + 0.5) - 0.5, 0);
    const int64_t lo = (int64_t)at < a->in - 1 ? (int64_t)at : a->in - 1;
    const double right = fmin(at - (double)lo, 1);
    double *const w = a->exact + i * a->taps;
    a->first[i] = lo;
    a->count[i] = lo + 1 < a->in ? 2 : 1;
    w[0] = a->count[i] == 2 ? 1 - right : 1;
    if (a->count[i] == 2) w[1] = right;
}

/* As many fractional bits as keep the largest weight within 16 bits; as Pillow, and torch after it, choose them. */
static void make_fixed(image_axis *a) {
    double top = 0;
    for (int64_t i = 0; i < a->out; i++) {
        for (int64_t k = 0; k < a->count[i]; k++) top = fmax(top, a->exact[i * a->taps + k]);
    }
    for (a->bits = 0; a->bits < 22; a->bits++) {
        if ((int64_t)(0.5 + top * (double)(1 << (a->bits + 1))) >= 1 << 15) break;
    }
    for (int64_t i = 0; i < a->out; i++) {
        for (int64_t k = 0; k < a->count[i]; k++) {
            a->fixed[i * a->taps + k] = (int16_t)(0.5 + a->exact[i * a->taps + k] * (double)(1 << a->bits));
        }
    }
}

static int32_t make_axis(cvr_sample *s, image_axis *a, int64_t in, int64_t out, int64_t antialias, uint32_t dtype,
                         cvr_error *err) {
    const double scale = (double)in / (double)out;
    a->in = in;
    a->out = out;
    a->taps = antialias && scale >= 1 ? 2 * (int64_t)ceil(scale) + 2 : 4;
    const uint64_t n = (uint64_t)out, m = n * (uint64_t)a->taps;
    a->first = s->alloc(s, n * sizeof *a->first);
    a->count = s->alloc(s, n * sizeof *a->count);
    a->exact = s->alloc(s, m * sizeof *a->exact);
    a->fixed = s->alloc(s, m * sizeof *a->fixed);
    a->real = s->alloc(s, m * sizeof *a->real);
    if (!a->first || !a->count || !a->exact || !a->fixed || !a->real) return out_of_memory(err);
    for (int64_t i = 0; i < out; i++) {
        if (antialias)
            antialias_row(a, i);
        else
            linear_row(a, i);
        for (int64_t k = 0; k < a->count[i]; k++) a->real[i * a->taps + k] = (float)a->exact[i * a->taps + k];
    }
    memset(a->fixed, 0, m * sizeof *a->fixed);
    if (dtype == CVR_U8) make_fixed(a);
    return CVR_OK;
}

/* from: (W,C) f32, to: (w,C) f32 */
static void columns_f32(float *to, const float *from, int64_t channels, const image_axis *a) {
    for (int64_t x = 0; x < a->out; x++) {
        const float *const w = a->real + x * a->taps;
        for (int64_t c = 0; c < channels; c++) {
            const float *const p = from + a->first[x] * channels + c;
            float sum = 0;
            for (int64_t k = 0; k < a->count[x]; k++) sum += w[k] * p[k * channels];
            to[x * channels + c] = sum;
        }
    }
}

/* from: (count, row) f32, to: (n) f32 */
static void rows_f32(float *to, const float *from, int64_t row, int64_t n, const float *w, int64_t count) {
    for (int64_t i = 0; i < n; i++) to[i] = w[0] * from[i];
    for (int64_t k = 1; k < count; k++) {
        for (int64_t i = 0; i < n; i++) to[i] += w[k] * from[k * row + i];
    }
}

/* from: (H,W,C), to: (H,w,C) */
static void resize_columns(const image *to, const image *from, const image_axis *a) {
    for (int64_t y = 0; y < from->h; y++) {
        if (from->dtype == CVR_F32) {
            columns_f32((float *)to->data + y * to->row, (const float *)from->data + y * from->row, from->c, a);
        } else {
            image_columns_u8((uint8_t *)to->data + y * to->row, (const uint8_t *)from->data + y * from->row, from->c,
                             a);
        }
    }
}

/* from: (H,W,C), to: (h,W,C) */
static void resize_rows(const image *to, const image *from, const image_axis *a) {
    for (int64_t y = 0; y < to->h; y++) {
        const int64_t first = a->first[y] * from->row, n = to->w * to->c;
        if (from->dtype == CVR_F32) {
            rows_f32((float *)to->data + y * to->row, (const float *)from->data + first, from->row, n,
                     a->real + y * a->taps, a->count[y]);
        } else {
            const image_rows r = {a->fixed + y * a->taps, a->count[y], from->row, n, a->bits};
            image_rows_u8((uint8_t *)to->data + y * to->row, (const uint8_t *)from->data + first, &r);
        }
    }
}

static int32_t bilinear(cvr_sample *s, const image *im, const image_resize *how, image *out, cvr_error *err) {
    image_axis across = {0}, down = {0};
    image narrow = *im;
    int32_t status = make_axis(s, &across, im->w, how->w, how->antialias, im->dtype, err);
    if (status == CVR_OK) status = make_axis(s, &down, im->h, how->h, how->antialias, im->dtype, err);
    if (status != CVR_OK) return status;
    if (how->w != im->w) {
        status = image_new(s, im, im->h, how->w, im->c, &narrow, err);
        if (status != CVR_OK) return status;
        resize_columns(&narrow, im, &across);
    }
    if (how->h == im->h) {
        *out = narrow;
        return CVR_OK;
    }
    status = image_new(s, im, how->h, how->w, im->c, out, err);
    if (status == CVR_OK) resize_rows(out, &narrow, &down);
    return status;
}

/* floor(i * in / out) in float, as torch's "nearest" has it. */
static int64_t nearest_of(int64_t i, int64_t in, int64_t out) {
    if (in == out) return i;
    if (out == 2 * in) return i / 2;
    const int64_t at = (int64_t)floorf((float)i * ((float)in / (float)out));
    return at < in - 1 ? at : in - 1;
}

static int32_t nearest(cvr_sample *s, const image *im, const image_resize *how, image *out, cvr_error *err) {
    const uint64_t p = image_pixel_bytes(im), size = cvr_dtype_size(im->dtype);
    const int32_t status = image_new(s, im, how->h, how->w, im->c, out, err);
    if (status != CVR_OK) return status;
    for (int64_t y = 0; y < how->h; y++) {
        const char *const from = (const char *)im->data + (uint64_t)(nearest_of(y, im->h, how->h) * im->row) * size;
        char *const to = (char *)out->data + (uint64_t)(y * out->row) * size;
        for (int64_t x = 0; x < how->w; x++) {
            memcpy(to + (uint64_t)x * p, from + (uint64_t)nearest_of(x, im->w, how->w) * p, p);
        }
    }
    return CVR_OK;
}

int32_t image_resample(cvr_sample *s, const image *im, const image_resize *how, image *out, cvr_error *err) {
    image checked;
    /* Sizes that make no sense fail before tables are made for them. */
    if (how->h < 1 || how->w < 1 || how->h > 1000000 || how->w > 1000000)
        return image_new(s, im, how->h, how->w, im->c, &checked, err);
    if (how->interpolation == INTERPOLATION_NEAREST) return nearest(s, im, how, out, err);
    if (how->h != im->h || how->w != im->w) return bilinear(s, im, how, out, err);
    /* The same size: a copy, dense, where `im` is a part of something larger. */
    const image_window all = {.h = im->h, .w = im->w, .mode = PADDING_EDGE};
    return image_copy_window(s, im, &all, out, err);
}
