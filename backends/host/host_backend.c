/* Recording and replaying on the host. */
#include "host_backend.h"

int32_t host_record(const cvr_host *host, const cvr_launch *const *launches, uint64_t n, uint64_t id, void **recording,
                    cvr_error *err) {
    for (uint64_t i = 0; i < n; i++) {
        if (strcmp(launches[i]->kernel->payload_kind, CVR_PAYLOAD_CPU_FN) != 0) {
            return cvr_fail(err, CVR_ERR_UNSUPPORTED, "%s: a kernel of kind %s cannot run on the host",
                            launches[i]->name, launches[i]->kernel->payload_kind);
        }
    }
    host_recording *r = (host_recording *)host->alloc(host, sizeof *r, 16);
    if (!r) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    *r = (host_recording){host,
                          (const cvr_profiler *)host->get(host, CVR_SERVICE_PROFILER),
                          (const cvr_launch_service *)host->get(host, CVR_SERVICE_LAUNCHES),
                          id,
                          n,
                          launches};
    *recording = r;
    return CVR_OK;
}

static int32_t launch_failed(const cvr_launch *l, const char *backend, int32_t status, cvr_error *err) {
    char text[sizeof err->message];
    if (!err || !err->message[0]) return status; /* the core has words for that */
    (void)snprintf(text, sizeof text, "%s on %s: %.800s", l->name, backend, err->message);
    memcpy(err->message, text, sizeof text);
    return status;
}

int32_t host_replay(const void *recording, const char *backend, cvr_error *err) {
    const host_recording *r = (const host_recording *)recording;
    const cvr_profiler *profiler = r->profiler && r->profiler->enabled(r->profiler) ? r->profiler : NULL;
    const cvr_launch **current = r->service ? r->service->current(r->service) : NULL;
    for (uint64_t i = 0; i < r->n; i++) {
        const cvr_launch *l = r->launches[i];
        const cvr_cpu_fn *fn = (const cvr_cpu_fn *)l->kernel->payload;
        cvr_launch_note(current, l);
        if (profiler) profiler->begin(profiler, r->id, l->index);
        const int32_t status = fn->run(l->args, err);
        if (profiler) profiler->end(profiler, r->id, l->index);
        if (status != CVR_OK) return launch_failed(l, backend, status, err);
    }
    cvr_launch_note(current, NULL);
    return CVR_OK;
}

void host_discard(const cvr_host *host, void *recording) {
    host->free(host, recording);
}

void host_describe(const cvr_host *host, char *buf, uint64_t size) {
    char line[256], model[128] = "CPU";
    FILE *f = fopen("/proc/cpuinfo", "re");
    while (f && fgets(line, sizeof line, f)) {
        const char *colon = strchr(line, ':');
        if (strncmp(line, "model name", 10) != 0 || !colon) continue;
        (void)snprintf(model, sizeof model, "%.*s", (int)strcspn(colon + 2, "\n"), colon + 2);
        break;
    }
    if (f) fclose(f);
    const cvr_threadpool *pool = (const cvr_threadpool *)host->get(host, CVR_SERVICE_THREADPOOL);
    const uint32_t n = pool ? pool->n_workers : 1;
    (void)snprintf(buf, size, "%s, %u thread%s", model, n, n == 1 ? "" : "s");
}
