/*
 * A graph for cuDNN, described by a table of tensors and one of operations, and what cuDNN makes of it. Tensors are
 * NHWC in memory; their sizes are in the order (N, C, H, W), weights' (K, C / groups, R, S), as cuDNN wants them.
 */
#ifndef CUDNN_GRAPH_H
#define CUDNN_GRAPH_H

#include "cudnn_table.h"

#define CUDNN_GRAPH_TENSORS 20u
#define CUDNN_GRAPH_STEPS 12u

/* Where a tensor lies. */
enum { CUDNN_AT_INPUT, CUDNN_AT_OUTPUT, CUDNN_AT_SCRATCH, CUDNN_AT_NONE };

typedef struct cudnn_tensor {
    uint32_t dtype; /* CVR_F32, CVR_F16, CVR_BF16 */
    uint32_t place; /* CUDNN_AT_*; NONE: it only passes from one operation to the next */
    uint64_t at;    /* number of the node's input or output, or bytes from the begin of the workspace */
    int64_t dims[4];
} cudnn_tensor;

enum { CUDNN_CONV, CUDNN_CONV_DATA, CUDNN_CONV_WEIGHT, CUDNN_POINTWISE, CUDNN_STATS, CUDNN_SUM };

/*
 * An operation on tensors of these numbers.
 * CUDNN_CONV          x, weight, y: makes y; CUDNN_CONV_DATA makes x, CUDNN_CONV_WEIGHT makes weight of the others
 * CUDNN_POINTWISE     a, b, y: y = mode(a, b); b is NO_TENSOR where the mode has one operand; of the gradient of an
 *                     activation (CUDNN_POINTWISE_RELU_BWD) a is the result's gradient and b what was activated
 * CUDNN_STATS         x, sum, sum of squares, over all axes but C
 * CUDNN_SUM           x, sum, NO_TENSOR: over all axes but C, with the same bits each time
 */
#define NO_TENSOR UINT32_MAX
typedef struct cudnn_step {
    uint32_t kind;
    uint32_t tensors[3];
    cudnnPointwiseMode_t mode;
    float upper; /* of CUDNN_POINTWISE_RELU_FWD and its gradient: where it is cut; 0: nowhere */
    int64_t stride[2], padding[2], dilation[2];
} cudnn_step;

typedef struct cudnn_graph {
    cudnn_tensor tensors[CUDNN_GRAPH_TENSORS];
    cudnn_step steps[CUDNN_GRAPH_STEPS];
    uint32_t n_tensors, n_steps;
} cudnn_graph;

/* Adds a tensor, or a step, and gives its number. */
uint32_t cudnn_add_tensor(cudnn_graph *g, const cudnn_tensor *t);
void cudnn_add_step(cudnn_graph *g, const cudnn_step *s);
/* Adds y = mode(a, b), where y only passes on to the next step, in f32; its number. */
uint32_t cudnn_add_pointwise(cudnn_graph *g, cudnnPointwiseMode_t mode, uint32_t a, uint32_t b);

/* What cuDNN is asked for: a device that is there has a handle, a described one has its description. */
typedef struct cudnn_target {
    const cudnn_table *table;
    cudnnHandle_t handle;
    cudnnBackendDescriptor_t described;
} cudnn_target;

/* Descriptors that live and end together. */
typedef struct cudnn_owned {
    cudnnBackendDescriptor_t list[64];
    uint32_t n;
} cudnn_owned;
void cudnn_release(const cudnn_target *t, cudnn_owned *owned);

/* One attribute of a descriptor. */
typedef struct cudnn_field {
    int name, type; /* cudnnBackendAttributeName_t, cudnnBackendAttributeType_t */
    int64_t n;
    const void *values;
} cudnn_field;

/* A finished descriptor with these attributes; fields whose n is 0 are left out. It belongs to `owned`. */
int32_t cudnn_make(const cudnn_target *t, cudnn_owned *owned, cudnnBackendDescriptorType_t type,
                   const cudnn_field *fields, uint32_t n_fields, cudnnBackendDescriptor_t *out, cvr_error *err);
#define CUDNN_MAKE(t_, owned_, type_, out_, err_, ...)                                                                 \
    cudnn_make(t_, owned_, type_, (const cudnn_field[]){__VA_ARGS__},                                                  \
               sizeof((cudnn_field[]){__VA_ARGS__}) / sizeof(cudnn_field), out_, err_)

/* cuDNN's operation graph. Tensor i has the unique id i + 1. CVR_ERR_UNSUPPORTED with cuDNN's reason where it refuses.
 */
int32_t cudnn_graph_make(const cudnn_target *t, const cudnn_graph *g, cudnn_owned *owned, cudnnBackendDescriptor_t *out,
                         cvr_error *err);

#endif
