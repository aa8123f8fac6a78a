/*
 * Winograd's backward-weight (see conv2d_winograd.h). Block by block of tiles: V = B^T d B and Z = A dY A^T of all its
 * tiles; then, a task a point and a range of destination channels, U += Z^T V with the tiles as k. In the end
 * dg = G^T U G. Blocks follow each other, so that the order of every sum is one, whatever the number of threads.
 */
#include "conv2d_winograd.h"
#include "cpu_vec.h"

#define BLOCK_FLOATS 2097152 /* of V and Z together: within a third-level cache; as many as U where that is more */
#define PART_TILES 16        /* of a task that transforms */
#define PART_CHANNELS 128    /* destination channels of a task that multiplies, about */

typedef struct wino_weight {
    const conv_weight_args *args;
    wino_tiles tiles;
    int64_t block_tiles, first, count;             /* tiles of a block, at most; the block at hand */
    int64_t v_row, z_row, v_plane, z_plane, parts; /* parts of destination channels */
    float *v, *z, *u;                              /* (36, block_tiles, row); (36, destination, source channels) */
} wino_weight;

static void weight_plan(wino_weight *job, const conv_weight_args *args) {
    const conv_shape *s = args->shape;
    *job = (wino_weight){.args = args, .v_row = wino_row(s->src_c), .z_row = wino_row(s->dst_c)};
    wino_tiles_of(&job->tiles, s, args->low);
    const int64_t floats = cpu_max(BLOCK_FLOATS, WINO_POINTS * s->src_c * s->dst_c);
    const int64_t most = cpu_max(1, floats / (WINO_POINTS * (job->v_row + job->z_row)));
    job->block_tiles = cpu_ceil_div(job->tiles.n, cpu_ceil_div(job->tiles.n, most));
    job->v_plane = job->block_tiles * job->v_row + CPU_LINE_FLOATS;
    job->z_plane = job->block_tiles * job->z_row + CPU_LINE_FLOATS;
    job->parts = cpu_ceil_div(s->dst_c, PART_CHANNELS);
}

uint64_t conv_winograd_weight_workspace(const conv_shape *shape) {
    const conv_weight_args args = {.shape = shape};
    wino_weight job;
    weight_plan(&job, &args);
    return (uint64_t)(WINO_POINTS * (job.v_plane + job.z_plane + shape->src_c * shape->dst_c)) * sizeof(float);
}

static void transform_task(void *ctx, uint64_t task, uint32_t worker) {
    const wino_weight *job = ctx;
    const int64_t first = (int64_t)task * PART_TILES, end = cpu_min(first + PART_TILES, job->count);
    (void)worker;
    for (int64_t t = first; t < end; t++) {
        wino_source_tile(&job->tiles, job->args->src, job->first + t, job->v + t * job->v_row, job->v_plane);
        wino_grad_tile(&job->tiles, job->args->grad, job->first + t, job->z + t * job->z_row, job->z_plane);
    }
}

/* U (destination, source channels) of one point and some destination channels [+]= Z^T V */
static void product_task(void *ctx, uint64_t task, uint32_t worker) {
    const wino_weight *job = ctx;
    const conv_shape *s = job->args->shape;
    const int64_t point = (int64_t)task / job->parts, part = (int64_t)task % job->parts;
    const int64_t m0 = cpu_part(s->dst_c, job->parts, part), m1 = cpu_part(s->dst_c, job->parts, part + 1);
    const int64_t tiles = cpu_tiles(m1 - m0);
    const cpu_step step = {0, 0, job->count};
    int64_t c_rows[CPU_TILE_ROWS_MAX];
    (void)worker;
    for (int64_t i = 0; i < cpu_micro.rows; i++) c_rows[i] = i * s->src_c;
    cpu_tile t = {
        .c_rows = c_rows, .steps = &step, .n_steps = 1, .a_k = job->z_row, .b_k = job->v_row, .add = job->first > 0};
    for (int64_t n = 0; n < s->src_c; n += cpu_micro.columns) {
        t.n = cpu_min(cpu_micro.columns, s->src_c - n);
        t.b = job->v + point * job->v_plane + n;
        for (int64_t i = 0; i < tiles; i++) {
            const int64_t m = m0 + cpu_part(m1 - m0, tiles, i);
            t.m = m0 + cpu_part(m1 - m0, tiles, i + 1) - m;
            t.a = job->z + point * job->z_plane + m;
            t.c = job->u + (point * s->dst_c + m) * s->src_c + n;
            cpu_micro.by_column(&t);
        }
    }
}

/* to = G^T u along one axis */
static inline void weight_axis(vec *to, int64_t to_step, const vec *u, int64_t step) {
    const vec near_sum = (u[step] + u[2 * step]) * (-2.0f / 3), far_sum = (u[3 * step] + u[4 * step]) * (1.0f / 6);
    const vec near_odd = (u[step] - u[2 * step]) * (-2.0f / 3), far_odd = (u[3 * step] - u[4 * step]) * (1.0f / 6);
    to[0] = u[0] + near_sum + far_sum;
    to[to_step] = near_odd * WINO_NEAR + far_odd * WINO_FAR;
    to[2 * to_step] = near_sum * 0.5f + far_sum * 2.0f + u[5 * step];
}

/* out (9): the taps of one vector of source channels; u (36, ...) with `point` floats between points. */
static inline void weight_taps(vec *out, const float *u, int64_t point, vec_part part) {
    vec in[WINO_POINTS], half[3 * WINO_PATCH];
    for (int i = 0; i < WINO_POINTS; i++) in[i] = vec_load_part(u + i * point, part);
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
    const int64_t channels = job->args->shape->src_c, point = job->args->shape->dst_c * channels;
    const int64_t low = job->args->low, place = low ? words_place((int64_t)task) : (int64_t)task;
    const float *u = job->u + place * channels;
    float *to = job->args->dweight + (int64_t)task * 9 * channels;
    vec out[9], odd[9];
    (void)worker;
    for (int64_t c = 0; low && c < channels; c += 2 * VEC) {
        weight_taps(out, u + c, point, vec_part_of(VEC));
        weight_taps(odd, u + c + VEC, point, vec_part_of(VEC));
        for (int i = 0; i < 9; i++) store_pairs(to + i * channels + c, out[i], odd[i]);
    }
    for (int64_t c = 0; !low && c < channels; c += VEC) {
        const vec_part part = vec_part_of(cpu_min(VEC, channels - c));
        weight_taps(out, u + c, point, part);
        for (int i = 0; i < 9; i++) vec_store_part(to + i * channels + c, out[i], part);
    }
}

void conv_winograd_weight_run(const conv_weight_args *args, const cvr_threadpool *pool, float *workspace) {
    wino_weight job;
    weight_plan(&job, args);
    job.v = workspace;
    job.z = job.v + WINO_POINTS * job.v_plane;
    job.u = job.z + WINO_POINTS * job.z_plane;
    for (; job.first < job.tiles.n; job.first += job.count) {
        job.count = cpu_min(job.block_tiles, job.tiles.n - job.first);
        pool->run(pool, (uint64_t)cpu_ceil_div(job.count, PART_TILES), transform_task, &job);
        pool->run(pool, (uint64_t)(WINO_POINTS * job.parts), product_task, &job);
    }
    pool->run(pool, (uint64_t)args->shape->dst_c, finish_task, &job);
}
