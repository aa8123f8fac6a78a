/* A device whose launches are checked: a backend in front of the device's own (cvr_device_replace). */
#include "check_launch.h"

typedef struct checked_device {
    check_bench bench;
    cvr_backend_desc front;          /* the own one's, with what is checked in place */
    const cvr_backend_desc *backend; /* the own one's */
    void *self;
    check_observe_fn observe; /* may be NULL */
    void *ctx;
} checked_device;

typedef struct recording {
    const cvr_launch *const *launches;
    uint64_t n, id;
} recording;

static void front_close(void *self) {
    checked_device *c = self;
    check_bench_close(&c->bench);
    c->backend->close(c->self);
    cvr_free(c);
}

static void front_describe(const void *self, char *buf, uint64_t size) {
    const checked_device *c = self;
    c->backend->describe(c->self, buf, size);
}

static int32_t front_alloc(void *self, uint64_t bytes, void **address, cvr_error *err) {
    const checked_device *c = self;
    return c->backend->alloc(c->self, bytes, address, err);
}

static void front_free(void *self, void *address) {
    const checked_device *c = self;
    c->backend->free(c->self, address);
}

static const cvr_device_info *front_info(const void *self) {
    const checked_device *c = self;
    return c->backend->info(c->self);
}

static int32_t front_memory(void *self, uint64_t *used, uint64_t *available, cvr_error *err) {
    const checked_device *c = self;
    return c->backend->memory(c->self, used, available, err);
}

static int32_t front_upload(void *self, const cvr_transfer *t, uint64_t *ticket, cvr_error *err) {
    const checked_device *c = self;
    return c->backend->upload(c->self, t, ticket, err);
}

static int32_t front_download(void *self, const cvr_transfer *t, uint64_t *ticket, cvr_error *err) {
    const checked_device *c = self;
    return c->backend->download(c->self, t, ticket, err);
}

static int32_t front_copy(void *self, const cvr_transfer *t, uint64_t *ticket, cvr_error *err) {
    const checked_device *c = self;
    return c->backend->copy(c->self, t, ticket, err);
}

static int32_t front_record(void *self, const cvr_record_request *request, void **out, cvr_error *err) {
    recording *r = cvr_calloc(1, sizeof *r);
    (void)self;
    if (!r) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory for backend.check");
    *r = (recording){request->launches, request->n_launches, request->id};
    *out = r;
    return CVR_OK;
}

/* Launch by launch, each done before the next: what was uploaded before has to be there. */
static int32_t front_replay(void *self, void *what, uint64_t after, uint64_t *ticket, cvr_error *err) {
    const recording *r = what;
    checked_device *c = self;
    *ticket = 0;
    if (after) CVR_TRY(c->backend->wait(c->self, after, err));
    for (uint64_t i = 0; i < r->n; i++) {
        if (c->observe) CVR_TRY(c->observe(c->ctx, r->launches[i], err));
        CVR_TRY(check_launch(&c->bench, r->launches[i], r->id, false, err));
    }
    return CVR_OK;
}

static void front_discard(void *self, void *what) {
    (void)self;
    cvr_free(what);
}

static int32_t front_wait(void *self, uint64_t ticket, cvr_error *err) {
    const checked_device *c = self;
    return c->backend->wait(c->self, ticket, err);
}

static int32_t front_run_host(void *self, const cvr_launch *launch, cvr_error *err) {
    checked_device *c = self;
    return check_launch(&c->bench, launch, 0, true, err);
}

int32_t check_device_observed(cvr_device *d, const check_bench *bench, check_observe_fn observe, void *ctx,
                              cvr_error *err) {
    checked_device *c = cvr_calloc(1, sizeof *c);
    if (!c) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory for backend.check");
    c->backend = cvr_device_backend(d);
    c->self = cvr_device_self(d);
    c->bench = (check_bench){.plugins = bench->plugins, .backend = c->backend, .self = c->self, .what = bench->what};
    c->observe = observe;
    c->ctx = ctx;
    c->front = *c->backend;
    c->front.close = front_close;
    c->front.describe = front_describe;
    c->front.info = front_info;
    c->front.alloc = front_alloc;
    c->front.free = front_free;
    c->front.memory = front_memory;
    c->front.upload = front_upload;
    c->front.download = front_download;
    c->front.copy = front_copy;
    c->front.record = front_record;
    c->front.replay = front_replay;
    c->front.discard = front_discard;
    c->front.wait = front_wait;
    c->front.pin = NULL;
    c->front.unpin = NULL;
    c->front.map = NULL; /* nodes on the host are checked on copies */
    cvr_device_replace(d, &c->front, c, front_run_host);
    return CVR_OK;
}

int32_t cvr_check_device(cvr_device *d, cvr_plugins *plugins, uint32_t what, cvr_error *err) {
    const check_bench bench = {.plugins = plugins, .what = what};
    return check_device_observed(d, &bench, NULL, NULL, err);
}

void cvr_uncheck_device(cvr_device *d) {
    checked_device *c = cvr_device_self(d);
    if (cvr_device_backend(d) != &c->front) return;
    cvr_device_replace(d, c->backend, c->self, NULL);
    check_bench_close(&c->bench);
    cvr_free(c);
}
