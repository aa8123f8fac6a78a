/* See vulkan_pipelines.h. */
#include "vulkan_pipelines.h"
#include "vulkan_spirv.h"

typedef struct pipeline {
    const cvr_code *code;
    char *entry; /* a copy: the launch that named it may be gone */
    uint32_t threads[3], subgroup, n_constants, constants[VULKAN_CONSTANTS];
    VkPipeline handle;
} pipeline;

struct vulkan_pipelines {
    vulkan_device *d;
    VkPipelineLayout layout;
    VkPipelineCache cache;
    pipeline **all;
    uint64_t n, capacity;
    char cache_name[64];
};

/* ---- the cache file ---- */

typedef struct cache_bytes {
    const cvr_host *host;
    void *bytes;
} cache_bytes;

static void *cache_room(void *ctx, uint64_t bytes) {
    cache_bytes *c = (cache_bytes *)ctx;
    return c->bytes = c->host->alloc(c->host, bytes + 1, 64);
}

/* What cannot be used is left: pipelines are then compiled anew. */
static int32_t open_cache(vulkan_pipelines *p, cvr_error *err) {
    vulkan_device *d = p->d;
    const vulkan_physical *is = &d->physical;
    const cvr_cache_service *s = (const cvr_cache_service *)d->host->get(d->host, CVR_SERVICE_CACHE);
    cache_bytes kept = {.host = d->host};
    cvr_error ignored = CVR_ERROR_INIT;
    uint64_t n = 0;
    (void)snprintf(p->cache_name, sizeof p->cache_name, "vulkan_%04x_%04x_%08x_%02x%02x%02x%02x", is->vendor,
                   is->device, is->driver_version, is->cache_uuid[0], is->cache_uuid[1], is->cache_uuid[2],
                   is->cache_uuid[3]);
    if (s && s->get(s, p->cache_name, cache_room, &kept, &n, &ignored) != CVR_OK) n = 0;
    if (!kept.bytes || !vulkan_cache_fits(kept.bytes, n, is->vendor, is->device, is->cache_uuid)) n = 0;
    const VkPipelineCacheCreateInfo info = {
        .sType = VK_STRUCTURE_TYPE_PIPELINE_CACHE_CREATE_INFO, .initialDataSize = n, .pInitialData = kept.bytes};
    const VkResult r = d->vk.CreatePipelineCache(d->handle, &info, NULL, &p->cache);
    d->host->free(d->host, kept.bytes);
    return vulkan_check(r, "vkCreatePipelineCache", err);
}

static void keep_cache(const vulkan_pipelines *p) {
    vulkan_device *d = p->d;
    const cvr_cache_service *s = (const cvr_cache_service *)d->host->get(d->host, CVR_SERVICE_CACHE);
    cvr_error why = CVR_ERROR_INIT;
    char line[1100];
    size_t n = 0;
    if (!s || !p->n || d->lost || d->vk.GetPipelineCacheData(d->handle, p->cache, &n, NULL) != VK_SUCCESS || !n) return;
    void *bytes = d->host->alloc(d->host, n, 64);
    if (bytes && d->vk.GetPipelineCacheData(d->handle, p->cache, &n, bytes) == VK_SUCCESS &&
        s->put(s, p->cache_name, bytes, n, &why) != CVR_OK) {
        (void)snprintf(line, sizeof line, "vulkan: what the driver compiled is not kept: %.1000s", why.message);
        d->host->log(d->host, CVR_LOG_WARNING, line);
    }
    d->host->free(d->host, bytes);
}

/* ---- life ---- */

static void free_pipeline(const cvr_host *host, pipeline *l) {
    if (l) host->free(host, l->entry);
    host->free(host, l);
}

int32_t vulkan_pipelines_open(vulkan_pipelines **out, vulkan_device *d, cvr_error *err) {
    static const VkPushConstantRange address = {VK_SHADER_STAGE_COMPUTE_BIT, 0, sizeof(uint64_t)};
    static const VkPipelineLayoutCreateInfo layout = {.sType = VK_STRUCTURE_TYPE_PIPELINE_LAYOUT_CREATE_INFO,
                                                      .pushConstantRangeCount = 1,
                                                      .pPushConstantRanges = &address};
    vulkan_pipelines *p = (vulkan_pipelines *)d->host->alloc(d->host, sizeof *p, 64);
    if (!p) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    *p = (vulkan_pipelines){.d = d};
    *out = p; /* closed with the device */
    CVR_TRY(
        vulkan_check(d->vk.CreatePipelineLayout(d->handle, &layout, NULL, &p->layout), "vkCreatePipelineLayout", err));
    return open_cache(p, err);
}

void vulkan_pipelines_close(vulkan_pipelines **out) {
    vulkan_pipelines *p = *out;
    if (!p) return;
    const vulkan_device *d = p->d;
    if (p->cache) keep_cache(p);
    for (uint64_t i = 0; i < p->n; i++) {
        d->vk.DestroyPipeline(d->handle, p->all[i]->handle, NULL);
        free_pipeline(d->host, p->all[i]);
    }
    if (p->cache) d->vk.DestroyPipelineCache(d->handle, p->cache, NULL);
    if (p->layout) d->vk.DestroyPipelineLayout(d->handle, p->layout, NULL);
    d->host->free(d->host, p->all);
    d->host->free(d->host, p);
    *out = NULL;
}

VkPipelineLayout vulkan_pipelines_layout(const vulkan_pipelines *p) {
    return p->layout;
}

/* ---- compiling ---- */

static int32_t compile_module(const vulkan_pipelines *p, const cvr_dispatch *d, VkShaderModule module, VkPipeline *out,
                              cvr_error *err) {
    const vulkan_device *v = p->d;
    VkSpecializationMapEntry entries[VULKAN_CONSTANTS];
    for (uint32_t i = 0; i < d->n_constants; i++) entries[i] = (VkSpecializationMapEntry){i, 4 * i, 4};
    const VkSpecializationInfo constants = {d->n_constants, entries, 4 * (size_t)d->n_constants, d->constants};
    const VkPipelineShaderStageRequiredSubgroupSizeCreateInfo subgroup = {
        .sType = VK_STRUCTURE_TYPE_PIPELINE_SHADER_STAGE_REQUIRED_SUBGROUP_SIZE_CREATE_INFO,
        .requiredSubgroupSize = d->subgroup};
    const uint32_t whole = d->subgroup ? d->subgroup : v->physical.info.subgroup_max;
    const VkComputePipelineCreateInfo info = {
        .sType = VK_STRUCTURE_TYPE_COMPUTE_PIPELINE_CREATE_INFO,
        .stage = {.sType = VK_STRUCTURE_TYPE_PIPELINE_SHADER_STAGE_CREATE_INFO,
                  .pNext = d->subgroup ? &subgroup : NULL,
                  .flags = d->threads[0] % whole == 0 ? VK_PIPELINE_SHADER_STAGE_CREATE_REQUIRE_FULL_SUBGROUPS_BIT : 0,
                  .stage = VK_SHADER_STAGE_COMPUTE_BIT,
                  .module = module,
                  .pName = d->entry,
                  .pSpecializationInfo = &constants},
        .layout = p->layout};
    return vulkan_check(v->vk.CreateComputePipelines(v->handle, p->cache, 1, &info, NULL, out),
                        "vkCreateComputePipelines", err);
}

static int32_t compile(const vulkan_pipelines *p, const cvr_dispatch *d, VkPipeline *out, cvr_error *err) {
    const vulkan_device *v = p->d;
    const VkShaderModuleCreateInfo info = {.sType = VK_STRUCTURE_TYPE_SHADER_MODULE_CREATE_INFO,
                                           .codeSize = d->code->n_bytes,
                                           .pCode = (const uint32_t *)d->code->bytes};
    VkShaderModule module;
    CVR_TRY(vulkan_spirv_check(d->code, d->entry, d->threads, v->physical.features, err));
    CVR_TRY(vulkan_check(v->vk.CreateShaderModule(v->handle, &info, NULL, &module), "vkCreateShaderModule", err));
    const int32_t status = compile_module(p, d, module, out, err);
    v->vk.DestroyShaderModule(v->handle, module, NULL);
    return status;
}

static int32_t is_for(const pipeline *l, const cvr_dispatch *d) {
    return l->code == d->code && l->subgroup == d->subgroup && l->n_constants == d->n_constants &&
           memcmp(l->threads, d->threads, sizeof l->threads) == 0 && strcmp(l->entry, d->entry) == 0 &&
           (!d->n_constants || memcmp(l->constants, d->constants, 4 * (size_t)d->n_constants) == 0);
}

int32_t vulkan_pipeline_get(vulkan_pipelines *p, const cvr_dispatch *d, VkPipeline *out, cvr_error *err) {
    const cvr_host *host = p->d->host;
    for (uint64_t i = 0; i < p->n; i++) {
        if (!is_for(p->all[i], d)) continue;
        *out = p->all[i]->handle;
        return CVR_OK;
    }
    pipeline **more = (pipeline **)host_grow(host, p->all, p->n, &p->capacity, sizeof *more);
    if (more) p->all = more;
    pipeline *l = more ? (pipeline *)host->alloc(host, sizeof *l, 64) : NULL;
    const size_t letters = strlen(d->entry) + 1;
    char *entry = l ? (char *)host->alloc(host, letters, 64) : NULL;
    if (!entry) {
        host->free(host, l);
        return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    }
    memcpy(entry, d->entry, letters);
    *l = (pipeline){.code = d->code, .entry = entry, .subgroup = d->subgroup, .n_constants = d->n_constants};
    memcpy(l->threads, d->threads, sizeof l->threads);
    if (d->n_constants) memcpy(l->constants, d->constants, 4 * (size_t)d->n_constants);
    const int32_t status = compile(p, d, &l->handle, err);
    if (status != CVR_OK) {
        free_pipeline(host, l);
        return status;
    }
    p->all[p->n++] = l;
    *out = l->handle;
    return CVR_OK;
}
