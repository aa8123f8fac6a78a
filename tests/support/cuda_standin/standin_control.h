/*
 * What a test tells the stand-in for libcuda.so.1, and learns of it: the exported symbol `cuda_standin`. For programs
 * that do not link it, the environment variable CUDA_STANDIN says the same: "fail_call=12 fail_with=719
 * memory=1000000".
 */
#ifndef STANDIN_CONTROL_H
#define STANDIN_CONTROL_H

#include <stdint.h>

typedef struct cuda_standin_control {
    uint64_t devices;        /* that there are; 1 */
    uint64_t version;        /* of CUDA that the driver is of: 13000; it lacks what came later. 0: it is a stub */
    uint64_t arch;           /* 90: compute capability 9.0 */
    uint64_t memory;         /* bytes of a device; 4 GiB */
    uint64_t fail_call;      /* the number of the call that fails; 0: none */
    uint64_t fail_with;      /* its CUresult. One after which a device is lost makes all later calls fail, too */
    uint64_t fail_launch;    /* the number of the kernel that fails when it runs, whose error comes with a later call */
    uint64_t refuse_capture; /* 1: no stream can be captured */
    uint64_t idle;           /* 1: kernels do nothing */
    uint64_t tell;           /* 1: what was counted is told as the process ends */
    /* Counted; to be set to 0 by whoever counts. */
    uint64_t calls, launches, graphs, captures, direct_uploads, staged_uploads;
    uint64_t waits;  /* for an event of something that was not done yet */
    uint64_t alive;  /* blocks of memory, streams, events, graphs and modules that nobody has freed */
    char failed[64]; /* the call that failed */
} cuda_standin_control;

#endif
