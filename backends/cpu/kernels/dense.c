/*
 * Matrix products (Goto, van de Geijn, "Anatomy of High-Performance Matrix Multiplication", 2008) on the tiles of
 * gemm.h. A task is a block of one product's c. It walks along k; of each stretch it packs one panel of b after
 * another, where b is transposed or will be used often, and runs all its tiles of rows over it. a is read where it
 * lies, unless its rows are a power of two apart and would compete for few sets of the first-level cache.
 */
#include "dense.h"

#define BLOCK_K 256
#define BLOCK_ROWS 224
#define BLOCK_PANELS 8
#define TASKS_WANTED 32
/* Work of a task, in multiply-adds, below which another one costs more than it brings. */
#define TASK_LEAST 65536
/* Rows of a in a task from which on a copy of b, and one that transposes it, pays; and panels from which on a copy of a
 * does. */
#define PACK_ROWS 28
#define TRANSPOSE_ROWS 112
#define COPY_PANELS 4
#define BAD_STEP 2048 /* bytes */

typedef struct gemm_job {
    const cpu_gemm *g;
    int64_t panels, m_parts, n_parts; /* of one product */
    int64_t rows, part_panels;        /* of a task, at most */
    int64_t pack_b, copy_a;
    int64_t a_step; /* floats of a copied row */
    int64_t panel_floats, scratch_floats;
    float *scratch;
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
        else if (job->rows > (g->trans_b ? TRANSPOSE_ROWS : PACK_ROWS))
            job->rows = cpu_ceil_div(job->rows, 2);
        else
            break;
    }
    const int64_t k = cpu_min(BLOCK_K, g->k);
    job->pack_b = g->trans_b || job->rows > PACK_ROWS;
    job->copy_a = !g->trans_a && g->lda * (int64_t)sizeof(float) % BAD_STEP == 0 && job->part_panels >= COPY_PANELS;
    job->a_step = cpu_line_up(k) + CPU_LINE_FLOATS;
    job->panel_floats = job->pack_b ? k * cpu_micro.columns : 0;
    job->scratch_floats =
        cpu_line_up(job->panel_floats * job->part_panels + (job->copy_a ? job->rows * job->a_step : 0));
}

/* A task's block of c, and a stretch of k. */
typedef struct gemm_block {
    const gemm_job *job;
    const float *a, *b; /* the product's, at this stretch */
    float *c;
    int64_t m0, m1, panel0, panel1, k0, k;
    const float *a_copy; /* NULL: a is read in place */
} gemm_block;

static void copy_a(const gemm_block *b, float *to) {
    const gemm_job *job = b->job;
    for (int64_t i = b->m0; i < b->m1; i++)
        memcpy(to + (i - b->m0) * job->a_step, b->a + i * job->g->lda, (size_t)b->k * sizeof(float));
}

static void pack_b(const gemm_block *b, float *to) {
    const cpu_gemm *g = b->job->g;
    for (int64_t panel = b->panel0; panel < b->panel1; panel++, to += b->job->panel_floats) {
        const int64_t j = panel * cpu_micro.columns, n = cpu_min(cpu_micro.columns, g->n - j);
        if (g->trans_b)
            cpu_micro.pack_transposed(to, b->b + j * g->ldb, g->ldb, b->k, n);
        else
            cpu_micro.pack_rows(to, b->b + j, g->ldb, b->k, n);
    }
}

/* `packed`: the panels of b, or NULL where they are read in place. */
static void block_tiles(const gemm_block *b, const float *packed) {
    const gemm_job *job = b->job;
    const cpu_gemm *g = job->g;
    const int64_t tiles = cpu_tiles(b->m1 - b->m0), a_step = b->a_copy ? job->a_step : g->lda;
    const cpu_step step = {0, 0, b->k};
    int64_t a_rows[CPU_TILE_ROWS_MAX], c_rows[CPU_TILE_ROWS_MAX];
    cpu_tile t = {.a_rows = a_rows,
                  .c_rows = c_rows,
                  .steps = &step,
                  .n_steps = 1,
                  .a_k = g->trans_a ? g->lda : 1,
                  .b_k = packed ? cpu_micro.columns : g->ldb,
                  .add = b->k0 > 0 || g->add};
    for (int64_t i = 0; i < cpu_micro.rows; i++) {
        a_rows[i] = i * a_step;
        c_rows[i] = i * g->ldc;
    }
    for (int64_t tile = 0; tile < tiles; tile++) {
        const int64_t i = b->m0 + cpu_part(b->m1 - b->m0, tiles, tile);
        t.m = b->m0 + cpu_part(b->m1 - b->m0, tiles, tile + 1) - i;
        t.a = b->a_copy ? b->a_copy + (i - b->m0) * a_step : b->a + (g->trans_a ? i : i * a_step);
        for (int64_t panel = b->panel0; panel < b->panel1; panel++) {
            const int64_t j = panel * cpu_micro.columns;
            t.b = packed ? packed + (panel - b->panel0) * job->panel_floats : b->b + j;
            t.c = b->c + i * g->ldc + j;
            t.init = g->bias ? g->bias + j : NULL;
            t.n = cpu_min(cpu_micro.columns, g->n - j);
            (g->trans_a ? cpu_micro.by_column : cpu_micro.by_row)(&t);
        }
    }
}

/* Task (product, part of rows, part of panels). */
static void gemm_task(void *ctx, uint64_t task, uint32_t worker) {
    const gemm_job *job = ctx;
    const cpu_gemm *g = job->g;
    int64_t t = (int64_t)task;
    const int64_t n_part = t % job->n_parts, m_part = t / job->n_parts % job->m_parts;
    t /= job->n_parts * job->m_parts;
    float *scratch = job->scratch + worker * job->scratch_floats;
    gemm_block b = {.job = job, .c = g->c + t * g->stride_c};
    b.m0 = cpu_part(g->m, job->m_parts, m_part);
    b.m1 = cpu_part(g->m, job->m_parts, m_part + 1);
    b.panel0 = cpu_part(job->panels, job->n_parts, n_part);
    b.panel1 = cpu_part(job->panels, job->n_parts, n_part + 1);
    do {
        b.k = cpu_min(BLOCK_K, g->k - b.k0);
        b.a = g->a + t * g->stride_a + (g->trans_a ? b.k0 * g->lda : b.k0);
        b.b = g->b + t * g->stride_b + (g->trans_b ? b.k0 : b.k0 * g->ldb);
        if (job->copy_a) {
            float *copy = scratch + job->panel_floats * job->part_panels;
            copy_a(&b, copy);
            b.a_copy = copy;
        }
        if (job->pack_b) pack_b(&b, scratch);
        block_tiles(&b, job->pack_b ? scratch : NULL);
        b.k0 += b.k;
    } while (b.k0 < g->k);
}

void cpu_gemm_tasks(const cvr_threadpool *pool, int64_t n, cvr_task_fn fn, void *job) {
    if (pool && n > 1)
        pool->run(pool, (uint64_t)n, fn, job);
    else
        for (int64_t i = 0; i < n; i++) fn(job, (uint64_t)i, 0);
}

uint64_t cpu_gemm_workspace(const cpu_gemm *g, uint32_t n_workers) {
    if (dense_wants_dots(g)) return 0;
    gemm_job job;
    gemm_plan(&job, g);
    return (uint64_t)job.scratch_floats * n_workers * sizeof(float);
}

void cpu_gemm_run(const cpu_gemm *g, const cvr_threadpool *pool, void *workspace) {
    gemm_job job;
    if (g->batch == 0 || g->m == 0 || g->n == 0) return;
    if (dense_wants_dots(g)) {
        dense_dots_run(g, pool);
        return;
    }
    gemm_plan(&job, g);
    job.scratch = workspace;
    const int64_t tasks = g->batch * job.m_parts * job.n_parts;
    cpu_gemm_tasks(pool, tasks, gemm_task, &job);
}
