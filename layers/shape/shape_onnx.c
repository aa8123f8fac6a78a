/* How ops that move elements are written in ONNX. All axes are logical there as here. */
#include "shape_family.h"

#include <cvr/plugin/formats/onnx.h>

/* Whatever it was called: the same elements in the output's shape. */
static int32_t write_reshape(const cvr_onnx *o, cvr_error *err) {
    const cvr_onnx_attr axis = cvr_onnx_int("axis", 1);
    cvr_onnx_dim dims[CVR_MAX_RANK];
    cvr_onnx_value out = o->outputs[0];
    const uint32_t rank = cvr_onnx_axes(o, out, dims);
    const int flattens = rank == 2 && o->type(o, o->inputs[0])->shape[0] == dims[0].size;
    if (flattens) return cvr_onnx_op(o, "Flatten", &axis, 1, err);
    return cvr_onnx_reshape(o, o->inputs[0], dims, rank, &out, err);
}

static int32_t write_permute(const cvr_onnx *o, cvr_error *err) {
    const cvr_permute_attrs *a = o->attrs;
    cvr_onnx_value out = o->outputs[0];
    return cvr_onnx_transpose(o, o->inputs[0], a->dims, (uint32_t)a->rank, &out, err);
}

static int32_t write_concat(const cvr_onnx *o, cvr_error *err) {
    const cvr_onnx_attr axis = cvr_onnx_int("axis", ((const cvr_concat_attrs *)o->attrs)->dim);
    return cvr_onnx_op(o, "Concat", &axis, 1, err);
}

static int32_t write_slice(const cvr_onnx *o, cvr_error *err) {
    const cvr_slice_attrs *a = o->attrs;
    cvr_onnx_value out = o->outputs[0];
    if (o->per_picture(o, o->inputs[0])[a->dim])
        return cvr_fail(err, CVR_ERR_UNSUPPORTED, "it cuts the axis of the pictures; set export.batch to a number");
    return cvr_onnx_slice(o, o->inputs[0], a->dim, a->start, a->start + (a->length - 1) * a->step + 1, a->step, &out,
                          err);
}

static int32_t write_take_rows(const cvr_onnx *o, cvr_error *err) {
    const cvr_onnx_attr axis = cvr_onnx_int("axis", 0);
    return cvr_onnx_op(o, "Gather", &axis, 1, err);
}

/* ---- tokens ---- */

/* (N,C,H,W) -> (N,C,H*W) -> (N,H*W,C) */
static int32_t write_to_tokens(const cvr_onnx *o, cvr_error *err) {
    static const int64_t swap[3] = {0, 2, 1};
    cvr_onnx_value out = o->outputs[0], rows = 0;
    const cvr_onnx_dim dims[3] = {cvr_onnx_axis(o, out, 0), cvr_onnx_axis(o, out, 2), cvr_onnx_axis(o, out, 1)};
    CVR_TRY(cvr_onnx_reshape(o, o->inputs[0], dims, 3, &rows, err));
    return cvr_onnx_transpose(o, rows, swap, 3, &out, err);
}

/* (N,H*W,C) -> (N,C,H*W) -> (N,C,H,W) */
static int32_t write_from_tokens(const cvr_onnx *o, cvr_error *err) {
    static const int64_t swap[3] = {0, 2, 1};
    cvr_onnx_value out = o->outputs[0], rows = 0;
    cvr_onnx_dim dims[CVR_MAX_RANK];
    CVR_TRY(cvr_onnx_transpose(o, o->inputs[0], swap, 3, &rows, err));
    return cvr_onnx_reshape(o, rows, dims, cvr_onnx_axes(o, out, dims), &out, err);
}

/* ---- windows ---- */

/* y[i] = x[(i + by) mod n] on an axis of n elements */
static int32_t roll(const cvr_onnx *o, int64_t axis, int64_t by, int64_t n, cvr_onnx_value *x, cvr_error *err) {
    const cvr_onnx_attr attr = cvr_onnx_int("axis", axis);
    cvr_onnx_value parts[2] = {0, 0}, from = *x;
    if (by % n == 0) return CVR_OK;
    *x = 0;
    CVR_TRY(cvr_onnx_slice(o, from, axis, by, n, 1, &parts[0], err));
    CVR_TRY(cvr_onnx_slice(o, from, axis, 0, by, 1, &parts[1], err));
    return cvr_onnx_emit(o, "Concat", parts, 2, &attr, 1, x, err);
}

/* Padded to `size` at the bottom and at the right. */
static int32_t pad(const cvr_onnx *o, const int64_t size[2], cvr_onnx_value *x, cvr_error *err) {
    const int64_t *is = &o->type(o, *x)->shape[2];
    const int64_t pads[8] = {0, 0, 0, 0, 0, 0, size[0] - is[0], size[1] - is[1]};
    cvr_onnx_value in[2] = {*x, 0};
    if (!pads[6] && !pads[7]) return CVR_OK;
    *x = 0;
    CVR_TRY(cvr_onnx_i64s(o, pads, 8, &in[1], err));
    return cvr_onnx_emit(o, "Pad", in, 2, NULL, 0, x, err);
}

static void count_windows(const cvr_window_attrs *a, const int64_t size[2], int64_t count[2], int64_t padded[2]) {
    for (int i = 0; i < 2; i++) {
        count[i] = (size[i] + a->window[i] - 1) / a->window[i];
        padded[i] = count[i] * a->window[i];
    }
}

/* (N,C,H,W), padded and rolled, -> (N,C,Y,h,X,w) -> (N,Y,X,h,w,C) -> (N*Y*X,h*w,C) */
static int32_t write_partition(const cvr_onnx *o, cvr_error *err) {
    static const int64_t perm[6] = {0, 2, 4, 3, 5, 1};
    const cvr_window_attrs *a = o->attrs;
    cvr_onnx_value x = o->inputs[0], out = o->outputs[0], cut = 0, moved = 0;
    cvr_onnx_dim dims[CVR_MAX_RANK];
    int64_t count[2], padded[2];
    count_windows(a, &o->type(o, x)->shape[2], count, padded);
    const cvr_onnx_dim windows[6] = {cvr_onnx_axis(o, x, 0),      cvr_onnx_axis(o, x, 1),  cvr_onnx_size(count[0]),
                                     cvr_onnx_size(a->window[0]), cvr_onnx_size(count[1]), cvr_onnx_size(a->window[1])};
    CVR_TRY(pad(o, padded, &x, err));
    for (int i = 0; i < 2; i++) CVR_TRY(roll(o, 2 + i, a->shift[i], padded[i], &x, err));
    CVR_TRY(cvr_onnx_reshape(o, x, windows, 6, &cut, err));
    CVR_TRY(cvr_onnx_transpose(o, cut, perm, 6, &moved, err));
    return cvr_onnx_reshape(o, moved, dims, cvr_onnx_axes(o, out, dims), &out, err);
}

/* The way back; rows and columns of the padding are cut off. */
static int32_t write_merge(const cvr_onnx *o, cvr_error *err) {
    static const int64_t perm[6] = {0, 5, 1, 3, 2, 4};
    const cvr_window_merge_attrs *a = o->attrs;
    const int64_t *window = a->window.window;
    cvr_onnx_value out = o->outputs[0], cut = 0, moved = 0, x = 0;
    int64_t count[2], padded[2];
    count_windows(&a->window, a->size, count, padded);
    const cvr_onnx_dim windows[6] = {cvr_onnx_axis(o, out, 0), cvr_onnx_size(count[0]),  cvr_onnx_size(count[1]),
                                     cvr_onnx_size(window[0]), cvr_onnx_size(window[1]), cvr_onnx_axis(o, out, 1)};
    const cvr_onnx_dim whole[4] = {windows[0], windows[5], cvr_onnx_size(padded[0]), cvr_onnx_size(padded[1])};
    const int rolls = a->window.shift[0] || a->window.shift[1];
    const int cuts = padded[0] != a->size[0] || padded[1] != a->size[1];
    CVR_TRY(cvr_onnx_reshape(o, o->inputs[0], windows, 6, &cut, err));
    CVR_TRY(cvr_onnx_transpose(o, cut, perm, 6, &moved, err));
    if (!rolls && !cuts) return cvr_onnx_reshape(o, moved, whole, 4, &out, err);
    CVR_TRY(cvr_onnx_reshape(o, moved, whole, 4, &x, err));
    for (int i = 0; i < 2; i++)
        CVR_TRY(roll(o, 2 + i, (padded[i] - a->window.shift[i]) % padded[i], padded[i], &x, err));
    for (int i = 0; i < 2; i++) {
        const cvr_onnx_value from = x;
        if (padded[i] == a->size[i]) continue;
        x = 0;
        CVR_TRY(cvr_onnx_slice(o, from, 2 + i, 0, a->size[i], 1, &x, err));
    }
    return cvr_onnx_emit1(o, "Identity", x, &out, err);
}

static const void *mixed_moves(const char *name) {
    const void *found = cvr_traits_mixed(name);
    return found ? found : cvr_traits_moves(name);
}

CVR_ONNX_AXES_TRAITS(shape_flatten_traits, write_reshape, shape_flatten_axes, cvr_traits_moves)
CVR_ONNX_AXES_TRAITS(shape_unflatten_traits, write_reshape, shape_unflatten_axes, cvr_traits_moves)
CVR_ONNX_AXES_TRAITS(shape_view_traits, write_reshape, shape_view_axes, cvr_traits_moves)
CVR_ONNX_AXES_TRAITS(shape_permute_traits, write_permute, shape_permute_axes, mixed_moves)
CVR_ONNX_AXES_TRAITS(shape_concat_traits, write_concat, shape_concat_axes, mixed_moves)
CVR_ONNX_AXES_TRAITS(shape_slice_traits, write_slice, shape_slice_axes, mixed_moves)
CVR_ONNX_AXES_TRAITS(shape_take_rows_traits, write_take_rows, shape_take_rows_axes, cvr_onnx_alone)
CVR_ONNX_AXES_TRAITS(shape_to_tokens_traits, write_to_tokens, shape_to_tokens_axes, cvr_onnx_alone)
CVR_ONNX_AXES_TRAITS(shape_from_tokens_traits, write_from_tokens, shape_from_tokens_axes, cvr_onnx_alone)
CVR_ONNX_AXES_TRAITS(shape_partition_traits, write_partition, shape_to_tokens_axes, cvr_traits_mixed)
CVR_ONNX_AXES_TRAITS(shape_merge_traits, write_merge, shape_from_tokens_axes, cvr_traits_mixed)
