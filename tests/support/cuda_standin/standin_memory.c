/* Device memory, which the host cannot touch, and page-locked memory of the host. See standin.h. */
#define _DEFAULT_SOURCE /* MAP_ANONYMOUS */
#include "standin.h"
#include <stdlib.h>
#include <sys/mman.h>

#define PAGE ((size_t)4096)

typedef struct block {
    struct block *next;
    uint8_t *at; /* where the bytes begin */
    size_t bytes;
    uint8_t *map; /* of device memory: pages, with one that nobody may touch at their end */
    size_t mapped;
    bool registered;
} block;

static block *device_blocks, *host_blocks;
static uint64_t used;
static uint32_t opened;

static bool is_in(const block *b, const void *at, size_t bytes) {
    const uintptr_t from = (uintptr_t)at;
    for (; b; b = b->next)
        if (from >= (uintptr_t)b->at && from - (uintptr_t)b->at <= b->bytes &&
            bytes <= b->bytes - (from - (uintptr_t)b->at))
            return true;
    return false;
}

static block *take_out(block **list, const void *at) {
    for (block **b = list; *b; b = &(*b)->next) {
        if ((*b)->at != at) continue;
        block *found = *b;
        *b = found->next;
        cuda_standin.alive--;
        return found;
    }
    return NULL;
}

static block *put_in(block **list, void *at, size_t bytes) {
    block *b = calloc(1, sizeof *b);
    if (!b) abort();
    cuda_standin.alive++;
    b->at = at;
    b->bytes = bytes;
    b->next = *list;
    *list = b;
    return b;
}

/* ---- the device's ---- */

static void protect(int how) {
    for (const block *b = device_blocks; b; b = b->next)
        if (mprotect(b->map, b->mapped - PAGE, how) != 0) abort();
}

void standin_memory_open(void) {
    if (opened++ == 0) protect(PROT_READ | PROT_WRITE);
}
void standin_memory_close(void) {
    if (--opened == 0) protect(PROT_NONE);
}
bool standin_in_device(CUdeviceptr address, size_t bytes) {
    return is_in(device_blocks, (const void *)(uintptr_t)address, bytes);
}

static CUresult alloc(CUdeviceptr *out, size_t bytes) {
    const size_t whole = (bytes + 255) / 256 * 256, mapped = (whole + PAGE - 1) / PAGE * PAGE + PAGE;
    STANDIN_CALL("cuMemAlloc");
    if (!bytes) return CUDA_ERROR_INVALID_VALUE;
    if (bytes > cuda_standin.memory || used > cuda_standin.memory - bytes) return CUDA_ERROR_OUT_OF_MEMORY;
    uint8_t *map = mmap(NULL, mapped, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (map == MAP_FAILED) return CUDA_ERROR_OUT_OF_MEMORY;
    memset(map, 0xFF, mapped - PAGE); /* NaN */
    if (mprotect(map, mapped, PROT_NONE) != 0) abort();
    block *b = put_in(&device_blocks, map + mapped - PAGE - whole, bytes);
    b->map = map;
    b->mapped = mapped;
    used += bytes;
    *out = (CUdeviceptr)(uintptr_t)b->at;
    return CUDA_SUCCESS;
}
const PFN_cuMemAlloc_v3020 standin_MemAlloc = alloc;

/* As the driver does, it waits for all that may still use it. */
static CUresult release(CUdeviceptr address) {
    const CUresult r = standin_call("cuMemFree");
    standin_finish();
    block *b = take_out(&device_blocks, (const void *)(uintptr_t)address);
    if (!b) return CUDA_ERROR_INVALID_VALUE;
    used -= b->bytes;
    (void)munmap(b->map, b->mapped);
    free(b);
    return r;
}
const PFN_cuMemFree_v3020 standin_MemFree = release;

static CUresult info(size_t *available, size_t *total) {
    STANDIN_CALL("cuMemGetInfo");
    *available = cuda_standin.memory - used;
    *total = cuda_standin.memory;
    return CUDA_SUCCESS;
}
const PFN_cuMemGetInfo_v3020 standin_MemGetInfo = info;

/* ---- the host's ---- */

bool standin_in_locked(const void *host, size_t bytes) {
    return is_in(host_blocks, host, bytes);
}

bool standin_in_registered(const void *host, size_t bytes) {
    for (const block *b = host_blocks; b; b = b->next) {
        const block alone = {.at = b->at, .bytes = b->bytes};
        if (b->registered && is_in(&alone, host, bytes)) return true;
    }
    return false;
}

static CUresult host_alloc(void **out, size_t bytes, unsigned flags) {
    STANDIN_CALL("cuMemHostAlloc");
    (void)flags;
    *out = malloc(bytes);
    if (!*out) return CUDA_ERROR_OUT_OF_MEMORY;
    put_in(&host_blocks, *out, bytes);
    return CUDA_SUCCESS;
}
const PFN_cuMemHostAlloc_v2020 standin_MemHostAlloc = host_alloc;

static CUresult host_free(void *host) {
    const CUresult r = standin_call("cuMemFreeHost");
    standin_finish();
    block *b = take_out(&host_blocks, host);
    if (!b || b->registered) return CUDA_ERROR_INVALID_VALUE;
    free(b->at);
    free(b);
    return r;
}
const PFN_cuMemFreeHost_v2000 standin_MemFreeHost = host_free;

static CUresult host_register(void *host, size_t bytes, unsigned flags) {
    STANDIN_CALL("cuMemHostRegister");
    (void)flags;
    if (!bytes || is_in(host_blocks, host, 1)) return CUDA_ERROR_HOST_MEMORY_ALREADY_REGISTERED;
    put_in(&host_blocks, host, bytes)->registered = true;
    return CUDA_SUCCESS;
}
const PFN_cuMemHostRegister_v6050 standin_MemHostRegister = host_register;

static CUresult host_unregister(void *host) {
    const CUresult r = standin_call("cuMemHostUnregister");
    standin_finish();
    block *b = take_out(&host_blocks, host);
    if (!b || !b->registered) return CUDA_ERROR_HOST_MEMORY_NOT_REGISTERED;
    free(b);
    return r;
}
const PFN_cuMemHostUnregister_v4000 standin_MemHostUnregister = host_unregister;
