/*
 * The backend `counted` for tests: plain memory that the host may only copy to and from, and kernels of the CPU's. It
 * counts what is asked of it, since the process began; `describe` tells: opens, blocks, recordings, uploads, their
 * bytes, downloads, replays. It has two devices. `counted_host` is the same, but runs nobody's kernels, so that all is
 * left to the host.
 */
#include "../../backends/host/host_backend.h"
#include <stdlib.h>

static struct { uint64_t opens, blocks, recordings, uploads, bytes, downloads, replays; } counts;

/* `counted_plain` is there for `backend.name = auto` where the variable CVR_TEST_CANDIDATE is set; as a device of
 * software where it says so. */
static int64_t plain_device_count(const cvr_host *host) {
    (void)host;
    return getenv("CVR_TEST_CANDIDATE") ? 1 : 0;
}

static int32_t plain_device_info(const cvr_host *host, int64_t index, cvr_device_info *out, cvr_error *err) {
    const char *is = getenv("CVR_TEST_CANDIDATE");
    (void)host, (void)index, (void)err;
    *out = *host_info();
    if (is && strcmp(is, "software") == 0) out->features = "f16 software";
    return CVR_OK;
}

static int64_t counted_device_count(const cvr_host *host) {
    (void)host;
    return 2;
}

static int32_t counted_device_info(const cvr_host *host, int64_t index, cvr_device_info *out, cvr_error *err) {
    (void)host, (void)index, (void)err;
    *out = *host_info();
    return CVR_OK;
}

static int32_t counted_open(const cvr_host *host, int64_t index, const void *attrs, void **self, cvr_error *err) {
    (void)index, (void)attrs, (void)err;
    counts.opens++;
    *self = (void *)(uintptr_t)host;
    return CVR_OK;
}

static void counted_close(void *self) {
    (void)self;
}

static void counted_describe(const void *self, char *buf, uint64_t size) {
    (void)self;
    (void)snprintf(buf, size, "%llu %llu %llu %llu %llu %llu %llu", (unsigned long long)counts.opens,
                   (unsigned long long)counts.blocks, (unsigned long long)counts.recordings,
                   (unsigned long long)counts.uploads, (unsigned long long)counts.bytes,
                   (unsigned long long)counts.downloads, (unsigned long long)counts.replays);
}

static int32_t counted_alloc(void *self, uint64_t bytes, void **address, cvr_error *err) {
    (void)self;
    counts.blocks++;
    *address = aligned_alloc(64, (bytes + 63) / 64 * 64);
    if (!*address) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    memset(*address, 0xFF, bytes); /* NaN: what nobody wrote shows */
    return CVR_OK;
}

static void counted_free(void *self, void *address) {
    (void)self;
    free(address);
}

static int32_t counted_memory(void *self, uint64_t *used, uint64_t *available, cvr_error *err) {
    (void)self, (void)err;
    *used = 0;
    *available = host_info()->memory;
    return CVR_OK;
}

static int32_t counted_copy(void *self, const cvr_transfer *t, uint64_t *ticket, cvr_error *err) {
    (void)self, (void)err;
    memcpy(t->to, t->from, t->bytes);
    *ticket = 0;
    return CVR_OK;
}

static int32_t counted_upload(void *self, const cvr_transfer *t, uint64_t *ticket, cvr_error *err) {
    counts.uploads++;
    counts.bytes += t->bytes;
    return counted_copy(self, t, ticket, err);
}

static int32_t counted_download(void *self, const cvr_transfer *t, uint64_t *ticket, cvr_error *err) {
    counts.downloads++;
    return counted_copy(self, t, ticket, err);
}

static int32_t counted_record(void *self, const cvr_record_request *r, void **recording, cvr_error *err) {
    counts.recordings++;
    return host_record(self, r, recording, err);
}

static int32_t counted_replay(void *self, void *recording, uint64_t after, uint64_t *ticket, cvr_error *err) {
    (void)self, (void)after;
    counts.replays++;
    *ticket = 0;
    return host_replay(recording, "counted", err);
}

static void counted_discard(void *self, void *recording) {
    host_discard(self, recording);
}

static const cvr_device_info *counted_info(const void *self) {
    (void)self;
    return host_info();
}

static int32_t counted_wait(void *self, uint64_t ticket, cvr_error *err) {
    (void)self, (void)ticket, (void)err;
    return CVR_OK;
}

static const char *const counted_runs[] = {"cpu"}, *const counted_payloads[] = {CVR_PAYLOAD_CPU_FN};

static const cvr_backend_desc counted_backend = {.struct_size = sizeof counted_backend,
                                                 .name = "counted",
                                                 .doc = "counts what is asked of it, for tests",
                                                 .flags = CVR_BACKEND_TEST,
                                                 .n_runs = 1,
                                                 .runs = counted_runs,
                                                 .payloads = counted_payloads,
                                                 .n_payloads = 1,
                                                 .device_count = counted_device_count,
                                                 .device_info = counted_device_info,
                                                 .open = counted_open,
                                                 .close = counted_close,
                                                 .describe = counted_describe,
                                                 .info = counted_info,
                                                 .alloc = counted_alloc,
                                                 .memory = counted_memory,
                                                 .free = counted_free,
                                                 .upload = counted_upload,
                                                 .download = counted_download,
                                                 .copy = counted_copy,
                                                 .record = counted_record,
                                                 .replay = counted_replay,
                                                 .discard = counted_discard,
                                                 .wait = counted_wait};

/* ---- an op that is the host's by nature ---- */

/* y = x + 1 */
static int32_t host_infer(const cvr_infer_args *a, cvr_error *err) {
    (void)err;
    *a->outputs[0] = *a->inputs[0];
    return CVR_OK;
}

static int32_t host_run(const cvr_kernel_args *a, cvr_error *err) {
    const cvr_tensor *x = a->inputs[0];
    if (a->device) return cvr_fail(err, CVR_ERR_PLUGIN, "the host is told of a device");
    for (int64_t i = 0; i < cvr_numel(x->rank, x->shape); i++)
        ((float *)a->outputs[0]->data)[i] = ((const float *)x->data)[i] + 1;
    return CVR_OK;
}

static const cvr_op_desc host_op = {.struct_size = sizeof host_op,
                                    .name = "test.host_op",
                                    .version = 1,
                                    .flags = CVR_OP_HOST | CVR_OP_ORDER_FREE,
                                    .min_inputs = 1,
                                    .max_inputs = 1,
                                    .n_outputs = 1,
                                    .infer = host_infer,
                                    .doc = "y = x + 1, on the host by nature"};
static const cvr_cpu_fn host_fn = {sizeof host_fn, host_run};
static const cvr_kernel_desc host_kernel = {.struct_size = sizeof host_kernel,
                                            .op = "test.host_op",
                                            .backend = "reference",
                                            .payload_kind = CVR_PAYLOAD_CPU_FN,
                                            .payload = &host_fn,
                                            .op_version = 1,
                                            .flags = CVR_KERNEL_DETERMINISTIC | CVR_KERNEL_RECORDABLE};

static int32_t counted_load(const cvr_host *host, const cvr_registrar *r, cvr_error *err) {
    static const char *const nobody[] = {"counted_host"};
    cvr_backend_desc left = counted_backend;
    (void)host;
    left.name = "counted_host";
    left.runs = nobody;
    cvr_backend_desc plain = counted_backend;
    plain.name = "counted_plain";
    plain.flags = 0;
    plain.device_count = plain_device_count;
    plain.device_info = plain_device_info;
    CVR_TRY(r->add(r, CVR_KIND_BACKEND, &plain, err));
    CVR_TRY(r->add(r, CVR_KIND_BACKEND, &counted_backend, err));
    CVR_TRY(r->add(r, CVR_KIND_OP, &host_op, err));
    CVR_TRY(r->add(r, CVR_KIND_KERNEL, &host_kernel, err));
    return r->add(r, CVR_KIND_BACKEND, &left, err);
}

CVR_DEFINE_PLUGIN("test_counted", "0.1.0", "", counted_load)
