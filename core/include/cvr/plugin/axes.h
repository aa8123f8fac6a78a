/*
 * "cvr.trait.axes/1": how an op ties the axes of its inputs, parameters and outputs. Whoever removes channels of a
 * network asks every op for it: elements of axes that are tied stay or go together, in all tensors. A convolution ties
 * its output channels to the first axis of its weight and to its bias, and its input channels to the weight's second
 * axis; a residual sum ties both inputs and the output; a concatenation ties pieces of its output to its inputs.
 *
 * From an axis that an op does not mention nothing can be removed. An op without this trait mentions none, so that
 * whatever it reads or makes keeps its width; but for ops of CVR_OP_ORDER_FREE, which are elementwise: all their values
 * that have the shape of output 0 are tied to it.
 */
#ifndef CVR_PLUGIN_AXES_H
#define CVR_PLUGIN_AXES_H

#include "op.h"

#ifdef __cplusplus
extern "C" {
#endif

#define CVR_TRAIT_AXES "cvr.trait.axes/1"

/* Output i of a node, where a port is asked for; input i is i. */
#define CVR_AXES_OUTPUT CVR_MAX_IO

/* Elements of an axis (axes are logical): element k is first + k / repeat * step; repeat is 1 or more. */
typedef struct cvr_axis_run {
    uint32_t port;
    uint32_t axis;
    int64_t first;
    int64_t step;
    int64_t repeat;
} cvr_axis_run;

typedef struct cvr_axes {
    uint64_t struct_size;
    void *ctx;
    const void *attrs;
    const cvr_type *const *inputs; /* NULL: absent */
    const cvr_type *const *outputs;
    uint32_t n_inputs;
    uint32_t n_outputs;
    /* The first n elements of x and of y, pair by pair. Nothing happens where one of the inputs is absent. Runs out of
     * their axis fail the node. */
    void (*tie)(const struct cvr_axes *a, const cvr_axis_run *x, const cvr_axis_run *y, int64_t n);
    /* 1: something of the axis must stay for all that is known so far, which is what nodes before this one said. */
    uint32_t (*fixed)(const struct cvr_axes *a, uint32_t port, uint32_t axis);
    /* For `narrow`: how many of the n elements from `first` on stay. */
    int64_t (*left)(const struct cvr_axes *a, uint32_t port, uint32_t axis, int64_t first, int64_t n);
} cvr_axes;

#define CVR_AXES_SUM 1u /* adds values up: what it ties may be a residual stream */
/* Computes means over tied axes: elements that are zero and those that are gone differ. */
#define CVR_AXES_STATISTICS 2u

typedef struct cvr_axes_trait {
    uint64_t struct_size;
    void (*tie)(const cvr_axes *a);
    /* Changes the attributes to what they are where elements are gone; types are those from before. NULL: attributes
     * say nothing of widths. */
    void (*narrow)(const cvr_axes *a, void *attrs);
    uint64_t flags; /* CVR_AXES_* */
} cvr_axes_trait;

/* ---- for those who write one ---- */

static inline const cvr_type *cvr_axes_type(const cvr_axes *a, uint32_t port) {
    if (port >= CVR_AXES_OUTPUT)
        return port - CVR_AXES_OUTPUT < a->n_outputs ? a->outputs[port - CVR_AXES_OUTPUT] : NULL;
    return port < a->n_inputs ? a->inputs[port] : NULL;
}

/* Two whole axes. */
static inline void cvr_axes_tie(const cvr_axes *a, uint32_t p, uint32_t axis_p, uint32_t q, uint32_t axis_q) {
    const cvr_type *t = cvr_axes_type(a, p);
    const cvr_axis_run x = {p, axis_p, 0, 1, 1}, y = {q, axis_q, 0, 1, 1};
    if (t && cvr_axes_type(a, q)) a->tie(a, &x, &y, t->shape[axis_p]);
}

/* All axes of input 0 and output 0, of one shape. */
static inline void cvr_axes_tie_same(const cvr_axes *a) {
    for (uint32_t i = 0; i < a->inputs[0]->rank; i++) cvr_axes_tie(a, 0, i, CVR_AXES_OUTPUT, i);
}

/* The channels of input 0 and output 0, (N,C,...). */
static inline void cvr_axes_tie_channels(const cvr_axes *a) {
    cvr_axes_tie(a, 0, 1, CVR_AXES_OUTPUT, 1);
}

/* All of an axis. */
static inline int64_t cvr_axes_left(const cvr_axes *a, uint32_t port, uint32_t axis) {
    return a->left(a, port, axis, 0, cvr_axes_type(a, port)->shape[axis]);
}

/* Defines a function for cvr_op_desc.trait: this one, and what another such function says. */
#define CVR_AXES_AND(function_, axes_, otherwise_)                                                                     \
    static const void *function_(const char *name) {                                                                   \
        return strcmp(name, CVR_TRAIT_AXES) == 0 ? &(axes_) : otherwise_(name);                                        \
    }

static const cvr_axes_trait cvr_axes_channels = {sizeof(cvr_axes_trait), cvr_axes_tie_channels, NULL, 0};
static const cvr_axes_trait cvr_axes_same = {sizeof(cvr_axes_trait), cvr_axes_tie_same, NULL, 0};

#ifdef __cplusplus
}
#endif

CVR_STATIC_ASSERT(sizeof(cvr_axis_run) == 32, "cvr_axis_run has padding");
CVR_STATIC_ASSERT(sizeof(cvr_axes) == 72, "cvr_axes has padding");
CVR_STATIC_ASSERT(sizeof(cvr_axes_trait) == 32, "cvr_axes_trait has padding");

#endif
