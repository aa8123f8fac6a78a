/*
 * Hue: RGB to HSV, a turn of the colour circle, and back; every operation in float as torchvision v2 does it (which has
 * the conversion from Pillow).
 */
#include "adjust.h"
#include <math.h>

typedef struct hsv {
    float h, s, v;
} hsv;

/* h in [0, 1): which channel is the largest gives the third of the circle, the other two the place in it. */
static hsv to_hsv(float r, float g, float b) {
    const float max = fmaxf(r, fmaxf(g, b)), min = fminf(r, fminf(g, b)), range = max - min;
    const float divisor = max == min ? 1 : range;
    const float rc = (max - r) / divisor, gc = (max - g) / divisor, bc = (max - b) / divisor;
    const float sextant = max == r ? bc - gc : max == g ? rc + 2.0f - bc : gc + 4.0f - rc;
    const float h = sextant * (float)(1.0 / 6.0) + 1.0f;
    return (hsv){fmodf(h, 1.0f), range / (max == min ? 1 : max), max};
}

static float unit(float x) {
    return x < 0 ? 0 : x > 1 ? 1 : x;
}

static void to_rgb(hsv x, float out[3]) {
    const float h6 = x.h * 6.0f, i = floorf(h6), f = h6 - i, sf = x.s * f, rest = 1.0f - x.s;
    const float v = x.v, q = unit((1.0f - sf) * v), t = unit((sf + rest) * v), p = unit(rest * v);
    /* Red, green and blue in each sixth of the circle. */
    const float table[6][3] = {{v, t, p}, {q, v, p}, {p, v, t}, {p, q, v}, {t, p, v}, {v, p, q}};
    /* Numbers that are none, from a picture with such, count as the first. */
    memcpy(out, table[i >= 0 && i < 7 ? (int)i % 6 : 0], sizeof table[0]);
}

static void turn(float rgb[3], float factor) {
    hsv x = to_hsv(rgb[0], rgb[1], rgb[2]);
    x.h = fmodf(x.h + factor, 1.0f);
    if (x.h < 0) x.h += 1.0f;
    to_rgb(x, rgb);
}

void adjust_hue(const image *im, double factor) {
    const float by = (float)factor;
    if (im->c == 1) return;
    for (int64_t i = 0; i < im->h * im->w; i++) {
        if (im->dtype == CVR_F32) {
            turn((float *)im->data + 3 * i, by);
            continue;
        }
        uint8_t *const p = (uint8_t *)im->data + 3 * i;
        float rgb[3];
        for (int c = 0; c < 3; c++) rgb[c] = (float)p[c] * (float)(1.0 / 255.0);
        turn(rgb, by);
        /* torchvision's to_dtype: a little less than 256 equal steps. */
        for (int c = 0; c < 3; c++) p[c] = (uint8_t)(rgb[c] * (float)(256.0 - 1e-3));
    }
}
