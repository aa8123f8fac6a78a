/*
 * "cuda": the device kernels on a GPU of NVIDIA's, and kernels that call NVIDIA's libraries. docs/cuda.md tells the
 * rest.
 */
#include "../device/ops/device_ops.h"
#include "cuda_recording.h"

static const cvr_attr_desc *const cuda_attrs[] = {
    CVR_ATTR(CHOICE, "cuda_replay", "graph",
             "how a step runs: captured into graphs; as a list of launches; or each launch waited for, so that one "
             "that fails is named",
             .choices = "graph|list|each"),
    CVR_ATTR(BOOL, "cuda_check", "no", "look for stray addresses in what kernels are given; fresh memory is NaN"),
    CVR_ATTR(BOOL, "cuda_libraries", "yes", "use cuDNN and cuBLASLt where they are installed"),
};

/* ---- devices that are listed ---- */

/* Looked for once in a process, since the driver takes a while to start; where something was wrong, again when somebody
 * counts devices again. Texts of descriptions stay. */
typedef struct listing {
    int32_t tried, known;
    uint32_t n, reserved;
    cvr_error why; /* there is none, or why the list could not be had */
    cuda_driver driver;
    cuda_physical devices[CUDA_DEVICES];
    cvr_error refused[CUDA_DEVICES]; /* why a device cannot be used */
} listing;

static listing listed;

static int32_t list_all(listing *l, cvr_error *err) {
    int n = 0;
    int32_t status = CVR_OK;
    CVR_TRY(cuda_driver_load(&l->driver, err));
    CVR_TRY(cuda_check(l->driver.DeviceGetCount(&n), "cuDeviceGetCount", err));
    if (n <= 0) return cvr_fail(err, CVR_ERR_UNSUPPORTED, "cuda: the driver finds no NVIDIA GPU on this machine");
    for (l->n = 0; l->n < (uint32_t)n && l->n < CUDA_DEVICES; l->n++) {
        cvr_error *why = &l->refused[l->n];
        cvr_error_init(why);
        if (cuda_physical_read(&l->devices[l->n], &l->driver, l->n, why) != CVR_OK) status = why->code;
    }
    l->known = status == CVR_OK;
    return CVR_OK;
}

static const listing *list_devices(void) {
    listed.n = 0;
    listed.tried = 1;
    cvr_error_init(&listed.why);
    (void)list_all(&listed, &listed.why);
    return &listed;
}

static int64_t backend_device_count(const cvr_host *host) {
    (void)host;
    return listed.known ? listed.n : list_devices()->n;
}

static int32_t refuse(const cvr_error *why, cvr_error *err) {
    if (err) *err = *why;
    return why->code;
}

static int32_t find_device(int64_t index, cvr_error *err) {
    const listing *l = listed.tried ? &listed : list_devices();
    if (l->why.code != CVR_OK) return refuse(&l->why, err);
    if (index < 0 || index >= (int64_t)l->n)
        return cvr_fail(err, CVR_ERR_USAGE, "cuda: there are %u devices; number %lld is none of them", l->n,
                        (long long)index);
    return l->refused[index].code == CVR_OK ? CVR_OK : refuse(&l->refused[index], err);
}

static int32_t backend_device_info(const cvr_host *host, int64_t index, cvr_device_info *out, cvr_error *err) {
    (void)host;
    CVR_TRY(find_device(index, err));
    *out = listed.devices[index].info;
    return CVR_OK;
}

/* ---- the open device ---- */

static int32_t backend_open(const cvr_host *host, int64_t index, const void *attrs, void **self, cvr_error *err) {
    cuda_device *d = NULL;
    *self = NULL;
    CVR_TRY(find_device(index, err));
    CVR_TRY(cuda_device_open(&d, host, &listed.driver, index, (const cuda_keys *)attrs, err));
    *self = d;
    return CVR_OK;
}

static void backend_close(void *self) {
    cuda_device_close((cuda_device *)self);
}

static void backend_describe(const void *self, char *buf, uint64_t size) {
    const cuda_physical *p = &((const cuda_device *)self)->physical;
    (void)snprintf(buf, size, "%s, sm_%u, %u multiprocessors, %.1f GB, driver for %s", p->name, p->info.arch,
                   p->info.multiprocessors, (double)p->info.memory * 1e-9, p->driver);
}

static const cvr_device_info *backend_info(const void *self) {
    return &((const cuda_device *)self)->physical.info;
}

static int32_t backend_alloc(void *self, uint64_t bytes, void **address, cvr_error *err) {
    return cuda_alloc((cuda_device *)self, bytes, address, err);
}
static void backend_free(void *self, void *address) {
    cuda_free((cuda_device *)self, address);
}
static int32_t backend_memory(void *self, uint64_t *used, uint64_t *available, cvr_error *err) {
    return cuda_memory((cuda_device *)self, used, available, err);
}
static int32_t backend_upload(void *self, const cvr_transfer *t, uint64_t *ticket, cvr_error *err) {
    return cuda_upload((cuda_device *)self, t, ticket, err);
}
static int32_t backend_download(void *self, const cvr_transfer *t, uint64_t *ticket, cvr_error *err) {
    return cuda_download((cuda_device *)self, t, ticket, err);
}
static int32_t backend_copy(void *self, const cvr_transfer *t, uint64_t *ticket, cvr_error *err) {
    return cuda_copy((cuda_device *)self, t, ticket, err);
}
static int32_t backend_record(void *self, const cvr_record_request *r, void **recording, cvr_error *err) {
    return cuda_record((cuda_device *)self, r, recording, err);
}
static int32_t backend_replay(void *self, void *recording, uint64_t after, uint64_t *ticket, cvr_error *err) {
    return cuda_replay((cuda_device *)self, recording, after, ticket, err);
}
static void backend_discard(void *self, void *recording) {
    cuda_discard((cuda_device *)self, recording);
}
static int32_t backend_wait(void *self, uint64_t ticket, cvr_error *err) {
    return cuda_wait((cuda_device *)self, ticket, err);
}
static int32_t backend_pin(void *self, void *host, uint64_t bytes, cvr_error *err) {
    return cuda_pin((cuda_device *)self, host, bytes, err);
}
static void backend_unpin(void *self, void *host) {
    cuda_unpin((cuda_device *)self, host);
}

static const char *const cuda_runs[] = {"cuda"};
static const char *const cuda_payloads[] = {CVR_PAYLOAD_CUDA_FATBIN, CVR_PAYLOAD_CUDA_LAUNCH};

static const cvr_backend_desc cuda_backend = {.struct_size = sizeof cuda_backend,
                                              .name = "cuda",
                                              .doc = "NVIDIA's GPUs, by CUDA",
                                              .n_runs = 1,
                                              .runs = cuda_runs,
                                              .payloads = cuda_payloads,
                                              .n_payloads = sizeof cuda_payloads / sizeof *cuda_payloads,
                                              .n_attrs = sizeof cuda_attrs / sizeof *cuda_attrs,
                                              .attrs = cuda_attrs,
                                              .device_count = backend_device_count,
                                              .device_info = backend_device_info,
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
                                              .wait = backend_wait,
                                              .pin = backend_pin,
                                              .unpin = backend_unpin};

static int32_t cuda_load(const cvr_host *host, const cvr_registrar *r, cvr_error *err) {
    (void)host;
    CVR_TRY(r->add(r, CVR_KIND_BACKEND, &cuda_backend, err));
    CVR_TRY(device_add_kernels(r, "cuda", CVR_PAYLOAD_CUDA_FATBIN, err));
    return cuda_libraries_add_kernels(r, err);
}

CVR_DEFINE_PLUGIN("cuda", "0.1.0", "", cuda_load)
