/* What the worker does for `cvrun conform --backend` in the place of what it does for a plugin. */
#ifndef CVR_CONFORM_BACKEND_H
#define CVR_CONFORM_BACKEND_H

#include "conform_worker.h"

/* Opens the device under test as w->watched. */
int32_t backend_open(worker *w, cvr_threadpool *pool, cvr_error *err);
/* Every op and layer that is registered, and the cases that come with cvrun. */
int32_t backend_find_targets(worker *w, cvr_error *err);
/* The device's memory and transfers: the first job. */
void backend_memory_job(worker *w);
/* A case in training, in evaluation and in each element type that some kernel takes. */
int32_t backend_run(worker *w, layer_case *c, uint64_t seed, conform_row *row, cvr_error *err);
/* At the end: a line for each op that does not run on the device, or that nothing reached. */
void backend_judge(conform_board *b);

#endif
