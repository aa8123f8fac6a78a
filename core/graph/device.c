/*
 * An open backend, and its two lanes (backend.h). The core knows no backend by name: it finds the descriptor and talks
 * to its table. What goes into the main lane waits for all uploads issued before it, so only uploads have to be told
 * what they may overtake.
 */
#include "ir.h"
#include <cvr/plugin/words.h>

/* ---- opening ---- */

static int32_t open_self(cvr_device *d, const cvr_device_choice *which, cvr_error *err) {
    const cvr_host *host = cvr_plugins_host(d->plugins);
    const cvr_schema schema = {d->backend->attrs, d->backend->n_attrs};
    void *defaults = NULL;
    int64_t index;
    CVR_TRY(cvr_backend_find_device(d->plugins, d->backend, which->device, &index, err));
    if (!which->attrs) CVR_TRY(cvr_attrs_pack(&schema, NULL, 0, "backend", &defaults, err));
    const void *attrs = which->attrs ? which->attrs : defaults;
    const int32_t status = CVR_CALL(d->backend, open, NULL, err, host, index, attrs, &d->self);
    cvr_free(defaults);
    CVR_TRY(status);
    CVR_CALL_TO(d->info, d->backend, info, NULL, d->self);
    const int32_t checked = device_check_info(d->backend, "info", d->info, err);
    if (checked != CVR_OK) CVR_CALL_VOID(d->backend, close, NULL, d->self);
    return checked;
}

int32_t cvr_device_open(cvr_device **out, cvr_plugins *plugins, const cvr_device_choice *which,
                        const cvr_threadpool *pool, cvr_error *err) {
    const void *desc;
    *out = NULL;
    CVR_TRY(cvr_plugins_find(plugins, CVR_KIND_BACKEND, which->backend, &desc, err));
    cvr_device *d = cvr_calloc(1, sizeof *d);
    if (!d) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    d->plugins = plugins;
    d->backend = desc;
    int32_t status;
    if (cvr_plugins_offer(plugins, CVR_SERVICE_THREADPOOL, pool) != CVR_OK)
        CVR_TRY_OUT(cvr_fail(err, CVR_ERR_NOMEM, "out of memory"));
    CVR_TRY_OUT(open_self(d, which, err));
    *out = d;
out:
    if (status != CVR_OK) cvr_free(d);
    return status;
}

void cvr_device_close(cvr_device **d) {
    if (!*d) return;
    (void)device_settle(*d, NULL);
    CVR_CALL_VOID((*d)->backend, close, NULL, (*d)->self);
    cvr_free(*d);
    *d = NULL;
}

const cvr_backend_desc *cvr_device_backend(const cvr_device *d) {
    return d->backend;
}

const cvr_device_info *cvr_device_info_of(const cvr_device *d) {
    return d->info;
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

bool device_is_host(const cvr_device *d) {
    return (d->backend->flags & CVR_BACKEND_HOST_VISIBLE) != 0;
}

/* ---- which kernels it takes ---- */

bool cvr_device_takes(const cvr_device *d, const cvr_kernel_desc *k, char *why, size_t size) {
    const cvr_backend_desc *b = d->backend;
    uint32_t i = 0;
    while (i < b->n_payloads && strcmp(b->payloads[i], k->payload_kind) != 0) i++;
    if (i == b->n_payloads) {
        (void)snprintf(why, size, "%.40s launches no payload `%.60s`", b->name, k->payload_kind);
        return false;
    }
    /* The CPU features that functions of the host need were looked at when the kernel was found. */
    const char *needs = cvr_kernel_is_host(k) || !k->isa ? "" : k->isa;
    for (const char *t = needs; *t;) {
        const size_t n = strcspn(t, " "), without = *t == '!';
        if (cvr_has_word(d->info->features, t + without, n - without) == (without == 1)) {
            (void)snprintf(why, size, "the device %s `%.*s`", without ? "must not have" : "lacks", (int)(n - without),
                           t + without);
            return false;
        }
        t += n + strspn(t + n, " ");
    }
    return true;
}

/* ---- memory ---- */

int32_t cvr_device_alloc(cvr_device *d, uint64_t bytes, void **address, cvr_error *err) {
    char wanted[32], most[32];
    if (bytes > d->info->max_allocation)
        return cvr_fail(err, CVR_ERR_NOMEM, "a block of %s of device memory: %s gives at most %s at once",
                        cvr_bytes_text(bytes, wanted), d->backend->name, cvr_bytes_text(d->info->max_allocation, most));
    return CVR_CALL(d->backend, alloc, NULL, err, d->self, bytes ? bytes : d->info->alignment, address);
}

void cvr_device_free(cvr_device *d, void *address) {
    if (!d || !address) return;
    (void)device_settle(d, NULL);
    CVR_CALL_VOID(d->backend, free, NULL, d->self, address);
}

bool cvr_device_pin(cvr_device *d, void *host, uint64_t bytes) {
    cvr_error why = CVR_ERROR_INIT;
    return d->backend->pin && CVR_CALL(d->backend, pin, NULL, &why, d->self, host, bytes) == CVR_OK;
}

void cvr_device_unpin(cvr_device *d, void *host) {
    (void)device_settle(d, NULL);
    CVR_CALL_VOID(d->backend, unpin, NULL, d->self, host);
}

/* ---- the lanes ---- */

static int32_t wait_for(cvr_device *d, uint64_t ticket, cvr_error *err) {
    return ticket ? CVR_CALL(d->backend, wait, NULL, err, d->self, ticket) : CVR_OK;
}

int32_t device_wait_uploads(cvr_device *d, cvr_error *err) {
    if (d->uploads_done == d->uploads) return CVR_OK;
    CVR_TRY(wait_for(d, d->uploaded, err));
    d->uploads_done = d->uploads;
    return CVR_OK;
}

int32_t device_wait(cvr_device *d, cvr_error *err) {
    if (d->last_done) return CVR_OK;
    CVR_TRY(wait_for(d, d->last, err));
    d->last_done = true;
    if (d->uploads_covered > d->uploads_done) d->uploads_done = d->uploads_covered;
    return CVR_OK;
}

/* The main lane first, as one wait for it is often one for both. */
int32_t device_settle(cvr_device *d, cvr_error *err) {
    const int32_t status = device_wait(d, err);
    const int32_t uploads = device_wait_uploads(d, status == CVR_OK ? err : NULL);
    return status == CVR_OK ? uploads : status;
}

/* Something went into the main lane, and waits for all uploads so far; not so if the backend refused it. Where there is
 * no new ticket the one before stays: what it is for may still be under way, and bytes that were read may come to the
 * host only when it is waited for. */
static int32_t issued(cvr_device *d, uint64_t ticket, int32_t status) {
    if (ticket) d->last = ticket;
    d->last_done = false;
    if (status == CVR_OK) d->uploads_covered = d->uploads;
    return status;
}

int32_t device_start_upload(cvr_device *d, const device_bytes *b, uint64_t after, cvr_error *err) {
    const cvr_transfer t = {sizeof t, b->to, b->from, b->bytes, after};
    uint64_t ticket = 0;
    d->uploads++;
    const int32_t status = CVR_CALL(d->backend, upload, NULL, err, d->self, &t, &ticket);
    if (ticket) d->uploaded = ticket;
    return status;
}

int32_t device_start_download(cvr_device *d, const device_bytes *b, cvr_error *err) {
    const cvr_transfer t = {sizeof t, b->to, b->from, b->bytes, d->uploaded};
    uint64_t ticket = 0;
    const int32_t status = CVR_CALL(d->backend, download, NULL, err, d->self, &t, &ticket);
    return issued(d, ticket, status);
}

int32_t device_copy(cvr_device *d, const device_bytes *b, cvr_error *err) {
    const cvr_transfer t = {sizeof t, b->to, b->from, b->bytes, d->uploaded};
    uint64_t ticket = 0;
    const int32_t status = CVR_CALL(d->backend, copy, NULL, err, d->self, &t, &ticket);
    return issued(d, ticket, status);
}

int32_t device_replay(cvr_device *d, void *recording, cvr_error *err) {
    uint64_t ticket = 0;
    const int32_t status = CVR_CALL(d->backend, replay, NULL, err, d->self, recording, d->uploaded, &ticket);
    return issued(d, ticket, status);
}

int32_t device_upload(cvr_device *d, void *to, const void *from, uint64_t bytes, cvr_error *err) {
    const device_bytes b = {to, from, bytes};
    CVR_TRY(device_start_upload(d, &b, d->last, err));
    return device_wait_uploads(d, err);
}

int32_t device_download(cvr_device *d, void *to, const void *from, uint64_t bytes, cvr_error *err) {
    const device_bytes b = {to, from, bytes};
    CVR_TRY(device_start_download(d, &b, err));
    return device_wait(d, err);
}
