/*
 * "cvr.optimizer/1": adds the nodes that update parameters. "cvr.scheduler/1": the learning rate of every step.
 */
#ifndef CVR_PLUGIN_OPTIMIZER_H
#define CVR_PLUGIN_OPTIMIZER_H

#include "graph.h"

#ifdef __cplusplus
extern "C" {
#endif

/* One parameter to update. `weight_decay` is this parameter's own, after norm_weight_decay and bias_weight_decay. */
typedef struct cvr_update_args {
    uint64_t struct_size;
    const void *attrs;
    cvr_value param;
    cvr_value grad;
    cvr_value lr;   /* f32 scalar */
    cvr_value step; /* i64 scalar: updates so far, 0 at the first */
    double weight_decay;
    double lr_factor; /* of this parameter: what lr is multiplied with, 1 where nothing else is asked for */
} cvr_update_args;

typedef struct cvr_optimizer_desc {
    uint64_t struct_size;
    const char *name;
    const char *doc;
    uint32_t n_attrs;
    uint32_t reserved;
    const cvr_attr_desc *const *attrs; /* PyTorch's names and defaults; `lr` and the weight decays are the host's */
    double default_lr;                 /* PyTorch's; a negative number: must be given */
    double default_weight_decay;
    int32_t (*emit)(const cvr_builder *b, const cvr_update_args *args, cvr_error *err);
} cvr_optimizer_desc;

/* Where a step stands. Warm-up, `lr` itself and `lr_min` are the host's: it asks for a factor. */
typedef struct cvr_sched_args {
    uint64_t struct_size;
    const void *attrs;
    int64_t step;            /* counted from the end of warm-up */
    int64_t total_steps;     /* of the run, less warm-up */
    int64_t steps_per_epoch; /* optimizer steps */
    double lr_min_factor;    /* lr_min / lr */
    double lr;               /* what the factor is of */
    /* The metric that best weights are chosen by, an epoch each, of all epochs that have ended; NaN: not validated. */
    const double *history;
    uint64_t n_history;
    uint32_t lower_is_better;
    uint32_t reserved;
    int64_t warmup; /* steps of warm-up, all before step 0 */
} cvr_sched_args;

typedef struct cvr_scheduler_desc {
    uint64_t struct_size;
    const char *name;
    const char *doc;
    uint32_t n_attrs;
    uint32_t reserved;
    const cvr_attr_desc *const *attrs;
    /* What lr is multiplied with. Pure. */
    double (*factor)(const cvr_sched_args *args);
} cvr_scheduler_desc;

#ifdef __cplusplus
}
#endif

CVR_STATIC_ASSERT(sizeof(cvr_update_args) == 48, "cvr_update_args has padding");
CVR_STATIC_ASSERT(sizeof(cvr_optimizer_desc) == 64, "cvr_optimizer_desc has padding");
CVR_STATIC_ASSERT(sizeof(cvr_sched_args) == 88, "cvr_sched_args has padding");
CVR_STATIC_ASSERT(sizeof(cvr_scheduler_desc) == 48, "cvr_scheduler_desc has padding");

#endif
