/*
 * The host in its own memory. Compiled twice: as `cpu`, which runs the kernel packs, and as `reference`, which runs the
 * layers' own plain kernels. PLAIN_NAME, PLAIN_DOC and PLAIN_FLAGS say which.
 */
#include "../host/host_backend.h"

typedef struct plain_device {
    const cvr_host *host;
} plain_device;

static int64_t plain_device_count(const cvr_host *host) {
    (void)host;
    return 1;
}

static int32_t plain_open(const cvr_host *host, int64_t index, void **self, cvr_error *err) {
    (void)index;
    plain_device *d = (plain_device *)host->alloc(host, sizeof *d, 16);
    if (!d) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    d->host = host;
    *self = d;
    return CVR_OK;
}

static void plain_close(void *self) {
    plain_device *d = (plain_device *)self;
    d->host->free(d->host, d);
}

static void plain_describe(const void *self, char *buf, uint64_t size) {
    host_describe(((const plain_device *)self)->host, buf, size);
}

static int32_t plain_alloc(void *self, uint64_t bytes, void **address, cvr_error *err) {
    const cvr_host *host = ((plain_device *)self)->host;
    *address = host->alloc(host, bytes, 64);
    if (*address) return CVR_OK;
    return cvr_fail(err, CVR_ERR_NOMEM, "out of memory: %.1f MB wanted; lower train.batch or data.img_size",
                    (double)bytes * 1e-6);
}

static void plain_free(void *self, void *address) {
    const cvr_host *host = ((plain_device *)self)->host;
    host->free(host, address);
}

static int32_t plain_upload(void *self, void *to, const void *from, uint64_t bytes, cvr_error *err) {
    (void)self, (void)err;
    memcpy(to, from, bytes);
    return CVR_OK;
}

static int32_t plain_record(void *self, const cvr_launch *const *launches, uint64_t n, uint64_t id, void **recording,
                            cvr_error *err) {
    return host_record(((plain_device *)self)->host, launches, n, id, recording, err);
}

static int32_t plain_replay(void *self, void *recording, cvr_error *err) {
    (void)self;
    return host_replay(recording, PLAIN_NAME, err);
}

static void plain_discard(void *self, void *recording) {
    host_discard(((plain_device *)self)->host, recording);
}

static int32_t plain_sync(void *self, cvr_error *err) {
    (void)self, (void)err;
    return CVR_OK;
}

static const char *const plain_runs[] = {PLAIN_NAME};

static const cvr_backend_desc plain_backend = {.struct_size = sizeof plain_backend,
                                               .name = PLAIN_NAME,
                                               .doc = PLAIN_DOC,
                                               .flags = PLAIN_FLAGS,
                                               .n_runs = 1,
                                               .runs = plain_runs,
                                               .device_count = plain_device_count,
                                               .open = plain_open,
                                               .close = plain_close,
                                               .describe = plain_describe,
                                               .alloc = plain_alloc,
                                               .free = plain_free,
                                               .upload = plain_upload,
                                               .download = plain_upload,
                                               .record = plain_record,
                                               .replay = plain_replay,
                                               .discard = plain_discard,
                                               .sync = plain_sync};

static int32_t plain_load(const cvr_host *host, const cvr_registrar *r, cvr_error *err) {
    (void)host;
    return r->add(r, CVR_KIND_BACKEND, &plain_backend, err);
}

CVR_DEFINE_PLUGIN(PLAIN_NAME, "0.1.0", "", plain_load)
