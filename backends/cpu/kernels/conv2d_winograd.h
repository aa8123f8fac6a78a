/*
 * Winograd convolution F(4x4, 3x3) in f32 (Lavin & Gray, "Fast Algorithms for Convolutional Neural Networks", 2016):
 * 36 multiplications where a direct 3x3 convolution has 144. For 3x3, stride 1, dilation 1, groups 1.
 *
 * Y = A^T [ (G g G^T) . (B^T d B) ] A for each tile of 4x4 results, with the points 0, sqrt(1/2), -sqrt(1/2), sqrt(2),
 * -sqrt(2) and infinity: of all tried the most exact, with half the rounding error of the usual 0, 1, -1, 2, -2
 * (Barabasz et al., "Error Analysis and Improving the Accuracy of Winograd Convolution", 2020, on why points matter).
 * bf16 tensors are widened as tiles are transformed and rounded once, as results: the products stay f32, which on
 * a machine with vectors of bf16 alone (no tiles of them) is faster than four times as many products of bf16, and more
 * exact. Channels then stand in the order of bf16v_place() in all transformed tiles and weights.
 *
 * Backward-input is a forward convolution with flipped weights and padding 2 - p. Backward-weight is the derivative by
 * g of the same form: dg = G^T [ sum over tiles (A dY A^T) . (B^T d B) ] G.
 */
#ifndef CVR_BACKENDS_CPU_CONV2D_WINOGRAD_H
#define CVR_BACKENDS_CPU_CONV2D_WINOGRAD_H

#include "conv2d.h"

#define WINO_TILE 4  /* results along an axis */
#define WINO_PATCH 6 /* pixels that they see */
#define WINO_POINTS (WINO_PATCH * WINO_PATCH)
#define WINO_NEAR 0.70710678f /* the points 1 and 2 of an axis, +-sqrt(1/2) */
#define WINO_FAR 1.41421356f  /* 3 and 4, +-sqrt(2) */

/* The tiles of all pictures, those of a picture row by row. */
typedef struct wino_tiles {
    const conv_shape *shape;
    int64_t bf16;      /* 1: source and destination are bf16 */
    int64_t before[2]; /* rows and columns of padding before the source */
    int64_t grid[2];   /* tiles of a picture */
    int64_t n;
} wino_tiles;

void wino_tiles_of(wino_tiles *out, const conv_shape *shape, int64_t bf16);
/* Where tile `tile` begins on the destination: picture, row, column. */
static inline void wino_tile_at(const wino_tiles *t, int64_t tile, int64_t at[3]) {
    at[0] = tile / (t->grid[0] * t->grid[1]);
    at[1] = tile / t->grid[1] % t->grid[0] * WINO_TILE;
    at[2] = tile % t->grid[1] * WINO_TILE;
}
/* to[point * plane + channel] = B^T d B of one tile's patch of the source */
void wino_source_tile(const wino_tiles *t, const void *src, int64_t tile, float *to, int64_t plane);
/* to[point * plane + channel] = A dY A^T of one tile of the destination's gradient */
void wino_grad_tile(const wino_tiles *t, const void *grad, int64_t tile, float *to, int64_t plane);

/* Floats of a transformed tile at one point: a line more than needed, as rows a power of two apart would share a set of
 * the first-level cache. */
static inline int64_t wino_row(int64_t channels) {
    return cpu_line_up(channels) + CPU_LINE_FLOATS;
}

/* ---- forward and backward-input: conv2d_winograd.c, conv2d_winograd_pack.c ---- */

/*
 * V of few tiles is made once, and a task is a panel of the results, whose U it makes itself; or a task is a block of
 * tiles with a V of its own, and all of U is made before. Where weights are prepacked (conv_job), U is there in both
 * cases.
 */
typedef struct wino_job {
    const conv_job *conv;
    wino_tiles tiles;
    int64_t shared;              /* 1: V of all tiles is made first */
    int64_t blocks, block_tiles; /* that the tiles are cut into, and tiles of one, at most */
    int64_t parts;               /* where V is shared: tasks of a panel */
    int64_t panels, row, plane;  /* of destination channels; floats of V: of a tile, of all tiles, at one point */
    int64_t shared_floats, scratch_floats;
    float *u;       /* (panels, 36, source channels, cpu_micro.columns), or of each worker for one panel */
    float *v;       /* (36, plane), or of each worker */
    float *scratch; /* of each worker: V or U, where it has its own, then (36, block_tiles, columns) of one panel's
                       results */
} wino_job;

/* U = G g G^T of a panel */
void wino_pack_panel(const wino_job *job, int64_t panel, float *to);
/* of all panels, to job->u */
void wino_pack(const wino_job *job, const cvr_threadpool *pool);
/* Floats of a panel's U. */
static inline int64_t wino_panel_floats(const conv_shape *s) {
    return WINO_POINTS * s->src_c * cpu_micro.columns;
}

#endif
