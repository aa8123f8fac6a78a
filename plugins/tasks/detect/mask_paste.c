/*
 * The square gets a border of one zero, so that a mask fades out at its box's sides; box and square grow alike, the box
 * to whole pixels; between its pixels the square is bilinear. All in f32, as torchvision has it.
 */
#include "mask_paste.h"
#include "../../rle/rle_build.h"
#include <math.h>

#define MOST_SIDE 16777216.0f /* beyond it f32 has no whole numbers, and there is no picture */

/* x1, y1, x2, y2 (both inside) of the grown box. */
typedef struct whole_box {
    int64_t at[4];
} whole_box;

/* Away from its centre by (side + 2) / side, then the coordinates' whole parts. */
static whole_box grow(const mask_small *m) {
    const float scale = (float)((double)(m->side + 2) / (double)m->side);
    whole_box w;
    for (int i = 0; i < 2; i++) {
        const float half = (m->box[i + 2] - m->box[i]) * 0.5f * scale, middle = (m->box[i + 2] + m->box[i]) * 0.5f;
        w.at[i] = (int64_t)fmaxf(-MOST_SIDE, fminf(MOST_SIDE, middle - half));
        w.at[i + 2] = (int64_t)fmaxf(-MOST_SIDE, fminf(MOST_SIDE, middle + half));
    }
    return w;
}

/* Two neighbours along an axis of the square with its border, and what each weighs. */
typedef struct between {
    int64_t a, b;
    float wa, wb;
} between;

static between between_of(int64_t pixel, int64_t pixels, int64_t side) {
    const float at = fmaxf(0, (float)side / (float)pixels * ((float)pixel + 0.5f) - 0.5f);
    between w = {(int64_t)at, 0, 0, 0};
    if (w.a > side - 1) w.a = side - 1;
    w.b = w.a < side - 1 ? w.a + 1 : w.a;
    w.wb = fminf(1, at - (float)w.a);
    w.wa = 1 - w.wb;
    return w;
}

static float pixel_of(const mask_small *m, int64_t y, int64_t x) {
    if (y < 1 || x < 1 || y > m->side || x > m->side) return 0;
    return m->probabilities[(y - 1) * m->side + x - 1];
}

static uint32_t is_inside(const mask_small *m, const between *y, const between *x) {
    const float above = x->wa * pixel_of(m, y->a, x->a) + x->wb * pixel_of(m, y->a, x->b),
                below = x->wa * pixel_of(m, y->b, x->a) + x->wb * pixel_of(m, y->b, x->b);
    return y->wa * above + y->wb * below > 0.5f;
}

static int64_t at_least_one(int64_t n) {
    return n < 1 ? 1 : n;
}

int32_t mask_paste(rle *out, const mask_small *m, int64_t height, int64_t width, cvr_error *err) {
    const whole_box w = grow(m);
    const int64_t *const b = w.at, columns = at_least_one(b[2] - b[0] + 1), rows = at_least_one(b[3] - b[1] + 1);
    const int64_t left = b[0] > 0 ? b[0] : 0, right = b[2] + 1 < width ? b[2] + 1 : width;
    const int64_t top = b[1] > 0 ? b[1] : 0, bottom = b[3] + 1 < height ? b[3] + 1 : height;
    rle_build build = {.r = out};
    CVR_TRY(rle_build_start(&build, out, height, width, err));
    if (right > left && bottom > top) CVR_TRY(rle_build_add(&build, (uint64_t)(left * height), 0, err));
    for (int64_t x = left; x < right && bottom > top; x++) {
        const between across = between_of(x - b[0], columns, m->side + 2);
        CVR_TRY(rle_build_add(&build, (uint64_t)top, 0, err));
        for (int64_t y = top; y < bottom; y++) {
            const between down = between_of(y - b[1], rows, m->side + 2);
            CVR_TRY(rle_build_add(&build, 1, is_inside(m, &down, &across), err));
        }
        CVR_TRY(rle_build_add(&build, (uint64_t)(height - bottom), 0, err));
    }
    return rle_build_end(&build, err);
}
