/* How convolutions tie channels (cvr/plugin/axes.h). */
#include "conv_family.h"

#define OUT CVR_AXES_OUTPUT

/*
 * The channels of group g, which are g * size + i, with i alike in every group: the same places of all groups stay or
 * go, so that groups remain equally wide. `port` has `channels` of them on `axis`; they are tied to the weight's axis.
 */
static void tie_each_group(const cvr_axes *a, uint32_t port, uint32_t axis, uint32_t weight_axis, int64_t groups) {
    const int64_t size = cvr_axes_type(a, 1)->shape[weight_axis];
    for (int64_t g = 0; g < groups; g++) {
        const cvr_axis_run x = {port, axis, g * size, 1, 1}, w = {1, weight_axis, 0, 1, 1};
        a->tie(a, &x, &w, size);
    }
}

/* The same places of all groups of one axis. */
static void tie_groups(const cvr_axes *a, uint32_t port, uint32_t axis, int64_t groups) {
    const int64_t size = cvr_axes_type(a, port)->shape[axis] / groups;
    for (int64_t g = 1; g < groups; g++) {
        const cvr_axis_run x = {port, axis, g * size, 1, 1}, first = {port, axis, 0, 1, 1};
        a->tie(a, &x, &first, size);
    }
}

/* Depthwise: channel c makes `multiplier` outputs, which go with it. */
static void tie_depthwise(const cvr_axes *a, uint32_t out_axis_port, uint32_t out_axis, int64_t channels) {
    const int64_t outputs = cvr_axes_type(a, out_axis_port)->shape[out_axis];
    const cvr_axis_run x = {0, 1, 0, 1, outputs / channels}, y = {out_axis_port, out_axis, 0, 1, 1};
    a->tie(a, &x, &y, outputs);
}

/* weight (K, C / groups, R, S), bias (K) */
static void tie_conv2d(const cvr_axes *a) {
    const int64_t groups = ((const cvr_conv2d_attrs *)a->attrs)->groups, channels = a->inputs[0]->shape[1];
    cvr_axes_tie(a, OUT, 1, 1, 0);
    cvr_axes_tie(a, OUT, 1, 2, 0);
    if (groups > 1 && groups == channels) {
        tie_depthwise(a, OUT, 1, channels);
        return;
    }
    tie_each_group(a, 0, 1, 1, groups);
    tie_groups(a, OUT, 1, groups);
}

static void narrow_conv2d(const cvr_axes *a, void *attrs) {
    cvr_conv2d_attrs *conv = attrs;
    if (conv->groups > 1 && conv->groups == a->inputs[0]->shape[1]) conv->groups = cvr_axes_left(a, 0, 1);
}

/* weight (C, K / groups, R, S), bias (K) */
static void tie_conv_transpose2d(const cvr_axes *a) {
    const int64_t groups = ((const cvr_conv2d_attrs *)a->attrs)->groups, channels = a->inputs[0]->shape[1];
    cvr_axes_tie(a, 0, 1, 1, 0);
    cvr_axes_tie(a, OUT, 1, 2, 0);
    if (groups > 1 && groups == channels) {
        tie_depthwise(a, OUT, 1, channels);
        return;
    }
    tie_each_group(a, OUT, 1, 1, groups);
    tie_groups(a, 0, 1, groups);
}

const cvr_axes_trait conv2d_axes = {sizeof conv2d_axes, tie_conv2d, narrow_conv2d, 0};
const cvr_axes_trait conv_transpose2d_axes = {sizeof conv_transpose2d_axes, tie_conv_transpose2d, narrow_conv2d, 0};
