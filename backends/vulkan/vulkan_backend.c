/*
 * "vulkan": the device kernels on any GPU with a driver for Vulkan 1.3. Memory is reached by buffer addresses, there
 * are no descriptors: a dispatch gets the address of its parameters as a push constant. docs/vulkan.md tells the rest.
 */
#include "../device/ops/device_ops.h"
#include "vulkan_recording.h"

static const cvr_attr_desc *const vulkan_attrs[] = {
    CVR_ATTR(CHOICE, "vulkan_validation", "no",
             "the validation layers, whose first message ends the run: the core checks, those of barriers as well, or "
             "those of addresses in kernels",
             .choices = "no|core|sync|gpu"),
    CVR_ATTR(BOOL, "vulkan_check", "no", "look for missing barriers and stray addresses; fresh memory is NaN"),
    CVR_ATTR(CHOICE, "vulkan_barriers", "needed", "where commands wait for those before them", .choices = "needed|all"),
    CVR_ATTR(BOOL, "vulkan_unified", "yes", "work in place where host and device share their memory"),
    CVR_ATTR(INT, "vulkan_submit_ms", "200",
             "milliseconds that one submit may run, as systems reset a GPU that does not answer for 2 s",
             CVR_ATTR_AT_LEAST(0)),
    CVR_ATTR(INT, "vulkan_timeout_s", "300", "seconds without progress after which the device is given up",
             CVR_ATTR_BETWEEN(1, 86400)),
    CVR_ATTR(INT, "vulkan_drop_barrier", "0", "for tests: the number of the barrier to leave out; 0: none",
             CVR_ATTR_AT_LEAST(0)),
    CVR_ATTR(INT, "vulkan_fail_submit", "0", "for tests: the submit at which the device is lost; 0: none",
             CVR_ATTR_AT_LEAST(0)),
    CVR_ATTR(INT, "vulkan_fail_alloc", "0", "for tests: the block for which there is no memory; 0: none",
             CVR_ATTR_AT_LEAST(0)),
};

/* ---- devices that are listed ---- */

/* Looked for once in a process, since making an instance loads every driver there is. Texts of descriptions stay. */
typedef struct listing {
    int32_t known;
    uint32_t n;
    cvr_error why; /* there is none, or why the list could not be had */
    vulkan_physical devices[VULKAN_DEVICES];
    cvr_error refused[VULKAN_DEVICES]; /* why a device cannot be used */
} listing;

static listing listed;

static int32_t list_all(const vulkan_instance *i, listing *l, cvr_error *err) {
    VkPhysicalDevice all[VULKAN_DEVICES];
    uint32_t n = VULKAN_DEVICES;
    CVR_TRY(vulkan_instance_devices(i, all, &n, err));
    for (l->n = 0; l->n < n; l->n++) {
        cvr_error_init(&l->refused[l->n]);
        (void)vulkan_physical_read(&l->devices[l->n], &i->table, all[l->n], &l->refused[l->n]);
    }
    return n ? CVR_OK : vulkan_no_driver(err);
}

static const listing *list_devices(const cvr_host *host) {
    vulkan_instance i = {0};
    if (listed.known) return &listed;
    cvr_error_init(&listed.why);
    if (vulkan_instance_open(&i, host, VULKAN_VALIDATION_NO, &listed.why) == CVR_OK)
        (void)list_all(&i, &listed, &listed.why);
    vulkan_instance_close(&i);
    listed.known = 1;
    return &listed;
}

static int64_t backend_device_count(const cvr_host *host) {
    return list_devices(host)->n;
}

static int32_t refuse(const cvr_error *why, cvr_error *err) {
    if (err) *err = *why;
    return why->code;
}

static int32_t backend_device_info(const cvr_host *host, int64_t index, cvr_device_info *out, cvr_error *err) {
    const listing *l = list_devices(host);
    if (l->why.code != CVR_OK) return refuse(&l->why, err);
    if (index < 0 || index >= (int64_t)l->n)
        return cvr_fail(err, CVR_ERR_USAGE, "vulkan: there are %u devices; number %lld is none of them", l->n,
                        (long long)index);
    if (l->refused[index].code != CVR_OK) return refuse(&l->refused[index], err);
    *out = l->devices[index].info;
    return CVR_OK;
}

/* ---- the open device ---- */

static int32_t backend_open(const cvr_host *host, int64_t index, const void *attrs, void **self, cvr_error *err) {
    vulkan_device *d = NULL;
    const int32_t status = vulkan_device_open(&d, host, index, (const vulkan_keys *)attrs, err);
    *self = d;
    return status;
}

static void backend_close(void *self) {
    vulkan_device_close((vulkan_device *)self);
}

static void backend_describe(const void *self, char *buf, uint64_t size) {
    const vulkan_physical *p = &((const vulkan_device *)self)->physical;
    (void)snprintf(buf, size, "%s, %s, %.1f GB, subgroups of %u%s", p->name, p->driver, (double)p->info.memory * 1e-9,
                   p->info.subgroup_max,
                   p->type == VK_PHYSICAL_DEVICE_TYPE_CPU ? " (a CPU that stands in for a GPU)" : "");
}

static const cvr_device_info *backend_info(const void *self) {
    return &((const vulkan_device *)self)->physical.info;
}

static int32_t backend_alloc(void *self, uint64_t bytes, void **address, cvr_error *err) {
    return vulkan_alloc((vulkan_device *)self, bytes, address, err);
}
static void backend_free(void *self, void *address) {
    vulkan_free((vulkan_device *)self, address);
}
static int32_t backend_memory(void *self, uint64_t *used, uint64_t *available, cvr_error *err) {
    CVR_TRY(vulkan_alive((vulkan_device *)self, err));
    return vulkan_memory((vulkan_device *)self, used, available);
}
static int32_t backend_upload(void *self, const cvr_transfer *t, uint64_t *ticket, cvr_error *err) {
    return vulkan_upload((vulkan_device *)self, t, ticket, err);
}
static int32_t backend_download(void *self, const cvr_transfer *t, uint64_t *ticket, cvr_error *err) {
    return vulkan_download((vulkan_device *)self, t, ticket, err);
}
static int32_t backend_copy(void *self, const cvr_transfer *t, uint64_t *ticket, cvr_error *err) {
    return vulkan_copy((vulkan_device *)self, t, ticket, err);
}
static int32_t backend_record(void *self, const cvr_record_request *r, void **recording, cvr_error *err) {
    return vulkan_record((vulkan_device *)self, r, recording, err);
}
static int32_t backend_replay(void *self, void *recording, uint64_t after, uint64_t *ticket, cvr_error *err) {
    return vulkan_replay((vulkan_device *)self, recording, after, ticket, err);
}
static void backend_discard(void *self, void *recording) {
    vulkan_discard((vulkan_device *)self, recording);
}
static int32_t backend_wait(void *self, uint64_t ticket, cvr_error *err) {
    return vulkan_wait((vulkan_device *)self, ticket, err);
}

/* Memory is mapped where the host reads it as fast as its own. */
static int32_t backend_map(void *self, void *address, uint64_t bytes, void **host, cvr_error *err) {
    const vulkan_block *b = vulkan_find((const vulkan_device *)self, address, bytes);
    if (!b) return cvr_fail(err, CVR_ERR_INVALID, "vulkan: %p is in no block", address);
    *host = b->mapped ? b->mapped + ((uint64_t)(uintptr_t)address - b->address) : NULL;
    return CVR_OK;
}

static const char *const vulkan_runs[] = {"vulkan"}, *const vulkan_payloads[] = {CVR_PAYLOAD_VULKAN_SPIRV};

static const cvr_backend_desc vulkan_backend = {.struct_size = sizeof vulkan_backend,
                                                .name = "vulkan",
                                                .doc = "any GPU with a driver for Vulkan 1.3",
                                                .n_runs = 1,
                                                .runs = vulkan_runs,
                                                .payloads = vulkan_payloads,
                                                .n_payloads = 1,
                                                .n_attrs = sizeof vulkan_attrs / sizeof *vulkan_attrs,
                                                .attrs = vulkan_attrs,
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
                                                .map = backend_map};

static int32_t vulkan_load(const cvr_host *host, const cvr_registrar *r, cvr_error *err) {
    (void)host;
    CVR_TRY(r->add(r, CVR_KIND_BACKEND, &vulkan_backend, err));
    return device_add_kernels(r, "vulkan", CVR_PAYLOAD_VULKAN_SPIRV, err);
}

CVR_DEFINE_PLUGIN("vulkan", "0.1.0", "", vulkan_load)
