/* An open backend. The core knows no backend by name: it finds the descriptor and talks to its table. */
#include "ir.h"

int32_t cvr_device_open(cvr_device **out, cvr_plugins *plugins, const char *backend, int64_t index,
                        const cvr_threadpool *pool, cvr_error *err) {
    const void *desc;
    *out = NULL;
    int32_t status;
    CVR_TRY(cvr_plugins_find(plugins, CVR_KIND_BACKEND, backend, &desc, err));
    cvr_device *d = cvr_calloc(1, sizeof *d);
    if (!d) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    d->plugins = plugins;
    d->backend = desc;
    if (cvr_plugins_offer(plugins, CVR_SERVICE_THREADPOOL, pool) != CVR_OK) {
        cvr_free(d);
        return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    }
    const cvr_host *host = cvr_plugins_host(plugins);
    int64_t count;
    CVR_CALL_TO(count, d->backend, device_count, NULL, host);
    if (index < 0 || index >= count)
        CVR_TRY_OUT(cvr_fail(err, CVR_ERR_USAGE,
                             "backend %s has %lld device%s here; backend.device=%lld is none of them", backend,
                             (long long)count, count == 1 ? "" : "s", (long long)index));
    CVR_TRY_OUT(CVR_CALL(d->backend, open, NULL, err, host, index, &d->self));
    *out = d;
out:
    if (status != CVR_OK) cvr_free(d);
    return status;
}

void cvr_device_close(cvr_device **d) {
    if (!*d) return;
    CVR_CALL_VOID((*d)->backend, close, NULL, (*d)->self);
    cvr_free(*d);
    *d = NULL;
}

const cvr_backend_desc *cvr_device_backend(const cvr_device *d) {
    return d->backend;
}

void *cvr_device_self(const cvr_device *d) {
    return d->self;
}

void cvr_device_replace(cvr_device *d, const cvr_backend_desc *backend, void *self, cvr_host_run_fn run_host) {
    d->backend = backend;
    d->self = self;
    d->run_host = run_host;
}

void cvr_device_describe(const cvr_device *d, char *buf, uint64_t size) {
    CVR_CALL_VOID(d->backend, describe, NULL, d->self, buf, size);
}

int32_t cvr_device_alloc(cvr_device *d, uint64_t bytes, void **address, cvr_error *err) {
    return CVR_CALL(d->backend, alloc, NULL, err, d->self, bytes ? bytes : 64, address);
}

void cvr_device_free(cvr_device *d, void *address) {
    if (d && address) CVR_CALL_VOID(d->backend, free, NULL, d->self, address);
}
