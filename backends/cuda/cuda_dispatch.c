/* What a dispatch may be, and the argument that its entry gets. See cuda_device.h. */
#include "cuda_device.h"

const char *cuda_dispatch_bad(const cvr_dispatch *d, const cvr_device_info *info) {
    uint64_t threads = 1;
    if (!d) return "address";
    if (d->struct_size < sizeof *d) return "struct_size";
    if (!d->code || !d->code->bytes || !d->entry) return "code";
    if (d->params_size > CVR_PARAMS_MOST || (d->params_size && !d->params)) return "params_size";
    if (d->n_constants > CVR_PARAMS_MOST / 4 || (d->n_constants && !d->constants)) return "n_constants";
    for (int i = 0; i < 3; i++) {
        if (!d->groups[i] || d->groups[i] > CVR_GROUPS_MOST) return "groups";
        if (!d->threads[i] || d->threads[i] > info->group_threads) return "threads";
        threads *= d->threads[i];
    }
    if (threads > info->group_threads || d->threads[2] > 64) return "threads";
    if (d->shared_bytes > info->shared_bytes) return "shared_bytes";
    if (d->subgroup && d->subgroup != info->subgroup_max) return "subgroup";
    return NULL;
}

int32_t cuda_argument_fill(const cvr_dispatch *d, const cuda_function *f, uint8_t *out, uint64_t room, cvr_error *err) {
    const uint64_t given = d->params_size + 4 * (uint64_t)d->n_constants;
    if (given > f->argument || f->argument > room)
        return cvr_fail(err, CVR_ERR_PLUGIN,
                        "entry %.60s has %llu bytes of parameters and constants, and is given %llu", d->entry,
                        (unsigned long long)f->argument, (unsigned long long)given);
    memset(out, 0, room);
    if (d->params_size) memcpy(out, d->params, d->params_size);
    if (d->n_constants) memcpy(out + d->params_size, d->constants, 4 * (size_t)d->n_constants);
    return CVR_OK;
}
