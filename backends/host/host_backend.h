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

int32_t host_record(const cvr_host *host, const cvr_record_request *r, void **recording, cvr_error *err);
int32_t host_replay(const void *recording, const char *backend, cvr_error *err);
/* Puts the node in front of why a launch failed. */
int32_t host_launch_failed(const cvr_launch *l, const char *backend, int32_t status, cvr_error *err);
void host_discard(const cvr_host *host, void *recording);
/* "AMD EPYC", or "CPU" where the system does not tell; with the number of the pool's threads. */
void host_describe(const cvr_host *host, char *buf, uint64_t size);
/* This machine as a device whose blocks may be as large as its memory. */
const cvr_device_info *host_info(void);
/* What the system has in use, and free. */
int32_t host_memory(uint64_t *used, uint64_t *available, cvr_error *err);

#endif
