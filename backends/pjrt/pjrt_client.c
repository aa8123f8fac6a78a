/* Opening a device of a plugin's, and what it says of itself. */
#define _DEFAULT_SOURCE
#include "../host/host_backend.h"
#include "pjrt_device.h"
#include <unistd.h>

#define ALIGNMENT 64u
#define ADDRESSES (UINT64_C(1) << 46) /* of one block: they are only reserved */

int32_t pjrt_await(const pjrt_device *d, PJRT_Event *event, const char *what, cvr_error *err) {
    if (!event) return CVR_OK;
    PJRT_ARGS(PJRT_Event_Await, a, .event = event);
    PJRT_ARGS(PJRT_Event_Destroy, e, .event = event);
    PJRT_Error *failed = d->plugin.api->PJRT_Event_Await(&a);
    pjrt_forget(&d->plugin, d->plugin.api->PJRT_Event_Destroy(&e));
    return pjrt_check(&d->plugin, failed, what, err);
}

/* ---- what it is ---- */

static int32_t read_client(pjrt_device *d, cvr_error *err) {
    const PJRT_Api *api = d->plugin.api;
    char name[101], version[101];
    PJRT_ARGS(PJRT_Client_PlatformName, n, .client = d->client);
    PJRT_ARGS(PJRT_Client_PlatformVersion, v, .client = d->client);
    CVR_TRY(pjrt_check(&d->plugin, api->PJRT_Client_PlatformName(&n), "PJRT_Client_PlatformName", err));
    CVR_TRY(pjrt_check(&d->plugin, api->PJRT_Client_PlatformVersion(&v), "PJRT_Client_PlatformVersion", err));
    pjrt_words(name, sizeof name, n.platform_name, n.platform_name_size);
    pjrt_words(version, sizeof version, v.platform_version, v.platform_version_size);
    (void)snprintf(d->features, sizeof d->features, "pjrt %s", name);
    d->is_cpu = strstr(name, "cpu") != NULL;
    (void)snprintf(d->driver, sizeof d->driver, "%.200s, %s, %s", d->plugin.file, d->plugin.versions, version);
    return CVR_OK;
}

static int32_t read_id(pjrt_device *d, PJRT_DeviceDescription *description, cvr_error *err) {
    PJRT_ARGS(PJRT_DeviceDescription_Id, i, .device_description = description);
    d->id = -1;
    if (!PJRT_KNOWS(d->plugin.api, PJRT_DeviceDescription_Id)) return CVR_OK;
    CVR_TRY(pjrt_check(&d->plugin, d->plugin.api->PJRT_DeviceDescription_Id(&i), "PJRT_DeviceDescription_Id", err));
    d->id = i.id;
    return CVR_OK;
}

static int32_t read_device(pjrt_device *d, cvr_error *err) {
    const PJRT_Api *api = d->plugin.api;
    uint64_t used, available;
    PJRT_ARGS(PJRT_Device_GetDescription, g, .device = d->device);
    CVR_TRY(pjrt_check(&d->plugin, api->PJRT_Device_GetDescription(&g), "PJRT_Device_GetDescription", err));
    PJRT_ARGS(PJRT_DeviceDescription_Kind, k, .device_description = g.device_description);
    CVR_TRY(pjrt_check(&d->plugin, api->PJRT_DeviceDescription_Kind(&k), "PJRT_DeviceDescription_Kind", err));
    pjrt_words(d->name, sizeof d->name, k.device_kind, k.device_kind_size);
    CVR_TRY(read_id(d, g.device_description, err));
    d->info = (cvr_device_info){.struct_size = sizeof d->info,
                                .name = d->name,
                                .driver = d->driver,
                                .uuid = "",
                                .features = d->features,
                                .max_allocation = ADDRESSES,
                                .alignment = ALIGNMENT};
    CVR_TRY(pjrt_memory_left(d, &used, &available, err));
    d->info.memory = used + available;
    return CVR_OK;
}

static int32_t find_device(pjrt_device *d, int64_t index, cvr_error *err) {
    PJRT_ARGS(PJRT_Client_AddressableDevices, a, .client = d->client);
    CVR_TRY(pjrt_check(&d->plugin, d->plugin.api->PJRT_Client_AddressableDevices(&a), "PJRT_Client_AddressableDevices",
                       err));
    if (index < 0 || (uint64_t)index >= a.num_addressable_devices)
        return cvr_fail(err, CVR_ERR_USAGE, "pjrt: %s has %zu devices here; backend.pjrt_device=%lld is none of them",
                        d->plugin.file, a.num_addressable_devices, (long long)index);
    d->device = a.addressable_devices ? a.addressable_devices[index] : NULL;
    return d->device ? CVR_OK
                     : cvr_fail(err, CVR_ERR_PLUGIN, "pjrt: %s says that it has %zu devices, and gives none of them",
                                d->plugin.file, a.num_addressable_devices);
}

/* A plugin that does not tell its memory has, on the CPU, the host's; else nothing is known, and nothing is refused. */
int32_t pjrt_memory_left(pjrt_device *d, uint64_t *used, uint64_t *available, cvr_error *err) {
    PJRT_ARGS(PJRT_Device_MemoryStats, m, .device = d->device);
    PJRT_Error *e = NULL;
    if (PJRT_KNOWS(d->plugin.api, PJRT_Device_MemoryStats)) {
        e = d->plugin.api->PJRT_Device_MemoryStats(&m);
        if (!e && m.bytes_limit_is_set && m.bytes_limit > 0) {
            *used = m.bytes_in_use > 0 ? (uint64_t)m.bytes_in_use : 0;
            *available = (uint64_t)m.bytes_limit > *used ? (uint64_t)m.bytes_limit - *used : 0;
            return CVR_OK;
        }
        pjrt_forget(&d->plugin, e);
    }
    if (d->is_cpu) return host_memory(used, available, err);
    *used = 0;
    *available = ADDRESSES;
    return CVR_OK;
}

/* ---- opening ---- */

static int32_t create_client(pjrt_device *d, cvr_error *err) {
    PJRT_ARGS(PJRT_Client_Create, c, .client = NULL);
    CVR_TRY(pjrt_check(&d->plugin, d->plugin.api->PJRT_Client_Create(&c), "PJRT_Client_Create", err));
    if (!c.client) return cvr_fail(err, CVR_ERR_PLUGIN, "pjrt: %s: it gives no client", d->plugin.file);
    d->client = c.client;
    return CVR_OK;
}

int32_t pjrt_open(const cvr_host *host, const pjrt_keys *keys, pjrt_device **out, cvr_error *err) {
    pjrt_plugin plugin;
    CVR_TRY(pjrt_plugin_load(&plugin, keys->plugin, err));
    return pjrt_open_on(host, keys, &plugin, out, err);
}

int32_t pjrt_open_on(const cvr_host *host, const pjrt_keys *keys, const pjrt_plugin *plugin, pjrt_device **out,
                     cvr_error *err) {
    pjrt_device *d = (pjrt_device *)host->alloc(host, sizeof *d, 64);
    int32_t status;
    if (!d) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    memset(d, 0, sizeof *d);
    d->host = host;
    d->page = (uint64_t)sysconf(_SC_PAGESIZE);
    d->plugin = *plugin;
    d->caches = keys->cache != 0;
    cvr_error_init(&d->failed);
    (void)snprintf(d->dump, sizeof d->dump, "%s", keys->dump);
    if (strlen(keys->dump) >= sizeof d->dump)
        CVR_TRY_OUT(cvr_fail(err, CVR_ERR_USAGE, "pjrt: backend.pjrt_dump is longer than %zu bytes", sizeof d->dump));
    CVR_TRY_OUT(create_client(d, err));
    CVR_TRY_OUT(find_device(d, keys->device, err));
    CVR_TRY_OUT(read_client(d, err));
    CVR_TRY_OUT(read_device(d, err));
    *out = d;
out:
    if (status != CVR_OK) pjrt_close(d);
    return status;
}

void pjrt_close(pjrt_device *d) {
    const cvr_host *host = d->host;
    (void)pjrt_wait(d, d->issued, NULL);
    pjrt_programs_close(d);
    pjrt_memory_close(d);
    if (d->client) {
        PJRT_ARGS(PJRT_Client_Destroy, c, .client = d->client);
        pjrt_forget(&d->plugin, d->plugin.api->PJRT_Client_Destroy(&c));
    }
    host->free(host, d);
}
