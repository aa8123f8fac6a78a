/*
 * Winograd convolution F(4x4, 3x3) in f32 (Lavin & Gray, "Fast Algorithms for Convolutional Neural Networks", 2016):
 * 36 multiplications where a direct 3x3 convolution has 144. Forward and backward-input of 3x3, stride 1, dilation 1,
 * groups 1; backward-input is a forward convolution with flipped weights and padding 2 - p.
 *
 * Y = A^T [ (G g G^T) . (B^T d B) ] A for each tile of 4x4 results, with the points 0, 1, -1, 2, -2 and infinity.
 */
#ifndef CVR_BACKENDS_CPU_CONV2D_WINOGRAD_H
#define CVR_BACKENDS_CPU_CONV2D_WINOGRAD_H

#include "conv2d.h"

#define WINO_TILE 4  /* results along an axis */
#define WINO_PATCH 6 /* pixels that they see */
#define WINO_POINTS (WINO_PATCH * WINO_PATCH)

typedef struct wino_job {
    conv_shape shape;
    const float *src, *weight, *bias; /* as in conv_job */
    float *dst;
    /* What follows is derived by wino_plan. */
    int64_t before[2];     /* rows and columns of padding before the source */
    int64_t grid[2];       /* tiles of a picture */
    int64_t tiles, blocks; /* of all pictures; tasks that they are cut into */
    int64_t block_tiles;   /* of a task, at most */
    int64_t panels, row;   /* of destination channels; floats of a transformed tile at one point */
    int64_t plane;         /* floats of a task's transformed tiles at one point */
    int64_t packed_floats, scratch_floats;
    float *packed;  /* (panels, 36, source channels, cpu_micro.columns) */
    float *scratch; /* of each worker: (36, plane) of the source, (36, block_tiles, columns) of one panel's results */
} wino_job;

/* Whether the shape is one that Winograd can do at all, and whether it is then worth it. */
int wino_can(const conv_shape *shape);
int wino_pays(const conv_shape *shape);
/* Fills the rest of a `job` that has its shape. */
void wino_plan(wino_job *job);
uint64_t wino_workspace(const wino_job *job, uint32_t n_workers);
void wino_run(wino_job *job, const cvr_threadpool *pool, float *workspace);
/* packed = G g G^T in panels: conv2d_winograd_pack.c */
void wino_pack(const wino_job *job, const cvr_threadpool *pool);

#endif
