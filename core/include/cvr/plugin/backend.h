/*
 * "cvr.backend/1": devices, their memory, and the running of recorded launches.
 *
 * Addresses that `alloc` gives belong to the device: the host never touches what is behind them unless the backend is
 * flagged CVR_BACKEND_HOST_VISIBLE. They allow arithmetic, and are 64-byte aligned.
 */
#ifndef CVR_PLUGIN_BACKEND_H
#define CVR_PLUGIN_BACKEND_H

#include "kernel.h"

#ifdef __cplusplus
extern "C" {
#endif

#define CVR_BACKEND_HOST_VISIBLE 1u /* device memory is host memory: host kernels may run on it without copies */
#define CVR_BACKEND_TEST 2u         /* there for tests; never chosen by itself */

/* One node, ready to run. Kernel and args stay where they are until `discard`. */
typedef struct cvr_launch {
    uint64_t struct_size;
    const cvr_kernel_desc *kernel;
    const cvr_kernel_args *args;
    const char *name; /* for messages: "c1/conv2d" */
    uint64_t index;   /* for the profiler */
} cvr_launch;

typedef struct cvr_backend_desc {
    uint64_t struct_size;
    const char *name;
    const char *doc;
    uint32_t flags;
    uint32_t n_runs;
    /* Backends whose kernels this one can launch, best first; usually just its own name. */
    const char *const *runs;
    int64_t (*device_count)(const cvr_host *host);
    int32_t (*open)(const cvr_host *host, int64_t device, void **self, cvr_error *err);
    void (*close)(void *self);
    /* One line: what the device is. */
    void (*describe)(const void *self, char *buf, uint64_t size);
    int32_t (*alloc)(void *self, uint64_t bytes, void **address, cvr_error *err);
    void (*free)(void *self, void *address);
    int32_t (*upload)(void *self, void *to, const void *from, uint64_t bytes, cvr_error *err);
    int32_t (*download)(void *self, void *to, const void *from, uint64_t bytes, cvr_error *err);
    /* Turns a list of launches into something that replays without look-ups or allocations. `id` is the profiler's. */
    int32_t (*record)(void *self, const cvr_launch *const *launches, uint64_t n, uint64_t id, void **recording,
                      cvr_error *err);
    int32_t (*replay)(void *self, void *recording, cvr_error *err);
    void (*discard)(void *self, void *recording);
    /* Waits until all that was replayed is done. */
    int32_t (*sync)(void *self, cvr_error *err);
} cvr_backend_desc;

#ifdef __cplusplus
}
#endif

CVR_STATIC_ASSERT(sizeof(cvr_launch) == 40, "cvr_launch has padding");
CVR_STATIC_ASSERT(sizeof(cvr_backend_desc) == 136, "cvr_backend_desc has padding");

#endif
