/*
 * The backend `faulty` for tests: the host in its own memory (plain_backend.c, compiled with these two in place of
 * host_record and host_replay), which fails where the variable CVR_TEST_FAULT says so: `record`, or `replay`.
 */
#include "../../backends/host/host_backend.h"

#include <stdlib.h>

int32_t faulty_record(const cvr_host *host, const cvr_record_request *r, void **recording, cvr_error *err);
int32_t faulty_replay(const void *recording, const char *backend, cvr_error *err);

static int fails(const char *what) {
    const char *fault = getenv("CVR_TEST_FAULT");
    return fault && strcmp(fault, what) == 0;
}

int32_t faulty_record(const cvr_host *host, const cvr_record_request *r, void **recording, cvr_error *err) {
    if (fails("record")) return cvr_fail(err, CVR_ERR_IO, "the device has gone");
    return host_record(host, r, recording, err);
}

int32_t faulty_replay(const void *recording, const char *backend, cvr_error *err) {
    if (fails("replay")) return cvr_fail(err, CVR_ERR_IO, "the device has gone");
    return host_replay(recording, backend, err);
}
