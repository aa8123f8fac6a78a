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
#define TILES_AHEAD 4 /* of one that is finished: what another will read is fetched */

static void plan_shared(wino_job *job, const conv_shape *s) {
    const int64_t panel = job->conv->prepacked ? 0 : wino_panel_floats(s),
                  deep = s->src_c >= DEEP_CHANNELS ? BLOCK_TILES_DEEP : BLOCK_TILES;
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
    job->shared_floats = job->conv->prepacked ? 0 : cpu_line_up(job->panels * wino_panel_floats(s));
    job->scratch_floats = cpu_line_up(WINO_POINTS * (job->plane + job->block_tiles * cpu_micro.columns));
}

static void wino_plan(wino_job *job, const conv_job *conv) {
    const conv_shape *s = &conv->shape;
    *job = (wino_job){.conv = conv, .panels = cpu_panels(s->dst_c), .row = wino_row(s->src_c)};
    wino_tiles_of(&job->tiles, s, conv->bf16);
    job->shared = job->tiles.n <= SHARED_TILES;
    (job->shared ? plan_shared : plan_blocks)(job, s);
}

/* Statistics have a slot a block, or a part. */
static int64_t wino_slots(const wino_job *job) {
    return job->shared ? job->parts : job->blocks;
}

uint64_t conv_winograd_workspace(const conv_job *conv, uint32_t n_workers) {
    wino_job job;
    wino_plan(&job, conv);
    return (uint64_t)(job.shared_floats + job.scratch_floats * n_workers) * sizeof(float) +
           conv_moments_bytes(conv, wino_slots(&job));
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

/* What all tiles of a panel share. `sums`: NULL where no statistics are wanted. */
typedef struct wino_panel {
    int64_t k0, n;       /* channels */
    float bias[2 * VEC]; /* in the order of m */
    int finishes; /* 1: an epilogue reads other tensors, or takes sums; else results are finished in registers: */
    int scales;   /* 1: by scale and shift of `finish` */
    float lo, hi; /* then clamped to these */
    conv_epilogue_panel finish;
    conv_sums all, *sums;
} wino_panel;

static void panel_open(wino_panel *p, const wino_job *job, int64_t panel, int64_t slot) {
    const conv_job *conv = job->conv;
    const int64_t width = cpu_micro.columns, k0 = panel * width, n = cpu_min(width, conv->shape.dst_c - k0);
    *p = (wino_panel){.k0 = k0, .n = n};
    for (int64_t k = 0; conv->bias && k < n; k++) p->bias[conv->bf16 ? bf16v_place(k) : k] = conv->bias[k0 + k];
    const conv_epilogue *e = conv->epilogue;
    p->lo = -INFINITY;
    p->hi = INFINITY;
    if (e) {
        conv_epilogue_panel_of(&p->finish, conv, k0, n);
        p->finishes = conv_measures(conv) || e->residual;
        p->scales = !p->finishes && (e->scale || e->shift);
    }
    if (e && !p->finishes) {
        p->lo = p->finish.lo;
        p->hi = p->finish.hi;
    }
    if (!conv->moments) return;
    p->all = conv_sums_of(conv, conv->moments + slot * 2 * conv_moments_step(conv) + k0);
    p->sums = &p->all;
}

/* out (4,4) of vector `v` of a panel, with its bias, and finished unless p->finishes. */
static inline void panel_vector(const wino_panel *p, vec *out, const float *m, int64_t m_step, int v) {
    const vec bias = vec_load(p->bias + v * VEC), lo = vec_set1(&p->lo), hi = vec_set1(&p->hi);
    result_transform(out, m + v * VEC, m_step);
    if (p->scales) {
        const vec scale = vec_load(p->finish.scale + v * VEC), shift = vec_load(p->finish.shift + v * VEC);
        TILE_UNROLL
        for (int i = 0; i < WINO_TILE * WINO_TILE; i++)
            out[i] = vec_clamp(vec_fma(out[i] + bias, scale, shift), lo, hi);
        return;
    }
    TILE_UNROLL
    for (int i = 0; i < WINO_TILE * WINO_TILE; i++) out[i] = vec_clamp(out[i] + bias, lo, hi);
}

/* A tile's place on the destination. */
typedef struct wino_place {
    int64_t first;         /* element of the destination */
    int64_t rows, columns; /* that lie on it */
    int64_t row, column;   /* elements from one to the next */
    int stream;
} wino_place;

/* The last tiles of a ragged picture's rows and columns are cut. */
static wino_place place_of(const wino_job *job, const wino_panel *p, int64_t tile) {
    const conv_shape *s = &job->conv->shape;
    int64_t at[3];
    wino_tile_at(&job->tiles, tile, at);
    return (wino_place){.first = ((at[0] * s->dst_size[0] + at[1]) * s->dst_size[1] + at[2]) * s->dst_c + p->k0,
                        .rows = cpu_min(WINO_TILE, s->dst_size[0] - at[1]),
                        .columns = cpu_min(WINO_TILE, s->dst_size[1] - at[2]),
                        .row = s->dst_size[1] * s->dst_c,
                        .column = s->dst_c,
                        .stream = at[0] < job->conv->stream};
}

/* Vector `v` of a panel's channels. */
static void result_vector(const wino_job *job, const wino_panel *p, const wino_place *at, const float *m, int v) {
    const int64_t n = cpu_min(VEC, p->n - v * VEC);
    const vec_part part = vec_part_of(n);
    vec out[WINO_TILE * WINO_TILE];
    panel_vector(p, out, m, job->block_tiles * 2 * VEC, v);
    for (int64_t i = 0; i < at->rows; i++)
        for (int64_t j = 0; j < at->columns; j++) {
            float *to = (float *)(void *)job->conv->dst + at->first + i * at->row + j * at->column + v * VEC;
            if (at->stream)
                vec_stream(to, out[i * WINO_TILE + j]);
            else if (n == VEC)
                vec_store(to, out[i * WINO_TILE + j]);
            else
                vec_store_part(to, out[i * WINO_TILE + j], part);
        }
}

static void result_floats(const wino_job *job, const wino_panel *p, const wino_place *at, const float *m) {
    result_vector(job, p, at, m, 0);
    if (p->n > VEC) result_vector(job, p, at, m, 1);
}

/* The same in bf16: a panel is one vector of even channels and one of odd ones. */
static void result_bf16(const wino_job *job, const wino_panel *p, const wino_place *at, const float *m) {
    vec out[2][WINO_TILE * WINO_TILE];
    for (int odd = 0; odd < 2; odd++) panel_vector(p, out[odd], m, job->block_tiles * 2 * VEC, odd);
    for (int64_t i = 0; i < at->rows; i++)
        for (int64_t j = 0; j < at->columns; j++) {
            uint16_t *to = (uint16_t *)(void *)job->conv->dst + at->first + i * at->row + j * at->column;
            const bf16v both = bf16v_join(out[0][i * WINO_TILE + j], out[1][i * WINO_TILE + j]);
            if (at->stream)
                bf16v_stream(to, both);
            else
                bf16v_store(to, both);
        }
}

/* Where a tile's pixels go, from its first on; how many they are. */
static int64_t tile_rows(const wino_place *at, int64_t c_rows[WINO_TILE * WINO_TILE]) {
    int64_t pixels = 0;
    for (int64_t i = 0; i < at->rows; i++)
        for (int64_t j = 0; j < at->columns; j++) c_rows[pixels++] = i * at->row + j * at->column;
    return pixels;
}

/* The same with an epilogue. */
static void result_finished(const wino_job *job, wino_panel *p, const wino_place *at, const float *m) {
    _Alignas(64) float y[WINO_TILE * WINO_TILE * 2 * VEC];
    int64_t c_rows[WINO_TILE * WINO_TILE];
    const int64_t pixels = tile_rows(at, c_rows);
    for (int v = 0; v < 2; v++) {
        vec out[WINO_TILE * WINO_TILE];
        float *to = y + v * VEC;
        panel_vector(p, out, m, job->block_tiles * 2 * VEC, v);
        for (int64_t i = 0; i < at->rows; i++)
            for (int64_t j = 0; j < at->columns; j++, to += 2 * VEC) vec_store(to, out[i * WINO_TILE + j]);
    }
    conv_epilogue_pixels(&p->finish, &(conv_pixels){y, at->first, c_rows, pixels, at->stream, p->sums});
}

/* What finishing a tile will read. */
static void fetch_tile(const wino_job *job, const wino_panel *p, int64_t tile) {
    const wino_place at = place_of(job, p, tile);
    int64_t c_rows[WINO_TILE * WINO_TILE];
    const void *lines[CONV_EPILOGUE_LINES];
    const int64_t n = conv_epilogue_lines(&p->finish, at.first, c_rows, tile_rows(&at, c_rows), lines);
    for (int64_t i = 0; i < n; i++) __builtin_prefetch(lines[i], 0, 2);
}

/* A block's results of a panel; m: (36, block_tiles, columns). */
static void result_panel(const wino_job *job, wino_panel *p, int64_t first, int64_t tiles, const float *m) {
    for (int64_t t = 0; t < tiles; t++) {
        const wino_place at = place_of(job, p, first + t);
        if (p->finishes && t + TILES_AHEAD < tiles) fetch_tile(job, p, first + t + TILES_AHEAD);
        const float *tile = m + t * cpu_micro.columns;
        if (p->finishes)
            result_finished(job, p, &at, tile);
        else
            (job->tiles.bf16 ? result_bf16 : result_floats)(job, p, &at, tile);
    }
}

/* ---- the products ---- */

/* Lines of U that a tile at hand fetches: a part of the next point's, whose first tile would wait for memory else. */
static void u_ahead(cpu_tile *t, const float *next, int64_t lines, int64_t part, int64_t parts, const void **to) {
    const int64_t first = cpu_part(lines, parts, part),
                  end = cpu_min(cpu_part(lines, parts, part + 1), first + CPU_LINES_AHEAD);
    int64_t n = 0;
    for (int64_t i = first; i < end; i++) to[n++] = next + i * CPU_LINE_FLOATS;
    t->n_ahead = n / CPU_AHEAD * CPU_AHEAD;
}

/* m (36, block_tiles, columns) = V (36, tiles, source channels) U (36, source channels, columns) */
static void panel_products(const wino_job *job, int64_t tiles, int64_t panel, const float *v, const float *u,
                           float *m) {
    const conv_shape *s = &job->conv->shape;
    const int64_t width = cpu_micro.columns, parts = cpu_tiles(tiles);
    int64_t a_rows[CPU_TILE_ROWS_MAX], c_rows[CPU_TILE_ROWS_MAX];
    const void *lines[CPU_LINES_AHEAD];
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
                  .n = cpu_min(width, s->dst_c - panel * width),
                  .ahead = lines};
    for (int64_t p = 0; p < WINO_POINTS; p++) {
        t.b = u + p * s->src_c * width;
        for (int64_t i = 0; i < parts; i++) {
            const int64_t row = cpu_part(tiles, parts, i);
            t.m = cpu_part(tiles, parts, i + 1) - row;
            t.a = v + p * job->plane + row * job->row;
            t.c = m + (p * job->block_tiles + row) * width;
            if (job->shared)
                u_ahead(&t, (const float *)t.b + s->src_c * width, s->src_c * width / CPU_LINE_FLOATS, i, parts, lines);
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
        wino_panel p;
        panel_open(&p, job, panel, (int64_t)task);
        panel_products(job, tiles, panel, v, job->u + panel * u_panel, m);
        result_panel(job, &p, first, tiles, m);
        if (p.sums) conv_sums_close(p.sums);
    }
    if (job->conv->stream) cpu_stream_end();
}

/* Some tiles of the V that is prepacked. */
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
    const int64_t u_panel = wino_panel_floats(&job->conv->shape), prepacked = job->conv->prepacked;
    float *scratch = job->scratch + worker * job->scratch_floats;
    float *u = prepacked ? job->u + panel * u_panel : scratch, *m = scratch + (prepacked ? 0 : u_panel);
    wino_panel p;
    panel_open(&p, job, panel, part);
    if (!prepacked) wino_pack_panel(job, panel, u);
    for (int64_t first = cpu_part(job->tiles.n, job->parts, part); first < end; first += job->block_tiles) {
        const int64_t tiles = cpu_min(job->block_tiles, end - first);
        panel_products(job, tiles, panel, job->v + first * job->row, u, m);
        result_panel(job, &p, first, tiles, m);
    }
    if (p.sums) conv_sums_close(p.sums);
    if (job->conv->stream) cpu_stream_end();
}

uint64_t conv_winograd_prepacked(const conv_job *conv) {
    wino_job job;
    wino_plan(&job, conv);
    return (uint64_t)(job.panels * wino_panel_floats(&conv->shape)) * sizeof(float);
}

void conv_winograd_pack(const conv_job *conv, const cvr_threadpool *pool, float *prepacked) {
    wino_job job;
    wino_plan(&job, conv);
    job.u = prepacked;
    wino_pack(&job, pool);
}

/* Slots in their order. */
static void combine_moments(const wino_job *job) {
    const conv_job *conv = job->conv;
    const conv_shape *s = &conv->shape;
    int64_t seen = 0, at[3];
    for (int64_t slot = 0; slot < wino_slots(job); slot++) {
        int64_t pixels = 0;
        for (int64_t t = cpu_part(job->tiles.n, wino_slots(job), slot);
             t < cpu_part(job->tiles.n, wino_slots(job), slot + 1); t++) {
            wino_tile_at(&job->tiles, t, at);
            pixels += cpu_min(WINO_TILE, s->dst_size[0] - at[1]) * cpu_min(WINO_TILE, s->dst_size[1] - at[2]);
        }
        conv_join_moments(conv, conv->moments + slot * 2 * conv_moments_step(conv), pixels, seen);
        seen += pixels;
    }
    conv_end_moments(conv, seen);
}

void conv_winograd_run(conv_job *conv, const cvr_threadpool *pool, float *workspace, float *prepacked) {
    wino_job job;
    wino_plan(&job, conv);
    job.u = conv->prepacked ? prepacked : workspace;
    job.v = workspace;
    job.scratch = workspace + job.shared_floats;
    const int wanted = conv_measures(conv);
    conv->moments = wanted ? (double *)(void *)(job.scratch + job.scratch_floats * pool->n_workers) : NULL;
    if (job.shared) {
        pool->run(pool, (uint64_t)cpu_ceil_div(job.tiles.n, PART_TILES), source_task, &job);
        pool->run(pool, (uint64_t)(job.panels * job.parts), panel_task, &job);
    } else {
        if (!conv->prepacked) wino_pack(&job, pool);
        pool->run(pool, (uint64_t)job.blocks, block_task, &job);
    }
    if (wanted) combine_moments(&job);
}
