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

/* What an output of a network is to those who train it. */
#define CVR_ROLE_RESULT 1u    /* what the network says: goes to metrics and predictions */
#define CVR_ROLE_LOSS 2u      /* rank 0, f32: added to what is trained, named in steps.csv */
#define CVR_ROLE_AUXILIARY 3u /* a result that only training looks at, such as an auxiliary classifier's */
#define CVR_ROLE_HEAD 4u      /* what a detector's boxes are decoded from: export.decode = no writes these instead */

typedef struct cvr_io_output {
    uint64_t struct_size;
    const char *name; /* "output" where there is only one result */
    uint32_t role;    /* CVR_ROLE_* */
    cvr_value value;
    double weight; /* of the loss that a task adds for it; 0: nothing was said */
} cvr_io_output;

/* The named ends of a network: what it reads, and what it gives. */
typedef struct cvr_io {
    uint64_t struct_size;
    void *ctx;
    /* "image": (N, in_channels, H, W), normalised; "image_size", (N, 2) f32, where the task pads: height and width of
     * each picture, which lies at the upper left; the fields that the task wants, by their names, where there are
     * targets. CVR_NONE: there is no such input. Padded values know their counts (cvr_builder.counts). */
    cvr_value (*input)(const struct cvr_io *io, const char *name);
    int32_t (*put)(const struct cvr_io *io, const char *name, uint32_t role, cvr_value v, cvr_error *err);
    /* The i-th output so far; NULL past the end. */
    const cvr_io_output *(*output)(const struct cvr_io *io, uint32_t i);
    /* The loss of the auxiliary result `name` has this weight, where the recipe does not say otherwise
     * (train.aux_weight). Not an error where there is no such result, as in evaluation. */
    void (*weigh)(const struct cvr_io *io, const char *name, double weight);
} cvr_io;

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
    /* Of the parameters' names, with *, ? and #, which stands for a number: "layer4.#,bn4". Each such number is a block
     * of its own to optim.layer_decay; what else the stage has belongs to its first block where it stands in front of
     * the pattern with #, and else to its last. */
    const char *globs;
} cvr_stage;

typedef struct cvr_model_desc {
    uint64_t struct_size;
    const char *name;
    const char *doc; /* paper */
    uint32_t n_attrs;
    uint32_t n_stages;
    const cvr_attr_desc *const *attrs;
    /* Reads io's inputs and puts at least one result. A model that has losses of its own, as detectors have, reads the
     * targets in training and puts the losses. Classification: the result is logits (N, num_classes). */
    int32_t (*build)(const cvr_builder *b, const cvr_model_args *args, const cvr_io *io, cvr_error *err);
    const cvr_stage *const *stages; /* the first that fits a parameter's name is its stage */
    /* Sides of pictures must be multiples of this, and are padded to be where the task pads; NULL: any will do. */
    int64_t (*stride)(const void *attrs);
    /* 1, and what this network calls the tensor that another implementation's files (timm's) call `name`; 0: not known.
     * Such a tensor may have axes of length 1 more or fewer, or axes flattened. NULL: its names are everybody's. */
    int32_t (*alias)(const char *name, char *out, uint64_t size);
    const char *const *reads; /* of the fields that the task has only for models that read them: "masks" */
    uint32_t n_reads;
    uint32_t square; /* 1: it looks at squares of one size: where a task has boxes, data.img_size is one number */
    /*
     * Tells the settings of other sections that this network is used with: "run.task", and any of [data], [augment],
     * [train], [optim], [sched], [val] and [predict]. Each holds where neither recipe nor command line nor published
     * weights say otherwise; of [augment] only where the recipe has no line there, of [optim] and [sched] only where it
     * names no other. Paths are absolute. The key "" sets nothing: it is a remark for who trains. "model.num_classes"
     * is how many classes the file has, and counts where neither data nor recipe says how many there are. NULL:
     * nothing.
     */
    int32_t (*proposes)(const void *attrs, cvr_propose_fn each, void *ctx, cvr_error *err);
    /* Files whose names have this ending are networks of this model, "cfg": model.name may then be such a file, which
     * is handed on as the value of the model's key of the same name. NULL: none. */
    const char *file;
} cvr_model_desc;

#ifdef __cplusplus
}
#endif

CVR_STATIC_ASSERT(sizeof(cvr_layer_desc) == 56, "cvr_layer_desc has padding");
CVR_STATIC_ASSERT(sizeof(cvr_io_output) == 32, "cvr_io_output has padding");
CVR_STATIC_ASSERT(sizeof(cvr_io) == 48, "cvr_io has padding");
CVR_STATIC_ASSERT(sizeof(cvr_model_args) == 32, "cvr_model_args has padding");
CVR_STATIC_ASSERT(sizeof(cvr_stage) == 24, "cvr_stage has padding");
CVR_STATIC_ASSERT(sizeof(cvr_model_desc) == 104, "cvr_model_desc has padding");

#endif
