/* Chains of ops that become one: head -> [norm] -> [add] -> [relu, relu6 or silu], where nobody else reads what lies
 * between.
 */
#ifndef CVR_PASSES_CHAIN_H
#define CVR_PASSES_CHAIN_H

#include <cvr/plugin/ops/norm.h>
#include <cvr/plugin/plugin.h>

static inline int chain_is_op(const cvr_node_view *n, const char *name) {
    return strcmp(n->op->name, name) == 0;
}

static inline int chain_same_shape(const cvr_type *a, const cvr_type *b) {
    return a->rank == b->rank && memcmp(a->shape, b->shape, sizeof a->shape) == 0;
}

/* Node numbers; CVR_NO_NODE: not there. `last` is where all inputs are known. */
typedef struct chain {
    uint64_t head, norm, add, act, last;
    cvr_value residual;
    int64_t activation; /* CVR_ACTIVATION_* */
} chain;

typedef struct chain_rule {
    const char *head, *norm; /* ops; norm NULL: none between head and add */
    int64_t frozen;          /* 1: a norm that learns ends the chain */
    int64_t silu;            /* 1: silu is an activation, too, where nothing is added */
    /* Emits the op that stands for the chain; *out takes the place of its last output. */
    int32_t (*fuse)(const cvr_rewriter *r, const chain *c, cvr_value *out, cvr_error *err);
} chain_rule;

int32_t chain_run(const cvr_rewriter *r, const chain_rule *rule, cvr_error *err);

extern const cvr_pass_desc fuse_norm_pass, fuse_conv_pass, fuse_elementwise_pass, fuse_grads_pass, fuse_stats_pass,
    fold_norm_pass, freeze_norm_pass, fuse_dense_pass;

#endif
