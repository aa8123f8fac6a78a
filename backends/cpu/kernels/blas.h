/* Matrix products for the kernels of this folder: OpenBLAS in one thread a task, cut over the host's pool by shape. */
#ifndef CVR_BACKENDS_CPU_BLAS_H
#define CVR_BACKENDS_CPU_BLAS_H

#include "kernels.h"

/* c (m,n) = a (m,k) b (k,n) + beta c, row-major f32; a is stored (k,m) where trans_a, b is (n,k) where trans_b. lda,
 * ldb and ldc are the floats from one stored row to the next. Every size and stride fits an int (cpu_fits_blas). */
typedef struct cpu_gemm {
    int64_t m, n, k;
    const float *a, *b;
    float *c;
    int64_t lda, ldb, ldc;
    float beta;
    int32_t trans_a, trans_b;
    int32_t reserved;
} cpu_gemm;

/* In the caller's thread. k = 0 gives beta c. */
void cpu_gemm_run(const cpu_gemm *g);

/* `batch` products whose a, b and c lie stride_a, stride_b and stride_c floats apart, in tasks on the pool. With `bias`
 * (n), every row of c starts from it (beta is then not looked at). */
typedef struct cpu_gemm_batch {
    cpu_gemm one;
    int64_t batch, stride_a, stride_b, stride_c;
    const float *bias;
} cpu_gemm_batch;
void cpu_gemm_batch_run(const cvr_threadpool *pool, const cpu_gemm_batch *b);

/* out[j] = sum over i of x[i,j], x (rows,n) f32 dense: float sums of up to 64 rows, doubles across them. */
uint64_t cpu_column_sum_workspace(int64_t rows, int64_t n);
void cpu_column_sum(const cvr_threadpool *pool, const float *x, int64_t rows, int64_t n, float *out, double *workspace);

/* Whether OpenBLAS's 32-bit sizes can hold `x`. */
static inline int cpu_fits_blas(int64_t x) {
    return x >= 0 && x <= INT32_MAX;
}

#endif
