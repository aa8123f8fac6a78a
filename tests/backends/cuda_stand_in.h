/*
 * A device that is not there, for tests of NVIDIA's libraries: its memory is the host's, device kernels run by `emu`,
 * and how long things take is decided here. cuDNN's own library plans for it as for a described H100; what a plan
 * computes is done by the device kernel of the node.
 */
#ifndef CVR_TEST_CUDA_STAND_IN_H
#define CVR_TEST_CUDA_STAND_IN_H

#include "cudnn_case.h"

typedef struct stand_in {
    cuda_lab lab;
    cvr_device_info info;
    /* what happens: */
    double own_seconds;     /* of the device kernel; plans take 1 ms, 2 ms, ... in the order of their first run */
    uint32_t wrong_plans;   /* so many of the first plans give one number that is off */
    uint32_t failing_plans; /* so many of the first ones do not run */
    int32_t run_status;     /* what all runs give in place of running; CVR_OK: they run */
    uint64_t alloc_most;    /* a larger block is refused; 0: none */
    cudnnStatus_t create_status;
    /* what happened: */
    uint32_t runs, executions, plans, made; /* lab->run, cuDNN's execute, plans that ran, descriptors finished */
    int64_t blocks;                         /* that are out */
} stand_in;

extern stand_in stand;

/* The node that plans compute from now on. */
void stand_in_computes(const conv_node *n);

/* Takes cuDNN's place, as a new device; and ends. */
void stand_in_begin(void);
void stand_in_end(void);

#endif
