/*
 * "cvr.gradient/1": works on the gradients of a step, after they are complete (summed over the parts of a batch) and
 * before the updates: clipping, masks, a loss scale, an all-reduce. It emits nodes as layers do, may put another value
 * in a gradient's place, and may veto the updates of a step by a number that the step computes.
 */
#ifndef CVR_PLUGIN_GRADIENT_H
#define CVR_PLUGIN_GRADIENT_H

#include "graph.h"
#include "host.h"

#ifdef __cplusplus
extern "C" {
#endif

/* A parameter that is trained. */
typedef struct cvr_gradient {
    uint64_t struct_size;
    const char *name;  /* "layer1.0.conv1.weight" */
    const char *stage; /* of the model (cvr_stage): "backbone.layer1", or "" */
    cvr_value param;
    cvr_value grad; /* f32, of the parameter's shape and order; as the gradient plugins before have left it */
} cvr_gradient;

typedef struct cvr_gradients {
    uint64_t struct_size;
    void *ctx;
    const cvr_host *host;
    const cvr_builder *builder;
    const void *attrs;
    uint64_t n;
    const cvr_gradient *const *all;
    /* Gradient i shall be this value, of the same shape and order. */
    int32_t (*replace)(const struct cvr_gradients *g, uint64_t i, cvr_value grad, cvr_error *err);
    /* One number; where it is not 0 (or is NaN) the updates of the step are not done. `name` is an output's. */
    int32_t (*veto)(const struct cvr_gradients *g, const char *name, cvr_value v, cvr_error *err);
    /* Keeps a value as an output of the step. */
    int32_t (*output)(const struct cvr_gradients *g, const char *name, cvr_value v, cvr_error *err);
} cvr_gradients;

/* All that are installed run, the highest priority first, equal ones in byte order of names. Their attributes are keys
 * of [train], and must say by their defaults that there is nothing to do. */
typedef struct cvr_gradient_desc {
    uint64_t struct_size;
    const char *name;
    const char *doc;
    uint32_t n_attrs;
    int32_t priority;
    const cvr_attr_desc *const *attrs;
    int32_t (*run)(const cvr_gradients *g, cvr_error *err);
} cvr_gradient_desc;

#ifdef __cplusplus
}
#endif

CVR_STATIC_ASSERT(sizeof(cvr_gradient) == 32, "cvr_gradient has padding");
CVR_STATIC_ASSERT(sizeof(cvr_gradients) == 80, "cvr_gradients has padding");
CVR_STATIC_ASSERT(sizeof(cvr_gradient_desc) == 48, "cvr_gradient_desc has padding");

#endif
