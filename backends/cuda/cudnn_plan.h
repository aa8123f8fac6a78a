/* Plans of a graph: the ways that cuDNN knows to compute it on a device, without those that a training run cannot use.
 */
#ifndef CUDNN_PLAN_H
#define CUDNN_PLAN_H

#include "cudnn_graph.h"
#include "library.h"

#define CUDNN_COMPILED 2u

typedef struct cudnn_plan {
    cudnn_owned owned;
    cudnnBackendDescriptor_t descriptor; /* of kind EXECUTION_PLAN */
    uint64_t workspace;                  /* bytes */
    uint32_t notes;                      /* bit i: cuDNN's numerical note i (cudnnBackendNumericalNote_t) */
    uint32_t compiles;                   /* 1: cuDNN compiles it at run time */
    char name[LIBRARY_NAME];             /* "engine 62 2=3 5=1": the engine's number, knobs and their values */
} cudnn_plan;

typedef struct cudnn_plans {
    cudnn_plan list[LIBRARY_CANDIDATES]; /* best first, as cuDNN's heuristics say */
    uint32_t n;
    uint32_t refused;            /* how many ways were left out */
    uint32_t compiled, reserved; /* how many cuDNN was asked to compile */
    char reason[LIBRARY_NAME];
} cudnn_plans;

/*
 * Left out are plans that are not deterministic, that add up in less than f32, that want more workspace than `most`
 * bytes, and, of a graph in f32, those that round the operands: to less than tf32 always, to tf32 unless `tf32` is set.
 * At most `room` are made, and of those that cuDNN compiles, which takes it a second or more, CUDNN_COMPILED.
 * CVR_ERR_UNSUPPORTED where cuDNN refuses the graph itself.
 */
typedef struct cudnn_wish {
    uint64_t most;
    const char *only; /* the one that is wanted, by its name; NULL: all */
    uint32_t room;    /* LIBRARY_CANDIDATES, at most */
    int tf32, is_f32;
} cudnn_wish;
int32_t cudnn_plans_make(const cudnn_target *t, const cudnn_graph *g, const cudnn_wish *wish, cudnn_plans *out,
                         cvr_error *err);

void cudnn_plan_free(const cudnn_target *t, cudnn_plan *p);

/* Enqueues a plan on `stream`; addresses[i] is where tensor i of its graph lies, not looked at where it lies nowhere.
 */
int32_t cudnn_plan_enqueue(const cudnn_target *t, const cudnn_plan *p, const cudnn_graph *g, void *const *addresses,
                           void *workspace, void *stream, cvr_error *err);

#endif
