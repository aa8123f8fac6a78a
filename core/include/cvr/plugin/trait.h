/*
 * Traits: what an op can say of itself beyond its shapes and its gradient. Whoever wants to know asks the op for a
 * trait by name (cvr_op_trait) and gets a struct that the name stands for, or NULL. The names here are those that the
 * core and the plugins beside it ask for; a pass or an exporter may ask for names of its own, "acme.layout/1", of which
 * the core has never heard: it hands them through. A name ends in a version; another meaning is another name.
 *
 * An op with several traits:
 *     CVR_DEFINE_TRAITS(swish_traits, {CVR_TRAIT_RECOMPUTE, &cvr_recompute_itself}, {CVR_TRAIT_COUNTS, &counts});
 *     static const cvr_op_desc swish = {..., .trait = swish_traits};
 * The structs live as long as the plugin's code, which is never unmapped.
 */
#ifndef CVR_PLUGIN_TRAIT_H
#define CVR_PLUGIN_TRAIT_H

#include "op.h"

#ifdef __cplusplus
extern "C" {
#endif

/* The op's struct for a trait, or NULL: it says nothing of that. */
static inline const void *cvr_op_trait(const cvr_op_desc *op, const char *name) {
    return op->trait ? op->trait(name) : NULL;
}

/* ---- "cvr.trait.precision/1" ---- */

/*
 * The op may stand in a program of low precision, where activations are bf16. An op that does not say so gets its
 * inputs cast to f32, and output 0 is cast back. CVR_OP_ORDER_FREE and CVR_OP_ALIAS imply this trait, and that output 0
 * follows.
 */
#define CVR_TRAIT_PRECISION "cvr.trait.precision/1"
typedef struct cvr_precision_trait {
    uint64_t struct_size;
    uint64_t follows; /* bit i: output i, f32 by `infer`, has the activations' element type */
} cvr_precision_trait;

/* ---- "cvr.trait.recompute/1" ---- */

/*
 * Output 0 can be made once more in the backward pass, in place of keeping it until then, and has the same bits. `emit`
 * adds nodes that make it, from the inputs that the op does not mutate and the other outputs (`outputs` has them; [0]
 * is to be set). NULL: the op itself runs once more, which costs its `flops` and to read its inputs and write its
 * outputs; not for an op that mutates.
 */
#define CVR_TRAIT_RECOMPUTE "cvr.trait.recompute/1"
typedef struct cvr_recompute_trait {
    uint64_t struct_size;
    int32_t (*emit)(const cvr_builder *b, cvr_decompose_args *a, cvr_error *err);
} cvr_recompute_trait;

/* ---- "cvr.trait.multi_tensor/1" ---- */

/*
 * For an update of one parameter (inputs, no outputs): `op` does in one node what several nodes of this one do that
 * have equal attributes. It has these attributes, too. Its inputs are those that `shared` names, which must be the same
 * value in all the nodes; then the other inputs of the first node, of the second, and so on, CVR_NONE for one that is
 * absent. It takes as many nodes as fit into CVR_MAX_IO inputs.
 */
#define CVR_TRAIT_MULTI_TENSOR "cvr.trait.multi_tensor/1"
typedef struct cvr_multi_tensor_trait {
    uint64_t struct_size;
    const char *op;
    uint64_t shared; /* bit i: input i */
} cvr_multi_tensor_trait;

/* ---- "cvr.trait.column_sum/1" ---- */

/* Output 0 (C) is the sum of input 0, the only one, over all elements that lie C apart in memory: a bias's gradient. */
#define CVR_TRAIT_COLUMN_SUM "cvr.trait.column_sum/1"
typedef struct cvr_column_sum_trait {
    uint64_t struct_size;
} cvr_column_sum_trait;

/* ---- "cvr.trait.counts/1" ---- */

/*
 * The op may have inputs that are padded along an axis (cvr_builder.counts): the entries of its outputs that count do
 * not depend on what padding holds. Axes correspond as in broadcasting, from the last: where the input is padded along
 * its axis k from the end, so are the outputs that `padded` names; no other output has padding. Several padded inputs
 * must have the same counts, and along the same axis where an output is padded.
 */
#define CVR_TRAIT_COUNTS "cvr.trait.counts/1"
typedef struct cvr_counts_trait {
    uint64_t struct_size;
    uint64_t honours; /* bit i: input i may be padded */
    uint64_t padded;  /* bit i: output i then is, too */
} cvr_counts_trait;

/* ---- "cvr.trait.int8/1" ---- */

/* What the op becomes in a quantised network (ops/quant.h), where its activations are u8. `op` does the same on
 * integers: its attributes are a cvr_requant and behind it this op's own; its inputs are this op's, with the scales of
 * the weight's rows, f32 (O), behind the weight. It gives what this op's output 0 is, as u8; the op must not be used
 * for its other outputs. `op` NULL: this op itself takes u8. */
#define CVR_TRAIT_INT8 "cvr.trait.int8/1"
#define CVR_INT8_SAME 1u       /* moves or chooses elements: the output has the inputs' scale, which they share */
#define CVR_INT8_CLAMP 2u      /* a lower or upper bound: behind another op, quantising that one's output does it */
#define CVR_INT8_TRANSPOSED 4u /* the weight is (C, O, ...): its scales belong to its axis 1 */
#define CVR_INT8_SHARED 8u     /* all activations share one scale, and the output has its own */
typedef struct cvr_int8_trait {
    uint64_t struct_size;
    const char *op;
    uint64_t activations; /* bit i: input i is one */
    uint64_t weight;      /* the bit of the weight, (O, ...), i8 with a scale for each of O; 0: none */
    uint64_t bias;        /* the bit of the bias (O), i32; 0: none. It is the last input, behind the weight. */
    uint64_t flags;       /* CVR_INT8_* */
} cvr_int8_trait;

/* ---- "cvr.trait.batch_norm/1" ---- */

/*
 * Normalises channels by the batch's statistics in training, and by running ones in evaluation, where it becomes part
 * of a convolution whose only reader it is (the pass "fold_norm").
 */
#define CVR_TRAIT_BATCH_NORM "cvr.trait.batch_norm/1"
typedef struct cvr_batch_norm_trait {
    uint64_t struct_size;
    const char *evaluated; /* the op that stands in its place in the network as it is evaluated; it may be itself */
} cvr_batch_norm_trait;

/* ---- "cvr.trait.stored/1" ---- */

/* What the op makes of parameters alone is not computed before an export: the file has the parameters and the op. */
#define CVR_TRAIT_STORED "cvr.trait.stored/1"
typedef struct cvr_stored_trait {
    uint64_t struct_size;
} cvr_stored_trait;

/* ---- writing them ---- */

/* One trait of an op; for the list below, not for others to read. */
typedef struct cvr_trait {
    const char *name;
    const void *value;
} cvr_trait;

static inline const void *cvr_trait_find(const cvr_trait *list, size_t n, const char *name) {
    for (size_t i = 0; i < n; i++)
        if (strcmp(list[i].name, name) == 0) return list[i].value;
    return NULL;
}

/* Defines a function for cvr_op_desc.trait: {name, address of the struct}, ... */
#define CVR_DEFINE_TRAITS(function_, ...)                                                                              \
    static const void *function_(const char *name) {                                                                   \
        static const cvr_trait list[] = {__VA_ARGS__};                                                                 \
        return cvr_trait_find(list, sizeof list / sizeof *list, name);                                                 \
    }

static const cvr_recompute_trait cvr_recompute_itself = {sizeof(cvr_recompute_trait), NULL};
static const cvr_precision_trait cvr_precision_first = {sizeof(cvr_precision_trait), 1}; /* output 0 follows */
static const cvr_precision_trait cvr_precision_none = {sizeof(cvr_precision_trait), 0};  /* the outputs stay f32 */
static const cvr_counts_trait cvr_counts_elementwise = {sizeof(cvr_counts_trait), ~(uint64_t)0, 1};
static const cvr_column_sum_trait cvr_column_sum = {sizeof(cvr_column_sum_trait)};

/* Complete callbacks for what most ops say: output 0 follows the activations' type; that, and it may run once more; all
 * outputs stay f32; it may run once more. */
static inline const void *cvr_traits_mixed(const char *name) {
    return strcmp(name, CVR_TRAIT_PRECISION) == 0 ? &cvr_precision_first : NULL;
}

static inline const void *cvr_traits_recompute(const char *name) {
    return strcmp(name, CVR_TRAIT_RECOMPUTE) == 0 ? &cvr_recompute_itself : NULL;
}

static inline const void *cvr_traits_mixed_recompute(const char *name) {
    const void *found = cvr_traits_mixed(name);
    return found ? found : cvr_traits_recompute(name);
}

static inline const void *cvr_traits_mixed_f32(const char *name) {
    return strcmp(name, CVR_TRAIT_PRECISION) == 0 ? &cvr_precision_none : NULL;
}

/* Of ops that move u8 as they move f32, whose input 0, or all inputs, they move. */
static const cvr_int8_trait cvr_int8_moves = {sizeof(cvr_int8_trait), NULL, ~(uint64_t)0, 0, 0, CVR_INT8_SAME};
static const cvr_stored_trait cvr_stored = {sizeof(cvr_stored_trait)};

static inline const void *cvr_traits_moves(const char *name) {
    return strcmp(name, CVR_TRAIT_INT8) == 0 ? &cvr_int8_moves : NULL;
}

static inline const void *cvr_traits_stored(const char *name) {
    return strcmp(name, CVR_TRAIT_STORED) == 0 ? &cvr_stored : cvr_traits_mixed_f32(name);
}

static inline const void *cvr_traits_column_sum(const char *name) {
    return strcmp(name, CVR_TRAIT_COLUMN_SUM) == 0 ? &cvr_column_sum : cvr_traits_mixed_f32(name);
}

#ifdef __cplusplus
}
#endif

CVR_STATIC_ASSERT(sizeof(cvr_precision_trait) == 16, "cvr_precision_trait has padding");
CVR_STATIC_ASSERT(sizeof(cvr_recompute_trait) == 16, "cvr_recompute_trait has padding");
CVR_STATIC_ASSERT(sizeof(cvr_multi_tensor_trait) == 24, "cvr_multi_tensor_trait has padding");
CVR_STATIC_ASSERT(sizeof(cvr_counts_trait) == 24, "cvr_counts_trait has padding");
CVR_STATIC_ASSERT(sizeof(cvr_int8_trait) == 48, "cvr_int8_trait has padding");
CVR_STATIC_ASSERT(sizeof(cvr_batch_norm_trait) == 16, "cvr_batch_norm_trait has padding");
CVR_STATIC_ASSERT(sizeof(cvr_stored_trait) == 8, "cvr_stored_trait has padding");
CVR_STATIC_ASSERT(sizeof(cvr_column_sum_trait) == 8, "cvr_column_sum_trait has padding");

#endif
