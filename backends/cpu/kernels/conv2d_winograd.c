/*
 * Winograd's convolution forward and backward-input (see conv2d_winograd.h): V = B^T d B of tiles of the source, with
 * the vectors along channels; panel by panel of the results, 36 products of V at one point with U, which stay in the
 * second-level cache until Y = A^T m A has written them.
 */
#include "conv2d_winograd.h"
#include "cpu_stream.h"

#include <math.h>

/* Up to here it is V that streams through the caches, once a panel; beyond, less is streamed if U does, once a block.
 */
#define SHARED_TILES 192
#define PART_TILES 8         /* of a task that makes it */
#define TASKS_WANTED 8       /* that multiply */
#define PART_TILES_LEAST 32  /* of one of those */
#define BLOCK_TILES 56       /* so that V stays near the second-level cache ... */
#define BLOCK_TILES_DEEP 112 /* ... unless U is what streams through it */
#define DEEP_CHANNELS 256
#define BLOCKS_FEW 32 /* of fewer, a multiple is made, so that no core waits long for another */
#define BLOCKS_EVEN 4

static void plan_shared(wino_job *job, const conv_shape *s) {
    const int64_t panel = wino_panel_floats(s), deep = s->src_c >= DEEP_CHANNELS ? BLOCK_TILES_DEEP : BLOCK_TILES;
    job->parts = cpu_max(1, cpu_min(cpu_ceil_div(TASKS_WANTED, job->panels), job->tiles.n / PART_TILES_LEAST));
    job->block_tiles = cpu_min(deep, cpu_ceil_div(job->tiles.n, job->parts));
    job->plane = job->tiles.n * job->row + CPU_LINE_FLOATS;
    job->shared_floats = cpu_line_up(WINO_POINTS * job->plane);
    job->scratch_floats = cpu_line_up(panel + WINO_POINTS * job->block_tiles * cpu_micro.columns);
}

static void plan_blocks(wino_job *job, const conv_shape *s) {
    job->blocks = cpu_ceil_div(job->tiles.n, s->src_c >= DEEP_CHANNELS ? BLOCK_TILES_DEEP : BLOCK_TILES);
    if (job->blocks < BLOCKS_FEW) job->blocks = cpu_ceil_div(job->blocks, BLOCKS_EVEN) * BLOCKS_EVEN;
    job->block_tiles = cpu_ceil_div(job->tiles.n, job->blocks);
    job->plane = job->block_tiles * job->row + CPU_LINE_FLOATS;
    job->shared_floats = cpu_line_up(job->panels * wino_panel_floats(s));
    job->scratch_floats = cpu_line_up(WINO_POINTS * (job->plane + job->block_tiles * cpu_micro.columns));
}

static void wino_plan(wino_job *job, const conv_job *conv) {
    const conv_shape *s = &conv->shape;
    *job = (wino_job){.conv = conv, .panels = cpu_panels(s->dst_c), .row = wino_row(s->src_c)};
    wino_tiles_of(&job->tiles, s, conv->low);
    job->shared = job->tiles.n <= SHARED_TILES;
    (job->shared ? plan_shared : plan_blocks)(job, s);
}

uint64_t conv_winograd_workspace(const conv_job *conv, uint32_t n_workers) {
    wino_job job;
    wino_plan(&job, conv);
    return (uint64_t)(job.shared_floats + job.scratch_floats * n_workers) * sizeof(float);
}

/* ---- Y = A^T m A ---- */

static inline void result_axis(vec *to, int64_t to_step, const vec *m) {
    const vec near_sum = m[1] + m[2], near_odd = (m[1] - m[2]) * WINO_NEAR;
    const vec far_sum = m[3] + m[4], far_odd = (m[3] - m[4]) * WINO_FAR;
    to[0] = m[0] + near_sum + far_sum;
    to[to_step] = near_odd + far_odd;
    to[2 * to_step] = near_sum * 0.5f + far_sum * 2.0f;
    to[3 * to_step] = near_odd * 0.5f + far_odd * 2.0f + m[5];
}

/* out (4,4) of one vector of channels. m: (36, ...) with m_step floats between points. */
static inline void result_transform(vec *out, const float *m, int64_t m_step) {
    vec half[WINO_TILE * WINO_PATCH];
    TILE_UNROLL
    for (int j = 0; j < WINO_PATCH; j++) {
        vec column[WINO_PATCH];
        TILE_UNROLL
        for (int i = 0; i < WINO_PATCH; i++) column[i] = vec_load(m + (i * WINO_PATCH + j) * m_step);
        result_axis(half + j, WINO_PATCH, column);
    }
    for (int i = 0; i < WINO_TILE; i++) result_axis(out + i * WINO_TILE, 1, half + i * WINO_PATCH);
}

/* n <= VEC channels of a tile's rows x columns results. bias: NULL: 0. */
static void result_vector(const wino_job *job, float *dst, const float *m, int64_t m_step, const float *bias,
                          const int64_t count[3], int stream) {
    const int64_t rows = count[0], columns = count[1], n = count[2], dst_c = job->conv->shape.dst_c;
    const vec_part part = vec_part_of(n);
    vec out[WINO_TILE * WINO_TILE];
    const vec b = bias ? vec_load_part(bias, part) : vec_zero(), lo = vec_set1(&job->lo), hi = vec_set1(&job->hi);
    result_transform(out, m, m_step);
    for (int64_t i = 0; i < rows; i++)
        for (int64_t j = 0; j < columns; j++) {
            float *to = dst + (i * job->conv->shape.dst_size[1] + j) * dst_c;
            const vec y = vec_clamp(out[i * WINO_TILE + j] + b, lo, hi);
            if (stream)
                vec_stream(to, y);
            else if (n == VEC)
                vec_store(to, y);
            else
                vec_store_part(to, y, part);
        }
}

/* A panel's channels of one tile. */
static void result_floats(const wino_job *job, const int64_t at[3], int64_t k0, const float *m) {
    const conv_job *conv = job->conv;
    const conv_shape *s = &conv->shape;
    const int64_t width = cpu_micro.columns, n = cpu_min(width, s->dst_c - k0);
    float *dst = conv->dst + ((at[0] * s->dst_size[0] + at[1]) * s->dst_size[1] + at[2]) * s->dst_c + k0;
    const int64_t rows = cpu_min(WINO_TILE, s->dst_size[0] - at[1]);
    const int64_t columns = cpu_min(WINO_TILE, s->dst_size[1] - at[2]);
    for (int64_t v = 0; v < n; v += VEC) {
        const int64_t count[3] = {rows, columns, cpu_min(VEC, n - v)};
        result_vector(job, dst + v, m + v, job->block_tiles * width, conv->bias ? conv->bias + k0 + v : NULL, count,
                      at[0] < conv->stream);
    }
    for (int64_t i = 0; i < rows && job->finish; i++)
        for (int64_t j = 0; j < columns; j++) conv_finish_row(conv, dst + (i * s->dst_size[1] + j) * s->dst_c, k0, n);
}

static void finish_low(const conv_job *conv, uint16_t *to, int64_t channel, vec even, vec odd) {
    float both[2][VEC], y[2 * VEC];
    vec_store(both[0], even);
    vec_store(both[1], odd);
    for (int64_t k = 0; k < 2 * VEC; k++) y[k] = both[k % 2][k / 2];
    conv_finish_low_row(conv, to, y, channel, 2 * VEC);
}

/* The same in bf16: a panel is one vector of even channels and one of odd ones. */
static void result_low(const wino_job *job, const int64_t at[3], int64_t k0, const float *m) {
    const conv_job *conv = job->conv;
    const conv_shape *s = &conv->shape;
    const int64_t rows = cpu_min(WINO_TILE, s->dst_size[0] - at[1]), m_step = job->block_tiles * 2 * VEC;
    const int64_t columns = cpu_min(WINO_TILE, s->dst_size[1] - at[2]);
    uint16_t *dst =
        (uint16_t *)(void *)conv->dst + ((at[0] * s->dst_size[0] + at[1]) * s->dst_size[1] + at[2]) * s->dst_c + k0;
    const vec lo = vec_set1(&job->lo), hi = vec_set1(&job->hi);
    vec out[2][WINO_TILE * WINO_TILE], bias[2] = {vec_zero(), vec_zero()};
    float split[2 * VEC];
    for (int64_t k = 0; conv->bias && k < 2 * VEC; k++) split[words_place(k)] = conv->bias[k0 + k];
    for (int odd = 0; odd < 2; odd++) {
        if (conv->bias) bias[odd] = vec_load(split + odd * VEC);
        result_transform(out[odd], m + odd * VEC, m_step);
    }
    for (int64_t i = 0; i < rows; i++)
        for (int64_t j = 0; j < columns; j++) {
            uint16_t *to = dst + (i * s->dst_size[1] + j) * s->dst_c;
            const vec even = vec_clamp(out[0][i * WINO_TILE + j] + bias[0], lo, hi);
            const vec odd = vec_clamp(out[1][i * WINO_TILE + j] + bias[1], lo, hi);
            if (job->finish)
                finish_low(conv, to, k0, even, odd);
            else if (at[0] < conv->stream)
                words_stream(to, words_join(even, odd));
            else
                words_store(to, words_join(even, odd));
        }
}

/* One panel of a block's results; m: (36, block_tiles, columns). */
static void result_panel(const wino_job *job, int64_t first, int64_t tiles, int64_t panel, const float *m) {
    const int64_t width = cpu_micro.columns;
    for (int64_t t = 0; t < tiles; t++) {
        int64_t at[3];
        wino_tile_at(&job->tiles, first + t, at);
        (job->tiles.low ? result_low : result_floats)(job, at, panel * width, m + t * width);
    }
}

/* ---- the products ---- */

/* m (36, block_tiles, columns) = V (36, tiles, source channels) U (36, source channels, columns) */
static void panel_products(const wino_job *job, int64_t tiles, int64_t panel, const float *v, const float *u,
                           float *m) {
    const conv_shape *s = &job->conv->shape;
    const int64_t width = cpu_micro.columns, parts = cpu_tiles(tiles);
    int64_t a_rows[CPU_TILE_ROWS_MAX], c_rows[CPU_TILE_ROWS_MAX];
    const cpu_step step = {0, 0, s->src_c};
    for (int64_t i = 0; i < cpu_micro.rows; i++) {
        a_rows[i] = i * job->row;
        c_rows[i] = i * width;
    }
    cpu_tile t = {.a_rows = a_rows,
                  .c_rows = c_rows,
                  .steps = &step,
                  .n_steps = 1,
                  .a_k = 1,
                  .b_k = width,
                  .n = cpu_min(width, s->dst_c - panel * width)};
    for (int64_t p = 0; p < WINO_POINTS; p++) {
        t.b = u + p * s->src_c * width;
        for (int64_t i = 0; i < parts; i++) {
            const int64_t row = cpu_part(tiles, parts, i);
            t.m = cpu_part(tiles, parts, i + 1) - row;
            t.a = v + p * job->plane + row * job->row;
            t.c = m + (p * job->block_tiles + row) * width;
            cpu_micro.by_row(&t);
        }
    }
}

static void source_tiles(const wino_job *job, int64_t first, int64_t tiles, float *v) {
    for (int64_t t = 0; t < tiles; t++)
        wino_source_tile(&job->tiles, job->conv->src, first + t, v + t * job->row, job->plane);
}

/* A block of tiles; U of all panels is there. */
static void block_task(void *ctx, uint64_t task, uint32_t worker) {
    const wino_job *job = ctx;
    const int64_t first = cpu_part(job->tiles.n, job->blocks, (int64_t)task);
    const int64_t tiles = cpu_part(job->tiles.n, job->blocks, (int64_t)task + 1) - first;
    const int64_t u_panel = wino_panel_floats(&job->conv->shape);
    float *v = job->scratch + worker * job->scratch_floats, *m = v + WINO_POINTS * job->plane;
    source_tiles(job, first, tiles, v);
    for (int64_t panel = 0; panel < job->panels; panel++) {
        panel_products(job, tiles, panel, v, job->u + panel * u_panel, m);
        result_panel(job, first, tiles, panel, m);
    }
    if (job->conv->stream) cpu_stream_end();
}

/* Some tiles of the V that is kept. */
static void source_task(void *ctx, uint64_t task, uint32_t worker) {
    const wino_job *job = ctx;
    const int64_t first = (int64_t)task * PART_TILES;
    (void)worker;
    source_tiles(job, first, cpu_min(PART_TILES, job->tiles.n - first), job->v + first * job->row);
}

/* A panel, and a part of the tiles, block by block; V is there. */
static void panel_task(void *ctx, uint64_t task, uint32_t worker) {
    const wino_job *job = ctx;
    const int64_t panel = (int64_t)task / job->parts, part = (int64_t)task % job->parts;
    const int64_t end = cpu_part(job->tiles.n, job->parts, part + 1);
    float *u = job->scratch + worker * job->scratch_floats, *m = u + wino_panel_floats(&job->conv->shape);
    wino_pack_panel(job, panel, u);
    for (int64_t first = cpu_part(job->tiles.n, job->parts, part); first < end; first += job->block_tiles) {
        const int64_t tiles = cpu_min(job->block_tiles, end - first);
        panel_products(job, tiles, panel, job->v + first * job->row, u, m);
        result_panel(job, first, tiles, panel, m);
    }
    if (job->conv->stream) cpu_stream_end();
}

void conv_winograd_run(const conv_job *conv, const cvr_threadpool *pool, float *workspace) {
    wino_job job;
    wino_plan(&job, conv);
    const int clamps = conv_only_clamps(conv);
    job.finish = clamps ? NULL : conv->epilogue;
    job.lo = clamps ? conv->epilogue->lo : -INFINITY;
    job.hi = clamps ? conv->epilogue->hi : INFINITY;
    job.u = job.v = workspace;
    job.scratch = workspace + job.shared_floats;
    if (job.shared) {
        pool->run(pool, (uint64_t)cpu_ceil_div(job.tiles.n, PART_TILES), source_task, &job);
        pool->run(pool, (uint64_t)(job.panels * job.parts), panel_task, &job);
    } else {
        wino_pack(&job, pool);
        pool->run(pool, (uint64_t)job.blocks, block_task, &job);
    }
}
