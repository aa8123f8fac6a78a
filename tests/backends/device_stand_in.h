/*
 * A device that is not there, for tests of NVIDIA's libraries: its memory is the host's, device kernels run by `emu`,
 * and how long things take is decided here.
 */
#ifndef CVR_TEST_DEVICE_STAND_IN_H
#define CVR_TEST_DEVICE_STAND_IN_H

#include "cuda/libraries.h"

typedef struct stand_in {
    cuda_lab lab;
    cvr_device_info info;
    /* what happens: */
    double own_seconds;     /* of the device kernel; plans take 1 ms, 2 ms, ... in the order of their first run */
    uint32_t wrong_plans;   /* so many of the first plans give one number that is off */
    uint32_t failing_plans; /* so many of the first ones do not run */
    int32_t run_status;     /* what all runs give in place of running; CVR_OK: they run */
    uint32_t refuses;       /* whether a library refuses the device */
    uint32_t padding_helps; /* plans whose picture is not padded take 100 times as long */
    uint64_t alloc_most;    /* a larger block is refused; 0: none */
    /* what happened: */
    uint32_t runs, executions, plans, made; /* lab->run, plans enqueued, plans that ran, descriptors finished */
    uint32_t padded;                        /* plans enqueued whose picture is padded */
    int64_t blocks;                         /* that are out */
    double seconds;                         /* of this run; a plan that is enqueued sets it */
} stand_in;

extern stand_in stand;

/* Memory and log; blocks that are out are counted. */
extern const cvr_host case_host;
extern int64_t case_blocks;
extern char case_log[4000]; /* all lines since the device began */
extern uint32_t case_lines; /* warnings among them */
/* What the host gives as "cvr.host.tuning/1"; NULL: nothing. */
extern const cvr_tuning_service *case_tuning;

/* A new device; and its end, when all has to be given back. Its stream is &stand. */
void stand_in_begin(void);
void stand_in_end(void);

#endif
