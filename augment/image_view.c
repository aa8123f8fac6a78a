/*
 * The picture of a sample.
 */
#include "image_view.h"

/* Far more than any picture; so that products of sides stay far below 2^63. */
#define MAX_SIDE 1000000
#define MAX_BYTES ((uint64_t)1 << 40)

int32_t image_of_field(const cvr_field *f, image *out, cvr_error *err) {
    if (f->rank != 3 || (f->dtype != CVR_U8 && f->dtype != CVR_F32)) {
        return cvr_fail(err, CVR_ERR_UNSUPPORTED,
                        "a picture of type %s and rank %u; transforms take (H, W, C) of u8 or f32",
                        cvr_dtype_name(f->dtype), (unsigned)f->rank);
    }
    if (f->shape[0] < 1 || f->shape[1] < 1 || f->shape[2] < 1) {
        return cvr_fail(err, CVR_ERR_INVALID, "an empty picture: %lld x %lld", (long long)f->shape[1],
                        (long long)f->shape[0]);
    }
    *out = (image){f->shape[0], f->shape[1], f->shape[2], f->shape[1] * f->shape[2], f->dtype, 0, f->data};
    return CVR_OK;
}

int32_t image_get(const cvr_sample *s, image *out, cvr_field **field, cvr_error *err) {
    cvr_field *const f = cvr_sample_find(s, CVR_FIELD_IMAGE);
    if (!f) return cvr_fail(err, CVR_ERR_INVALID, "the sample has no picture");
    if (field) *field = f;
    return image_of_field(f, out, err);
}

int32_t image_new(cvr_sample *s, const image *like, int64_t h, int64_t w, int64_t c, image *out, cvr_error *err) {
    const uint64_t size = cvr_dtype_size(like->dtype);
    if (h < 1 || w < 1 || h > MAX_SIDE || w > MAX_SIDE ||
        (uint64_t)h * (uint64_t)w > MAX_BYTES / ((uint64_t)c * size)) {
        return cvr_fail(err, CVR_ERR_INVALID, "a picture would become %lld x %lld; change size or padding",
                        (long long)w, (long long)h);
    }
    *out = (image){h, w, c, w * c, like->dtype, 0, s->alloc(s, (uint64_t)(h * w * c) * size)};
    return out->data
               ? CVR_OK
               : cvr_fail(err, CVR_ERR_NOMEM, "out of memory for a picture of %lld x %lld", (long long)w, (long long)h);
}

void image_set(cvr_field *field, const image *im) {
    field->dtype = im->dtype;
    field->shape[0] = im->h;
    field->shape[1] = im->w;
    field->shape[2] = im->c;
    field->data = im->data;
}

int32_t image_set_dense(cvr_sample *s, cvr_field *field, const image *im, cvr_error *err) {
    image dense = *im;
    const uint64_t size = cvr_dtype_size(im->dtype), row = (uint64_t)(im->w * im->c) * size;
    if (im->row != im->w * im->c) {
        CVR_TRY(image_new(s, im, im->h, im->w, im->c, &dense, err));
        for (int64_t y = 0; y < im->h; y++)
            memcpy((char *)dense.data + (uint64_t)y * row, (const char *)im->data + (uint64_t)(y * im->row) * size,
                   row);
    }
    image_set(field, &dense);
    return CVR_OK;
}

int32_t image_own(cvr_sample *s, image *out, cvr_error *err) {
    image im;
    cvr_field *field = NULL;
    CVR_TRY(image_get(s, &im, &field, err));
    CVR_TRY(image_new(s, &im, im.h, im.w, im.c, out, err));
    memcpy(out->data, im.data, image_pixel_bytes(&im) * (uint64_t)(im.h * im.w));
    image_set(field, out);
    return CVR_OK;
}

image image_part(const image *im, int64_t top, int64_t left, int64_t h, int64_t w) {
    image part = *im;
    part.h = h;
    part.w = w;
    part.data = (char *)im->data + (uint64_t)(top * im->row + left * im->c) * cvr_dtype_size(im->dtype);
    return part;
}

uint64_t image_pixel_bytes(const image *im) {
    return (uint64_t)im->c * cvr_dtype_size(im->dtype);
}

double draw_between(cvr_rng *rng, double a, double b) {
    return a + (b - a) * cvr_rng_uniform(rng);
}

int32_t draw_chance(cvr_rng *rng, double p) {
    return cvr_rng_uniform(rng) < p;
}
