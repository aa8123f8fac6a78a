/*
 * The walk over the fields of a sample.
 */
#include "image_move.h"

const char *const image_moved[IMAGE_N_MOVED] = {CVR_FIELD_MASK, CVR_FIELD_BOXES, CVR_FIELD_MASKS};

/* The field's picture axes, from axis `at` on, are those of `was`. */
static int32_t check_size(const cvr_field *f, uint32_t at, const image *was, cvr_error *err) {
    if (f->rank > at + 1 && f->shape[at] == was->h && f->shape[at + 1] == was->w) return CVR_OK;
    return cvr_fail(err, CVR_ERR_INVALID, "field '%s' is %lld x %lld, its picture is %lld x %lld", f->name,
                    (long long)f->shape[at + 1], (long long)f->shape[at], (long long)was->w, (long long)was->h);
}

static int32_t check_type(const cvr_field *f, uint32_t dtype, uint32_t rank, cvr_error *err) {
    if (f->dtype == dtype && f->rank == rank) return CVR_OK;
    return cvr_fail(err, CVR_ERR_INVALID, "field '%s' is %s of rank %u; its kind is %s of rank %u", f->name,
                    cvr_dtype_name(f->dtype), (unsigned)f->rank, cvr_dtype_name(dtype), (unsigned)rank);
}

static int32_t move_picture(cvr_sample *s, const image_motion *m, cvr_field *f, image *out, cvr_error *err) {
    image im;
    CVR_TRY(image_of_field(f, &im, err));
    CVR_TRY(m->pixels(m->how, s, &im, NULL, out, err));
    return image_set_dense(s, f, out, err);
}

/* masks: (n, was.h, was.w) u8 to (n, now.h, now.w), one after the other. A mask is one of them. */
static int32_t move_masks(cvr_sample *s, const image_motion *m, cvr_field *f, const image *was, const image *now,
                          cvr_error *err) {
    const uint32_t at = f->rank - 2;
    const fill_attr classes = {1, {at == 0 ? (double)m->mask_fill : 0}};
    const int64_t n = at == 0 ? 1 : f->shape[0], side = was->h * was->w;
    image all;
    CVR_TRY(check_size(f, at, was, err));
    if (n > 0) {
        CVR_TRY(image_new(s, &(image){.dtype = CVR_U8}, now->h, now->w, n, &all, err));
        for (int64_t i = 0; i < n; i++) {
            const image one = {was->h, was->w, 1, was->w, CVR_U8, 0, (uint8_t *)f->data + i * side};
            image to;
            CVR_TRY(m->pixels(m->how, s, &one, &classes, &to, err));
            uint8_t *const plane = (uint8_t *)all.data + i * now->h * now->w;
            for (int64_t y = 0; y < now->h; y++)
                memcpy(plane + y * now->w, (const uint8_t *)to.data + y * to.row, (uint64_t)now->w);
        }
        f->data = all.data;
    }
    f->shape[at] = now->h;
    f->shape[at + 1] = now->w;
    return CVR_OK;
}

static int32_t move_field(cvr_sample *s, const image_motion *m, cvr_field *f, const image *was, const image *now,
                          cvr_error *err) {
    image other;
    if (cvr_field_is(f, CVR_FIELD_IMAGE)) {
        CVR_TRY(check_size(f, 0, was, err));
        return move_picture(s, m, f, &other, err);
    }
    if (cvr_field_is(f, CVR_FIELD_MASK) || cvr_field_is(f, CVR_FIELD_MASKS)) {
        CVR_TRY(check_type(f, CVR_U8, cvr_field_is(f, CVR_FIELD_MASK) ? 2 : 3, err));
        return move_masks(s, m, f, was, now, err);
    }
    if (cvr_field_is(f, CVR_FIELD_BOXES)) {
        CVR_TRY(check_type(f, CVR_F32, 2, err));
        if (f->shape[1] != 4)
            return cvr_fail(err, CVR_ERR_INVALID, "field '%s' has boxes of %lld numbers; a box has 4", f->name,
                            (long long)f->shape[1]);
        for (int64_t i = 0; i < f->shape[0]; i++) m->box(m->how, (float *)f->data + 4 * i);
    }
    return CVR_OK;
}

int32_t image_move(cvr_sample *s, const image_motion *m, cvr_error *err) {
    image was, now;
    cvr_field *picture = NULL;
    CVR_TRY(image_get(s, &was, &picture, err));
    CVR_TRY(move_picture(s, m, picture, &now, err));
    for (uint32_t i = 0; i < s->n_fields; i++) {
        if (s->fields[i] != picture) CVR_TRY(move_field(s, m, s->fields[i], &was, &now, err));
    }
    cvr_sample_moved(s, m->matrix);
    return CVR_OK;
}
