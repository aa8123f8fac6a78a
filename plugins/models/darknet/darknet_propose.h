/* What the files share that make settings of a .cfg file. */
#ifndef CVR_DARKNET_PROPOSE_H
#define CVR_DARKNET_PROPOSE_H

#include "darknet.h"

typedef struct telling {
    cvr_propose_fn each;
    void *ctx;
    cvr_error *err;
    int32_t status; /* of the first that failed; nothing is told after it */
} telling;

void darknet_tell(telling *t, const char *key, const char *format, ...) CVR_PRINTF(3, 4);
/* darknet_schedule.c: [optim] and [sched]. */
void darknet_tell_updates(telling *t, const darknet_plan *p);

#endif
