/* What the backends that run in the host's own memory share: a recording is a flat list of launches. */
#ifndef HOST_BACKEND_H
#define HOST_BACKEND_H

#include <cvr/plugin/plugin.h>

typedef struct host_recording {
    const cvr_host *host;
    const cvr_profiler *profiler;      /* NULL: none */
    const cvr_launch_service *service; /* likewise: who runs is told there */
    uint64_t id, n;
    const cvr_launch *const *launches;
} host_recording;

int32_t host_record(const cvr_host *host, const cvr_launch *const *launches, uint64_t n, uint64_t id, void **recording,
                    cvr_error *err);
int32_t host_replay(const void *recording, const char *backend, cvr_error *err);
void host_discard(const cvr_host *host, void *recording);
/* "AMD EPYC", or "CPU" where the system does not tell; with the number of the pool's threads. */
void host_describe(const cvr_host *host, char *buf, uint64_t size);

#endif
