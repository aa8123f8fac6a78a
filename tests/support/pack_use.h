/*
 * Whether a kernel pack's kernels are used: without this, a pack that says no to everything would pass every test that
 * compares results, since the reference takes its place.
 */
#ifndef CVR_TEST_PACK_USE_H
#define CVR_TEST_PACK_USE_H

#include "layer_case.h"

#define PACK_MOST_OPS 256u

/* How many nodes of an op there were, and how many the pack's kernels ran. */
typedef struct op_use {
    char op[64];
    size_t all, own;
} op_use;

typedef struct pack_use {
    const case_machine *machine;
    const char *isa;    /* the pack's; "" for those that need no CPU feature: any pack of the CPU will do */
    const char *except; /* ops that the pack may leave to others, in words; NULL: none */
    bool low;
    uint32_t math; /* CVR_MATH_* */
    op_use ops[PACK_MOST_OPS];
    uint32_t n;
} pack_use;

/* The ops for which `pack`, which must be one of the machine's plugins, provides a kernel of the CPU. */
void pack_use_begin(pack_use *u, const case_machine *m, const char *pack);
/* Plans every draw of a family of tests/layers/cases, for training and for evaluation, and counts. */
void pack_use_count(pack_use *u, const char *family);
/* Expects that the pack ran at least a `share` of every op's nodes; one that no case has counts as run. */
void pack_use_expect(const pack_use *u, const char *pack, double share);

#endif
