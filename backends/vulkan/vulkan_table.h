/*
 * The functions of Vulkan that this backend calls. libvulkan is opened when the backend is asked for a device, so that
 * a machine without it runs everything else; the functions are then looked up by name.
 */
#ifndef VULKAN_TABLE_H
#define VULKAN_TABLE_H

#define VK_NO_PROTOTYPES
#include <vulkan/vulkan_core.h>

#include <cvr/plugin/plugin.h>

/* X(name) for each; without an instance, of an instance, of a device. */
#define VULKAN_GLOBAL(X) X(CreateInstance) X(EnumerateInstanceVersion) X(EnumerateInstanceLayerProperties)
#define VULKAN_INSTANCE(X)                                                                                             \
    X(DestroyInstance)                                                                                                 \
    X(EnumeratePhysicalDevices)                                                                                        \
    X(GetPhysicalDeviceProperties2)                                                                                    \
    X(GetPhysicalDeviceFeatures2)                                                                                      \
    X(GetPhysicalDeviceMemoryProperties2)                                                                              \
    X(GetPhysicalDeviceQueueFamilyProperties)                                                                          \
    X(EnumerateDeviceExtensionProperties)                                                                              \
    X(CreateDevice)                                                                                                    \
    X(GetDeviceProcAddr)
#define VULKAN_DEVICE(X)                                                                                               \
    X(DestroyDevice)                                                                                                   \
    X(DeviceWaitIdle)                                                                                                  \
    X(GetDeviceQueue)                                                                                                  \
    X(QueueSubmit2)                                                                                                    \
    X(CreateSemaphore)                                                                                                 \
    X(DestroySemaphore)                                                                                                \
    X(GetSemaphoreCounterValue)                                                                                        \
    X(WaitSemaphores)                                                                                                  \
    X(CreateBuffer)                                                                                                    \
    X(DestroyBuffer)                                                                                                   \
    X(GetBufferMemoryRequirements)                                                                                     \
    X(GetBufferDeviceAddress)                                                                                          \
    X(AllocateMemory)                                                                                                  \
    X(FreeMemory)                                                                                                      \
    X(BindBufferMemory)                                                                                                \
    X(MapMemory)                                                                                                       \
    X(CreateShaderModule)                                                                                              \
    X(DestroyShaderModule)                                                                                             \
    X(CreatePipelineLayout)                                                                                            \
    X(DestroyPipelineLayout)                                                                                           \
    X(CreatePipelineCache)                                                                                             \
    X(DestroyPipelineCache)                                                                                            \
    X(GetPipelineCacheData)                                                                                            \
    X(CreateComputePipelines)                                                                                          \
    X(DestroyPipeline)                                                                                                 \
    X(CreateQueryPool)                                                                                                 \
    X(DestroyQueryPool)                                                                                                \
    X(GetQueryPoolResults)                                                                                             \
    X(CreateCommandPool)                                                                                               \
    X(DestroyCommandPool)                                                                                              \
    X(AllocateCommandBuffers)                                                                                          \
    X(FreeCommandBuffers)                                                                                              \
    X(BeginCommandBuffer)                                                                                              \
    X(EndCommandBuffer)                                                                                                \
    X(CmdBindPipeline)                                                                                                 \
    X(CmdPushConstants)                                                                                                \
    X(CmdDispatch)                                                                                                     \
    X(CmdCopyBuffer)                                                                                                   \
    X(CmdFillBuffer)                                                                                                   \
    X(CmdResetQueryPool)                                                                                               \
    X(CmdPipelineBarrier2)                                                                                             \
    X(CmdWriteTimestamp2)

#define VULKAN_MEMBER(name) PFN_vk##name name;
typedef struct vulkan_table {
    PFN_vkGetInstanceProcAddr GetInstanceProcAddr;
    VULKAN_GLOBAL(VULKAN_MEMBER)
    VULKAN_INSTANCE(VULKAN_MEMBER)
    VULKAN_DEVICE(VULKAN_MEMBER)
} vulkan_table;
#undef VULKAN_MEMBER

/* Opens the library, which stays open, and finds what needs no instance. A failure says what to install. */
int32_t vulkan_table_load(vulkan_table *t, const char *library, cvr_error *err);
int32_t vulkan_table_of_instance(vulkan_table *t, VkInstance instance, cvr_error *err);
int32_t vulkan_table_of_device(vulkan_table *t, VkDevice device, cvr_error *err);

/* The word of the specification for a result: "VK_ERROR_DEVICE_LOST". */
const char *vulkan_result_name(VkResult r);
/* The status that a failed call becomes: no memory, no device any more, or a device that does not work. */
int32_t vulkan_status(VkResult r);
/* CVR_OK for VK_SUCCESS, else an error that names the call. */
int32_t vulkan_check(VkResult r, const char *call, cvr_error *err);

#endif
