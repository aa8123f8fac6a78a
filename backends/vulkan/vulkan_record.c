/* From launches to commands. See vulkan_recording.h. */
#include "../host/host_recorder.h"
#include "vulkan_recording.h"

/* The recorder's context: the recording, and the launch whose kernel records now. */
typedef struct recorder {
    vulkan_recording *r;
    const cvr_launch *launch;
    uint64_t index;
} recorder;

static int32_t add_command(const recorder *c, const vulkan_command *command, int32_t concurrent, cvr_error *err) {
    vulkan_recording *r = c->r;
    const cvr_host *host = r->d->host;
    vulkan_command *commands = (vulkan_command *)host_grow(host, r->commands, r->n, &r->capacity, sizeof *commands);
    if (commands) r->commands = commands;
    vulkan_order *order = (vulkan_order *)host_grow(host, r->order, r->n, &r->order_capacity, sizeof *order);
    if (order) r->order = order;
    if (!commands || !order) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    commands[r->n] = *command;
    order[r->n] = (vulkan_order){.launch = c->index, .concurrent = concurrent};
    r->n++;
    return CVR_OK;
}

static int32_t add_params(vulkan_recording *r, const cvr_dispatch *d, uint64_t *at, cvr_error *err) {
    const uint64_t bytes = (d->params_size + 15) / 16 * 16;
    uint8_t *more = (uint8_t *)host_grow_by(r->d->host, r->params, r->n_params, bytes, &r->params_capacity, 1);
    if (!more && bytes) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    r->params = more;
    if (d->params_size) memcpy(r->params + r->n_params, d->params, d->params_size);
    *at = r->n_params;
    r->n_params += bytes;
    return CVR_OK;
}

/* What Vulkan limits besides what host_recorder.h has looked at. */
static int32_t check_limits(const cvr_dispatch *d, const VkPhysicalDeviceLimits *most, cvr_error *err) {
    for (int i = 0; i < 3; i++)
        if (d->groups[i] > most->maxComputeWorkGroupCount[i] || d->threads[i] > most->maxComputeWorkGroupSize[i])
            return cvr_fail(err, CVR_ERR_PLUGIN,
                            "entry %.60s: %u groups of %u threads along axis %d; the device has %u of %u", d->entry,
                            d->groups[i], d->threads[i], i, most->maxComputeWorkGroupCount[i],
                            most->maxComputeWorkGroupSize[i]);
    if (d->n_constants > VULKAN_CONSTANTS)
        return cvr_fail(err, CVR_ERR_PLUGIN, "entry %.60s: %u constants; %u are possible", d->entry, d->n_constants,
                        VULKAN_CONSTANTS);
    if (d->shared_bytes)
        return cvr_fail(err, CVR_ERR_PLUGIN, "entry %.60s: %u shared bytes; shaders of Vulkan declare theirs", d->entry,
                        d->shared_bytes);
    return CVR_OK;
}

static int32_t in_block(const void *device, uint64_t address) {
    return vulkan_find((const vulkan_device *)device, (const void *)(uintptr_t)address, 1) != NULL;
}

static int32_t on_dispatch(const cvr_recorder *table, const cvr_dispatch *d, cvr_error *err) {
    const recorder *c = (const recorder *)table->ctx;
    vulkan_device *v = c->r->d;
    vulkan_command command = {.kind = VULKAN_DISPATCH};
    CVR_TRY(check_limits(d, &v->physical.limits, err));
    if (v->keys.check) CVR_TRY(host_check_addresses("vulkan_check", c->launch, d, v, in_block, err));
    CVR_TRY(vulkan_pipeline_get(v->pipelines, d, &command.pipeline, err));
    CVR_TRY(add_params(c->r, d, &command.params, err));
    memcpy(command.groups, d->groups, sizeof d->groups);
    return add_command(c, &command, (d->flags & CVR_DISPATCH_CONCURRENT) != 0, err);
}

static int32_t find(const recorder *c, const void *address, uint64_t bytes, VkBuffer *buffer, uint64_t *offset,
                    cvr_error *err) {
    const vulkan_block *b = vulkan_find(c->r->d, address, bytes);
    if (!b)
        return cvr_fail(err, CVR_ERR_PLUGIN, "a fill or copy of %llu bytes at %p, which are not in one block",
                        (unsigned long long)bytes, address);
    *buffer = b->buffer;
    *offset = (uint64_t)(uintptr_t)address - b->address;
    return CVR_OK;
}

static int32_t on_fill(const cvr_recorder *table, void *to, uint64_t bytes, uint32_t word, cvr_error *err) {
    const recorder *c = (const recorder *)table->ctx;
    vulkan_command command = {.kind = VULKAN_FILL, .word = word, .bytes = bytes};
    CVR_TRY(find(c, to, bytes, &command.to, &command.to_offset, err));
    return add_command(c, &command, 0, err);
}

static int32_t on_copy(const cvr_recorder *table, void *to, const void *from, uint64_t bytes, cvr_error *err) {
    const recorder *c = (const recorder *)table->ctx;
    vulkan_command command = {.kind = VULKAN_COPY, .bytes = bytes};
    CVR_TRY(find(c, to, bytes, &command.to, &command.to_offset, err));
    CVR_TRY(find(c, from, bytes, &command.from, &command.from_offset, err));
    return add_command(c, &command, 0, err);
}

/* ---- all launches ---- */

static int32_t record_all(vulkan_recording *r, cvr_error *err) {
    recorder c = {.r = r};
    const cvr_recorder table = {.struct_size = sizeof table,
                                .ctx = &c,
                                .device = &r->d->physical.info,
                                .dispatch = on_dispatch,
                                .fill = on_fill,
                                .copy = on_copy};
    for (c.index = 0; c.index < r->n_launches; c.index++) {
        c.launch = r->launches[c.index];
        CVR_TRY(host_record_code(r->d->host, c.launch, &table, "vulkan", err));
    }
    return CVR_OK;
}

static int32_t place_barriers(vulkan_recording *r, cvr_error *err) {
    const vulkan_keys *keys = &r->d->keys;
    if (keys->barriers == VULKAN_BARRIERS_ALL)
        vulkan_barriers_all(r->order, r->n);
    else
        vulkan_barriers_place(r->order, r->n, r->launches);
    if (keys->drop_barrier && !vulkan_barriers_drop(r->order, r->n, (uint64_t)keys->drop_barrier))
        return cvr_fail(err, CVR_ERR_USAGE, "backend.vulkan_drop_barrier is %lld; there are fewer barriers",
                        (long long)keys->drop_barrier);
    return keys->check ? vulkan_barriers_check(r->order, r->n, r->launches, err) : CVR_OK;
}

static int32_t place_params(vulkan_recording *r, cvr_error *err) {
    if (!r->n_params) return CVR_OK;
    CVR_TRY(vulkan_block_create(r->d, VULKAN_USE_WRITTEN, r->n_params, &r->block, err));
    memcpy(r->block.mapped, r->params, r->n_params);
    return CVR_OK;
}

int32_t vulkan_record(vulkan_device *d, const cvr_record_request *request, void **recording, cvr_error *err) {
    vulkan_recording *r;
    int32_t status;
    CVR_TRY(vulkan_alive(d, err));
    r = (vulkan_recording *)d->host->alloc(d->host, sizeof *r, 64);
    if (!r) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    *r =
        (vulkan_recording){.d = d, .launches = request->launches, .n_launches = request->n_launches, .id = request->id};
    r->profiler = (const cvr_profiler *)d->host->get(d->host, CVR_SERVICE_PROFILER);
    if (!d->physical.timestamp_bits) r->profiler = NULL; /* no clock */
    CVR_TRY_OUT(record_all(r, err));
    CVR_TRY_OUT(place_barriers(r, err));
    CVR_TRY_OUT(place_params(r, err));
    CVR_TRY_OUT(vulkan_build(r, err));
    CVR_TRY_OUT(vulkan_instance_complaints(&d->instance, err));
    *recording = r;
out:
    if (status != CVR_OK) vulkan_discard(d, r);
    return status;
}

void vulkan_discard(vulkan_device *d, void *recording) {
    vulkan_recording *r = (vulkan_recording *)recording;
    const cvr_host *host = d->host;
    if (d->lost == VULKAN_HANGS) return;
    if (r->buffers) d->vk.FreeCommandBuffers(d->handle, d->lanes[VULKAN_MAIN].pool, r->n_parts, r->buffers);
    if (r->queries) d->vk.DestroyQueryPool(d->handle, r->queries, NULL);
    vulkan_block_destroy(d, &r->block);
    host->free(host, r->commands);
    host->free(host, r->order);
    host->free(host, r->params);
    host->free(host, r->parts);
    host->free(host, r->buffers);
    host->free(host, r);
}
