/*
 * Winograd's transformed weights (see conv2d_winograd.h): U = G g G^T, 3x3 -> 6x6, in panels of the micro-kernel. With
 * N = sqrt(1/2) and F = sqrt(2) the rows of G are
 *     (1, 0, 0),  -2/3 (1, +-N, 1/2),  1/6 (1, +-F, 2),  (0, 0, 1).
 *
 * A panel of U is (36 points, source channels, columns), with cpu_micro.columns destination channels as columns, so
 * that at each point it is the B of one product. A task transforms PACK_CHANNELS source channels of a panel: it gathers
 * their taps as (9, channels, columns) on its stack, and transforms a vector of columns at a time in registers.
 */
#include "conv2d_winograd.h"
#include "cpu_vec.h"

#define TAPS 9
#define PACK_CHANNELS 16
#define COLUMNS_MAX CPU_TILE_COLUMNS_MAX

/* to = G g along one axis */
static inline void weight_axis(vec *to, int64_t step, vec g0, vec g1, vec g2) {
    const vec near_even = (g0 + g2 * 0.5f) * (-2.0f / 3), near_odd = g1 * (-2.0f / 3 * WINO_NEAR);
    const vec far_even = (g0 + g2 * 2.0f) * (1.0f / 6), far_odd = g1 * (1.0f / 6 * WINO_FAR);
    to[0] = g0;
    to[step] = near_even + near_odd;
    to[2 * step] = near_even - near_odd;
    to[3 * step] = far_even + far_odd;
    to[4 * step] = far_even - far_odd;
    to[5 * step] = g2;
}

/* One vector of columns; from: (9, ...) with `from_step` between taps, to: (36, ...) with `to_step` between points. */
static void weight_vector(float *to, int64_t to_step, const float *from, int64_t from_step) {
    vec half[WINO_PATCH * 3], full[WINO_POINTS];
    for (int64_t s = 0; s < 3; s++)
        weight_axis(half + s, 3, vec_load(from + s * from_step), vec_load(from + (3 + s) * from_step),
                    vec_load(from + (6 + s) * from_step));
    for (int i = 0; i < WINO_PATCH; i++)
        weight_axis(full + i * WINO_PATCH, 1, half[i * 3], half[i * 3 + 1], half[i * 3 + 2]);
    for (int i = 0; i < WINO_POINTS; i++) vec_store(to + i * to_step, full[i]);
}

/* A panel's columns in the order of bf16v_place(). */
static void split_row(float *row) {
    float was[COLUMNS_MAX];
    const int64_t width = cpu_micro.columns;
    memcpy(was, row, (size_t)width * sizeof *row);
    for (int64_t j = 0; j < width; j++) row[bf16v_place(j)] = was[j];
}

/* taps (9, channels, columns) of some source channels, from c0 on, and destination channels, from j0 on */
static void gather_taps(const wino_job *job, int64_t c0, int64_t channels, int64_t j0, float *taps) {
    const conv_shape *s = &job->conv->shape;
    const int64_t width = cpu_micro.columns, n = cpu_min(width, s->dst_c - j0);
    for (int64_t t = 0; t < TAPS; t++) {
        float *to = taps + t * channels * width;
        if (s->transposed) /* weight: (source, 3, 3, destination), flipped */
            cpu_micro.pack_rows(to, job->conv->weight + (c0 * TAPS + 8 - t) * s->dst_c + j0, TAPS * s->dst_c, channels,
                                n);
        else /* weight: (destination, 3, 3, source) */
            cpu_micro.pack_transposed(to, job->conv->weight + (j0 * TAPS + t) * s->src_c + c0, TAPS * s->src_c,
                                      channels, n);
    }
    for (int64_t i = 0; i < TAPS * channels && job->tiles.bf16; i++) split_row(taps + i * width);
}

/* PACK_CHANNELS source channels of a panel, from c0 on. */
static void pack_part(const wino_job *job, int64_t panel, int64_t c0, float *u) {
    const conv_shape *s = &job->conv->shape;
    const int64_t width = cpu_micro.columns, channels = cpu_min(PACK_CHANNELS, s->src_c - c0);
    float taps[TAPS * PACK_CHANNELS * COLUMNS_MAX];
    gather_taps(job, c0, channels, panel * width, taps);
    for (int64_t c = 0; c < channels; c++) {
        float *to = u + (job->tiles.bf16 ? bf16v_place(c0 + c) : c0 + c) * width;
        for (int64_t j = 0; j < width; j += VEC)
            weight_vector(to + j, s->src_c * width, taps + c * width + j, channels * width);
    }
}

void wino_pack_panel(const wino_job *job, int64_t panel, float *to) {
    for (int64_t c = 0; c < job->conv->shape.src_c; c += PACK_CHANNELS) pack_part(job, panel, c, to);
}

static void pack_task(void *ctx, uint64_t task, uint32_t worker) {
    const wino_job *job = ctx;
    const int64_t parts = cpu_ceil_div(job->conv->shape.src_c, PACK_CHANNELS), panel = (int64_t)task / parts;
    (void)worker;
    pack_part(job, panel, (int64_t)task % parts * PACK_CHANNELS, job->u + panel * wino_panel_floats(&job->conv->shape));
}

void wino_pack(const wino_job *job, const cvr_threadpool *pool) {
    const int64_t tasks = job->panels * cpu_ceil_div(job->conv->shape.src_c, PACK_CHANNELS);
    pool->run(pool, (uint64_t)tasks, pack_task, (void *)(uintptr_t)job);
}
