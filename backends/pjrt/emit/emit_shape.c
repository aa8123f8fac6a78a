/* Ops that move elements and leave them as they are (<cvr/plugin/ops/shape.h>). */
#include "emit.h"
#include <cvr/plugin/ops/shape.h>

/* (N,H,W,C,...) and (N,C,H,W,...), both as axis 1 of rank 2 and more: flattened pixels turned round. */
static hlo_value turned(hlo *h, hlo_value x, const int64_t chw[3], int to_logical) {
    const int64_t rest = hlo_count(x) / (x.shape[0] * x.shape[1]);
    const int64_t memory[5] = {x.shape[0], chw[1], chw[2], chw[0], rest};
    const int64_t logical[5] = {x.shape[0], chw[0], chw[1], chw[2], rest};
    static const uint32_t forth[5] = {0, 3, 1, 2, 4}, back[5] = {0, 2, 3, 1, 4};
    const hlo_value parts = hlo_reshape(h, x, 5, to_logical ? memory : logical);
    return hlo_reshape_like(h, hlo_transpose(h, parts, to_logical ? forth : back), x);
}

HLO_EMITTER(to_logical) {
    hlo_result(h, turned(h, hlo_input_raw(h, 0), h->a->inputs[0]->order, 1));
}

HLO_EMITTER(from_logical) {
    hlo_result(h, turned(h, hlo_input_raw(h, 0), HLO_ATTRS(cvr_unflatten_attrs)->chw, 0));
}

HLO_EMITTER(permute) {
    const cvr_permute_attrs *attrs = HLO_ATTRS(cvr_permute_attrs);
    const hlo_value x = hlo_to_logical(h, hlo_input_raw(h, 0));
    uint32_t order[HLO_RANK];
    for (uint32_t i = 0; i < x.rank; i++) order[i] = (uint32_t)attrs->dims[i];
    hlo_result(h, hlo_to_memory(h, hlo_transpose(h, x, order)));
}

HLO_EMITTER(concat) {
    hlo_value all[CVR_MAX_IO];
    uint32_t n = 0;
    for (; n < h->a->n_inputs; n++) all[n] = hlo_input_raw(h, n);
    hlo_result(h, hlo_concat(h, all, n, hlo_axis(all[0].rank, HLO_ATTRS(cvr_concat_attrs)->dim)));
}

HLO_EMITTER(slice) {
    const cvr_slice_attrs *attrs = HLO_ATTRS(cvr_slice_attrs);
    const hlo_value x = hlo_input_raw(h, 0);
    const uint32_t axis = hlo_axis(x.rank, attrs->dim);
    int64_t from[HLO_RANK] = {0}, to[HLO_RANK], step[HLO_RANK];
    memcpy(to, x.shape, sizeof to);
    for (uint32_t i = 0; i < HLO_RANK; i++) step[i] = 1;
    from[axis] = attrs->start;
    to[axis] = attrs->start + (attrs->length - 1) * attrs->step + 1;
    step[axis] = attrs->step;
    hlo_result(h, hlo_slice(h, x, from, to, step));
}

HLO_EMITTER(slice_backward) {
    const cvr_slice_attrs *attrs = HLO_ATTRS(cvr_slice_attrs);
    const hlo_value grad = hlo_input_raw(h, 0);
    const uint32_t axis = hlo_axis(grad.rank, attrs->dim);
    int64_t low[HLO_RANK] = {0}, high[HLO_RANK] = {0}, inner[HLO_RANK] = {0};
    low[axis] = attrs->start;
    inner[axis] = attrs->step - 1;
    high[axis] = attrs->size - (attrs->start + (attrs->length - 1) * attrs->step + 1);
    hlo_result(h, hlo_pad(h, grad, hlo_scalar(h, grad.dtype, 0), low, high, inner));
}

/* Rolled by `by` to the front along an axis. */
static hlo_value rolled(hlo *h, hlo_value x, uint32_t axis, int64_t by) {
    const int64_t n = x.shape[axis];
    if (by == 0) return x;
    const hlo_value parts[2] = {hlo_slice_axis(h, x, axis, by, n), hlo_slice_axis(h, x, axis, 0, by)};
    return hlo_concat(h, parts, 2, axis);
}

HLO_EMITTER(window_partition) {
    const cvr_window_attrs *w = HLO_ATTRS(cvr_window_attrs);
    hlo_value x = hlo_input_raw(h, 0);
    const int64_t n = x.shape[0], c = x.shape[3];
    const int64_t rows = (x.shape[1] + w->window[0] - 1) / w->window[0],
                  columns = (x.shape[2] + w->window[1] - 1) / w->window[1];
    const int64_t none[4] = {0},
                  more[4] = {0, rows * w->window[0] - x.shape[1], columns * w->window[1] - x.shape[2], 0};
    x = hlo_pad(h, x, hlo_scalar(h, x.dtype, 0), none, more, NULL);
    x = rolled(h, rolled(h, x, 1, w->shift[0]), 2, w->shift[1]);
    const int64_t cut[6] = {n, rows, w->window[0], columns, w->window[1], c};
    static const uint32_t order[6] = {0, 1, 3, 2, 4, 5};
    x = hlo_transpose(h, hlo_reshape(h, x, 6, cut), order);
    const int64_t y[3] = {n * rows * columns, w->window[0] * w->window[1], c};
    hlo_result(h, hlo_reshape(h, x, 3, y));
}

HLO_EMITTER(window_merge) {
    const cvr_window_merge_attrs *attrs = HLO_ATTRS(cvr_window_merge_attrs);
    const cvr_window_attrs *w = &attrs->window;
    hlo_value x = hlo_input_raw(h, 0);
    const int64_t rows = (attrs->size[0] + w->window[0] - 1) / w->window[0],
                  columns = (attrs->size[1] + w->window[1] - 1) / w->window[1];
    const int64_t n = x.shape[0] / (rows * columns), c = x.shape[2];
    const int64_t cut[6] = {n, rows, columns, w->window[0], w->window[1], c};
    static const uint32_t order[6] = {0, 1, 3, 2, 4, 5};
    const int64_t whole[4] = {n, rows * w->window[0], columns * w->window[1], c};
    x = hlo_reshape(h, hlo_transpose(h, hlo_reshape(h, x, 6, cut), order), 4, whole);
    if (w->shift[0]) x = rolled(h, x, 1, whole[1] - w->shift[0]);
    if (w->shift[1]) x = rolled(h, x, 2, whole[2] - w->shift[1]);
    hlo_result(h, hlo_slice_axis(h, hlo_slice_axis(h, x, 1, 0, attrs->size[0]), 2, 0, attrs->size[1]));
}

HLO_EMITTER(take_rows) {
    hlo_result(h, hlo_take(h, hlo_input_raw(h, 0), hlo_input_raw(h, 1)));
}

HLO_EMITTER(take_rows_backward) {
    hlo_value like = hlo_like(h->a->outputs[0]);
    like.dtype = CVR_F32;
    hlo_result(h, hlo_scatter_add(h, hlo_fill(h, like, 0), hlo_input_raw(h, 1), hlo_input(h, 0)));
}

const hlo_op emit_shape_ops[] = {HLO_OP("to_logical", to_logical),
                                 HLO_OP("from_logical", from_logical),
                                 HLO_OP("permute", permute),
                                 HLO_OP("concat", concat),
                                 HLO_OP("slice", slice),
                                 HLO_OP("slice_backward", slice_backward),
                                 HLO_OP("window_partition", window_partition),
                                 HLO_OP("window_merge", window_merge),
                                 HLO_OP("take_rows", take_rows),
                                 HLO_OP("take_rows_backward", take_rows_backward),
                                 {.op = NULL}};
