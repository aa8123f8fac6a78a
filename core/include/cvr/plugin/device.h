/*
 * Code for devices: what a kernel for a GPU hands over in place of a function of the host.
 *
 * All device payloads have one shape. The kernel's plugin has modules of device code (SPIR-V, a fatbin), and a host
 * function `record`, which runs once, when a program is bound, and issues any number of dispatches, fills and copies
 * into a recorder. What was recorded is then replayed, step after step, without coming back to the plugin. Addresses in
 * the arguments of `record` are the device's: they can be computed with and passed on, never followed.
 */
#ifndef CVR_PLUGIN_DEVICE_H
#define CVR_PLUGIN_DEVICE_H

#include "abi.h"

#ifdef __cplusplus
extern "C" {
#endif

struct cvr_kernel_args;

/* The kinds of payload of this shape: `payload` of a kernel is then a cvr_device_fn. */
#define CVR_PAYLOAD_VULKAN_SPIRV "vulkan.spirv/1" /* modules are SPIR-V words */
#define CVR_PAYLOAD_CUDA_FATBIN "cuda.fatbin/1"   /* modules are fatbins */
#define CVR_PAYLOAD_EMU_FN "emu.fn/1"             /* modules are tables of entry names and functions of the host */
#define CVR_PAYLOAD_FAR_FN "far.fn/1"             /* likewise, for the strict device of the tests */

/*
 * What a device can do, as its backend says. Texts are never NULL. It is all of a device that `supports`, `workspace`
 * and `record` may go by, so they can be tried with one that does not exist.
 */
typedef struct cvr_device_info {
    uint64_t struct_size;
    const char *name, *driver, *uuid;
    const char *features; /* words: "f16 bf16 i64 subgroup_arithmetic sm_90"; what `isa` of a kernel is looked up in */
    uint64_t memory;      /* bytes of the whole device */
    uint64_t max_allocation; /* bytes of one block, at most */
    uint64_t alignment;      /* a power of two, 64 or more; every block and every tensor begins at a multiple of it */
    uint32_t shared_bytes;   /* memory that the threads of a group share, at most */
    uint32_t group_threads;  /* threads of a group, at most */
    uint32_t subgroup_min, subgroup_max; /* threads that run in step */
    uint32_t multiprocessors;
    uint32_t arch; /* the backend's own number for a generation: 90 is sm_90; 0: none */
} cvr_device_info;

/* One module of device code, as its payload kind says. Lives as long as the plugin, that is as long as the process. */
typedef struct cvr_code {
    uint64_t struct_size;
    const void *bytes;
    uint64_t n_bytes;
} cvr_code;

#define CVR_PARAMS_MOST 4096u  /* bytes of a dispatch's parameters */
#define CVR_GROUPS_MOST 65535u /* groups along each axis of a grid: what every device can do */

/* Needs nothing of this node's dispatch (fill, copy) just before it: the two may run at the same time. */
#define CVR_DISPATCH_CONCURRENT 1u

/*
 * One launch of an entry point over a grid of groups of threads. Read when dispatch() is called, and copied where it is
 * needed later. `params` is one block without padding: addresses as uint64_t first, then 4-byte fields. `constants` are
 * known when code is specialised (Vulkan: ids 0 to n - 1); where there is no such thing they follow the params.
 */
typedef struct cvr_dispatch {
    uint64_t struct_size;
    const cvr_code *code;
    const char *entry;
    const void *params;
    uint64_t params_size; /* CVR_PARAMS_MOST, at most */
    const uint32_t *constants;
    uint32_t n_constants;
    uint32_t flags;        /* CVR_DISPATCH_* */
    uint32_t groups[3];    /* CVR_GROUPS_MOST along each axis, at most */
    uint32_t threads[3];   /* of a group */
    uint32_t shared_bytes; /* of dynamic shared memory; 0 for SPIR-V, which says itself what it shares */
    uint32_t subgroup;     /* the size that the code needs; 0: any */
} cvr_dispatch;

/*
 * Takes what a node does, in order: each dispatch, fill and copy sees what those before it wrote, unless it is flagged
 * CVR_DISPATCH_CONCURRENT. Addresses are 4-byte aligned, and so are sizes of fills.
 */
typedef struct cvr_recorder {
    uint64_t struct_size;
    void *ctx;
    const cvr_device_info *device;
    int32_t (*dispatch)(const struct cvr_recorder *r, const cvr_dispatch *d, cvr_error *err);
    int32_t (*fill)(const struct cvr_recorder *r, void *to, uint64_t bytes, uint32_t word, cvr_error *err);
    int32_t (*copy)(const struct cvr_recorder *r, void *to, const void *from, uint64_t bytes, cvr_error *err);
} cvr_recorder;

/* The payload. */
typedef struct cvr_device_fn {
    uint64_t struct_size;
    int32_t (*record)(const struct cvr_kernel_args *a, const cvr_recorder *r, cvr_error *err);
} cvr_device_fn;

#ifdef __cplusplus
}
#endif

CVR_STATIC_ASSERT(sizeof(cvr_device_info) == 88, "cvr_device_info has padding");
CVR_STATIC_ASSERT(sizeof(cvr_code) == 24, "cvr_code has padding");
CVR_STATIC_ASSERT(sizeof(cvr_dispatch) == 88, "cvr_dispatch has padding");
CVR_STATIC_ASSERT(sizeof(cvr_recorder) == 48, "cvr_recorder has padding");
CVR_STATIC_ASSERT(sizeof(cvr_device_fn) == 16, "cvr_device_fn has padding");

#endif
