/* How norms tie channels to their scales and shifts (cvr/plugin/axes.h). */
#include "norm_family.h"

#define OUT CVR_AXES_OUTPUT

/* x (N,C,H,W) and vectors (C), of which num_batches_tracked is none -> y (N,C,H,W) and vectors (C) */
static void tie_batch_norm(const cvr_axes *a) {
    for (uint32_t i = 1; i < a->n_inputs; i++)
        if (a->inputs[i] && a->inputs[i]->rank == 1) cvr_axes_tie(a, 0, 1, i, 0);
    for (uint32_t i = 1; i < a->n_outputs; i++) cvr_axes_tie(a, 0, 1, OUT + i, 0);
    cvr_axes_tie_channels(a);
}

/* The axes begin..end-1 are those of the scale; the others may go through. */
static void tie_layer_norm(const cvr_axes *a) {
    const cvr_layer_norm_attrs *attrs = a->attrs;
    for (uint32_t i = 0; i < a->inputs[0]->rank; i++) {
        const int normed = (int64_t)i >= attrs->begin && (int64_t)i < attrs->end;
        if (normed) cvr_axes_tie(a, 0, i, 1, i - (uint32_t)attrs->begin);
        if (normed) cvr_axes_tie(a, 0, i, 2, i - (uint32_t)attrs->begin);
        if (normed) cvr_axes_tie(a, 0, i, OUT, i);
    }
}

/* The same places of all groups, so that groups remain equally wide. */
static void tie_group_norm(const cvr_axes *a) {
    const int64_t groups = ((const cvr_group_norm_attrs *)a->attrs)->num_groups;
    const int64_t size = a->inputs[0]->shape[1] / groups;
    cvr_axes_tie_channels(a);
    cvr_axes_tie(a, 0, 1, 1, 0);
    cvr_axes_tie(a, 0, 1, 2, 0);
    for (int64_t g = 1; g < groups; g++) {
        const cvr_axis_run x = {0, 1, g * size, 1, 1}, first = {0, 1, 0, 1, 1};
        a->tie(a, &x, &first, size);
    }
}

const cvr_axes_trait norm_batch_axes = {sizeof norm_batch_axes, tie_batch_norm, NULL, 0};
const cvr_axes_trait norm_layer_axes = {sizeof norm_layer_axes, tie_layer_norm, NULL, CVR_AXES_STATISTICS};
const cvr_axes_trait norm_group_axes = {sizeof norm_group_axes, tie_group_norm, NULL, CVR_AXES_STATISTICS};
const cvr_axes_trait norm_l2_axes = {sizeof norm_l2_axes, cvr_axes_tie_same, NULL, 0};
