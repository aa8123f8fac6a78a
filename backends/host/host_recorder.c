/* See host_recorder.h. */
#include "host_recorder.h"
#include "host_backend.h"

typedef struct checked_recorder {
    const cvr_recorder *inner;
    const cvr_launch *launch;
    cvr_error refused; /* the first request that was refused; code 0: none was */
} checked_recorder;

/* ---- what makes no sense for any device ---- */

static int32_t check_code(const cvr_dispatch *d, cvr_error *err) {
    if (!d->code || d->code->struct_size < sizeof *d->code || !d->code->bytes || (uintptr_t)d->code->bytes % 4 != 0)
        return cvr_fail(err, CVR_ERR_PLUGIN, "the dispatch's `code` is no cvr_code with bytes");
    if (!d->entry || !*d->entry) return cvr_fail(err, CVR_ERR_PLUGIN, "the dispatch has no `entry`");
    if (d->params_size > CVR_PARAMS_MOST || (d->params_size && !d->params))
        return cvr_fail(err, CVR_ERR_PLUGIN, "entry %.60s: %llu bytes of parameters at %p; %u are possible", d->entry,
                        (unsigned long long)d->params_size, d->params, CVR_PARAMS_MOST);
    if (d->n_constants && !d->constants)
        return cvr_fail(err, CVR_ERR_PLUGIN, "entry %.60s: %u constants, which are nowhere (NULL)", d->entry,
                        d->n_constants);
    return CVR_OK;
}

static int32_t check_grid(const cvr_dispatch *d, const cvr_device_info *info, cvr_error *err) {
    uint64_t threads = 1;
    for (int i = 0; i < 3; i++) {
        if (!d->groups[i] || d->groups[i] > CVR_GROUPS_MOST)
            return cvr_fail(err, CVR_ERR_PLUGIN, "entry %.60s: %u groups along axis %d; 1 to %u are possible", d->entry,
                            d->groups[i], i, CVR_GROUPS_MOST);
        threads *= d->threads[i] > info->group_threads ? info->group_threads + 1 : d->threads[i];
    }
    if (!threads || threads > info->group_threads)
        return cvr_fail(err, CVR_ERR_PLUGIN, "entry %.60s: groups of %u x %u x %u threads; the device has 1 to %u",
                        d->entry, d->threads[0], d->threads[1], d->threads[2], info->group_threads);
    return CVR_OK;
}

int32_t host_check_dispatch(const cvr_dispatch *d, const cvr_device_info *info, cvr_error *err) {
    if (!d || d->struct_size < sizeof *d)
        return cvr_fail(err, CVR_ERR_PLUGIN, "the dispatch is NULL, or its `struct_size` is too small");
    CVR_TRY(check_code(d, err));
    CVR_TRY(check_grid(d, info, err));
    if (d->flags & ~CVR_DISPATCH_CONCURRENT)
        return cvr_fail(err, CVR_ERR_PLUGIN, "entry %.60s: `flags` is 0x%x, which is not known", d->entry, d->flags);
    if (d->shared_bytes > info->shared_bytes)
        return cvr_fail(err, CVR_ERR_PLUGIN, "entry %.60s: %u shared bytes; the device has %u", d->entry,
                        d->shared_bytes, info->shared_bytes);
    if (d->subgroup && (d->subgroup < info->subgroup_min || d->subgroup > info->subgroup_max))
        return cvr_fail(err, CVR_ERR_PLUGIN, "entry %.60s: subgroups of %u threads; the device has %u to %u", d->entry,
                        d->subgroup, info->subgroup_min, info->subgroup_max);
    return CVR_OK;
}

/* ---- what the launch touches ---- */

int32_t host_touches(const cvr_launch *l, uint64_t address) {
    for (uint32_t i = 0; i < l->n_touches; i++)
        if (address - (uint64_t)(uintptr_t)l->touches[i]->address < l->touches[i]->bytes) return 1;
    return 0;
}

int32_t host_check_addresses(const char *key, const cvr_launch *l, const cvr_dispatch *d, const void *device,
                             int32_t (*in_block)(const void *device, uint64_t address), cvr_error *err) {
    for (uint64_t at = 0; at + 8 <= d->params_size; at += 8) {
        uint64_t address;
        memcpy(&address, (const uint8_t *)d->params + at, sizeof address);
        if (!address || host_touches(l, address)) continue;
        if (!in_block(device, address)) break; /* numbers from here on */
        return cvr_fail(err, CVR_ERR_PLUGIN,
                        "%s: entry %.60s gets an address, at byte %llu of its parameters, that is in no input, output "
                        "or workspace of the node",
                        key, d->entry, (unsigned long long)at);
    }
    return CVR_OK;
}

/* Fills and copies are of what the launch touches. */
static int32_t check_range(const cvr_launch *l, const void *address, uint64_t bytes, const char *what, cvr_error *err) {
    const uint64_t at = (uint64_t)(uintptr_t)address;
    for (uint32_t i = 0; i < l->n_touches; i++) {
        const uint64_t from = (uint64_t)(uintptr_t)l->touches[i]->address, n = l->touches[i]->bytes;
        if (at >= from && at - from <= n && bytes <= n - (at - from)) return CVR_OK;
    }
    return cvr_fail(err, CVR_ERR_PLUGIN,
                    "a %s of %llu bytes at %p, which is in no input, output or workspace of the node", what,
                    (unsigned long long)bytes, address);
}

/* ---- the recorder ---- */

static int32_t keep(checked_recorder *c, int32_t status, const cvr_error *err) {
    if (status == CVR_OK || c->refused.code) return status;
    c->refused = *err;
    c->refused.code = status;
    return status;
}

static int32_t on_dispatch(const cvr_recorder *table, const cvr_dispatch *d, cvr_error *given) {
    checked_recorder *c = (checked_recorder *)table->ctx;
    cvr_error own = CVR_ERROR_INIT, *err = given ? given : &own;
    int32_t status = host_check_dispatch(d, table->device, err);
    if (status == CVR_OK) status = c->inner->dispatch(c->inner, d, err);
    return keep(c, status, err);
}

static int32_t on_fill(const cvr_recorder *table, void *to, uint64_t bytes, uint32_t word, cvr_error *given) {
    checked_recorder *c = (checked_recorder *)table->ctx;
    cvr_error own = CVR_ERROR_INIT, *err = given ? given : &own;
    int32_t status = CVR_OK;
    if (bytes % 4 != 0 || (uintptr_t)to % 4 != 0)
        status = cvr_fail(err, CVR_ERR_PLUGIN, "a fill is of whole words, not of %llu bytes at %p",
                          (unsigned long long)bytes, to);
    if (status == CVR_OK && bytes) status = check_range(c->launch, to, bytes, "fill", err);
    if (status == CVR_OK && bytes) status = c->inner->fill(c->inner, to, bytes, word, err);
    return keep(c, status, err);
}

static int32_t on_copy(const cvr_recorder *table, void *to, const void *from, uint64_t bytes, cvr_error *given) {
    checked_recorder *c = (checked_recorder *)table->ctx;
    cvr_error own = CVR_ERROR_INIT, *err = given ? given : &own;
    if (!bytes) return CVR_OK;
    int32_t status = check_range(c->launch, to, bytes, "copy", err);
    if (status == CVR_OK) status = check_range(c->launch, from, bytes, "copy", err);
    if (status == CVR_OK) status = c->inner->copy(c->inner, to, from, bytes, err);
    return keep(c, status, err);
}

int32_t host_record_code(const cvr_host *host, const cvr_launch *l, const cvr_recorder *inner, const char *backend,
                         cvr_error *err) {
    const cvr_launch_service *service = (const cvr_launch_service *)host->get(host, CVR_SERVICE_LAUNCHES);
    const cvr_launch **current = service ? service->current(service) : NULL;
    const cvr_device_fn *fn =
        (const cvr_device_fn *)(l->flags & CVR_LAUNCH_PREPARES ? l->kernel->prepare : l->kernel->payload);
    checked_recorder c = {.inner = inner, .launch = l, .refused = CVR_ERROR_INIT};
    const cvr_recorder r = {.struct_size = sizeof r,
                            .ctx = &c,
                            .device = inner->device,
                            .dispatch = on_dispatch,
                            .fill = on_fill,
                            .copy = on_copy};
    int32_t status;
    cvr_launch_note(current, l);
    if (!fn || fn->struct_size < sizeof *fn || !fn->record)
        status = cvr_fail(err, CVR_ERR_PLUGIN, "the payload of kernel %s/%s is no cvr_device_fn with a `record`",
                          l->kernel->backend, l->kernel->op);
    else
        status = fn->record(l->args, &r, err);
    if (status == CVR_OK && c.refused.code) {
        if (err) *err = c.refused;
        status = (int32_t)c.refused.code;
    }
    if (status != CVR_OK) return host_launch_failed(l, backend, status, err);
    cvr_launch_note(current, NULL);
    return CVR_OK;
}
