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

static int32_t plain_device_info(const cvr_host *host, int64_t index, cvr_device_info *out, cvr_error *err) {
    (void)host, (void)index, (void)err;
    *out = *host_info();
    return CVR_OK;
}

static int32_t plain_open(const cvr_host *host, int64_t index, const void *attrs, void **self, cvr_error *err) {
    (void)index, (void)attrs;
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

static const cvr_device_info *plain_info(const void *self) {
    (void)self;
    return host_info();
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

static int32_t plain_memory(void *self, uint64_t *used, uint64_t *available, cvr_error *err) {
    (void)self;
    return host_memory(used, available, err);
}

/* All is done when the call returns: every ticket is 0. */
static int32_t plain_copy(void *self, const cvr_transfer *t, uint64_t *ticket, cvr_error *err) {
    (void)self, (void)err;
    memcpy(t->to, t->from, t->bytes);
    *ticket = 0;
    return CVR_OK;
}

static int32_t plain_record(void *self, const cvr_record_request *r, void **recording, cvr_error *err) {
    return host_record(((plain_device *)self)->host, r, recording, err);
}

static int32_t plain_replay(void *self, void *recording, uint64_t after, uint64_t *ticket, cvr_error *err) {
    (void)self, (void)after;
    *ticket = 0;
    return host_replay(recording, PLAIN_NAME, err);
}

static void plain_discard(void *self, void *recording) {
    host_discard(((plain_device *)self)->host, recording);
}

static int32_t plain_wait(void *self, uint64_t ticket, cvr_error *err) {
    (void)self, (void)ticket, (void)err;
    return CVR_OK;
}

static const char *const plain_runs[] = {PLAIN_NAME}, *const plain_payloads[] = {CVR_PAYLOAD_CPU_FN};

static const cvr_backend_desc plain_backend = {.struct_size = sizeof plain_backend,
                                               .name = PLAIN_NAME,
                                               .doc = PLAIN_DOC,
                                               .flags = PLAIN_FLAGS,
                                               .n_runs = 1,
                                               .runs = plain_runs,
                                               .payloads = plain_payloads,
                                               .n_payloads = 1,
                                               .device_count = plain_device_count,
                                               .device_info = plain_device_info,
                                               .open = plain_open,
                                               .close = plain_close,
                                               .describe = plain_describe,
                                               .info = plain_info,
                                               .alloc = plain_alloc,
                                               .free = plain_free,
                                               .memory = plain_memory,
                                               .upload = plain_copy,
                                               .download = plain_copy,
                                               .copy = plain_copy,
                                               .record = plain_record,
                                               .replay = plain_replay,
                                               .discard = plain_discard,
                                               .wait = plain_wait};

static int32_t plain_load(const cvr_host *host, const cvr_registrar *r, cvr_error *err) {
    (void)host;
    return r->add(r, CVR_KIND_BACKEND, &plain_backend, err);
}

CVR_DEFINE_PLUGIN(PLAIN_NAME, "0.1.0", "", plain_load)
