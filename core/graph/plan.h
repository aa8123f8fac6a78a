/* A plan: which kernel runs each node, and where each value lies. Made by plan.c, run by program.c. */
#ifndef CVR_PLAN_H
#define CVR_PLAN_H

#include "ir.h"

/* A block of memory: one value, or several that share it (views, in-place results), or a workspace. It lies in one of
 * the device's blocks, `arena`, of which there are as many as its max_allocation makes necessary. */
typedef struct plan_block {
    uint64_t bytes, offset;
    size_t arena;
    size_t first, last; /* first and last node, inclusive, that need it */
} plan_block;

typedef struct plan_node {
    const ir_node *node;
    const cvr_kernel_desc *kernel; /* NULL: a view, nothing runs */
    bool on_host;                  /* with copies, because the device cannot */
    char *fallback;                /* why the backend has no kernel; NULL: it has */
    char *why;                     /* reasons, where the kernel is not the device's own */
    uint64_t workspace;
    int64_t workspace_block;
    cvr_kernel_desc *preparing; /* the kernel's `prepare` as a kernel; NULL: nothing is prepared */
    uint64_t prepared;          /* bytes */
    int64_t prepared_block;
} plan_node;

typedef struct plan {
    plan_node *nodes;
    size_t n;
    int64_t *block_of; /* by value; -1: stored, or not in this program */
    int64_t scalars;   /* the block of all scalars, each at `within` times `align`; -1: there is none */
    uint32_t *within, n_scalars;
    /* Nodes from here on are not run where an output vetoes them; n: there is no such output, or what stands there
     * obeys the vetoes by itself (update_guard.c). */
    size_t updates;
    bool guarded; /* it does */
    plan_block *blocks;
    size_t n_blocks;
    uint64_t *arenas; /* bytes of each */
    size_t n_arenas;
    uint64_t align, bytes; /* of each block; of all arenas together */
} plan;

typedef struct plan_request {
    cvr_graph *graph;
    cvr_device *device;
    uint32_t n_workers;
    uint32_t fallback;
    const bool *constant; /* by value: stored, and not trained; NULL: none is */
} plan_request;

/* What a kernel is asked about a node. */
typedef struct node_signature {
    cvr_signature sig;
    cvr_tensor tensors[2 * CVR_MAX_IO];
    const cvr_tensor *pointers[2 * CVR_MAX_IO];
} node_signature;
void make_signature(node_signature *s, const plan_request *r, const ir_node *n);
/* What this kernel is to know besides: the host's threads, or the device. */
void address_signature(node_signature *s, const plan_request *r, const cvr_kernel_desc *k);
/* Whether all inputs that the kernel prepares are constant. */
bool can_prepare(const plan_request *r, const ir_node *n, const cvr_kernel_desc *k);

int32_t plan_make(plan *p, const plan_request *r, cvr_error *err);
void plan_clear(plan *p);
/* Whether the node can be replaced by the elementwise program that its op says it is. */
bool node_is_program(const cvr_graph *g, const ir_node *n);
/* Replaces nodes that are not kept, but mean something in other ops, which are then looked at in turn. `keeps` fails
 * where a node can be neither kept nor replaced. */
typedef struct rewrite rewrite;
typedef struct lowering {
    int32_t (*keeps)(const struct lowering *l, cvr_graph *g, const ir_node *n, bool *keep, cvr_error *err);
    void *ctx;
    /* Optional. Sees each node before `keeps` does; may change its inputs, and emit and keep what makes them. */
    int32_t (*inputs)(const struct lowering *l, rewrite *w, ir_node *n, cvr_error *err);
} lowering;
int32_t lower_graph(cvr_graph *g, const lowering *l, cvr_error *err);
/* What is kept is what the device has a kernel for. */
int32_t lower_for_device(cvr_graph *g, cvr_device *d, cvr_error *err);
/* The best kernel for a node on the device, or NULL with the reasons in `why`. */
int32_t resolve_kernel(const plan_request *r, const ir_node *n, const char *const *backends, uint32_t n_backends,
                       const cvr_kernel_desc **out, cvr_text *why, cvr_error *err);
/* The same for a signature of the node that is not quite its own. */
int32_t resolve_signature(const plan_request *r, const ir_node *n, node_signature *s, const char *const *backends,
                          uint32_t n_backends, const cvr_kernel_desc **out, cvr_text *why, cvr_error *err);

/* Casts that nodes of one program share (shared_casts.c). */
typedef struct shared_casts {
    cvr_device *device;
    cvr_value *of; /* by value: it as the activations' type, or CVR_NONE */
    size_t n;
} shared_casts;
/* Before a node is lowered: where the kernel that will run it CVR_KERNEL_CASTS some inputs, it reads them cast. */
int32_t shared_casts_give(shared_casts *c, rewrite *w, ir_node *n, cvr_error *err);

#endif
