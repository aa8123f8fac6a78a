/*
 * Winograd's convolution forward and backward-input (see conv2d_winograd.h). A task is a block of tiles: it transforms
 * their patches of the source, V = B^T d B with the vectors along channels; then, panel by panel of the results, 36
 * products of V at one point with the packed weights, whose results stay in the second-level cache until Y = A^T m A
 * has written them.
 */
#include "conv2d_winograd.h"
#include "cpu_stream.h"

#define BLOCK_TILES 56       /* of a task, so that V stays near the second-level cache ... */
#define BLOCK_TILES_DEEP 112 /* ... unless the weights are what streams through it */
#define DEEP_CHANNELS 256
#define BLOCKS_WANTED 8
#define BLOCK_TILES_LEAST 32
#define CHANNELS_LEAST 32

/* Narrow layers spend their time on transforms, ragged pictures on results that nobody wants. */
int conv_winograd_pays(const conv_shape *s) {
    wino_tiles tiles;
    for (int i = 0; i < 2; i++)
        if (s->kernel[i] != 3 || s->stride[i] != 1 || s->dilation[i] != 1) return 0;
    if (s->groups != 1 || cpu_micro.element != sizeof(float)) return 0;
    wino_tiles_of(&tiles, s);
    const int64_t results = s->n * s->dst_size[0] * s->dst_size[1];
    return s->src_c >= CHANNELS_LEAST && s->dst_c >= CHANNELS_LEAST && tiles.n >= BLOCK_TILES_LEAST &&
           results * 10 >= tiles.n * WINO_TILE * WINO_TILE * 7;
}

static void wino_plan(wino_job *job, const conv_job *conv) {
    const conv_shape *s = &conv->shape;
    *job = (wino_job){.conv = conv, .panels = cpu_panels(s->dst_c), .row = wino_row(s->src_c)};
    wino_tiles_of(&job->tiles, s);
    const int64_t tiles = job->tiles.n;
    job->blocks = cpu_ceil_div(tiles, s->src_c >= DEEP_CHANNELS ? BLOCK_TILES_DEEP : BLOCK_TILES);
    if (job->blocks < BLOCKS_WANTED)
        job->blocks = cpu_max(job->blocks, cpu_min(BLOCKS_WANTED, tiles / BLOCK_TILES_LEAST));
    job->block_tiles = cpu_ceil_div(tiles, job->blocks);
    job->plane = job->block_tiles * job->row + CPU_LINE_FLOATS;
    job->packed_floats = cpu_line_up(job->panels * WINO_POINTS * s->src_c * cpu_micro.columns);
    job->scratch_floats = cpu_line_up(WINO_POINTS * (job->plane + job->block_tiles * cpu_micro.columns));
}

uint64_t conv_winograd_workspace(const conv_job *conv, uint32_t n_workers) {
    wino_job job;
    wino_plan(&job, conv);
    return (uint64_t)(job.packed_floats + job.scratch_floats * n_workers) * sizeof(float);
}

/* ---- Y = A^T m A ---- */

static inline void result_axis(vec *to, int64_t to_step, const vec *m, int64_t step) {
    const vec near_sum = m[step] + m[2 * step], near_odd = (m[step] - m[2 * step]) * WINO_NEAR;
    const vec far_sum = m[3 * step] + m[4 * step], far_odd = (m[3 * step] - m[4 * step]) * WINO_FAR;
    to[0] = m[0] + near_sum + far_sum;
    to[to_step] = near_odd + far_odd;
    to[2 * to_step] = near_sum * 0.5f + far_sum * 2.0f;
    to[3 * to_step] = near_odd * 0.5f + far_odd * 2.0f + m[5 * step];
}

/* n <= VEC channels of a tile's rows x columns results. m: (36, ...) with m_step between points; bias: NULL: 0. */
static void result_vector(const wino_job *job, float *dst, const float *m, int64_t m_step, const float *bias,
                          const int64_t count[3]) {
    const int64_t rows = count[0], columns = count[1], n = count[2], dst_c = job->conv->shape.dst_c;
    const vec_part part = vec_part_of(n);
    vec in[WINO_POINTS], half[WINO_TILE * WINO_PATCH], out[WINO_TILE * WINO_TILE];
    const vec b = bias ? vec_load_part(bias, part) : vec_zero();
    for (int i = 0; i < WINO_POINTS; i++) in[i] = vec_load(m + i * m_step);
    for (int j = 0; j < WINO_PATCH; j++) result_axis(half + j, WINO_PATCH, in + j, WINO_PATCH);
    for (int i = 0; i < WINO_TILE; i++) result_axis(out + i * WINO_TILE, 1, half + i * WINO_PATCH, 1);
    for (int64_t i = 0; i < rows; i++)
        for (int64_t j = 0; j < columns; j++) {
            float *to = dst + (i * job->conv->shape.dst_size[1] + j) * dst_c;
            const vec y = out[i * WINO_TILE + j] + b;
            if (job->conv->stream)
                vec_stream(to, y);
            else if (n == VEC)
                vec_store(to, y);
            else
                vec_store_part(to, y, part);
        }
}

/* One panel of a block's results; m: (36, block_tiles, columns). */
static void result_panel(const wino_job *job, int64_t first, int64_t tiles, int64_t panel, const float *m) {
    const conv_job *conv = job->conv;
    const conv_shape *s = &conv->shape;
    const int64_t width = cpu_micro.columns, k0 = panel * width, n = cpu_min(width, s->dst_c - k0);
    for (int64_t t = 0; t < tiles; t++) {
        int64_t at[3];
        wino_tile_at(&job->tiles, first + t, at);
        float *dst = conv->dst + ((at[0] * s->dst_size[0] + at[1]) * s->dst_size[1] + at[2]) * s->dst_c + k0;
        const int64_t rows = cpu_min(WINO_TILE, s->dst_size[0] - at[1]);
        const int64_t columns = cpu_min(WINO_TILE, s->dst_size[1] - at[2]);
        for (int64_t v = 0; v < n; v += VEC) {
            const int64_t count[3] = {rows, columns, cpu_min(VEC, n - v)};
            result_vector(job, dst + v, m + t * width + v, job->block_tiles * width,
                          conv->bias ? conv->bias + k0 + v : NULL, count);
        }
        for (int64_t i = 0; i < rows && conv->epilogue; i++)
            for (int64_t j = 0; j < columns; j++)
                conv_finish_row(conv, dst + (i * s->dst_size[1] + j) * s->dst_c, k0, n);
    }
}

/* ---- the products ---- */

/* m (36, block_tiles, columns) = V (36, tiles, source channels) U (36, source channels, columns) */
static void panel_products(const wino_job *job, int64_t tiles, int64_t panel, const float *v, float *m) {
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
        t.b = job->packed + (panel * WINO_POINTS + p) * s->src_c * width;
        for (int64_t i = 0; i < parts; i++) {
            const int64_t row = cpu_part(tiles, parts, i);
            t.m = cpu_part(tiles, parts, i + 1) - row;
            t.a = v + p * job->plane + row * job->row;
            t.c = m + (p * job->block_tiles + row) * width;
            cpu_micro.by_row(&t);
        }
    }
}

static void block_task(void *ctx, uint64_t task, uint32_t worker) {
    const wino_job *job = ctx;
    const int64_t first = cpu_part(job->tiles.n, job->blocks, (int64_t)task);
    const int64_t tiles = cpu_part(job->tiles.n, job->blocks, (int64_t)task + 1) - first;
    float *v = job->scratch + worker * job->scratch_floats, *m = v + WINO_POINTS * job->plane;
    for (int64_t t = 0; t < tiles; t++)
        wino_source_tile(&job->tiles, job->conv->src, first + t, v + t * job->row, job->plane);
    for (int64_t panel = 0; panel < job->panels; panel++) {
        panel_products(job, tiles, panel, v, m);
        result_panel(job, first, tiles, panel, m);
    }
    if (job->conv->stream) cpu_stream_end();
}

void conv_winograd_run(const conv_job *conv, const cvr_threadpool *pool, float *workspace) {
    wino_job job;
    wino_plan(&job, conv);
    job.packed = workspace;
    job.scratch = workspace + job.packed_floats;
    wino_pack(&job, pool);
    pool->run(pool, (uint64_t)job.blocks, block_task, &job);
}
