/* Recording and replaying on the host. */
#define _DEFAULT_SOURCE /* _SC_PHYS_PAGES */
#include "host_backend.h"
#include <unistd.h>

int32_t host_record(const cvr_host *host, const cvr_record_request *request, void **recording, cvr_error *err) {
    host_recording *r = (host_recording *)host->alloc(host, sizeof *r, 16);
    if (!r) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    *r = (host_recording){host,
                          (const cvr_profiler *)host->get(host, CVR_SERVICE_PROFILER),
                          (const cvr_launch_service *)host->get(host, CVR_SERVICE_LAUNCHES),
                          request->id,
                          request->n_launches,
                          request->launches};
    *recording = r;
    return CVR_OK;
}

int32_t host_launch_failed(const cvr_launch *l, const char *backend, int32_t status, cvr_error *err) {
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
        if (status != CVR_OK) return host_launch_failed(l, backend, status, err);
    }
    cvr_launch_note(current, NULL);
    return CVR_OK;
}

void host_discard(const cvr_host *host, void *recording) {
    host->free(host, recording);
}

static void read_model(char *model, size_t size) {
    char line[256];
    FILE *f = fopen("/proc/cpuinfo", "re");
    (void)snprintf(model, size, "CPU");
    while (f && fgets(line, sizeof line, f)) {
        const char *colon = strchr(line, ':');
        if (strncmp(line, "model name", 10) != 0 || !colon) continue;
        (void)snprintf(model, size, "%.*s", (int)strcspn(colon + 2, "\n"), colon + 2);
        break;
    }
    if (f) fclose(f);
}

void host_describe(const cvr_host *host, char *buf, uint64_t size) {
    char model[128];
    const cvr_threadpool *pool = (const cvr_threadpool *)host->get(host, CVR_SERVICE_THREADPOOL);
    const uint32_t n = pool ? pool->n_workers : 1;
    read_model(model, sizeof model);
    (void)snprintf(buf, size, "%s, %u thread%s", model, n, n == 1 ? "" : "s");
}

static uint64_t pages(int which) {
    const long n = sysconf(which), page = sysconf(_SC_PAGESIZE);
    return n > 0 && page > 0 ? (uint64_t)n * (uint64_t)page : 0;
}

const cvr_device_info *host_info(void) {
    static char model[128];
    static cvr_device_info info = {.struct_size = sizeof info,
                                   .name = model,
                                   .driver = "",
                                   .uuid = "",
                                   .features = "",
                                   .max_allocation = UINT64_MAX,
                                   .alignment = 64};
    if (!info.memory) read_model(model, sizeof model);
    info.memory = pages(_SC_PHYS_PAGES);
    return &info;
}

int32_t host_memory(uint64_t *used, uint64_t *available, cvr_error *err) {
    (void)err;
    *available = pages(_SC_AVPHYS_PAGES);
    *used = pages(_SC_PHYS_PAGES) - *available;
    return CVR_OK;
}
