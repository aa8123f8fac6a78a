/*
 * Canvases, and what is put on them.
 */
#include "canvas.h"

canvas_fit canvas_fit_of(const image *im, int64_t h, int64_t w, int32_t centred) {
    const double down = (double)h / (double)im->h, across = (double)w / (double)im->w;
    canvas_fit f = {.scale = down < across ? down : across};
    f.h = canvas_side((double)im->h * f.scale);
    f.w = canvas_side((double)im->w * f.scale);
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

int32_t canvas_put(cvr_sample *s, const image *from, const canvas_place *at, image *out, cvr_error *err) {
    *out = *from;
    if (from->h == at->h && from->w == at->w) return CVR_OK;
    CVR_TRY(canvas_new(s, from, at->h, at->w, at->fill, out, err));
    canvas_paste(out, from, at->top, at->left);
    return CVR_OK;
}

int32_t canvas_resize(cvr_sample *s, const image *im, int64_t h, int64_t w, int64_t interpolation, int64_t antialias,
                      image *out, cvr_error *err) {
    const image_resize how = {image_span_all(im->h, h), image_span_all(im->w, w), interpolation, antialias};
    return image_resample(s, im, &how, out, err);
}

/* ---- several samples as one ---- */

const char *const canvas_joined[CANVAS_N_JOINED] = {CVR_FIELD_BOXES, CVR_FIELD_BOX_LABELS, CVR_FIELD_MASKS};

int32_t canvas_check_scale(const double scale[2], const char *transform, cvr_error *err) {
    if (scale[0] > 0 && scale[0] <= scale[1]) return CVR_OK;
    return cvr_fail(err, CVR_ERR_USAGE, "%s: scale = %g,%g; give the least, above 0, and the most", transform, scale[0],
                    scale[1]);
}

int32_t canvas_check_alike(const image *to, const image *from, const char *transform, cvr_error *err) {
    if (to->c == from->c && to->dtype == from->dtype) return CVR_OK;
    return cvr_fail(err, CVR_ERR_INVALID,
                    "%s: one picture has %lld channels, another %lld, or they are not of one type; set "
                    "model.in_channels",
                    transform, (long long)to->c, (long long)from->c);
}

int32_t canvas_join_objects(cvr_sample *to, const cvr_sample *from, const char *transform, cvr_error *err) {
    int64_t n = -1, more = -1; /* objects of both */
    for (size_t i = 0; i < CANVAS_N_JOINED; i++) {
        cvr_field *const mine = cvr_sample_find(to, canvas_joined[i]);
        const cvr_field *const theirs = cvr_sample_find(from, canvas_joined[i]);
        if (!mine && !theirs) continue;
        if (!mine || !theirs)
            return cvr_fail(err, CVR_ERR_INVALID, "%s: one of the pictures has %s, another has none", transform,
                            canvas_joined[i]);
        if (n < 0) {
            n = mine->shape[0];
            more = theirs->shape[0];
        }
        if (n != mine->shape[0] || more != theirs->shape[0])
            return cvr_fail(err, CVR_ERR_INVALID, "%s: the fields of a picture's objects differ in length", transform);
        CVR_TRY(box_rows_append(to, mine, theirs, err));
    }
    return CVR_OK;
}
