/*
 * Winograd's backward-weight (see conv2d_winograd.h): V = B^T d B and Z = A dY A^T of tiles, U = sum of Z^T V with the
 * tiles as k, and in the end dg = G^T U G.
 *
 * Where U is small, tiles are cut into chunks: a task has a chunk, a U of its own for it, and V and Z of a few tiles at
 * a time; nothing but the U goes from one core to another. Where it is not, V and Z of many tiles are made by all, and
 * then a task is a point and a range of destination channels. Either way the order of every sum is one, whatever the
 * number of threads.
 */
#include "conv2d_winograd.h"
#include "cpu_vec.h"

#define CHUNK_FLOATS 655360 /* of a U that every chunk has */
#define CHUNKS 8
#define CHUNK_TILES_LEAST 16
#define CHUNK_BLOCK 196608   /* floats of V and Z together, about: a second-level cache, less what else is in it */
#define CHUNK_BLOCK_TILES 64 /* at least, or adding to U costs too much */
#define BLOCK_FLOATS 2097152 /* the same where there are no chunks: a third-level cache; as U where that is more */
#define PART_TILES 16        /* of a task that transforms */
#define PART_CHANNELS 128    /* destination channels of a task that multiplies, about */

typedef struct wino_weight {
    const conv_weight_args *args;
    wino_tiles tiles;
    int64_t chunks;                                /* 1: there are none */
    int64_t block_tiles, first, count;             /* tiles of a block, at most; without chunks, the block at hand */
    int64_t v_row, z_row, v_plane, z_plane, parts; /* parts of destination channels */
    int64_t u_floats, block_floats;                /* of a chunk's U; of V and Z */
    float *blocks, *u; /* V, then Z, (36, block_tiles, row), of each worker; U (chunks, 36, destination, source) */
} wino_weight;

static void weight_plan(wino_weight *job, const conv_weight_args *args) {
    const conv_shape *s = args->shape;
    *job = (wino_weight){.args = args, .v_row = wino_row(s->src_c), .z_row = wino_row(s->dst_c)};
    wino_tiles_of(&job->tiles, s, args->bf16);
    job->u_floats = WINO_POINTS * s->src_c * s->dst_c;
    job->chunks = job->u_floats > CHUNK_FLOATS ? 1 : cpu_max(1, cpu_min(CHUNKS, job->tiles.n / CHUNK_TILES_LEAST));
    const int64_t tile = WINO_POINTS * (job->v_row + job->z_row), tiles = cpu_ceil_div(job->tiles.n, job->chunks);
    const int64_t most = job->chunks > 1 ? cpu_max(CHUNK_BLOCK_TILES, CHUNK_BLOCK / tile)
                                         : cpu_max(1, cpu_max(BLOCK_FLOATS, job->u_floats) / tile);
    job->block_tiles = cpu_ceil_div(tiles, cpu_ceil_div(tiles, most));
    job->v_plane = job->block_tiles * job->v_row + CPU_LINE_FLOATS;
    job->z_plane = job->block_tiles * job->z_row + CPU_LINE_FLOATS;
    job->block_floats = WINO_POINTS * (job->v_plane + job->z_plane);
    job->parts = cpu_ceil_div(s->dst_c, PART_CHANNELS);
}

/* Blocks that are at work at the same time. */
static int64_t block_count(const wino_weight *job, uint32_t n_workers) {
    return job->chunks > 1 ? (int64_t)n_workers : 1;
}

uint64_t conv_winograd_weight_workspace(const conv_shape *shape, uint32_t n_workers) {
    const conv_weight_args args = {.shape = shape};
    wino_weight job;
    weight_plan(&job, &args);
    return (uint64_t)(block_count(&job, n_workers) * job.block_floats + job.chunks * job.u_floats) * sizeof(float);
}

/* V and Z of `n` tiles from tile `tile` on, at place `at` of a block. */
static void transform_tiles(const wino_weight *job, float *block, int64_t at, int64_t tile, int64_t n) {
    float *v = block + at * job->v_row, *z = block + WINO_POINTS * job->v_plane + at * job->z_row;
    for (int64_t t = 0; t < n; t++, v += job->v_row, z += job->z_row) {
        wino_source_tile(&job->tiles, job->args->src, tile + t, v, job->v_plane);
        wino_grad_tile(&job->tiles, job->args->grad, tile + t, z, job->z_plane);
    }
}

/* U (destination channels m0 to m1, source channels) of one point [+]= Z^T V of a block of `count` tiles */
static void point_product(const wino_weight *job, const float *block, int64_t point, int64_t m0, int64_t m1,
                          int64_t count, int64_t add, float *u) {
    const conv_shape *s = job->args->shape;
    const int64_t tiles = cpu_tiles(m1 - m0);
    const cpu_step step = {0, 0, count};
    int64_t c_rows[CPU_TILE_ROWS_MAX];
    for (int64_t i = 0; i < cpu_micro.rows; i++) c_rows[i] = i * s->src_c;
    cpu_tile t = {.c_rows = c_rows, .steps = &step, .n_steps = 1, .a_k = job->z_row, .b_k = job->v_row, .add = add};
    for (int64_t n = 0; n < s->src_c; n += cpu_micro.columns) {
        t.n = cpu_min(cpu_micro.columns, s->src_c - n);
        t.b = block + point * job->v_plane + n;
        for (int64_t i = 0; i < tiles; i++) {
            const int64_t m = m0 + cpu_part(m1 - m0, tiles, i);
            t.m = m0 + cpu_part(m1 - m0, tiles, i + 1) - m;
            t.a = block + WINO_POINTS * job->v_plane + point * job->z_plane + m;
            t.c = u + (point * s->dst_c + m) * s->src_c + n;
            cpu_micro.by_column(&t);
        }
    }
}

static void chunk_task(void *ctx, uint64_t task, uint32_t worker) {
    const wino_weight *job = ctx;
    const int64_t begin = cpu_part(job->tiles.n, job->chunks, (int64_t)task);
    const int64_t end = cpu_part(job->tiles.n, job->chunks, (int64_t)task + 1);
    float *block = job->blocks + worker * job->block_floats, *u = job->u + (int64_t)task * job->u_floats;
    for (int64_t first = begin; first < end; first += job->block_tiles) {
        const int64_t count = cpu_min(job->block_tiles, end - first);
        transform_tiles(job, block, 0, first, count);
        for (int64_t point = 0; point < WINO_POINTS; point++)
            point_product(job, block, point, 0, job->args->shape->dst_c, count, first > begin, u);
    }
}

static void transform_task(void *ctx, uint64_t task, uint32_t worker) {
    const wino_weight *job = ctx;
    const int64_t at = (int64_t)task * PART_TILES;
    (void)worker;
    transform_tiles(job, job->blocks, at, job->first + at, cpu_min(PART_TILES, job->count - at));
}

static void product_task(void *ctx, uint64_t task, uint32_t worker) {
    const wino_weight *job = ctx;
    const int64_t dst_c = job->args->shape->dst_c, part = (int64_t)task % job->parts;
    (void)worker;
    point_product(job, job->blocks, (int64_t)task / job->parts, cpu_part(dst_c, job->parts, part),
                  cpu_part(dst_c, job->parts, part + 1), job->count, job->first > 0, job->u);
}

/* to = G^T u along one axis */
static inline void weight_axis(vec *to, int64_t to_step, const vec *u, int64_t step) {
    const vec near_sum = (u[step] + u[2 * step]) * (-2.0f / 3), far_sum = (u[3 * step] + u[4 * step]) * (1.0f / 6);
    const vec near_odd = (u[step] - u[2 * step]) * (-2.0f / 3), far_odd = (u[3 * step] - u[4 * step]) * (1.0f / 6);
    to[0] = u[0] + near_sum + far_sum;
    to[to_step] = near_odd * WINO_NEAR + far_odd * WINO_FAR;
    to[2 * to_step] = near_sum * 0.5f + far_sum * 2.0f + u[5 * step];
}

/* out (9): the taps of one vector of source channels, of the chunks' sum; u (chunks, 36, destination, source). */
static inline void weight_taps(const wino_weight *job, vec *out, const float *u, vec_part part) {
    const int64_t point = job->args->shape->dst_c * job->args->shape->src_c;
    vec in[WINO_POINTS], half[3 * WINO_PATCH];
    for (int i = 0; i < WINO_POINTS; i++) in[i] = vec_load_part(u + i * point, part);
    for (int64_t k = 1; k < job->chunks; k++)
        for (int i = 0; i < WINO_POINTS; i++)
            in[i] = vec_add(in[i], vec_load_part(u + k * job->u_floats + i * point, part));
    for (int j = 0; j < WINO_PATCH; j++) weight_axis(half + j, WINO_PATCH, in + j, WINO_PATCH);
    for (int i = 0; i < 3; i++) weight_axis(out + i * 3, 1, half + i * WINO_PATCH, 1);
}

/* to (2 * VEC) = the vectors of even and of odd channels, in order */
static void store_pairs(float *restrict to, vec even, vec odd) {
    float both[2][VEC];
    vec_store(both[0], even);
    vec_store(both[1], odd);
    for (int64_t k = 0; k < VEC; k++) {
        to[2 * k] = both[0][k];
        to[2 * k + 1] = both[1][k];
    }
}

/* A task is a destination channel. */
static void finish_task(void *ctx, uint64_t task, uint32_t worker) {
    const wino_weight *job = ctx;
    const int64_t channels = job->args->shape->src_c;
    const int64_t bf16 = job->args->bf16, place = bf16 ? bf16v_place((int64_t)task) : (int64_t)task;
    const float *u = job->u + place * channels;
    float *to = job->args->dweight + (int64_t)task * 9 * channels;
    vec out[9], odd[9];
    (void)worker;
    for (int64_t c = 0; bf16 && c < channels; c += 2 * VEC) {
        weight_taps(job, out, u + c, vec_part_of(VEC));
        weight_taps(job, odd, u + c + VEC, vec_part_of(VEC));
        for (int i = 0; i < 9; i++) store_pairs(to + i * channels + c, out[i], odd[i]);
    }
    for (int64_t c = 0; !bf16 && c < channels; c += VEC) {
        const vec_part part = vec_part_of(cpu_min(VEC, channels - c));
        weight_taps(job, out, u + c, part);
        for (int i = 0; i < 9; i++) vec_store_part(to + i * channels + c, out[i], part);
    }
}

void conv_winograd_weight_run(const conv_weight_args *args, const cvr_threadpool *pool, float *workspace) {
    wino_weight job;
    weight_plan(&job, args);
    job.blocks = workspace;
    job.u = job.blocks + block_count(&job, pool->n_workers) * job.block_floats;
    if (job.chunks > 1) pool->run(pool, (uint64_t)job.chunks, chunk_task, &job);
    for (; job.chunks == 1 && job.first < job.tiles.n; job.first += job.count) {
        job.count = cpu_min(job.block_tiles, job.tiles.n - job.first);
        pool->run(pool, (uint64_t)cpu_ceil_div(job.count, PART_TILES), transform_task, &job);
        pool->run(pool, (uint64_t)(WINO_POINTS * job.parts), product_task, &job);
    }
    pool->run(pool, (uint64_t)args->shape->dst_c, finish_task, &job);
}
