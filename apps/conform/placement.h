/*
 * Where a backend runs the ops: each node that is built is planned for the device once more, alone, and what it becomes
 * there is looked at. So it is the op that is named whose meaning does not stay on the device, however much stands
 * around it in the program.
 */
#ifndef CVR_CONFORM_PLACEMENT_H
#define CVR_CONFORM_PLACEMENT_H

#include "conform.h"
#include <cvr/program.h>

typedef struct placement_probe {
    conform_board *board;
    cvr_plugins *plugins;
    cvr_device *device;
    const cvr_threadpool *pool;
    const char *wanted; /* patterns of names; NULL: all */
    bool met;           /* a node of an op that is wanted was met since this was set to false */
} placement_probe;

/* What is said of an op on the backend under test; made at the first call. */
conform_op *placement_op(conform_board *b, const cvr_op_desc *op);
/* All nodes of a graph; `built` of a case_machine, `ctx` is the probe. */
void placement_look(void *ctx, const cvr_graph *g);
/* One op on inputs of these types, NULL where absent. */
void placement_try(placement_probe *p, const cvr_op_desc *op, const void *attrs, uint64_t attrs_size,
                   const cvr_type *const *inputs, uint32_t n_inputs);
/* Whether a name is one of "relu,conv2d*". */
bool placement_wants(const char *patterns, const char *name);

#endif
