/*
 * The store: everything that outlives a step, by name. Entries are declared while graphs are built, then placed on a
 * device as one block; placing them again on another device moves them.
 */
#include "initial.h"

#define STORE_ALIGN 64u

typedef struct stored {
    cvr_store_entry entry;
    cvr_init init;
    uint64_t offset;
    bool placed; /* has a value on the device */
} stored;

struct cvr_store {
    uint64_t seed;
    stored *entries;
    size_t n, capacity;
    cvr_device *device;
    char *memory; /* device address */
    uint64_t changes;
};

int32_t cvr_store_create(cvr_store **out, uint64_t seed, cvr_error *err) {
    *out = cvr_calloc(1, sizeof **out);
    if (!*out) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    (*out)->seed = seed;
    return CVR_OK;
}

void cvr_store_destroy(cvr_store **store) {
    cvr_store *s = *store;
    if (!s) return;
    for (size_t i = 0; i < s->n; i++) cvr_free((void *)(uintptr_t)s->entries[i].entry.name);
    cvr_device_free(s->device, s->memory);
    cvr_free(s->entries);
    cvr_free(s);
    *store = NULL;
}

size_t cvr_store_count(const cvr_store *s) {
    return s->n;
}

const cvr_store_entry *cvr_store_get(const cvr_store *s, size_t i) {
    return &s->entries[i].entry;
}

int64_t cvr_store_find(const cvr_store *s, const char *name) {
    for (size_t i = 0; i < s->n; i++) {
        if (strcmp(s->entries[i].entry.name, name) == 0) return (int64_t)i;
    }
    return -1;
}

void store_changed(cvr_store *s) {
    s->changes++;
}

uint64_t store_changes(const cvr_store *s) {
    return s->changes;
}

void *store_address(const cvr_store *s, size_t i) {
    return s->memory + s->entries[i].offset;
}

int32_t store_declare(cvr_store *s, const store_request *r, size_t *index, cvr_error *err) {
    const int64_t before = cvr_store_find(s, r->name);
    if (before >= 0) {
        const stored *e = &s->entries[before];
        if (!same_shape(&e->entry.type, &r->type) || !same_order(&e->entry.type, &r->type) ||
            e->entry.kind != r->kind) {
            char was[160], is[160];
            print_shape(&e->entry.type, was, sizeof was);
            print_shape(&r->type, is, sizeof is);
            return cvr_fail(err, CVR_ERR_INVALID,
                            "parameter %s has shape %s in one place and %s in another; use two names", r->name, was,
                            is);
        }
        *index = (size_t)before;
        return CVR_OK;
    }
    stored *more = cvr_grow(s->entries, s->n, &s->capacity, sizeof *more);
    if (more) s->entries = more;
    char *name = cvr_strdup(r->name);
    if (!more || !name) {
        cvr_free(name);
        return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    }
    stored *e = &more[s->n];
    memset(e, 0, sizeof *e);
    e->entry = (cvr_store_entry){name, r->type, r->kind, r->flags, type_bytes(&r->type)};
    e->entry.type.struct_size = sizeof e->entry.type;
    e->init = r->init;
    *index = s->n++;
    return CVR_OK;
}

static uint64_t layout(const cvr_store *s, uint64_t *offsets) {
    uint64_t at = 0;
    for (size_t i = 0; i < s->n; i++) {
        if (offsets) offsets[i] = at;
        at += (s->entries[i].entry.bytes + STORE_ALIGN - 1) / STORE_ALIGN * STORE_ALIGN;
    }
    return at;
}

uint64_t cvr_store_bytes(const cvr_store *s) {
    return layout(s, NULL);
}

/* ---- initial values ---- */

/* Fills `host` with an entry's first value, in memory order. */
static int32_t initial(const cvr_store *s, const stored *e, const cvr_device *d, void *host, cvr_error *err) {
    const int64_t n = cvr_numel(e->entry.type.rank, e->entry.type.shape);
    const cvr_host *services = cvr_plugins_host(d->plugins);
    if (e->entry.type.dtype == CVR_F32) {
        const initial_request r = {&e->init, &e->entry.type, cvr_rng_mix(s->seed, cvr_hash(e->entry.name)),
                                   services->get(services, CVR_SERVICE_THREADPOOL)};
        return initial_values(&r, host, err);
    }
    if (e->entry.type.dtype == CVR_I64) {
        int64_t *k = host; /* all the same, so in whatever order */
        for (int64_t i = 0; i < n; i++) k[i] = (int64_t)e->init.a;
        return CVR_OK;
    }
    return cvr_fail(err, CVR_ERR_UNSUPPORTED, "parameter %s has type %s; f32 and i64 can be initialised", e->entry.name,
                    cvr_dtype_name(e->entry.type.dtype));
}

/* ---- placing ---- */

/* Puts an entry's present value, or its initial one, at a device's `address`: without a detour by `host` where the host
 * sees that memory, so that the threads that draw the values are the first to touch it. */
static int32_t place(cvr_store *s, stored *e, const cvr_device *d, void *address, void *host, cvr_error *err) {
    const bool direct = (d->backend->flags & CVR_BACKEND_HOST_VISIBLE) != 0;
    void *to = direct ? address : host;
    const int32_t status =
        e->placed ? s->device->backend->download(s->device->self, to, s->memory + e->offset, e->entry.bytes, err)
                  : initial(s, e, d, to, err);
    if (status != CVR_OK || direct) return status;
    return d->backend->upload(d->self, address, host, e->entry.bytes, err);
}

int32_t cvr_store_place(cvr_store *s, cvr_device *d, cvr_error *err) {
    uint64_t largest = 64, *offsets = cvr_calloc(s->n + 1, sizeof *offsets);
    void *memory = NULL, *host = NULL;
    int32_t status = offsets ? CVR_OK : cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    for (size_t i = 0; i < s->n; i++)
        largest = s->entries[i].entry.bytes > largest ? s->entries[i].entry.bytes : largest;
    if (status == CVR_OK) status = cvr_device_alloc(d, layout(s, offsets), &memory, err);
    host = cvr_alloc_aligned(largest, 64);
    if (status == CVR_OK && !host) status = cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    for (size_t i = 0; i < s->n && status == CVR_OK; i++) {
        stored *e = &s->entries[i];
        if (e->entry.bytes == 0) continue;
        status = place(s, e, d, (char *)memory + offsets[i], host, err);
    }
    if (status == CVR_OK) {
        cvr_device_free(s->device, s->memory);
        s->memory = memory;
        s->device = d;
        memory = NULL;
        for (size_t i = 0; i < s->n; i++) {
            s->entries[i].offset = offsets[i];
            s->entries[i].placed = true;
        }
    }
    cvr_device_free(d, memory);
    cvr_free(host);
    cvr_free(offsets);
    return status;
}

void cvr_store_retreat(cvr_store *s, cvr_device *from, cvr_device *to) {
    if (!from || s->device != from) return;
    if (to && cvr_store_place(s, to, NULL) == CVR_OK) return;
    cvr_device_free(s->device, s->memory);
    s->device = NULL;
    s->memory = NULL;
    for (size_t i = 0; i < s->n; i++) s->entries[i].placed = false;
}

int32_t cvr_store_read(cvr_store *s, size_t i, void *out, cvr_error *err) {
    const stored *e = &s->entries[i];
    if (!e->placed) return cvr_fail(err, CVR_ERR_INVALID, "%s is on no device yet", e->entry.name);
    void *host = cvr_alloc_aligned(e->entry.bytes, 64);
    if (!host) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    const int32_t status =
        s->device->backend->download(s->device->self, host, s->memory + e->offset, e->entry.bytes, err);
    if (status == CVR_OK) cvr_to_logical(&e->entry.type, host, out);
    cvr_free(host);
    return status;
}

int32_t cvr_store_write(cvr_store *s, size_t i, const void *in, cvr_error *err) {
    const stored *e = &s->entries[i];
    if (!e->placed) return cvr_fail(err, CVR_ERR_INVALID, "%s is on no device yet", e->entry.name);
    void *host = cvr_alloc_aligned(e->entry.bytes, 64);
    if (!host) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    cvr_from_logical(&e->entry.type, in, host);
    store_changed(s);
    const int32_t status =
        s->device->backend->upload(s->device->self, s->memory + e->offset, host, e->entry.bytes, err);
    cvr_free(host);
    return status;
}
