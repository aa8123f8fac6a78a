/* Batch normalisation: what norm_batch.c (ops and tables) shares with norm_batch_rows.c (elements) and
 * norm_batch_silu.c (those with silu). */
#ifndef CVR_BACKENDS_CPU_NORM_BATCH_H
#define CVR_BACKENDS_CPU_NORM_BATCH_H

#include "norm_columns.h"

#define ALWAYS_INLINE static inline __attribute__((always_inline))

/* Numbers of a channel. Forward: y = (x - mean) * scale + shift;
 * backward: dx = grad * grad_scale + (x - mean) * x_scale + offset. */
enum { MEAN, SCALE, SHIFT, GRAD_SCALE, X_SCALE, OFFSET, TABLES };

/* Activations but silu are clamps: relu is [0, inf), relu6 [0, 6]. */
typedef struct clamp {
    float lo, hi;
} clamp;

typedef struct batch_job {
    const void *x, *residual, *grad;
    const void *y; /* given where the mask cannot be told from x: a residual was added */
    void *masked;  /* where grad * mask goes and is read again; NULL: made anew */
    void *out;
    int bf16;
    int stream; /* results go past the caches: see cpu_stream.h */
    clamp clamp;
    int clamps; /* the activation is a clamp */
    int silu;   /* it is silu, and nothing is added before it */
    const float *tables;
    int64_t width;
} batch_job;

static inline const float *batch_table(const batch_job *job, int which, int64_t column) {
    return job->tables + which * job->width + column;
}

/* Of n elements from element `at` on, which are columns 0 to n: y; dx. `ctx`: a batch_job. */
void batch_forward_row(void *ctx, int64_t segment, int64_t at, int64_t n);
void batch_backward_row(void *ctx, int64_t segment, int64_t at, int64_t n);
/* For the sums: x, and the gradient before the activation, which is left in job->masked where that is given. */
void batch_gradient_row(const void *ctx, int64_t at, int64_t column, int64_t n, columns_row *out);

/* Of n elements from element `at` on, which stand in the columns from `column` on: y, of the job's element type;
 * x and the gradient before silu, which is stored in job->masked, too. */
void batch_silu_forward(const batch_job *job, int64_t at, int64_t column, int64_t n, void *y);
void batch_silu_gradient(const batch_job *job, int64_t at, int64_t column, int64_t n, columns_row *out);

#endif
