/*
 * Winograd's forward convolution (see conv2d_winograd.h). A task is a block of tiles: it transforms their patches of
 * the source, V = B^T d B with the vectors along channels; then, panel by panel of the results, 36 products of V at one
 * point with the packed weights, whose results stay in the second-level cache until Y = A^T m A has written them.
 */
#include "conv2d_winograd.h"
#include "cpu_vec.h"

#define BLOCK_TILES 56       /* of a task, so that V stays near the second-level cache ... */
#define BLOCK_TILES_DEEP 112 /* ... unless the weights are what streams through it */
#define DEEP_CHANNELS 256
#define BLOCKS_WANTED 8
#define BLOCK_TILES_LEAST 32

int wino_can(const conv_shape *s) {
    for (int i = 0; i < 2; i++)
        if (s->kernel[i] != 3 || s->stride[i] != 1 || s->dilation[i] != 1) return 0;
    return s->groups == 1 && !s->flat;
}

/* Narrow layers spend their time on transforms, ragged pictures on results that nobody wants. */
int wino_pays(const conv_shape *s) {
    int64_t tiles = s->n;
    for (int i = 0; i < 2; i++) tiles *= cpu_ceil_div(s->dst_size[i], WINO_TILE);
    const int64_t results = s->n * s->dst_size[0] * s->dst_size[1];
    return s->src_c >= 32 && s->dst_c >= 32 && tiles >= BLOCK_TILES_LEAST && results * 10 >= tiles * 16 * 7;
}

void wino_plan(wino_job *job) {
    const conv_shape *s = &job->shape;
    job->tiles = s->n;
    for (int i = 0; i < 2; i++) {
        job->before[i] = s->transposed ? 2 - s->padding[i] : s->padding[i];
        job->grid[i] = cpu_ceil_div(s->dst_size[i], WINO_TILE);
        job->tiles *= job->grid[i];
    }
    job->blocks = cpu_ceil_div(job->tiles, s->src_c >= DEEP_CHANNELS ? BLOCK_TILES_DEEP : BLOCK_TILES);
    if (job->blocks < BLOCKS_WANTED)
        job->blocks = cpu_max(job->blocks, cpu_min(BLOCKS_WANTED, job->tiles / BLOCK_TILES_LEAST));
    job->block_tiles = job->blocks ? cpu_ceil_div(job->tiles, job->blocks) : 0;
    job->panels = cpu_panels(s->dst_c);
    /* A line more than needed: rows a power of two apart would share a set of the first-level cache. */
    job->row = cpu_line_up(s->src_c) + CPU_LINE_FLOATS;
    job->plane = job->block_tiles * job->row + CPU_LINE_FLOATS;
    job->packed_floats = job->panels * WINO_POINTS * s->src_c * cpu_micro.columns;
    job->packed_floats = cpu_line_up(job->packed_floats);
    job->scratch_floats = cpu_line_up(WINO_POINTS * (job->plane + job->block_tiles * cpu_micro.columns));
}

uint64_t wino_workspace(const wino_job *job, uint32_t n_workers) {
    return (uint64_t)(job->packed_floats + job->scratch_floats * n_workers) * sizeof(float);
}

/* ---- V = B^T d B ---- */

static inline void source_axis(vec *to, const vec *d, int64_t step) {
    const vec d0 = d[0], d1 = d[step], d2 = d[2 * step], d3 = d[3 * step], d4 = d[4 * step], d5 = d[5 * step];
    const vec even = d4 - d2 * 4.0f, odd = d3 - d1 * 4.0f, even2 = d4 - d2, odd2 = (d3 - d1) * 2.0f;
    to[0] = d0 * 4.0f - d2 * 5.0f + d4;
    to[step] = even + odd;
    to[2 * step] = even - odd;
    to[3 * step] = even2 + odd2;
    to[4 * step] = even2 - odd2;
    to[5 * step] = d1 * 4.0f - d3 * 5.0f + d5;
}

static inline void source_transform(float *to, int64_t plane, vec *d) {
    for (int i = 0; i < WINO_PATCH; i++) source_axis(d + i, d + i, WINO_PATCH);
    for (int i = 0; i < WINO_PATCH; i++) {
        source_axis(d + i * WINO_PATCH, d + i * WINO_PATCH, 1);
        for (int j = 0; j < WINO_PATCH; j++) vec_store(to + (i * WINO_PATCH + j) * plane, d[i * WINO_PATCH + j]);
    }
}

/* Where tile `tile` begins on the destination: picture, row, column. */
static void tile_at(const wino_job *job, int64_t tile, int64_t at[3]) {
    at[0] = tile / (job->grid[0] * job->grid[1]);
    at[1] = tile / job->grid[1] % job->grid[0] * WINO_TILE;
    at[2] = tile % job->grid[1] * WINO_TILE;
}

/* to: one tile's row of the 36 planes. A pixel of padding is read from `zeros`, at every channel the same. */
static void source_tile(const wino_job *job, int64_t tile, float *to) {
    static const float zeros[VEC];
    const conv_shape *s = &job->shape;
    const float *from[WINO_POINTS];
    int64_t mask[WINO_POINTS], at[3], c = 0;
    vec d[WINO_POINTS];
    tile_at(job, tile, at);
    for (int64_t i = 0; i < WINO_POINTS; i++) {
        const int64_t y = at[1] - job->before[0] + i / WINO_PATCH, x = at[2] - job->before[1] + i % WINO_PATCH;
        const int inside = y >= 0 && x >= 0 && y < s->src_size[0] && x < s->src_size[1];
        from[i] = inside ? job->src + ((at[0] * s->src_size[0] + y) * s->src_size[1] + x) * s->src_c : zeros;
        mask[i] = inside ? -1 : 0;
    }
    for (; c + VEC <= s->src_c; c += VEC) {
        for (int i = 0; i < WINO_POINTS; i++) d[i] = vec_load(from[i] + (c & mask[i]));
        source_transform(to + c, job->plane, d);
    }
    if (c == s->src_c) return;
    const vec_part part = vec_part_of(s->src_c - c);
    for (int i = 0; i < WINO_POINTS; i++) d[i] = vec_load_part(from[i] + (c & mask[i]), part);
    source_transform(to + c, job->plane, d);
}

/* ---- Y = A^T m A ---- */

static inline void result_axis(vec *to, int64_t to_step, const vec *m, int64_t step) {
    const vec sum = m[step] + m[2 * step], far = m[step] - m[2 * step];
    const vec sum2 = m[3 * step] + m[4 * step], far2 = m[3 * step] - m[4 * step];
    to[0] = m[0] + sum + sum2;
    to[to_step] = far + far2 * 2.0f;
    to[2 * to_step] = sum + sum2 * 4.0f;
    to[3 * to_step] = far + far2 * 8.0f + m[5 * step];
}

/* n <= VEC channels of a tile's rows x columns results. m: (36, ...) with m_step between points; bias: NULL: 0. */
static void result_vector(const wino_job *job, float *dst, const float *m, int64_t m_step, const float *bias,
                          const int64_t count[3]) {
    const int64_t rows = count[0], columns = count[1], n = count[2], dst_c = job->shape.dst_c;
    const vec_part part = vec_part_of(n);
    vec in[WINO_POINTS], half[WINO_TILE * WINO_PATCH], out[WINO_TILE * WINO_TILE];
    const vec b = bias ? vec_load_part(bias, part) : vec_zero();
    for (int i = 0; i < WINO_POINTS; i++) in[i] = vec_load(m + i * m_step);
    for (int j = 0; j < WINO_PATCH; j++) result_axis(half + j, WINO_PATCH, in + j, WINO_PATCH);
    for (int i = 0; i < WINO_TILE; i++) result_axis(out + i * WINO_TILE, 1, half + i * WINO_PATCH, 1);
    for (int64_t i = 0; i < rows; i++)
        for (int64_t j = 0; j < columns; j++) {
            float *to = dst + (i * job->shape.dst_size[1] + j) * dst_c;
            const vec y = out[i * WINO_TILE + j] + b;
            if (n == VEC)
                vec_store(to, y);
            else
                vec_store_part(to, y, part);
        }
}

/* One panel of a block's results; m: (36, block_tiles, columns). */
static void result_panel(const wino_job *job, int64_t first, int64_t tiles, int64_t panel, const float *m) {
    const conv_shape *s = &job->shape;
    const int64_t width = cpu_micro.columns, k0 = panel * width, n = cpu_min(width, s->dst_c - k0);
    for (int64_t t = 0; t < tiles; t++) {
        int64_t at[3];
        tile_at(job, first + t, at);
        float *dst = job->dst + ((at[0] * s->dst_size[0] + at[1]) * s->dst_size[1] + at[2]) * s->dst_c + k0;
        for (int64_t v = 0; v < n; v += VEC) {
            const int64_t count[3] = {cpu_min(WINO_TILE, s->dst_size[0] - at[1]),
                                      cpu_min(WINO_TILE, s->dst_size[1] - at[2]), cpu_min(VEC, n - v)};
            result_vector(job, dst + v, m + t * width + v, job->block_tiles * width,
                          job->bias ? job->bias + k0 + v : NULL, count);
        }
    }
}

/* ---- the products ---- */

/* m (36, block_tiles, columns) = V (36, tiles, source channels) U (36, source channels, columns) */
static void panel_products(const wino_job *job, int64_t tiles, int64_t panel, const float *v, float *m) {
    const conv_shape *s = &job->shape;
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
    const int64_t first = cpu_part(job->tiles, job->blocks, (int64_t)task);
    const int64_t tiles = cpu_part(job->tiles, job->blocks, (int64_t)task + 1) - first;
    float *v = job->scratch + worker * job->scratch_floats, *m = v + WINO_POINTS * job->plane;
    for (int64_t t = 0; t < tiles; t++) source_tile(job, first + t, v + t * job->row);
    for (int64_t panel = 0; panel < job->panels; panel++) {
        panel_products(job, tiles, panel, v, m);
        result_panel(job, first, tiles, panel, m);
    }
}

void wino_run(wino_job *job, const cvr_threadpool *pool, float *workspace) {
    job->packed = workspace;
    job->scratch = workspace + job->packed_floats;
    if (job->blocks == 0) return;
    wino_pack(job, pool);
    pool->run(pool, (uint64_t)job->blocks, block_task, job);
}
