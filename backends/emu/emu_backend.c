/*
 * "emu": the device kernels on the host, their threads as fibres. A backend for tests, which needs no device: what is
 * out of bounds the address sanitizer sees, and a missing barrier shows as other bits in another order of threads.
 */
#include "../device/ops/device_ops.h"
#include "emu_record.h"
#include <stdlib.h>

typedef struct emu_device {
    const cvr_host *host;
    cvr_device_info info;
    emu_settings settings;
    emu_group *group;
} emu_device;

typedef struct emu_recording {
    emu_list list;
} emu_recording;

static int64_t emu_device_count(const cvr_host *host) {
    (void)host;
    return 1;
}

static uint32_t setting(const char *name, uint32_t otherwise) {
    const char *text = getenv(name);
    return text ? (uint32_t)strtoul(text, NULL, 10) : otherwise;
}

static int32_t emu_open(const cvr_host *host, int64_t index, void **self, cvr_error *err) {
    (void)index;
    emu_device *d = (emu_device *)host->alloc(host, sizeof *d, 16);
    if (!d) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    *d = (emu_device){.host = host,
                      .info = {.struct_size = sizeof d->info,
                               .name = "emu",
                               .driver = "",
                               .uuid = "",
                               .features = "f16 bf16 i64",
                               .alignment = 256,
                               .shared_bytes = 32768,
                               .group_threads = EMU_THREADS,
                               .subgroup_min = 1,
                               .subgroup_max = 64,
                               .multiprocessors = 1},
                      .settings = {.order = setting("CVR_EMU_ORDER", EMU_FORWARD),
                                   .subgroup = setting("CVR_EMU_SUBGROUP", 32)}};
    const int32_t status = emu_group_create(&d->group, host, err);
    if (status != CVR_OK) host->free(host, d);
    *self = d;
    return status;
}

static void emu_close(void *self) {
    emu_device *d = (emu_device *)self;
    emu_group_destroy(&d->group);
    d->host->free(d->host, d);
}

static void emu_describe(const void *self, char *buf, uint64_t size) {
    static const char *const orders[] = {"forward", "backward", "shuffled"};
    const emu_device *d = (const emu_device *)self;
    (void)snprintf(buf, size, "device kernels on the host, threads %s, subgroups of %u", orders[d->settings.order % 3],
                   d->settings.subgroup);
}

static int32_t emu_alloc(void *self, uint64_t bytes, void **address, cvr_error *err) {
    const cvr_host *host = ((emu_device *)self)->host;
    *address = host->alloc(host, bytes, 256);
    return *address ? CVR_OK : cvr_fail(err, CVR_ERR_NOMEM, "out of memory: %.1f MB wanted", (double)bytes * 1e-6);
}

static void emu_free(void *self, void *address) {
    const cvr_host *host = ((emu_device *)self)->host;
    host->free(host, address);
}

static int32_t emu_copy(void *self, void *to, const void *from, uint64_t bytes, cvr_error *err) {
    (void)self, (void)err;
    memcpy(to, from, bytes);
    return CVR_OK;
}

static void emu_discard(void *self, void *recording) {
    const emu_device *d = (const emu_device *)self;
    emu_list_clear(&((emu_recording *)recording)->list);
    d->host->free(d->host, recording);
}

static int32_t emu_record(void *self, const cvr_launch *const *launches, uint64_t n, uint64_t id, void **recording,
                          cvr_error *err) {
    emu_device *d = (emu_device *)self;
    (void)id;
    emu_recording *r = (emu_recording *)d->host->alloc(d->host, sizeof *r, 16);
    if (!r) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    emu_list_init(&r->list, d->host);
    const cvr_recorder recorder = emu_recorder(&r->list, &d->info);
    for (uint64_t i = 0; i < n; i++) {
        const cvr_device_fn *fn = (const cvr_device_fn *)launches[i]->kernel->payload;
        r->list.name = launches[i]->name;
        const int32_t status = fn->record(launches[i]->args, &recorder, err);
        if (status == CVR_OK) continue;
        emu_discard(d, r);
        return status;
    }
    *recording = r;
    return CVR_OK;
}

static int32_t emu_replay(void *self, void *recording, cvr_error *err) {
    const emu_device *d = (const emu_device *)self;
    return emu_list_run(&((const emu_recording *)recording)->list, d->group, &d->settings, err);
}

static int32_t emu_sync(void *self, cvr_error *err) {
    (void)self, (void)err;
    return CVR_OK;
}

static const char *const emu_runs[] = {"emu"};

static const cvr_backend_desc emu_backend = {.struct_size = sizeof emu_backend,
                                             .name = "emu",
                                             .doc = "the device kernels on the host, by fibres, for tests",
                                             .flags = CVR_BACKEND_TEST,
                                             .n_runs = 1,
                                             .runs = emu_runs,
                                             .device_count = emu_device_count,
                                             .open = emu_open,
                                             .close = emu_close,
                                             .describe = emu_describe,
                                             .alloc = emu_alloc,
                                             .free = emu_free,
                                             .upload = emu_copy,
                                             .download = emu_copy,
                                             .record = emu_record,
                                             .replay = emu_replay,
                                             .discard = emu_discard,
                                             .sync = emu_sync};

static int32_t emu_load(const cvr_host *host, const cvr_registrar *r, cvr_error *err) {
    (void)host;
    CVR_TRY(r->add(r, CVR_KIND_BACKEND, &emu_backend, err));
    return device_add_kernels(r, "emu", CVR_PAYLOAD_CPU_FN, err);
}

CVR_DEFINE_PLUGIN("emu", "0.1.0", "", emu_load)
