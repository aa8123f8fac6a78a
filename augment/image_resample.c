/*
 * Resizing as torch.nn.functional.interpolate does it on the CPU: separable, columns first. u8 works in Pillow's scheme
 * of 16-bit fixed-point weights with rounding to u8 between the passes, f32 in float. Only what is wanted is made, from
 * the rows that it needs.
 */
#include "image_kernels.h"

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

/* from: (H,W,C) in memory that ends at `end`, to: (H,w,C) */
static int32_t resize_columns(cvr_sample *s, const image *to, const image *from, const uint8_t *end,
                              const image_axis *a, cvr_error *err) {
    if (from->dtype == CVR_F32) {
        for (int64_t y = 0; y < from->h; y++)
            columns_f32((float *)to->data + y * to->row, (const float *)from->data + y * from->row, from->c, a);
        return CVR_OK;
    }
    const image_columns c = {.to = to->data,
                             .from = from->data,
                             .end = end,
                             .to_row = to->row,
                             .from_row = from->row,
                             .rows = from->h,
                             .channels = from->c,
                             .axis = a,
                             .table = s->alloc(s, image_columns_scratch(a, from->c))};
    if (!c.table) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory for resizing a picture");
    image_kernels_best()->columns(&c);
    return CVR_OK;
}

/* from: (H,W,C), to: (h,W,C); a->first counts from the first row of `from`. */
static void resize_rows(const image *to, const image *from, const image_axis *a) {
    const image_kernels *const k = image_kernels_best();
    for (int64_t y = 0; y < to->h; y++) {
        const int64_t first = a->first[y] * from->row, n = to->w * to->c;
        if (from->dtype == CVR_F32) {
            rows_f32((float *)to->data + y * to->row, (const float *)from->data + first, from->row, n,
                     a->real + y * a->taps, a->count[y]);
        } else {
            const image_rows r = {a->fixed + y * a->taps, a->count[y], from->row, n, a->bits};
            k->rows((uint8_t *)to->data + y * to->row, (const uint8_t *)from->data + first, &r);
        }
    }
}

static int32_t stays(const image_span *s) {
    return s->in == s->out && s->start == 0;
}

/* rows: what `down` needs, in memory, from row `lo` on */
static int32_t filtered(cvr_sample *s, const image *rows, int64_t lo, const image_resize *how, image *out,
                        cvr_error *err) {
    image_axis across, down;
    image narrow = *rows;
    CVR_TRY(image_axis_make(s, &how->across, how, rows->dtype, &across, err));
    CVR_TRY(image_axis_make(s, &how->down, how, rows->dtype, &down, err));
    if (!stays(&how->across)) {
        const uint64_t bytes = (uint64_t)((rows->h - 1) * rows->row + rows->w * rows->c);
        CVR_TRY(image_new(s, rows, rows->h, how->across.n, rows->c, &narrow, err));
        CVR_TRY(resize_columns(s, &narrow, rows, (const uint8_t *)rows->data + bytes, &across, err));
    } else {
        narrow = image_part(rows, 0, how->across.at + how->across.from, rows->h, how->across.n);
    }
    if (stays(&how->down)) {
        *out = narrow;
        return CVR_OK;
    }
    for (int64_t y = 0; y < down.out; y++) down.first[y] -= lo;
    CVR_TRY(image_new(s, rows, how->down.n, narrow.w, rows->c, out, err));
    resize_rows(out, &narrow, &down);
    return CVR_OK;
}

static int32_t nearest(cvr_sample *s, const image *im, const image_resize *how, image *out, cvr_error *err) {
    const uint64_t p = image_pixel_bytes(im), size = cvr_dtype_size(im->dtype);
    const image_span *const down = &how->down, *const across = &how->across;
    CVR_TRY(image_new(s, im, down->n, across->n, im->c, out, err));
    for (int64_t y = 0; y < out->h; y++) {
        const int64_t row = down->at + image_nearest(down->from + y, down->in, down->out);
        const char *const from = (const char *)im->data + (uint64_t)(row * im->row) * size;
        char *const to = (char *)out->data + (uint64_t)(y * out->row) * size;
        for (int64_t x = 0; x < out->w; x++) {
            const int64_t column = across->at + image_nearest(across->from + x, across->in, across->out);
            memcpy(to + (uint64_t)x * p, from + (uint64_t)column * p, p);
        }
    }
    return CVR_OK;
}

/* The pixels of the side that are needed, in memory: all of them must be there. */
static int32_t find_source(const image_span *span, const image_resize *how, int64_t in_memory, int64_t *lo, int64_t *hi,
                           cvr_error *err) {
    image_span_source(span, how->interpolation, how->antialias, lo, hi);
    *lo += span->at;
    *hi += span->at;
    return *lo >= 0 && *lo < *hi && *hi <= in_memory
               ? CVR_OK
               : cvr_fail(err, CVR_ERR_INVALID, "resizing needs pixels that the picture does not have");
}

int32_t image_resample(cvr_sample *s, const image *im, const image_resize *how, image *out, cvr_error *err) {
    image checked;
    int64_t top, bottom, left, right;
    /* Sizes that make no sense fail before tables are made for them. */
    if (how->down.out < 1 || how->across.out < 1 || how->down.out > 1000000 || how->across.out > 1000000)
        return image_new(s, im, how->down.out, how->across.out, im->c, &checked, err);
    CVR_TRY(find_source(&how->down, how, im->h, &top, &bottom, err));
    CVR_TRY(find_source(&how->across, how, im->w, &left, &right, err));
    if (stays(&how->down) && stays(&how->across)) {
        *out = image_part(im, top, left, bottom - top, right - left);
        return CVR_OK;
    }
    if (how->interpolation == INTERPOLATION_NEAREST) return nearest(s, im, how, out, err);
    const image rows = image_part(im, top, 0, bottom - top, im->w);
    return filtered(s, &rows, top, how, out, err);
}
