/*
 * Boxes of a sample, and the objects that they belong to.
 */
#include "box_rows.h"

#define OBJECT_AXIS "object" /* of cvr_field_kind.axis */

int32_t box_rows_get(const cvr_sample *s, const char *transform, box_rows *out, cvr_error *err) {
    const cvr_field *const f = cvr_sample_find(s, CVR_FIELD_BOXES);
    if (!f)
        return cvr_fail(err, CVR_ERR_USAGE, "%s: the sample has no boxes; leave it out, or choose data that has them",
                        transform);
    if (f->dtype != CVR_F32 || f->rank != 2 || f->shape[1] != 4)
        return cvr_fail(err, CVR_ERR_INVALID, "field '%s' is %s of rank %u; boxes are (object, 4) f32", f->name,
                        cvr_dtype_name(f->dtype), (unsigned)f->rank);
    *out = (box_rows){f->shape[0], f->data};
    return CVR_OK;
}

int32_t box_rows_flags(cvr_sample *s, int64_t n, uint8_t **keep, cvr_error *err) {
    *keep = s->alloc(s, (uint64_t)n + 1);
    if (!*keep) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory for the objects of a picture");
    memset(*keep, 1, (size_t)n);
    return CVR_OK;
}

int32_t box_rows_keep(cvr_sample *s, const uint8_t *keep, int64_t n, cvr_error *err) {
    return memchr(keep, 0, (size_t)n) ? s->filter(s, OBJECT_AXIS, keep, n, err) : CVR_OK;
}

int32_t box_rows_drop_empty(cvr_sample *s, cvr_error *err) {
    const cvr_field *const f = cvr_sample_find(s, CVR_FIELD_BOXES);
    uint8_t *keep;
    if (!f) return CVR_OK;
    CVR_TRY(box_rows_flags(s, f->shape[0], &keep, err));
    for (int64_t i = 0; i < f->shape[0]; i++) keep[i] = !box_is_empty((const float *)f->data + 4 * i);
    return box_rows_keep(s, keep, f->shape[0], err);
}

void box_rows_clamp(const cvr_sample *s, int64_t height, int64_t width) {
    for (uint32_t k = 0; k < s->n_fields; k++) {
        const cvr_field *const f = s->fields[k];
        if (!cvr_field_is(f, CVR_FIELD_BOXES) || f->dtype != CVR_F32 || f->rank != 2 || f->shape[1] != 4) continue;
        float *const x = f->data;
        for (int64_t i = 0; i < 4 * f->shape[0]; i++) x[i] = image_clamp(x[i], i % 2 ? height : width);
    }
}

int32_t box_rows_append(cvr_sample *s, cvr_field *to, const cvr_field *from, cvr_error *err) {
    if (!from || from->dtype != to->dtype || from->rank != to->rank || from->shape[1] != to->shape[1] ||
        from->shape[2] != to->shape[2])
        return cvr_fail(err, CVR_ERR_INVALID, "field '%s' is another in the other picture", to->name);
    const uint64_t row = cvr_dtype_size(to->dtype) * (uint64_t)(to->shape[1] * to->shape[2]);
    const uint64_t mine = row * (uint64_t)to->shape[0], theirs = row * (uint64_t)from->shape[0];
    char *const both = s->alloc(s, mine + theirs + 1);
    if (!both) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory for the objects of two pictures");
    memcpy(both, to->data, mine);
    memcpy(both + mine, from->data, theirs);
    to->data = both;
    to->shape[0] += from->shape[0];
    return CVR_OK;
}
