/*
 * Two backends for tests, `guard_cpu` and `guard_reference`, that run kernels between pages that nobody may touch:
 * every tensor and the workspace get a mapping of their own, once flush with the page behind it and once with the page
 * before it. Inputs are read-only unless the op updates them; outputs and workspace start as NaN.
 */
#define _DEFAULT_SOURCE /* MAP_ANONYMOUS */
#include "guard.h"
#include <cvr/plugin/plugin.h>
#include <stdbool.h>
#include <sys/mman.h>

#define PAGE 4096u

typedef struct device {
    const cvr_host *host;
    const guard_service *service;
} device;

typedef struct recording {
    device *d;
    const cvr_launch *const *launches;
    uint64_t n;
} recording;

/* One tensor between its guards. */
typedef struct fence {
    uint8_t *map, *data;
    uint64_t map_bytes, bytes;
} fence;

/* ---- fences ---- */

static int32_t fence_make(fence *f, uint64_t bytes, bool at_end, cvr_error *err) {
    const uint64_t inner = (bytes + PAGE - 1) / PAGE * PAGE;
    *f = (fence){.map_bytes = inner + 2 * PAGE, .bytes = bytes};
    void *map = mmap(NULL, f->map_bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (map == MAP_FAILED) return cvr_fail(err, CVR_ERR_NOMEM, "no memory for guard pages");
    f->map = (uint8_t *)map;
    f->data = f->map + PAGE + (at_end ? inner - bytes : 0);
    if (inner && mprotect(f->map + PAGE, inner, PROT_READ | PROT_WRITE) != 0)
        return cvr_fail(err, CVR_ERR_NOMEM, "cannot open a fence");
    memset(f->map + PAGE, 0xFF, inner);
    return CVR_OK;
}

static void fence_close(fence *f) {
    const uint64_t inner = f->map_bytes - 2 * PAGE;
    if (inner) (void)mprotect(f->map + PAGE, inner, PROT_READ);
}

static void fence_free(fence *f) {
    if (f->map) munmap(f->map, f->map_bytes);
}

/* ---- one launch ---- */

typedef struct fenced {
    fence fences[2 * CVR_MAX_IO + 2]; /* the last two: workspace, what is prepared */
    cvr_tensor tensors[2 * CVR_MAX_IO];
    const cvr_tensor *inputs[CVR_MAX_IO];
    cvr_tensor *outputs[CVR_MAX_IO];
    uint32_t n;
} fenced;

static uint64_t tensor_bytes(const cvr_tensor *t) {
    return (uint64_t)cvr_numel(t->rank, t->shape) * cvr_dtype_size(t->dtype);
}

/* The output that lies where input i lies: computed in place. */
static int64_t shared_output(const cvr_kernel_args *a, uint32_t i) {
    for (uint32_t k = 0; k < a->n_outputs; k++) {
        if (a->outputs[k] && a->outputs[k]->data == a->inputs[i]->data) return k;
    }
    return -1;
}

static int32_t fence_outputs(fenced *f, const cvr_kernel_args *a, bool at_end, cvr_error *err) {
    for (uint32_t i = 0; i < a->n_outputs; i++) {
        if (!a->outputs[i]) continue;
        cvr_tensor *t = &f->tensors[CVR_MAX_IO + i];
        *t = *a->outputs[i];
        CVR_TRY(fence_make(&f->fences[CVR_MAX_IO + i], tensor_bytes(t), at_end, err));
        t->data = f->fences[CVR_MAX_IO + i].data;
        f->outputs[i] = t;
    }
    return CVR_OK;
}

static int32_t fence_inputs(fenced *f, const cvr_kernel_args *a, uint64_t mutates, bool at_end, cvr_error *err) {
    for (uint32_t i = 0; i < a->n_inputs; i++) {
        if (!a->inputs[i]) continue;
        cvr_tensor *t = &f->tensors[i];
        const int64_t shared = shared_output(a, i);
        *t = *a->inputs[i];
        f->inputs[i] = t;
        if (shared >= 0) {
            t->data = f->outputs[shared]->data;
        } else {
            CVR_TRY(fence_make(&f->fences[i], tensor_bytes(t), at_end, err));
            t->data = f->fences[i].data;
        }
        if (tensor_bytes(t)) memcpy(t->data, a->inputs[i]->data, tensor_bytes(t));
        if (shared < 0 && !(mutates >> i & 1)) fence_close(&f->fences[i]);
    }
    return CVR_OK;
}

static void take_results(const fenced *f, const cvr_kernel_args *a, uint64_t mutates) {
    for (uint32_t i = 0; i < a->n_outputs; i++) {
        if (a->outputs[i]) memcpy(a->outputs[i]->data, f->outputs[i]->data, tensor_bytes(f->outputs[i]));
    }
    for (uint32_t i = 0; i < a->n_inputs; i++) {
        if (a->inputs[i] && (mutates >> i & 1))
            memcpy(a->inputs[i]->data, f->inputs[i]->data, tensor_bytes(f->inputs[i]));
    }
}

static int32_t run_fenced(const device *d, const cvr_launch *l, bool at_end, cvr_error *err) {
    const cvr_kernel_args *a = l->args;
    const uint64_t mutates = l->op->mutates;
    fenced *f = (fenced *)d->host->alloc(d->host, sizeof *f, 16);
    if (!f) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    memset(f, 0, sizeof *f);
    fence *workspace = &f->fences[2 * CVR_MAX_IO], *prepared = workspace + 1;
    int32_t status;
    CVR_TRY_OUT(fence_outputs(f, a, at_end, err));
    CVR_TRY_OUT(fence_inputs(f, a, mutates, at_end, err));
    /* A workspace is 64-byte aligned, so its end may be short of the page. */
    CVR_TRY_OUT(fence_make(workspace, (a->workspace_size + 63) / 64 * 64, at_end, err));
    CVR_TRY_OUT(fence_make(prepared, (a->prepared_size + 63) / 64 * 64, at_end, err));
    const bool prepares = (l->flags & CVR_LAUNCH_PREPARES) != 0;
    if (a->prepared && !prepares) {
        memcpy(prepared->data, a->prepared, a->prepared_size);
        fence_close(prepared);
    }
    cvr_kernel_args args = *a;
    args.inputs = f->inputs;
    args.outputs = f->outputs;
    args.workspace = a->workspace_size ? workspace->data : NULL;
    args.prepared = a->prepared ? prepared->data : NULL;
    d->service->entering(l->name, l->kernel->op, l->kernel->isa ? l->kernel->isa : "");
    CVR_TRY_OUT(((const cvr_cpu_fn *)l->kernel->payload)->run(&args, err));
    if (prepares) memcpy(a->prepared, prepared->data, a->prepared_size);
    if (!at_end && !prepares) take_results(f, a, mutates);
out:
    for (uint32_t i = 0; i < 2 * CVR_MAX_IO + 2; i++) fence_free(&f->fences[i]);
    d->host->free(d->host, f);
    return status;
}

/* ---- the backends ---- */

static int64_t guard_device_count(const cvr_host *host) {
    return host->get(host, GUARD_SERVICE) ? 1 : 0;
}

/* The least that a device may be. */
static const cvr_device_info guard_is = {.struct_size = sizeof guard_is,
                                         .name = "guard",
                                         .driver = "",
                                         .uuid = "",
                                         .features = "",
                                         .max_allocation = UINT64_MAX,
                                         .alignment = 64};

static int32_t guard_device_info(const cvr_host *host, int64_t index, cvr_device_info *out, cvr_error *err) {
    (void)host, (void)index, (void)err;
    *out = guard_is;
    return CVR_OK;
}

static const cvr_device_info *guard_info(const void *self) {
    (void)self;
    return &guard_is;
}

static int32_t guard_memory(void *self, uint64_t *used, uint64_t *available, cvr_error *err) {
    (void)self, (void)err;
    *used = *available = 0;
    return CVR_OK;
}

static int32_t guard_open(const cvr_host *host, int64_t index, const void *attrs, void **self, cvr_error *err) {
    (void)index, (void)attrs;
    device *d = (device *)host->alloc(host, sizeof *d, 16);
    if (!d) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    *d = (device){host, (const guard_service *)host->get(host, GUARD_SERVICE)};
    *self = d;
    return CVR_OK;
}

static void guard_close(void *self) {
    const device *d = (const device *)self;
    d->host->free(d->host, self);
}

static void guard_describe(const void *self, char *buf, uint64_t size) {
    (void)self;
    (void)snprintf(buf, size, "the host, between guard pages");
}

static int32_t guard_alloc(void *self, uint64_t bytes, void **address, cvr_error *err) {
    const cvr_host *host = ((device *)self)->host;
    *address = host->alloc(host, bytes, 64);
    return *address ? CVR_OK : cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
}

static void guard_free(void *self, void *address) {
    const cvr_host *host = ((device *)self)->host;
    host->free(host, address);
}

static int32_t guard_copy(void *self, const cvr_transfer *t, uint64_t *ticket, cvr_error *err) {
    (void)self, (void)err;
    memcpy(t->to, t->from, t->bytes);
    *ticket = 0;
    return CVR_OK;
}

static int32_t guard_record(void *self, const cvr_record_request *request, void **out, cvr_error *err) {
    device *d = (device *)self;
    recording *r = (recording *)d->host->alloc(d->host, sizeof *r, 16);
    if (!r) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    *r = (recording){d, request->launches, request->n_launches};
    *out = r;
    return CVR_OK;
}

static int32_t guard_replay(void *self, void *what, uint64_t after, uint64_t *ticket, cvr_error *err) {
    const recording *r = (const recording *)what;
    (void)self, (void)after;
    *ticket = 0;
    for (uint64_t i = 0; i < r->n; i++) {
        CVR_TRY(run_fenced(r->d, r->launches[i], true, err));
        CVR_TRY(run_fenced(r->d, r->launches[i], false, err));
    }
    return CVR_OK;
}

static void guard_discard(void *self, void *what) {
    const cvr_host *host = ((device *)self)->host;
    host->free(host, what);
}

static int32_t guard_wait(void *self, uint64_t ticket, cvr_error *err) {
    (void)self, (void)ticket, (void)err;
    return CVR_OK;
}

static int32_t guard_load(const cvr_host *host, const cvr_registrar *r, cvr_error *err) {
    static const char *const cpu[] = {"cpu"}, *const reference[] = {"reference"},
                             *const payloads[] = {CVR_PAYLOAD_CPU_FN};
    cvr_backend_desc b = {.struct_size = sizeof b,
                          .name = "guard_cpu",
                          .doc = "the CPU's kernels between guard pages",
                          .flags = CVR_BACKEND_HOST_VISIBLE | CVR_BACKEND_TEST,
                          .n_runs = 1,
                          .runs = cpu,
                          .payloads = payloads,
                          .n_payloads = 1,
                          .device_count = guard_device_count,
                          .device_info = guard_device_info,
                          .open = guard_open,
                          .close = guard_close,
                          .describe = guard_describe,
                          .info = guard_info,
                          .alloc = guard_alloc,
                          .memory = guard_memory,
                          .free = guard_free,
                          .upload = guard_copy,
                          .download = guard_copy,
                          .copy = guard_copy,
                          .record = guard_record,
                          .replay = guard_replay,
                          .discard = guard_discard,
                          .wait = guard_wait};
    (void)host;
    const int32_t status = r->add(r, CVR_KIND_BACKEND, &b, err);
    b.name = "guard_reference";
    b.doc = "the reference kernels between guard pages";
    b.runs = reference;
    return status == CVR_OK ? r->add(r, CVR_KIND_BACKEND, &b, err) : status;
}

static const cvr_plugin guard_plugin = {.magic = CVR_PLUGIN_MAGIC,
                                        .struct_size = sizeof guard_plugin,
                                        .abi_major = CVR_ABI_MAJOR,
                                        .abi_minor = CVR_ABI_MINOR,
                                        .min_host_minor = CVR_ABI_MINOR,
                                        .id = "guard",
                                        .version = "0.1.0",
                                        .sanitizer = CVR_SANITIZER,
                                        .requires_ = "",
                                        .load = guard_load};

const cvr_plugin *cvr_plugin_query(uint32_t host_major, uint32_t host_minor) {
    (void)host_major, (void)host_minor;
    return &guard_plugin;
}
