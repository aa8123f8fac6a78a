/*
 * "cvr.layer/1" and "cvr.model/1": what a recipe's [net] and [model] name. Both only add ops, parameters and other
 * layers to a graph, so they run on every backend.
 */
#ifndef CVR_PLUGIN_LAYER_H
#define CVR_PLUGIN_LAYER_H

#include "graph.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct cvr_layer_desc {
    uint64_t struct_size;
    const char *name;
    const char *doc;
    uint32_t n_attrs;
    uint32_t min_inputs;
    uint32_t max_inputs;
    uint32_t n_outputs;
    const cvr_attr_desc *const *attrs; /* PyTorch's names and defaults */
    /* Adds the layer. Its scope is set: a parameter "weight" becomes NAME.weight. `outputs` (n_outputs of them) is
     * filled. */
    int32_t (*build)(const cvr_builder *b, const void *attrs, const cvr_value *inputs, uint32_t n_inputs,
                     cvr_value *outputs, cvr_error *err);
} cvr_layer_desc;

/* Settings that every model has; the host reads them from [model]. */
typedef struct cvr_model_args {
    uint64_t struct_size;
    const void *attrs;
    int64_t num_classes;
    int64_t in_channels;
} cvr_model_args;

/* A part of the network, for those who freeze it, train it slower or leave it out of a file: "backbone.layer4", "head".
 */
typedef struct cvr_stage {
    uint64_t struct_size;
    const char
        *name; /* of the last layers, whose shape the number of classes decides, "head"; of others "backbone.*" */
    const char *globs; /* of the parameters' names, with * and ?: "layer4.*,bn4.*" */
} cvr_stage;

typedef struct cvr_model_desc {
    uint64_t struct_size;
    const char *name;
    const char *doc; /* paper */
    uint32_t n_attrs;
    uint32_t reserved;
    const cvr_attr_desc *const *attrs;
    /* `image`: (N, in_channels, H, W) f32. Classification: one output, logits (N, num_classes). */
    int32_t (*build)(const cvr_builder *b, const cvr_model_args *args, cvr_value image, cvr_value *output,
                     cvr_error *err);
    uint32_t n_stages;
    uint32_t reserved2;
    const cvr_stage *const *stages; /* the first that fits a parameter's name is its stage */
} cvr_model_desc;

#ifdef __cplusplus
}
#endif

CVR_STATIC_ASSERT(sizeof(cvr_layer_desc) == 56, "cvr_layer_desc has padding");
CVR_STATIC_ASSERT(sizeof(cvr_model_args) == 32, "cvr_model_args has padding");
CVR_STATIC_ASSERT(sizeof(cvr_stage) == 24, "cvr_stage has padding");
CVR_STATIC_ASSERT(sizeof(cvr_model_desc) == 64, "cvr_model_desc has padding");

#endif
