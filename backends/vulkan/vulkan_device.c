/* Opening and closing. See vulkan_device.h. */
#include "vulkan_device.h"
#include "vulkan_pipelines.h"

static int32_t choose(vulkan_device *d, int64_t index, cvr_error *err) {
    VkPhysicalDevice all[VULKAN_DEVICES];
    uint32_t n = VULKAN_DEVICES;
    CVR_TRY(vulkan_instance_devices(&d->instance, all, &n, err));
    if (index < 0 || index >= (int64_t)n)
        return cvr_fail(err, CVR_ERR_USAGE, "vulkan: there are %u devices; number %lld is none of them", n,
                        (long long)index);
    return vulkan_physical_read(&d->physical, &d->instance.table, all[index], err);
}

static int32_t create(vulkan_device *d, cvr_error *err) {
    static const char *const budget[] = {VK_EXT_MEMORY_BUDGET_EXTENSION_NAME};
    static const float priorities[] = {1, 1};
    vulkan_physical *p = &d->physical;
    const int32_t two = p->upload_family != p->family;
    const VkDeviceQueueCreateInfo queues[] = {{.sType = VK_STRUCTURE_TYPE_DEVICE_QUEUE_CREATE_INFO,
                                               .queueFamilyIndex = p->family,
                                               .queueCount = two ? 1 : 1 + p->upload_queue,
                                               .pQueuePriorities = priorities},
                                              {.sType = VK_STRUCTURE_TYPE_DEVICE_QUEUE_CREATE_INFO,
                                               .queueFamilyIndex = p->upload_family,
                                               .queueCount = 1,
                                               .pQueuePriorities = priorities}};
    const VkDeviceCreateInfo info = {.sType = VK_STRUCTURE_TYPE_DEVICE_CREATE_INFO,
                                     .pNext = vulkan_features_link(&p->wanted),
                                     .queueCreateInfoCount = two ? 2 : 1,
                                     .pQueueCreateInfos = queues,
                                     .enabledExtensionCount = p->has_budget ? 1 : 0,
                                     .ppEnabledExtensionNames = budget};
    d->vk = d->instance.table;
    CVR_TRY(vulkan_check(d->vk.CreateDevice(p->handle, &info, NULL, &d->handle), "vkCreateDevice", err));
    CVR_TRY(vulkan_table_of_device(&d->vk, d->handle, err));
    d->vk.GetDeviceQueue(d->handle, p->family, 0, &d->lanes[VULKAN_MAIN].queue);
    d->vk.GetDeviceQueue(d->handle, p->upload_family, p->upload_queue, &d->lanes[VULKAN_UPLOADS].queue);
    return CVR_OK;
}

static int32_t open_all(vulkan_device *d, int64_t index, cvr_error *err) {
    CVR_TRY(vulkan_instance_open(&d->instance, d->host, d->keys.validation, err));
    CVR_TRY(choose(d, index, err));
    CVR_TRY(create(d, err));
    CVR_TRY(vulkan_lanes_open(d, err));
    CVR_TRY(vulkan_pipelines_open(&d->pipelines, d, err));
    return vulkan_instance_complaints(&d->instance, err);
}

int32_t vulkan_device_open(vulkan_device **out, const cvr_host *host, int64_t index, const vulkan_keys *keys,
                           cvr_error *err) {
    vulkan_device *d = (vulkan_device *)host->alloc(host, sizeof *d, 64);
    if (!d) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    memset(d, 0, sizeof *d);
    d->host = host;
    d->keys = *keys;
    const int32_t status = open_all(d, index, err);
    if (status != CVR_OK) vulkan_device_close(d);
    *out = status == CVR_OK ? d : NULL;
    return status;
}

void vulkan_device_close(vulkan_device *d) {
    if (d->lost == VULKAN_HANGS) return; /* it all stays, until the process ends */
    if (d->handle && d->vk.DestroyDevice && d->vk.DeviceWaitIdle) {
        (void)d->vk.DeviceWaitIdle(d->handle);
        vulkan_pipelines_close(&d->pipelines);
        vulkan_lanes_close(d);
        for (uint64_t i = 0; i < d->n_blocks; i++) vulkan_block_destroy(d, &d->blocks[i]);
        d->vk.DestroyDevice(d->handle, NULL);
    }
    vulkan_instance_close(&d->instance);
    d->host->free(d->host, d->blocks);
    d->host->free(d->host, d);
}
