/*
 * Compiled code. There is one pipeline for each kernel and set of constants: constants say element types, activations
 * and sizes of tiles, never shapes, so a network needs a few dozen. What the driver made of them is kept in the user's
 * cache folder.
 */
#ifndef VULKAN_PIPELINES_H
#define VULKAN_PIPELINES_H

#include "vulkan_device.h"

#define VULKAN_CONSTANTS 128u

int32_t vulkan_pipelines_open(vulkan_pipelines **out, vulkan_device *d, cvr_error *err);
/* Keeps the cache for the next time. */
void vulkan_pipelines_close(vulkan_pipelines **p);
/* The layout of all: one address as push constant. */
VkPipelineLayout vulkan_pipelines_layout(const vulkan_pipelines *p);
/* The pipeline for a dispatch, compiled when it is first asked for. */
int32_t vulkan_pipeline_get(vulkan_pipelines *p, const cvr_dispatch *d, VkPipeline *out, cvr_error *err);

/* Whether these bytes begin as a pipeline cache of this device and driver does: the rest is the driver's own, and
 * protected by the sum that the cache service keeps. */
int32_t vulkan_cache_fits(const void *bytes, uint64_t n, uint32_t vendor, uint32_t device,
                          const uint8_t uuid[VK_UUID_SIZE]);

#endif
