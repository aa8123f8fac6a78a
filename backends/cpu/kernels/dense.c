/*
 * Matrix products (Goto, van de Geijn, "Anatomy of High-Performance Matrix Multiplication", 2008) on the tiles of
 * gemm.h. A task is a block of one product's c (dense_cut.c). It walks along k; of each stretch it packs one panel of b
 * after another, where b is transposed or will be used often, and runs all its tiles of rows over it. a is read where
 * it lies, unless its rows are a power of two apart and would compete for few sets of the first-level cache.
 */
#include "dense.h"
#include "cpu_stream.h"

#define BLOCK_K 384   /* a tile's rows of a fit a first-level cache, eight panels of b half a second-level one */
#define COPY_PANELS 4 /* from which on a copy of a tile's rows pays */
#define BAD_STEP 2048 /* bytes */
#define PACK_K 16

typedef struct gemm_job {
    const cpu_gemm *g;
    dense_cut cut;
    int64_t copy_a; /* 0: a is read in place */
    int64_t a_step; /* floats of a copied row */
    int64_t panel_floats, scratch_floats;
    int64_t stream; /* rows of c below this one go past the caches */
    float *scratch, *sums;
} gemm_job;

static void gemm_plan(gemm_job *job, const cpu_gemm *g) {
    memset(job, 0, sizeof *job);
    job->g = g;
    dense_cut_init(&job->cut, g, BLOCK_K);
    const int64_t panels = job->cut.part_panels;
    job->copy_a = !g->trans_a && g->lda * (int64_t)sizeof(float) % BAD_STEP == 0 && panels >= COPY_PANELS;
    job->a_step = cpu_line_up(job->cut.stretch) + CPU_LINE_FLOATS;
    job->panel_floats = job->cut.packs ? job->cut.stretch * cpu_micro.columns : 0;
    job->scratch_floats = cpu_line_up(job->panel_floats * panels);
    if (job->copy_a) job->scratch_floats += cpu_micro.rows * job->a_step;
    const int64_t row = g->ldc * (int64_t)sizeof(float);
    if (g->batch == 1 && !g->add && job->cut.stretch == g->k && row % CPU_STREAM_LINE == 0)
        job->stream = g->m - cpu_ceil_div(CPU_STREAM_BYTES, cpu_max(1, row));
}

/* A task's block of c, and a stretch of k. */
typedef struct gemm_block {
    const gemm_job *job;
    dense_block at;
    const float *a, *b; /* the product's, at this stretch */
    float *c;           /* the product's, or the k part's own */
    int64_t ldc, k;
    int64_t first; /* c is not yet begun */
    float *packed, *a_copy;
} gemm_block;

/* Some rows of all panels at a time, so that rows are read along. */
static void pack_rows(const gemm_block *b) {
    const cpu_gemm *g = b->job->g;
    for (int64_t k = 0; k < b->k; k += PACK_K)
        for (int64_t panel = b->at.panel0; panel < b->at.panel1; panel++) {
            const int64_t j = panel * cpu_micro.columns;
            float *to = b->packed + (panel - b->at.panel0) * b->job->panel_floats + k * cpu_micro.columns;
            cpu_micro.pack_rows(to, b->b + k * g->ldb + j, g->ldb, cpu_min(PACK_K, b->k - k),
                                cpu_min(cpu_micro.columns, g->n - j));
        }
}

static void pack_transposed(const gemm_block *b) {
    const cpu_gemm *g = b->job->g;
    for (int64_t panel = b->at.panel0; panel < b->at.panel1; panel++) {
        const int64_t j = panel * cpu_micro.columns;
        cpu_micro.pack_transposed(b->packed + (panel - b->at.panel0) * b->job->panel_floats, b->b + j * g->ldb, g->ldb,
                                  b->k, cpu_min(cpu_micro.columns, g->n - j));
    }
}

/* Rows [i, i + m) of a, in place or in a copy. */
static const float *tile_rows(const gemm_block *b, int64_t i, int64_t m) {
    const cpu_gemm *g = b->job->g;
    if (!b->job->copy_a) return b->a + (g->trans_a ? i : i * g->lda);
    for (int64_t r = 0; r < m; r++)
        memcpy(b->a_copy + r * b->job->a_step, b->a + (i + r) * g->lda, (size_t)b->k * sizeof(float));
    return b->a_copy;
}

/* Of the tile after this one, whose rows begin at i, fetches some into the second-level cache: all of them over
 * COPY_PANELS panels. */
static void rows_ahead(const gemm_block *b, int64_t i, int64_t panel) {
    const int64_t each = cpu_ceil_div(cpu_micro.rows, COPY_PANELS), first = i + panel * each;
    for (int64_t r = first; r < cpu_min(first + each, b->at.m1); r++)
        for (int64_t k = 0; k < b->k; k += CPU_LINE_FLOATS) __builtin_prefetch(b->a + r * b->job->g->lda + k, 0, 2);
}

static void block_tiles(const gemm_block *b) {
    const gemm_job *job = b->job;
    const cpu_gemm *g = job->g;
    const dense_block *at = &b->at;
    const int64_t tiles = cpu_tiles(at->m1 - at->m0), a_step = job->copy_a ? job->a_step : g->lda;
    const cpu_step step = {0, 0, b->k};
    int64_t a_rows[CPU_TILE_ROWS_MAX], c_rows[CPU_TILE_ROWS_MAX];
    cpu_tile t = {.a_rows = a_rows,
                  .c_rows = c_rows,
                  .steps = &step,
                  .n_steps = 1,
                  .a_k = g->trans_a ? a_step : 1,
                  .b_k = job->cut.packs ? cpu_micro.columns : g->ldb,
                  .add = !b->first,
                  .stream = at->m1 <= job->stream};
    for (int64_t i = 0; i < cpu_micro.rows; i++) {
        a_rows[i] = i * a_step;
        c_rows[i] = i * b->ldc;
    }
    for (int64_t tile = 0; tile < tiles; tile++) {
        const int64_t i = at->m0 + cpu_part(at->m1 - at->m0, tiles, tile);
        t.m = at->m0 + cpu_part(at->m1 - at->m0, tiles, tile + 1) - i;
        t.a = tile_rows(b, i, t.m);
        for (int64_t panel = at->panel0; panel < at->panel1; panel++) {
            const int64_t j = panel * cpu_micro.columns;
            if (job->copy_a) rows_ahead(b, i + t.m, panel - at->panel0);
            t.b = job->cut.packs ? b->packed + (panel - at->panel0) * job->panel_floats : b->b + j;
            t.c = b->c + i * b->ldc + j;
            t.init = g->bias && job->cut.k_parts == 1 ? g->bias + j : NULL;
            t.n = cpu_min(cpu_micro.columns, g->n - j);
            (g->trans_a ? cpu_micro.by_column : cpu_micro.by_row)(&t);
        }
    }
}

static void gemm_task(void *ctx, uint64_t task, uint32_t worker) {
    const gemm_job *job = ctx;
    const cpu_gemm *g = job->g;
    gemm_block b = {.job = job, .at = dense_block_of(&job->cut, g, (int64_t)task)};
    const int64_t product = b.at.product;
    const int own = job->cut.k_parts > 1;
    b.packed = job->scratch + worker * job->scratch_floats;
    b.a_copy = b.packed + cpu_line_up(job->panel_floats * job->cut.part_panels);
    b.ldc = own ? job->cut.sums_step : g->ldc;
    b.c = own ? job->sums + b.at.k_part * g->m * b.ldc : g->c + product * g->stride_c;
    b.first = own || !g->add;
    int64_t k = b.at.k0;
    do {
        b.k = cpu_min(job->cut.stretch, b.at.k1 - k);
        b.a = g->a + product * g->stride_a + (g->trans_a ? k * g->lda : k);
        b.b = g->b + product * g->stride_b + (g->trans_b ? k : k * g->ldb);
        if (job->cut.packs) (g->trans_b ? pack_transposed : pack_rows)(&b);
        block_tiles(&b);
        b.first = 0;
        k += b.k;
    } while (k < b.at.k1);
    if (job->stream > 0) cpu_stream_end();
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
    return (uint64_t)(job.scratch_floats * n_workers + dense_sums_floats(&job.cut, g)) * sizeof(float);
}

void cpu_gemm_run(const cpu_gemm *g, const cvr_threadpool *pool, void *workspace) {
    gemm_job job;
    if (g->batch == 0 || g->m == 0 || g->n == 0) return;
    if (dense_wants_dots(g)) {
        dense_dots_run(g, pool);
        return;
    }
    gemm_plan(&job, g);
    if (!cpu_stream_aligned(g->c)) job.stream = 0;
    job.sums = workspace;
    job.scratch = job.sums + dense_sums_floats(&job.cut, g);
    cpu_gemm_tasks(pool, job.cut.tasks, gemm_task, &job);
    dense_sums_run(&job.cut, g, job.sums, pool);
}
