/*
 * "cvr.op/1": an operation's name, attributes, shape rule and gradient. What computes it is a kernel (kernel.h).
 */
#ifndef CVR_PLUGIN_OP_H
#define CVR_PLUGIN_OP_H

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
/* By nature the host's: works on files or metrics, not on what a step is made of. That it runs there is no fallback. */
#define CVR_OP_HOST 8u

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
    /* What else the op says of itself, by name (trait.h); NULL for a trait that it does not have. Pure. NULL: none. */
    const void *(*trait)(const char *name);
} cvr_op_desc;

#ifdef __cplusplus
}
#endif

CVR_STATIC_ASSERT(sizeof(cvr_infer_args) == 40, "cvr_infer_args has padding");
CVR_STATIC_ASSERT(sizeof(cvr_grad_args) == 64, "cvr_grad_args has padding");
CVR_STATIC_ASSERT(sizeof(cvr_decompose_args) == 40, "cvr_decompose_args has padding");
CVR_STATIC_ASSERT(sizeof(cvr_op_desc) == 112, "cvr_op_desc has padding");

#endif
