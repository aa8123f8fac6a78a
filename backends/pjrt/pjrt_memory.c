/*
 * What lies at which address. A plugin of PJRT has buffers with types and no addresses; here addresses are reserved
 * that nobody can read, and a sorted list says which bytes of which value lie where. Bytes that come from the host keep
 * waiting there until a program wants them as numbers of some type.
 */
#define _DEFAULT_SOURCE /* MAP_ANONYMOUS */
#include "pjrt_device.h"
#include <errno.h>
#include <sys/mman.h>

PJRT_Buffer_Type pjrt_type(uint32_t dtype) {
    switch (dtype) {
    case CVR_F16: return PJRT_Buffer_Type_F16;
    case CVR_BF16: return PJRT_Buffer_Type_BF16;
    case CVR_U8: return PJRT_Buffer_Type_U8;
    case CVR_I8: return PJRT_Buffer_Type_S8;
    case CVR_I32: return PJRT_Buffer_Type_S32;
    case CVR_I64: return PJRT_Buffer_Type_S64;
    default: return PJRT_Buffer_Type_F32;
    }
}

/* ---- values ---- */

static void release(pjrt_device *d, pjrt_value *v) {
    if (!v || --v->refs) return;
    if (v->buffer) {
        PJRT_ARGS(PJRT_Buffer_Destroy, b, .buffer = v->buffer);
        pjrt_forget(&d->plugin, d->plugin.api->PJRT_Buffer_Destroy(&b));
    }
    d->host->free(d->host, v->host);
    d->host->free(d->host, v);
}

static int32_t new_value(pjrt_device *d, uint64_t bytes, int on_host, pjrt_value **out, cvr_error *err) {
    pjrt_value *v = (pjrt_value *)d->host->alloc(d->host, sizeof *v, 16);
    if (!v) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    *v = (pjrt_value){.refs = 1, .bytes = bytes};
    if (on_host) v->host = (uint8_t *)d->host->alloc(d->host, bytes + 1, 64);
    if (on_host && !v->host) {
        d->host->free(d->host, v);
        return cvr_fail(err, CVR_ERR_NOMEM, "%llu bytes for a transfer: out of memory", (unsigned long long)bytes);
    }
    *out = v;
    return CVR_OK;
}

/* The value's bytes on the host, too. */
static int32_t bring_home(pjrt_device *d, pjrt_value *v, cvr_error *err) {
    if (v->host) return CVR_OK;
    uint8_t *to = (uint8_t *)d->host->alloc(d->host, v->bytes + 1, 64);
    if (!to)
        return cvr_fail(err, CVR_ERR_NOMEM, "%llu bytes for a transfer: out of memory", (unsigned long long)v->bytes);
    PJRT_ARGS(PJRT_Buffer_ToHostBuffer, t, .src = v->buffer, .dst = to, .dst_size = v->bytes);
    int32_t status =
        pjrt_check(&d->plugin, d->plugin.api->PJRT_Buffer_ToHostBuffer(&t), "PJRT_Buffer_ToHostBuffer", err);
    if (status == CVR_OK) status = pjrt_await(d, t.event, "a download", err);
    if (status == CVR_OK)
        v->host = to;
    else
        d->host->free(d->host, to);
    return status;
}

static int32_t to_device(pjrt_device *d, const void *data, uint64_t bytes, uint32_t dtype, PJRT_Buffer **out,
                         cvr_error *err) {
    const int64_t n = (int64_t)(bytes / cvr_dtype_size(dtype));
    PJRT_ARGS(PJRT_Client_BufferFromHostBuffer, a, .client = d->client, .data = data, .type = pjrt_type(dtype),
              .dims = &n, .num_dims = 1, .device = d->device,
              .host_buffer_semantics = PJRT_HostBufferSemantics_kImmutableOnlyDuringCall);
    CVR_TRY(pjrt_check(&d->plugin, d->plugin.api->PJRT_Client_BufferFromHostBuffer(&a), "an upload", err));
    *out = a.buffer;
    CVR_TRY(pjrt_await(d, a.done_with_host_buffer, "an upload", err));
    return a.buffer ? CVR_OK : cvr_fail(err, CVR_ERR_PLUGIN, "pjrt: %s: an upload gives no buffer", d->plugin.file);
}

/* ---- pieces ---- */

/* The first piece that ends after an address. */
static uint64_t first_after(const pjrt_device *d, uint64_t address) {
    uint64_t low = 0, high = d->n_pieces;
    while (low < high) {
        const uint64_t middle = (low + high) / 2;
        if (d->pieces[middle].address + d->pieces[middle].bytes > address)
            high = middle;
        else
            low = middle + 1;
    }
    return low;
}

static int32_t make_room(pjrt_device *d, cvr_error *err) {
    pjrt_piece *more = (pjrt_piece *)host_grow(d->host, d->pieces, d->n_pieces, &d->pieces_capacity, sizeof *more);
    if (!more) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    d->pieces = more;
    return CVR_OK;
}

static void insert(pjrt_device *d, uint64_t at, pjrt_piece p) {
    memmove(d->pieces + at + 1, d->pieces + at, (d->n_pieces - at) * sizeof p);
    d->pieces[at] = p;
    d->n_pieces++;
}

int32_t pjrt_drop(pjrt_device *d, uint64_t address, uint64_t bytes, cvr_error *err) {
    const uint64_t end = address + bytes;
    uint64_t i = first_after(d, address);
    CVR_TRY(make_room(d, err)); /* a piece around the bytes becomes two */
    while (i < d->n_pieces && d->pieces[i].address < end) {
        pjrt_piece *p = &d->pieces[i];
        const uint64_t last = p->address + p->bytes;
        if (p->address < address && last > end) {
            const pjrt_piece rest = {end, last - end, p->offset + (end - p->address), p->value};
            p->bytes = address - p->address;
            rest.value->refs++;
            insert(d, i + 1, rest);
            return CVR_OK;
        }
        if (p->address < address) {
            p->bytes = address - p->address;
            i++;
        } else if (last > end) {
            p->offset += end - p->address;
            p->bytes = last - end;
            p->address = end;
            return CVR_OK;
        } else {
            release(d, p->value);
            memmove(p, p + 1, (--d->n_pieces - i) * sizeof *p);
        }
    }
    return CVR_OK;
}

/* The bytes are those of `value` from `offset` on; the reference is taken over, also where this fails. */
static int32_t place(pjrt_device *d, uint64_t address, uint64_t bytes, uint64_t offset, pjrt_value *value,
                     cvr_error *err) {
    int32_t status = pjrt_drop(d, address, bytes, err);
    if (status == CVR_OK) status = make_room(d, err);
    if (status == CVR_OK)
        insert(d, first_after(d, address), (pjrt_piece){address, bytes, offset, value});
    else
        release(d, value);
    return status;
}

/* What nobody has written reads as NaN. */
static int32_t read_bytes(pjrt_device *d, uint64_t address, uint64_t bytes, uint8_t *to, cvr_error *err) {
    const uint64_t end = address + bytes;
    memset(to, 0xFF, bytes);
    for (uint64_t i = first_after(d, address); i < d->n_pieces && d->pieces[i].address < end; i++) {
        const pjrt_piece *p = &d->pieces[i];
        const uint64_t from = p->address > address ? p->address : address;
        const uint64_t last = p->address + p->bytes < end ? p->address + p->bytes : end;
        CVR_TRY(bring_home(d, p->value, err));
        memcpy(to + (from - address), p->value->host + p->offset + (from - p->address), last - from);
    }
    return CVR_OK;
}

static pjrt_piece *exact_piece(pjrt_device *d, uint64_t address, uint64_t bytes) {
    const uint64_t i = first_after(d, address);
    if (i == d->n_pieces || d->pieces[i].address != address || d->pieces[i].bytes != bytes) return NULL;
    return &d->pieces[i];
}

int32_t pjrt_fetch(pjrt_device *d, uint64_t address, uint64_t bytes, uint32_t dtype, pjrt_value **out, cvr_error *err) {
    pjrt_piece *p = exact_piece(d, address, bytes);
    pjrt_value *v = p && p->offset == 0 && p->value->bytes == bytes ? p->value : NULL;
    if (v && v->buffer && v->dtype == dtype) {
        *out = v;
        return CVR_OK;
    }
    if (!v || v->buffer) { /* part of a value, several, or one that is of another type elsewhere */
        CVR_TRY(new_value(d, bytes, 1, &v, err));
        const int32_t status = read_bytes(d, address, bytes, v->host, err);
        if (status != CVR_OK) {
            release(d, v);
            return status;
        }
        CVR_TRY(place(d, address, bytes, 0, v, err));
    }
    v->dtype = dtype;
    CVR_TRY(to_device(d, v->host, bytes, dtype, &v->buffer, err));
    d->host->free(d->host, v->host);
    v->host = NULL;
    *out = v;
    return CVR_OK;
}

int32_t pjrt_put(pjrt_device *d, uint64_t address, uint64_t bytes, uint32_t dtype, PJRT_Buffer *buffer,
                 cvr_error *err) {
    pjrt_value *v = NULL;
    const int32_t status = new_value(d, bytes, 0, &v, err);
    if (status != CVR_OK) {
        PJRT_ARGS(PJRT_Buffer_Destroy, b, .buffer = buffer);
        pjrt_forget(&d->plugin, d->plugin.api->PJRT_Buffer_Destroy(&b));
        return status;
    }
    v->buffer = buffer;
    v->dtype = dtype;
    return place(d, address, bytes, 0, v, err);
}

/* ---- blocks ---- */

int32_t pjrt_alloc(pjrt_device *d, uint64_t bytes, void **address, cvr_error *err) {
    uint64_t used, available;
    if (bytes > d->info.max_allocation)
        return cvr_fail(err, CVR_ERR_NOMEM, "pjrt: a block of %llu bytes", (unsigned long long)bytes);
    CVR_TRY(pjrt_memory_left(d, &used, &available, err));
    if (bytes > used + available)
        return cvr_fail(err, CVR_ERR_NOMEM, "pjrt: a block of %.1f MB; %s has %.1f MB", (double)bytes * 1e-6, d->name,
                        (double)(used + available) * 1e-6);
    const uint64_t mapped = (bytes + d->page - 1) / d->page * d->page;
    pjrt_block *more = (pjrt_block *)host_grow(d->host, d->blocks, d->n_blocks, &d->blocks_capacity, sizeof *more);
    if (!more) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    d->blocks = more;
    void *at = mmap(NULL, mapped, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (at == MAP_FAILED)
        return cvr_fail(err, CVR_ERR_NOMEM, "pjrt: %.1f MB of addresses: %s", (double)bytes * 1e-6, strerror(errno));
    more[d->n_blocks++] = (pjrt_block){at, bytes, mapped};
    *address = at;
    return CVR_OK;
}

void pjrt_free(pjrt_device *d, void *address) {
    for (uint64_t i = 0; i < d->n_blocks; i++) {
        if (d->blocks[i].address != address) continue;
        (void)pjrt_drop(d, (uint64_t)(uintptr_t)address, d->blocks[i].mapped, NULL);
        munmap(address, d->blocks[i].mapped);
        d->blocks[i] = d->blocks[--d->n_blocks];
        return;
    }
}

void pjrt_memory_close(pjrt_device *d) {
    for (uint64_t i = 0; i < d->n_pieces; i++) release(d, d->pieces[i].value);
    for (uint64_t i = 0; i < d->n_blocks; i++) munmap(d->blocks[i].address, d->blocks[i].mapped);
    d->host->free(d->host, d->pieces);
    d->host->free(d->host, d->blocks);
}

static int32_t check_range(const pjrt_device *d, const void *address, uint64_t bytes, const char *what,
                           cvr_error *err) {
    const uint64_t at = (uint64_t)(uintptr_t)address;
    for (uint64_t i = 0; i < d->n_blocks; i++) {
        const uint64_t from = (uint64_t)(uintptr_t)d->blocks[i].address;
        if (at >= from && at - from <= d->blocks[i].bytes && bytes <= d->blocks[i].bytes - (at - from)) return CVR_OK;
    }
    return cvr_fail(err, CVR_ERR_INVALID, "pjrt: %s of %llu bytes at %p, which is not in one block of device memory",
                    what, (unsigned long long)bytes, address);
}

/* ---- transfers: done when they return, in the order of the calls ---- */

int32_t pjrt_upload(pjrt_device *d, const cvr_transfer *t, cvr_error *err) {
    pjrt_value *v;
    CVR_TRY(check_range(d, t->to, t->bytes, "an upload", err));
    if (!t->bytes) return CVR_OK;
    CVR_TRY(new_value(d, t->bytes, 1, &v, err));
    memcpy(v->host, t->from, t->bytes);
    return place(d, (uint64_t)(uintptr_t)t->to, t->bytes, 0, v, err);
}

int32_t pjrt_download(pjrt_device *d, const cvr_transfer *t, cvr_error *err) {
    CVR_TRY(check_range(d, t->from, t->bytes, "a download", err));
    return read_bytes(d, (uint64_t)(uintptr_t)t->from, t->bytes, (uint8_t *)t->to, err);
}

/* The pieces of one place, once more in another. */
int32_t pjrt_copy(pjrt_device *d, const cvr_transfer *t, cvr_error *err) {
    const uint64_t from = (uint64_t)(uintptr_t)t->from, to = (uint64_t)(uintptr_t)t->to, end = from + t->bytes;
    CVR_TRY(check_range(d, t->from, t->bytes, "a copy", err));
    CVR_TRY(check_range(d, t->to, t->bytes, "a copy", err));
    if (from == to || !t->bytes) return CVR_OK;
    if (from < to + t->bytes && to < end)
        return cvr_fail(err, CVR_ERR_INVALID, "pjrt: a copy of %llu bytes onto itself", (unsigned long long)t->bytes);
    CVR_TRY(pjrt_drop(d, to, t->bytes, err));
    for (uint64_t at = from; at < end;) {
        const uint64_t i = first_after(d, at);
        if (i == d->n_pieces || d->pieces[i].address >= end) break;
        const pjrt_piece p = d->pieces[i];
        const uint64_t first = p.address > from ? p.address : from;
        const uint64_t last = p.address + p.bytes < end ? p.address + p.bytes : end;
        p.value->refs++;
        CVR_TRY(place(d, to + (first - from), last - first, p.offset + (first - p.address), p.value, err));
        at = last;
    }
    return CVR_OK;
}
