/*
 * Transforms of geometry, part by part: cropping with resizing, and windows.
 */
#include "image_move.h"

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

typedef struct crop_step {
    const image_crop *crop;
    const cvr_part_step *step;
} crop_step;

static int32_t crop_pixels(const void *how, cvr_sample *s, const image *im, const fill_attr *classes, image *out,
                           cvr_error *err) {
    const crop_step *const c = how;
    image_crop crop = *c->crop;
    image_resize resize;
    if (classes) crop.interpolation = INTERPOLATION_NEAREST;
    spans_of(&crop, c->step, c->step->in->reduce, &resize);
    return image_resample(s, im, &resize, out, err);
}

/* What is left of a box in the crop, in the ratio of the sizes. */
static void crop_box(const void *how, float *box) {
    const crop_step *const c = how;
    const image_crop *const crop = c->crop;
    const int64_t at[2] = {crop->left, crop->top}, in[2] = {crop->w, crop->h};
    const int64_t out[2] = {c->step->out->width, c->step->out->height};
    for (int i = 0; i < 4; i++) {
        if (crop->clips) box[i] = image_clamp(box[i] - (float)at[i % 2], in[i % 2]);
        box[i] *= (float)((double)out[i % 2] / (double)in[i % 2]);
    }
}

int32_t image_crop_apply(const image_crop *c, const cvr_part_step *step, cvr_sample *s, cvr_error *err) {
    const crop_step how = {c, step};
    const double across = (double)step->out->width / (double)c->w, down = (double)step->out->height / (double)c->h;
    const image_motion m = {
        .how = &how,
        .pixels = crop_pixels,
        .box = crop_box,
        .matrix = {across, 0, -(double)c->left * across, 0, down, -(double)c->top * down, 0, 0, 1},
    };
    return image_move(s, &m, err);
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

typedef struct window_step {
    const image_window *win;
    const cvr_part_step *step;
} window_step;

static int32_t window_pixels(const void *how, cvr_sample *s, const image *im, const fill_attr *classes, image *out,
                             cvr_error *err) {
    const window_step *const w = how;
    const cvr_part *const in = w->step->in, *const part = w->step->out;
    image_window here = *w->win;
    here.top += part->top - in->top;
    here.left += part->left - in->left;
    here.h = part->rows;
    here.w = part->columns;
    if (classes) here.fill = *classes;
    return image_copy_window(s, im, &here, out, err);
}

static void window_box(const void *how, float *box) {
    const window_step *const w = how;
    const int64_t pad[2] = {w->win->pad[0], w->win->pad[1]}, at[2] = {w->win->left, w->win->top};
    const int64_t side[2] = {w->step->out->width, w->step->out->height};
    for (int i = 0; i < 4; i++) box[i] = image_clamp(box[i] + (float)pad[i % 2] - (float)at[i % 2], side[i % 2]);
}

int32_t image_window_apply(const image_window *win, const cvr_part_step *step, cvr_sample *s, cvr_error *err) {
    const window_step how = {win, step};
    const image_motion m = {
        .how = &how,
        .pixels = window_pixels,
        .box = window_box,
        .mask_fill = win->mask_fill,
        .matrix = {1, 0, (double)(win->pad[0] - win->left), 0, 1, (double)(win->pad[1] - win->top), 0, 0, 1},
    };
    if (is_padded(win) && win->mode != PADDING_CONSTANT && cvr_sample_find(s, CVR_FIELD_BOXES)) {
        return cvr_fail(err, CVR_ERR_USAGE, "objects in a mirrored border have no boxes; use padding_mode=constant");
    }
    return image_move(s, &m, err);
}

int32_t image_stay_apply(const cvr_part_step *step, cvr_sample *s, cvr_error *err) {
    const cvr_part *const in = step->in, *const out = step->out;
    image im;
    cvr_field *field = NULL;
    CVR_TRY(image_get(s, &im, &field, err));
    im = image_part(&im, out->top - in->top, out->left - in->left, out->rows, out->columns);
    return image_set_dense(s, field, &im, err);
}

int32_t image_apply_whole(const cvr_augment_desc *d, const void *attrs, const double *params, cvr_sample *s,
                          cvr_error *err) {
    cvr_part in, out = {.struct_size = sizeof out};
    const cvr_part_step step = {sizeof step, attrs, params, &in, &out};
    image im;
    CVR_TRY(image_get(s, &im, NULL, err));
    cvr_part_whole(&in, im.h, im.w);
    CVR_TRY(d->part_size(&step, err));
    cvr_part_whole(&out, out.height, out.width);
    return d->part_apply(&step, s, err);
}

int32_t image_size_part(const cvr_part_step *step, cvr_error *err) {
    const size_attr *const size = step->attrs;
    (void)err;
    step->out->height = size_height(size);
    step->out->width = size_width(size);
    return CVR_OK;
}
