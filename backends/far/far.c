/*
 * A device that is far away, on a machine that has none: its memory is pages that nobody may touch except inside its
 * own kernels and copies. Code that takes a device address for a host address dies at once. Runs the CPU's kernels.
 */
#define _DEFAULT_SOURCE /* MAP_ANONYMOUS */
#include "../host/host_backend.h"
#include <errno.h>
#include <sys/mman.h>
#include <unistd.h>

#define FAR_MOST_REGIONS 256u

typedef struct far_region {
    void *address;
    uint64_t bytes;
} far_region;

typedef struct far_device {
    const cvr_host *host;
    uint64_t page;
    uint32_t n, reserved;
    far_region regions[FAR_MOST_REGIONS];
} far_device;

static int64_t far_device_count(const cvr_host *host) {
    (void)host;
    return 1;
}

static int32_t far_open(const cvr_host *host, int64_t index, void **self, cvr_error *err) {
    (void)index;
    far_device *d = (far_device *)host->alloc(host, sizeof *d, 16);
    if (!d) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    memset(d, 0, sizeof *d);
    d->host = host;
    d->page = (uint64_t)sysconf(_SC_PAGESIZE);
    *self = d;
    return CVR_OK;
}

static void far_close(void *self) {
    far_device *d = (far_device *)self;
    for (uint32_t i = 0; i < d->n; i++) munmap(d->regions[i].address, d->regions[i].bytes);
    d->host->free(d->host, d);
}

static void far_describe(const void *self, char *buf, uint64_t size) {
    (void)self;
    (void)snprintf(buf, size, "host memory that only kernels and copies may touch");
}

static int32_t far_alloc(void *self, uint64_t bytes, void **address, cvr_error *err) {
    far_device *d = (far_device *)self;
    const uint64_t whole = (bytes + d->page - 1) / d->page * d->page;
    if (d->n == FAR_MOST_REGIONS)
        return cvr_fail(err, CVR_ERR_NOMEM, "more than %u blocks of device memory", FAR_MOST_REGIONS);
    void *p = mmap(NULL, whole, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED)
        return cvr_fail(err, CVR_ERR_NOMEM, "%.1f MB of device memory: %s", (double)bytes * 1e-6, strerror(errno));
    d->regions[d->n++] = (far_region){p, whole};
    *address = p;
    return CVR_OK;
}

static void far_free(void *self, void *address) {
    far_device *d = (far_device *)self;
    for (uint32_t i = 0; i < d->n; i++) {
        if (d->regions[i].address != address) continue;
        munmap(address, d->regions[i].bytes);
        d->regions[i] = d->regions[--d->n];
        return;
    }
}

/* Lets the kernels in, or everybody out. */
static int32_t far_protect(const far_device *d, int protection, cvr_error *err) {
    for (uint32_t i = 0; i < d->n; i++) {
        if (mprotect(d->regions[i].address, d->regions[i].bytes, protection) != 0) {
            return cvr_fail(err, CVR_ERR_NOMEM, "cannot protect device memory: %s", strerror(errno));
        }
    }
    return CVR_OK;
}

static int32_t far_copy(void *self, void *to, const void *from, uint64_t bytes, cvr_error *err) {
    int32_t status = far_protect((const far_device *)self, PROT_READ | PROT_WRITE, err);
    if (status == CVR_OK) memcpy(to, from, bytes);
    const int32_t closed = far_protect((const far_device *)self, PROT_NONE, err);
    return status == CVR_OK ? closed : status;
}

static int32_t far_record(void *self, const cvr_launch *const *launches, uint64_t n, uint64_t id, void **recording,
                          cvr_error *err) {
    return host_record(((far_device *)self)->host, launches, n, id, recording, err);
}

static int32_t far_replay(void *self, void *recording, cvr_error *err) {
    int32_t status = far_protect((const far_device *)self, PROT_READ | PROT_WRITE, err);
    if (status == CVR_OK) status = host_replay(recording, "far", err);
    cvr_error closing;
    cvr_error_init(&closing);
    const int32_t closed = far_protect((const far_device *)self, PROT_NONE, &closing);
    if (status == CVR_OK && closed != CVR_OK) return cvr_fail(err, closed, "%s", closing.message);
    return status;
}

static void far_discard(void *self, void *recording) {
    host_discard(((far_device *)self)->host, recording);
}

static int32_t far_sync(void *self, cvr_error *err) {
    (void)self, (void)err;
    return CVR_OK;
}

static const char *const far_runs[] = {"far", "cpu"};

static const cvr_backend_desc far_backend = {.struct_size = sizeof far_backend,
                                             .name = "far",
                                             .doc = "a pretended device whose memory the host cannot touch, for tests",
                                             .flags = CVR_BACKEND_TEST,
                                             .n_runs = 2,
                                             .runs = far_runs,
                                             .device_count = far_device_count,
                                             .open = far_open,
                                             .close = far_close,
                                             .describe = far_describe,
                                             .alloc = far_alloc,
                                             .free = far_free,
                                             .upload = far_copy,
                                             .download = far_copy,
                                             .record = far_record,
                                             .replay = far_replay,
                                             .discard = far_discard,
                                             .sync = far_sync};

static int32_t far_load(const cvr_host *host, const cvr_registrar *r, cvr_error *err) {
    (void)host;
    return r->add(r, CVR_KIND_BACKEND, &far_backend, err);
}

CVR_DEFINE_PLUGIN("far", "0.1.0", "", far_load)
