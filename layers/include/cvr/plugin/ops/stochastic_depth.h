/*
 * Attributes of the stochastic_depth op, version 1 (plugin "layer_stochastic_depth"). Semantics:
 * torchvision.ops.stochastic_depth; the random numbers are Philox4x32-10 (rng.h), as dropout's.
 *
 * stochastic_depth  x (N,...), seed () i64, step () i64 -> y like x
 *     Sample n gets the word r = cvr_philox(cvr_rng_mix(seed, key), step, i / 4)[i % 4] with i = n (mode row) or i = 0
 *     (mode batch), and y[n,...] = r < floor(p * 2^32) ? 0 : x[n,...] / (1 - p); y = 0 where p = 1.
 * stochastic_depth_scale  seed () i64, step () i64 -> (N,1,...), as many axes as `rank`, f32; what stochastic_depth
 *     multiplies each of `samples` with: 0 or 1 / (1 - p); cvr_stochastic_depth_scale_attrs
 * What is dropped is a pure function of (seed, key, step, n): the gradient is the same op on grad.
 */
#ifndef CVR_PLUGIN_OPS_STOCHASTIC_DEPTH_H
#define CVR_PLUGIN_OPS_STOCHASTIC_DEPTH_H

#include <cvr/plugin/rng.h>

#ifdef __cplusplus
extern "C" {
#endif

#define CVR_STOCHASTIC_DEPTH_ROW 0
#define CVR_STOCHASTIC_DEPTH_BATCH 1

typedef struct cvr_stochastic_depth_attrs {
    double p;     /* 0 <= p <= 1 */
    int64_t mode; /* CVR_STOCHASTIC_DEPTH_* */
    int64_t key;  /* cvr_hash of the layer's full name */
} cvr_stochastic_depth_attrs;

typedef struct cvr_stochastic_depth_scale_attrs {
    cvr_stochastic_depth_attrs depth;
    int64_t samples;
    int64_t rank;
} cvr_stochastic_depth_scale_attrs;

/* What sample n is multiplied with: 0 or 1 / (1 - p). */
static inline float cvr_stochastic_depth_scale(const cvr_stochastic_depth_attrs *a, int64_t seed, int64_t step,
                                               int64_t n) {
    const uint64_t i = a->mode == CVR_STOCHASTIC_DEPTH_ROW ? (uint64_t)n : 0;
    uint32_t r[4];
    cvr_philox(cvr_rng_mix((uint64_t)seed, (uint64_t)a->key), (uint64_t)step, i / 4, r);
    return r[i % 4] < (uint64_t)(a->p * 4294967296.0) ? 0.0f : (float)(1 / (1 - a->p));
}

#ifdef __cplusplus
}
#endif

CVR_STATIC_ASSERT(sizeof(cvr_stochastic_depth_attrs) == 24, "cvr_stochastic_depth_attrs has padding");
CVR_STATIC_ASSERT(sizeof(cvr_stochastic_depth_scale_attrs) == 40, "cvr_stochastic_depth_scale_attrs has padding");

#endif
