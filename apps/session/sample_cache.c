/*
 * A data set that remembers: decoded pixels, since the system keeps files in memory by itself, and decoding is what a
 * batch waits for. What is full stays as it is: every sample is read once an epoch, so that none is worth more than
 * another. Which samples are kept depends on the threads; what is read does not, as a picture's part has the pixels of
 * the whole.
 */
#include "sample_cache.h"
#include <cvr/base.h>
#include <unistd.h>

#define MOST_FIELDS 16u

typedef struct kept {
    cvr_origin origin;
    uint32_t n;
    cvr_field fields[MOST_FIELDS];
} kept;

struct sample_cache {
    cvr_dataset_desc desc;
    const cvr_dataset_desc *inner;
    void *self;
    atomic_int_fast64_t *left;
    int64_t n;
    _Atomic(kept *) *samples;
};

static uint64_t field_bytes(const cvr_field *f) {
    return cvr_dtype_size(f->dtype) * (uint64_t)cvr_numel(f->rank, f->shape);
}

/* Of the picture only the part that is wanted. */
static int32_t give_picture(const cvr_field *f, cvr_sample *out, cvr_error *err) {
    cvr_part part = {.struct_size = sizeof part};
    cvr_field *to = NULL, like = *f;
    cvr_part_whole(&part, f->shape[0], f->shape[1]);
    if (out->request) {
        CVR_TRY(out->request->choose(out->request, f->shape[0], f->shape[1], f->shape[2], &part, err));
        part.reduce = 1;
        *out->request->given = part;
    }
    like.shape[0] = part.rows;
    like.shape[1] = part.columns;
    CVR_TRY(out->add(out, &like, &to, err));
    const uint64_t pixel = cvr_dtype_size(f->dtype) * (uint64_t)f->shape[2], row = pixel * (uint64_t)part.columns;
    const char *from = (const char *)f->data + pixel * (uint64_t)(part.top * f->shape[1] + part.left);
    for (int64_t y = 0; y < part.rows; y++)
        memcpy((char *)to->data + (uint64_t)y * row, from + (uint64_t)(y * f->shape[1]) * pixel, (size_t)row);
    return CVR_OK;
}

static int32_t give(const kept *k, cvr_sample *out, cvr_error *err) {
    const int64_t index = out->origin->index;
    *out->origin = k->origin;
    out->origin->index = index;
    for (uint32_t i = 0; i < k->n; i++) {
        const cvr_field *f = &k->fields[i];
        cvr_field *to = NULL;
        if (cvr_field_is(f, CVR_FIELD_IMAGE) && f->rank == 3) {
            CVR_TRY(give_picture(f, out, err));
            continue;
        }
        CVR_TRY(out->add(out, f, &to, err));
        memcpy(to->data, f->data, (size_t)field_bytes(f));
    }
    return CVR_OK;
}

/* One block: what is known of the sample, and its fields' memory behind it. NULL where there is no room. */
static kept *copy_of(sample_cache *c, const cvr_sample *s, int64_t *size) {
    uint64_t bytes = (sizeof(kept) + 63) / 64 * 64;
    if (s->n_fields > MOST_FIELDS) return NULL;
    for (uint32_t i = 0; i < s->n_fields; i++) bytes += (field_bytes(s->fields[i]) + 63) / 64 * 64;
    *size = (int64_t)bytes;
    if (atomic_fetch_sub(c->left, *size) < *size) {
        atomic_fetch_add(c->left, *size);
        return NULL;
    }
    kept *k = cvr_alloc_aligned(bytes, 64);
    if (!k) return NULL;
    char *at = (char *)k + (sizeof *k + 63) / 64 * 64;
    k->origin = *s->origin;
    k->n = s->n_fields;
    for (uint32_t i = 0; i < k->n; i++) {
        k->fields[i] = *s->fields[i];
        k->fields[i].data = at;
        memcpy(at, s->fields[i]->data, (size_t)field_bytes(s->fields[i]));
        at += (field_bytes(s->fields[i]) + 63) / 64 * 64;
    }
    return k;
}

/* Two threads may have read the same sample at the same time: the first one's copy stays. */
static void keep(sample_cache *c, int64_t index, const cvr_sample *s) {
    int64_t size = 0;
    kept *k = copy_of(c, s, &size), *none = NULL;
    if (!k || atomic_compare_exchange_strong(&c->samples[index], &none, k)) return;
    atomic_fetch_add(c->left, size);
    cvr_free(k);
}

static int32_t cached_read(const void *self, int64_t index, cvr_sample *out, cvr_error *err) {
    sample_cache *c = (sample_cache *)(uintptr_t)self; /* its own counters and copies change, the data set does not */
    const kept *k = atomic_load(&c->samples[index]);
    if (k) return give(k, out, err);
    if (atomic_load(c->left) <= 0) return c->inner->read(c->self, index, out, err);
    const cvr_part_request *request = out->request;
    out->request = NULL; /* the next epoch wants another part */
    const int32_t status = c->inner->read(c->self, index, out, err);
    out->request = request;
    if (status == CVR_OK) keep(c, index, out);
    return status;
}

static int64_t cached_count(const void *self) {
    return ((const sample_cache *)self)->n;
}

static int64_t cached_n_classes(const void *self) {
    const sample_cache *c = self;
    return c->inner->n_classes(c->self);
}

static const char *cached_class_name(const void *self, int64_t i) {
    const sample_cache *c = self;
    return c->inner->class_name(c->self, i);
}

static void cached_describe(const void *self, int64_t index, char *buf, uint64_t size) {
    const sample_cache *c = self;
    c->inner->describe(c->self, index, buf, size);
}

static int64_t cached_label(const void *self, int64_t index) {
    const sample_cache *c = self;
    return c->inner->label(c->self, index);
}

static const char *cached_kind(const void *self, uint32_t i) {
    const sample_cache *c = self;
    return c->inner->kind(c->self, i);
}

static int64_t cached_rows(const void *self, int64_t index, const char *axis) {
    const sample_cache *c = self;
    return c->inner->rows(c->self, index, axis);
}

static int32_t cached_size(const void *self, int64_t index, int64_t *height, int64_t *width, cvr_error *err) {
    const sample_cache *c = self;
    return c->inner->size(c->self, index, height, width, err);
}

static int32_t cached_objects(const void *self, int64_t index, cvr_object_fn each, void *ctx, cvr_error *err) {
    const sample_cache *c = self;
    return c->inner->objects(c->self, index, each, ctx, err);
}

static int64_t cached_class_id(const void *self, int64_t klass) {
    const sample_cache *c = self;
    return c->inner->class_id(c->self, klass);
}

int32_t sample_cache_create(sample_cache **out, const cvr_dataset_desc *inner, void *self, atomic_int_fast64_t *left,
                            cvr_error *err) {
    int64_t n;
    CVR_CALL_TO(n, inner, count, NULL, self);
    sample_cache *c = *out = cvr_calloc(1, sizeof *c);
    if (c) c->samples = cvr_calloc((size_t)n + 1, sizeof *c->samples);
    if (!c || !c->samples) {
        sample_cache_destroy(out);
        return cvr_fail(err, CVR_ERR_NOMEM, "out of memory for the cache of samples");
    }
    c->inner = inner;
    c->self = self;
    c->left = left;
    c->n = n;
    c->desc = *inner;
    c->desc.open = NULL;
    c->desc.close = NULL;
    c->desc.count = cached_count;
    c->desc.n_classes = cached_n_classes;
    c->desc.class_name = cached_class_name;
    c->desc.read = cached_read;
    c->desc.describe = cached_describe;
    c->desc.label = cached_label;
    c->desc.kind = cached_kind;
    c->desc.rows = inner->rows ? cached_rows : NULL;
    c->desc.size = inner->size ? cached_size : NULL;
    c->desc.objects = inner->objects ? cached_objects : NULL;
    c->desc.class_id = inner->class_id ? cached_class_id : NULL;
    return CVR_OK;
}

void sample_cache_destroy(sample_cache **out) {
    sample_cache *c = *out;
    *out = NULL;
    if (!c) return;
    for (int64_t i = 0; c->samples && i < c->n; i++) cvr_free(atomic_load(&c->samples[i]));
    cvr_free((void *)(uintptr_t)c->samples);
    cvr_free(c);
}

const cvr_dataset_desc *sample_cache_desc(const sample_cache *c) {
    return &c->desc;
}

/* MemAvailable where the system says it: what could be had without swapping. */
int64_t sample_cache_room(uint64_t wanted) {
    char line[128];
    unsigned long long kib = 0;
    if (wanted) return wanted > INT64_MAX ? INT64_MAX : (int64_t)wanted;
    FILE *f = fopen("/proc/meminfo", "r");
    while (f && kib == 0 && fgets(line, sizeof line, f))
        if (sscanf(line, "MemAvailable: %llu", &kib) != 1) kib = 0;
    if (f) fclose(f);
    if (kib) return (int64_t)(kib * 512);
    const long pages = sysconf(_SC_PHYS_PAGES), page = sysconf(_SC_PAGESIZE);
    return pages > 0 && page > 0 ? (int64_t)pages / 4 * page : 0;
}
