/*
 * How a matrix product is cut into tasks, by its shape alone. A task is a block of c, as large as the caches allow,
 * since every block packs its panels of b anew. Where blocks are too few for many threads k is cut as well: every part
 * of it has a c of its own, in f32, and the parts are added up in their order at the end. Smaller blocks come last.
 */
#include "cpu_rows.h"
#include "dense.h"

/* Rows that a task has at most, and those among which packed panels are still shared well. */
#define BLOCK_ROWS 448
#define SHARED_ROWS 224
#define BLOCK_PANELS 8
#define TASKS_WANTED 32
/* From so many on smaller blocks are not worth it; nor are, from fewer on, those of a product whose k is cut. */
#define TASKS_ENOUGH 24
#define TASKS_SOME 8
/* Work of a task, in multiply-adds, below which another one costs more than it brings. */
#define TASK_LEAST (CPU_BF16 ? 131072 : 65536)
/* Rows from which on a copy of b, and one that transposes it, pays. */
#define PACK_ROWS (CPU_BF16 ? 56 : 28)
#define TRANSPOSE_ROWS (CPU_BF16 ? 56 : 112)
/* Of a part of k, at least: its c is written and read once more. */
#define PART_K (CPU_BF16 ? 1024 : 512)
#define SUM_FLOATS 16384

/* Makes tasks smaller, in the order of what it costs; 0: they are small enough. */
static int cut_more(dense_cut *cut, const cpu_gemm *g) {
    const int64_t tasks = g->batch * cut->m_parts * cut->n_parts * cut->k_parts;
    const int64_t work = cut->rows * cut->part_panels * cpu_micro.columns * (g->k / cut->k_parts);
    if (g->alone || tasks >= TASKS_WANTED || work < 2 * TASK_LEAST) return 0;
    if (g->batch == 1 && cut->k_parts == 1 && g->k >= 2 * PART_K)
        while (tasks * cut->k_parts < TASKS_WANTED && g->k >= 2 * PART_K * cut->k_parts) cut->k_parts *= 2;
    else if (tasks >= TASKS_ENOUGH || (cut->k_parts > 1 && tasks >= TASKS_SOME))
        return 0;
    else if (cut->part_panels > 1 && cut->rows <= SHARED_ROWS)
        cut->part_panels = cpu_ceil_div(cut->part_panels, 2);
    else if (cut->rows > (g->trans_b ? TRANSPOSE_ROWS : PACK_ROWS))
        cut->rows = cpu_ceil_div(cut->rows, 2);
    else
        return 0;
    return 1;
}

/* Even stretches of at most `most`, in units: the length of all but the last. */
static int64_t stretch_of(const dense_cut *cut, int64_t k, int64_t most) {
    const int64_t span = cpu_ceil_div(cpu_ceil_div(k, DENSE_K_UNIT), cut->k_parts); /* of the longest part */
    const int64_t stretches = cpu_max(1, cpu_ceil_div(span * DENSE_K_UNIT, most));
    return cpu_min(k, cpu_ceil_div(span, stretches) * DENSE_K_UNIT);
}

void dense_cut_init(dense_cut *cut, const cpu_gemm *g, int64_t most_k) {
    *cut = (dense_cut){.panels = cpu_panels(g->n), .k_parts = 1};
    cut->rows = cpu_min(BLOCK_ROWS, g->m);
    cut->part_panels = cpu_min(BLOCK_PANELS, cut->panels);
    do {
        cut->m_parts = cpu_ceil_div(g->m, cpu_max(1, cut->rows));
        cut->n_parts = cpu_ceil_div(cut->panels, cpu_max(1, cut->part_panels));
    } while (cut_more(cut, g));
    cut->stretch = stretch_of(cut, g->k, most_k);
    if (cut->k_parts > 1) cut->sums_step = cpu_line_up(g->n);
    cut->packs = g->trans_b || cut->rows > PACK_ROWS;
    cut->tasks = g->batch * cut->m_parts * cut->n_parts * cut->k_parts;
}

/* Tasks are numbered along n, then m, then k. */
dense_block dense_block_of(const dense_cut *cut, const cpu_gemm *g, int64_t task) {
    const int64_t n_part = task % cut->n_parts, m_part = task / cut->n_parts % cut->m_parts;
    const int64_t rest = task / (cut->n_parts * cut->m_parts), lines = cpu_ceil_div(g->k, DENSE_K_UNIT);
    dense_block b = {.product = rest / cut->k_parts, .k_part = rest % cut->k_parts};
    b.m0 = cpu_part(g->m, cut->m_parts, m_part);
    b.m1 = cpu_part(g->m, cut->m_parts, m_part + 1);
    b.panel0 = cpu_part(cut->panels, cut->n_parts, n_part);
    b.panel1 = cpu_part(cut->panels, cut->n_parts, n_part + 1);
    b.k0 = cpu_part(lines, cut->k_parts, b.k_part) * DENSE_K_UNIT;
    b.k1 = cpu_min(g->k, cpu_part(lines, cut->k_parts, b.k_part + 1) * DENSE_K_UNIT);
    return b;
}

int64_t dense_sums_floats(const dense_cut *cut, const cpu_gemm *g) {
    return cut->k_parts > 1 ? cut->k_parts * g->m * cut->sums_step : 0;
}

typedef struct sums_job {
    const dense_cut *cut;
    const cpu_gemm *g;
    const float *sums;
    int64_t tasks;
} sums_job;

/* c[i,j] = c[i,j], bias[j] or 0, + the sums of all parts; n of them from j on. */
static void sum_parts(const sums_job *job, int64_t i, int64_t j, int64_t n) {
    const cpu_gemm *g = job->g;
    const int bf16 = CPU_BF16 && !g->c_float;
    const int64_t at = i * g->ldc + j, part = g->m * job->cut->sums_step;
    const float *from = job->sums + i * job->cut->sums_step + j;
    float buffer[CPU_ROW], old[CPU_ROW];
    float *row = cpu_row_space(g->c, bf16, at, buffer);
    const float *init = g->add ? cpu_row_read(g->c, bf16, at, n, old) : g->bias ? g->bias + j : NULL;
    for (int64_t c = 0; c < n; c++) row[c] = (init ? init[c] : 0) + from[c];
    for (int64_t k = 1; k < job->cut->k_parts; k++)
        for (int64_t c = 0; c < n; c++) row[c] += from[k * part + c];
    cpu_row_store(g->c, bf16, at, n, row);
}

static void sums_task(void *ctx, uint64_t task, uint32_t worker) {
    const sums_job *job = ctx;
    const int64_t end = cpu_part(job->g->m, job->tasks, (int64_t)task + 1);
    (void)worker;
    for (int64_t i = cpu_part(job->g->m, job->tasks, (int64_t)task); i < end; i++)
        for (int64_t j = 0; j < job->g->n; j += CPU_ROW) sum_parts(job, i, j, cpu_min(CPU_ROW, job->g->n - j));
}

void dense_sums_run(const dense_cut *cut, const cpu_gemm *g, const float *sums, const cvr_threadpool *pool) {
    sums_job job = {.cut = cut, .g = g, .sums = sums};
    if (cut->k_parts == 1) return;
    job.tasks = cpu_min(g->m, cpu_ceil_div(g->m * g->n, SUM_FLOATS));
    cpu_run(pool, job.tasks, sums_task, &job);
}
