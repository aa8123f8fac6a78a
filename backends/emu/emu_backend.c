/*
 * "emu": the device kernels on the host, their threads as fibres. A backend for tests, which needs no device: what is
 * out of bounds the address sanitizer sees, and a missing barrier shows as other bits in another order of threads.
 */
#include "../device/ops/device_ops.h"
#include "../host/host_backend.h"
#include "../host/host_recorder.h"
#include "emu_record.h"

static const cvr_attr_desc *const emu_attrs[] = {
    CVR_ATTR(CHOICE, "emu_order", "forward", "which thread of a group goes first",
             .choices = "forward|backward|shuffled"),
    CVR_ATTR(INT, "emu_subgroup", "32", "threads that exchange numbers without a barrier: 1, 2, 4 and so on to 64",
             CVR_ATTR_BETWEEN(1, 64)),
};

/* As emu_attrs packs it. */
typedef struct emu_keys {
    int64_t order, subgroup;
} emu_keys;

typedef struct emu_device {
    const cvr_host *host;
    cvr_device_info info;
    emu_settings settings;
    emu_group *group;
    emu_fence fence;
} emu_device;

static const cvr_device_info emu_is = {.struct_size = sizeof emu_is,
                                       .name = "emu",
                                       .driver = "",
                                       .uuid = "",
                                       .features = "f16 bf16 i64",
                                       .max_allocation = UINT64_C(1) << 40,
                                       .alignment = 256,
                                       .shared_bytes = 32768,
                                       .group_threads = EMU_THREADS,
                                       .subgroup_min = 1,
                                       .subgroup_max = 64,
                                       .multiprocessors = 1};

static int64_t emu_device_count(const cvr_host *host) {
    (void)host;
    return 1;
}

static int32_t emu_device_info(const cvr_host *host, int64_t index, cvr_device_info *out, cvr_error *err) {
    (void)host, (void)index, (void)err;
    *out = emu_is;
    out->memory = host_info()->memory;
    return CVR_OK;
}

static int32_t emu_open(const cvr_host *host, int64_t index, const void *attrs, void **self, cvr_error *err) {
    const emu_keys *keys = (const emu_keys *)attrs;
    if ((keys->subgroup & (keys->subgroup - 1)) != 0)
        return cvr_fail(err, CVR_ERR_USAGE, "backend.emu_subgroup is %lld; it must be a power of two",
                        (long long)keys->subgroup);
    emu_device *d = (emu_device *)host->alloc(host, sizeof *d, 64);
    if (!d) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    *d = (emu_device){.host = host,
                      .fence = {.host = host},
                      .settings = {.order = (uint32_t)keys->order, .subgroup = (uint32_t)keys->subgroup}};
    int32_t status = emu_device_info(host, index, &d->info, err);
    d->info.subgroup_min = d->info.subgroup_max = d->settings.subgroup;
    if (status == CVR_OK) status = emu_group_create(&d->group, host, err);
    if (status != CVR_OK) host->free(host, d);
    *self = status == CVR_OK ? d : NULL;
    return status;
}

static void emu_close(void *self) {
    emu_device *d = (emu_device *)self;
    emu_group_destroy(&d->group);
    emu_fence_clear(&d->fence);
    d->host->free(d->host, d);
}

static void emu_describe(const void *self, char *buf, uint64_t size) {
    static const char *const orders[] = {"forward", "backward", "shuffled"};
    const emu_device *d = (const emu_device *)self;
    (void)snprintf(buf, size, "device kernels on the host, threads %s, subgroups of %u", orders[d->settings.order],
                   d->settings.subgroup);
}

static const cvr_device_info *emu_info(const void *self) {
    return &((const emu_device *)self)->info;
}

static int32_t emu_alloc(void *self, uint64_t bytes, void **address, cvr_error *err) {
    emu_device *d = (emu_device *)self;
    *address = d->host->alloc(d->host, bytes, d->info.alignment);
    if (!*address) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory: %.1f MB wanted", (double)bytes * 1e-6);
    const int32_t status = emu_fence_add(&d->fence, *address, bytes, err);
    if (status != CVR_OK) d->host->free(d->host, *address);
    return status;
}

static void emu_free(void *self, void *address) {
    emu_device *d = (emu_device *)self;
    emu_fence_remove(&d->fence, address);
    d->host->free(d->host, address);
}

static int32_t emu_memory(void *self, uint64_t *used, uint64_t *available, cvr_error *err) {
    (void)self;
    return host_memory(used, available, err);
}

/* All is done when the call returns: every ticket is 0. */
static int32_t emu_copy(void *self, const cvr_transfer *t, uint64_t *ticket, cvr_error *err) {
    (void)self, (void)err;
    memcpy(t->to, t->from, t->bytes);
    *ticket = 0;
    return CVR_OK;
}

static void emu_discard(void *self, void *recording) {
    const emu_device *d = (const emu_device *)self;
    emu_list_clear((emu_list *)recording);
    d->host->free(d->host, recording);
}

static int32_t emu_record(void *self, const cvr_record_request *request, void **recording, cvr_error *err) {
    const emu_device *d = (const emu_device *)self;
    emu_list *list = (emu_list *)d->host->alloc(d->host, sizeof *list, 16);
    if (!list) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    emu_list_init(list, d->host);
    list->fence = &d->fence;
    list->service = (const cvr_launch_service *)d->host->get(d->host, CVR_SERVICE_LAUNCHES);
    const cvr_recorder recorder = emu_recorder(list, &d->info);
    for (uint64_t i = 0; i < request->n_launches; i++) {
        const cvr_launch *l = request->launches[i];
        list->name = l->name;
        list->launch = l;
        const int32_t status = host_record_code(d->host, l, &recorder, "emu", err);
        if (status == CVR_OK) continue;
        emu_discard(self, list);
        return status;
    }
    *recording = list;
    return CVR_OK;
}

static int32_t emu_replay(void *self, void *recording, uint64_t after, uint64_t *ticket, cvr_error *err) {
    const emu_device *d = (const emu_device *)self;
    (void)after;
    *ticket = 0;
    return emu_list_run((const emu_list *)recording, d->group, &d->settings, err);
}

static int32_t emu_wait(void *self, uint64_t ticket, cvr_error *err) {
    (void)self, (void)ticket, (void)err;
    return CVR_OK;
}

static const char *const emu_runs[] = {"emu"}, *const emu_payloads[] = {CVR_PAYLOAD_EMU_FN};

static const cvr_backend_desc emu_backend = {.struct_size = sizeof emu_backend,
                                             .name = "emu",
                                             .doc = "the device kernels on the host, by fibres, for tests",
                                             .flags = CVR_BACKEND_TEST,
                                             .n_runs = 1,
                                             .runs = emu_runs,
                                             .payloads = emu_payloads,
                                             .n_payloads = 1,
                                             .n_attrs = 2,
                                             .attrs = emu_attrs,
                                             .device_count = emu_device_count,
                                             .device_info = emu_device_info,
                                             .open = emu_open,
                                             .close = emu_close,
                                             .describe = emu_describe,
                                             .info = emu_info,
                                             .alloc = emu_alloc,
                                             .free = emu_free,
                                             .memory = emu_memory,
                                             .upload = emu_copy,
                                             .download = emu_copy,
                                             .copy = emu_copy,
                                             .record = emu_record,
                                             .replay = emu_replay,
                                             .discard = emu_discard,
                                             .wait = emu_wait};

static int32_t emu_load(const cvr_host *host, const cvr_registrar *r, cvr_error *err) {
    (void)host;
    CVR_TRY(r->add(r, CVR_KIND_BACKEND, &emu_backend, err));
    return device_add_kernels(r, "emu", CVR_PAYLOAD_EMU_FN, err);
}

CVR_DEFINE_PLUGIN("emu", "0.1.0", "", emu_load)
