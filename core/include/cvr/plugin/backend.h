/*
 * "cvr.backend/1": devices, their memory, and the running of recorded launches.
 *
 * Addresses that `alloc` gives belong to the device: the host never touches what is behind them unless the backend is
 * flagged CVR_BACKEND_HOST_VISIBLE. They allow arithmetic, and begin at a multiple of the device's `alignment`.
 *
 * Whatever takes time gives a ticket: a number that `wait`, and what is issued later, may name, or 0 where it is done
 * already. A device has two lanes: uploads, and all else (replays, copies, downloads). Within a lane one thing is done
 * after another, in the order of the calls, and what is done includes all that was issued before it. Between the lanes
 * only `after` keeps order: a ticket of the other lane that must be done first. So the next batch may be uploaded while
 * a step runs. What fails after its call has returned fails the `wait` for its ticket and for all later ones of its
 * lane, with the node's name in the message; CVR_ERR_DEVICE where the device is gone. After a 0 the host waits for the
 * lane's ticket before. Memory that a transfer names stays as it is until then. The host calls from one thread at once.
 */
#ifndef CVR_PLUGIN_BACKEND_H
#define CVR_PLUGIN_BACKEND_H

#include "kernel.h"

#ifdef __cplusplus
extern "C" {
#endif

#define CVR_BACKEND_HOST_VISIBLE 1u /* device memory is host memory: host kernels may run on it without copies */
#define CVR_BACKEND_TEST 2u         /* there for tests; never chosen by itself */

#define CVR_RANGE_READ 1u
#define CVR_RANGE_WRITE 2u

/* Device memory that a launch touches. */
typedef struct cvr_range {
    uint64_t struct_size;
    void *address;
    uint64_t bytes;
    uint32_t flags; /* CVR_RANGE_* */
    uint32_t reserved;
} cvr_range;

/* The payload to run is `prepare` of the kernel, which fills what is prepared and no output. */
#define CVR_LAUNCH_PREPARES 1u

/*
 * One node, ready to run. Kernel, args, op and ranges stay where they are until `discard`. The ranges are all that the
 * kernel reads and writes: inputs, outputs, workspace, what is prepared. Memory is used again within a step, so two
 * launches of which one writes where the other reads or writes must not run at the same time.
 */
typedef struct cvr_launch {
    uint64_t struct_size;
    const cvr_kernel_desc *kernel;
    const cvr_kernel_args *args;
    const char *name; /* for messages: "c1/conv2d" */
    uint64_t index;   /* for the profiler */
    const cvr_op_desc *op;
    uint64_t attrs_size; /* bytes of args->attrs */
    const cvr_range *const *touches;
    uint32_t n_touches;
    uint32_t flags; /* CVR_LAUNCH_* */
} cvr_launch;

/* Launches to be replayed together, again and again. The lists stay until `discard`. */
typedef struct cvr_record_request {
    uint64_t struct_size;
    const cvr_launch *const *launches;
    uint64_t n_launches;
    uint64_t id; /* the profiler's */
    /* What of the memory that they write is read afterwards, by the host or by other recordings; the rest may stay
     * unwritten. */
    const cvr_range *const *kept;
    uint64_t n_kept;
} cvr_record_request;

typedef struct cvr_transfer {
    uint64_t struct_size;
    void *to;
    const void *from;
    uint64_t bytes;
    uint64_t after; /* a ticket of the other lane that must be done before; 0: none */
} cvr_transfer;

typedef struct cvr_backend_desc {
    uint64_t struct_size;
    const char *name;
    const char *doc;
    uint32_t flags; /* CVR_BACKEND_* */
    uint32_t n_runs;
    /* Backends whose kernels this one can launch, best first; usually just its own name. */
    const char *const *runs;
    /* The kinds of payload that `record` takes. It judges them: the core knows the size of none but CVR_PAYLOAD_CPU_FN.
     * Kernels of another kind lie dormant. */
    const char *const *payloads;
    uint32_t n_payloads;
    uint32_t n_attrs;
    const cvr_attr_desc *const *attrs; /* keys of its own in [backend]; packed for `open` */
    int64_t (*device_count)(const cvr_host *host);
    /* What a device is, without opening it. Texts live as long as the plugin. Where there are none, the error for
     * device 0 says why. */
    int32_t (*device_info)(const cvr_host *host, int64_t device, cvr_device_info *out, cvr_error *err);
    int32_t (*open)(const cvr_host *host, int64_t device, const void *attrs, void **self, cvr_error *err);
    void (*close)(void *self);
    /* One line: what the device is. */
    void (*describe)(const void *self, char *buf, uint64_t size);
    /* What the open device can do, as its settings leave it; lives until `close`. */
    const cvr_device_info *(*info)(const void *self);
    /* At most `max_allocation` bytes. */
    int32_t (*alloc)(void *self, uint64_t bytes, void **address, cvr_error *err);
    void (*free)(void *self, void *address);
    /* Bytes of the device that are in use, by whomever, and free. */
    int32_t (*memory)(void *self, uint64_t *used, uint64_t *available, cvr_error *err);
    /* From the host to the device, back, and within it. */
    int32_t (*upload)(void *self, const cvr_transfer *t, uint64_t *ticket, cvr_error *err);
    int32_t (*download)(void *self, const cvr_transfer *t, uint64_t *ticket, cvr_error *err);
    int32_t (*copy)(void *self, const cvr_transfer *t, uint64_t *ticket, cvr_error *err);
    /* Turns a list of launches into something that replays without look-ups or allocations. */
    int32_t (*record)(void *self, const cvr_record_request *r, void **recording, cvr_error *err);
    int32_t (*replay)(void *self, void *recording, uint64_t after, uint64_t *ticket, cvr_error *err);
    /* Not while it is being replayed. */
    void (*discard)(void *self, void *recording);
    /* Until that ticket is done. */
    int32_t (*wait)(void *self, uint64_t ticket, cvr_error *err);
    /* Optional. Where the host sees device memory without copies, for a node that runs on the host; until `free`. NULL
     * in *host, with CVR_OK, where it does not: the core then copies. */
    int32_t (*map)(void *self, void *address, uint64_t bytes, void **host, cvr_error *err);
    /* Optional, both or none: host memory that transfers will come from, again and again. */
    int32_t (*pin)(void *self, void *host, uint64_t bytes, cvr_error *err);
    void (*unpin)(void *self, void *host);
} cvr_backend_desc;

#ifdef __cplusplus
}
#endif

CVR_STATIC_ASSERT(sizeof(cvr_range) == 32, "cvr_range has padding");
CVR_STATIC_ASSERT(sizeof(cvr_launch) == 72, "cvr_launch has padding");
CVR_STATIC_ASSERT(sizeof(cvr_record_request) == 48, "cvr_record_request has padding");
CVR_STATIC_ASSERT(sizeof(cvr_transfer) == 40, "cvr_transfer has padding");
CVR_STATIC_ASSERT(sizeof(cvr_backend_desc) == 216, "cvr_backend_desc has padding");

#endif
