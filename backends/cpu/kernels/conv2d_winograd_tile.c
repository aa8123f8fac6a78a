/* Winograd's transformed tiles of the source and of the destination's gradient (see conv2d_winograd.h). */
#include "conv2d_winograd.h"
#include "cpu_vec.h"

void wino_tiles_of(wino_tiles *out, const conv_shape *s) {
    *out = (wino_tiles){.shape = s, .n = s->n};
    for (int i = 0; i < 2; i++) {
        out->before[i] = s->transposed ? 2 - s->padding[i] : s->padding[i];
        out->grid[i] = cpu_ceil_div(s->dst_size[i], WINO_TILE);
        out->n *= out->grid[i];
    }
}

/* ---- B^T d B ---- */

static inline void source_axis(vec *to, const vec *d, int64_t step) {
    const vec d0 = d[0], d1 = d[step], d2 = d[2 * step], d3 = d[3 * step], d4 = d[4 * step], d5 = d[5 * step];
    const vec near_even = d4 - d2 * 2.0f, near_odd = (d3 - d1 * 2.0f) * WINO_NEAR;
    const vec far_even = d4 - d2 * 0.5f, far_odd = (d3 - d1 * 0.5f) * WINO_FAR;
    to[0] = d0 + d4 - d2 * 2.5f;
    to[step] = near_even + near_odd;
    to[2 * step] = near_even - near_odd;
    to[3 * step] = far_even + far_odd;
    to[4 * step] = far_even - far_odd;
    to[5 * step] = d1 + d5 - d3 * 2.5f;
}

static inline void source_transform(float *to, int64_t plane, vec *d) {
    for (int i = 0; i < WINO_PATCH; i++) source_axis(d + i, d + i, WINO_PATCH);
    for (int i = 0; i < WINO_PATCH; i++) {
        source_axis(d + i * WINO_PATCH, d + i * WINO_PATCH, 1);
        for (int j = 0; j < WINO_PATCH; j++) vec_store(to + (i * WINO_PATCH + j) * plane, d[i * WINO_PATCH + j]);
    }
}

/* A pixel of padding is read from `zeros`, at every channel the same. */
void wino_source_tile(const wino_tiles *t, const float *src, int64_t tile, float *to, int64_t plane) {
    static const float zeros[VEC];
    const conv_shape *s = t->shape;
    const float *from[WINO_POINTS];
    int64_t mask[WINO_POINTS], at[3], c = 0;
    vec d[WINO_POINTS];
    const int64_t next = WINO_TILE * s->src_c;
    wino_tile_at(t, tile, at);
    for (int64_t i = 0; i < WINO_POINTS; i++) {
        const int64_t y = at[1] - t->before[0] + i / WINO_PATCH, x = at[2] - t->before[1] + i % WINO_PATCH;
        const int inside = y >= 0 && x >= 0 && y < s->src_size[0] && x < s->src_size[1];
        from[i] = inside ? src + ((at[0] * s->src_size[0] + y) * s->src_size[1] + x) * s->src_c : zeros;
        mask[i] = inside ? -1 : 0;
    }
    for (; c + VEC <= s->src_c; c += VEC) {
        for (int i = 0; i < WINO_POINTS; i++) {
            d[i] = vec_load(from[i] + (c & mask[i]));
            /* The next tile's pixels: short runs, of which the processor sees no pattern. */
            if (i % WINO_PATCH >= WINO_PATCH - WINO_TILE) __builtin_prefetch(from[i] + (c & mask[i]) + next);
        }
        source_transform(to + c, plane, d);
    }
    if (c == s->src_c) return;
    const vec_part part = vec_part_of(s->src_c - c);
    for (int i = 0; i < WINO_POINTS; i++) d[i] = vec_load_part(from[i] + (c & mask[i]), part);
    source_transform(to + c, plane, d);
}

/* ---- A dY A^T ---- */

static inline void grad_axis(vec *to, const vec *y, int64_t step) {
    const vec y0 = y[0], y1 = y[step], y2 = y[2 * step], y3 = y[3 * step];
    const vec near_even = y0 + y2 * 0.5f, near_odd = (y1 + y3 * 0.5f) * WINO_NEAR;
    const vec far_even = y0 + y2 * 2.0f, far_odd = (y1 + y3 * 2.0f) * WINO_FAR;
    to[0] = y0;
    to[step] = near_even + near_odd;
    to[2 * step] = near_even - near_odd;
    to[3 * step] = far_even + far_odd;
    to[4 * step] = far_even - far_odd;
    to[5 * step] = y3;
}

/* d: the first 4 of 6 rows and columns, row by row, are the gradient. */
static inline void grad_transform(float *to, int64_t plane, vec *d) {
    for (int i = 0; i < WINO_TILE; i++) grad_axis(d + i, d + i, WINO_PATCH);
    for (int i = 0; i < WINO_PATCH; i++) {
        grad_axis(d + i * WINO_PATCH, d + i * WINO_PATCH, 1);
        for (int j = 0; j < WINO_PATCH; j++) vec_store(to + (i * WINO_PATCH + j) * plane, d[i * WINO_PATCH + j]);
    }
}

/* A tile that hangs over the edge has gradients of 0 there. */
void wino_grad_tile(const wino_tiles *t, const float *grad, int64_t tile, float *to, int64_t plane) {
    const conv_shape *s = t->shape;
    vec d[WINO_POINTS];
    int64_t at[3];
    wino_tile_at(t, tile, at);
    const int64_t rows = cpu_min(WINO_TILE, s->dst_size[0] - at[1]), row = s->dst_size[1] * s->dst_c;
    const int64_t columns = cpu_min(WINO_TILE, s->dst_size[1] - at[2]);
    const float *from = grad + ((at[0] * s->dst_size[0] + at[1]) * s->dst_size[1] + at[2]) * s->dst_c;
    for (int64_t c = 0; c < s->dst_c; c += VEC) {
        const vec_part part = vec_part_of(cpu_min(VEC, s->dst_c - c));
        for (int64_t i = 0; i < WINO_TILE; i++)
            for (int64_t j = 0; j < WINO_TILE; j++)
                d[i * WINO_PATCH + j] =
                    i < rows && j < columns ? vec_load_part(from + i * row + j * s->dst_c + c, part) : vec_zero();
        grad_transform(to + c, plane, d);
    }
}
