/*
 * The products of dense.h by OpenBLAS: the dense layers of machines for which there is no pack of our own. OpenBLAS
 * runs in one thread a task, and tasks are cut by shape, so that results do not depend on the number of threads.
 */
#include "dense.h"

#include <cblas.h>
#include <pthread.h>

/* A task's share of c: big enough for OpenBLAS to be near its peak, small enough to have tasks for many cores. */
#define BLOCK_ROWS 128
#define BLOCK_COLUMNS 256
#define SMALL_BLOCK 64
#define TASKS_WANTED 16

const cpu_kernel_table *const cpu_pack_tables[] = {&cpu_linear_kernels, NULL};

typedef struct blas_job {
    const cpu_gemm *g;
    int64_t rows, columns;             /* of a block */
    int64_t row_blocks, column_blocks; /* of one product */
} blas_job;

/* Threads of OpenBLAS's own would fight with the pool's, and change results. */
static void one_thread(void) {
    openblas_set_num_threads(1);
}

static int fits_int(int64_t x) {
    return x <= INT32_MAX;
}

/* Strides are ints in this interface: longer ones go row by row, in plain loops. */
static void block_plain(const cpu_gemm *g, int64_t m, int64_t n, const float *a, const float *b, float *c) {
    for (int64_t i = 0; i < m; i++)
        for (int64_t j = 0; j < n; j++) {
            float sum = c[i * g->ldc + j];
            for (int64_t k = 0; k < g->k; k++)
                sum +=
                    a[g->trans_a ? k * g->lda + i : i * g->lda + k] * b[g->trans_b ? j * g->ldb + k : k * g->ldb + j];
            c[i * g->ldc + j] = sum;
        }
}

static void blas_task(void *ctx, uint64_t task, uint32_t worker) {
    const blas_job *job = ctx;
    const cpu_gemm *g = job->g;
    const int64_t t = (int64_t)task, per_product = job->row_blocks * job->column_blocks;
    const int64_t product = t / per_product, block = t % per_product;
    const int64_t m0 = block / job->column_blocks * job->rows, n0 = block % job->column_blocks * job->columns;
    const int64_t m = cpu_min(job->rows, g->m - m0), n = cpu_min(job->columns, g->n - n0);
    const float *a = g->a + product * g->stride_a + (g->trans_a ? m0 : m0 * g->lda);
    const float *b = g->b + product * g->stride_b + (g->trans_b ? n0 * g->ldb : n0);
    float *c = g->c + product * g->stride_c + m0 * g->ldc + n0;
    (void)worker;
    for (int64_t i = 0; i < m && !g->add; i++) {
        if (g->bias)
            memcpy(c + i * g->ldc, g->bias + n0, (size_t)n * sizeof(float));
        else
            memset(c + i * g->ldc, 0, (size_t)n * sizeof(float));
    }
    if (g->k == 0) return;
    if (!fits_int(g->k) || !fits_int(g->lda) || !fits_int(g->ldb) || !fits_int(g->ldc)) {
        block_plain(g, m, n, a, b, c);
        return;
    }
    cblas_sgemm(CblasRowMajor, g->trans_a ? CblasTrans : CblasNoTrans, g->trans_b ? CblasTrans : CblasNoTrans,
                (blasint)m, (blasint)n, (blasint)g->k, 1.0f, a, (blasint)g->lda, b, (blasint)g->ldb, 1.0f, c,
                (blasint)g->ldc);
}

uint64_t cpu_gemm_workspace(const cpu_gemm *g, uint32_t n_workers) {
    (void)g;
    (void)n_workers;
    return 0;
}

void cpu_gemm_run(const cpu_gemm *g, const cvr_threadpool *pool, void *workspace) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    blas_job job = {.g = g, .rows = BLOCK_ROWS, .columns = BLOCK_COLUMNS};
    (void)workspace;
    (void)pthread_once(&once, one_thread);
    if (g->batch == 0 || g->m == 0 || g->n == 0) return;
    /* Few but long products (a classifier's head at a small batch): smaller blocks, or one core would do it all. */
    if (g->batch * cpu_ceil_div(g->m, job.rows) * cpu_ceil_div(g->n, job.columns) < TASKS_WANTED)
        job.rows = job.columns = SMALL_BLOCK;
    job.row_blocks = cpu_ceil_div(g->m, job.rows);
    job.column_blocks = cpu_ceil_div(g->n, job.columns);
    const int64_t tasks = g->batch * job.row_blocks * job.column_blocks;
    if (pool)
        pool->run(pool, (uint64_t)tasks, blas_task, &job);
    else
        for (int64_t i = 0; i < tasks; i++) blas_task(&job, (uint64_t)i, 0);
}
