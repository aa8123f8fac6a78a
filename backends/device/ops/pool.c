/* Pooling (<cvr/plugin/ops/pool.h>) by pool_max.k and pool_average.k. */
#include "device_ops.h"

#include <cvr/plugin/ops/pool.h>

#define pool_max_params pool_params
#define pool_average_params pool_params

/* `made`: what the kernel writes, each element by a thread of its own. */
static pool_params params_of(const cvr_tensor *x, const cvr_tensor *y, const cvr_tensor *made) {
    const device_divisor channels = device_divisor_of((uint32_t)made->shape[1]);
    const device_divisor inner = device_divisor_of((uint32_t)made->shape[3]);
    const device_divisor outer = device_divisor_of((uint32_t)made->shape[2]);
    return (pool_params){.x = device_address(x->data),
                         .y = device_address(y->data),
                         .count = device_numel(made),
                         .height = (uint32_t)x->shape[2],
                         .width = (uint32_t)x->shape[3],
                         .rows = (uint32_t)y->shape[2],
                         .columns = (uint32_t)y->shape[3],
                         .channels = (uint32_t)x->shape[1],
                         .channels_magic = channels.magic,
                         .channels_shift = channels.shift,
                         .inner_magic = inner.magic,
                         .inner_shift = inner.shift,
                         .outer_magic = outer.magic,
                         .outer_shift = outer.shift};
}

static void set_pair(uint32_t to[2], const int64_t from[2]) {
    to[0] = (uint32_t)from[0];
    to[1] = (uint32_t)from[1];
}

/* ---- max ---- */

static int32_t run_max(pool_params *p, const cvr_max_pool2d_attrs *attrs, const cvr_tensor *index, uint32_t type,
                       uint32_t backward, const cvr_recorder *r, cvr_error *err) {
    const uint32_t constants[] = {backward, type, index->dtype != CVR_U8};
    p->index = device_address(index->data);
    set_pair(p->kernel, attrs->kernel_size);
    set_pair(p->stride, attrs->stride);
    set_pair(p->padding, attrs->padding);
    set_pair(p->dilation, attrs->dilation);
    return DEVICE_LAUNCH(r, pool_max, p, constants, device_groups_for(p->count), err);
}

static int32_t record_max(const cvr_kernel_args *a, const cvr_recorder *r, cvr_error *err) {
    const cvr_tensor *x = a->inputs[0], *y = a->outputs[0];
    pool_params p = params_of(x, y, y);
    return run_max(&p, (const cvr_max_pool2d_attrs *)a->attrs, a->outputs[1], x->dtype, 0, r, err);
}

static int32_t record_max_backward(const cvr_kernel_args *a, const cvr_recorder *r, cvr_error *err) {
    const cvr_tensor *grad = a->inputs[0], *dx = a->outputs[0];
    pool_params p = params_of(dx, grad, dx);
    return run_max(&p, &((const cvr_max_pool2d_backward_attrs *)a->attrs)->pool, a->inputs[1], dx->dtype, 1, r, err);
}

/* ---- average ---- */

static int32_t run_average(const pool_params *p, uint32_t type, uint32_t backward, uint32_t adaptive, uint32_t padding,
                           const cvr_recorder *r, cvr_error *err) {
    const uint32_t constants[] = {backward, type, adaptive, padding};
    return DEVICE_LAUNCH(r, pool_average, p, constants, device_groups_for(p->count), err);
}

static int32_t run_windows(pool_params *p, const cvr_avg_pool2d_attrs *attrs, uint32_t type, uint32_t backward,
                           const cvr_recorder *r, cvr_error *err) {
    set_pair(p->kernel, attrs->kernel_size);
    set_pair(p->stride, attrs->stride);
    set_pair(p->padding, attrs->padding);
    p->divisor = (uint32_t)attrs->divisor_override;
    return run_average(p, type, backward, 0, attrs->count_include_pad != 0, r, err);
}

static int32_t record_average(const cvr_kernel_args *a, const cvr_recorder *r, cvr_error *err) {
    const cvr_tensor *x = a->inputs[0], *y = a->outputs[0];
    pool_params p = params_of(x, y, y);
    return run_windows(&p, (const cvr_avg_pool2d_attrs *)a->attrs, x->dtype, 0, r, err);
}

static int32_t record_average_backward(const cvr_kernel_args *a, const cvr_recorder *r, cvr_error *err) {
    const cvr_tensor *dx = a->outputs[0];
    pool_params p = params_of(dx, a->inputs[0], dx);
    return run_windows(&p, &((const cvr_avg_pool2d_backward_attrs *)a->attrs)->pool, dx->dtype, 1, r, err);
}

static int32_t record_adaptive(const cvr_kernel_args *a, const cvr_recorder *r, cvr_error *err) {
    const cvr_tensor *x = a->inputs[0], *y = a->outputs[0];
    const pool_params p = params_of(x, y, y);
    return run_average(&p, x->dtype, 0, 1, 0, r, err);
}

static int32_t record_adaptive_backward(const cvr_kernel_args *a, const cvr_recorder *r, cvr_error *err) {
    const cvr_tensor *dx = a->outputs[0];
    const pool_params p = params_of(dx, a->inputs[0], dx);
    return run_average(&p, dx->dtype, 1, 1, 0, r, err);
}

const device_op device_pool_ops[] = {DEVICE_OP("max_pool2d", record_max),
                                     DEVICE_OP("max_pool2d_backward", record_max_backward),
                                     DEVICE_OP("avg_pool2d", record_average),
                                     DEVICE_OP("avg_pool2d_backward", record_average_backward),
                                     DEVICE_OP("adaptive_avg_pool2d", record_adaptive),
                                     DEVICE_OP("adaptive_avg_pool2d_backward", record_adaptive_backward),
                                     {.op = NULL}};
