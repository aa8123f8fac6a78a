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
    int32_t alone;            /* 1: for one thread, so that nothing is cut for the sake of others */
} cpu_gemm;

/* Bytes; the pointers in `g` are not looked at. */
uint64_t cpu_gemm_workspace(const cpu_gemm *g, uint32_t n_workers);
/* Without a pool (NULL): in the caller's thread, with the workspace of one worker. */
void cpu_gemm_run(const cpu_gemm *g, const cvr_threadpool *pool, void *workspace);

/* Tasks on the pool, or one after another without it. */
void cpu_gemm_tasks(const cvr_threadpool *pool, int64_t n, cvr_task_fn fn, void *job);

/* How a product is cut into tasks: dense_cut.c. */
typedef struct dense_cut {
    int64_t panels, m_parts, n_parts, k_parts; /* of one product */
    int64_t rows, part_panels;                 /* of a task, at most */
    int64_t tasks, stretch;                    /* of k, at most */
    int64_t packs;                             /* 1: panels of b are packed, 0: read in place; f32 only */
    int64_t sums_step;                         /* floats of a row of a k part's own c */
} dense_cut;

/* A task: rows [m0, m1), panels [panel0, panel1) and k [k0, k1) of a product. */
typedef struct dense_block {
    int64_t product, k_part;
    int64_t m0, m1, panel0, panel1, k0, k1;
} dense_block;

#define DENSE_K_UNIT 32 /* parts and stretches of k begin at multiples */

/* most_k: of a stretch of k, whose panels are packed at once. */
void dense_cut_init(dense_cut *cut, const cpu_gemm *g, int64_t most_k);
dense_block dense_block_of(const dense_cut *cut, const cpu_gemm *g, int64_t task);

/* Where k has parts, the c of each, (k_parts, m, sums_step), and c from them. */
int64_t dense_sums_floats(const dense_cut *cut, const cpu_gemm *g);
void dense_sums_run(const dense_cut *cut, const cpu_gemm *g, const float *sums, const cvr_threadpool *pool);

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
