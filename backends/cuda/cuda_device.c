/* Opening and closing. See cuda_device.h. */
#include "cuda_device.h"

int32_t cuda_enter(cuda_device *d, cvr_error *err) {
    if (d->lost) {
        if (err) *err = d->why;
        return d->why.code;
    }
    return cuda_result(d, d->cu->CtxSetCurrent(d->context), "cuCtxSetCurrent", err);
}

static int32_t open_all(cuda_device *d, int64_t index, cvr_error *err) {
    const cuda_driver *cu = d->cu;
    CVR_TRY(cuda_physical_read(&d->physical, cu, index, err));
    const CUresult r = cu->DevicePrimaryCtxRetain(&d->context, d->physical.handle);
    if (r != CUDA_SUCCESS) d->context = NULL;
    CVR_TRY(cuda_check(r, "cuDevicePrimaryCtxRetain", err));
    CVR_TRY(cuda_enter(d, err));
    CVR_TRY(cuda_lanes_open(d, err));
    CVR_TRY(cuda_check(cu->StreamCreate(&d->capture, CU_STREAM_NON_BLOCKING), "cuStreamCreate", err));
    CVR_TRY(cuda_modules_open(&d->modules, d, err));
    cuda_lab_open(d);
    if (!d->keys.libraries) return CVR_OK;
    CVR_TRY(cuda_libraries_open(d->host, &d->physical.info, &d->lab, err));
    d->libraries = 1;
    return CVR_OK;
}

int32_t cuda_device_open(cuda_device **out, const cvr_host *host, const cuda_driver *cu, int64_t index,
                         const cuda_keys *keys, cvr_error *err) {
    cuda_device *d = (cuda_device *)host->alloc(host, sizeof *d, 64);
    if (!d) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    memset(d, 0, sizeof *d);
    d->host = host;
    d->cu = cu;
    d->keys = *keys;
    const int32_t status = open_all(d, index, err);
    if (status != CVR_OK) cuda_device_close(d);
    *out = status == CVR_OK ? d : NULL;
    return status;
}

/* Results are not looked at: on a lost device each of these calls fails, and the driver has freed it all. */
void cuda_device_close(cuda_device *d) {
    const cuda_driver *cu = d->cu;
    if (d->context) {
        (void)cu->CtxSetCurrent(d->context);
        if (d->libraries) cuda_libraries_close(&d->physical.info);
        cuda_lanes_close(d);
        if (d->capture) (void)cu->StreamDestroy(d->capture);
        if (d->clock) (void)cu->EventDestroy(d->clock);
        cuda_modules_close(&d->modules);
        while (d->n_pins) cuda_unpin(d, (const void *)(uintptr_t)d->pins[0].address);
        while (d->n_blocks) cuda_free(d, (const void *)(uintptr_t)d->blocks[0].address);
        (void)cu->DevicePrimaryCtxRelease(d->physical.handle);
    }
    d->host->free(d->host, d->pins);
    d->host->free(d->host, d->blocks);
    d->host->free(d->host, d);
}
