/*
 * Matrix products by products of bf16 (dense.h), as dense.c has them in f32: a task is a block of one product's c
 * (dense_cut.c) and walks along k. b is packed in pairs, from f32 or bf16; a is read where it lies, or copied:
 * transposed, in two parts, or because its rows lie badly in the cache. Sums of several stretches of k stay f32 until
 * the last.
 */
#include "cpu_operand.h"
#include "dense.h"

#define BLOCK_K 768
#define COPY_PANELS 4
#define BAD_STEP 2048 /* bytes */
#define PACK_K 16     /* even: pairs */

typedef struct gemm_bf16_job {
    const cpu_gemm *g;
    dense_cut cut;
    int64_t copy_a, a_step, panel_elements;
    int64_t c_step;       /* floats of a row of a task's sums; 0: c itself is written, or the k part's */
    int64_t a_low, b_low; /* from high to low parts */
    int64_t a_at, c_at, scratch_elements;
    uint16_t *scratch;
    float *sums; /* of the parts of k */
} gemm_bf16_job;

static void gemm_plan(gemm_bf16_job *job, const cpu_gemm *g) {
    memset(job, 0, sizeof *job);
    job->g = g;
    dense_cut_init(&job->cut, g, BLOCK_K);
    const int64_t k = job->cut.stretch, rows = job->cut.rows, panels = job->cut.part_panels;
    const int bad = g->lda * (int64_t)sizeof(uint16_t) % BAD_STEP == 0 && panels >= COPY_PANELS;
    job->copy_a = g->trans_a || CPU_PARTS > 1 || bad;
    job->a_step = (cpu_ceil_div(k, 32) | 1) * 32;
    job->panel_elements = cpu_depth(k) * cpu_micro.columns;
    if (!g->c_float && k < g->k && job->cut.k_parts == 1) job->c_step = panels * cpu_micro.columns;
    job->b_low = job->panel_elements * panels;
    job->a_low = job->copy_a ? rows * job->a_step : 0;
    job->a_at = CPU_PARTS * job->b_low;
    job->c_at = job->a_at + CPU_PARTS * job->a_low;
    job->scratch_elements = cpu_line_up(job->c_at + rows * job->c_step * 2) + 32;
}

/* A task's block of c, and a stretch of k. */
typedef struct gemm_bf16_block {
    const gemm_bf16_job *job;
    dense_block at;
    int64_t k0, k;
    int64_t first;             /* c is not yet begun */
    uint16_t *packed, *a_copy; /* a_copy: NULL where a is read in place */
    float *sums;               /* rows of `step` floats from the block's first on; NULL: c itself */
    int64_t step;
} gemm_bf16_block;

static void copy_a(const gemm_bf16_block *b) {
    const cpu_gemm *g = b->job->g;
    const cpu_element *a = g->a + b->at.product * g->stride_a;
    if (!g->trans_a) {
        for (int64_t i = b->at.m0; i < b->at.m1; i++)
            operand_copy(b->a_copy + (i - b->at.m0) * b->job->a_step, b->job->a_low, a + i * g->lda + b->k0, b->k);
        return;
    }
    for (int64_t k = 0; k < b->k; k += CPU_TRANSPOSE_ROWS) {
        const cpu_element *rows[CPU_TRANSPOSE_ROWS];
        const int64_t n = cpu_min(CPU_TRANSPOSE_ROWS, b->k - k);
        for (int64_t t = 0; t < n; t++) rows[t] = a + (b->k0 + k + t) * g->lda + b->at.m0;
        operand_transpose(b->a_copy + k, b->job->a_low, b->job->a_step, rows, n, b->at.m1 - b->at.m0);
    }
}

/* Rows, or columns of a transposed b, [k, k + n_k) of a panel. */
static void pack_panel(const gemm_bf16_block *b, int64_t panel, int64_t k, int64_t n_k) {
    const cpu_gemm *g = b->job->g;
    const int64_t j = panel * cpu_micro.columns, n = cpu_min(cpu_micro.columns, g->n - j), row = b->k0 + k;
    const int64_t at = b->at.product * g->stride_b + (g->trans_b ? j * g->ldb + row : row * g->ldb + j);
    uint16_t *to = b->packed + (panel - b->at.panel0) * b->job->panel_elements + k * cpu_micro.columns;
    if (g->b_float)
        operand_pack_weight(to, b->job->b_low, (const float *)(const void *)g->b + at, g->ldb, n_k, n, g->trans_b);
    else
        operand_pack(to, b->job->b_low, g->b + at, g->ldb, n_k, n, g->trans_b);
}

/* Some rows of all panels at a time, so that rows are read along. */
static void pack_b(const gemm_bf16_block *b) {
    const int64_t some = b->job->g->trans_b ? b->k : PACK_K;
    for (int64_t k = 0; k < b->k; k += some)
        for (int64_t panel = b->at.panel0; panel < b->at.panel1; panel++)
            pack_panel(b, panel, k, cpu_min(some, b->k - k));
}

/* Where row `i`, column `j` of the block's results goes. */
static void *place(const gemm_bf16_block *b, int64_t i, int64_t j) {
    const cpu_gemm *g = b->job->g;
    const int64_t at = b->at.product * g->stride_c + i * g->ldc + j;
    if (b->sums) return b->sums + (i - b->at.m0) * b->step + j - b->at.panel0 * cpu_micro.columns;
    return g->c_float ? (void *)((float *)(void *)g->c + at) : (void *)(g->c + at);
}

static void block_tiles(const gemm_bf16_block *b) {
    const gemm_bf16_job *job = b->job;
    const cpu_gemm *g = job->g;
    const int64_t tiles = cpu_tiles(b->at.m1 - b->at.m0), a_step = b->a_copy ? job->a_step : g->lda;
    cpu_step steps[CPU_PRODUCTS];
    int64_t a_rows[CPU_TILE_ROWS_MAX], c_rows[CPU_TILE_ROWS_MAX];
    cpu_tile t = {.a_rows = a_rows,
                  .c_rows = c_rows,
                  .steps = steps,
                  .n_steps = cpu_product(steps, (cpu_step){0, 0, b->k}, job->a_low, job->b_low),
                  .a_k = 1,
                  .b_k = cpu_micro.columns,
                  .add = !b->first,
                  .c_float = b->sums || g->c_float};
    for (int64_t i = 0; i < cpu_micro.rows; i++) {
        a_rows[i] = i * a_step;
        c_rows[i] = i * (b->sums ? b->step : g->ldc);
    }
    for (int64_t tile = 0; tile < tiles; tile++) {
        const int64_t i = b->at.m0 + cpu_part(b->at.m1 - b->at.m0, tiles, tile);
        t.m = b->at.m0 + cpu_part(b->at.m1 - b->at.m0, tiles, tile + 1) - i;
        t.a = b->a_copy ? (const void *)(b->a_copy + (i - b->at.m0) * a_step)
                        : (const void *)(g->a + b->at.product * g->stride_a + i * a_step + b->k0);
        for (int64_t panel = b->at.panel0; panel < b->at.panel1; panel++) {
            const int64_t j = panel * cpu_micro.columns;
            t.b = b->packed + (panel - b->at.panel0) * job->panel_elements;
            t.c = place(b, i, j);
            t.init = g->bias && job->cut.k_parts == 1 ? g->bias + j : NULL;
            t.n = cpu_min(cpu_micro.columns, g->n - j);
            cpu_micro.by_row(&t);
        }
    }
}

/* Where the block's sums go, if not into c: to the task's own, or to the k part's. */
static void place_sums(gemm_bf16_block *b) {
    const gemm_bf16_job *job = b->job;
    b->step = job->c_step;
    if (job->c_step) b->sums = (float *)(void *)(b->packed + job->c_at);
    if (job->cut.k_parts == 1) return;
    b->step = job->cut.sums_step;
    b->sums = job->sums + (b->at.k_part * job->g->m + b->at.m0) * b->step + b->at.panel0 * cpu_micro.columns;
}

/* The task's own sums, rounded to c. */
static void sums_home(const gemm_bf16_block *b) {
    const cpu_gemm *g = b->job->g;
    const int64_t j0 = b->at.panel0 * cpu_micro.columns, j1 = cpu_min(g->n, b->at.panel1 * cpu_micro.columns);
    for (int64_t i = b->at.m0; i < b->at.m1; i++)
        cpu_high_copy((uint16_t *)(void *)g->c + b->at.product * g->stride_c + i * g->ldc + j0,
                      b->sums + (i - b->at.m0) * b->step, j1 - j0);
}

static void gemm_task(void *ctx, uint64_t task, uint32_t worker) {
    const gemm_bf16_job *job = ctx;
    const cpu_gemm *g = job->g;
    uint16_t *scratch = job->scratch + worker * job->scratch_elements;
    gemm_bf16_block b = {.job = job, .at = dense_block_of(&job->cut, g, (int64_t)task), .packed = scratch};
    if (job->copy_a) b.a_copy = scratch + job->a_at;
    place_sums(&b);
    b.first = job->cut.k_parts > 1 || !g->add;
    b.k0 = b.at.k0;
    do {
        b.k = cpu_min(job->cut.stretch, b.at.k1 - b.k0);
        if (job->copy_a) copy_a(&b);
        pack_b(&b);
        block_tiles(&b);
        b.first = 0;
        b.k0 += b.k;
    } while (b.k0 < b.at.k1);
    cpu_tiles_done();
    if (job->c_step) sums_home(&b);
}

uint64_t cpu_gemm_workspace(const cpu_gemm *g, uint32_t n_workers) {
    gemm_bf16_job job;
    gemm_plan(&job, g);
    return (uint64_t)job.scratch_elements * n_workers * sizeof(uint16_t) +
           (uint64_t)dense_sums_floats(&job.cut, g) * sizeof(float);
}

void cpu_gemm_run(const cpu_gemm *g, const cvr_threadpool *pool, void *workspace) {
    gemm_bf16_job job;
    if (g->batch == 0 || g->m == 0 || g->n == 0) return;
    gemm_plan(&job, g);
    job.sums = workspace;
    job.scratch = (uint16_t *)(void *)(job.sums + dense_sums_floats(&job.cut, g));
    pool->run(pool, (uint64_t)job.cut.tasks, gemm_task, &job);
    dense_sums_run(&job.cut, g, job.sums, pool);
}
