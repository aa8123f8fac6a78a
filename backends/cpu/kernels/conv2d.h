/*
 * Convolution on the CPU, shared by the files conv2d_*.c.
 *
 * Forward and backward-input (which is the transposed convolution) are one algorithm, a gather: every pixel of the
 * destination is a sum over taps of a pixel of the source times a (source channels, destination channels) matrix.
 * Forward, that is the definition. Transposed with stride s, the destination's rows h fall into s phases h mod s;
 * within a phase every row sees the same taps, at consecutive rows of the source, so that nothing is spent on the zeros
 * between strides.
 *
 * Both run on the tiles of gemm.h: the pixels of a tile are the rows of A, read where they lie, the taps are its steps,
 * and the packed weights are B. Before that, a task copies its part of the source into scratch of its own where the
 * picture has padding or where its pixels are a power of two apart, which would put a tile's rows into one set of the
 * first-level cache.
 */
#ifndef CVR_BACKENDS_CPU_CONV2D_H
#define CVR_BACKENDS_CPU_CONV2D_H

#include "cpu_vec.h"
#include "gemm.h"

#include <cvr/plugin/ops/conv.h>

/* Steps that are summed in registers, by one call of a micro-kernel. Where results are bf16, a convolution may have no
 * more. */
#define CONV_STEPS_IN_REGISTERS 128

/* Panels of weights that a tile of pixels meets before the next tile, at most. */
#define CONV_PANELS_AT_ONCE 16

/*
 * One axis of one phase. Grid point i is the destination's row dst_off + i * dst_step; its tap a is the source's row
 * i * src_step + base + a * inc, times the kernel's row tap0 + a * tap_step. inc > 0.
 */
typedef struct conv_axis {
    int64_t grid, dst_off, dst_step;
    int64_t src_step, base, inc;
    int64_t taps, tap0, tap_step;
} conv_axis;

/* The convolution itself. Pairs are (height, width). */
typedef struct conv_shape {
    int64_t n, groups;
    int64_t src_c, dst_c; /* channels of a group; the weight's I is src_c, or dst_c where transposed */
    int64_t src_size[2], dst_size[2];
    int64_t kernel[2], stride[2], padding[2], dilation[2];
    int64_t transposed;
    int64_t phases[2];
    int64_t flat; /* 1x1 that touches each pixel once: the n pictures are single pixels */
} conv_shape;

void conv_shape_of(conv_shape *out, const cvr_conv2d_attrs *attrs, const cvr_tensor *src, const cvr_tensor *weight,
                   const cvr_tensor *dst, int64_t transposed);
static inline int conv_is_depthwise(const conv_shape *s) {
    return s->groups > 1 && s->src_c == 1 && s->dst_c == 1;
}
/* The axis of a phase: of the destination's rows h with h mod stride = phase where transposed, else of all (phase 0).
 */
void conv_axis_of(conv_axis *out, const conv_shape *shape, int axis, int64_t phase);
/* Of the source rows that an axis sees, only every unit-th one is ever read: a copy leaves the others out. */
int64_t conv_axis_unit(const conv_axis *a);
/* Rows of such a copy for `points` points of the grid. */
static inline int64_t conv_axis_extent(const conv_axis *a, int64_t points) {
    return ((points - 1) * a->src_step + (a->taps - 1) * a->inc) / conv_axis_unit(a) + 1;
}
/* Whether every tap of every point lies in a source of this size. */
static inline int conv_axis_inside(const conv_axis *a, int64_t size) {
    return a->grid == 0 || a->taps == 0 ||
           (a->base >= 0 && a->base + (a->grid - 1) * a->src_step + (a->taps - 1) * a->inc < size);
}
/* Taps of the phases before (phase_h, phase_w): where this phase's part of the packed weight begins. */
int64_t conv_taps_before(const conv_shape *shape, const conv_axis *h, int64_t phase_h, int64_t phase_w);

/* ---- forward and backward-input: conv2d_gather.c, conv2d_pack.c, conv2d_depthwise.c ---- */

/* The backward pass of the batch norm and the activation whose result the convolution read. Results become 0 where v =
 * (x - mean) * scale + shift, or y where it is given, is not between lo and hi; then they, and they times x - mean, are
 * summed over all pixels. Vectors: (groups * dst_c). */
typedef struct conv_norm {
    const cpu_element *x, *y; /* as dst */
    const float *mean, *scale, *shift;
    double *sum, *product;
    int32_t clamps, reserved; /* 0: no activation: lo and hi are not looked at */
    float lo, hi;
} conv_norm;

/* What becomes of the results: clamp(scale * y + shift + residual, lo, hi); and their mean and biased variance over all
 * pixels. Depthwise convolutions have neither a residual nor these. */
typedef struct conv_epilogue {
    const float *scale, *shift;  /* (groups * dst_c); NULL: 1, 0 */
    const cpu_element *residual; /* as dst; NULL: 0 */
    double *mean, *var;          /* (groups * dst_c); NULL: not wanted */
    const conv_norm *norm;       /* NULL: none; else there is nothing else but a residual */
    int32_t clamp, reserved;     /* 0: lo and hi are not looked at */
    float lo, hi;
} conv_epilogue;

typedef struct conv_job {
    conv_shape shape;
    const cpu_element *src;        /* (n, src_size[0], src_size[1], groups * src_c) */
    const float *weight;           /* (O, kernel[0], kernel[1], I): O runs over the conv2d's output channels */
    const float *bias;             /* (groups * dst_c), or NULL */
    cpu_element *dst;              /* (n, dst_size[0], dst_size[1], groups * dst_c) */
    const conv_epilogue *epilogue; /* NULL: none; known before conv_job_plan, as is: */
    int64_t bf16;      /* 1: src and dst are bf16 in a pack of f32: depthwise, or by Winograd; known before, too */
    int64_t prepacked; /* 1: conv_job_pack packed the weights before; known before, too; 0 after where depthwise */
    /* What follows is derived by conv_job_plan. */
    int64_t winograd;        /* 1: by conv2d_winograd.c, and nothing of the rest is looked at */
    int64_t panels;          /* of a group's destination channels */
    int64_t block_c, blocks; /* source channels that are summed at once, and how many times that is */
    int64_t images, rows;    /* of a task, on the grid of a phase */
    int64_t part_panels;     /* of a task */
    int64_t panels_at_once;  /* that a tile of pixels meets */
    int64_t image_parts, row_parts, panel_parts;
    int64_t pixel;          /* elements of a scratch pixel */
    int64_t spread;         /* 1: pixels are copied, as they lie badly in the cache */
    int64_t packed_floats;  /* shared workspace, first, unless prepacked; in elements, as the next */
    int64_t scratch_floats; /* of each worker, after it */
    cpu_operand *packed, *scratch;
    int64_t packed_low, scratch_low; /* elements from the high to the low part */
    int64_t stream;                  /* images, the first ones, whose results go past the caches (cpu_stream.h) */
    double *moments;                 /* (slots, 2, conv_moments_step): mean, sum of squares; where they are wanted */
} conv_job;

/* In a pack of f32, depthwise convolutions and Winograd's take bf16 too. */
static inline int64_t conv_is_bf16(const cvr_tensor *x) {
    return !CPU_BF16 && x->dtype == CVR_BF16;
}

/* Whether it takes sums over pixels. */
static inline int conv_measures(const conv_job *job) {
    return job->epilogue && (job->epilogue->mean || job->epilogue->norm);
}

/* Fills the rest of a `job` that has its shape and epilogue. */
void conv_job_plan(conv_job *job);
uint64_t conv_job_workspace(const conv_job *job, uint32_t n_workers);
/* Bytes of the packed weights, or of Winograd's transformed ones, where they are prepacked; 0 where they are not. */
uint64_t conv_job_prepacked(const conv_job *job);
/* Fills them from job->weight. */
void conv_job_pack(conv_job *job, const cvr_threadpool *pool, void *prepacked);
/* Runs the job; pointers to the tensors are set, `workspace` has conv_job_workspace bytes. */
void conv_job_run(conv_job *job, const cvr_threadpool *pool, void *workspace, void *prepacked);
/* packed = the weight in panels: (phase, group, panel, block, tap a, tap b, channels of the block, cpu_micro.columns),
 * or (taps by phase, channels as conv2d_depthwise.h has them) where depthwise. */
void conv_pack(const conv_job *job, const cvr_threadpool *pool);
/* Statistics: a slot is a phase, a range of images and one of rows; by Winograd, a task's tiles. */
int64_t conv_slots(const conv_job *job);
int64_t conv_slot_pixels(const conv_job *job, int64_t slot);

/* ---- epilogues: conv2d_epilogue.c ---- */

#define CONV_EPILOGUE_WIDTH (2 * VEC) /* channels of a panel, which is what cpu_micro.columns is everywhere */

/* The epilogue for the `n` channels of a panel; channels in the order of bf16v_place() where the job is `bf16`. */
typedef struct conv_epilogue_panel {
    const conv_job *job;
    int64_t n, changes; /* 0: nothing but statistics */
    float lo, hi;
    _Alignas(64) float scale[CPU_TILE_COLUMNS_MAX];
    float shift[CPU_TILE_COLUMNS_MAX], mean[CPU_TILE_COLUMNS_MAX]; /* scale, shift and mean of a conv_norm, if any */
} conv_epilogue_panel;

/* A panel's statistics as its pixels come: see conv_sums_of(). */
typedef struct conv_sums {
    double *moments; /* (2, step) */
    int64_t step;
    int64_t plain;       /* 1: sums of results, and of them times x - mean (conv_norm): */
    int64_t seen, group; /* pixels in `moments`, and in what follows: sums of y - pivot, and of its square */
    _Alignas(64) float pivot[CPU_TILE_COLUMNS_MAX];
    float sum[CPU_TILE_COLUMNS_MAX], square[CPU_TILE_COLUMNS_MAX];
} conv_sums;

/* Results of some pixels: y (m, CONV_EPILOGUE_WIDTH), f32; past the n-th channel they may be anything. */
typedef struct conv_pixels {
    float *y;
    int64_t at; /* where they go: the panel's first channel of pixel i is element at + c_rows[i] of dst */
    const int64_t *c_rows;
    int64_t m, stream;
    conv_sums *sums; /* NULL: no statistics */
} conv_pixels;

void conv_epilogue_panel_of(conv_epilogue_panel *f, const conv_job *job, int64_t channel, int64_t n);
/* None yet. `moments`: the panel's first channel in its slot. */
conv_sums conv_sums_of(const conv_job *job, double *moments);
/* Cache lines of other tensors that finishing these pixels will read, at most CONV_EPILOGUE_LINES; returns how many. */
#define CONV_EPILOGUE_LINES (3 * 2 * 32 + CPU_AHEAD) /* tensors, lines of a panel's pixel, pixels of a tile */
int64_t conv_epilogue_lines(const conv_epilogue_panel *f, int64_t at, const int64_t *c_rows, int64_t m,
                            const void **lines);
/* The same of the next tile, as far as it lies as this one does: they come while this one is computed. */
int64_t conv_epilogue_ahead(const conv_epilogue_panel *f, const cpu_tile *t, const void **lines);
/* Finishes, measures and stores. */
void conv_epilogue_pixels(const conv_epilogue_panel *f, const conv_pixels *p);
/* Runs the tile and does that to it. */
void conv_epilogue_tile(const conv_epilogue_panel *f, const cpu_tile *t, conv_sums *sums);
/* After the last pixel. */
void conv_sums_close(conv_sums *s);
/* Doubles from a slot's means to its sums of squares. */
static inline int64_t conv_moments_step(const conv_job *job) {
    return job->shape.groups * cpu_panels(job->shape.dst_c) * cpu_micro.columns;
}
static inline uint64_t conv_moments_bytes(const conv_job *job, int64_t slots) {
    return conv_measures(job) ? (uint64_t)(slots * 2 * conv_moments_step(job)) * sizeof(double) : 0;
}
/* mean and var of the epilogue, of `seen` pixels, take in a slot's of `pixels`; at the end var is still a sum. Or the
 * sums of a conv_norm. */
void conv_join_moments(const conv_job *job, const double *moments, int64_t pixels, int64_t seen);
void conv_end_moments(const conv_job *job, int64_t seen);
/* `supports` of the ops with an epilogue: pictures are of one type, all else f32. `depthwise`: takes these, too. */
int32_t conv_supports_epilogue(const cvr_signature *sig, int64_t transposed, int depthwise, cvr_error *reason);
/* Where depthwise: conv_job_run after the packing. */
void conv_depthwise_run(const conv_job *job, const cvr_threadpool *pool);
/* Whether Winograd's way is the faster one for a shape, in any direction. `bf16`: of bf16 tensors. `prepacked`: the
 * weights need not be transformed. */
int conv_winograd_pays(const conv_shape *shape, int64_t bf16, int64_t prepacked);
uint64_t conv_winograd_workspace(const conv_job *job, uint32_t n_workers);
uint64_t conv_winograd_prepacked(const conv_job *job);
void conv_winograd_pack(const conv_job *job, const cvr_threadpool *pool, float *prepacked);
void conv_winograd_run(conv_job *job, const cvr_threadpool *pool, float *workspace, float *prepacked);

#if CPU_BF16
/* `supports` of the packs of bf16 products: conv2d_bf16.c. */
int32_t conv_supports_forward(const cvr_signature *sig, cvr_error *reason);
int32_t conv_supports_transposed(const cvr_signature *sig, cvr_error *reason);
int32_t conv_supports_weight(const cvr_signature *sig, cvr_error *reason);
#endif
/* Elements from one tap of a row to the next, in the source itself (`inside`) or in the copy of it. Where these are a
 * block's channels, a row of taps is one step. */
static inline int64_t conv_column_inc(const conv_job *job, const conv_axis *w, int inside) {
    return inside ? w->inc * job->shape.groups * job->shape.src_c : w->inc / conv_axis_unit(w) * job->pixel;
}
/* Steps of a micro-kernel's call that all taps of a pixel take, at most. */
int64_t conv_most_steps(const conv_job *job);

/* ---- backward-weight: conv2d_weight.c; in bf16 conv2d_weight_bf16.c ---- */

/* conv2d_backward_weight. `shape` is the forward one; src is (n, src_size, groups * src_c), grad (n, dst_size, groups *
 * dst_c). */
typedef struct conv_weight_args {
    const conv_shape *shape;
    const cpu_element *src, *grad;
    float *dweight;
    int64_t bf16; /* 1: src and grad are bf16 in a pack of f32: depthwise, or by Winograd */
} conv_weight_args;
uint64_t conv_weight_workspace(const conv_shape *shape, uint32_t n_workers);
void conv_weight_run(const conv_weight_args *args, const cvr_threadpool *pool, void *workspace);

uint64_t conv_winograd_weight_workspace(const conv_shape *shape, uint32_t n_workers);
void conv_winograd_weight_run(const conv_weight_args *args, const cvr_threadpool *pool, float *workspace);
uint64_t conv_depthwise_weight_workspace(const conv_shape *shape);
void conv_depthwise_weight_run(const conv_weight_args *args, const cvr_threadpool *pool, float *workspace);

#endif
