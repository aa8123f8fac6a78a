/*
 * Sums of columns, out[j] = sum over i of x[i,j], x (rows, n): the gradients of biases.
 *
 * A task is a block of CPU_SUM_TASK_ROWS rows. It takes 64 columns at a time, whose float sums stay in registers or the
 * first-level cache, over CPU_SUM_FLOAT_ROWS rows; then they are added to its sums in double. The tasks' sums are added
 * in the order of the tasks, so the result does not depend on the number of threads.
 */
#include "dense.h"

typedef struct sum_job {
    const cpu_element *x;
    int64_t rows, n, tasks;
    float *out;
    double *partial; /* (tasks, n) */
} sum_job;

/* partial[task,j] = sum of x[i,j] over the task's rows. */
static void sum_task(void *ctx, uint64_t task, uint32_t worker) {
    const sum_job *job = ctx;
    const int64_t first = (int64_t)task * CPU_SUM_TASK_ROWS, end = cpu_min(first + CPU_SUM_TASK_ROWS, job->rows);
    double *partial = job->partial + (int64_t)task * job->n;
    (void)worker;
    for (int64_t j = 0; j < job->n; j++) partial[j] = 0;
    for (int64_t j0 = 0; j0 < job->n; j0 += 64) {
        const int64_t width = cpu_min(64, job->n - j0);
        for (int64_t i0 = first; i0 < end; i0 += CPU_SUM_FLOAT_ROWS) {
            float sum[64] = {0};
            for (int64_t i = i0; i < cpu_min(i0 + CPU_SUM_FLOAT_ROWS, end); i++) {
                const cpu_element *row = job->x + i * job->n + j0;
                for (int64_t j = 0; j < width; j++) sum[j] += cpu_float(row[j]);
            }
            for (int64_t j = 0; j < width; j++) partial[j0 + j] += (double)sum[j];
        }
    }
}

uint64_t cpu_column_sum_workspace(int64_t rows, int64_t n) {
    return (uint64_t)cpu_ceil_div(rows, CPU_SUM_TASK_ROWS) * (uint64_t)n * sizeof(double);
}

void cpu_column_combine(const double *partial, int64_t tasks, int64_t n, float *out) {
    for (int64_t j = 0; j < n; j++) {
        double sum = 0;
        for (int64_t t = 0; t < tasks; t++) sum += partial[t * n + j];
        out[j] = (float)sum;
    }
}

void cpu_column_sum(const cvr_threadpool *pool, const cpu_element *x, int64_t rows, int64_t n, float *out,
                    double *workspace) {
    sum_job job = {x, rows, n, cpu_ceil_div(rows, CPU_SUM_TASK_ROWS), out, workspace};
    if (job.tasks > 0) pool->run(pool, (uint64_t)job.tasks, sum_task, &job);
    cpu_column_combine(workspace, job.tasks, n, out);
}
