/* What a physical device can do: the features that kernels need, and its limits. See vulkan_device.h. */
#include "vulkan_device.h"
#include <stddef.h>

/* A feature: where its VkBool32 lies in vulkan_features, and its name in the specification. */
typedef struct feature {
    size_t at;
    const char *name;
    const char *word; /* in cvr_device_info.features, of an optional one */
} feature;

#define FEATURE_10(name_, ...)                                                                                         \
    { offsetof(vulkan_features, all.features.name_), #name_, __VA_ARGS__ }
#define FEATURE(set_, name_, ...)                                                                                      \
    { offsetof(vulkan_features, set_.name_), #name_, __VA_ARGS__ }

static const feature needed[] = {
    FEATURE_10(shaderInt64, NULL),
    FEATURE(v11, storageBuffer16BitAccess, NULL),
    FEATURE(v12, storageBuffer8BitAccess, NULL),
    FEATURE(v12, bufferDeviceAddress, NULL),
    FEATURE(v12, scalarBlockLayout, NULL),
    FEATURE(v12, timelineSemaphore, NULL),
    FEATURE(v13, synchronization2, NULL),
    FEATURE(v13, maintenance4, NULL),
    FEATURE(v13, subgroupSizeControl, NULL),
    FEATURE(v13, computeFullSubgroups, NULL),
};
static const feature optional[] = {
    FEATURE_10(shaderInt16, "i16"),
    FEATURE_10(shaderFloat64, "f64"),
    FEATURE(v12, shaderInt8, "i8"),
    FEATURE(v12, shaderFloat16, "f16_arithmetic"),
    FEATURE(v12, vulkanMemoryModel, "memory_model"),
};

#define LENGTH(array) (sizeof(array) / sizeof *(array))

VkPhysicalDeviceFeatures2 *vulkan_features_link(vulkan_features *f) {
    f->all.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_FEATURES_2;
    f->all.pNext = &f->v11;
    f->v11.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_1_FEATURES;
    f->v11.pNext = &f->v12;
    f->v12.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_2_FEATURES;
    f->v12.pNext = &f->v13;
    f->v13.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_3_FEATURES;
    f->v13.pNext = NULL;
    return &f->all;
}

static int32_t has(const vulkan_features *f, const feature *what) {
    VkBool32 v;
    memcpy(&v, (const char *)f + what->at, sizeof v);
    return v == VK_TRUE;
}

static void want(vulkan_features *f, const feature *what) {
    const VkBool32 yes = VK_TRUE;
    memcpy((char *)f + what->at, &yes, sizeof yes);
}

static void add_word(char *words, size_t size, const char *word) {
    const size_t n = strlen(words);
    (void)snprintf(words + n, size - n, "%s%s", n ? " " : "", word);
}

/* f16 and bf16 are stored as 16 bits and computed in f32, so every device that is taken has them. */
static int32_t read_features(vulkan_physical *p, const vulkan_table *t, cvr_error *err) {
    vulkan_features have = {0};
    char lacks[512] = "";
    t->GetPhysicalDeviceFeatures2(p->handle, vulkan_features_link(&have));
    (void)snprintf(p->features, sizeof p->features, "f16 bf16 i64");
    for (size_t i = 0; i < LENGTH(needed); i++) {
        if (!has(&have, &needed[i])) add_word(lacks, sizeof lacks, needed[i].name);
        want(&p->wanted, &needed[i]);
    }
    for (size_t i = 0; i < LENGTH(optional); i++) {
        if (!has(&have, &optional[i])) continue;
        want(&p->wanted, &optional[i]);
        add_word(p->features, sizeof p->features, optional[i].word);
    }
    if (p->type == VK_PHYSICAL_DEVICE_TYPE_CPU) add_word(p->features, sizeof p->features, "software");
    if (!lacks[0]) return CVR_OK;
    return cvr_fail(err, CVR_ERR_UNSUPPORTED, "vulkan: the device %s lacks %s", p->name, lacks);
}

static int32_t read_subgroups(vulkan_physical *p, const VkPhysicalDeviceVulkan11Properties *v11,
                              const VkPhysicalDeviceVulkan13Properties *v13, cvr_error *err) {
    const uint32_t shuffles = VK_SUBGROUP_FEATURE_BASIC_BIT | VK_SUBGROUP_FEATURE_SHUFFLE_BIT;
    if ((v11->subgroupSupportedOperations & shuffles) != shuffles ||
        !(v11->subgroupSupportedStages & VK_SHADER_STAGE_COMPUTE_BIT))
        return cvr_fail(err, CVR_ERR_UNSUPPORTED, "vulkan: the device %s has no shuffles in compute shaders", p->name);
    if (v11->subgroupSupportedOperations & VK_SUBGROUP_FEATURE_ARITHMETIC_BIT)
        add_word(p->features, sizeof p->features, "subgroup_arithmetic");
    p->info.subgroup_min = v13->minSubgroupSize;
    p->info.subgroup_max = v13->maxSubgroupSize;
    return CVR_OK;
}

/* Limits that hold for every device of Vulkan 1.3, and that no kernel goes by, are not looked at. */
static void read_limits(vulkan_physical *p, const VkPhysicalDeviceVulkan11Properties *v11,
                        const VkPhysicalDeviceVulkan13Properties *v13) {
    const VkPhysicalDeviceMemoryProperties *m = &p->memory;
    uint64_t memory = 0;
    for (uint32_t i = 0; i < m->memoryHeapCount; i++)
        if ((m->memoryHeaps[i].flags & VK_MEMORY_HEAP_DEVICE_LOCAL_BIT) && m->memoryHeaps[i].size > memory)
            memory = m->memoryHeaps[i].size; /* multiprocessors are not told by Vulkan */
    p->info.memory = memory;
    p->info.max_allocation =
        v11->maxMemoryAllocationSize < v13->maxBufferSize ? v11->maxMemoryAllocationSize : v13->maxBufferSize;
    p->info.max_allocation = p->info.max_allocation / VULKAN_ALIGNMENT * VULKAN_ALIGNMENT;
    p->info.alignment = VULKAN_ALIGNMENT;
    p->info.shared_bytes = p->limits.maxComputeSharedMemorySize;
    p->info.group_threads = p->limits.maxComputeWorkGroupInvocations;
}

/* One family for everything, and for uploads one that only copies where there is such a one, else a second queue of the
 * first, else the same queue. */
static int32_t read_queues(vulkan_physical *p, const vulkan_table *t, cvr_error *err) {
    VkQueueFamilyProperties all[VULKAN_QUEUE_FAMILIES];
    uint32_t n = VULKAN_QUEUE_FAMILIES;
    t->GetPhysicalDeviceQueueFamilyProperties(p->handle, &n, all);
    for (p->family = 0; p->family < n && !(all[p->family].queueFlags & VK_QUEUE_COMPUTE_BIT);) p->family++;
    if (p->family == n) return cvr_fail(err, CVR_ERR_UNSUPPORTED, "vulkan: the device %s cannot compute", p->name);
    p->timestamp_bits = all[p->family].timestampValidBits;
    p->upload_family = p->family;
    p->upload_queue = all[p->family].queueCount > 1 ? 1 : 0;
    for (uint32_t i = 0; i < n; i++) {
        const VkQueueFlags kinds = all[i].queueFlags & (VK_QUEUE_GRAPHICS_BIT | VK_QUEUE_COMPUTE_BIT);
        if (kinds || !(all[i].queueFlags & VK_QUEUE_TRANSFER_BIT)) continue;
        p->upload_family = i;
        p->upload_queue = 0;
        break;
    }
    return CVR_OK;
}

static int32_t has_extension(const vulkan_physical *p, const vulkan_table *t, const char *name) {
    VkExtensionProperties all[512];
    uint32_t n = LENGTH(all);
    const VkResult r = t->EnumerateDeviceExtensionProperties(p->handle, NULL, &n, all);
    if (r != VK_SUCCESS && r != VK_INCOMPLETE) return 0;
    for (uint32_t i = 0; i < n; i++)
        if (strcmp(all[i].extensionName, name) == 0) return 1;
    return 0;
}

static void write_uuid(char out[40], const uint8_t uuid[VK_UUID_SIZE]) {
    char *c = out;
    for (uint32_t i = 0; i < VK_UUID_SIZE; i++)
        c += snprintf(c, 4, "%s%02x", i == 4 || i == 6 || i == 8 || i == 10 ? "-" : "", uuid[i]);
}

int32_t vulkan_physical_read(vulkan_physical *p, const vulkan_table *t, VkPhysicalDevice handle, cvr_error *err) {
    VkPhysicalDeviceVulkan13Properties v13 = {.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_3_PROPERTIES};
    VkPhysicalDeviceVulkan12Properties v12 = {.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_2_PROPERTIES,
                                              .pNext = &v13};
    VkPhysicalDeviceVulkan11Properties v11 = {.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_1_PROPERTIES,
                                              .pNext = &v12};
    VkPhysicalDeviceProperties2 all = {.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PROPERTIES_2, .pNext = &v11};
    VkPhysicalDeviceMemoryProperties2 memory = {.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_MEMORY_PROPERTIES_2};
    memset(p, 0, sizeof *p);
    p->handle = handle;
    t->GetPhysicalDeviceProperties2(handle, &all);
    (void)snprintf(p->name, sizeof p->name, "%.255s", all.properties.deviceName);
    (void)snprintf(p->driver, sizeof p->driver, "%.200s %.250s", v12.driverName, v12.driverInfo);
    write_uuid(p->uuid, v11.deviceUUID);
    p->info = (cvr_device_info){
        .struct_size = sizeof p->info, .name = p->name, .driver = p->driver, .uuid = p->uuid, .features = p->features};
    if (all.properties.apiVersion < VK_API_VERSION_1_3)
        return cvr_fail(err, CVR_ERR_UNSUPPORTED, "vulkan: the device %s has Vulkan %u.%u; 1.3 is needed", p->name,
                        VK_API_VERSION_MAJOR(all.properties.apiVersion),
                        VK_API_VERSION_MINOR(all.properties.apiVersion));
    t->GetPhysicalDeviceMemoryProperties2(handle, &memory);
    p->memory = memory.memoryProperties;
    p->limits = all.properties.limits;
    p->vendor = all.properties.vendorID;
    p->device = all.properties.deviceID;
    p->driver_version = all.properties.driverVersion;
    p->type = all.properties.deviceType;
    memcpy(p->cache_uuid, all.properties.pipelineCacheUUID, VK_UUID_SIZE);
    read_limits(p, &v11, &v13);
    CVR_TRY(read_queues(p, t, err));
    CVR_TRY(read_features(p, t, err));
    CVR_TRY(read_subgroups(p, &v11, &v13, err));
    p->has_budget = has_extension(p, t, VK_EXT_MEMORY_BUDGET_EXTENSION_NAME);
    return CVR_OK;
}
