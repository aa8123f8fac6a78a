/*
 * Attributes of the ops that move elements without changing them, version 1 (plugin "layer_shape"). Any element type.
 * Semantics: torch.reshape, permute, cat and Python's slicing, all on logical axes in logical order.
 *
 * No kernel (CVR_OP_ALIAS):
 * flatten         x (N,C,H,W) -> (N,C*H*W), tagged with the order (C,H,W) unless C = 1 or H = W = 1, where memory order
 *                 and logical order are one; no attributes
 * unflatten       x (N,C*H*W), in the order that `flatten` gives -> (N,C,H,W); cvr_unflatten_attrs
 * view            x -> y of another shape with as many elements, where neither has rank 4 with C > 1 and H*W > 1;
 *                 cvr_view_attrs
 * to_tokens       x (N,C,H,W) -> (N,H*W,C); no attributes
 * from_tokens     x (N,H*W,C) -> (N,C,H,W), H and W from `size`; cvr_tokens_attrs
 *
 * Copies (a reshape that moves elements is flatten, to_logical, view, from_logical, unflatten, or a part of these):
 * to_logical      x (N,C*H*W,...) with the order (C,H,W) -> the same values with no order; no attributes
 *     y[n,(c*H+h)*W+w,...] = x[n,(h*W+w)*C+c,...], both as they lie in memory
 * from_logical    the inverse; cvr_unflatten_attrs
 * permute         x -> y[i_0,...]: axis a of y is axis dims[a] of x; cvr_permute_attrs
 * concat          1 to 64 tensors, of the same shape but for axis dim -> one; cvr_concat_attrs
 * slice           x -> y: on axis dim, y[i] = x[start + i * step], i < length; cvr_slice_attrs
 * slice_backward  grad -> dx: zero but for dx[start + i * step] = grad[i]; axis dim has `size` elements;
 *                 cvr_slice_attrs
 * window_partition  x (N,C,H,W) -> (N*Y*X,h*w,C), with Y = ceil(H / h), X = ceil(W / w); cvr_window_attrs
 *     The picture is padded with zeros at the bottom and at the right to Y*h by X*w, rolled by -shift, and cut into
 *     windows of h by w pixels, each a sequence, row by row (Liu et al., "Swin Transformer", 2021):
 *     y[(n*Y+i)*X+j,a*w+b,c] = p[n,c,(i*h+a+shift_h) mod Y*h,(j*w+b+shift_w) mod X*w], p: x with its padding
 * window_merge    the inverse: (N*Y*X,h*w,C) -> (N,C,H,W), without the padding; cvr_window_merge_attrs
 * take_rows       x (R,C) f32, index (M) i64 -> (M,C): y[i,c] = x[index[i],c]; no attributes
 *                 an index outside of 0..R-1 is an error
 * take_rows_backward  grad (M,C), index (M) -> (R,C): dx[r,c] = sum of grad[i,c] over all i with index[i] = r;
 *                 cvr_take_rows_attrs
 */
#ifndef CVR_PLUGIN_OPS_SHAPE_H
#define CVR_PLUGIN_OPS_SHAPE_H

#include <cvr/plugin/abi.h>

#ifdef __cplusplus
extern "C" {
#endif

/* unflatten and from_logical: C, H, W. */
typedef struct cvr_unflatten_attrs {
    int64_t chw[3];
} cvr_unflatten_attrs;

/* The whole shape, no -1. */
typedef struct cvr_view_attrs {
    int64_t rank;
    int64_t shape[CVR_MAX_RANK];
} cvr_view_attrs;

/* Height, width. */
typedef struct cvr_tokens_attrs {
    int64_t size[2];
} cvr_tokens_attrs;

typedef struct cvr_permute_attrs {
    int64_t rank;
    int64_t dims[CVR_MAX_RANK];
} cvr_permute_attrs;

typedef struct cvr_concat_attrs {
    int64_t dim;
} cvr_concat_attrs;

/* slice and slice_backward: 0 <= start, 1 <= step, start + (length - 1) * step < size. */
typedef struct cvr_slice_attrs {
    int64_t dim;
    int64_t start;
    int64_t step;
    int64_t length;
    int64_t size;
} cvr_slice_attrs;

/* Height, width: 1 <= window, 0 <= shift < window. */
typedef struct cvr_window_attrs {
    int64_t window[2];
    int64_t shift[2];
} cvr_window_attrs;

typedef struct cvr_window_merge_attrs {
    cvr_window_attrs window;
    int64_t size[2]; /* of the picture */
} cvr_window_merge_attrs;

typedef struct cvr_take_rows_attrs {
    int64_t rows;
} cvr_take_rows_attrs;

/* Refuses the number of a row that a table of `rows` does not have. Numbers may come from a file. */
static inline int32_t cvr_check_row(int64_t row, int64_t rows, cvr_error *err) {
    if (row >= 0 && row < rows) return CVR_OK;
    return cvr_fail(err, CVR_ERR_INVALID, "row %lld of a table that has %lld", (long long)row, (long long)rows);
}

#ifdef __cplusplus
}
#endif

CVR_STATIC_ASSERT(sizeof(cvr_unflatten_attrs) == 24, "cvr_unflatten_attrs has padding");
CVR_STATIC_ASSERT(sizeof(cvr_view_attrs) == 56, "cvr_view_attrs has padding");
CVR_STATIC_ASSERT(sizeof(cvr_tokens_attrs) == 16, "cvr_tokens_attrs has padding");
CVR_STATIC_ASSERT(sizeof(cvr_permute_attrs) == 56, "cvr_permute_attrs has padding");
CVR_STATIC_ASSERT(sizeof(cvr_concat_attrs) == 8, "cvr_concat_attrs has padding");
CVR_STATIC_ASSERT(sizeof(cvr_slice_attrs) == 40, "cvr_slice_attrs has padding");

CVR_STATIC_ASSERT(sizeof(cvr_window_attrs) == 32, "cvr_window_attrs has padding");
CVR_STATIC_ASSERT(sizeof(cvr_window_merge_attrs) == 48, "cvr_window_merge_attrs has padding");
CVR_STATIC_ASSERT(sizeof(cvr_take_rows_attrs) == 8, "cvr_take_rows_attrs has padding");

#endif
