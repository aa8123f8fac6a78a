/*
 * A GPU of NVIDIA's from within. cuda_device.c opens it, cuda_memory.c has its blocks, cuda_lanes.c its two lanes and
 * their tickets, cuda_transfer.c the copies, cuda_modules.c compiled code; cuda_recording.h tells of recordings.
 */
#ifndef CUDA_DEVICE_H
#define CUDA_DEVICE_H

#include "../host/host_grow.h"
#include "cuda_driver.h"
#include "libraries.h"

#define CUDA_ALIGNMENT 256u /* of every block that cuMemAlloc gives */
#define CUDA_DEVICES 16u    /* that are listed, at most */
#define CUDA_ARCH_LEAST 75u /* sm_75: what the kernels are compiled for at least */

/* The keys in [backend], in the order of cuda_attrs. */
typedef struct cuda_keys {
    int64_t replay;    /* CUDA_REPLAY_* */
    int64_t check;     /* whether addresses in parameters are looked at, and fresh memory is NaN */
    int64_t libraries; /* whether cuDNN and cuBLASLt are used */
} cuda_keys;

#define CUDA_REPLAY_GRAPH 0
#define CUDA_REPLAY_LIST 1
#define CUDA_REPLAY_EACH 2

/* ---- what a device is (cuda_physical.c) ---- */

/* Everything that is known of a device before it is opened. The texts of `info` are in here: it stays where it is. */
typedef struct cuda_physical {
    CUdevice handle;
    char name[128], driver[32], uuid[48], features[160];
    cvr_device_info info;
} cuda_physical;

/* A device that is too old for the kernels is refused. */
int32_t cuda_physical_read(cuda_physical *p, const cuda_driver *cu, int64_t index, cvr_error *err);

/* ---- lanes (cuda_lanes.c) ---- */

#define CUDA_LANES 2u
#define CUDA_UPLOADS 0u
#define CUDA_MAIN 1u
#define CUDA_EVENTS 16u /* of a lane: so many things may be under way */
#define CUDA_SLOTS 8u   /* of a lane, for transfers */

/* What was issued with a ticket, for messages. */
typedef struct cuda_note {
    const char *first, *last; /* nodes; or `first` alone says what it is */
} cuda_note;

/* A piece of staging memory for one transfer. */
typedef struct cuda_slot {
    uint64_t value; /* of the lane, when the slot is free again */
    void *to;       /* of a download: where the bytes go when they are there; NULL: nowhere */
    uint64_t bytes;
} cuda_slot;

/* Things that are done one after the other. Each has a number and an event; a ticket is number * CUDA_LANES + lane. */
typedef struct cuda_lane {
    CUstream stream;
    CUevent events[CUDA_EVENTS]; /* that of number n is events[n % CUDA_EVENTS] */
    cuda_note notes[CUDA_EVENTS];
    uint64_t issued, done; /* numbers */
    cuda_slot slots[CUDA_SLOTS];
    uint32_t next_slot;
    uint32_t begun;   /* 1 between cuda_lane_begin() and cuda_lane_end(): the note of number issued + 1 is there */
    uint8_t *staging; /* page-locked; made when it is first needed */
} cuda_lane;

typedef struct cuda_block {
    uint64_t address, bytes;
} cuda_block;

typedef struct cuda_modules cuda_modules;

typedef struct cuda_device {
    const cvr_host *host;
    const cuda_driver *cu;
    cuda_keys keys;
    cuda_physical physical;
    CUcontext context; /* the device's primary one, which libraries use as well */
    cuda_lane lanes[CUDA_LANES];
    CUstream capture;     /* where graphs are captured */
    CUevent clock;        /* time stamps count from it; */
    double clock_seconds; /* it was recorded so long after the first time stamp of all */
    cuda_modules *modules;
    cuda_block *blocks;
    uint64_t n_blocks, capacity;
    cuda_block *pins; /* host memory that is page-locked */
    uint64_t n_pins, pins_capacity;
    cuda_lab lab;
    cvr_recorder lab_recorder;
    CUstream lab_stream;
    int32_t lost, libraries; /* nothing works any more, because of `why`; NVIDIA's libraries were opened */
    cvr_error why;
} cuda_device;

int32_t cuda_device_open(cuda_device **out, const cvr_host *host, const cuda_driver *cu, int64_t index,
                         const cuda_keys *keys, cvr_error *err);
void cuda_device_close(cuda_device *d);
/* Makes the context current in the calling thread; the error that every call gives once the device is lost. */
int32_t cuda_enter(cuda_device *d, cvr_error *err);
/* CVR_OK for CUDA_SUCCESS. A result after which nothing works makes the device a lost one. */
int32_t cuda_result(cuda_device *d, CUresult r, const char *call, cvr_error *err);

/* ---- memory (cuda_memory.c) ---- */

int32_t cuda_alloc(cuda_device *d, uint64_t bytes, void **address, cvr_error *err);
void cuda_free(cuda_device *d, const void *address);
/* The block that all of these bytes are in, or NULL. */
const cuda_block *cuda_find(const cuda_device *d, const void *address, uint64_t bytes);
int32_t cuda_memory(cuda_device *d, uint64_t *used, uint64_t *available, cvr_error *err);
int32_t cuda_pin(cuda_device *d, void *host, uint64_t bytes, cvr_error *err);
void cuda_unpin(cuda_device *d, const void *host);
/* Whether all of these bytes of the host are page-locked. */
int32_t cuda_is_pinned(const cuda_device *d, const void *host, uint64_t bytes);

/* ---- lanes ---- */

int32_t cuda_lanes_open(cuda_device *d, cvr_error *err);
void cuda_lanes_close(cuda_device *d);
/* Before something is put on a lane's stream: there is an event for it, and it will come after that ticket. A call that
 * puts it there may give the error of what came before, in the same list as well, so the note is made here. */
int32_t cuda_lane_begin(cuda_device *d, uint32_t lane, cuda_note what, uint64_t after, cvr_error *err);
/* After it: its ticket. */
int32_t cuda_lane_end(cuda_device *d, uint32_t lane, uint64_t *ticket, cvr_error *err);
/* Whether a ticket is done, without waiting. */
int32_t cuda_is_done(cuda_device *d, uint64_t ticket);
int32_t cuda_wait(cuda_device *d, uint64_t ticket, cvr_error *err);

/* ---- transfers (cuda_transfer.c) ---- */

int32_t cuda_upload(cuda_device *d, const cvr_transfer *t, uint64_t *ticket, cvr_error *err);
int32_t cuda_download(cuda_device *d, const cvr_transfer *t, uint64_t *ticket, cvr_error *err);
int32_t cuda_copy(cuda_device *d, const cvr_transfer *t, uint64_t *ticket, cvr_error *err);
/* Downloads whose bytes have come go to where they belong. */
void cuda_downloads_finish(cuda_device *d);

/* ---- compiled code (cuda_modules.c) ---- */

/* An entry, loaded, and the bytes of its one argument. */
typedef struct cuda_function {
    CUfunction handle;
    uint64_t argument;
} cuda_function;

int32_t cuda_modules_open(cuda_modules **out, cuda_device *d, cvr_error *err);
void cuda_modules_close(cuda_modules **m);
/* Loads the module and the entry, unless they are loaded. `shared`: bytes of dynamic shared memory that a launch wants.
 */
int32_t cuda_modules_get(cuda_modules *m, const cvr_code *code, const char *entry, uint32_t shared, cuda_function *out,
                         cvr_error *err);
/* What CUDA limits besides what host_recorder.h looks at. */
int32_t cuda_check_threads(const cvr_dispatch *d, cvr_error *err);
/* The entry's argument, f->argument bytes of `room`: parameters, constants, and 0 for constants that are not given. */
int32_t cuda_argument_fill(const cvr_dispatch *d, const cuda_function *f, uint8_t *out, uint64_t room, cvr_error *err);
/* NULL, or what is wrong with the bytes of a fatbin, as far as its header tells. */
const char *cuda_fatbin_bad(const void *bytes, uint64_t n);

/* ---- trials of NVIDIA's libraries (cuda_lab.c) ---- */

/* Fills d->lab. */
void cuda_lab_open(cuda_device *d);

#endif
