/* From launches to commands. See cuda_recording.h. */
#include "../host/host_backend.h"
#include "../host/host_recorder.h"
#include "cuda_recording.h"

/* The recorder's context: the recording, and the launch whose kernel records now. */
typedef struct recorder {
    cuda_recording *r;
    const cvr_launch *launch;
    uint64_t index;
} recorder;

static int32_t add_command(const recorder *c, const cuda_command *command, cvr_error *err) {
    cuda_recording *r = c->r;
    cuda_command *more = (cuda_command *)host_grow(r->d->host, r->commands, r->n, &r->capacity, sizeof *more);
    if (!more) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    r->commands = more;
    more[r->n] = *command;
    more[r->n++].launch = c->index;
    return CVR_OK;
}

/* ---- dispatches ---- */

static int32_t add_argument(cuda_recording *r, const cvr_dispatch *d, const cuda_function *f, uint64_t *at,
                            cvr_error *err) {
    const uint64_t bytes = (f->argument + 15) / 16 * 16;
    uint8_t *more = (uint8_t *)host_grow_by(r->d->host, r->arguments, r->n_arguments, bytes, &r->arguments_capacity, 1);
    if (!more && bytes) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    r->arguments = more;
    CVR_TRY(cuda_argument_fill(d, f, r->arguments + r->n_arguments, bytes, err));
    *at = r->n_arguments;
    r->n_arguments += bytes;
    return CVR_OK;
}

static int32_t in_block(const void *device, uint64_t address) {
    return cuda_find((const cuda_device *)device, (const void *)(uintptr_t)address, 1) != NULL;
}

static int32_t on_dispatch(const cvr_recorder *table, const cvr_dispatch *d, cvr_error *err) {
    const recorder *c = (const recorder *)table->ctx;
    cuda_command command = {.kind = CUDA_DISPATCH};
    cuda_function f;
    CVR_TRY(cuda_check_threads(d, err));
    if (c->r->d->keys.check) CVR_TRY(host_check_addresses("cuda_check", c->launch, d, c->r->d, in_block, err));
    CVR_TRY(cuda_modules_get(c->r->d->modules, d->code, d->entry, d->shared_bytes, &f, err));
    CVR_TRY(add_argument(c->r, d, &f, &command.argument, err));
    command.function = f.handle;
    command.shared = d->shared_bytes;
    memcpy(command.groups, d->groups, sizeof d->groups);
    memcpy(command.threads, d->threads, sizeof d->threads);
    return add_command(c, &command, err);
}

/* ---- fills, copies ---- */

static int32_t on_fill(const cvr_recorder *table, void *to, uint64_t bytes, uint32_t word, cvr_error *err) {
    const recorder *c = (const recorder *)table->ctx;
    const cuda_command command = {.kind = CUDA_FILL, .word = word, .to = (CUdeviceptr)(uintptr_t)to, .bytes = bytes};
    return add_command(c, &command, err);
}

static int32_t on_copy(const cvr_recorder *table, void *to, const void *from, uint64_t bytes, cvr_error *err) {
    const recorder *c = (const recorder *)table->ctx;
    const cuda_command command = {
        .kind = CUDA_COPY, .to = (CUdeviceptr)(uintptr_t)to, .from = (CUdeviceptr)(uintptr_t)from, .bytes = bytes};
    return add_command(c, &command, err);
}

/* ---- all launches ---- */

static int32_t record_call(const recorder *c, cvr_error *err) {
    const cvr_kernel_desc *k = c->launch->kernel;
    const void *payload = c->launch->flags & CVR_LAUNCH_PREPARES ? k->prepare : k->payload;
    const cuda_command command = {.kind = CUDA_CALL, .call = (const cvr_cuda_launch *)payload};
    if (!command.call || command.call->struct_size < sizeof *command.call || !command.call->launch)
        return cvr_fail(err, CVR_ERR_PLUGIN, "the payload of kernel %s/%s is no cvr_cuda_launch", k->backend, k->op);
    return add_command(c, &command, err);
}

static int32_t record_launch(const recorder *c, const cvr_recorder *table, cvr_error *err) {
    if (strcmp(c->launch->kernel->payload_kind, CVR_PAYLOAD_CUDA_LAUNCH) != 0)
        return host_record_code(c->r->d->host, c->launch, table, "cuda", err);
    const int32_t status = record_call(c, err);
    return status == CVR_OK ? CVR_OK : host_launch_failed(c->launch, "cuda", status, err);
}

static int32_t record_all(cuda_recording *r, cvr_error *err) {
    recorder c = {.r = r};
    const cvr_recorder table = {.struct_size = sizeof table,
                                .ctx = &c,
                                .device = &r->d->physical.info,
                                .dispatch = on_dispatch,
                                .fill = on_fill,
                                .copy = on_copy};
    for (c.index = 0; c.index < r->n_launches; c.index++) {
        c.launch = r->launches[c.index];
        CVR_TRY(record_launch(&c, &table, err));
    }
    return CVR_OK;
}

int32_t cuda_record(cuda_device *d, const cvr_record_request *request, void **recording, cvr_error *err) {
    CVR_TRY(cuda_enter(d, err));
    cuda_recording *r = (cuda_recording *)d->host->alloc(d->host, sizeof *r, 64);
    if (!r) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    *r = (cuda_recording){.d = d, .launches = request->launches, .n_launches = request->n_launches, .id = request->id};
    r->profiler = (const cvr_profiler *)d->host->get(d->host, CVR_SERVICE_PROFILER);
    r->service = (const cvr_launch_service *)d->host->get(d->host, CVR_SERVICE_LAUNCHES);
    const int32_t status = record_all(r, err);
    if (status != CVR_OK) cuda_discard(d, r);
    *recording = status == CVR_OK ? r : NULL;
    return status;
}

void cuda_discard(cuda_device *d, void *recording) {
    cuda_recording *r = (cuda_recording *)recording;
    (void)d->cu->CtxSetCurrent(d->context);
    (void)cuda_is_done(d, r->last); /* so that no message names its nodes any more */
    d->lanes[CUDA_MAIN].begun = 0;
    if (r->graph) (void)d->cu->GraphExecDestroy(r->graph);
    cuda_times_discard(r);
    d->host->free(d->host, r->commands);
    d->host->free(d->host, r->arguments);
    d->host->free(d->host, r);
}
