/*
 * Matrix products by products of bf16 (dense.h), as dense.c has them in f32: a task is a block of one product's c and
 * walks along k. b is packed in pairs, from f32 or bf16; a is read where it lies, or copied: transposed, in two parts,
 * or because its rows lie badly in the cache. Sums of several stretches of k stay f32 until the last.
 */
#include "cpu_operand.h"
#include "dense.h"

#define BLOCK_K 512
#define BLOCK_ROWS 224
#define BLOCK_PANELS 8
#define TASKS_WANTED 32
#define TASK_LEAST 131072 /* multiply-adds, below which another task costs more than it brings */
#define ROWS_LEAST 56
#define COPY_PANELS 4
#define BAD_STEP 2048 /* bytes */

typedef struct gemm_job {
    const cpu_gemm *g;
    int64_t panels, m_parts, n_parts; /* of one product */
    int64_t rows, part_panels;        /* of a task, at most */
    int64_t copy_a, a_step, panel_elements;
    int64_t c_step;       /* floats of a row of sums; 0: c itself is written */
    int64_t a_low, b_low; /* from high to low parts */
    int64_t a_at, c_at, scratch_elements;
    uint16_t *scratch;
} gemm_job;

static void gemm_plan(gemm_job *job, const cpu_gemm *g) {
    memset(job, 0, sizeof *job);
    job->g = g;
    job->panels = cpu_panels(g->n);
    job->rows = cpu_min(BLOCK_ROWS, g->m);
    job->part_panels = cpu_min(BLOCK_PANELS, job->panels);
    for (;;) {
        job->m_parts = cpu_ceil_div(g->m, cpu_max(1, job->rows));
        job->n_parts = cpu_ceil_div(job->panels, cpu_max(1, job->part_panels));
        const int64_t work = job->rows * job->part_panels * cpu_micro.columns * g->k;
        if (g->batch * job->m_parts * job->n_parts >= TASKS_WANTED || work < 2 * TASK_LEAST) break;
        if (job->part_panels > 1)
            job->part_panels = cpu_ceil_div(job->part_panels, 2);
        else if (job->rows > ROWS_LEAST)
            job->rows = cpu_ceil_div(job->rows, 2);
        else
            break;
    }
    const int64_t k = cpu_min(BLOCK_K, g->k);
    const int bad = g->lda * (int64_t)sizeof(uint16_t) % BAD_STEP == 0 && job->part_panels >= COPY_PANELS;
    job->copy_a = g->trans_a || CPU_PARTS > 1 || bad;
    job->a_step = (cpu_ceil_div(k, 32) | 1) * 32;
    job->panel_elements = cpu_depth(k) * cpu_micro.columns;
    if (!g->c_float && g->k > BLOCK_K) job->c_step = job->part_panels * cpu_micro.columns;
    job->b_low = job->panel_elements * job->part_panels;
    job->a_low = job->copy_a ? job->rows * job->a_step : 0;
    job->a_at = CPU_PARTS * job->b_low;
    job->c_at = job->a_at + CPU_PARTS * job->a_low;
    job->scratch_elements = cpu_line_up(job->c_at + job->rows * job->c_step * 2) + 32;
}

/* A task's block of c, and a stretch of k. */
typedef struct gemm_block {
    const gemm_job *job;
    int64_t product, m0, m1, panel0, panel1, k0, k;
    uint16_t *packed, *a_copy; /* a_copy: NULL where a is read in place */
    float *sums;               /* NULL: c itself */
} gemm_block;

static void copy_a(const gemm_block *b) {
    const cpu_gemm *g = b->job->g;
    const cpu_element *a = g->a + b->product * g->stride_a;
    if (!g->trans_a) {
        for (int64_t i = b->m0; i < b->m1; i++)
            operand_copy(b->a_copy + (i - b->m0) * b->job->a_step, b->job->a_low, a + i * g->lda + b->k0, b->k);
        return;
    }
    for (int64_t k = 0; k < b->k; k += CPU_TRANSPOSE_ROWS) {
        const cpu_element *rows[CPU_TRANSPOSE_ROWS];
        const int64_t n = cpu_min(CPU_TRANSPOSE_ROWS, b->k - k);
        for (int64_t t = 0; t < n; t++) rows[t] = a + (b->k0 + k + t) * g->lda + b->m0;
        operand_transpose(b->a_copy + k, b->job->a_low, b->job->a_step, rows, n, b->m1 - b->m0);
    }
}

static void pack_b(const gemm_block *b) {
    const cpu_gemm *g = b->job->g;
    uint16_t *to = b->packed;
    for (int64_t panel = b->panel0; panel < b->panel1; panel++, to += b->job->panel_elements) {
        const int64_t j = panel * cpu_micro.columns, n = cpu_min(cpu_micro.columns, g->n - j);
        const int64_t at = b->product * g->stride_b + (g->trans_b ? j * g->ldb + b->k0 : b->k0 * g->ldb + j);
        if (g->b_float)
            operand_pack_weight(to, b->job->b_low, (const float *)(const void *)g->b + at, g->ldb, b->k, n, g->trans_b);
        else
            operand_pack(to, b->job->b_low, g->b + at, g->ldb, b->k, n, g->trans_b);
    }
}

/* Where row `i`, column `j` of the block's results goes. */
static void *place(const gemm_block *b, int64_t i, int64_t j) {
    const cpu_gemm *g = b->job->g;
    const int64_t at = b->product * g->stride_c + i * g->ldc + j;
    if (b->sums) return b->sums + (i - b->m0) * b->job->c_step + j - b->panel0 * cpu_micro.columns;
    return g->c_float ? (void *)((float *)(void *)g->c + at) : (void *)(g->c + at);
}

static void block_tiles(const gemm_block *b) {
    const gemm_job *job = b->job;
    const cpu_gemm *g = job->g;
    const int64_t tiles = cpu_tiles(b->m1 - b->m0), a_step = b->a_copy ? job->a_step : g->lda;
    cpu_step steps[CPU_PRODUCTS];
    int64_t a_rows[CPU_TILE_ROWS_MAX], c_rows[CPU_TILE_ROWS_MAX];
    cpu_tile t = {.a_rows = a_rows,
                  .c_rows = c_rows,
                  .steps = steps,
                  .n_steps = cpu_product(steps, (cpu_step){0, 0, b->k}, job->a_low, job->b_low),
                  .a_k = 1,
                  .b_k = cpu_micro.columns,
                  .add = b->k0 > 0 || g->add,
                  .c_float = b->sums || g->c_float};
    for (int64_t i = 0; i < cpu_micro.rows; i++) {
        a_rows[i] = i * a_step;
        c_rows[i] = i * (b->sums ? job->c_step : g->ldc);
    }
    for (int64_t tile = 0; tile < tiles; tile++) {
        const int64_t i = b->m0 + cpu_part(b->m1 - b->m0, tiles, tile);
        t.m = b->m0 + cpu_part(b->m1 - b->m0, tiles, tile + 1) - i;
        t.a = b->a_copy ? (const void *)(b->a_copy + (i - b->m0) * a_step)
                        : (const void *)(g->a + b->product * g->stride_a + i * a_step + b->k0);
        for (int64_t panel = b->panel0; panel < b->panel1; panel++) {
            const int64_t j = panel * cpu_micro.columns;
            t.b = b->packed + (panel - b->panel0) * job->panel_elements;
            t.c = place(b, i, j);
            t.init = g->bias ? g->bias + j : NULL;
            t.n = cpu_min(cpu_micro.columns, g->n - j);
            cpu_micro.by_row(&t);
        }
    }
}

/* Task (product, part of rows, part of panels). */
static void gemm_task(void *ctx, uint64_t task, uint32_t worker) {
    const gemm_job *job = ctx;
    const cpu_gemm *g = job->g;
    int64_t t = (int64_t)task;
    const int64_t n_part = t % job->n_parts, m_part = t / job->n_parts % job->m_parts;
    uint16_t *scratch = job->scratch + worker * job->scratch_elements;
    gemm_block b = {.job = job, .product = t / (job->n_parts * job->m_parts), .packed = scratch};
    if (job->copy_a) b.a_copy = scratch + job->a_at;
    if (job->c_step) b.sums = (float *)(void *)(scratch + job->c_at);
    b.m0 = cpu_part(g->m, job->m_parts, m_part);
    b.m1 = cpu_part(g->m, job->m_parts, m_part + 1);
    b.panel0 = cpu_part(job->panels, job->n_parts, n_part);
    b.panel1 = cpu_part(job->panels, job->n_parts, n_part + 1);
    do {
        b.k = cpu_min(BLOCK_K, g->k - b.k0);
        if (job->copy_a) copy_a(&b);
        pack_b(&b);
        block_tiles(&b);
        b.k0 += b.k;
    } while (b.k0 < g->k);
    cpu_tiles_done();
    const int64_t j0 = b.panel0 * cpu_micro.columns, j1 = cpu_min(g->n, b.panel1 * cpu_micro.columns);
    for (int64_t i = b.m0; b.sums && i < b.m1; i++)
        cpu_high_copy((uint16_t *)(void *)g->c + b.product * g->stride_c + i * g->ldc + j0,
                      b.sums + (i - b.m0) * job->c_step, j1 - j0);
}

uint64_t cpu_gemm_workspace(const cpu_gemm *g, uint32_t n_workers) {
    gemm_job job;
    gemm_plan(&job, g);
    return (uint64_t)job.scratch_elements * n_workers * sizeof(uint16_t);
}

void cpu_gemm_run(const cpu_gemm *g, const cvr_threadpool *pool, void *workspace) {
    gemm_job job;
    if (g->batch == 0 || g->m == 0 || g->n == 0) return;
    gemm_plan(&job, g);
    job.scratch = workspace;
    pool->run(pool, (uint64_t)(g->batch * job.m_parts * job.n_parts), gemm_task, &job);
}
