/* Matrix products on the tiles of gemm.h, and sums of columns, cut over the host's pool by shape. */
#ifndef CVR_BACKENDS_CPU_DENSE_H
#define CVR_BACKENDS_CPU_DENSE_H

#include "gemm.h"

/*
 * `batch` products c (m,n) = a (m,k) b (k,n) [+ bias (n) in every row], row-major f32; a is stored (k,m) where trans_a,
 * b is (n,k) where trans_b. lda, ldb and ldc are the floats from one stored row to the next, stride_a, stride_b and
 * stride_c those from one product's matrix to the next one's.
 */
typedef struct cpu_gemm {
    int64_t m, n, k;
    const cpu_element *a, *b;
    const float *bias;
    cpu_element *c;
    int64_t lda, ldb, ldc;
    int64_t batch, stride_a, stride_b, stride_c;
    int32_t trans_a, trans_b;
    int32_t add;              /* 1: to what c holds; without bias */
    int32_t b_float, c_float; /* products of bf16: b, or c, is f32 nevertheless */
    int32_t reserved;
} cpu_gemm;

/* Bytes; the pointers in `g` are not looked at. */
uint64_t cpu_gemm_workspace(const cpu_gemm *g, uint32_t n_workers);
/* Without a pool (NULL): in the caller's thread, with the workspace of one worker. */
void cpu_gemm_run(const cpu_gemm *g, const cvr_threadpool *pool, void *workspace);

/* Tasks on the pool, or one after another without it. */
void cpu_gemm_tasks(const cvr_threadpool *pool, int64_t n, cvr_task_fn fn, void *job);

/* Products of few rows by dot products: dense_dots.c. */
int dense_wants_dots(const cpu_gemm *g);
void dense_dots_run(const cpu_gemm *g, const cvr_threadpool *pool);

/* Rows that one task of a column sum takes, and rows summed in float before they go to double. */
#define CPU_SUM_TASK_ROWS 1024
#define CPU_SUM_FLOAT_ROWS 64

/* out[j] = sum over i of x[i,j], x (rows,n) dense. */
uint64_t cpu_column_sum_workspace(int64_t rows, int64_t n);
void cpu_column_sum(const cvr_threadpool *pool, const cpu_element *x, int64_t rows, int64_t n, float *out,
                    double *workspace);
/* Its end, for who made partial (tasks,n) in its workspace along with something else. */
void cpu_column_combine(const double *partial, int64_t tasks, int64_t n, float *out);

#endif
