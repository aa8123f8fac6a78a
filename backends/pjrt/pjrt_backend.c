/*
 * "pjrt": TPUs, and any other device whose vendor has a PJRT plugin (libtpu.so and the like). A step is one program in
 * StableHLO, which the plugin compiles as a whole. docs/tpu.md tells the rest.
 */
#include "emit/emit.h"
#include "pjrt_device.h"

static const cvr_attr_desc *const pjrt_attrs[] = {
    CVR_ATTR(PATH, "plugin", "",
             "the vendor's PJRT plugin, a .so that exports GetPjrtApi; nothing is loaded unless it "
             "is named"),
    CVR_ATTR(INT, "pjrt_device", "0", "which of the plugin's devices", CVR_ATTR_AT_LEAST(0)),
    CVR_ATTR(BOOL, "pjrt_cache", "yes", "keep compiled programs in the cache folder"),
    CVR_ATTR(PATH, "pjrt_dump", "", "a folder that gets the StableHLO text of every program"),
};

/* One, that backend.plugin names: which devices it has is known once it is loaded. */
static int64_t pjrt_device_count(const cvr_host *host) {
    (void)host;
    return 1;
}

static int32_t pjrt_device_info(const cvr_host *host, int64_t index, cvr_device_info *out, cvr_error *err) {
    (void)host, (void)index, (void)out;
    return cvr_fail(err, CVR_ERR_UNSUPPORTED, "its devices are known once backend.plugin=FILE.so names a plugin");
}

static int32_t backend_open(const cvr_host *host, int64_t index, const void *attrs, void **self, cvr_error *err) {
    pjrt_device *d = NULL;
    (void)index;
    const int32_t status = pjrt_open(host, (const pjrt_keys *)attrs, &d, err);
    *self = d;
    return status;
}

static void backend_close(void *self) {
    pjrt_close((pjrt_device *)self);
}

static void backend_describe(const void *self, char *buf, uint64_t size) {
    const pjrt_device *d = (const pjrt_device *)self;
    (void)snprintf(buf, size, "%s, %s", d->name, d->driver);
}

static const cvr_device_info *backend_info(const void *self) {
    return &((const pjrt_device *)self)->info;
}

static int32_t backend_alloc(void *self, uint64_t bytes, void **address, cvr_error *err) {
    return pjrt_alloc((pjrt_device *)self, bytes, address, err);
}
static void backend_free(void *self, void *address) {
    pjrt_free((pjrt_device *)self, address);
}
static int32_t backend_memory(void *self, uint64_t *used, uint64_t *available, cvr_error *err) {
    return pjrt_memory_left((pjrt_device *)self, used, available, err);
}
static int32_t backend_upload(void *self, const cvr_transfer *t, uint64_t *ticket, cvr_error *err) {
    *ticket = 0;
    return pjrt_upload((pjrt_device *)self, t, err);
}
static int32_t backend_download(void *self, const cvr_transfer *t, uint64_t *ticket, cvr_error *err) {
    *ticket = 0;
    return pjrt_download((pjrt_device *)self, t, err);
}
static int32_t backend_copy(void *self, const cvr_transfer *t, uint64_t *ticket, cvr_error *err) {
    *ticket = 0;
    return pjrt_copy((pjrt_device *)self, t, err);
}
static int32_t backend_record(void *self, const cvr_record_request *r, void **recording, cvr_error *err) {
    return pjrt_record((pjrt_device *)self, r, recording, err);
}
static int32_t backend_replay(void *self, void *recording, uint64_t after, uint64_t *ticket, cvr_error *err) {
    (void)after; /* uploads are done when they return */
    return pjrt_replay((pjrt_device *)self, recording, ticket, err);
}
static void backend_discard(void *self, void *recording) {
    pjrt_discard((pjrt_device *)self, recording);
}
static int32_t backend_wait(void *self, uint64_t ticket, cvr_error *err) {
    return pjrt_wait((pjrt_device *)self, ticket, err);
}

static const char *const pjrt_runs[] = {"pjrt"}, *const pjrt_payloads[] = {CVR_PAYLOAD_STABLEHLO_EMIT};

static const cvr_backend_desc pjrt_backend = {.struct_size = sizeof pjrt_backend,
                                              .name = "pjrt",
                                              .doc = "TPUs, and any device whose vendor has a PJRT plugin",
                                              .n_runs = 1,
                                              .runs = pjrt_runs,
                                              .payloads = pjrt_payloads,
                                              .n_payloads = 1,
                                              .n_attrs = sizeof pjrt_attrs / sizeof *pjrt_attrs,
                                              .attrs = pjrt_attrs,
                                              .device_count = pjrt_device_count,
                                              .device_info = pjrt_device_info,
                                              .open = backend_open,
                                              .close = backend_close,
                                              .describe = backend_describe,
                                              .info = backend_info,
                                              .alloc = backend_alloc,
                                              .free = backend_free,
                                              .memory = backend_memory,
                                              .upload = backend_upload,
                                              .download = backend_download,
                                              .copy = backend_copy,
                                              .record = backend_record,
                                              .replay = backend_replay,
                                              .discard = backend_discard,
                                              .wait = backend_wait};

static int32_t add_kernels(const cvr_registrar *r, const hlo_op *ops, cvr_error *err) {
    for (const hlo_op *op = ops; op->op; op++) {
        const cvr_kernel_desc kernel = {.struct_size = sizeof kernel,
                                        .op = op->op,
                                        .backend = "pjrt",
                                        .payload_kind = CVR_PAYLOAD_STABLEHLO_EMIT,
                                        .payload = &op->payload,
                                        .op_version = 1,
                                        .flags = CVR_KERNEL_DETERMINISTIC | CVR_KERNEL_RECORDABLE | CVR_KERNEL_BF16 |
                                                 CVR_KERNEL_F16,
                                        .supports = op->supports};
        CVR_TRY(r->add(r, CVR_KIND_KERNEL, &kernel, err));
    }
    return CVR_OK;
}

static int32_t pjrt_load(const cvr_host *host, const cvr_registrar *r, cvr_error *err) {
    (void)host;
    CVR_TRY(r->add(r, CVR_KIND_BACKEND, &pjrt_backend, err));
    for (size_t i = 0; emit_families[i]; i++) CVR_TRY(add_kernels(r, emit_families[i], err));
    return CVR_OK;
}

CVR_DEFINE_PLUGIN("pjrt", "0.1.0", "", pjrt_load)
