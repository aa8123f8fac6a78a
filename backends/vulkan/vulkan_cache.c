/* See vulkan_pipelines.h. Source: the Vulkan specification, "Pipeline Cache Header". */
#include "vulkan_pipelines.h"

#define HEADER 32u
#define VERSION 1u

int32_t vulkan_cache_fits(const void *bytes, uint64_t n, uint32_t vendor, uint32_t device,
                          const uint8_t uuid[VK_UUID_SIZE]) {
    uint32_t words[4]; /* size of the header, version, vendor, device */
    if (n < HEADER) return 0;
    memcpy(words, bytes, sizeof words);
    return words[0] == HEADER && words[1] == VERSION && words[2] == vendor && words[3] == device &&
           memcmp((const uint8_t *)bytes + sizeof words, uuid, VK_UUID_SIZE) == 0;
}
