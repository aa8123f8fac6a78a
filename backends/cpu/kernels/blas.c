/* Matrix products and column sums, cut into tasks by shape so that results never depend on the number of threads. */
#include "blas.h"

#include <cblas.h>

/* A task's share of c: big enough for OpenBLAS to be near its peak, small enough to have tasks for many cores. */
#define BLOCK_ROWS 128
#define BLOCK_COLUMNS 256
#define SMALL_BLOCK 64

/* Rows that one task of a column sum takes, and rows summed in float before they go to double. */
#define SUM_TASK_ROWS 1024
#define SUM_FLOAT_ROWS 64

void cpu_gemm_run(const cpu_gemm *g) {
    if (g->m == 0 || g->n == 0) return;
    if (g->k == 0) {
        for (int64_t i = 0; i < g->m; i++)
            for (int64_t j = 0; j < g->n; j++) g->c[i * g->ldc + j] = g->beta == 0 ? 0 : g->beta * g->c[i * g->ldc + j];
        return;
    }
    cblas_sgemm(CblasRowMajor, g->trans_a ? CblasTrans : CblasNoTrans, g->trans_b ? CblasTrans : CblasNoTrans,
                (blasint)g->m, (blasint)g->n, (blasint)g->k, 1.0f, g->a, (blasint)g->lda, g->b, (blasint)g->ldb,
                g->beta, g->c, (blasint)g->ldc);
}

typedef struct batch_job {
    const cpu_gemm_batch *b;
    int64_t rows, columns;             /* of a block */
    int64_t row_blocks, column_blocks; /* of one product */
} batch_job;

static void batch_task(void *ctx, uint64_t task, uint32_t worker) {
    const batch_job *job = ctx;
    const cpu_gemm_batch *b = job->b;
    const int64_t t = (int64_t)task, per_batch = job->row_blocks * job->column_blocks;
    const int64_t i = t / per_batch, block = t % per_batch;
    const int64_t m0 = block / job->column_blocks * job->rows, n0 = block % job->column_blocks * job->columns;
    cpu_gemm g = b->one;
    (void)worker;
    g.m = cpu_min(job->rows, g.m - m0);
    g.n = cpu_min(job->columns, g.n - n0);
    g.a += i * b->stride_a + (g.trans_a ? m0 : m0 * g.lda);
    g.b += i * b->stride_b + (g.trans_b ? n0 * g.ldb : n0);
    g.c += i * b->stride_c + m0 * g.ldc + n0;
    if (b->bias) {
        for (int64_t r = 0; r < g.m; r++) memcpy(g.c + r * g.ldc, b->bias + n0, (size_t)g.n * sizeof(float));
        g.beta = 1;
    }
    cpu_gemm_run(&g);
}

void cpu_gemm_batch_run(const cvr_threadpool *pool, const cpu_gemm_batch *b) {
    const cpu_gemm *g = &b->one;
    batch_job job = {.b = b, .rows = BLOCK_ROWS, .columns = BLOCK_COLUMNS};
    if (b->batch == 0 || g->m == 0 || g->n == 0) return;
    /* Few but long products (a classifier's head at a small batch): smaller blocks, or one core would do it all. */
    if (b->batch * cpu_ceil_div(g->m, job.rows) * cpu_ceil_div(g->n, job.columns) < 16)
        job.rows = job.columns = SMALL_BLOCK;
    job.row_blocks = cpu_ceil_div(g->m, job.rows);
    job.column_blocks = cpu_ceil_div(g->n, job.columns);
    pool->run(pool, (uint64_t)(b->batch * job.row_blocks * job.column_blocks), batch_task, &job);
}

typedef struct sum_job {
    const float *x;
    int64_t rows, n, tasks;
    float *out;
    double *partial; /* (tasks, n) */
} sum_job;

/* partial[task,j] = sum of x[i,j] over the task's rows. */
static void sum_task(void *ctx, uint64_t task, uint32_t worker) {
    const sum_job *job = ctx;
    const int64_t first = (int64_t)task * SUM_TASK_ROWS, end = cpu_min(first + SUM_TASK_ROWS, job->rows);
    double *partial = job->partial + (int64_t)task * job->n;
    (void)worker;
    for (int64_t j = 0; j < job->n; j++) partial[j] = 0;
    for (int64_t j0 = 0; j0 < job->n; j0 += 64) {
        const int64_t width = cpu_min(64, job->n - j0);
        for (int64_t i0 = first; i0 < end; i0 += SUM_FLOAT_ROWS) {
            float sum[64] = {0};
            for (int64_t i = i0; i < cpu_min(i0 + SUM_FLOAT_ROWS, end); i++) {
                const float *row = job->x + i * job->n + j0;
                for (int64_t j = 0; j < width; j++) sum[j] += row[j];
            }
            for (int64_t j = 0; j < width; j++) partial[j0 + j] += (double)sum[j];
        }
    }
}

uint64_t cpu_column_sum_workspace(int64_t rows, int64_t n) {
    return (uint64_t)cpu_ceil_div(rows, SUM_TASK_ROWS) * (uint64_t)n * sizeof(double);
}

void cpu_column_sum(const cvr_threadpool *pool, const float *x, int64_t rows, int64_t n, float *out,
                    double *workspace) {
    sum_job job = {x, rows, n, cpu_ceil_div(rows, SUM_TASK_ROWS), out, workspace};
    if (job.tasks > 0) pool->run(pool, (uint64_t)job.tasks, sum_task, &job);
    for (int64_t j = 0; j < n; j++) {
        double sum = 0;
        for (int64_t t = 0; t < job.tasks; t++) sum += workspace[t * n + j];
        out[j] = (float)sum;
    }
}
