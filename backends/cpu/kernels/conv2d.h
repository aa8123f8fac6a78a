/*
 * Convolution on the CPU, shared by the files conv2d_*.c.
 *
 * Forward and backward-input (which is the transposed convolution) are one algorithm, a gather: every pixel of the
 * destination is a sum over taps of a pixel of the source times a (source channels, destination channels) matrix.
 * Forward, that is the definition. Transposed with stride s, the destination's rows h fall into s phases h mod s;
 * within a phase every row sees the same taps, at consecutive rows of the source. So both become tiles of pixels,
 * gathered into rows of a matrix (im2col) and multiplied by OpenBLAS, with no work wasted on the zeros between strides.
 */
#ifndef CVR_BACKENDS_CPU_CONV2D_H
#define CVR_BACKENDS_CPU_CONV2D_H

#include "blas.h"
#include "kernels.h"

#include <cvr/plugin/ops/conv.h>

/*
 * One axis of one phase. Grid point i is the destination's row dst_off + i * dst_step; its tap a is the source's row
 * i * src_step + base + a * inc, times the kernel's row tap0 + a * tap_step.
 */
typedef struct conv_axis {
    int64_t grid, dst_off, dst_step;
    int64_t src_step, base, inc;
    int64_t taps, tap0, tap_step;
} conv_axis;

/* Pairs are (height, width). */
typedef struct conv_job {
    const float *src;    /* (n, src_size[0], src_size[1], groups * src_c) */
    const float *weight; /* (O, kernel[0], kernel[1], I): O runs over the conv2d's output channels */
    const float *bias;   /* (groups * dst_c), or NULL */
    float *dst;          /* (n, dst_size[0], dst_size[1], groups * dst_c) */
    int64_t n, groups;
    int64_t src_c, dst_c; /* channels of a group; I is src_c, or dst_c where transposed */
    int64_t src_size[2], dst_size[2];
    int64_t kernel[2], stride[2], padding[2], dilation[2];
    int64_t transposed;
    /* What follows is derived by conv_job_plan. */
    int64_t phases[2];
    int64_t depthwise;      /* one channel a group: no matrices */
    int64_t pack_weights;   /* the weight is brought into the order of the taps first */
    int64_t gather_pixels;  /* 0: the source already is the matrix (1x1) */
    int64_t scatter_pixels; /* 0: a tile's results are consecutive pixels of dst */
    int64_t tile;           /* pixels of a task */
    int64_t tiles;          /* tasks of a phase, at most */
    int64_t packed_floats;  /* shared workspace, first */
    int64_t scratch_floats; /* of each worker, after it */
    float *packed, *scratch;
} conv_job;

/* Fills `job` but for its pointers. `src` and `dst` are rank 4; the kernel's size is the weight's. */
void conv_job_plan(conv_job *job, const cvr_conv2d_attrs *attrs, const cvr_tensor *src, const cvr_tensor *weight,
                   const cvr_tensor *dst, int64_t transposed);
uint64_t conv_job_workspace(const conv_job *job, uint32_t n_workers);
/* Runs the job; pointers to the tensors are set, `workspace` has conv_job_workspace bytes. */
void conv_job_run(conv_job *job, const cvr_threadpool *pool, float *workspace);

/* The axis of a phase: of the destination's rows h with h mod stride = phase where transposed, else of all (phase 0).
 */
void conv_axis_of(conv_axis *out, const conv_job *job, int axis, int64_t phase);
/* Taps of the phases before (phase_h, phase_w): where this phase's part of the packed weight begins. */
int64_t conv_taps_before(const conv_job *job, const conv_axis *h, int64_t phase_h, int64_t phase_w);

/* One tile's input: pixels [first, end) of the grid (n, h.grid, w.grid), `channels` from `channel` on. */
typedef struct conv_cols {
    const float *src;
    int64_t src_size[2], src_stride; /* src_stride: floats of a source pixel */
    int64_t channel, channels;
    int64_t first, end;
} conv_cols;
/* cols (end - first, h.taps, w.taps, channels) = the source under each tap, 0 outside of it. */
void conv_im2col(const conv_cols *c, const conv_axis *h, const conv_axis *w, float *cols);

/* Depthwise task: pixels [first, end) of a phase's grid. `weight` is packed (h.taps, w.taps, groups). */
void conv_depthwise_tile(const conv_job *job, const conv_axis *h, const conv_axis *w, const float *weight,
                         int64_t first, int64_t end);

/* conv2d_backward_weight. `job` is the forward one: its dst is the gradient, its weight the result's shape. */
uint64_t conv_weight_workspace(const conv_job *job, uint32_t n_workers);
void conv_weight_run(const conv_job *job, const cvr_threadpool *pool, const float *grad, float *dweight,
                     float *workspace);
/* Depthwise: partial (kernel[0], kernel[1], groups) += the pixels [first, end) of the grid (n, h.grid, w.grid). */
void conv_depthwise_weight_tile(const conv_job *job, const conv_axis *h, const conv_axis *w, const float *grad,
                                int64_t first, int64_t end, float *partial);

#endif
