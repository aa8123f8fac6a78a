/* Quantisation and the ops on integers (<cvr/plugin/ops/quant.h>), by int8.k. */
#include "device_ops.h"

#include <cvr/plugin/ops/quant.h>

static int32_t run(const int8_params *p, uint32_t what, uint32_t type_x, const cvr_recorder *r, cvr_error *err) {
    const uint32_t constants[] = {what, (uint32_t)cvr_dtype_size(type_x), type_x == CVR_I8};
    return DEVICE_LAUNCH(r, int8, p, constants, device_groups_for(p->count), err);
}

static int8_params elements_of(const cvr_kernel_args *a) {
    return (int8_params){
        .x = device_at(a, 0), .y = device_address(a->outputs[0]->data), .count = device_numel(a->outputs[0])};
}

static int32_t record_quantize(const cvr_kernel_args *a, const cvr_recorder *r, cvr_error *err) {
    const cvr_quantize_attrs *attrs = (const cvr_quantize_attrs *)a->attrs;
    int8_params p = elements_of(a);
    p.y_scale = (float)attrs->scale;
    p.y_zero = (int32_t)attrs->zero;
    p.lowest = a->outputs[0]->dtype == CVR_U8 ? 0 : -128;
    return run(&p, INT8_QUANTIZE, CVR_F32, r, err);
}

/* q, [scale of each row] */
static int32_t record_dequantize(const cvr_kernel_args *a, const cvr_recorder *r, cvr_error *err) {
    const cvr_dequantize_attrs *attrs = (const cvr_dequantize_attrs *)a->attrs;
    const cvr_tensor *q = a->inputs[0];
    int8_params p = elements_of(a);
    p.scale = device_at(a, 1);
    p.x_scale = (float)attrs->scale;
    p.x_zero = (int32_t)attrs->zero;
    p.scales = p.scale ? (uint32_t)a->inputs[1]->shape[0] : 1;
    p.row = attrs->axis || !p.scales ? 1 : p.count / p.scales;
    return run(&p, INT8_DEQUANTIZE, q->dtype, r, err);
}

static void set_scales(int8_params *p, const cvr_requant *q) {
    p->x_scale = (float)q->x_scale;
    p->y_scale = (float)q->y_scale;
    p->x_zero = (int32_t)q->x_zero;
    p->y_zero = (int32_t)q->y_zero;
}

static int32_t record_requantize(const cvr_kernel_args *a, const cvr_recorder *r, cvr_error *err) {
    int8_params p = elements_of(a);
    set_scales(&p, (const cvr_requant *)a->attrs);
    return run(&p, INT8_REQUANTIZE, CVR_U8, r, err);
}

/* Of pictures; the windows are still to be set. */
static int8_params pictures_of(const cvr_kernel_args *a, const cvr_requant *q) {
    const cvr_tensor *x = a->inputs[0], *y = a->outputs[0];
    int8_params p = elements_of(a);
    p.height = (uint32_t)x->shape[2];
    p.width = (uint32_t)x->shape[3];
    p.channels = (uint32_t)x->shape[1];
    p.rows = (uint32_t)y->shape[2];
    p.columns = (uint32_t)y->shape[3];
    p.made = (uint32_t)y->shape[1];
    for (int i = 0; i < 2; i++) p.kernel[i] = p.stride[i] = p.dilation[i] = 1;
    set_scales(&p, q);
    return p;
}

static void set_window(int8_params *p, const int64_t *kernel, const int64_t *stride, const int64_t *padding) {
    for (int i = 0; i < 2; i++) {
        p->kernel[i] = (uint32_t)kernel[i];
        p->stride[i] = (uint32_t)stride[i];
        p->padding[i] = (uint32_t)padding[i];
    }
}

static void set_weights(int8_params *p, const cvr_kernel_args *a) {
    p->b = device_at(a, 1);
    p->scale = device_at(a, 2);
    p->bias = device_at(a, 3);
}

/* x, weight, weight_scale, [bias] */
static int32_t record_conv(const cvr_kernel_args *a, const cvr_recorder *r, cvr_error *err) {
    const cvr_conv2d_int8_attrs *attrs = (const cvr_conv2d_int8_attrs *)a->attrs;
    const int64_t *weight = a->inputs[1]->shape;
    int8_params p = pictures_of(a, &attrs->q);
    set_window(&p, weight + 2, attrs->conv.stride, attrs->conv.padding);
    set_weights(&p, a);
    for (int i = 0; i < 2; i++) p.dilation[i] = (uint32_t)attrs->conv.dilation[i];
    p.depth = (uint32_t)weight[1];
    p.filters = (uint32_t)(weight[0] / attrs->conv.groups);
    return run(&p, INT8_PRODUCT, CVR_U8, r, err);
}

/* likewise, the weight (channels, made, rows, columns) */
static int32_t record_transposed(const cvr_kernel_args *a, const cvr_recorder *r, cvr_error *err) {
    const cvr_conv_transpose2d_int8_attrs *attrs = (const cvr_conv_transpose2d_int8_attrs *)a->attrs;
    const cvr_conv2d_attrs *conv = &attrs->conv.conv;
    int8_params p = pictures_of(a, &attrs->q);
    set_window(&p, a->inputs[1]->shape + 2, conv->stride, conv->padding);
    set_weights(&p, a);
    for (int i = 0; i < 2; i++) p.dilation[i] = (uint32_t)conv->dilation[i];
    return run(&p, INT8_TRANSPOSED, CVR_U8, r, err);
}

static int32_t record_resize(const cvr_kernel_args *a, const cvr_recorder *r, cvr_error *err) {
    const cvr_upsample_int8_attrs *attrs = (const cvr_upsample_int8_attrs *)a->attrs;
    int8_params p = pictures_of(a, &attrs->q);
    p.mode = device_resize_mode(&attrs->upsample);
    for (int i = 0; i < 2; i++)
        p.step[i] = cvr_upsample_step(&attrs->upsample, i, a->inputs[0]->shape[2 + i], a->outputs[0]->shape[2 + i]);
    return run(&p, INT8_RESIZED, CVR_U8, r, err);
}

/* Rows are pictures of one pixel. */
static int32_t record_linear(const cvr_kernel_args *a, const cvr_recorder *r, cvr_error *err) {
    int8_params p = elements_of(a);
    set_scales(&p, (const cvr_requant *)a->attrs);
    set_weights(&p, a);
    p.height = p.width = p.rows = p.columns = 1;
    for (int i = 0; i < 2; i++) p.kernel[i] = p.stride[i] = p.dilation[i] = 1;
    p.channels = p.depth = (uint32_t)a->inputs[1]->shape[1];
    p.made = p.filters = (uint32_t)a->inputs[1]->shape[0];
    return run(&p, INT8_PRODUCT, CVR_U8, r, err);
}

/* q, k, v */
static int32_t record_attention(const cvr_kernel_args *a, const cvr_recorder *r, cvr_error *err) {
    const cvr_attention_int8_attrs *attrs = (const cvr_attention_int8_attrs *)a->attrs;
    const cvr_tensor *q = a->inputs[0];
    int8_params p = elements_of(a);
    set_scales(&p, &attrs->q);
    p.b = device_at(a, 1);
    p.bias = device_at(a, 2);
    p.rows = (uint32_t)q->shape[1];
    p.columns = (uint32_t)a->inputs[1]->shape[1];
    p.channels = (uint32_t)q->shape[2];
    p.depth = (uint32_t)(q->shape[2] / attrs->attention.num_heads);
    p.factor_x = cvr_attention_int8_decay(&attrs->q, p.depth);
    p.factor_b = (float)attrs->q.x_scale / (float)attrs->q.y_scale;
    return run(&p, INT8_ATTENTION, CVR_U8, r, err);
}

static int32_t record_add(const cvr_kernel_args *a, const cvr_recorder *r, cvr_error *err) {
    const cvr_add_int8 s = cvr_add_int8_of((const cvr_requant *)a->attrs);
    int8_params p = elements_of(a);
    p.b = device_at(a, 1);
    p.factor_x = s.a;
    p.factor_b = s.b;
    p.offset = s.fixed;
    return run(&p, INT8_ADD, CVR_U8, r, err);
}

static int32_t record_max(const cvr_kernel_args *a, const cvr_recorder *r, cvr_error *err) {
    const cvr_max_pool2d_int8_attrs *attrs = (const cvr_max_pool2d_int8_attrs *)a->attrs;
    int8_params p = pictures_of(a, &attrs->q);
    set_window(&p, attrs->pool.kernel_size, attrs->pool.stride, attrs->pool.padding);
    for (int i = 0; i < 2; i++) p.dilation[i] = (uint32_t)attrs->pool.dilation[i];
    return run(&p, INT8_LARGEST, CVR_U8, r, err);
}

static int32_t record_mean(const cvr_kernel_args *a, const cvr_recorder *r, cvr_error *err) {
    const cvr_avg_pool2d_int8_attrs *attrs = (const cvr_avg_pool2d_int8_attrs *)a->attrs;
    int8_params p = pictures_of(a, &attrs->q);
    set_window(&p, attrs->pool.kernel_size, attrs->pool.stride, attrs->pool.padding);
    p.divisor = (uint32_t)attrs->pool.divisor_override;
    p.counts_padding = (uint32_t)attrs->pool.count_include_pad;
    return run(&p, INT8_MEAN, CVR_U8, r, err);
}

static int32_t record_adaptive(const cvr_kernel_args *a, const cvr_recorder *r, cvr_error *err) {
    const cvr_adaptive_avg_pool2d_int8_attrs *attrs = (const cvr_adaptive_avg_pool2d_int8_attrs *)a->attrs;
    const int8_params p = pictures_of(a, &attrs->q);
    return run(&p, INT8_MEAN_ADAPTIVE, CVR_U8, r, err);
}

const device_op device_int8_ops[] = {
    DEVICE_OP("quantize", record_quantize, .supports = device_supports_all_f32),
    DEVICE_OP("dequantize", record_dequantize, .supports = device_supports_all_f32),
    DEVICE_OP("conv2d_int8", record_conv, .supports = device_supports_all_f32),
    DEVICE_OP("conv_transpose2d_int8", record_transposed, .supports = device_supports_all_f32),
    DEVICE_OP("scaled_dot_product_attention_int8", record_attention),
    DEVICE_OP("requantize_int8", record_requantize),
    DEVICE_OP("upsample_int8", record_resize),
    DEVICE_OP("linear_int8", record_linear, .supports = device_supports_all_f32),
    DEVICE_OP("add_int8", record_add),
    DEVICE_OP("max_pool2d_int8", record_max),
    DEVICE_OP("avg_pool2d_int8", record_mean),
    DEVICE_OP("adaptive_avg_pool2d_int8", record_adaptive),
    {.op = NULL}};
