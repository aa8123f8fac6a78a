/* A case in the making: layer_case.c plans and runs what case_build.c builds. */
#ifndef CVR_CASE_RUN_H
#define CVR_CASE_RUN_H

#include "layer_case.h"

/* The layer's name in the graph: its parameters are CASE_SCOPE ".weight" and so on. */
#define CASE_SCOPE "t"

struct case_run {
    const case_machine *machine;
    cvr_store *store;
    cvr_graph *graph;
    cvr_program *program;
    cvr_arena *arena; /* guard, memory, guard */
    uint32_t n_outputs;
    cvr_value inputs[CASE_MOST_IO], outputs[CASE_MOST_IO];
};

/* The layer with its inputs and outputs, after the passes over networks; `backward`: with the gradients of all, after
 * those over steps. */
int32_t case_build(case_run *r, const layer_case *c, cvr_error *err);

#endif
