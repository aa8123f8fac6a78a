/* The memory of one sample, and what a plugin may do with its fields. */
#include "sample.h"

static void *arena_alloc(cvr_sample *sample, uint64_t bytes) {
    arena_sample *s = sample->ctx;
    if (bytes > (UINT64_C(1) << 40)) return NULL;
    const uint64_t wanted = (bytes + 63) / 64 * 64;
    for (uint32_t i = 0; i < s->n_blocks; i++) {
        if (s->blocks[i].bytes - s->blocks[i].used < wanted) continue;
        void *p = s->blocks[i].memory + s->blocks[i].used;
        s->blocks[i].used += wanted;
        return p;
    }
    if (s->n_blocks == SAMPLE_MOST_BLOCKS) return NULL;
    const uint64_t bytes_of_block = wanted > 65536 ? wanted : 65536;
    char *memory = cvr_alloc_aligned(bytes_of_block, 64);
    if (!memory) return NULL;
    s->blocks[s->n_blocks].memory = memory;
    s->blocks[s->n_blocks].bytes = bytes_of_block;
    s->blocks[s->n_blocks++].used = wanted;
    return memory;
}

static int32_t arena_add(cvr_sample *sample, const cvr_field *like, cvr_field **out, cvr_error *err) {
    arena_sample *s = sample->ctx;
    uint64_t bytes = cvr_dtype_size(like->dtype);
    if (!like->name || !like->kind || sample->n_fields >= SAMPLE_MOST_FIELDS || like->rank > 4 || !bytes ||
        sample_field(s, like->name))
        return cvr_fail(err, CVR_ERR_PLUGIN,
                        "a field `%s` that no sample can have: without a name or a kind, of a name that is there "
                        "already, of rank %u, of an element type that is none, or one of more than %u",
                        like->name ? like->name : "", like->rank, SAMPLE_MOST_FIELDS);
    if (!pipeline_kind(s->pipeline, like->kind))
        return cvr_fail(err, CVR_ERR_PLUGIN,
                        "field `%s` is of the kind `%s`, which neither the data set nor a "
                        "transform has named",
                        like->name, like->kind);
    for (uint32_t i = 0; i < like->rank; i++) {
        if (like->shape[i] < 0 || __builtin_mul_overflow(bytes, (uint64_t)like->shape[i], &bytes))
            return cvr_fail(err, CVR_ERR_FORMAT, "field `%s` is too large", like->name);
    }
    cvr_field *f = &s->fields[sample->n_fields];
    *f = *like;
    f->struct_size = sizeof *f;
    for (uint32_t i = like->rank; i < 4; i++) f->shape[i] = 1;
    f->data = arena_alloc(sample, bytes);
    if (!f->data) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory for a sample of %.1f MB", (double)bytes * 1e-6);
    sample->n_fields++;
    *out = f;
    return CVR_OK;
}

static const cvr_field_kind *arena_kind(const cvr_sample *sample, const char *kind) {
    return pipeline_kind(((const arena_sample *)sample->ctx)->pipeline, kind);
}

static bool has_axis(const cvr_sample *sample, const cvr_field *f, const char *axis) {
    const cvr_field_kind *k = arena_kind(sample, f->kind);
    return k && k->axis && strcmp(k->axis, axis) == 0;
}

static int32_t arena_filter(cvr_sample *sample, const char *axis, const uint8_t *keep, int64_t n, cvr_error *err) {
    for (uint32_t i = 0; i < sample->n_fields; i++) {
        cvr_field *f = sample->fields[i];
        if (!has_axis(sample, f, axis)) continue;
        if (f->rank < 1 || f->shape[0] != n)
            return cvr_fail(err, CVR_ERR_PLUGIN, "field `%s` has %lld rows of the axis `%s`, which has %lld", f->name,
                            (long long)f->shape[0], axis, (long long)n);
        const uint64_t row = (uint64_t)(f->shape[1] * f->shape[2] * f->shape[3]) * cvr_dtype_size(f->dtype);
        char *to = f->data;
        f->shape[0] = 0;
        for (int64_t r = 0; r < n; r++) {
            if (!keep[r]) continue;
            memmove(to + (uint64_t)f->shape[0]++ * row, to + (uint64_t)r * row, row);
        }
    }
    return CVR_OK;
}

void sample_init(arena_sample *s, const pipeline *p) {
    memset(s, 0, sizeof *s);
    for (uint32_t i = 0; i < SAMPLE_MOST_FIELDS; i++) s->pointers[i] = &s->fields[i];
    s->pipeline = p;
    s->sample = (cvr_sample){.struct_size = sizeof s->sample,
                             .ctx = s,
                             .fields = s->pointers,
                             .origin = &s->origin,
                             .alloc = arena_alloc,
                             .add = arena_add,
                             .filter = arena_filter,
                             .kind = arena_kind};
}

/* What the last sample needed in several blocks, the next finds in one: so that blocks never run out, however sizes
 * vary. */
void sample_reset(arena_sample *s, int64_t index) {
    uint64_t total = 0;
    s->sample.n_fields = 0;
    s->origin = (cvr_origin){
        .struct_size = sizeof s->origin, .index = index, .id = index, .geometry = {1, 0, 0, 0, 1, 0, 0, 0, 1}};
    for (uint32_t i = 0; i < s->n_blocks; i++) {
        s->blocks[i].used = 0;
        total += s->blocks[i].bytes;
    }
    if (s->n_blocks < 2) return;
    sample_free(s);
    s->blocks[0].memory = cvr_alloc_aligned(total, 64);
    s->blocks[0].bytes = total;
    s->n_blocks = s->blocks[0].memory ? 1 : 0;
}

void sample_free(arena_sample *s) {
    for (uint32_t i = 0; i < s->n_blocks; i++) cvr_free(s->blocks[i].memory);
    s->n_blocks = 0;
}

int32_t workbench_take(workbench *w, arena_sample **out, cvr_error *err) {
    if (w->used == w->n) {
        arena_sample **more = cvr_grow(w->samples, w->n, &w->capacity, sizeof *more);
        if (more) w->samples = more;
        arena_sample *s = more ? cvr_calloc(1, sizeof *s) : NULL;
        if (!s) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
        sample_init(s, w->pipeline);
        more[w->n++] = s;
    }
    *out = w->samples[w->used++];
    return CVR_OK;
}

void workbench_free(workbench *w) {
    for (size_t i = 0; i < w->n; i++) {
        sample_free(w->samples[i]);
        cvr_free(w->samples[i]);
    }
    cvr_free(w->samples);
    sample_free(&w->header);
}

cvr_sample *workbench_header(workbench *w, int64_t height, int64_t width, int64_t channels) {
    arena_sample *h = &w->header;
    if (!h->pipeline) sample_init(h, w->pipeline);
    sample_reset(h, 0);
    h->fields[0] = (cvr_field){.struct_size = sizeof h->fields[0],
                               .name = "image",
                               .kind = CVR_FIELD_IMAGE,
                               .dtype = CVR_U8,
                               .rank = 3,
                               .shape = {height, width, channels, 1}};
    h->sample.n_fields = 1;
    return &h->sample;
}
