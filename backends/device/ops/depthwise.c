/* Convolutions with one input channel a group, by depthwise.k and depthwise_weight.k; product.c asks for them. */
#include "device_ops.h"

/* `made` is what the kernel has a thread for each element of, or of each pixel. */
static depthwise_params params_of(const device_window *w, const cvr_tensor *made) {
    const cvr_conv2d_attrs *attrs = w->attrs;
    const cvr_tensor *x = w->x, *y = w->y;
    const device_divisor channels = device_divisor_of((uint32_t)made->shape[1]);
    const device_divisor inner = device_divisor_of((uint32_t)made->shape[3]);
    const device_divisor outer = device_divisor_of((uint32_t)made->shape[2]);
    depthwise_params p = {.x = device_address(x->data),
                          .weight = device_address(w->weight->data),
                          .y = device_address(y->data),
                          .count = device_numel(made),
                          .height = (uint32_t)x->shape[2],
                          .width = (uint32_t)x->shape[3],
                          .rows = (uint32_t)y->shape[2],
                          .columns = (uint32_t)y->shape[3],
                          .channels = (uint32_t)x->shape[1],
                          .multiplier = (uint32_t)(y->shape[1] / x->shape[1]),
                          .kernel = {(uint32_t)w->weight->shape[2], (uint32_t)w->weight->shape[3]},
                          .made = (uint32_t)made->shape[1],
                          .made_magic = channels.magic,
                          .made_shift = channels.shift,
                          .inner_magic = inner.magic,
                          .inner_shift = inner.shift,
                          .outer_magic = outer.magic,
                          .outer_shift = outer.shift};
    for (int i = 0; i < 2; i++) {
        p.stride[i] = (uint32_t)attrs->stride[i];
        p.padding[i] = (uint32_t)attrs->padding[i];
        p.dilation[i] = (uint32_t)attrs->dilation[i];
    }
    return p;
}

int32_t device_depthwise(const device_window *w, const cvr_tensor *bias, int backward, const cvr_recorder *r,
                         cvr_error *err) {
    const cvr_tensor *from = backward ? w->y : w->x, *made = backward ? w->x : w->y;
    depthwise_params p = params_of(w, made);
    const uint32_t constants[] = {backward != 0, from->dtype, made->dtype, w->weight->dtype, bias ? bias->dtype : 0};
    p.shift = bias ? device_address(bias->data) : 0;
    return DEVICE_LAUNCH(r, depthwise, &p, constants, device_groups_for(p.count), err);
}

uint64_t device_depthwise_workspace(const device_window *w) {
    const device_columns_plan plan =
        device_columns_plan_of(device_numel(w->y) / (uint32_t)w->y->shape[1], (uint32_t)w->y->shape[1]);
    return UINT64_C(4) * plan.chunks * device_numel(w->weight);
}

int32_t device_depthwise_weight(const device_window *w, const cvr_recorder *r, void *workspace, cvr_error *err) {
    const uint32_t lanes = 64, n = device_numel(w->weight);
    depthwise_params p = params_of(w, w->y);
    p.count /= p.made;
    const device_columns_plan plan = device_columns_plan_of(p.count, p.made);
    const uint32_t sums[] = {plan.lanes, w->x->dtype, w->y->dtype};
    const uint32_t ends[] = {COLUMNS_SUM, lanes, w->weight->dtype, FINISH_NONE};
    p.weight = device_address(workspace);
    p.chunk_rows = plan.chunk_rows, p.chunks = plan.chunks, p.tiles = plan.tiles;
    CVR_TRY(DEVICE_LAUNCH(r, depthwise_weight, &p, sums, (uint64_t)plan.chunks * plan.tiles * p.kernel[0] * p.kernel[1],
                          err));
    const columns_finish_params finish = {.partials = p.weight,
                                          .out0 = device_address(w->weight->data),
                                          .rows = plan.chunks,
                                          .columns = n,
                                          .chunk_rows = 1,
                                          .chunks = plan.chunks,
                                          .factor = 1,
                                          .stride = n};
    return DEVICE_LAUNCH(r, columns_finish, &finish, ends, device_groups(n, lanes), err);
}
