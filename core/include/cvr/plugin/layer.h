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
} cvr_model_desc;

#ifdef __cplusplus
}
#endif

CVR_STATIC_ASSERT(sizeof(cvr_layer_desc) == 56, "cvr_layer_desc has padding");
CVR_STATIC_ASSERT(sizeof(cvr_model_args) == 32, "cvr_model_args has padding");
CVR_STATIC_ASSERT(sizeof(cvr_model_desc) == 48, "cvr_model_desc has padding");

#endif
