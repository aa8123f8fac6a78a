/*
 * A strict device on a machine that has none. Its addresses are those of the host's memory plus 2^46, so that code
 * which follows one dies at once. Blocks begin at multiples of 256 and are no larger than far_max_block, fresh memory
 * holds NaNs, freed memory is gone, and what is issued is done as late as its tickets allow. It runs the CPU's kernels
 * on translated addresses, and device code of the kind far.fn/1.
 */
#define _DEFAULT_SOURCE /* MAP_ANONYMOUS */
#include "far_device.h"
#include <errno.h>
#include <sys/mman.h>
#include <unistd.h>

static const cvr_attr_desc *const far_attrs[] = {
    CVR_ATTR(INT, "far_max_block", "0", "bytes of one block of memory, at most; 0: no limit", CVR_ATTR_AT_LEAST(0)),
    CVR_ATTR(INT, "far_fail_call", "0",
             "the number of the call that fails, counted from 1, and with it all later ones; 0: none",
             CVR_ATTR_AT_LEAST(0)),
};

typedef struct far_settings {
    int64_t max_block, fail_call;
} far_settings;

static const cvr_device_info far_is = {.struct_size = sizeof far_is,
                                       .name = "far",
                                       .driver = "",
                                       .uuid = "",
                                       .features = "far software",
                                       .max_allocation = UINT64_MAX,
                                       .alignment = FAR_ALIGNMENT,
                                       .shared_bytes = 32768,
                                       .group_threads = 1024,
                                       .subgroup_min = 1,
                                       .subgroup_max = 1,
                                       .multiprocessors = 1};

int32_t far_call(far_device *d, const char *what, cvr_error *err) {
    cvr_error why = CVR_ERROR_INIT;
    if (++d->calls < d->fail_call || !d->fail_call) return CVR_OK;
    (void)cvr_fail(&why, CVR_ERR_DEVICE, "far: call %llu, %s, fails, as far_fail_call says; the device is lost",
                   (unsigned long long)d->fail_call, what);
    far_lanes_drop(d, &why);
    if (err) *err = why;
    return CVR_ERR_DEVICE;
}

/* ---- opening ---- */

static int64_t far_device_count(const cvr_host *host) {
    (void)host;
    return 1;
}

static int32_t far_device_info(const cvr_host *host, int64_t index, cvr_device_info *out, cvr_error *err) {
    (void)host, (void)index, (void)err;
    *out = far_is;
    return CVR_OK;
}

static void far_close(void *self) {
    far_device *d = (far_device *)self;
    far_lanes_close(d);
    for (uint64_t i = 0; i < d->n_blocks; i++) munmap(d->blocks[i].host, d->blocks[i].mapped);
    d->host->free(d->host, d->blocks);
    d->host->free(d->host, d);
}

static int32_t far_open(const cvr_host *host, int64_t index, const void *attrs, void **self, cvr_error *err) {
    const far_settings *s = (const far_settings *)attrs;
    far_device *d = (far_device *)host->alloc(host, sizeof *d, 64);
    (void)index;
    if (!d) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    memset(d, 0, sizeof *d);
    d->host = host;
    d->page = (uint64_t)sysconf(_SC_PAGESIZE);
    d->info = far_is;
    d->info.memory = host_info()->memory;
    if (s->max_block) d->info.max_allocation = (uint64_t)s->max_block;
    d->fail_call = (uint64_t)s->fail_call;
    const int32_t status = far_lanes_open(d, err);
    if (status != CVR_OK) {
        far_close(d);
        return status;
    }
    *self = d;
    return CVR_OK;
}

static void far_describe(const void *self, char *buf, uint64_t size) {
    (void)self;
    (void)snprintf(buf, size, "host memory 2^46 away, copies as late as can be");
}

static const cvr_device_info *far_info(const void *self) {
    return &((const far_device *)self)->info;
}

/* ---- memory ---- */

static int32_t far_alloc(void *self, uint64_t bytes, void **address, cvr_error *err) {
    far_device *d = (far_device *)self;
    const uint64_t mapped = (bytes + d->page - 1) / d->page * d->page;
    CVR_TRY(far_call(d, "alloc", err));
    if (bytes > d->info.max_allocation)
        return cvr_fail(err, CVR_ERR_NOMEM, "far: a block of %llu bytes; far_max_block is %llu",
                        (unsigned long long)bytes, (unsigned long long)d->info.max_allocation);
    far_block *more = (far_block *)host_grow(d->host, d->blocks, d->n_blocks, &d->capacity, sizeof *more);
    if (!more) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    d->blocks = more;
    void *host = mmap(NULL, mapped, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (host == MAP_FAILED)
        return cvr_fail(err, CVR_ERR_NOMEM, "%.1f MB of device memory: %s", (double)bytes * 1e-6, strerror(errno));
    memset(host, 0xFF, mapped); /* NaN */
    more[d->n_blocks++] = (far_block){host, bytes, mapped};
    d->used += bytes;
    *address = (void *)((uintptr_t)host + FAR_OFFSET);
    return CVR_OK;
}

static void far_free(void *self, void *address) {
    far_device *d = (far_device *)self;
    for (uint64_t i = 0; i < d->n_blocks; i++) {
        if (d->blocks[i].host != far_to_host(address)) continue;
        munmap(d->blocks[i].host, d->blocks[i].mapped);
        d->used -= d->blocks[i].bytes;
        d->blocks[i] = d->blocks[--d->n_blocks];
        return;
    }
}

static int32_t far_memory(void *self, uint64_t *used, uint64_t *available, cvr_error *err) {
    far_device *d = (far_device *)self;
    CVR_TRY(far_call(d, "memory", err));
    *used = d->used;
    *available = d->info.memory > d->used ? d->info.memory - d->used : 0;
    return CVR_OK;
}

int32_t far_check_range(const far_device *d, const void *address, uint64_t bytes, const char *what, cvr_error *err) {
    const uint64_t at = (uint64_t)(uintptr_t)address - FAR_OFFSET;
    for (uint64_t i = 0; i < d->n_blocks; i++) {
        const uint64_t from = (uint64_t)(uintptr_t)d->blocks[i].host;
        if (at >= from && at - from <= d->blocks[i].bytes && bytes <= d->blocks[i].bytes - (at - from)) return CVR_OK;
    }
    return cvr_fail(err, CVR_ERR_INVALID, "far: %s of %llu bytes at %p, which is not in one block of device memory",
                    what, (unsigned long long)bytes, address);
}

/* ---- transfers ---- */

static int32_t far_upload(void *self, const cvr_transfer *t, uint64_t *ticket, cvr_error *err) {
    far_device *d = (far_device *)self;
    const far_work w = {.after = t->after, .to = far_to_host(t->to), .from = t->from, .bytes = t->bytes};
    CVR_TRY(far_call(d, "upload", err));
    CVR_TRY(far_check_range(d, t->to, t->bytes, "an upload", err));
    return far_issue(d, FAR_UPLOADS, &w, ticket, err);
}

static int32_t far_download(void *self, const cvr_transfer *t, uint64_t *ticket, cvr_error *err) {
    far_device *d = (far_device *)self;
    const far_work w = {.after = t->after, .to = t->to, .from = far_to_host(t->from), .bytes = t->bytes};
    CVR_TRY(far_call(d, "download", err));
    CVR_TRY(far_check_range(d, t->from, t->bytes, "a download", err));
    return far_issue(d, FAR_MAIN, &w, ticket, err);
}

static int32_t far_copy(void *self, const cvr_transfer *t, uint64_t *ticket, cvr_error *err) {
    far_device *d = (far_device *)self;
    const far_work w = {.after = t->after, .to = far_to_host(t->to), .from = far_to_host(t->from), .bytes = t->bytes};
    CVR_TRY(far_call(d, "copy", err));
    CVR_TRY(far_check_range(d, t->from, t->bytes, "a copy", err));
    CVR_TRY(far_check_range(d, t->to, t->bytes, "a copy", err));
    return far_issue(d, FAR_MAIN, &w, ticket, err);
}

/* ---- launches ---- */

static int32_t record(void *self, const cvr_record_request *r, void **recording, cvr_error *err) {
    CVR_TRY(far_call((far_device *)self, "record", err));
    return far_record((far_device *)self, r, recording, err);
}

static int32_t far_replay(void *self, void *recording, uint64_t after, uint64_t *ticket, cvr_error *err) {
    const far_work w = {.after = after, .recording = recording};
    CVR_TRY(far_call((far_device *)self, "replay", err));
    return far_issue((far_device *)self, FAR_MAIN, &w, ticket, err);
}

static void discard(void *self, void *recording) {
    far_discard((far_device *)self, recording);
}

static int32_t wait_for(void *self, uint64_t ticket, cvr_error *err) {
    CVR_TRY(far_call((far_device *)self, "wait", err));
    return far_wait((far_device *)self, ticket, err);
}

static const char *const far_runs[] = {"far", "cpu"};
static const char *const far_payloads[] = {CVR_PAYLOAD_CPU_FN, CVR_PAYLOAD_FAR_FN};

static const cvr_backend_desc far_backend = {.struct_size = sizeof far_backend,
                                             .name = "far",
                                             .doc = "a strict device in the host's memory, for tests",
                                             .flags = CVR_BACKEND_TEST,
                                             .n_runs = 2,
                                             .runs = far_runs,
                                             .payloads = far_payloads,
                                             .n_payloads = 2,
                                             .n_attrs = 2,
                                             .attrs = far_attrs,
                                             .device_count = far_device_count,
                                             .device_info = far_device_info,
                                             .open = far_open,
                                             .close = far_close,
                                             .describe = far_describe,
                                             .info = far_info,
                                             .alloc = far_alloc,
                                             .free = far_free,
                                             .memory = far_memory,
                                             .upload = far_upload,
                                             .download = far_download,
                                             .copy = far_copy,
                                             .record = record,
                                             .replay = far_replay,
                                             .discard = discard,
                                             .wait = wait_for};

static int32_t far_load(const cvr_host *host, const cvr_registrar *r, cvr_error *err) {
    (void)host;
    return r->add(r, CVR_KIND_BACKEND, &far_backend, err);
}

CVR_DEFINE_PLUGIN("far", "0.1.0", "", far_load)
