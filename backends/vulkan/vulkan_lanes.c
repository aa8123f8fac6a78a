/*
 * Two lanes: uploads, and all else. A lane's timeline semaphore counts what has been submitted to it; its value is what
 * a ticket stands for. See vulkan_device.h.
 */
#include "vulkan_device.h"

static VkSemaphoreSubmitInfo point(const vulkan_lane *l, uint64_t value) {
    return (VkSemaphoreSubmitInfo){.sType = VK_STRUCTURE_TYPE_SEMAPHORE_SUBMIT_INFO,
                                   .semaphore = l->semaphore,
                                   .value = value,
                                   .stageMask = VK_PIPELINE_STAGE_2_ALL_COMMANDS_BIT};
}

/* ---- life ---- */

static int32_t lane_open(vulkan_device *d, vulkan_lane *l, uint32_t family, cvr_error *err) {
    const VkSemaphoreTypeCreateInfo type = {.sType = VK_STRUCTURE_TYPE_SEMAPHORE_TYPE_CREATE_INFO,
                                            .semaphoreType = VK_SEMAPHORE_TYPE_TIMELINE};
    const VkSemaphoreCreateInfo semaphore = {.sType = VK_STRUCTURE_TYPE_SEMAPHORE_CREATE_INFO, .pNext = &type};
    const VkCommandPoolCreateInfo pool = {.sType = VK_STRUCTURE_TYPE_COMMAND_POOL_CREATE_INFO,
                                          .flags = VK_COMMAND_POOL_CREATE_RESET_COMMAND_BUFFER_BIT,
                                          .queueFamilyIndex = family};
    CVR_TRY(vulkan_check(d->vk.CreateSemaphore(d->handle, &semaphore, NULL, &l->semaphore), "vkCreateSemaphore", err));
    return vulkan_check(d->vk.CreateCommandPool(d->handle, &pool, NULL, &l->pool), "vkCreateCommandPool", err);
}

int32_t vulkan_lanes_open(vulkan_device *d, cvr_error *err) {
    CVR_TRY(lane_open(d, &d->lanes[VULKAN_MAIN], d->physical.family, err));
    return lane_open(d, &d->lanes[VULKAN_UPLOADS], d->physical.upload_family, err);
}

void vulkan_lanes_close(vulkan_device *d) {
    for (uint32_t i = 0; i < VULKAN_LANES; i++) {
        vulkan_lane *l = &d->lanes[i];
        vulkan_block_destroy(d, &l->staging);
        if (l->pool) d->vk.DestroyCommandPool(d->handle, l->pool, NULL);
        if (l->semaphore) d->vk.DestroySemaphore(d->handle, l->semaphore, NULL);
    }
}

int32_t vulkan_lane_commands(vulkan_device *d, uint32_t lane, uint32_t n, VkCommandBuffer *out, cvr_error *err) {
    const VkCommandBufferAllocateInfo info = {.sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_ALLOCATE_INFO,
                                              .commandPool = d->lanes[lane].pool,
                                              .level = VK_COMMAND_BUFFER_LEVEL_PRIMARY,
                                              .commandBufferCount = n};
    return vulkan_check(d->vk.AllocateCommandBuffers(d->handle, &info, out), "vkAllocateCommandBuffers", err);
}

static void barrier(const vulkan_device *d, VkCommandBuffer c, VkPipelineStageFlags2 to, VkAccessFlags2 access) {
    const VkMemoryBarrier2 memory = {.sType = VK_STRUCTURE_TYPE_MEMORY_BARRIER_2,
                                     .srcStageMask = VK_PIPELINE_STAGE_2_ALL_COMMANDS_BIT,
                                     .srcAccessMask = VK_ACCESS_2_MEMORY_WRITE_BIT,
                                     .dstStageMask = to,
                                     .dstAccessMask = access};
    const VkDependencyInfo all = {
        .sType = VK_STRUCTURE_TYPE_DEPENDENCY_INFO, .memoryBarrierCount = 1, .pMemoryBarriers = &memory};
    d->vk.CmdPipelineBarrier2(c, &all);
}

void vulkan_commands_barrier(const vulkan_device *d, VkCommandBuffer c) {
    barrier(d, c, VK_PIPELINE_STAGE_2_ALL_COMMANDS_BIT, VK_ACCESS_2_MEMORY_READ_BIT | VK_ACCESS_2_MEMORY_WRITE_BIT);
}

int32_t vulkan_commands_begin(const vulkan_device *d, VkCommandBuffer c, cvr_error *err) {
    const VkCommandBufferBeginInfo info = {.sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_BEGIN_INFO};
    CVR_TRY(vulkan_check(d->vk.BeginCommandBuffer(c, &info), "vkBeginCommandBuffer", err));
    vulkan_commands_barrier(d, c);
    return CVR_OK;
}

int32_t vulkan_commands_end(const vulkan_device *d, VkCommandBuffer c, cvr_error *err) {
    barrier(d, c, VK_PIPELINE_STAGE_2_HOST_BIT, VK_ACCESS_2_HOST_READ_BIT);
    return vulkan_check(d->vk.EndCommandBuffer(c), "vkEndCommandBuffer", err);
}

/* ---- a device that is lost ---- */

int32_t vulkan_alive(const vulkan_device *d, cvr_error *err) {
    if (!d->lost) return CVR_OK;
    if (err) *err = d->why;
    return d->why.code;
}

/* The oldest of what a lane has not done, in words. */
static void where(const vulkan_lane *l, char *out, size_t size) {
    const vulkan_note *n = &l->notes[(l->done + 1) % VULKAN_NOTES];
    if (n->value != l->done + 1)
        (void)snprintf(out, size, "what was issued long ago");
    else if (!n->last || n->last == n->first)
        (void)snprintf(out, size, "%.120s", n->first);
    else
        (void)snprintf(out, size, "%.120s to %.120s", n->first, n->last);
}

static int32_t lose(vulkan_device *d, uint32_t lane, int32_t how, const char *why, cvr_error *err) {
    char at[256];
    where(&d->lanes[lane], at, sizeof at);
    cvr_error_init(&d->why);
    (void)cvr_fail(&d->why, CVR_ERR_DEVICE, "vulkan: %s: %s, in %s", d->physical.name, why, at);
    d->lost = how;
    if (how == VULKAN_LOST) (void)d->vk.DeviceWaitIdle(d->handle); /* so that all may be destroyed */
    return vulkan_alive(d, err);
}

static int32_t failed(vulkan_device *d, uint32_t lane, VkResult r, const char *call, cvr_error *err) {
    char why[128];
    if (vulkan_status(r) != CVR_ERR_DEVICE) return vulkan_check(r, call, err);
    (void)snprintf(why, sizeof why, "the device is lost (%s of %s)", vulkan_result_name(r), call);
    return lose(d, lane, VULKAN_LOST, why, err);
}

/* ---- submitting ---- */

static VkResult submit(vulkan_device *d, const vulkan_lane *l, const vulkan_submit *s) {
    VkCommandBufferSubmitInfo commands[VULKAN_COMMANDS_AT_ONCE];
    const VkSemaphoreSubmitInfo wait = point(&d->lanes[s->after % VULKAN_LANES], s->after / VULKAN_LANES),
                                signal = point(l, l->issued);
    for (uint32_t i = 0; i < s->n; i++)
        commands[i] = (VkCommandBufferSubmitInfo){.sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_SUBMIT_INFO,
                                                  .commandBuffer = s->commands[i]};
    const VkSubmitInfo2 info = {.sType = VK_STRUCTURE_TYPE_SUBMIT_INFO_2,
                                .waitSemaphoreInfoCount = s->after ? 1 : 0,
                                .pWaitSemaphoreInfos = &wait,
                                .commandBufferInfoCount = s->n,
                                .pCommandBufferInfos = commands,
                                .signalSemaphoreInfoCount = 1,
                                .pSignalSemaphoreInfos = &signal};
    d->n_submits++;
    if (d->keys.fail_submit && d->n_submits >= (uint64_t)d->keys.fail_submit) {
        (void)d->vk.DeviceWaitIdle(d->handle); /* so that it is this submit which is not done */
        return VK_ERROR_DEVICE_LOST;
    }
    return d->vk.QueueSubmit2(l->queue, 1, &info, VK_NULL_HANDLE);
}

static VkResult read_value(vulkan_device *d, vulkan_lane *l) {
    uint64_t value = l->done;
    const VkResult r = d->vk.GetSemaphoreCounterValue(d->handle, l->semaphore, &value);
    if (r == VK_SUCCESS) l->done = value;
    return r;
}

static int32_t refresh(vulkan_device *d, uint32_t lane, cvr_error *err) {
    const VkResult r = read_value(d, &d->lanes[lane]);
    return r == VK_SUCCESS ? CVR_OK : failed(d, lane, r, "vkGetSemaphoreCounterValue", err);
}

int32_t vulkan_lane_submit(vulkan_device *d, uint32_t lane, const vulkan_submit *s, uint64_t *ticket, cvr_error *err) {
    vulkan_lane *l = &d->lanes[lane];
    CVR_TRY(vulkan_alive(d, err));
    if (s->after &&
        (s->after % VULKAN_LANES == lane || s->after / VULKAN_LANES > d->lanes[s->after % VULKAN_LANES].issued))
        return cvr_fail(err, CVR_ERR_INVALID, "vulkan: `after` is %llu, no ticket of the other lane",
                        (unsigned long long)s->after);
    l->issued++;
    l->notes[l->issued % VULKAN_NOTES] = (vulkan_note){l->issued, s->first, s->last};
    const VkResult r = submit(d, l, s);
    if (r != VK_SUCCESS) {
        if (vulkan_status(r) != CVR_ERR_DEVICE) l->issued--;
        (void)read_value(d, l);
        return failed(d, lane, r, "vkQueueSubmit2", err);
    }
    *ticket = l->issued * VULKAN_LANES + lane;
    return CVR_OK;
}

int32_t vulkan_is_done(vulkan_device *d, uint64_t ticket) {
    const uint32_t lane = ticket % VULKAN_LANES;
    if (!ticket || d->lanes[lane].done >= ticket / VULKAN_LANES) return 1;
    return refresh(d, lane, NULL) == CVR_OK && d->lanes[lane].done >= ticket / VULKAN_LANES;
}

int32_t vulkan_lane_is_idle(vulkan_device *d, uint32_t lane) {
    return vulkan_is_done(d, d->lanes[lane].issued * VULKAN_LANES + lane);
}

/* How much of all lanes is done: they may share a queue, in which one waits behind the other. */
static uint64_t all_done(vulkan_device *d) {
    uint64_t n = 0;
    for (uint32_t i = 0; i < VULKAN_LANES; i++) {
        (void)read_value(d, &d->lanes[i]);
        n += d->lanes[i].done;
    }
    return n;
}

/* As long as something gets done, it is not the time that is out. */
int32_t vulkan_wait(vulkan_device *d, uint64_t ticket, cvr_error *err) {
    const uint32_t lane = ticket % VULKAN_LANES;
    vulkan_lane *l = &d->lanes[lane];
    CVR_TRY(vulkan_alive(d, err));
    if (ticket / VULKAN_LANES > l->issued)
        return cvr_fail(err, CVR_ERR_INVALID, "vulkan: nobody has been given the ticket %llu",
                        (unsigned long long)ticket);
    for (;;) {
        if (l->done < ticket / VULKAN_LANES) CVR_TRY(refresh(d, lane, err));
        if (l->done >= ticket / VULKAN_LANES) break;
        const uint64_t next = l->done + 1, before = all_done(d);
        const VkSemaphoreWaitInfo info = {.sType = VK_STRUCTURE_TYPE_SEMAPHORE_WAIT_INFO,
                                          .semaphoreCount = 1,
                                          .pSemaphores = &l->semaphore,
                                          .pValues = &next};
        CVR_TRY(vulkan_alive(d, err));
        const VkResult r = d->vk.WaitSemaphores(d->handle, &info, (uint64_t)d->keys.timeout_s * UINT64_C(1000000000));
        if (r == VK_TIMEOUT && all_done(d) == before) {
            char why[128];
            (void)snprintf(why, sizeof why, "nothing was done for %lld s (backend.vulkan_timeout_s)",
                           (long long)d->keys.timeout_s);
            return lose(d, lane, VULKAN_HANGS, why, err);
        }
        if (r != VK_SUCCESS && r != VK_TIMEOUT) return failed(d, lane, r, "vkWaitSemaphores", err);
    }
    vulkan_downloads_finish(d);
    return vulkan_instance_complaints(&d->instance, err);
}
