/* Max pooling: what pool_max.c, which takes any window, shares with pool_max_lanes.c, which takes the usual ones. */
#ifndef CVR_BACKENDS_CPU_POOL_MAX_H
#define CVR_BACKENDS_CPU_POOL_MAX_H

#include "cpu_rows.h"

#include <cvr/plugin/ops/pool.h>

typedef struct pool_max_job {
    const cvr_max_pool2d_attrs *attrs;
    const cvr_tensor *a, *b; /* x; or grad and index */
    cvr_tensor *y, *index;   /* y and index; or dx */
    int bf16;
    float *scratch; /* backward in bf16: a row of dx in f32, of each worker */
} pool_max_job;

/* Whether the tasks below can do it; the backward one only without dilation. */
int pool_max_fits(const pool_max_job *job, const cvr_tensor *index);
/* One row of y and index; of dx. */
void pool_max_task(void *ctx, uint64_t task, uint32_t worker);
void pool_max_backward_task(void *ctx, uint64_t task, uint32_t worker);

#endif
