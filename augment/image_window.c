/*
 * Pad and crop in one copy: every output column and row knows the one that it comes from, or that it is fill
 * (torchvision v2 pad_image, crop_image).
 */
#include "image_view.h"

/* Where position `i` of a padded axis comes from; -1: fill. */
static int64_t source_of(int64_t i, int64_t pad, int64_t n, int64_t mode) {
    const int64_t at = i - pad;
    if (at >= 0 && at < n) return at;
    switch (mode) {
    case PADDING_EDGE: return at < 0 ? 0 : n - 1;
    case PADDING_REFLECT: return at < 0 ? -at : 2 * (n - 1) - at;
    case PADDING_SYMMETRIC: return at < 0 ? -at - 1 : 2 * n - 1 - at;
    default: return -1;
    }
}

/* Reflection needs something to reflect: less than the side, or with `symmetric` not more than it. */
static int32_t check_sides(const image *im, const image_window *win, cvr_error *err) {
    for (int i = 0; i < 4; i++) {
        const int64_t side = i % 2 == 0 ? im->w : im->h;
        const int64_t most = win->mode == PADDING_REFLECT     ? side - 1
                             : win->mode == PADDING_SYMMETRIC ? side
                                                              : INT64_MAX;
        if (win->pad[i] > most) {
            return cvr_fail(err, CVR_ERR_USAGE,
                            "padding of %lld is too much to mirror in a picture of %lld x %lld; use less, or "
                            "padding_mode=edge",
                            (long long)win->pad[i], (long long)im->w, (long long)im->h);
        }
    }
    return CVR_OK;
}

static void fill_pixels(void *to, int64_t n, const image *im, const fill_attr *fill) {
    for (int64_t i = 0; i < n; i++) {
        for (int64_t c = 0; c < im->c; c++) {
            const double v = image_fill_of(fill, c);
            if (im->dtype == CVR_U8)
                ((uint8_t *)to)[i * im->c + c] = (uint8_t)v;
            else
                ((float *)to)[i * im->c + c] = (float)v;
        }
    }
}

/* columns: (w) source column of each output column, or -1 */
static void copy_row(char *to, const char *from, const int64_t *columns, int64_t w, const image *im,
                     const fill_attr *fill) {
    const uint64_t p = image_pixel_bytes(im);
    for (int64_t x = 0; x < w;) {
        int64_t run = 1;
        if (columns[x] < 0) {
            fill_pixels(to + (uint64_t)x * p, 1, im, fill);
        } else {
            while (x + run < w && columns[x + run] == columns[x] + run) run++;
            memcpy(to + (uint64_t)x * p, from + (uint64_t)columns[x] * p, (uint64_t)run * p);
        }
        x += run;
    }
}

int32_t image_copy_window(cvr_sample *s, const image *im, const image_window *win, image *out, cvr_error *err) {
    const uint64_t size = cvr_dtype_size(im->dtype);
    CVR_TRY(check_sides(im, win, err));
    if (win->mode == PADDING_CONSTANT) CVR_TRY(image_check_fill(im, &win->fill, err));
    if (win->mode != PADDING_CONSTANT && win->fill.n > 1)
        return cvr_fail(err, CVR_ERR_USAGE, "a fill for each channel goes with padding_mode=constant only");
    CVR_TRY(image_new(s, im, win->h, win->w, im->c, out, err));
    int64_t *const columns = s->alloc(s, (uint64_t)win->w * sizeof *columns);
    if (!columns) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory for a picture");
    for (int64_t x = 0; x < win->w; x++) columns[x] = source_of(win->left + x, win->pad[0], im->w, win->mode);
    for (int64_t y = 0; y < win->h; y++) {
        char *const to = (char *)out->data + (uint64_t)(y * out->row) * size;
        const int64_t from = source_of(win->top + y, win->pad[1], im->h, win->mode);
        if (from < 0)
            fill_pixels(to, win->w, im, &win->fill);
        else
            copy_row(to, (const char *)im->data + (uint64_t)(from * im->row) * size, columns, win->w, im, &win->fill);
    }
    return CVR_OK;
}
