/*
 * Darknet's resizing: the pixels at the corners stay the corners, so that a step of one pixel is (in - 1) / (out - 1)
 * pixels of the picture; linear, the columns first and then the rows, in f32 without rounding in between. A u8 picture
 * becomes f32 in 0..1.
 */
#include "canvas.h"

/* Where output pixel i of a side lies: between pixels `at` and `at + 1`, of which the second has the weight `share`. */
typedef struct neighbours {
    int64_t at, next;
    float share;
} neighbours;

static neighbours neighbours_of(int64_t i, int64_t in, int64_t out) {
    const int64_t last = in - 1;
    if (i == out - 1 || last == 0) return (neighbours){last, last, 0};
    const float x = (float)i * ((float)last / (float)(out - 1));
    const int64_t at = (int64_t)x < last ? (int64_t)x : last;
    return (neighbours){at, at < last ? at + 1 : last, x - (float)at};
}

static float value_at(const image *im, int64_t i) {
    return im->dtype == CVR_U8 ? (float)((const uint8_t *)im->data)[i] / 255.0f : ((const float *)im->data)[i];
}

/* im: (H, W, C), to: (H, w, C) f32 */
static void resize_columns(const image *im, const image *to) {
    float *const out = to->data;
    for (int64_t x = 0; x < to->w; x++) {
        const neighbours n = neighbours_of(x, im->w, to->w);
        for (int64_t y = 0; y < im->h; y++)
            for (int64_t c = 0; c < im->c; c++) {
                const int64_t row = y * im->row + c;
                out[y * to->row + x * to->c + c] =
                    (1 - n.share) * value_at(im, row + n.at * im->c) + n.share * value_at(im, row + n.next * im->c);
            }
    }
}

/* im: (H, w, C) f32, to: (h, w, C) f32 */
static void resize_rows(const image *im, const image *to) {
    for (int64_t y = 0; y < to->h; y++) {
        const neighbours n = neighbours_of(y, im->h, to->h);
        const float *const top = (const float *)im->data + n.at * im->row, *const bottom = (const float *)im->data +
                                                                                           n.next * im->row;
        float *const out = (float *)to->data + y * to->row;
        for (int64_t i = 0; i < to->w * to->c; i++) out[i] = (1 - n.share) * top[i] + n.share * bottom[i];
    }
}

int32_t aligned_resize(cvr_sample *s, const image *im, int64_t h, int64_t w, image *out, cvr_error *err) {
    const image like = {.dtype = CVR_F32};
    image narrow;
    CVR_TRY(image_new(s, &like, im->h, w, im->c, &narrow, err));
    resize_columns(im, &narrow);
    CVR_TRY(image_new(s, &like, h, w, im->c, out, err));
    resize_rows(&narrow, out);
    return CVR_OK;
}
