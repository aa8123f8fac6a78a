/* What a dispatch may be, and the argument that its entry gets. See cuda_device.h. */
#include "cuda_device.h"

#define THREADS_ALONG_Z 64u /* of a group, on every device */

int32_t cuda_check_threads(const cvr_dispatch *d, cvr_error *err) {
    if (d->threads[2] <= THREADS_ALONG_Z) return CVR_OK;
    return cvr_fail(err, CVR_ERR_PLUGIN, "entry %.60s: %u threads along axis 2; %u are possible", d->entry,
                    d->threads[2], THREADS_ALONG_Z);
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
