/* A sample outside of any batch: its fields live in blocks that are given back with it. */
#include "pack.h"

static void *take(cvr_sample *sample, uint64_t bytes) {
    pack_sample *s = sample->ctx;
    void **more = cvr_grow(s->blocks, s->n_blocks, &s->capacity, sizeof *more);
    if (!more) return NULL;
    s->blocks = more;
    void *p = bytes <= SIZE_MAX ? cvr_alloc_aligned(bytes ? bytes : 1, 64) : NULL;
    if (p) s->blocks[s->n_blocks++] = p;
    return p;
}

static int32_t add(cvr_sample *sample, const cvr_field *like, cvr_field **out, cvr_error *err) {
    pack_sample *s = sample->ctx;
    uint64_t bytes = cvr_dtype_size(like->dtype);
    if (sample->n_fields == PACK_MOST_FIELDS)
        return cvr_fail(err, CVR_ERR_PLUGIN, "more than %u fields", PACK_MOST_FIELDS);
    if (like->rank > 4 || bytes == 0)
        return cvr_fail(err, CVR_ERR_PLUGIN, "field '%s' has no type or too many axes", like->name);
    for (uint32_t i = 0; i < like->rank; i++) {
        if (like->shape[i] < 0 || __builtin_mul_overflow(bytes, (uint64_t)like->shape[i], &bytes))
            return cvr_fail(err, CVR_ERR_PLUGIN, "field '%s' has no size", like->name);
    }
    cvr_field *f = &s->fields[sample->n_fields];
    *f = *like;
    for (uint32_t i = like->rank; i < 4; i++) f->shape[i] = 1;
    f->data = take(sample, bytes);
    if (!f->data) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory for field '%s'", like->name);
    s->pointers[sample->n_fields++] = f;
    *out = f;
    return CVR_OK;
}

static const cvr_field_kind *kind(const cvr_sample *sample, const char *name) {
    const pack_sample *s = sample->ctx;
    for (uint32_t i = 0; i < s->source->n_kinds; i++) {
        if (strcmp(s->source->kinds[i]->name, name) == 0) return s->source->kinds[i];
    }
    return NULL;
}

static int32_t filter(cvr_sample *sample, const char *axis, const uint8_t *keep, int64_t n, cvr_error *err) {
    for (uint32_t i = 0; i < sample->n_fields; i++) {
        cvr_field *f = sample->fields[i];
        const cvr_field_kind *k = kind(sample, f->kind);
        if (!k || !k->axis || strcmp(k->axis, axis) != 0) continue;
        if (f->shape[0] != n)
            return cvr_fail(err, CVR_ERR_PLUGIN, "field '%s' has %lld rows, not %lld", f->name, (long long)f->shape[0],
                            (long long)n);
        const uint64_t row = cvr_dtype_size(f->dtype) * (uint64_t)cvr_numel(f->rank - 1, f->shape + 1);
        char *const data = f->data;
        f->shape[0] = 0;
        for (int64_t r = 0; r < n; r++) {
            if (keep[r]) memmove(data + (uint64_t)f->shape[0]++ * row, data + (uint64_t)r * row, row);
        }
    }
    return CVR_OK;
}

void pack_sample_free(pack_sample *s) {
    for (size_t i = 0; i < s->n_blocks; i++) cvr_free(s->blocks[i]);
    cvr_free(s->blocks);
    memset(s, 0, sizeof *s);
}

int32_t pack_sample_read(pack_sample *s, const pack_source *source, int64_t index, cvr_error *err) {
    char name[sizeof err->file];
    pack_sample_free(s);
    s->source = source;
    s->origin = (cvr_origin){
        .struct_size = sizeof s->origin, .index = index, .id = index, .geometry = {1, 0, 0, 0, 1, 0, 0, 0, 1}};
    s->sample = (cvr_sample){.struct_size = sizeof s->sample,
                             .ctx = s,
                             .fields = s->pointers,
                             .origin = &s->origin,
                             .alloc = take,
                             .add = add,
                             .filter = filter,
                             .kind = kind};
    int32_t status;
    CVR_TRY_OUT(CVR_CALL(source->desc, read, NULL, err, source->self, index, &s->sample));
    return CVR_OK;
out:
    CVR_CALL_VOID(source->desc, describe, NULL, source->self, index, name, sizeof name);
    return cvr_fail_at(err, name, 0, status);
}
