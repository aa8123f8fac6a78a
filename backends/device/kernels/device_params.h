/* The parameters of the kernels here: one struct each, read by the kernel and filled by the functions in ../ops. */
#ifndef DEVICE_PARAMS_H
#define DEVICE_PARAMS_H

#include "cvr/device/params.h"

/* ---- walks (walk.h): from the number of an element to where it lies ---- */

#define WALK_AXES 6

/* The innermost axis comes first; axes past `n` have size 1. */
STRUCT(device_walk) {
    u32 n, size[WALK_AXES], magic[WALK_AXES], shift[WALK_AXES];
    u32 to[WALK_AXES], from[WALK_AXES]; /* steps of an axis in two tensors, in elements */
};

    /* ---- elementwise.k ---- */

#define ELEMENTWISE_INPUTS 8
#define ELEMENTWISE_SLOTS 40u
#define ELEMENTWISE_HEAD 16u    /* constants before the steps */
#define ELEMENTWISE_NUMBER 128u /* operands from here on are numbers of the program */
#define ELEMENTWISE_LOAD 255u   /* the code of a step that loads an input */

/* How an input lies beside the results. */
#define ELEMENTWISE_FULL 0u /* one element for each */
#define ELEMENTWISE_ONE 1u  /* one for all */
#define ELEMENTWISE_ROWS 2u /* over and over, a multiple of four elements */
#define ELEMENTWISE_EVEN 3u /* element i / inner % size */

PARAMS(elementwise_params) {
    u64 y, x[ELEMENTWISE_INPUTS];
    u32 n;
    u32 inner_magic[ELEMENTWISE_INPUTS], inner_shift[ELEMENTWISE_INPUTS];
    u32 size[ELEMENTWISE_INPUTS], size_magic[ELEMENTWISE_INPUTS], size_shift[ELEMENTWISE_INPUTS];
    f32 numbers[32];
    u32 unused;
};

/* ---- columns.k, columns_finish.k: a matrix of rows * columns ---- */

/* What is added up in each column. */
#define COLUMNS_SUM 0u     /* x */
#define COLUMNS_PRODUCT 1u /* x * b */
#define COLUMNS_STATS 2u   /* mean and squared distances from it */
#define COLUMNS_NORM 3u    /* g = b where the activation lets it through; g, and g * (x - mean) */

/* The activation of COLUMNS_NORM: numbers of ops/norm.h. */
#define COLUMNS_RELU 1u
#define COLUMNS_RELU6 2u
#define COLUMNS_SILU 3u

PARAMS(columns_params) {
    u64 x, b, y, mean, scale, weight, bias, g; /* 0 where absent */
    u64 partials;                              /* (chunks, 2, columns) f32 */
    u32 rows, columns, tiles, chunk_rows, chunks;
    u32 unused;
};

PARAMS(columns_finish_params) {
    u64 partials, out0, out1;
    u64 scale; /* of out1: 1 / sqrt(var + eps), or var with FINISH_OF_VAR */
    u64 running_mean, running_var, batches;
    u32 rows, columns, chunk_rows, chunks;
    f32 factor; /* of out0 */
    f32 momentum, unbiased, eps;
    u32 stride; /* between the partial sums of two chunks */
    u32 unused;
};

/* What out1 is made of. */
#define FINISH_NONE 0u   /* there is none */
#define FINISH_PLAIN 1u  /* the sum, or of STATS the variance */
#define FINISH_SCALE 2u  /* the sum times `scale` */
#define FINISH_OF_VAR 3u /* the sum / sqrt(scale + eps), or of STATS 1 / sqrt(variance + eps) */

/* ---- product.k ---- */

/* How element (pixel, tap) of a is found. */
#define PRODUCT_DENSE 0u      /* a matrix */
#define PRODUCT_GATHER 1u     /* under the window of a convolution */
#define PRODUCT_TRANSPOSED 2u /* where a convolution took it from */

#define PRODUCT_TILE 64u  /* rows and columns of a group */
#define PRODUCT_DEPTH 16u /* terms that it takes at a time */

PARAMS(product_params) {
    u64 a, b, c, scale, shift, residual;  /* 0 where absent */
    u32 rows, columns, depth;             /* of the product: c is rows * columns, each a sum of `depth` terms */
    u32 a_pixel, a_channel, a_z, a_batch; /* strides in elements; z is a group of channels, or a head, */
    u32 b_column, b_channel, b_tap, b_z, b_batch;
    u32 c_row, c_column, c_z, c_batch, shift_z;
    u32 batches; /* of as many z each */
    f32 factor;  /* of all results */
    u32 row_tiles, column_tiles, splits, split_depth, split_stride, zs;
    u32 height, width; /* of a's pictures */
    u32 stride[2], padding[2], dilation[2];
    u32 out_width, out_width_magic, out_width_shift, out_height, out_height_magic, out_height_shift;
    u32 channels, channels_magic, channels_shift, taps_wide, taps_wide_magic, taps_wide_shift;
    u32 stride_magic[2], stride_shift[2];
};

/* ---- copy.k ---- */

PARAMS(copy_params) {
    u64 to, from;
    u32 count, unused;
    device_walk walk;
    u32 end;
};

    /* ---- reduce.k ---- */

#define REDUCE_SUM 0u
#define REDUCE_PRODUCT 1u /* the sum of x * b */
#define REDUCE_SQUARES 2u /* of x * x */
#define REDUCE_LARGEST 3u
#define REDUCE_SHARES 4u /* the gradient of the largest: y = b / (how many x are the largest, z) where x is */

PARAMS(reduce_params) {
    u64 x, b, y, z;
    u32 outputs, terms;
    device_walk outer; /* `to`: of the outputs, `from`: of x */
    device_walk inner; /* `from`: of x */
    f32 factor;
    u32 unused;
};

/* ---- pool_max.k, pool_average.k: x (n,height,width,channels), y (n,rows,columns,channels) ---- */

PARAMS(pool_params) {
    u64 x, y, index; /* backward: x is the gradient that is made, y the one that is given */
    u32 count;       /* of what is made */
    u32 height, width, rows, columns, channels;
    u32 kernel[2], stride[2], padding[2], dilation[2];
    u32 divisor; /* 0: what the window holds */
    u32 channels_magic, channels_shift, inner_magic, inner_shift, outer_magic, outer_shift; /* of what is made */
    u32 unused;
};

    /* ---- rows_softmax.k, rows_norm.k, rows_entropy.k ---- */

#define ROWS_SOFTMAX 0u
#define ROWS_LOG_SOFTMAX 1u
#define ROWS_SOFTMAX_BACKWARD 2u /* x is y of the forward op, b the gradient */
#define ROWS_LOG_SOFTMAX_BACKWARD 3u

#define ROWS_NORM 0u
#define ROWS_NORM_BACKWARD 1u
#define ROWS_L2 2u
#define ROWS_L2_BACKWARD 3u

#define ROWS_ENTROPY 0u
#define ROWS_ENTROPY_BACKWARD 1u

#define ROWS_FOCAL 0u
#define ROWS_FOCAL_BACKWARD 1u
#define ROWS_SIGMOID_FOCAL 2u
#define ROWS_SIGMOID_FOCAL_BACKWARD 3u

PARAMS(rows_params) {
    u64 x, b, y;
    u64 weight, bias, mean, invstd, products; /* of norms; products: (like x) f32, gradient times what is normalised */
    u64 target, lse, losses, norm, seed;      /* of entropies; losses: (rows, 2) f32, each loss and its weight; lse also
                                                 of softmax, where it is wanted */
    u32 rows, terms;
    device_walk outer;              /* `to`: the row's number, `from`: where it begins in x */
    device_walk inner;              /* `to`: the weight's element, `from`: in x */
    u32 weight_groups, weight_step; /* row r has the weights from (r % groups) * step on */
    f32 eps, smoothing;
    f32 gamma, alpha; /* of focal losses */
    u32 ignored[2];   /* the two halves of a number of 64 bits */
};
#define rows_softmax_params rows_params
#define rows_norm_params rows_params
#define rows_entropy_params rows_params
#define rows_focal_params rows_params

/* ---- mask.k ---- */

PARAMS(mask_params) {
    u64 x, y, seed, step; /* x 0: ones */
    u32 n, limit, all, key[2];
    f32 scale;
    u32 one_draw; /* all elements have the first one's */
    u32 unused;
};

    /* ---- update.k ---- */

#define UPDATE_MOST 40
#define UPDATE_SGD 0u
#define UPDATE_ADAM 1u
#define UPDATE_RMSPROP 2u
#define UPDATE_NADAM 3u
#define UPDATE_LION 4u
#define UPDATE_LARS 5u
#define UPDATE_LAMB 6u /* only the moments; what the parameter moves by goes to `third` */
#define UPDATE_MOVE 7u /* param -= rate * ratio * gradient */
#define UPDATE_ACCUMULATE 8u
#define UPDATE_AVERAGE 9u
#define UPDATE_AVERAGE_I64 10u

PARAMS(update_params) {
    u64 rate, step;
    u64 norms; /* two sums of squares: of the parameter, and of what moves it */
    u64 param[UPDATE_MOST], gradient[UPDATE_MOST];
    u64 first[UPDATE_MOST], second[UPDATE_MOST], third[UPDATE_MOST]; /* state; 0 where there is none */
    u32 n[UPDATE_MOST], group[UPDATE_MOST];                          /* elements, and the first group, of each */
    u32 count, nesterov, decoupled, adapts;
    f32 decay, rate_factor, momentum, dampening, beta1, beta2, eps, log_beta1, log_beta2, log_shrink, trust;
    u32 unused;
};

    /* ---- guard.k ---- */

#define GUARD_MOST 62

PARAMS(guard_params) {
    u64 x, y, veto[GUARD_MOST];
    u32 mask[GUARD_MOST]; /* what of a veto's first word is looked at */
    u32 wide[GUARD_MOST]; /* a veto has two words */
    u32 idle[2];
    u32 count, words; /* vetoes; of x, y and idle */
};

    /* ---- resize.k ---- */

#define RESIZE_NEAREST 0u
#define RESIZE_BILINEAR 1u
#define RESIZE_CORNERS 2u /* bilinear, with the corners of both pictures on each other */

PARAMS(resize_params) {
    u64 small, large; /* as an upsample has them: `small` is its input */
    u32 count, channels, channels_magic, channels_shift, inner_magic, inner_shift, outer_magic, outer_shift;
    u32 height, width, rows, columns; /* of small, of large */
    f32 step[2];
};

    /* ---- gather.k: elements that are found by a rule ---- */

#define GATHER_WINDOWS 0u   /* window_partition */
#define GATHER_MERGE 1u     /* window_merge */
#define GATHER_ROWS 2u      /* take_rows */
#define GATHER_ROWS_BACK 3u /* take_rows_backward */
#define GATHER_MIX 4u       /* batch_mix */
#define GATHER_PIXELS 5u    /* normalize_pixels */

PARAMS(gather_params) {
    u64 x, y, index;
    u32 count, channels, channels_magic, channels_shift;
    u32 height, width, rows, columns; /* of the picture, of windows in it */
    u32 window[2], shift[2];
    u32 n; /* pictures, or rows of a table */
    f32 mean[4], std[4];
    u32 unused;
};

/* ---- peak.k ---- */

PARAMS(peak_params) {
    u64 x, y;
    u32 blocks, links;
};

/* ---- depthwise.k, depthwise_weight.k: x (n,height,width,channels), y (n,rows,columns,channels * multiplier) ---- */

PARAMS(depthwise_params) {
    u64 x, weight, y, shift; /* backward: x is the gradient that is made, y the one that is given */
    u32 count;               /* of what is made */
    u32 height, width, rows, columns, channels, multiplier;
    u32 kernel[2], stride[2], padding[2], dilation[2];
    u32 made, made_magic, made_shift, inner_magic, inner_shift, outer_magic, outer_shift; /* channels of what is made */
    u32 chunk_rows, chunks, tiles; /* of the weight's gradient, whose partial sums go to `weight` */
    u32 unused;
};
#define depthwise_weight_params depthwise_params

    /* ---- int8.k: x (n,height,width,channels) u8, y (n,rows,columns,made) u8 ---- */

#define INT8_QUANTIZE 0u
#define INT8_DEQUANTIZE 1u
#define INT8_PRODUCT 2u /* convolutions and dense layers */
#define INT8_ADD 3u
#define INT8_LARGEST 4u
#define INT8_MEAN 5u
#define INT8_MEAN_ADAPTIVE 6u
#define INT8_TRANSPOSED 7u /* convolutions */
#define INT8_RESIZED 8u
#define INT8_REQUANTIZE 9u
#define INT8_ATTENTION 10u /* x: q, b: k, bias: v; rows queries, columns keys, depth features of a head */

PARAMS(int8_params) {
    u64 x, b, scale, bias, y; /* b: weights i8, or what is added; scale, bias: of each channel that is made, 0: none */
    u32 count, height, width, rows, columns, channels, made;
    u32 depth, filters; /* channels of a filter; filters of a group */
    u32 kernel[2], stride[2], padding[2], dilation[2];
    i32 x_zero, y_zero, lowest;
    f32 x_scale, y_scale, factor_x, factor_b, offset; /* the last three: of sums */
    u32 divisor, counts_padding, row, scales;         /* row: elements with one scale; scales: how many there are */
    f32 step[2];                                      /* of resizing */
    u32 mode, unused;                                 /* RESIZE_* */
};

#endif
