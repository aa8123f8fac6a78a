/* The strict device from within: far.c has its memory, far_lanes.c does things late, far_record.c launches. */
#ifndef FAR_DEVICE_H
#define FAR_DEVICE_H

#include "../host/host_backend.h"
#include "../host/host_grow.h"

#include <cvr/plugin/far.h>
#include <pthread.h>

/* Device addresses are those of the host's memory plus this: what follows one dies, on any machine of 64 bits. */
#define FAR_OFFSET (UINT64_C(1) << 46)
#define FAR_ALIGNMENT 256u

static inline void *far_to_host(const void *address) {
    return (void *)((uintptr_t)address - FAR_OFFSET);
}

typedef struct far_block {
    void *host;
    uint64_t bytes; /* as they were asked for */
    uint64_t mapped;
} far_block;

/* Something that has been issued, and is done when somebody waits for it. */
typedef struct far_work {
    uint64_t after;
    const void *recording; /* NULL: a transfer */
    void *to;
    const void *from;
    uint64_t bytes;
} far_work;

/* Tickets of a lane are its number plus 2 for each thing issued, so that a ticket tells its lane. */
#define FAR_LANES 2u
#define FAR_UPLOADS 0u
#define FAR_MAIN 1u
typedef struct far_lane {
    far_work *work; /* what is not done yet, the oldest first */
    uint64_t n, capacity;
    uint64_t issued, done;              /* tickets */
    uint64_t failed_first, failed_last; /* tickets that failed, by `why`; 0: none */
    cvr_error why;
} far_lane;

/* Copies are made by a thread of their own, one at a time. */
typedef struct far_copier {
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    const far_work *job;
    int32_t runs, ends;
} far_copier;

typedef struct far_device {
    const cvr_host *host;
    cvr_device_info info;
    far_block *blocks;
    uint64_t n_blocks, capacity, used;
    far_lane lanes[FAR_LANES];
    far_copier copier;
    uint64_t page, calls, fail_call; /* the first call that fails, counted from 1; 0: none */
} far_device;

/* Fails the call that is to fail, and all after it. */
int32_t far_call(far_device *d, const char *what, cvr_error *err);
/* Whether `bytes` at a device address lie in one block. */
int32_t far_check_range(const far_device *d, const void *address, uint64_t bytes, const char *what, cvr_error *err);

int32_t far_lanes_open(far_device *d, cvr_error *err);
/* What has been issued and is not done never will be. */
void far_lanes_drop(far_device *d, const cvr_error *why);
void far_lanes_close(far_device *d);
int32_t far_issue(far_device *d, uint32_t lane, const far_work *w, uint64_t *ticket, cvr_error *err);
int32_t far_wait(far_device *d, uint64_t ticket, cvr_error *err);

int32_t far_record(far_device *d, const cvr_record_request *r, void **recording, cvr_error *err);
int32_t far_run(const void *recording, cvr_error *err);
void far_discard(far_device *d, void *recording);

#endif
