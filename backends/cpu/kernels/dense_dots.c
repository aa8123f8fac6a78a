/*
 * a b^T where both lie contiguous along k, as dot products: for a classifier's head or a batch of one, where a packed b
 * would be used too seldom. Vectors run along k; DOTS_M x DOTS_N of them accumulate at once.
 */
#include "cpu_vec.h"
#include "dense.h"

#if VEC == 16
#define DOTS_M 4
#define DOTS_N 5
#else
#define DOTS_M 3
#define DOTS_N 4
#endif

/* Rows of a, or of b, up to which this is faster than packing b. */
#define FEW_A 16
#define FEW_B 16
#define TASK_WORK 262144 /* multiply-adds */

#define ALWAYS_INLINE static inline __attribute__((always_inline))

int dense_wants_dots(const cpu_gemm *g) {
    return g->trans_b && !g->trans_a && !g->add && g->k >= 2 * VEC && (g->m <= FEW_A || g->n <= FEW_B);
}

/* c[i,j] = dot(a[i], b[j]) + bias[j] for m rows of a from i on and n of b from j on; both constant. */
ALWAYS_INLINE void dots(const cpu_gemm *g, const float *a, const float *b, float *c, const float *bias, int m, int n) {
    const int64_t whole = g->k & ~(int64_t)(VEC - 1);
    const vec_part part = vec_part_of(g->k - whole);
    vec sum[DOTS_M][DOTS_N];
    for (int i = 0; i < m; i++)
        for (int j = 0; j < n; j++) sum[i][j] = vec_zero();
    for (int64_t k = 0; k < whole; k += VEC) {
        vec row[DOTS_M];
        for (int i = 0; i < m; i++) row[i] = vec_load(a + i * g->lda + k);
        for (int j = 0; j < n; j++) {
            const vec y = vec_load(b + j * g->ldb + k);
            for (int i = 0; i < m; i++) sum[i][j] = vec_fma(row[i], y, sum[i][j]);
        }
    }
    for (int i = 0; i < m; i++)
        for (int j = 0; j < n; j++) {
            if (whole < g->k)
                sum[i][j] = vec_fma(vec_load_part(a + i * g->lda + whole, part),
                                    vec_load_part(b + j * g->ldb + whole, part), sum[i][j]);
            c[i * g->ldc + j] = vec_sum(sum[i][j]) + (bias ? bias[j] : 0);
        }
}

typedef struct dots_job {
    const cpu_gemm *g;
    int64_t m_parts, n_parts;
} dots_job;

/* Some rows of a against some of b. */
static void dots_block(const cpu_gemm *g, const float *a, const float *b, float *c, int64_t m, int64_t j0, int64_t j1) {
    int64_t i = 0;
    for (; i < m; i += i + DOTS_M <= m ? DOTS_M : 1) {
        const float *row = a + i * g->lda;
        float *out = c + i * g->ldc;
        const int whole = i + DOTS_M <= m;
        int64_t j = j0;
        for (; j + DOTS_N <= j1; j += DOTS_N) {
            const float *bias = g->bias ? g->bias + j : NULL;
            if (whole)
                dots(g, row, b + j * g->ldb, out + j, bias, DOTS_M, DOTS_N);
            else
                dots(g, row, b + j * g->ldb, out + j, bias, 1, DOTS_N);
        }
        for (; j < j1; j++) {
            const float *bias = g->bias ? g->bias + j : NULL;
            if (whole)
                dots(g, row, b + j * g->ldb, out + j, bias, DOTS_M, 1);
            else
                dots(g, row, b + j * g->ldb, out + j, bias, 1, 1);
        }
    }
}

/* Task (product, part of a's rows, part of b's). */
static void dots_task(void *ctx, uint64_t task, uint32_t worker) {
    const dots_job *job = ctx;
    const cpu_gemm *g = job->g;
    const int64_t t = (int64_t)task, product = t / (job->m_parts * job->n_parts);
    const int64_t m_part = t / job->n_parts % job->m_parts, n_part = t % job->n_parts;
    const int64_t i0 = cpu_part(g->m, job->m_parts, m_part), i1 = cpu_part(g->m, job->m_parts, m_part + 1);
    (void)worker;
    dots_block(g, g->a + product * g->stride_a + i0 * g->lda, g->b + product * g->stride_b,
               g->c + product * g->stride_c + i0 * g->ldc, i1 - i0, cpu_part(g->n, job->n_parts, n_part),
               cpu_part(g->n, job->n_parts, n_part + 1));
}

void dense_dots_run(const cpu_gemm *g, const cvr_threadpool *pool) {
    dots_job job = {.g = g, .m_parts = 1, .n_parts = 1};
    const int64_t parts = cpu_ceil_div(g->m * g->n * g->k, TASK_WORK);
    if (g->m > g->n)
        job.m_parts = cpu_max(1, cpu_min(parts, g->m / (4 * DOTS_M)));
    else
        job.n_parts = cpu_max(1, cpu_min(parts, g->n / (4 * DOTS_N)));
    const int64_t tasks = g->batch * job.m_parts * job.n_parts;
    cpu_gemm_tasks(pool, tasks, dots_task, &job);
}
