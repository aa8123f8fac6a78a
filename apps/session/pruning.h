/* A pruning under way: what its files share. */
#ifndef CVR_PRUNING_H
#define CVR_PRUNING_H

#include "session_parts.h"

/* A parameter or buffer of the network as it was. */
typedef struct pruned_param {
    char *name;
    cvr_type type;
    void *values; /* logical order */
    float *gradients;
    uint8_t *mask; /* NULL: everything stays */
    cvr_param_view view;
} pruned_param;

typedef struct pruning {
    cvr_compression api;
    cvr_session *s;
    const cvr_compress_options *o;
    traced_network traced;
    pruned_param *params;
    size_t n_params;
    size_t *shown; /* those that are f32 */
    size_t n_shown;
    bool removed;
} pruning;

/* prune_params.c: copies everything that weights files have, from the session's network. */
int32_t pruning_take_params(pruning *p, cvr_error *err);
void pruning_free_params(pruning *p);
pruned_param *pruning_find(const pruning *p, const char *name);
/* The mean gradients on calibration data; callback. */
int32_t pruning_gradients(const cvr_compression *c, uint64_t batches, cvr_error *err);
/* Runs the training program, whose gradients nobody uses to change weights, on calibration data: `batches`, 0: on all.
 * So batch norms gather their statistics. */
int32_t pruning_run(cvr_session *s, uint64_t batches, int64_t *ran, cvr_error *err);

/* prune_cost.c: callback. */
int32_t pruning_cost(const cvr_compression *c, const uint8_t *units, uint32_t what, double *out, cvr_error *err);

#endif
