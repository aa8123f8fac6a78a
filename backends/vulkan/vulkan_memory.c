/* Blocks of memory. Each is a buffer of its own, whose device address is what the core knows. See vulkan_device.h. */
#include "vulkan_device.h"

/* Types of memory, best first, that a use may have. The last of each is there on every device of Vulkan; the heap of a
 * better one may be small, and full. */
#define LOCAL VK_MEMORY_PROPERTY_DEVICE_LOCAL_BIT
#define SEEN (VK_MEMORY_PROPERTY_HOST_VISIBLE_BIT | VK_MEMORY_PROPERTY_HOST_COHERENT_BIT)
#define CACHED VK_MEMORY_PROPERTY_HOST_CACHED_BIT

static const VkMemoryPropertyFlags for_tensors[] = {LOCAL, 0}, for_unified[] = {LOCAL | SEEN | CACHED, LOCAL, 0},
                                   for_written[] = {LOCAL | SEEN, SEEN, 0}, for_read[] = {SEEN | CACHED, SEEN, 0};

static int32_t has_type(const vulkan_physical *p, VkMemoryPropertyFlags flags, uint32_t allowed, uint32_t *out) {
    for (uint32_t i = 0; i < p->memory.memoryTypeCount; i++) {
        if (!(allowed >> i & 1) || (p->memory.memoryTypes[i].propertyFlags & flags) != flags) continue;
        *out = i;
        return 1;
    }
    return 0;
}

/* Where host and device share their memory, tensors lie where the host can see them. */
static const VkMemoryPropertyFlags *types_of(const vulkan_physical *p, vulkan_use use) {
    const int32_t shares = p->type == VK_PHYSICAL_DEVICE_TYPE_INTEGRATED_GPU || p->type == VK_PHYSICAL_DEVICE_TYPE_CPU;
    if (use == VULKAN_USE_TENSORS) return shares ? for_unified : for_tensors;
    return use == VULKAN_USE_WRITTEN ? for_written : for_read;
}

static int32_t out_of_memory(const vulkan_device *d, VkResult r, const char *call, uint64_t bytes, cvr_error *err) {
    uint64_t used = 0, available = 0;
    if (r == VK_ERROR_OUT_OF_HOST_MEMORY)
        return cvr_fail(
            err, CVR_ERR_NOMEM,
            "vulkan: the driver of %s is out of the host's memory, in %s for %.1f MB; lower data.workers, or "
            "raise ulimit -v",
            d->physical.name, call, (double)bytes * 1e-6);
    if (vulkan_status(r) != CVR_ERR_NOMEM) return vulkan_check(r, call, err);
    (void)vulkan_memory(d, &used, &available);
    return cvr_fail(err, CVR_ERR_NOMEM,
                    "vulkan: %s is out of memory: %.1f MB wanted, about %.1f MB free; lower train.batch or "
                    "data.img_size",
                    d->physical.name, (double)bytes * 1e-6, (double)available * 1e-6);
}

static int32_t is_mapped(const vulkan_device *d, vulkan_use use, VkMemoryPropertyFlags has) {
    if (use != VULKAN_USE_TENSORS) return 1;
    return d->keys.unified && (has & (SEEN | CACHED)) == (SEEN | CACHED);
}

static VkResult allocate(vulkan_device *d, const VkMemoryAllocateInfo *info, VkDeviceMemory *out) {
    d->n_allocs++;
    if (d->keys.fail_alloc && d->n_allocs >= (uint64_t)d->keys.fail_alloc) return VK_ERROR_OUT_OF_DEVICE_MEMORY;
    return d->vk.AllocateMemory(d->handle, info, NULL, out);
}

/* The best memory that is left; *type is what it is of. */
static int32_t give_memory(vulkan_device *d, vulkan_use use, vulkan_block *b, uint32_t *type, cvr_error *err) {
    const VkMemoryAllocateFlagsInfo flags = {.sType = VK_STRUCTURE_TYPE_MEMORY_ALLOCATE_FLAGS_INFO,
                                             .flags = VK_MEMORY_ALLOCATE_DEVICE_ADDRESS_BIT};
    VkMemoryAllocateInfo info = {.sType = VK_STRUCTURE_TYPE_MEMORY_ALLOCATE_INFO, .pNext = &flags};
    VkMemoryRequirements needs;
    VkResult r = VK_SUCCESS;
    d->vk.GetBufferMemoryRequirements(d->handle, b->buffer, &needs);
    info.allocationSize = needs.size;
    for (const VkMemoryPropertyFlags *wanted = types_of(&d->physical, use); *wanted; wanted++) {
        if (!has_type(&d->physical, *wanted, needs.memoryTypeBits, &info.memoryTypeIndex)) continue;
        *type = info.memoryTypeIndex;
        r = allocate(d, &info, &b->memory);
        if (r == VK_SUCCESS) return CVR_OK;
        if (r != VK_ERROR_OUT_OF_DEVICE_MEMORY) break;
    }
    if (r != VK_SUCCESS) return out_of_memory(d, r, "vkAllocateMemory", b->bytes, err);
    return cvr_fail(err, CVR_ERR_UNSUPPORTED, "vulkan: %s has no memory for buffers", d->physical.name);
}

static int32_t take(vulkan_device *d, vulkan_use use, vulkan_block *b, cvr_error *err) {
    uint32_t type = 0;
    void *mapped = NULL;
    CVR_TRY(give_memory(d, use, b, &type, err));
    CVR_TRY(vulkan_check(d->vk.BindBufferMemory(d->handle, b->buffer, b->memory, 0), "vkBindBufferMemory", err));
    const VkMemoryPropertyFlags has = d->physical.memory.memoryTypes[type].propertyFlags;
    if (is_mapped(d, use, has))
        CVR_TRY(vulkan_check(d->vk.MapMemory(d->handle, b->memory, 0, VK_WHOLE_SIZE, 0, &mapped), "vkMapMemory", err));
    b->mapped = (uint8_t *)mapped;
    const VkBufferDeviceAddressInfo where = {.sType = VK_STRUCTURE_TYPE_BUFFER_DEVICE_ADDRESS_INFO,
                                             .buffer = b->buffer};
    b->address = d->vk.GetBufferDeviceAddress(d->handle, &where);
    if (b->address % VULKAN_ALIGNMENT == 0) return CVR_OK;
    return cvr_fail(err, CVR_ERR_UNSUPPORTED, "vulkan: %s gives memory at an address that is no multiple of %u",
                    d->physical.name, VULKAN_ALIGNMENT);
}

int32_t vulkan_block_create(vulkan_device *d, vulkan_use use, uint64_t bytes, vulkan_block *out, cvr_error *err) {
    const uint32_t families[] = {d->physical.family, d->physical.upload_family};
    const int32_t two = families[0] != families[1];
    const VkBufferCreateInfo info = {.sType = VK_STRUCTURE_TYPE_BUFFER_CREATE_INFO,
                                     .size = (bytes + 3) / 4 * 4,
                                     .usage = VK_BUFFER_USAGE_STORAGE_BUFFER_BIT |
                                              VK_BUFFER_USAGE_SHADER_DEVICE_ADDRESS_BIT |
                                              VK_BUFFER_USAGE_TRANSFER_SRC_BIT | VK_BUFFER_USAGE_TRANSFER_DST_BIT,
                                     .sharingMode = two ? VK_SHARING_MODE_CONCURRENT : VK_SHARING_MODE_EXCLUSIVE,
                                     .queueFamilyIndexCount = two ? 2 : 0,
                                     .pQueueFamilyIndices = families};
    *out = (vulkan_block){.bytes = bytes};
    const VkResult r = d->vk.CreateBuffer(d->handle, &info, NULL, &out->buffer);
    const int32_t status = r == VK_SUCCESS ? take(d, use, out, err) : out_of_memory(d, r, "vkCreateBuffer", bytes, err);
    if (status != CVR_OK) vulkan_block_destroy(d, out);
    return status;
}

void vulkan_block_destroy(vulkan_device *d, vulkan_block *b) {
    if (b->buffer) d->vk.DestroyBuffer(d->handle, b->buffer, NULL);
    if (b->memory) d->vk.FreeMemory(d->handle, b->memory, NULL);
    *b = (vulkan_block){0};
}

/* With `vulkan_check`, what nobody has written reads as NaN. */
static int32_t poison(vulkan_device *d, const vulkan_block *b, cvr_error *err) {
    VkCommandBuffer c;
    uint64_t ticket;
    if (!d->keys.check) return CVR_OK;
    CVR_TRY(vulkan_lane_commands(d, VULKAN_MAIN, 1, &c, err));
    CVR_TRY(vulkan_commands_begin(d, c, err));
    d->vk.CmdFillBuffer(c, b->buffer, 0, VK_WHOLE_SIZE, UINT32_MAX);
    CVR_TRY(vulkan_commands_end(d, c, err));
    const vulkan_submit s = {.commands = &c, .n = 1, .first = "the first bytes of new memory"};
    CVR_TRY(vulkan_lane_submit(d, VULKAN_MAIN, &s, &ticket, err));
    CVR_TRY(vulkan_wait(d, ticket, err));
    d->vk.FreeCommandBuffers(d->handle, d->lanes[VULKAN_MAIN].pool, 1, &c);
    return CVR_OK;
}

int32_t vulkan_alloc(vulkan_device *d, uint64_t bytes, void **address, cvr_error *err) {
    CVR_TRY(vulkan_alive(d, err));
    vulkan_block *more = (vulkan_block *)host_grow(d->host, d->blocks, d->n_blocks, &d->capacity, sizeof *more);
    if (!more) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    d->blocks = more;
    CVR_TRY(vulkan_block_create(d, VULKAN_USE_TENSORS, bytes, &more[d->n_blocks], err));
    const int32_t status = poison(d, &more[d->n_blocks], err);
    if (status != CVR_OK) {
        if (!d->lost) vulkan_block_destroy(d, &more[d->n_blocks]);
        return status;
    }
    *address = (void *)(uintptr_t)more[d->n_blocks++].address;
    d->used += bytes;
    return CVR_OK;
}

void vulkan_free(vulkan_device *d, void *address) {
    for (uint64_t i = 0; i < d->n_blocks; i++) {
        if (d->blocks[i].address != (uint64_t)(uintptr_t)address) continue;
        d->used -= d->blocks[i].bytes;
        if (d->lost != VULKAN_HANGS) vulkan_block_destroy(d, &d->blocks[i]);
        d->blocks[i] = d->blocks[--d->n_blocks];
        return;
    }
}

const vulkan_block *vulkan_find(const vulkan_device *d, const void *address, uint64_t bytes) {
    const uint64_t at = (uint64_t)(uintptr_t)address;
    for (uint64_t i = 0; i < d->n_blocks; i++) {
        const vulkan_block *b = &d->blocks[i];
        if (at >= b->address && at - b->address <= b->bytes && bytes <= b->bytes - (at - b->address)) return b;
    }
    return NULL;
}

int32_t vulkan_memory(const vulkan_device *d, uint64_t *used, uint64_t *available) {
    VkPhysicalDeviceMemoryBudgetPropertiesEXT budget = {
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_MEMORY_BUDGET_PROPERTIES_EXT};
    VkPhysicalDeviceMemoryProperties2 all = {.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_MEMORY_PROPERTIES_2,
                                             .pNext = &budget};
    const VkPhysicalDeviceMemoryProperties *m = &d->physical.memory;
    *used = d->used;
    *available = d->physical.info.memory > d->used ? d->physical.info.memory - d->used : 0;
    if (!d->physical.has_budget) return CVR_OK;
    d->vk.GetPhysicalDeviceMemoryProperties2(d->physical.handle, &all);
    for (uint32_t i = 0; i < m->memoryHeapCount; i++) {
        if (!(m->memoryHeaps[i].flags & VK_MEMORY_HEAP_DEVICE_LOCAL_BIT) ||
            m->memoryHeaps[i].size != d->physical.info.memory)
            continue;
        *used = budget.heapUsage[i];
        *available = budget.heapBudget[i] > *used ? budget.heapBudget[i] - *used : 0;
        break;
    }
    return CVR_OK;
}
