/*
 * Attributes of the dropout op, version 1 (plugin "layer_dropout"). Semantics: torch.nn.functional.dropout; the random
 * numbers are Philox4x32-10 (rng.h).
 *
 * dropout  x f32, seed () i64, step () i64 -> y like x
 *     Element i, counted as it lies in memory, gets the word r = cvr_philox(cvr_rng_mix(seed, key), step, i / 4)[i % 4]
 *     and y[i] = r < floor(p * 2^32) ? 0 : x[i] / (1 - p); y = 0 where p = 1.
 * The mask is a pure function of (seed, key, step, i) and is never stored: the gradient is the same op on grad.
 */
#ifndef CVR_PLUGIN_OPS_DROPOUT_H
#define CVR_PLUGIN_OPS_DROPOUT_H

#include <cvr/plugin/abi.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct cvr_dropout_attrs {
    double p;    /* 0 <= p <= 1 */
    int64_t key; /* cvr_hash of the layer's full name */
} cvr_dropout_attrs;

#ifdef __cplusplus
}
#endif

CVR_STATIC_ASSERT(sizeof(cvr_dropout_attrs) == 16, "cvr_dropout_attrs has padding");

#endif
