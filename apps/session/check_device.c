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

static int32_t front_upload(void *self, void *to, const void *from, uint64_t bytes, cvr_error *err) {
    const checked_device *c = self;
    return c->backend->upload(c->self, to, from, bytes, err);
}

static int32_t front_download(void *self, void *to, const void *from, uint64_t bytes, cvr_error *err) {
    const checked_device *c = self;
    return c->backend->download(c->self, to, from, bytes, err);
}

static int32_t front_record(void *self, const cvr_launch *const *launches, uint64_t n, uint64_t id, void **out,
                            cvr_error *err) {
    recording *r = cvr_calloc(1, sizeof *r);
    (void)self;
    if (!r) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory for backend.check");
    *r = (recording){launches, n, id};
    *out = r;
    return CVR_OK;
}

static int32_t front_replay(void *self, void *what, cvr_error *err) {
    const recording *r = what;
    checked_device *c = self;
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

static int32_t front_sync(void *self, cvr_error *err) {
    const checked_device *c = self;
    return c->backend->sync(c->self, err);
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
    c->front.alloc = front_alloc;
    c->front.free = front_free;
    c->front.upload = front_upload;
    c->front.download = front_download;
    c->front.record = front_record;
    c->front.replay = front_replay;
    c->front.discard = front_discard;
    c->front.sync = front_sync;
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
