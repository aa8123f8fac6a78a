/*
 * Recordings. cuda_record.c makes the list of commands of a request; cuda_replay.c puts the list on the stream, or has
 * it captured into a graph and launches that; cuda_times.c measures each launch.
 */
#ifndef CUDA_RECORDING_H
#define CUDA_RECORDING_H

#include "cuda_device.h"
#include <cvr/plugin/cuda.h>

typedef enum cuda_kind { CUDA_DISPATCH, CUDA_FILL, CUDA_COPY, CUDA_CALL } cuda_kind;

typedef struct cuda_command {
    cuda_kind kind;
    uint32_t word; /* of a fill */
    CUfunction function;
    uint64_t argument; /* where a dispatch's argument begins among those of the recording */
    uint32_t groups[3], threads[3];
    uint32_t shared, reserved;
    CUdeviceptr to, from; /* of fills and copies */
    uint64_t bytes;
    const cvr_cuda_launch *call;
    uint64_t launch; /* whose command it is: its number in the request */
} cuda_command;

/* The first replays put the commands on the stream one by one: that loads what libraries load when they are first
 * called, which a capture cannot, and a program that runs once or twice needs no graph. */
#define CUDA_REPLAYS_BEFORE_CAPTURE 2u

typedef struct cuda_recording {
    cuda_device *d;
    const cvr_launch *const *launches;
    uint64_t n_launches, id;
    const cvr_profiler *profiler;      /* NULL: none */
    const cvr_launch_service *service; /* likewise: who runs is told there */
    cuda_command *commands;
    uint64_t n, capacity;
    uint8_t *arguments; /* of all dispatches */
    uint64_t n_arguments, arguments_capacity;
    CUgraphExec graph; /* NULL: not yet, or never */
    uint32_t replays;  /* until there is one */
    int32_t refused;   /* the commands cannot be captured */
    uint64_t last;     /* ticket of the last replay */
    CUevent *stamps;   /* one before each launch, and one at the end; NULL until they are wanted */
} cuda_recording;

int32_t cuda_record(cuda_device *d, const cvr_record_request *request, void **recording, cvr_error *err);
int32_t cuda_replay(cuda_device *d, void *recording, uint64_t after, uint64_t *ticket, cvr_error *err);
void cuda_discard(cuda_device *d, void *recording);

/* Puts a command on a stream. A failure names the node. */
int32_t cuda_issue(const cuda_recording *r, const cuda_command *c, CUstream stream, cvr_error *err);
/* The first and the last node, for a message. */
cuda_note cuda_nodes(const cuda_recording *r);
/* A replay that is measured, and waited for. */
int32_t cuda_replay_timed(cuda_recording *r, uint64_t after, uint64_t *ticket, cvr_error *err);
void cuda_times_discard(cuda_recording *r);

#endif
