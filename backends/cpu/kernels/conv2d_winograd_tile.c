/*
 * Winograd's transformed tiles of the source, V = B^T d B (6x6 -> 6x6), and of the destination's gradient,
 * Z = A dY A^T (4x4 -> 6x6) (see conv2d_winograd.h). With N = sqrt(1/2) and F = sqrt(2) the rows are
 *     B^T: (1, 0, -5/2, 0, 1, 0),  (0, -+2N, -2, +-N, 1, 0),  (0, -+F/2, -1/2, +-F, 1, 0),  (0, 1, 0, -5/2, 0, 1)
 *     A:   (1, 0, 0, 0),  (1, +-N, 1/2, +-N/2),  (1, +-F, 2, +-2F),  (0, 0, 0, 1).
 *
 * The outer loop goes along channels, a vector at a time. Within it the columns of the tile are transformed first, into
 * an array of vectors, and then its rows, each of which is stored at once. Point p of channel c goes to
 * to[p * plane + c].
 */
#include "conv2d_winograd.h"
#include "cpu_vec.h"

void wino_tiles_of(wino_tiles *out, const conv_shape *s, int64_t bf16) {
    *out = (wino_tiles){.shape = s, .bf16 = bf16, .n = s->n};
    for (int i = 0; i < 2; i++) {
        out->before[i] = s->transposed ? 2 - s->padding[i] : s->padding[i];
        out->grid[i] = cpu_ceil_div(s->dst_size[i], WINO_TILE);
        out->n *= out->grid[i];
    }
}

/* ---- B^T d B ---- */

static inline void source_axis(vec *to, int64_t to_step, const vec *d) {
    const vec near_even = d[4] - d[2] * 2.0f, near_odd = (d[3] - d[1] * 2.0f) * WINO_NEAR;
    const vec far_even = d[4] - d[2] * 0.5f, far_odd = (d[3] - d[1] * 0.5f) * WINO_FAR;
    to[0] = d[0] + d[4] - d[2] * 2.5f;
    to[to_step] = near_even + near_odd;
    to[2 * to_step] = near_even - near_odd;
    to[3 * to_step] = far_even + far_odd;
    to[4 * to_step] = far_even - far_odd;
    to[5 * to_step] = d[1] + d[5] - d[3] * 2.5f;
}

/* The second axis: d (6,6), whose columns have been transformed. */
static inline void source_rows(float *to, int64_t plane, const vec *d) {
    for (int i = 0; i < WINO_PATCH; i++) {
        vec row[WINO_PATCH];
        source_axis(row, 1, d + i * WINO_PATCH);
        TILE_UNROLL
        for (int j = 0; j < WINO_PATCH; j++) vec_store(to + (i * WINO_PATCH + j) * plane, row[j]);
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

/* Pixel i's channels from `c` on; a pixel of padding is read from zeros, at every channel the same. The next tile's
 * pixels are fetched: short runs, of which the processor sees no pattern. */
typedef struct patch {
    const void *from[WINO_POINTS];
    int64_t mask[WINO_POINTS], next;
} patch;

static inline const float *patch_floats(const patch *p, int i, int64_t c) {
    const float *at = (const float *)p->from[i] + (c & p->mask[i]);
    if (i % WINO_PATCH >= WINO_PATCH - WINO_TILE) __builtin_prefetch(at + p->next);
    return at;
}

static inline const uint16_t *patch_bf16(const patch *p, int i, int64_t c, int fetch) {
    const uint16_t *at = (const uint16_t *)p->from[i] + (c & p->mask[i]);
    if (fetch && i % WINO_PATCH >= WINO_PATCH - WINO_TILE) __builtin_prefetch(at + p->next);
    return at;
}

static void patch_of(patch *p, const wino_tiles *t, const void *src, int64_t tile) {
    static const float zeros[VEC];
    const int64_t element = t->bf16 ? (int64_t)sizeof(uint16_t) : (int64_t)sizeof(float);
    int64_t pixel[WINO_POINTS];
    patch_at(t, tile, pixel);
    p->next = WINO_TILE * t->shape->src_c;
    for (int i = 0; i < WINO_POINTS; i++) {
        p->from[i] = pixel[i] < 0 ? (const void *)zeros : (const char *)src + pixel[i] * element;
        p->mask[i] = pixel[i] < 0 ? 0 : -1;
    }
}

static void source_floats(const wino_tiles *t, const float *src, int64_t tile, float *to, int64_t plane) {
    const int64_t channels = t->shape->src_c;
    vec d[WINO_POINTS];
    patch p;
    patch_of(&p, t, src, tile);
    for (int64_t c = 0; c < channels; c += VEC) {
        const int whole = c + VEC <= channels;
        const vec_part part = vec_part_of(cpu_min(VEC, channels - c));
        TILE_UNROLL
        for (int j = 0; j < WINO_PATCH; j++) {
            vec column[WINO_PATCH];
            TILE_UNROLL
            for (int i = 0; i < WINO_PATCH; i++) {
                const float *from = patch_floats(&p, i * WINO_PATCH + j, c);
                column[i] = whole ? vec_load(from) : vec_load_part(from, part);
            }
            source_axis(d + j, WINO_PATCH, column);
        }
        source_rows(to + c, plane, d);
    }
}

/* One of the two vectors of a bf16v. `odd`, a constant: which. */
static inline void source_half(const patch *p, int64_t c, int odd, float *to, int64_t plane) {
    vec d[WINO_POINTS];
    TILE_UNROLL
    for (int j = 0; j < WINO_PATCH; j++) {
        vec column[WINO_PATCH];
        TILE_UNROLL
        for (int i = 0; i < WINO_PATCH; i++) {
            const bf16v w = bf16v_load(patch_bf16(p, i * WINO_PATCH + j, c, odd));
            column[i] = odd ? bf16v_odd(w) : bf16v_even(w);
        }
        source_axis(d + j, WINO_PATCH, column);
    }
    source_rows(to, plane, d);
}

static void source_bf16(const wino_tiles *t, const uint16_t *src, int64_t tile, float *to, int64_t plane) {
    patch p;
    patch_of(&p, t, src, tile);
    for (int64_t c = 0; c < t->shape->src_c; c += 2 * VEC) {
        source_half(&p, c, 0, to + c, plane);
        source_half(&p, c, 1, to + c + VEC, plane);
    }
}

void wino_source_tile(const wino_tiles *t, const void *src, int64_t tile, float *to, int64_t plane) {
    if (t->bf16)
        source_bf16(t, src, tile, to, plane);
    else
        source_floats(t, src, tile, to, plane);
}

/* ---- A dY A^T ---- */

static inline void grad_axis(vec *to, int64_t to_step, const vec *y) {
    const vec near_even = y[0] + y[2] * 0.5f, near_odd = (y[1] + y[3] * 0.5f) * WINO_NEAR;
    const vec far_even = y[0] + y[2] * 2.0f, far_odd = (y[1] + y[3] * 2.0f) * WINO_FAR;
    to[0] = y[0];
    to[to_step] = near_even + near_odd;
    to[2 * to_step] = near_even - near_odd;
    to[3 * to_step] = far_even + far_odd;
    to[4 * to_step] = far_even - far_odd;
    to[5 * to_step] = y[3];
}

/* The second axis: d (6,4), whose columns have been transformed. */
static inline void grad_rows(float *to, int64_t plane, const vec *d) {
    for (int i = 0; i < WINO_PATCH; i++) {
        vec row[WINO_PATCH];
        grad_axis(row, 1, d + i * WINO_TILE);
        TILE_UNROLL
        for (int j = 0; j < WINO_PATCH; j++) vec_store(to + (i * WINO_PATCH + j) * plane, row[j]);
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
    vec d[WINO_PATCH * WINO_TILE];
    const float *from = grad + grad_at(t, tile, count);
    for (int64_t c = 0; c < s->dst_c; c += VEC) {
        const vec_part part = vec_part_of(cpu_min(VEC, s->dst_c - c));
        TILE_UNROLL
        for (int64_t j = 0; j < WINO_TILE; j++) {
            vec column[WINO_TILE];
            TILE_UNROLL
            for (int64_t i = 0; i < WINO_TILE; i++)
                column[i] =
                    i < count[0] && j < count[1] ? vec_load_part(from + i * row + j * s->dst_c + c, part) : vec_zero();
            grad_axis(d + j, WINO_TILE, column);
        }
        grad_rows(to + c, plane, d);
    }
}

/* `odd` as above. */
static inline void grad_bf16(const wino_tiles *t, const uint16_t *from, const int64_t count[2], int odd, float *to,
                             int64_t plane) {
    const int64_t pixel = t->shape->dst_c, row = t->shape->dst_size[1] * pixel;
    vec d[WINO_PATCH * WINO_TILE];
    TILE_UNROLL
    for (int64_t j = 0; j < WINO_TILE; j++) {
        vec column[WINO_TILE];
        TILE_UNROLL
        for (int64_t i = 0; i < WINO_TILE; i++) {
            const int inside = i < count[0] && j < count[1];
            const bf16v w = bf16v_load(from + (inside ? i * row + j * pixel : 0));
            column[i] = !inside ? vec_zero() : odd ? bf16v_odd(w) : bf16v_even(w);
        }
        grad_axis(d + j, WINO_TILE, column);
    }
    grad_rows(to, plane, d);
}

void wino_grad_tile(const wino_tiles *t, const void *grad, int64_t tile, float *to, int64_t plane) {
    if (!t->bf16) {
        grad_floats(t, grad, tile, to, plane);
        return;
    }
    int64_t count[2];
    const uint16_t *from = (const uint16_t *)grad + grad_at(t, tile, count);
    for (int64_t c = 0; c < t->shape->dst_c; c += 2 * VEC) {
        grad_bf16(t, from + c, count, 0, to + c, plane);
        grad_bf16(t, from + c, count, 1, to + c + VEC, plane);
    }
}
