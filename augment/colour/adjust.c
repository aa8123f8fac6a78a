/*
 * Brightness, contrast and saturation: a blend of the picture with black, with its mean grey, with its grey.
 */
#include "adjust.h"
#include "luma.h"
#include <math.h>

static int64_t pixels_of(const image *im) {
    return im->h * im->w;
}

/* ratio x + (1 - ratio) other, held in 0..255 or 0..1; u8 is cut, not rounded, as torch's cast does it. */
static float blend(float x, float other, float ratio, float rest, float bound) {
    const float v = luma_fma(x * ratio, rest, other);
    return v < 0 ? 0 : v > bound ? bound : v;
}

void adjust_brightness(const image *im, double factor) {
    const int64_t n = pixels_of(im) * im->c;
    const float ratio = (float)factor;
    uint8_t *const b = im->data;
    float *const f = im->data;
    if (im->dtype == CVR_U8) {
        uint8_t table[256];
        for (int i = 0; i < 256; i++) table[i] = (uint8_t)fminf((float)i * ratio, 255);
        for (int64_t i = 0; i < n; i++) b[i] = table[b[i]];
    } else {
        for (int64_t i = 0; i < n; i++) f[i] = fmaxf(fminf(f[i] * ratio, 1), 0);
    }
}

/* Grey of pixel i; of a u8 picture a whole number. */
static float grey_at(const image *im, int64_t i) {
    if (im->dtype == CVR_U8) {
        const uint8_t *const p = (const uint8_t *)im->data + i * im->c;
        return im->c == 3 ? floorf(luma_of(p[0], p[1], p[2])) : p[0];
    }
    const float *const p = (const float *)im->data + i * im->c;
    return im->c == 3 ? luma_of(p[0], p[1], p[2]) : p[0];
}

static void blend_pixel(const image *im, int64_t i, float other, double factor) {
    const float ratio = (float)factor, rest = (float)(1.0 - factor);
    for (int64_t c = 0; c < im->c; c++) {
        if (im->dtype == CVR_U8) {
            uint8_t *const p = (uint8_t *)im->data + i * im->c + c;
            *p = (uint8_t)blend(*p, other, ratio, rest, 255);
        } else {
            float *const p = (float *)im->data + i * im->c + c;
            *p = blend(*p, other, ratio, rest, 1);
        }
    }
}

void adjust_contrast(const image *im, double factor) {
    const int64_t n = pixels_of(im);
    double sum = 0;
    for (int64_t i = 0; i < n; i++) sum += grey_at(im, i);
    const float mean = (float)(sum / (double)n);
    for (int64_t i = 0; i < n; i++) blend_pixel(im, i, mean, factor);
}

void adjust_saturation(const image *im, double factor) {
    if (im->c == 1) return;
    for (int64_t i = 0; i < pixels_of(im); i++) blend_pixel(im, i, grey_at(im, i), factor);
}

void adjust_grey(const image *im) {
    if (im->c != 3) return;
    for (int64_t i = 0; i < pixels_of(im); i++) {
        const float grey = grey_at(im, i);
        for (int64_t c = 0; c < 3; c++) {
            if (im->dtype == CVR_U8)
                ((uint8_t *)im->data)[3 * i + c] = (uint8_t)grey;
            else
                ((float *)im->data)[3 * i + c] = grey;
        }
    }
}

int32_t adjust_check_channels(const image *im, const char *transform, cvr_error *err) {
    return im->c == 1 || im->c == 3
               ? CVR_OK
               : cvr_fail(err, CVR_ERR_USAGE, "%s takes 1 or 3 channels, not %lld", transform, (long long)im->c);
}
