/*
 * Transforms of geometry, part by part: cropping with resizing, and windows.
 */
#include "image.h"

/* What becomes of one side of a crop. `at` and `n` are in pixels of the whole picture, memory begins at `memory`. */
static image_span span_of(int64_t at, int64_t n, int64_t memory, int64_t reduce, int64_t out) {
    const int64_t first = at / reduce;
    return (image_span){(double)(at % reduce) / (double)reduce,
                        (double)n / (double)reduce,
                        cvr_part_reduced(at, n, reduce),
                        first - memory / reduce,
                        out,
                        0,
                        out};
}

static void spans_of(const image_crop *c, const cvr_part_step *step, int64_t reduce, image_resize *how) {
    how->down = span_of(c->top, c->h, step->in->top, reduce, step->out->height);
    how->down.from = step->out->top;
    how->down.n = step->out->rows;
    how->across = span_of(c->left, c->w, step->in->left, reduce, step->out->width);
    how->across.from = step->out->left;
    how->across.n = step->out->columns;
    how->interpolation = c->interpolation;
    how->antialias = c->antialias;
}

/* How far the crop may be reduced and still be as large as what is made of it. */
static int64_t most_reduced(const image_crop *c, const cvr_part *out) {
    int64_t reduce = 8;
    if (c->interpolation != INTERPOLATION_BILINEAR || !c->antialias) return 1;
    while (reduce > 1 && (c->h < reduce * out->height || c->w < reduce * out->width)) reduce /= 2;
    return reduce;
}

/* [*at, *at + *n) of a side, `more` further on either end, within the crop. */
static void widen(int64_t *at, int64_t *n, int64_t more, int64_t crop_at, int64_t crop_n) {
    const int64_t lo = *at - more > crop_at ? *at - more : crop_at;
    const int64_t hi = *at + *n + more < crop_at + crop_n ? *at + *n + more : crop_at + crop_n;
    *at = lo;
    *n = hi - lo;
}

int32_t image_crop_source(const image_crop *c, const cvr_part_step *step, cvr_error *err) {
    cvr_part *const in = step->in;
    image_resize how;
    int64_t lo, hi;
    if (c->top < 0 || c->left < 0 || c->h < 1 || c->w < 1 || c->h > in->height || c->w > in->width ||
        c->top > in->height - c->h || c->left > in->width - c->w)
        return cvr_fail(err, CVR_ERR_INVALID, "a crop of %lld x %lld at %lld,%lld is not in the picture",
                        (long long)c->w, (long long)c->h, (long long)c->left, (long long)c->top);
    spans_of(c, step, 1, &how);
    image_span_source(&how.down, c->interpolation, c->antialias, &lo, &hi);
    in->top = c->top + lo;
    in->rows = hi - lo;
    image_span_source(&how.across, c->interpolation, c->antialias, &lo, &hi);
    in->left = c->left + lo;
    in->columns = hi - lo;
    in->reduce = most_reduced(c, step->out);
    /* A reduced pixel that is looked at may lie across the edge. */
    if (in->reduce > 1) {
        widen(&in->top, &in->rows, 2 * in->reduce, c->top, c->h);
        widen(&in->left, &in->columns, 2 * in->reduce, c->left, c->w);
    }
    return CVR_OK;
}

int32_t image_crop_apply(const image_crop *c, const cvr_part_step *step, cvr_sample *s, cvr_error *err) {
    image im, out;
    cvr_field *field = NULL;
    image_resize how;
    int32_t status = image_get(s, &im, &field, err);
    const cvr_part *const in = step->in;
    const int32_t moves = c->top != 0 || c->left != 0 || c->h != in->height || c->w != in->width ||
                          step->out->height != in->height || step->out->width != in->width;
    if (status == CVR_OK && moves) status = image_has_no_mask(s, err);
    if (status != CVR_OK) return status;
    spans_of(c, step, step->in->reduce, &how);
    status = image_resample(s, &im, &how, &out, err);
    return status == CVR_OK ? image_set_dense(s, field, &out, err) : status;
}

static int32_t is_padded(const image_window *win) {
    return win->pad[0] || win->pad[1] || win->pad[2] || win->pad[3];
}

void image_window_source(const image_window *win, const cvr_part_step *step) {
    cvr_part *const in = step->in;
    const cvr_part *const out = step->out;
    cvr_part_whole(in, in->height, in->width);
    if (is_padded(win)) return;
    in->top = win->top + out->top;
    in->left = win->left + out->left;
    in->rows = out->rows;
    in->columns = out->columns;
}

int32_t image_window_apply(const image_window *win, const cvr_part_step *step, cvr_sample *s, cvr_error *err) {
    const cvr_part *const in = step->in, *const part = step->out;
    image im, out;
    cvr_field *field = NULL;
    image_window here = *win;
    int32_t status = image_get(s, &im, &field, err);
    const int32_t moves = win->top != 0 || win->left != 0 || win->pad[0] != 0 || win->pad[1] != 0 ||
                          part->height != in->height || part->width != in->width;
    if (status == CVR_OK && moves) status = image_has_no_mask(s, err);
    if (status != CVR_OK) return status;
    here.top += part->top - in->top;
    here.left += part->left - in->left;
    here.h = part->rows;
    here.w = part->columns;
    status = image_copy_window(s, &im, &here, &out, err);
    if (status == CVR_OK) image_set(field, &out);
    return status;
}

int32_t image_apply_whole(const cvr_augment_desc *d, const void *attrs, const double *params, cvr_sample *s,
                          cvr_error *err) {
    cvr_part in, out = {.struct_size = sizeof out};
    const cvr_part_step step = {sizeof step, attrs, params, &in, &out};
    image im;
    int32_t status = image_get(s, &im, NULL, err);
    if (status != CVR_OK) return status;
    cvr_part_whole(&in, im.h, im.w);
    status = d->part_size(&step, err);
    if (status != CVR_OK) return status;
    cvr_part_whole(&out, out.height, out.width);
    return d->part_apply(&step, s, err);
}
