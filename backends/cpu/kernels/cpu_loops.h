/*
 * How the memory-bound kernels cut their work: spans of a flat array, sums in fixed lanes, and nests of strided loops.
 * All cuts follow from shapes alone, so results never depend on the number of threads.
 */
#ifndef CVR_BACKENDS_CPU_LOOPS_H
#define CVR_BACKENDS_CPU_LOOPS_H

#include "kernels.h"

/* Elements of a task: 64 KiB of floats, about what a core's own cache holds twice. */
#define CPU_SPAN 16384

/* The loop below has no dependence from one turn to the next: its pointers are equal or apart. Unlike `restrict`, this
 * also holds when a kernel works in place. */
#if defined(__clang__)
#define CPU_INDEPENDENT _Pragma("clang loop vectorize(assume_safety)")
#else
#define CPU_INDEPENDENT _Pragma("GCC ivdep")
#endif

static inline int64_t cpu_numel(const cvr_tensor *t) {
    return cvr_numel(t->rank, t->shape);
}

/* Input i's numbers, or NULL where it is absent. */
static inline float *cpu_floats(const cvr_kernel_args *a, uint32_t i) {
    return i < a->n_inputs && a->inputs[i] ? a->inputs[i]->data : NULL;
}

static inline int64_t cpu_spans(int64_t n) {
    return cpu_ceil_div(n, CPU_SPAN);
}

/* A single task runs at once, without waking the pool. */
static inline void cpu_run(const cvr_threadpool *pool, int64_t n_tasks, cvr_task_fn fn, void *ctx) {
    if (n_tasks == 1)
        fn(ctx, 0, 0);
    else if (n_tasks > 1)
        pool->run(pool, (uint64_t)n_tasks, fn, ctx);
}

/* ---- sums: LANES floats over SUM_BLOCK elements, doubles across blocks ---- */

#define CPU_LANES 16
#define CPU_SUM_BLOCK 1024

static inline double cpu_fold(const float *lanes) {
    double sum = 0;
    for (int i = 0; i < CPU_LANES; i++) sum += lanes[i];
    return sum;
}

double cpu_sum(const float *x, int64_t n);
double cpu_dot(const float *x, const float *y, int64_t n);
/* sum of (x - mean)^2 */
double cpu_sum_square(const float *x, float mean, int64_t n);
float cpu_max_of(const float *x, int64_t n);
/* sum of exp(x - shift) */
double cpu_sum_exp(const float *x, float shift, int64_t n);

/* ---- nests ---- */

#define CPU_NEST_OPERANDS 3

/*
 * Loops over the logical axes of up to three operands, sorted so that the last of `n` is the innermost in operand 0's
 * memory, neighbours that can be one loop merged, axes of 1 left out. At least one loop.
 */
typedef struct cpu_nest {
    int64_t n;
    int64_t size[CVR_MAX_RANK];
    int64_t step[CPU_NEST_OPERANDS][CVR_MAX_RANK]; /* in elements */
} cpu_nest;

/* Steps in memory along each logical axis: rank 4 lies as (N, H, W, C), all else row-major. */
void cpu_steps(uint32_t rank, const int64_t *shape, int64_t *step);
/* Steps of x along the axes of an output of `rank` axes that x is broadcast to: 0 where it repeats. */
void cpu_broadcast_steps(const cvr_tensor *x, uint32_t rank, int64_t *step);
/* `steps[k]` are operand k's along the logical axes; `cut`: loops of axes with and without a bit are not merged. */
void cpu_nest_init(cpu_nest *nest, uint32_t rank, const int64_t *shape, const int64_t *const *steps, int n_operands,
                   uint32_t cut);

/* Called for runs of the innermost loop: `at` are offsets of its first element, `n` its length. */
typedef void (*cpu_row_fn)(void *ctx, const int64_t at[CPU_NEST_OPERANDS], int64_t n);

/* Calls `row` for all elements, in tasks on the pool. The order of calls is open. */
void cpu_nest_run(const cpu_nest *nest, const cvr_threadpool *pool, cpu_row_fn row, void *ctx);

/* Offsets of index `i` over the first `n_loops` loops, row-major. */
void cpu_nest_at(const cpu_nest *nest, int64_t n_loops, int64_t i, int64_t at[CPU_NEST_OPERANDS]);

#endif
