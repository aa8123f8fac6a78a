/*
 * "cvr.compressor/1": makes a smaller or faster network of a trained one: quantisation, pruning. The host opens the run
 * and hands over its network and calibration data; the compressor looks at values, and says what the network is to be:
 * numbers, and a text (the plan) by which its `rewrite` later turns the model's network into the compressed one. The
 * host keeps both in a new run folder, which whoever opens it gets rewritten.
 */
#ifndef CVR_PLUGIN_COMPRESSOR_H
#define CVR_PLUGIN_COMPRESSOR_H

#include "axes.h"
#include "pass.h"

#ifdef __cplusplus
extern "C" {
#endif

/* A run of the network on calibration data. */
typedef struct cvr_probe {
    uint64_t struct_size;
    void *ctx;
    /* The network as it is evaluated, batch norms folded, before any other pass. May change it, and says by
     * cvr_rewriter.output which values `see` gets: all whose names begin with `prefix`. */
    int32_t (*rewrite)(void *ctx, const cvr_rewriter *r, cvr_error *err);
    const char *prefix;
    /* After each batch, for each such value; elements lie as in memory (abi.h). */
    int32_t (*see)(void *ctx, const char *name, const cvr_tensor *value, cvr_error *err);
    uint64_t batches; /* of the calibration data; 0: all of them */
} cvr_probe;

/* Of a parameter's axis the elements that belong to a group. */
typedef struct cvr_channel_member {
    uint64_t struct_size;
    const char *param; /* its name, "layer1.0.conv1.weight" */
    const cvr_type *type;
    uint32_t axis;
    uint32_t flags;          /* CVR_PARAM_*; none: a buffer */
    uint64_t each;           /* elements of a unit */
    const int64_t *elements; /* those of unit 0, of unit 1, ... */
} cvr_channel_member;

/* A sum of several layers' results has these channels: a residual stream, which ties many layers. */
#define CVR_CHANNELS_STREAM 1u
/* A norm over channels counts them: without them results are others, also where all their weights were zero. */
#define CVR_CHANNELS_STATISTICS 2u

/*
 * Channels that can only go together, in all parameters that have them (cvr/plugin/axes.h): of one convolution, or of
 * all that end in a residual stream; heads of an attention. The first member is what makes them: the group has its
 * name.
 */
typedef struct cvr_channel_group {
    uint64_t struct_size;
    const char *name;
    uint64_t units;        /* each goes or stays as a whole */
    uint64_t side_by_side; /* channels of a unit that are neighbours: the features of a head */
    uint64_t flags;        /* CVR_CHANNELS_* */
    const cvr_channel_member *const *members;
    uint64_t n_members;
} cvr_channel_group;

/* A parameter or buffer of the network. Elements are f32 (others are not listed), in logical order. */
typedef struct cvr_param_view {
    uint64_t struct_size;
    const char *name;
    const cvr_type *type;
    const float *values;
    const float *gradients; /* the mean over the batches of the last `gradients`; NULL: none yet, or not trained */
    uint64_t flags;         /* CVR_PARAM_*; none: a buffer */
} cvr_param_view;

#define CVR_COST_MACS 1u    /* products of one picture */
#define CVR_COST_PARAMS 2u  /* numbers that are trained */
#define CVR_COST_SECONDS 3u /* measured, of prune.batch pictures */

/* What the host does for a compressor. Everything lives as long as the call of `compress`. */
typedef struct cvr_compression {
    uint64_t struct_size;
    void *ctx;
    const cvr_host *host;
    const void *attrs; /* the compressor's settings, packed */
    int32_t (*probe)(const struct cvr_compression *c, const cvr_probe *p, cvr_error *err);
    /* The numbers of a parameter that `rewrite` declares, by its full name, as they lie in memory; copied. Again: in
     * the place of those before. */
    int32_t (*tensor)(const struct cvr_compression *c, const char *name, const cvr_type *type, const void *memory,
                      cvr_error *err);
    /* The plan so far, lines of text; copied. */
    int32_t (*plan)(const struct cvr_compression *c, const char *text, cvr_error *err);
    /* The task's chief metric on the validation data, of the network as it was, and as plan and tensors have it. Both
     * such that more is better. */
    int32_t (*measure)(const struct cvr_compression *c, double *before, double *after, cvr_error *err);
    /* One line for the table at the end: "left in f32", "layer4.1.conv2: quant.skip". */
    int32_t (*note)(const struct cvr_compression *c, const char *what, const char *text, cvr_error *err);
    /* For those that prune. The groups of channels, which the network's shape decides; a unit is counted through all
     * groups, one after another. Valid until `remove`. */
    int32_t (*channels)(const struct cvr_compression *c, const cvr_channel_group *const **groups, uint64_t *n,
                        cvr_error *err);
    /* The i-th parameter or buffer; NULL past the last. Valid until `remove`. */
    const cvr_param_view *(*param)(const struct cvr_compression *c, uint64_t i);
    /* Has the gradients of the loss on so many batches of calibration data. */
    int32_t (*gradients)(const struct cvr_compression *c, uint64_t batches, cvr_error *err);
    /* What the network would cost without these units, a byte each, 1: it goes. `what`: CVR_COST_*. */
    int32_t (*cost)(const struct cvr_compression *c, const uint8_t *units, uint32_t what, double *out, cvr_error *err);
    /* Removes these units, of each group but one at least. Once, after all costs. */
    int32_t (*remove)(const struct cvr_compression *c, const uint8_t *units, cvr_error *err);
    /* Which elements of a parameter stay, a byte each, 0: it is set to zero, and held there while the network is
     * trained further. Elements lie in logical order. */
    int32_t (*mask)(const struct cvr_compression *c, const char *param, const uint8_t *mask, cvr_error *err);
} cvr_compression;

/* Of cvr_finetune.stage: batch norms go by their running statistics from here on. */
#define CVR_FINETUNE_NORMS_FROZEN 1u

/*
 * Training that follows `compress`, for methods that need it (quantisation-aware training). The host trains the run's
 * network in the new run folder, from the weights that it has, as `rewrite` changes it; after each epoch `convert` says
 * what the compressed network is now, which is evaluated; the best is kept.
 */
typedef struct cvr_finetune {
    uint64_t struct_size;
    /* Settings that this training has in the place of the run's, as lines `section.key = value`, by the method's own
     * settings and the run's learning rate. */
    int32_t (*settings)(const void *attrs, double lr, char *out, uint64_t size, cvr_error *err);
    /* The stage of an epoch, from 0: any number, in which CVR_FINETUNE_* have a meaning to the host. At most seven
     * epochs begin another stage. */
    uint32_t (*stage)(const void *attrs, int64_t epoch);
    /* The network of a training step of that stage, after its losses and before gradients. `plan` is what `compress`,
     * or `convert` after an epoch that was the best, gave. What it keeps from step to step are parameters with
     * CVR_PARAM_STATE, which `convert` finds by declaring them again. */
    int32_t (*rewrite)(const cvr_rewriter *r, const char *plan, uint32_t stage, cvr_error *err);
    /* As `compress`, of the network as it is trained by now; without `measure`. */
    int32_t (*convert)(const cvr_compression *c, const char *plan, cvr_error *err);
} cvr_finetune;

typedef struct cvr_compressor_desc {
    uint64_t struct_size;
    const char *name;    /* "ptq": what `method` says */
    const char *section; /* of its settings: "quant", "prune" */
    const char *doc;
    uint32_t n_attrs;
    uint32_t reserved;
    const cvr_attr_desc *const *attrs; /* keys of that section */
    int32_t (*compress)(const cvr_compression *c, cvr_error *err);
    /* NULL: it prunes, that is, the network is the model's with other widths or with zeros. Else the network of a run
     * that it made, from the model's, batch norms folded; by the plan that `compress` gave, which
     * comes from a file and may hold anything. Parameters that nothing reads afterwards are in no file of the run. */
    int32_t (*rewrite)(const cvr_rewriter *r, const char *plan, cvr_error *err);
    const cvr_finetune *finetune; /* NULL: `compress` is all there is to it */
} cvr_compressor_desc;

#ifdef __cplusplus
}
#endif

CVR_STATIC_ASSERT(sizeof(cvr_probe) == 48, "cvr_probe has padding");
CVR_STATIC_ASSERT(sizeof(cvr_channel_member) == 48, "cvr_channel_member has padding");
CVR_STATIC_ASSERT(sizeof(cvr_channel_group) == 56, "cvr_channel_group has padding");
CVR_STATIC_ASSERT(sizeof(cvr_param_view) == 48, "cvr_param_view has padding");
CVR_STATIC_ASSERT(sizeof(cvr_compression) == 120, "cvr_compression has padding");
CVR_STATIC_ASSERT(sizeof(cvr_finetune) == 40, "cvr_finetune has padding");
CVR_STATIC_ASSERT(sizeof(cvr_compressor_desc) == 72, "cvr_compressor_desc has padding");

#endif
