/*
 * A Gaussian is the product of one along x and one along y, so that rows and columns are summed one after the other.
 */
#include "image_blur.h"
#include <math.h>

/* exp(-x^2 / (2 sigma^2)) at the taps, scaled to sum 1. w: (size) */
static void weights_of(int64_t size, double sigma, float *w) {
    double sum = 0;
    for (int64_t i = 0; i < size; i++) {
        const double x = ((double)i - (double)(size - 1) / 2) / sigma;
        w[i] = (float)exp(-0.5 * x * x);
        sum += w[i];
    }
    for (int64_t i = 0; i < size; i++) w[i] = (float)(w[i] / sum);
}

/* i of a side whose border is mirrored, the outermost pixel not repeated */
static int64_t mirrored(int64_t i, int64_t side) {
    return i < 0 ? -i : i >= side ? 2 * (side - 1) - i : i;
}

/* One row of `im` as floats with `pad` mirrored pixels on either side. to: (w + 2 pad, C) */
static void read_row(const image *im, int64_t y, int64_t pad, float *to) {
    const int64_t row = y * im->w * im->c;
    for (int64_t x = -pad; x < im->w + pad; x++) {
        for (int64_t c = 0; c < im->c; c++) {
            const int64_t i = row + mirrored(x, im->w) * im->c + c;
            *to++ = im->dtype == CVR_U8 ? (float)((const uint8_t *)im->data)[i] : ((const float *)im->data)[i];
        }
    }
}

/* to[i] = sum of w[k] * from[i + k * step] */
static void sum_taps(float *to, const float *from, int64_t n, int64_t step, const float *w, int64_t size) {
    memset(to, 0, (uint64_t)n * sizeof *to);
    for (int64_t k = 0; k < size; k++)
        for (int64_t i = 0; i < n; i++) to[i] += w[k] * from[i + k * step];
}

static void write_row(const image *out, int64_t y, const float *from) {
    const int64_t n = out->w * out->c;
    uint8_t *const b = (uint8_t *)out->data + (out->dtype == CVR_U8 ? y * n : 0);
    if (out->dtype == CVR_F32)
        memcpy((float *)out->data + y * n, from, (uint64_t)n * sizeof *from);
    else
        for (int64_t i = 0; i < n; i++) b[i] = (uint8_t)rintf(from[i]);
}

int32_t image_blur_run(cvr_sample *s, const image_blur *b, const image *im, image *out, cvr_error *err) {
    const int64_t pad[2] = {b->size[0] / 2, b->size[1] / 2}, n = im->w * im->c;
    const image like = {.dtype = CVR_F32};
    image across;
    if (pad[0] >= im->w || pad[1] >= im->h)
        return cvr_fail(err, CVR_ERR_USAGE,
                        "%s: a kernel of %lld x %lld needs a picture larger than half of it, not %lld x %lld",
                        b->transform, (long long)b->size[0], (long long)b->size[1], (long long)im->w, (long long)im->h);
    float *const w = s->alloc(s, (uint64_t)(b->size[0] + b->size[1]) * sizeof *w);
    float *const row = s->alloc(s, (uint64_t)((im->w + 2 * pad[0]) * im->c) * sizeof *row);
    if (!w || !row) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory for blurring a picture");
    weights_of(b->size[0], b->sigma[0], w);
    weights_of(b->size[1], b->sigma[1], w + b->size[0]);
    /* across: all rows, blurred along x, with the mirrored rows above and below. */
    CVR_TRY(image_new(s, &like, im->h + 2 * pad[1], im->w, im->c, &across, err));
    for (int64_t y = 0; y < across.h; y++) {
        read_row(im, mirrored(y - pad[1], im->h), pad[0], row);
        sum_taps((float *)across.data + y * n, row, n, im->c, w, b->size[0]);
    }
    CVR_TRY(image_new(s, im, im->h, im->w, im->c, out, err));
    for (int64_t y = 0; y < im->h; y++) {
        sum_taps(row, (const float *)across.data + y * n, n, n, w + b->size[0], b->size[1]);
        write_row(out, y, row);
    }
    return CVR_OK;
}
