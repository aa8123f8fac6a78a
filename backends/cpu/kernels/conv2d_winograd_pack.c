/* Winograd's transformed weights (see conv2d_winograd.h): U = G g G^T, 3x3 -> 6x6, in panels of the micro-kernel. */
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

/* A task is PACK_CHANNELS source channels of a panel. */
static void pack_task(void *ctx, uint64_t task, uint32_t worker) {
    const wino_job *job = ctx;
    const conv_shape *s = &job->conv->shape;
    const int64_t width = cpu_micro.columns, parts = cpu_ceil_div(s->src_c, PACK_CHANNELS);
    const int64_t panel = (int64_t)task / parts, c0 = (int64_t)task % parts * PACK_CHANNELS, j0 = panel * width;
    const int64_t channels = cpu_min(PACK_CHANNELS, s->src_c - c0), n = cpu_min(width, s->dst_c - j0);
    float taps[TAPS * PACK_CHANNELS * COLUMNS_MAX];
    (void)worker;
    for (int64_t t = 0; t < TAPS; t++) {
        float *to = taps + t * channels * width;
        if (s->transposed) /* weight: (source, 3, 3, destination), flipped */
            cpu_micro.pack_rows(to, job->conv->weight + (c0 * TAPS + 8 - t) * s->dst_c + j0, TAPS * s->dst_c, channels,
                                n);
        else /* weight: (destination, 3, 3, source) */
            cpu_micro.pack_transposed(to, job->conv->weight + (j0 * TAPS + t) * s->src_c + c0, TAPS * s->src_c,
                                      channels, n);
    }
    float *to = job->packed + (panel * WINO_POINTS * s->src_c + c0) * width;
    for (int64_t i = 0; i < channels * width; i += VEC)
        weight_vector(to + i, s->src_c * width, taps + i, channels * width);
}

void wino_pack(const wino_job *job, const cvr_threadpool *pool) {
    const int64_t tasks = job->panels * cpu_ceil_div(job->conv->shape.src_c, PACK_CHANNELS);
    pool->run(pool, (uint64_t)tasks, pack_task, (void *)(uintptr_t)job);
}
