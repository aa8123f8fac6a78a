/*
 * Transforms of levels. On u8 each is a table of 256 values, exactly torchvision's.
 */
#include "adjust.h"
#include <math.h>

static int64_t values_of(const image *im) {
    return im->h * im->w * im->c;
}

/* Every `step`-th value from `x` on becomes table[value]. */
static void look_up(uint8_t *x, int64_t n, int64_t step, const uint8_t table[256]) {
    for (int64_t i = 0; i < n; i += step) x[i] = table[x[i]];
}

void levels_invert(const image *im) {
    uint8_t *const b = im->data;
    float *const f = im->data;
    for (int64_t i = 0; i < values_of(im); i++) {
        if (im->dtype == CVR_U8)
            b[i] = (uint8_t)(255 - b[i]);
        else
            f[i] = 1.0f - f[i];
    }
}

void levels_solarize(const image *im, double threshold) {
    const float limit = (float)threshold;
    float *const f = im->data;
    uint8_t table[256];
    if (im->dtype == CVR_U8) {
        for (int i = 0; i < 256; i++) table[i] = (uint8_t)((float)i >= limit ? 255 - i : i);
        look_up(im->data, values_of(im), 1, table);
    } else {
        for (int64_t i = 0; i < values_of(im); i++) f[i] = f[i] >= limit ? 1.0f - f[i] : f[i];
    }
}

void levels_posterize(const image *im, int64_t bits) {
    const float levels = (float)(1 << bits);
    uint8_t *const b = im->data;
    float *const f = im->data;
    if (im->dtype == CVR_U8) {
        const int32_t mask = 0xFF & ~((1 << (8 - bits)) - 1);
        for (int64_t i = 0; i < values_of(im); i++) b[i] = (uint8_t)(b[i] & mask);
    } else {
        for (int64_t i = 0; i < values_of(im); i++)
            f[i] = fminf(fmaxf(floorf(f[i] * levels), 0), levels - 1) * (1 / levels);
    }
}

/* (x - low) / (range / bound), held in 0..bound; one level alone stays. */
static float stretched(float x, float low, float high, float bound) {
    if (high == low) return x;
    const float v = (x - low) / ((high - low) * (float)(1.0 / (double)bound));
    return v < 0 ? 0 : v > bound ? bound : v;
}

void levels_autocontrast(const image *im) {
    uint8_t *const b = im->data;
    float *const f = im->data;
    for (int64_t c = 0; c < im->c; c++) {
        float low = INFINITY, high = -INFINITY;
        for (int64_t i = c; i < values_of(im); i += im->c) {
            const float x = im->dtype == CVR_U8 ? (float)b[i] : f[i];
            low = fminf(low, x);
            high = fmaxf(high, x);
        }
        if (im->dtype == CVR_U8) {
            uint8_t table[256];
            for (int i = 0; i < 256; i++) table[i] = (uint8_t)stretched((float)i, low, high, 255);
            look_up(b + c, values_of(im) - c, im->c, table);
        } else {
            for (int64_t i = c; i < values_of(im); i += im->c) f[i] = stretched(f[i], low, high, 1);
        }
    }
}

/* The table that evens out a histogram of `n` values; false where there are too few of them to tell levels apart. */
static int32_t equal_table(const int64_t histogram[256], int64_t n, uint8_t table[256]) {
    int last = 255;
    while (last > 0 && histogram[last] == 0) last--;
    const int64_t step = (n - histogram[last]) / 255;
    int64_t below = 0;
    if (step == 0) return 0;
    for (int i = 0; i < 256; i++) {
        const int64_t v = (below + step / 2) / step;
        table[i] = (uint8_t)(i == 0 ? 0 : v > 255 ? 255 : v);
        below += histogram[i];
    }
    return 1;
}

/* f32 as one of 256 levels, as torchvision's to_dtype makes it. */
static uint8_t level_of(float x) {
    const float v = x * (float)(256.0 - 1e-3);
    return (uint8_t)(!(v > 0) ? 0 : v > 255 ? 255 : v);
}

void levels_equalize(const image *im) {
    uint8_t *const b = im->data;
    float *const f = im->data;
    for (int64_t c = 0; c < im->c; c++) {
        int64_t histogram[256] = {0};
        uint8_t table[256];
        for (int64_t i = c; i < values_of(im); i += im->c) histogram[im->dtype == CVR_U8 ? b[i] : level_of(f[i])]++;
        const int32_t even = equal_table(histogram, im->h * im->w, table);
        for (int i = 0; i < 256 && !even; i++) table[i] = (uint8_t)i;
        if (im->dtype == CVR_U8) {
            look_up(b + c, values_of(im) - c, im->c, table);
        } else {
            for (int64_t i = c; i < values_of(im); i += im->c)
                f[i] = (float)table[level_of(f[i])] * (float)(1.0 / 255.0);
        }
    }
}
