/* From commands to command buffers. See vulkan_recording.h. */
#include "vulkan_recording.h"

static void *room(const vulkan_recording *r, uint64_t n, uint64_t size, cvr_error *err) {
    void *p = r->d->host->alloc(r->d->host, n * size + 1, 64);
    if (!p) (void)cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    if (p) memset(p, 0, n * size + 1);
    return p;
}

/* A part ends where a launch ends. */
static int32_t make_parts(vulkan_recording *r, cvr_error *err) {
    uint64_t launches = 0;
    r->parts = (vulkan_part *)room(r, r->n, sizeof *r->parts, err);
    if (!r->parts) return CVR_ERR_NOMEM;
    for (uint64_t i = 0; i < r->n; i++) {
        const int32_t begins = i == 0 || r->order[i].launch != r->order[i - 1].launch;
        if (begins && launches++ % VULKAN_LAUNCHES_A_PART == 0)
            r->parts[r->n_parts++] = (vulkan_part){.first = i, .submit = 1};
        r->parts[r->n_parts - 1].n++;
    }
    return CVR_OK;
}

static int32_t make_queries(vulkan_recording *r, cvr_error *err) {
    vulkan_device *d = r->d;
    const VkQueryPoolCreateInfo info = {.sType = VK_STRUCTURE_TYPE_QUERY_POOL_CREATE_INFO,
                                        .queryType = VK_QUERY_TYPE_TIMESTAMP,
                                        .queryCount = 2 * r->n_parts + (r->profiler ? 2 * (uint32_t)r->n_launches : 0)};
    if (!d->physical.timestamp_bits) return CVR_OK;
    return vulkan_check(d->vk.CreateQueryPool(d->handle, &info, NULL, &r->queries), "vkCreateQueryPool", err);
}

static void stamp(const vulkan_recording *r, VkCommandBuffer c, uint64_t query) {
    if (!r->queries) return;
    r->d->vk.CmdWriteTimestamp2(c, VK_PIPELINE_STAGE_2_ALL_COMMANDS_BIT, r->queries, (uint32_t)query);
}

/* Two neighbouring stamps are wanted again. */
static void reset(const vulkan_recording *r, VkCommandBuffer c, uint64_t query) {
    if (r->queries) r->d->vk.CmdResetQueryPool(c, r->queries, (uint32_t)query, 2);
}

static void add(const vulkan_recording *r, VkCommandBuffer c, const vulkan_command *m) {
    const vulkan_table *vk = &r->d->vk;
    const uint64_t params = r->block.address + m->params;
    const VkBufferCopy copy = {.srcOffset = m->from_offset, .dstOffset = m->to_offset, .size = m->bytes};
    switch (m->kind) {
    case VULKAN_DISPATCH:
        vk->CmdBindPipeline(c, VK_PIPELINE_BIND_POINT_COMPUTE, m->pipeline);
        vk->CmdPushConstants(c, vulkan_pipelines_layout(r->d->pipelines), VK_SHADER_STAGE_COMPUTE_BIT, 0, sizeof params,
                             &params);
        vk->CmdDispatch(c, m->groups[0], m->groups[1], m->groups[2]);
        break;
    case VULKAN_FILL: vk->CmdFillBuffer(c, m->to, m->to_offset, m->bytes, m->word); break;
    case VULKAN_COPY: vk->CmdCopyBuffer(c, m->from, m->to, 1, &copy); break;
    }
}

static void add_commands(const vulkan_recording *r, VkCommandBuffer c, const vulkan_part *part) {
    for (uint64_t i = part->first; i < part->first + part->n; i++) {
        const uint64_t launch = r->order[i].launch, query = 2 * (r->n_parts + launch);
        const int32_t begins = i == part->first || r->order[i - 1].launch != launch,
                      ends = i + 1 == part->first + part->n || r->order[i + 1].launch != launch;
        if (r->order[i].barrier) vulkan_commands_barrier(r->d, c);
        if (r->profiler && begins) reset(r, c, query);
        if (r->profiler && begins) stamp(r, c, query);
        add(r, c, &r->commands[i]);
        if (r->profiler && ends) stamp(r, c, query + 1);
    }
}

static int32_t build_part(vulkan_recording *r, uint32_t i, cvr_error *err) {
    const VkCommandBuffer c = r->buffers[i];
    const VkCommandBufferBeginInfo info = {.sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_BEGIN_INFO,
                                           .flags = VK_COMMAND_BUFFER_USAGE_SIMULTANEOUS_USE_BIT};
    vulkan_device *d = r->d;
    CVR_TRY(vulkan_check(d->vk.BeginCommandBuffer(c, &info), "vkBeginCommandBuffer", err));
    if (i == 0) vulkan_commands_barrier(d, c);
    reset(r, c, 2 * i);
    stamp(r, c, 2 * i);
    add_commands(r, c, &r->parts[i]);
    stamp(r, c, 2 * i + 1);
    if (i + 1 == r->n_parts) return vulkan_commands_end(d, c, err);
    return vulkan_check(d->vk.EndCommandBuffer(c), "vkEndCommandBuffer", err);
}

int32_t vulkan_build(vulkan_recording *r, cvr_error *err) {
    if (!r->n) return CVR_OK;
    CVR_TRY(make_parts(r, err));
    CVR_TRY(make_queries(r, err));
    VkCommandBuffer *buffers = (VkCommandBuffer *)room(r, r->n_parts, sizeof *buffers, err);
    if (!buffers) return CVR_ERR_NOMEM;
    const int32_t status = vulkan_lane_commands(r->d, VULKAN_MAIN, r->n_parts, buffers, err);
    if (status != CVR_OK) {
        r->d->host->free(r->d->host, buffers);
        return status;
    }
    r->buffers = buffers;
    for (uint32_t i = 0; i < r->n_parts; i++) CVR_TRY(build_part(r, i, err));
    return CVR_OK;
}
