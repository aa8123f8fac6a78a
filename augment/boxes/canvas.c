/*
 * Canvases and letterboxes.
 */
#include "canvas.h"

static int64_t at_least_one(double side) {
    return side < 1 ? 1 : (int64_t)side;
}

canvas_fit canvas_fit_of(const image *im, int64_t h, int64_t w, int32_t centred) {
    const double down = (double)h / (double)im->h, across = (double)w / (double)im->w;
    canvas_fit f = {.scale = down < across ? down : across};
    f.h = at_least_one((double)im->h * f.scale);
    f.w = at_least_one((double)im->w * f.scale);
    if (centred) {
        f.top = (h - f.h) / 2;
        f.left = (w - f.w) / 2;
    }
    return f;
}

/* ---- pixels ---- */

static void put_pixel(const image *to, int64_t i, const fill_attr *fill) {
    for (int64_t c = 0; c < to->c; c++) {
        const double v = image_fill_of(fill, c);
        if (to->dtype == CVR_U8)
            ((uint8_t *)to->data)[i * to->c + c] = (uint8_t)v;
        else
            ((float *)to->data)[i * to->c + c] = (float)v;
    }
}

int32_t canvas_new(cvr_sample *s, const image *im, int64_t h, int64_t w, const fill_attr *fill, image *out,
                   cvr_error *err) {
    CVR_TRY(image_check_fill(im, fill, err));
    CVR_TRY(image_new(s, im, h, w, im->c, out, err));
    const uint64_t row = image_pixel_bytes(im) * (uint64_t)w;
    for (int64_t x = 0; x < w; x++) put_pixel(out, x, fill);
    for (int64_t y = 1; y < h; y++) memcpy((char *)out->data + (uint64_t)y * row, out->data, row);
    return CVR_OK;
}

void canvas_paste(const image *to, const image *from, int64_t top, int64_t left) {
    const uint64_t size = cvr_dtype_size(to->dtype), row = image_pixel_bytes(from) * (uint64_t)from->w;
    const image place = image_part(to, top, left, from->h, from->w);
    for (int64_t y = 0; y < from->h; y++)
        memcpy((char *)place.data + (uint64_t)(y * to->row) * size,
               (const char *)from->data + (uint64_t)(y * from->row) * size, row);
}

int32_t canvas_resize(cvr_sample *s, const image *im, int64_t h, int64_t w, int64_t interpolation, int64_t antialias,
                      image *out, cvr_error *err) {
    const image_resize how = {image_span_all(im->h, h), image_span_all(im->w, w), interpolation, antialias};
    return image_resample(s, im, &how, out, err);
}

/* ---- a letterbox ---- */

typedef struct letter_motion {
    const canvas_letter *l;
    canvas_fit fit;
} letter_motion;

static int32_t letter_pixels(const void *how, cvr_sample *s, const image *im, const fill_attr *classes, image *out,
                             cvr_error *err) {
    const letter_motion *const m = how;
    const canvas_letter *const l = m->l;
    image small;
    CVR_TRY(canvas_resize(s, im, m->fit.h, m->fit.w, classes ? INTERPOLATION_NEAREST : l->interpolation, l->antialias,
                          &small, err));
    *out = small;
    if (small.h == l->h && small.w == l->w) return CVR_OK;
    CVR_TRY(canvas_new(s, im, l->h, l->w, classes ? classes : &l->fill, out, err));
    canvas_paste(out, &small, m->fit.top, m->fit.left);
    return CVR_OK;
}

/* By the scale before sides are cut, and to the edge of the picture at most. */
static void letter_box(const void *how, float *box) {
    const letter_motion *const m = how;
    const int64_t side[2] = {m->fit.w, m->fit.h}, at[2] = {m->fit.left, m->fit.top};
    for (int i = 0; i < 4; i++) {
        const float x = (float)((double)box[i] * m->fit.scale);
        box[i] = image_clamp(x, side[i % 2]) + (float)at[i % 2];
    }
}

int32_t canvas_letter_apply(const canvas_letter *l, cvr_sample *s, cvr_error *err) {
    letter_motion how = {.l = l};
    image im;
    CVR_TRY(image_get(s, &im, NULL, err));
    if (im.h == l->h && im.w == l->w) return CVR_OK;
    how.fit = canvas_fit_of(&im, l->h, l->w, l->centred != 0);
    const image_motion m = {
        .how = &how,
        .pixels = letter_pixels,
        .box = letter_box,
        .mask_fill = l->mask_fill,
        .matrix = {how.fit.scale, 0, (double)how.fit.left, 0, how.fit.scale, (double)how.fit.top, 0, 0, 1},
    };
    return image_move(s, &m, err);
}

/* ---- several samples as one ---- */

int32_t canvas_join_objects(cvr_sample *to, const cvr_sample *from, const char *transform, cvr_error *err) {
    static const char *const kinds[] = {CVR_FIELD_BOXES, CVR_FIELD_BOX_LABELS, CVR_FIELD_MASKS};
    int64_t rows[2] = {-1, -1};
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        cvr_field *const mine = cvr_sample_find(to, kinds[i]);
        const cvr_field *const theirs = cvr_sample_find(from, kinds[i]);
        if (!mine && !theirs) continue;
        if (!mine || !theirs)
            return cvr_fail(err, CVR_ERR_INVALID, "%s: one of the pictures has %s, another has none", transform,
                            kinds[i]);
        if ((rows[0] >= 0 && rows[0] != mine->shape[0]) || (rows[1] >= 0 && rows[1] != theirs->shape[0]))
            return cvr_fail(err, CVR_ERR_INVALID, "%s: the fields of a picture's objects differ in length", transform);
        rows[0] = mine->shape[0];
        rows[1] = theirs->shape[0];
        CVR_TRY(box_rows_append(to, mine, theirs, err));
        rows[0] = mine->shape[0] - rows[1];
    }
    return CVR_OK;
}
