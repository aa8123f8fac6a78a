/* Blocks of device memory, and host memory that is page-locked. See cuda_device.h. */
#include "cuda_device.h"

static int32_t add_block(const cvr_host *host, cuda_block **blocks, uint64_t *n, uint64_t *capacity, cvr_error *err) {
    cuda_block *more = (cuda_block *)host_grow(host, *blocks, *n, capacity, sizeof *more);
    if (!more) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    *blocks = more;
    return CVR_OK;
}

static const cuda_block *find_block(const cuda_block *blocks, uint64_t n, const void *address, uint64_t bytes) {
    const uint64_t at = (uint64_t)(uintptr_t)address;
    for (uint64_t i = 0; i < n; i++) {
        const cuda_block *b = &blocks[i];
        if (at >= b->address && at - b->address <= b->bytes && bytes <= b->bytes - (at - b->address)) return b;
    }
    return NULL;
}

/* ---- the device's ---- */

static int32_t out_of_memory(cuda_device *d, uint64_t bytes, cvr_error *err) {
    size_t available = 0, total = 0;
    (void)d->cu->MemGetInfo(&available, &total);
    return cvr_fail(err, CVR_ERR_NOMEM,
                    "cuda: %s is out of memory: %.1f MB wanted, about %.1f MB of %.1f MB free; lower train.batch or "
                    "data.img_size",
                    d->physical.name, (double)bytes * 1e-6, (double)available * 1e-6, (double)total * 1e-6);
}

/* With `cuda_check`, what nobody has written reads as NaN. */
static int32_t poison(cuda_device *d, CUdeviceptr address, uint64_t bytes, cvr_error *err) {
    const CUstream stream = d->lanes[CUDA_MAIN].stream;
    if (!d->keys.check) return CVR_OK;
    CVR_TRY(cuda_result(d, d->cu->MemsetD32Async(address, UINT32_MAX, bytes / 4, stream), "cuMemsetD32Async", err));
    return cuda_result(d, d->cu->StreamSynchronize(stream), "cuStreamSynchronize", err);
}

int32_t cuda_alloc(cuda_device *d, uint64_t bytes, void **address, cvr_error *err) {
    CUdeviceptr at = 0;
    const uint64_t whole = bytes ? (bytes + 3) / 4 * 4 : 4;
    CVR_TRY(cuda_enter(d, err));
    CVR_TRY(add_block(d->host, &d->blocks, &d->n_blocks, &d->capacity, err));
    const CUresult r = d->cu->MemAlloc(&at, whole);
    if (r == CUDA_ERROR_OUT_OF_MEMORY) return out_of_memory(d, bytes, err);
    CVR_TRY(cuda_result(d, r, "cuMemAlloc", err));
    const int32_t status = poison(d, at, whole, err);
    if (status != CVR_OK) {
        (void)d->cu->MemFree(at);
        return status;
    }
    d->blocks[d->n_blocks++] = (cuda_block){at, bytes};
    *address = (void *)(uintptr_t)at;
    return CVR_OK;
}

void cuda_free(cuda_device *d, const void *address) {
    for (uint64_t i = 0; i < d->n_blocks; i++) {
        if (d->blocks[i].address != (uint64_t)(uintptr_t)address) continue;
        (void)d->cu->CtxSetCurrent(d->context);
        (void)d->cu->MemFree(d->blocks[i].address);
        d->blocks[i] = d->blocks[--d->n_blocks];
        return;
    }
}

const cuda_block *cuda_find(const cuda_device *d, const void *address, uint64_t bytes) {
    return find_block(d->blocks, d->n_blocks, address, bytes);
}

int32_t cuda_memory(cuda_device *d, uint64_t *used, uint64_t *available, cvr_error *err) {
    size_t free_bytes = 0, total = 0;
    CVR_TRY(cuda_enter(d, err));
    CVR_TRY(cuda_result(d, d->cu->MemGetInfo(&free_bytes, &total), "cuMemGetInfo", err));
    *available = free_bytes;
    *used = total - free_bytes;
    return CVR_OK;
}

/* ---- the host's ---- */

int32_t cuda_pin(cuda_device *d, void *host, uint64_t bytes, cvr_error *err) {
    CVR_TRY(cuda_enter(d, err));
    CVR_TRY(add_block(d->host, &d->pins, &d->n_pins, &d->pins_capacity, err));
    CVR_TRY(cuda_result(d, d->cu->MemHostRegister(host, bytes, 0), "cuMemHostRegister", err));
    d->pins[d->n_pins++] = (cuda_block){(uint64_t)(uintptr_t)host, bytes};
    return CVR_OK;
}

void cuda_unpin(cuda_device *d, const void *host) {
    for (uint64_t i = 0; i < d->n_pins; i++) {
        if (d->pins[i].address != (uint64_t)(uintptr_t)host) continue;
        (void)d->cu->CtxSetCurrent(d->context);
        (void)d->cu->MemHostUnregister((void *)(uintptr_t)host);
        d->pins[i] = d->pins[--d->n_pins];
        return;
    }
}

int32_t cuda_is_pinned(const cuda_device *d, const void *host, uint64_t bytes) {
    return find_block(d->pins, d->n_pins, host, bytes) != NULL;
}
