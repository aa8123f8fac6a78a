/*
 * Where plans of NVIDIA's libraries are tried before a program uses them: memory, copies that are waited for, and work
 * that is timed, all on the main lane. See libraries.h.
 */
#include "../host/host_recorder.h"
#include "cuda_device.h"

#define TRIED "a plan of a library that is tried (backend.cuda_libraries=no does without)"

/* ---- memory ---- */

static int32_t lab_alloc(void *ctx, uint64_t bytes, void **address, cvr_error *err) {
    return cuda_alloc((cuda_device *)ctx, bytes, address, err);
}

static void lab_free(void *ctx, void *address) {
    cuda_free((cuda_device *)ctx, address);
}

static int32_t lab_upload(void *ctx, void *to, const void *from, uint64_t bytes, cvr_error *err) {
    cuda_device *d = (cuda_device *)ctx;
    const cvr_transfer t = {sizeof t, to, from, bytes, 0};
    uint64_t ticket;
    CVR_TRY(cuda_upload(d, &t, &ticket, err));
    return cuda_wait(d, ticket, err);
}

static int32_t lab_download(void *ctx, void *to, const void *from, uint64_t bytes, cvr_error *err) {
    cuda_device *d = (cuda_device *)ctx;
    const cvr_transfer t = {sizeof t, to, from, bytes, 0};
    uint64_t ticket;
    CVR_TRY(cuda_download(d, &t, &ticket, err));
    return cuda_wait(d, ticket, err);
}

/* ---- work ---- */

static int32_t timed(cuda_device *d, CUevent stamps[2], int32_t (*enqueue)(void *, void *, cvr_error *), void *work,
                     uint32_t repeats, double *seconds, cvr_error *err) {
    const CUstream stream = d->lanes[CUDA_MAIN].stream;
    uint64_t ticket;
    float ms = 0;
    for (int i = 0; i < 2; i++)
        CVR_TRY(cuda_result(d, d->cu->EventCreate(&stamps[i], CU_EVENT_DEFAULT), "cuEventCreate", err));
    CVR_TRY(cuda_lane_begin(d, CUDA_MAIN, (cuda_note){.first = TRIED}, 0, err));
    CVR_TRY(cuda_result(d, d->cu->EventRecord(stamps[0], stream), "cuEventRecord", err));
    for (uint32_t i = 0; i < repeats; i++) CVR_TRY(enqueue(work, stream, err));
    CVR_TRY(cuda_result(d, d->cu->EventRecord(stamps[1], stream), "cuEventRecord", err));
    CVR_TRY(cuda_lane_end(d, CUDA_MAIN, &ticket, err));
    CVR_TRY(cuda_wait(d, ticket, err));
    CVR_TRY(cuda_result(d, d->cu->EventElapsedTime(&ms, stamps[0], stamps[1]), "cuEventElapsedTime", err));
    *seconds = repeats ? 1e-3 * (double)ms / repeats : 0;
    return CVR_OK;
}

static int32_t lab_run(void *ctx, int32_t (*enqueue)(void *work, void *stream, cvr_error *err), void *work,
                       uint32_t repeats, double *seconds, cvr_error *err) {
    cuda_device *d = (cuda_device *)ctx;
    CUevent stamps[2] = {NULL, NULL};
    CVR_TRY(cuda_enter(d, err));
    const int32_t status = timed(d, stamps, enqueue, work, repeats, seconds, err);
    for (int i = 0; i < 2; i++)
        if (stamps[i]) (void)d->cu->EventDestroy(stamps[i]);
    return status;
}

/* ---- a recorder that puts things on a stream at once ---- */

static int32_t now_dispatch(const cvr_recorder *table, const cvr_dispatch *dispatch, cvr_error *err) {
    cuda_device *d = (cuda_device *)table->ctx;
    cuda_function f;
    CVR_TRY(host_check_dispatch(dispatch, table->device, err));
    CVR_TRY(cuda_check_threads(dispatch, err));
    CVR_TRY(cuda_modules_get(d->modules, dispatch->code, dispatch->entry, dispatch->shared_bytes, &f, err));
    uint8_t argument[2 * CVR_PARAMS_MOST];
    CVR_TRY(cuda_argument_fill(dispatch, &f, argument, sizeof argument, err));
    void *arguments[] = {argument};
    return cuda_result(d,
                       d->cu->LaunchKernel(f.handle, dispatch->groups[0], dispatch->groups[1], dispatch->groups[2],
                                           dispatch->threads[0], dispatch->threads[1], dispatch->threads[2],
                                           dispatch->shared_bytes, d->lab_stream, arguments, NULL),
                       "cuLaunchKernel", err);
}

static int32_t now_fill(const cvr_recorder *table, void *to, uint64_t bytes, uint32_t word, cvr_error *err) {
    cuda_device *d = (cuda_device *)table->ctx;
    if (bytes % 4 || (uintptr_t)to % 4) return cvr_fail(err, CVR_ERR_PLUGIN, "a fill of what is not made of words");
    if (!bytes) return CVR_OK;
    return cuda_result(d, d->cu->MemsetD32Async((CUdeviceptr)(uintptr_t)to, word, bytes / 4, d->lab_stream),
                       "cuMemsetD32Async", err);
}

static int32_t now_copy(const cvr_recorder *table, void *to, const void *from, uint64_t bytes, cvr_error *err) {
    cuda_device *d = (cuda_device *)table->ctx;
    if (!bytes) return CVR_OK;
    return cuda_result(
        d, d->cu->MemcpyDtoDAsync((CUdeviceptr)(uintptr_t)to, (CUdeviceptr)(uintptr_t)from, bytes, d->lab_stream),
        "cuMemcpyDtoDAsync", err);
}

/* There is one, for the stream that was asked for last. */
static const cvr_recorder *lab_recorder(void *ctx, void *stream) {
    cuda_device *d = (cuda_device *)ctx;
    d->lab_stream = (CUstream)stream;
    d->lab_recorder = (cvr_recorder){.struct_size = sizeof d->lab_recorder,
                                     .ctx = d,
                                     .device = &d->physical.info,
                                     .dispatch = now_dispatch,
                                     .fill = now_fill,
                                     .copy = now_copy};
    return &d->lab_recorder;
}

void cuda_lab_open(cuda_device *d) {
    d->lab = (cuda_lab){d, lab_alloc, lab_free, lab_upload, lab_download, lab_run, lab_recorder};
}
