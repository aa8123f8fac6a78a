/*
 * "cvr.pass/1": rewrites a graph. A pass goes through the nodes in their order and keeps each, or leaves it out and
 * puts others in its place, by the same builder that layers use. It knows ops by their names and its own; which kernels
 * a backend has is not its business: a fused op says by `decompose` what it means where there is no kernel for it.
 */
#ifndef CVR_PLUGIN_PASS_H
#define CVR_PLUGIN_PASS_H

#include "graph.h"
#include "host.h"
#include "op.h"

#ifdef __cplusplus
extern "C" {
#endif

/* When a pass runs. */
/* clang-format off */
#define CVR_PASS_NETWORK 1u /* on the network and its loss, before gradients: what is fused here has its own gradient */
#define CVR_PASS_STEP 2u    /* on all that will run: in training, gradients and updates are there */
/* clang-format on */

/* Does not run by `backend.passes = auto`; a recipe has to name it: `auto, acme.watch(limit=3)`. */
#define CVR_PASS_OPT_IN 1u

/* One node of the graph as it was. `outputs` are values; one that the node has but nobody reads is there too. */
typedef struct cvr_node_view {
    uint64_t struct_size;
    const cvr_op_desc *op;
    const void *attrs;
    uint64_t attrs_size;
    const cvr_value *inputs;
    const cvr_value *outputs;
    uint32_t n_inputs;
    uint32_t n_outputs;
    uint32_t backward; /* 1: came with gradients or updates */
    uint32_t reserved;
    const char *name;  /* "layer1.0.conv1/conv2d" */
    const char *scope; /* of the layer that it belongs to: "layer1.0.conv1", or "" */
} cvr_node_view;

/* What a value is. */
#define CVR_VALUE_TEMPORARY 0u /* a node makes it */
#define CVR_VALUE_INPUT 1u     /* written before each run: pictures, targets */
#define CVR_VALUE_SCALAR 2u    /* a number that changes from step to step: lr */
#define CVR_VALUE_PARAMETER 3u /* trained, or frozen: `flags` */
#define CVR_VALUE_BUFFER 4u    /* not trained, saved with the weights: running statistics */
#define CVR_VALUE_CONSTANT 5u  /* stored, follows from the settings, in no file */
#define CVR_VALUE_STATE 6u     /* an optimizer's, or a running mean of a parameter: in checkpoints */

typedef struct cvr_value_view {
    uint64_t struct_size;
    const cvr_type *type;
    const char *name; /* of an input or scalar; of a stored value as files have it: "layer1.0.conv1.weight"; else "" */
    uint32_t kind;    /* CVR_VALUE_* */
    uint32_t flags;   /* of a stored value, CVR_PARAM_*; without CVR_PARAM_TRAINABLE a parameter is frozen */
} cvr_value_view;

#define CVR_NO_NODE UINT64_MAX

/*
 * Values keep their numbers; replace() says that all who read `from` shall read `to`. Every node is given to keep() or
 * drop() once; a node that is kept reads from then on what its inputs were replaced by, and node() shows it so.
 */
typedef struct cvr_rewriter {
    uint64_t struct_size;
    void *ctx;
    const cvr_host *host;
    const cvr_builder *builder; /* what it emits stands after all that was kept or emitted so far */
    uint64_t n_nodes;
    void (*node)(const struct cvr_rewriter *r, uint64_t i, cvr_node_view *out);
    /* The node that makes a value, or CVR_NO_NODE: an input, a parameter, a value that was emitted. */
    uint64_t (*producer)(const struct cvr_rewriter *r, cvr_value v);
    /* How often the graph, as it was, reads a value; the program's outputs count. `first` (may be NULL): the node that
     * reads it first, or CVR_NO_NODE. */
    uint64_t (*uses)(const struct cvr_rewriter *r, cvr_value v, uint64_t *first);
    /* What a value was replaced by so far; itself where it was not. For the inputs of nodes to emit. */
    cvr_value (*current)(const struct cvr_rewriter *r, cvr_value v);
    int32_t (*keep)(const struct cvr_rewriter *r, uint64_t i, cvr_error *err);
    void (*drop)(const struct cvr_rewriter *r, uint64_t i);
    /* Nodes emitted from now on bear the layer's name of node i, and are backward if it is. */
    int32_t (*enter)(const struct cvr_rewriter *r, uint64_t i, cvr_error *err);
    int32_t (*replace)(const struct cvr_rewriter *r, cvr_value from, cvr_value to, cvr_error *err);
    const void *attrs; /* the pass's own settings, packed */
    void (*value)(const struct cvr_rewriter *r, cvr_value v, cvr_value_view *out);
    /* Keeps a value as an output of the program, under a name that no other has: it is computed whoever else reads it.
     */
    int32_t (*output)(const struct cvr_rewriter *r, const char *name, cvr_value v, cvr_error *err);
} cvr_rewriter;

typedef struct cvr_pass_desc {
    uint64_t struct_size;
    const char *name;
    const char *doc;
    uint32_t stage;   /* CVR_PASS_* */
    int32_t priority; /* the highest runs first; equal: in byte order of names */
    uint32_t flags;   /* CVR_PASS_OPT_IN */
    uint32_t n_attrs;
    const cvr_attr_desc *const *attrs;
    int32_t (*run)(const cvr_rewriter *r, cvr_error *err);
} cvr_pass_desc;

#ifdef __cplusplus
}
#endif

CVR_STATIC_ASSERT(sizeof(cvr_node_view) == 80, "cvr_node_view has padding");
CVR_STATIC_ASSERT(sizeof(cvr_value_view) == 32, "cvr_value_view has padding");
CVR_STATIC_ASSERT(sizeof(cvr_rewriter) == 128, "cvr_rewriter has padding");
CVR_STATIC_ASSERT(sizeof(cvr_pass_desc) == 56, "cvr_pass_desc has padding");

#endif
