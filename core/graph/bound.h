/* A program from within: record.c gives it memory and records its launches, program.c runs it. */
#ifndef CVR_BOUND_H
#define CVR_BOUND_H

#include "plan.h"

typedef struct bound_node {
    plan_node *plan;
    cvr_tensor tensors[2]; /* the usual few; `more` where a node has more */
    cvr_tensor *all;
    const cvr_tensor **in;
    cvr_tensor **out;
    cvr_kernel_args args;
    cvr_launch launch;
} bound_node;

typedef struct segment {
    size_t first, n; /* nodes */
    void *recording; /* NULL: one node on the host */
} segment;

struct cvr_program {
    cvr_graph *graph;
    cvr_device *device;
    const cvr_threadpool *pool;
    plan plan;
    char *arena;
    bound_node *nodes;
    const cvr_launch **launches;
    segment *segments;
    size_t n_segments;
    cvr_launch *preparing; /* what kernels prepare, recorded apart */
    const cvr_launch **prepare_launches;
    size_t n_preparing;
    void *prepare_recording;
    uint64_t prepared_at; /* store_changes() + 1; 0: not */
    bool changes_store, vetoed;
    size_t updates; /* the first segment that a veto skips; n_segments: there is none */
    char *scalars;  /* all of them as they are to be, on the host */
    bool scalars_changed;
    char *staging; /* host memory of nodes on the host */
    uint64_t staging_bytes;
    uint64_t id;
    cvr_value *slots;
    size_t n_slots;
    const char **slot_names;
};

static inline uint64_t arena_rounded(uint64_t bytes) {
    return (bytes + ARENA_ALIGN - 1) / ARENA_ALIGN * ARENA_ALIGN;
}
/* Where a value lies; a view lies where its root does. */
void *root_address(const cvr_program *p, cvr_value v);
/* Forgets recordings and addresses. */
void program_unbind(cvr_program *p);

#endif
