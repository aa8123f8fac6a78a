/*
 * The backend `counted` for tests: plain memory that the host may only copy to and from, and kernels of the CPU's. It
 * counts what is asked of it, since the process began; `describe` tells: opens, blocks, recordings, uploads, bytes.
 */
#include "../../backends/host/host_backend.h"
#include <stdlib.h>

static struct { uint64_t opens, blocks, recordings, uploads, bytes; } counts;

static int64_t counted_device_count(const cvr_host *host) {
    (void)host;
    return 1;
}

static int32_t counted_open(const cvr_host *host, int64_t index, void **self, cvr_error *err) {
    (void)index, (void)err;
    counts.opens++;
    *self = (void *)(uintptr_t)host;
    return CVR_OK;
}

static void counted_close(void *self) {
    (void)self;
}

static void counted_describe(const void *self, char *buf, uint64_t size) {
    (void)self;
    (void)snprintf(buf, size, "%llu %llu %llu %llu %llu", (unsigned long long)counts.opens,
                   (unsigned long long)counts.blocks, (unsigned long long)counts.recordings,
                   (unsigned long long)counts.uploads, (unsigned long long)counts.bytes);
}

static int32_t counted_alloc(void *self, uint64_t bytes, void **address, cvr_error *err) {
    (void)self;
    counts.blocks++;
    *address = aligned_alloc(64, (bytes + 63) / 64 * 64);
    if (!*address) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    memset(*address, 0xFF, bytes); /* NaN: what nobody wrote shows */
    return CVR_OK;
}

static void counted_free(void *self, void *address) {
    (void)self;
    free(address);
}

static int32_t counted_upload(void *self, void *to, const void *from, uint64_t bytes, cvr_error *err) {
    (void)self, (void)err;
    counts.uploads++;
    counts.bytes += bytes;
    memcpy(to, from, bytes);
    return CVR_OK;
}

static int32_t counted_download(void *self, void *to, const void *from, uint64_t bytes, cvr_error *err) {
    (void)self, (void)err;
    memcpy(to, from, bytes);
    return CVR_OK;
}

static int32_t counted_record(void *self, const cvr_launch *const *launches, uint64_t n, uint64_t id, void **recording,
                              cvr_error *err) {
    counts.recordings++;
    return host_record(self, launches, n, id, recording, err);
}

static int32_t counted_replay(void *self, void *recording, cvr_error *err) {
    (void)self;
    return host_replay(recording, "counted", err);
}

static void counted_discard(void *self, void *recording) {
    host_discard(self, recording);
}

static int32_t counted_sync(void *self, cvr_error *err) {
    (void)self, (void)err;
    return CVR_OK;
}

static const char *const counted_runs[] = {"cpu"};

static const cvr_backend_desc counted_backend = {.struct_size = sizeof counted_backend,
                                                 .name = "counted",
                                                 .doc = "counts what is asked of it, for tests",
                                                 .flags = CVR_BACKEND_TEST,
                                                 .n_runs = 1,
                                                 .runs = counted_runs,
                                                 .device_count = counted_device_count,
                                                 .open = counted_open,
                                                 .close = counted_close,
                                                 .describe = counted_describe,
                                                 .alloc = counted_alloc,
                                                 .free = counted_free,
                                                 .upload = counted_upload,
                                                 .download = counted_download,
                                                 .record = counted_record,
                                                 .replay = counted_replay,
                                                 .discard = counted_discard,
                                                 .sync = counted_sync};

static int32_t counted_load(const cvr_host *host, const cvr_registrar *r, cvr_error *err) {
    (void)host;
    return r->add(r, CVR_KIND_BACKEND, &counted_backend, err);
}

CVR_DEFINE_PLUGIN("test_counted", "0.1.0", "", counted_load)
