/* Winograd's transformed tiles of the source and of the destination's gradient (see conv2d_winograd.h). */
#include "conv2d_winograd.h"
#include "cpu_vec.h"

void wino_tiles_of(wino_tiles *out, const conv_shape *s, int64_t low) {
    *out = (wino_tiles){.shape = s, .low = low, .n = s->n};
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

/* Elements before each pixel of a tile's patch, -1 where it is padding. */
static void patch_at(const wino_tiles *t, int64_t tile, int64_t pixel[WINO_POINTS]) {
    const conv_shape *s = t->shape;
    int64_t at[3];
    wino_tile_at(t, tile, at);
    for (int64_t i = 0; i < WINO_POINTS; i++) {
        const int64_t y = at[1] - t->before[0] + i / WINO_PATCH, x = at[2] - t->before[1] + i % WINO_PATCH;
        const int inside = y >= 0 && x >= 0 && y < s->src_size[0] && x < s->src_size[1];
        pixel[i] = inside ? ((at[0] * s->src_size[0] + y) * s->src_size[1] + x) * s->src_c : -1;
    }
}

/* The next tile's pixels are fetched: short runs, of which the processor sees no pattern. */
static inline int is_next(int i) {
    return i % WINO_PATCH >= WINO_PATCH - WINO_TILE;
}

/* A pixel of padding is read from `zeros`, at every channel the same. */
static void source_floats(const wino_tiles *t, const float *src, int64_t tile, float *to, int64_t plane) {
    static const float zeros[VEC];
    const conv_shape *s = t->shape;
    const float *from[WINO_POINTS];
    int64_t mask[WINO_POINTS], pixel[WINO_POINTS], c = 0;
    vec d[WINO_POINTS];
    patch_at(t, tile, pixel);
    for (int i = 0; i < WINO_POINTS; i++) {
        from[i] = pixel[i] < 0 ? zeros : src + pixel[i];
        mask[i] = pixel[i] < 0 ? 0 : -1;
    }
    for (; c + VEC <= s->src_c; c += VEC) {
        for (int i = 0; i < WINO_POINTS; i++) {
            d[i] = vec_load(from[i] + (c & mask[i]));
            if (is_next(i)) __builtin_prefetch(from[i] + (c & mask[i]) + WINO_TILE * s->src_c);
        }
        source_transform(to + c, plane, d);
    }
    if (c == s->src_c) return;
    const vec_part part = vec_part_of(s->src_c - c);
    for (int i = 0; i < WINO_POINTS; i++) d[i] = vec_load_part(from[i] + (c & mask[i]), part);
    source_transform(to + c, plane, d);
}

static void source_low(const wino_tiles *t, const uint16_t *src, int64_t tile, float *to, int64_t plane) {
    static const uint16_t zeros[2 * VEC];
    const conv_shape *s = t->shape;
    const uint16_t *from[WINO_POINTS];
    int64_t mask[WINO_POINTS], pixel[WINO_POINTS];
    vec d[WINO_POINTS];
    patch_at(t, tile, pixel);
    for (int i = 0; i < WINO_POINTS; i++) {
        from[i] = pixel[i] < 0 ? zeros : src + pixel[i];
        mask[i] = pixel[i] < 0 ? 0 : -1;
    }
    for (int64_t c = 0; c < s->src_c; c += 2 * VEC) {
        for (int i = 0; i < WINO_POINTS; i++) {
            d[i] = words_even(words_load(from[i] + (c & mask[i])));
            if (is_next(i)) __builtin_prefetch(from[i] + (c & mask[i]) + WINO_TILE * s->src_c);
        }
        source_transform(to + c, plane, d);
        for (int i = 0; i < WINO_POINTS; i++) d[i] = words_odd(words_load(from[i] + (c & mask[i])));
        source_transform(to + c + VEC, plane, d);
    }
}

void wino_source_tile(const wino_tiles *t, const void *src, int64_t tile, float *to, int64_t plane) {
    if (t->low)
        source_low(t, src, tile, to, plane);
    else
        source_floats(t, src, tile, to, plane);
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

/* Elements before the tile's first gradient; count: its rows and columns inside. */
static int64_t grad_at(const wino_tiles *t, int64_t tile, int64_t count[2]) {
    const conv_shape *s = t->shape;
    int64_t at[3];
    wino_tile_at(t, tile, at);
    count[0] = cpu_min(WINO_TILE, s->dst_size[0] - at[1]);
    count[1] = cpu_min(WINO_TILE, s->dst_size[1] - at[2]);
    return ((at[0] * s->dst_size[0] + at[1]) * s->dst_size[1] + at[2]) * s->dst_c;
}

/* A tile that hangs over the edge has gradients of 0 there. */
static void grad_floats(const wino_tiles *t, const float *grad, int64_t tile, float *to, int64_t plane) {
    const conv_shape *s = t->shape;
    const int64_t row = s->dst_size[1] * s->dst_c;
    int64_t count[2];
    vec d[WINO_POINTS];
    const float *from = grad + grad_at(t, tile, count);
    for (int64_t c = 0; c < s->dst_c; c += VEC) {
        const vec_part part = vec_part_of(cpu_min(VEC, s->dst_c - c));
        for (int64_t i = 0; i < WINO_TILE; i++)
            for (int64_t j = 0; j < WINO_TILE; j++)
                d[i * WINO_PATCH + j] =
                    i < count[0] && j < count[1] ? vec_load_part(from + i * row + j * s->dst_c + c, part) : vec_zero();
        grad_transform(to + c, plane, d);
    }
}

/* `odd`, a constant: which of each word's two vectors. */
static inline void grad_low(const wino_tiles *t, const uint16_t *from, const int64_t count[2], int odd, float *to,
                            int64_t plane) {
    const int64_t pixel = t->shape->dst_c, row = t->shape->dst_size[1] * pixel;
    vec d[WINO_POINTS];
    for (int64_t i = 0; i < WINO_TILE; i++)
        for (int64_t j = 0; j < WINO_TILE; j++) {
            const int inside = i < count[0] && j < count[1];
            const words w = words_load(from + (inside ? i * row + j * pixel : 0));
            d[i * WINO_PATCH + j] = !inside ? vec_zero() : odd ? words_odd(w) : words_even(w);
        }
    grad_transform(to, plane, d);
}

void wino_grad_tile(const wino_tiles *t, const void *grad, int64_t tile, float *to, int64_t plane) {
    if (!t->low) {
        grad_floats(t, grad, tile, to, plane);
        return;
    }
    int64_t count[2];
    const uint16_t *from = (const uint16_t *)grad + grad_at(t, tile, count);
    for (int64_t c = 0; c < t->shape->dst_c; c += 2 * VEC) {
        grad_low(t, from + c, count, 0, to + c, plane);
        grad_low(t, from + c, count, 1, to + c + VEC, plane);
    }
}
