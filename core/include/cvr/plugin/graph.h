/*
 * The graph as a plugin sees it: values, nodes that make them, and a builder to add more.
 *
 * A builder is handed to a layer's `build`, a model's `build`, a task's `loss`, an op's `grad` and `decompose`, and an
 * optimizer's `emit`. Values are numbers, 0 is "none". Shapes are known at once: an op's `infer` runs as it is added,
 * so a misfit is reported with the name of the layer that caused it.
 */
#ifndef CVR_PLUGIN_GRAPH_H
#define CVR_PLUGIN_GRAPH_H

#include "abi.h"
#include "attr.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef uint32_t cvr_value;
#define CVR_NONE 0u

/* Most inputs or outputs that a node may have. */
#define CVR_MAX_IO 64u

/* How a parameter starts. */
#define CVR_INIT_CONSTANT 1u     /* a */
#define CVR_INIT_UNIFORM 2u      /* [a, b) */
#define CVR_INIT_NORMAL 3u       /* mean a, standard deviation b */
#define CVR_INIT_TRUNC_NORMAL 4u /* the same, cut at 2 standard deviations */
/* By the parameter's own shape, (out, in, ...): fan_in is axis 1, fan_out axis 0, each times all further axes. */
#define CVR_INIT_KAIMING 5u /* normal, variance a / fan_out: torch.nn.init.kaiming_normal_, mode fan_out, has a = 2 */
#define CVR_INIT_XAVIER 6u  /* uniform in +-sqrt(a / (fan_in + fan_out)): xavier_uniform_ has a = 6 */

typedef struct cvr_init {
    uint64_t struct_size;
    uint32_t kind;
    uint32_t reserved;
    double a, b;
} cvr_init;

#define CVR_PARAM_TRAINABLE 1u /* has a gradient and is updated by the optimizer */
#define CVR_PARAM_NORM 2u      /* a normalisation's scale or shift: `norm_weight_decay` is for these */
#define CVR_PARAM_BIAS 4u      /* `bias_weight_decay` is for these */
#define CVR_PARAM_CONSTANT 8u  /* a buffer that follows from the settings, such as anchors: in no file */
#define CVR_PARAM_STATE 16u    /* a buffer of training alone: in checkpoints, not with the weights */

/*
 * A parameter, or (no CVR_PARAM_TRAINABLE) a buffer such as a running mean: both are saved with the weights.
 * `name` is relative to the layer being built; the file calls it SCOPE.name. `order`, as in cvr_type, is for a weight
 * whose axis 1 meets a flattened value: the memory has it permuted, files have it in logical order.
 */
typedef struct cvr_param_decl {
    uint64_t struct_size;
    const char *name;
    uint32_t dtype;
    uint32_t rank;
    int64_t shape[CVR_MAX_RANK];
    int64_t order[3];
    uint32_t flags;
    uint32_t reserved;
    const cvr_init *init; /* NULL only where `values` are given */
    const void *values;   /* NULL, or what it starts with, in logical order; copied */
} cvr_param_decl;

/* One node to add. `inputs` may hold CVR_NONE where the op allows an absent input. `attrs` is the op's packed struct,
 * or NULL. */
typedef struct cvr_op_call {
    uint64_t struct_size;
    const char *op;
    const void *attrs;
    uint64_t attrs_size;
    const cvr_value *inputs;
    cvr_value *outputs; /* filled */
    uint32_t n_inputs;
    uint32_t n_outputs;
} cvr_op_call;

/* How a parameter of a layer that is called starts, in place of the layer's own way. */
typedef struct cvr_param_init {
    uint64_t struct_size;
    const char *name; /* within the layer: "weight"; a name that it does not declare (bias=no) is passed over */
    const cvr_init *init;
} cvr_param_init;

/* One layer to build: `settings` is what would stand after `=` in a recipe's [net] after the layer's name: "64
 * kernel_size=3 bias=no". */
typedef struct cvr_layer_call {
    uint64_t struct_size;
    const char *layer;
    const char *name; /* the scope of its parameters: "layer1.0.conv1" */
    const char *settings;
    const cvr_value *inputs;
    cvr_value *outputs; /* filled */
    uint32_t n_inputs;
    uint32_t n_outputs; /* as many as the caller wants, at most what the layer has */
    const cvr_param_init *const *inits;
    uint64_t n_inits;
} cvr_layer_call;

typedef struct cvr_builder {
    uint64_t struct_size;
    void *ctx;
    uint32_t training; /* 1: the graph of a training step; 0: of evaluation */
    uint32_t reserved;
    /* Shape and element type of a value. The pointer lives as long as the graph is being built. NULL for CVR_NONE. */
    const cvr_type *(*type)(const struct cvr_builder *b, cvr_value v);
    int32_t (*emit)(const struct cvr_builder *b, const cvr_op_call *call, cvr_error *err);
    int32_t (*layer)(const struct cvr_builder *b, const cvr_layer_call *call, cvr_error *err);
    int32_t (*param)(const struct cvr_builder *b, const cvr_param_decl *decl, cvr_value *out, cvr_error *err);
    /* Optimizer state that belongs to `param` and is kept in checkpoints but not with the weights: PARAM.NAME. */
    int32_t (*slot)(const struct cvr_builder *b, cvr_value param, const cvr_param_decl *decl, cvr_value *out,
                    cvr_error *err);
    /* A number that changes from step to step, one element, by any name; whoever runs the program writes it. The host's
     * own: "lr" (f32), "step" (i64, batches so far), "updates" (i64, those of them that were not vetoed), "seed" (i64),
     * "loss_scale" (f32), "samples" (i64, pictures learned from before this batch), "closing" (f32, 1 in the last
     * train.close_mosaic epochs, else 0), "epoch" (f32, epochs before this batch, with the share that is done of the
     * one that goes on: 2.5). */
    int32_t (*scalar)(const struct cvr_builder *b, const char *name, uint32_t dtype, cvr_value *out, cvr_error *err);
    /* Full name of the layer being built, "layer1.0.conv1"; "" at the top. */
    const char *(*scope)(const struct cvr_builder *b);
    /* The parameter's flags (CVR_PARAM_*), or 0 for a value that is none. */
    uint32_t (*param_flags)(const struct cvr_builder *b, cvr_value v);
    /*
     * Ragged values are padded: of (N, M, ...) sample n has counts[n] <= M true entries along axis 1, and what lies
     * past them is of no account. counts() gives the value that holds them, (N) i32 or i64, and the axis; CVR_NONE: the
     * value is not padded. An op that needs them takes them as an input of its own. An op is given a padded input only
     * if it says that it honours that (CVR_TRAIT_COUNTS); any other is refused.
     */
    cvr_value (*counts)(const struct cvr_builder *b, cvr_value v, uint32_t *axis);
    int32_t (*set_counts)(const struct cvr_builder *b, cvr_value v, uint32_t axis, cvr_value counts, cvr_error *err);
} cvr_builder;

/* Adds a node with one output. */
static inline int32_t cvr_emit(const cvr_builder *b, const char *op, const void *attrs, uint64_t attrs_size,
                               const cvr_value *inputs, uint32_t n_inputs, cvr_value *out, cvr_error *err) {
    cvr_op_call call;
    memset(&call, 0, sizeof call);
    call.struct_size = sizeof call;
    call.op = op;
    call.attrs = attrs;
    call.attrs_size = attrs_size;
    call.inputs = inputs;
    call.outputs = out;
    call.n_inputs = n_inputs;
    call.n_outputs = 1;
    return b->emit(b, &call, err);
}

/* Builds a layer with one input and one output: the sentence that models are written in. */
static inline int32_t cvr_layer(const cvr_builder *b, const char *name, const char *layer, const char *settings,
                                cvr_value in, cvr_value *out, cvr_error *err) {
    cvr_layer_call call;
    memset(&call, 0, sizeof call);
    call.struct_size = sizeof call;
    call.layer = layer;
    call.name = name;
    call.settings = settings;
    call.inputs = &in;
    call.outputs = out;
    call.n_inputs = 1;
    call.n_outputs = 1;
    return b->layer(b, &call, err);
}

/* The same of two inputs: add, mul, concat. */
static inline int32_t cvr_layer2(const cvr_builder *b, const char *name, const char *layer, const char *settings,
                                 const cvr_value in[2], cvr_value *out, cvr_error *err) {
    cvr_layer_call call;
    memset(&call, 0, sizeof call);
    call.struct_size = sizeof call;
    call.layer = layer;
    call.name = name;
    call.settings = settings;
    call.inputs = in;
    call.outputs = out;
    call.n_inputs = 2;
    call.n_outputs = 1;
    return b->layer(b, &call, err);
}

#ifdef __cplusplus
}
#endif

CVR_STATIC_ASSERT(sizeof(cvr_init) == 32, "cvr_init has padding");
CVR_STATIC_ASSERT(sizeof(cvr_param_decl) == 120, "cvr_param_decl has padding");
CVR_STATIC_ASSERT(sizeof(cvr_op_call) == 56, "cvr_op_call has padding");
CVR_STATIC_ASSERT(sizeof(cvr_layer_call) == 72, "cvr_layer_call has padding");
CVR_STATIC_ASSERT(sizeof(cvr_param_init) == 24, "cvr_param_init has padding");
CVR_STATIC_ASSERT(sizeof(cvr_builder) == 104, "cvr_builder has padding");

#endif
