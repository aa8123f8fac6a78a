/*
 * Sharpness: a blend of the picture with a 3x3 blur of it, whose weights are 5 in the middle and 1 around it, over 13.
 * The outermost pixels stay as they are.
 */
#include "adjust.h"
#include "luma.h"
#include <math.h>

/* Whole numbers have no rounding to agree on: the sum over 13 never lies halfway between two of them. */
static void sharpen_u8(uint8_t *to, const uint8_t *const rows[3], const image *im, float take) {
    for (int64_t i = im->c; i < (im->w - 1) * im->c; i++) {
        int32_t sum = 4 * rows[1][i];
        for (int k = 0; k < 3; k++) sum += rows[k][i - im->c] + rows[k][i] + rows[k][i + im->c];
        const float x = rows[1][i], v = luma_fma(x, take, (float)((2 * sum + 13) / 26) - x);
        to[i] = (uint8_t)(v < 0 ? 0 : v > 255 ? 255 : v);
    }
}

static void sharpen_f32(float *to, const float *const rows[3], const image *im, float take) {
    const float around = (float)(1.0 / 13.0), middle = (float)(5.0 / 13.0);
    for (int64_t i = im->c; i < (im->w - 1) * im->c; i++) {
        float blurred = 0;
        for (int k = 0; k < 9; k++) blurred += (k == 4 ? middle : around) * rows[k / 3][i + (k % 3 - 1) * im->c];
        const float v = luma_fma(rows[1][i], take, blurred - rows[1][i]);
        to[i] = v < 0 ? 0 : v > 1 ? 1 : v;
    }
}

int32_t adjust_sharpness(cvr_sample *s, const image *im, double factor, cvr_error *err) {
    const uint64_t row = (uint64_t)im->w * image_pixel_bytes(im);
    const float take = (float)(1.0 - factor);
    if (im->h <= 2 || im->w <= 2) return CVR_OK;
    /* Rows that were written already, as they were: two, taken in turns. */
    uint8_t *const was = s->alloc(s, 2 * row), *const data = im->data;
    if (!was) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory for two rows of a picture");
    memcpy(was, data, row);
    for (int64_t y = 1; y < im->h - 1; y++) {
        uint8_t *const to = data + (uint64_t)y * row, *const here = was + (uint64_t)(y % 2) * row;
        const void *const above = was + (uint64_t)((y + 1) % 2) * row, *const below = to + row;
        memcpy(here, to, row);
        if (im->dtype == CVR_U8)
            sharpen_u8(to, (const uint8_t *const[3]){above, here, below}, im, take);
        else
            sharpen_f32((float *)(void *)to, (const float *const[3]){above, (const void *)here, below}, im, take);
    }
    return CVR_OK;
}
