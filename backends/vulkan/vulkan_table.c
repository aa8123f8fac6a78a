/* See vulkan_table.h. */
#include "vulkan_table.h"
#include <dlfcn.h>

#define LOOK_UP(name, find, of)                                                                                        \
    t->name = (PFN_vk##name)find(of, "vk" #name);                                                                      \
    if (!t->name) return cvr_fail(err, CVR_ERR_UNSUPPORTED, "vulkan: the driver has no function vk" #name);

int32_t vulkan_table_load(vulkan_table *t, const char *library, cvr_error *err) {
    void *handle = dlopen(library, RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
    if (!handle)
        return cvr_fail(err, CVR_ERR_UNSUPPORTED,
                        "vulkan: %s cannot be loaded (%.300s); install libvulkan1 and a driver (Debian: "
                        "mesa-vulkan-drivers, or the GPU vendor's)",
                        library, dlerror());
    void *symbol = dlsym(handle, "vkGetInstanceProcAddr");
    if (!symbol)
        return cvr_fail(
            err, CVR_ERR_UNSUPPORTED,
            "vulkan: %s has no vkGetInstanceProcAddr, so it is no loader of Vulkan; see LD_LIBRARY_PATH, or "
            "install libvulkan1",
            library);
    memcpy(&t->GetInstanceProcAddr, &symbol, sizeof symbol);
#define X(name) LOOK_UP(name, t->GetInstanceProcAddr, NULL)
    VULKAN_GLOBAL(X)
#undef X
    return CVR_OK;
}

int32_t vulkan_table_of_instance(vulkan_table *t, VkInstance instance, cvr_error *err) {
#define X(name) LOOK_UP(name, t->GetInstanceProcAddr, instance)
    VULKAN_INSTANCE(X)
#undef X
    return CVR_OK;
}

int32_t vulkan_table_of_device(vulkan_table *t, VkDevice device, cvr_error *err) {
#define X(name) LOOK_UP(name, t->GetDeviceProcAddr, device)
    VULKAN_DEVICE(X)
#undef X
    return CVR_OK;
}

const char *vulkan_result_name(VkResult r) {
    switch (r) {
    case VK_SUCCESS: return "VK_SUCCESS";
    case VK_NOT_READY: return "VK_NOT_READY";
    case VK_TIMEOUT: return "VK_TIMEOUT";
    case VK_INCOMPLETE: return "VK_INCOMPLETE";
    case VK_ERROR_OUT_OF_HOST_MEMORY: return "VK_ERROR_OUT_OF_HOST_MEMORY";
    case VK_ERROR_OUT_OF_DEVICE_MEMORY: return "VK_ERROR_OUT_OF_DEVICE_MEMORY";
    case VK_ERROR_INITIALIZATION_FAILED: return "VK_ERROR_INITIALIZATION_FAILED";
    case VK_ERROR_DEVICE_LOST: return "VK_ERROR_DEVICE_LOST";
    case VK_ERROR_MEMORY_MAP_FAILED: return "VK_ERROR_MEMORY_MAP_FAILED";
    case VK_ERROR_LAYER_NOT_PRESENT: return "VK_ERROR_LAYER_NOT_PRESENT";
    case VK_ERROR_EXTENSION_NOT_PRESENT: return "VK_ERROR_EXTENSION_NOT_PRESENT";
    case VK_ERROR_FEATURE_NOT_PRESENT: return "VK_ERROR_FEATURE_NOT_PRESENT";
    case VK_ERROR_INCOMPATIBLE_DRIVER: return "VK_ERROR_INCOMPATIBLE_DRIVER";
    case VK_ERROR_TOO_MANY_OBJECTS: return "VK_ERROR_TOO_MANY_OBJECTS";
    case VK_ERROR_FRAGMENTED_POOL: return "VK_ERROR_FRAGMENTED_POOL";
    default: return "an unknown error";
    }
}

int32_t vulkan_status(VkResult r) {
    switch (r) {
    case VK_SUCCESS: return CVR_OK;
    case VK_ERROR_OUT_OF_HOST_MEMORY:
    case VK_ERROR_OUT_OF_DEVICE_MEMORY:
    case VK_ERROR_FRAGMENTED_POOL:
    case VK_ERROR_TOO_MANY_OBJECTS:
    case VK_ERROR_MEMORY_MAP_FAILED: return CVR_ERR_NOMEM;
    case VK_TIMEOUT:
    case VK_ERROR_DEVICE_LOST: return CVR_ERR_DEVICE;
    default: return CVR_ERR_UNSUPPORTED;
    }
}

int32_t vulkan_check(VkResult r, const char *call, cvr_error *err) {
    const int32_t status = vulkan_status(r);
    return status == CVR_OK ? CVR_OK
                            : cvr_fail(err, status, "vulkan: %s gives %s (%d)", call, vulkan_result_name(r), r);
}
