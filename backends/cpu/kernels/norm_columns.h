/*
 * Sums over pixels for each channel, which all normalisations of pictures need. A tensor is `segments` (pictures, or
 * the whole batch as one) of `rows` pixels of `channels` floats. Blocks of rows are tasks; within a block floats add up
 * over at most COLUMN_GROUP rows, doubles above; blocks combine in their order.
 */
#ifndef CVR_BACKENDS_CPU_NORM_COLUMNS_H
#define CVR_BACKENDS_CPU_NORM_COLUMNS_H

#include "cpu_rows.h"

#define COLUMN_CHUNK 256 /* columns of a task */
#define COLUMN_GROUP 32

/* Few channels are widened: `width` is `repeat` pixels side by side, so that inner loops are long. */
typedef struct columns {
    int64_t segments, rows, channels;
    int64_t repeat, width;
    int64_t block, blocks, chunks; /* rows of a block; blocks of a segment; chunks of the width */
} columns;

columns columns_of(int64_t segments, int64_t rows, int64_t channels);

/* Bytes for the partial sums: two doubles for each block and column. */
uint64_t columns_workspace(const columns *c);

/* Mean and biased variance of each channel of each segment of x, f32 or bf16: `mean`, `var`: (segments, channels). */
void columns_moments(const columns *c, const cvr_threadpool *pool, const cvr_tensor *x, double *partial, double *mean,
                     double *var);

/*
 * Where a row's x and gradient come from: `n` <= COLUMN_CHUNK elements from element `at` on, which stand in the columns
 * from `column` on. They may be put into the buffers, or stay where they are.
 */
typedef struct columns_row {
    const float *x, *grad;
    float x_buffer[COLUMN_CHUNK], grad_buffer[COLUMN_CHUNK];
} columns_row;
typedef void (*columns_row_fn)(const void *ctx, int64_t at, int64_t column, int64_t n, columns_row *out);

/* sum of grad, and of grad * (x - mean), of each channel of each segment. `mean`: (segments, channels). */
void columns_products(const columns *c, const cvr_threadpool *pool, columns_row_fn row, const void *ctx,
                      const float *mean, double *partial, double *sum_grad, double *sum_product);

/* A row_fn for two tensors, both f32 or both bf16, as they are. */
typedef struct columns_plain {
    const void *x, *grad;
    int bf16;
} columns_plain;
void columns_plain_row(const void *ctx, int64_t at, int64_t column, int64_t n, columns_row *out);

/* Per-channel numbers (n_tables tables of segments x channels), repeated to (n_tables, segments, width). */
void columns_widen(const columns *c, const float *narrow, int n_tables, float *wide);

/* Calls fn for pieces of rows: `at` the first element, n elements, of segment `segment`, starting at column 0. */
typedef void (*columns_fn)(void *ctx, int64_t segment, int64_t at, int64_t n);
void columns_apply(const columns *c, const cvr_threadpool *pool, columns_fn fn, void *ctx);

#endif
