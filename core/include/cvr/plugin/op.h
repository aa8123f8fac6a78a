/*
 * "cvr.op/1": an operation's name, attributes, shape rule and gradient. What computes it is a kernel (kernel.h).
 */
#ifndef CVR_PLUGIN_OP_H
#define CVR_PLUGIN_OP_H

#include "elementwise.h"
#include "graph.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Output 0 has the elements of input 0 in place (elementwise, any other input with axis 1 permuted alike or a scalar):
 * `order` passes through. */
#define CVR_OP_ORDER_FREE 1u
/* The op's `infer` reads `order` of its inputs and sets it on its outputs. */
#define CVR_OP_ORDER_AWARE 2u
/* Output 0 is input 0's memory under another shape: no kernel runs. Implies that `infer` sets `order`. */
#define CVR_OP_ALIAS 4u
/*
 * The op may stand in a program of low precision, where activations are bf16: `follows` says which outputs then have
 * the activations' element type. ORDER_FREE and ALIAS imply this flag, and that output 0 follows. An op without it gets
 * its inputs cast to f32, and output 0 is cast back.
 */
#define CVR_OP_LOW_PRECISION 8u
/* The op itself may run once more in the backward pass, in place of keeping output 0 until then, and gives the same
 * bits. What that costs is its `flops`, and to read its inputs and write its outputs. Not with `mutates`. */
#define CVR_OP_AGAIN 16u
/* Output 0 (C) is the sum of input 0, the only one, over all elements that lie C apart in memory: a bias's gradient. */
#define CVR_OP_COLUMN_SUM 32u

/* `inputs[i]` is NULL where input i is absent. `infer` fills every output (dtype, rank, shape; `order` if the flags say
 * so). A low-precision input is shown as f32: shape rules need not know of precisions. */
typedef struct cvr_infer_args {
    uint64_t struct_size;
    const void *attrs;
    const cvr_type *const *inputs;
    cvr_type *const *outputs;
    uint32_t n_inputs;
    uint32_t n_outputs;
} cvr_infer_args;

/*
 * `grad_outputs[i]` is CVR_NONE where no gradient reaches output i. `needs[i]` is 1 where input i wants one. The
 * callback emits nodes and sets `grad_inputs[i]` (CVR_NONE at entry; leave it so where the gradient is zero).
 */
typedef struct cvr_grad_args {
    uint64_t struct_size;
    const void *attrs;
    const cvr_value *inputs;
    const cvr_value *outputs;
    const cvr_value *grad_outputs;
    const uint32_t *needs;
    cvr_value *grad_inputs;
    uint32_t n_inputs;
    uint32_t n_outputs;
} cvr_grad_args;

/* The same meaning in other ops: `outputs` is filled. */
typedef struct cvr_decompose_args {
    uint64_t struct_size;
    const void *attrs;
    const cvr_value *inputs;
    cvr_value *outputs;
    uint32_t n_inputs;
    uint32_t n_outputs;
} cvr_decompose_args;

/* The attributes of "cast", which the core owns. */
typedef struct cvr_cast_attrs {
    int64_t dtype;
} cvr_cast_attrs;

/* An op may have no output: an optimizer's update only mutates. */
typedef struct cvr_op_desc {
    uint64_t struct_size;
    const char *name; /* built-ins have plain names, others a prefix of their own: "acme.swish" */
    uint32_t version;
    uint32_t flags;
    uint32_t min_inputs, max_inputs;
    uint32_t n_outputs;
    uint32_t n_attrs;
    const cvr_attr_desc *const *attrs;
    /* Bit i: input i, a parameter, buffer or optimizer state, is updated in place. */
    uint64_t mutates;
    /* Bit i: input i may be CVR_NONE. Inputs past the given count are absent too. */
    uint64_t optional;
    int32_t (*infer)(const cvr_infer_args *a, cvr_error *err);
    /* NULL: no gradient flows through this op. */
    int32_t (*grad)(const cvr_builder *b, cvr_grad_args *a, cvr_error *err);
    /* NULL: only kernels compute this op. */
    int32_t (*decompose)(const cvr_builder *b, cvr_decompose_args *a, cvr_error *err);
    /* Floating-point operations of one run, for `info` and `bench`; NULL: counted as 0. */
    double (*flops)(const cvr_infer_args *a);
    const char *doc; /* formula and source */
    /* With CVR_OP_LOW_PRECISION. Bit i: output i, f32 by `infer`, is bf16 where an input is. */
    uint64_t follows;
    /* What CVR_OP_AGAIN says of ops for which it is true as they are, for others: emits nodes that make output 0 once
     * more, to the bit, from the inputs that it does not mutate and the other outputs (`outputs` has them; [0] is to be
     * set). NULL: output 0 is kept. */
    int32_t (*again)(const cvr_builder *b, cvr_decompose_args *a, cvr_error *err);
    /* What an elementwise op is as a program (elementwise.h): this step (CVR_STEP_*) with inputs 0 and 1 as operands; 0
     * says nothing. */
    uint64_t step;
    /* The same for an op of several steps, or whose step depends on attributes; NULL: `step` says all. */
    int32_t (*steps)(const cvr_builder *b, cvr_steps_args *a, cvr_error *err);
    /*
     * For an update of one parameter (inputs, no outputs): the op that does in one node what many nodes of this one do
     * that have equal attributes. It has these attributes, too. Its inputs are those that `shared` names, which the
     * nodes must have in common, then each node's others in turn, all that there may be: an absent one is CVR_NONE. It
     * takes as many as fit into CVR_MAX_IO inputs. NULL: there is none.
     */
    const char *many;
    uint64_t shared; /* bit i: input i, with `many` */
} cvr_op_desc;

#ifdef __cplusplus
}
#endif

CVR_STATIC_ASSERT(sizeof(cvr_infer_args) == 40, "cvr_infer_args has padding");
CVR_STATIC_ASSERT(sizeof(cvr_grad_args) == 64, "cvr_grad_args has padding");
CVR_STATIC_ASSERT(sizeof(cvr_decompose_args) == 40, "cvr_decompose_args has padding");
CVR_STATIC_ASSERT(sizeof(cvr_op_desc) == 152, "cvr_op_desc has padding");

#endif
