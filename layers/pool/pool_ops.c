/* The pooling ops: attributes, shape rules, gradients, descriptors. Their meanings are in ops/pool.h. */
#include "pool_family.h"

const cvr_attr_desc pool_kernel_size =
    CVR_ATTR_INIT(INT, "kernel_size", NULL, "size of the window: both, or height,width", .count = 2,
                  CVR_ATTR_PLACE_BETWEEN(1, 32768.0));
static const cvr_attr_desc stride = CVR_ATTR_INIT(INT, "stride", NULL, "step of the window: both, or height,width",
                                                  .count = 2, CVR_ATTR_BETWEEN(1, POOL_MAX));
const cvr_attr_desc pool_padding = CVR_ATTR_INIT(INT, "padding", "0", "at most half the window: both, or height,width",
                                                 .count = 2, CVR_ATTR_BETWEEN(0, POOL_MAX));
const cvr_attr_desc pool_dilation =
    CVR_ATTR_INIT(INT, "dilation", "1", "distance between elements: both, or height,width", .count = 2,
                  CVR_ATTR_BETWEEN(1, POOL_MAX));
const cvr_attr_desc pool_ceil_mode = CVR_ATTR_INIT(BOOL, "ceil_mode", "no", "round the output size up");
const cvr_attr_desc pool_count_include_pad =
    CVR_ATTR_INIT(BOOL, "count_include_pad", "yes", "padding counts in the average");
const cvr_attr_desc pool_divisor_override = CVR_ATTR_INIT(
    INT, "divisor_override", "0", "divide by this instead of the window's size; 0: off", CVR_ATTR_BETWEEN(0, POOL_MAX));
const cvr_attr_desc pool_output_size =
    CVR_ATTR_INIT(INT, "output_size", NULL, "size of the output: both, or height,width", .count = 2,
                  CVR_ATTR_PLACE_BETWEEN(1, POOL_MAX));
static const cvr_attr_desc input_size = CVR_ATTR_INIT(
    INT, "input_size", NULL, "height,width of the gradient that is made", .count = 2, CVR_ATTR_BETWEEN(1, POOL_MAX));

static const cvr_attr_desc *const max_attrs[] = {&pool_kernel_size, &stride,         &pool_padding,
                                                 &pool_dilation,    &pool_ceil_mode, &input_size};
static const cvr_attr_desc *const avg_attrs[] = {
    &pool_kernel_size,      &stride,    &pool_padding, &pool_ceil_mode, &pool_count_include_pad,
    &pool_divisor_override, &input_size};
static const cvr_attr_desc *const adaptive_attrs[] = {&pool_output_size};
static const cvr_attr_desc *const adaptive_backward_attrs[] = {&input_size};

static int32_t check_input(const cvr_infer_args *a, const char *what, cvr_error *err) {
    const cvr_type *t = a->inputs[0];
    if (!t || t->rank != 4 || t->dtype != CVR_F32)
        return cvr_fail(err, CVR_ERR_INVALID, "pooling takes %s (N,C,H,W) of f32; this one is %s %s", what,
                        t ? cvr_dtype_name(t->dtype) : "absent", t ? cvr_shape_of(t).text : "");
    return CVR_OK;
}

/* out[i] = positions of the windows over a tensor of shape `in`. */
static int32_t window_counts(const cvr_window w[2], const cvr_type *in, int64_t out[2], cvr_error *err) {
    for (int i = 0; i < 2; i++) {
        if (w[i].kernel < 1 || w[i].padding > w[i].kernel / 2)
            return cvr_fail(err, CVR_ERR_INVALID, "padding=%lld must be at most half of kernel_size=%lld",
                            (long long)w[i].padding, (long long)w[i].kernel);
        out[i] = cvr_window_count(in->shape[2 + i], &w[i]);
        if (out[i] < 1)
            return cvr_fail(err, CVR_ERR_INVALID,
                            "windows of %lld,%lld do not fit into x %s; use a smaller kernel_size or more padding",
                            (long long)w[0].kernel, (long long)w[1].kernel, cvr_shape_of(in).text);
    }
    return CVR_OK;
}

static void max_windows(const cvr_max_pool2d_attrs *a, cvr_window w[2]) {
    for (int i = 0; i < 2; i++)
        w[i] = (cvr_window){a->kernel_size[i], a->stride[i], a->padding[i], a->dilation[i], a->ceil_mode};
}

static void avg_windows(const cvr_avg_pool2d_attrs *a, cvr_window w[2]) {
    for (int i = 0; i < 2; i++) w[i] = (cvr_window){a->kernel_size[i], a->stride[i], a->padding[i], 1, a->ceil_mode};
}

static void set_pixels(cvr_type *out, uint32_t dtype, const cvr_type *like, const int64_t size[2]) {
    cvr_type_set(out, dtype, 4, (const int64_t[]){like->shape[0], like->shape[1], size[0], size[1]});
}

/* u8 holds the index of any window that is usual. */
static uint32_t index_dtype(const cvr_max_pool2d_attrs *a) {
    return a->kernel_size[0] <= 256 && a->kernel_size[0] * a->kernel_size[1] <= 256 ? CVR_U8 : CVR_I32;
}

/* x (N,C,H,W) -> y (N,C,P,Q), index (N,C,P,Q) */
static int32_t max_infer(const cvr_infer_args *a, cvr_error *err) {
    cvr_window w[2];
    int64_t out[2];
    CVR_TRY(check_input(a, "x", err));
    max_windows(a->attrs, w);
    CVR_TRY(window_counts(w, a->inputs[0], out, err));
    set_pixels(a->outputs[0], CVR_F32, a->inputs[0], out);
    set_pixels(a->outputs[1], index_dtype(a->attrs), a->inputs[0], out);
    return CVR_OK;
}

/* x (N,C,H,W) -> (N,C,P,Q) */
static int32_t avg_infer(const cvr_infer_args *a, cvr_error *err) {
    cvr_window w[2];
    int64_t out[2];
    CVR_TRY(check_input(a, "x", err));
    avg_windows(a->attrs, w);
    CVR_TRY(window_counts(w, a->inputs[0], out, err));
    set_pixels(a->outputs[0], CVR_F32, a->inputs[0], out);
    return CVR_OK;
}

/* grad (N,C,P,Q) -> (N,C,H,W) of a size from which the windows lead to (P,Q) */
static int32_t gradient_shape(const cvr_infer_args *a, const cvr_window w[2], const int64_t size[2], cvr_error *err) {
    const cvr_type *grad = a->inputs[0];
    int64_t out[2];
    if (size[0] < 1 || size[1] < 1) return cvr_fail(err, CVR_ERR_INVALID, "input_size must be at least 1");
    set_pixels(a->outputs[0], CVR_F32, grad, size);
    CVR_TRY(window_counts(w, a->outputs[0], out, err));
    if (out[0] != grad->shape[2] || out[1] != grad->shape[3])
        return cvr_fail(err, CVR_ERR_INVALID, "grad %s is not what pooling x %s makes", cvr_shape_of(grad).text,
                        cvr_shape_of(a->outputs[0]).text);
    return CVR_OK;
}

/* grad (N,C,P,Q), index (N,C,P,Q) -> (N,C,H,W) */
static int32_t max_backward_infer(const cvr_infer_args *a, cvr_error *err) {
    const cvr_max_pool2d_backward_attrs *attrs = a->attrs;
    const cvr_type *grad = a->inputs[0], *index = a->inputs[1];
    cvr_window w[2];
    CVR_TRY(check_input(a, "grad", err));
    if (!index || index->dtype != index_dtype(&attrs->pool) || index->rank != 4 ||
        memcmp(index->shape, grad->shape, sizeof index->shape) != 0)
        return cvr_fail(err, CVR_ERR_INVALID, "index must be max_pool2d's second output, of the shape of grad %s",
                        cvr_shape_of(grad).text);
    max_windows(&attrs->pool, w);
    return gradient_shape(a, w, attrs->input_size, err);
}

static int32_t avg_backward_infer(const cvr_infer_args *a, cvr_error *err) {
    const cvr_avg_pool2d_backward_attrs *attrs = a->attrs;
    cvr_window w[2];
    CVR_TRY(check_input(a, "grad", err));
    avg_windows(&attrs->pool, w);
    return gradient_shape(a, w, attrs->input_size, err);
}

/* Both adaptive ops: (N,C,H,W) -> (N,C,size). */
static int32_t adaptive_infer(const cvr_infer_args *a, cvr_error *err) {
    const cvr_adaptive_avg_pool2d_attrs *attrs = a->attrs;
    CVR_TRY(check_input(a, "an input", err));
    /* Windows are found by index * size, which must not overflow. */
    for (int i = 0; i < 2; i++)
        if (attrs->size[i] < 1 || attrs->size[i] > INT32_MAX || a->inputs[0]->shape[2 + i] > INT32_MAX)
            return cvr_fail(err, CVR_ERR_INVALID, "size=%lld,%lld must be at least 1, and no axis may pass 2^31",
                            (long long)attrs->size[0], (long long)attrs->size[1]);
    set_pixels(a->outputs[0], CVR_F32, a->inputs[0], attrs->size);
    return CVR_OK;
}

static int32_t max_grad(const cvr_builder *b, cvr_grad_args *a, cvr_error *err) {
    const cvr_type *x = b->type(b, a->inputs[0]);
    cvr_max_pool2d_backward_attrs attrs = {.input_size = {x->shape[2], x->shape[3]}};
    if (!a->needs[0] || a->grad_outputs[0] == CVR_NONE) return CVR_OK;
    memcpy(&attrs.pool, a->attrs, sizeof attrs.pool);
    return cvr_emit(b, "max_pool2d_backward", &attrs, sizeof attrs,
                    (const cvr_value[]){a->grad_outputs[0], a->outputs[1]}, 2, &a->grad_inputs[0], err);
}

static int32_t avg_grad(const cvr_builder *b, cvr_grad_args *a, cvr_error *err) {
    const cvr_type *x = b->type(b, a->inputs[0]);
    cvr_avg_pool2d_backward_attrs attrs = {.input_size = {x->shape[2], x->shape[3]}};
    if (!a->needs[0] || a->grad_outputs[0] == CVR_NONE) return CVR_OK;
    memcpy(&attrs.pool, a->attrs, sizeof attrs.pool);
    return cvr_emit(b, "avg_pool2d_backward", &attrs, sizeof attrs, a->grad_outputs, 1, &a->grad_inputs[0], err);
}

static int32_t adaptive_grad(const cvr_builder *b, cvr_grad_args *a, cvr_error *err) {
    const cvr_type *x = b->type(b, a->inputs[0]);
    const cvr_adaptive_avg_pool2d_attrs attrs = {{x->shape[2], x->shape[3]}};
    if (!a->needs[0] || a->grad_outputs[0] == CVR_NONE) return CVR_OK;
    return cvr_emit(b, "adaptive_avg_pool2d_backward", &attrs, sizeof attrs, a->grad_outputs, 1, &a->grad_inputs[0],
                    err);
}

/* One operation for every element of every window. */
static double max_flops(const cvr_infer_args *a) {
    const cvr_max_pool2d_attrs *attrs = a->attrs;
    return (double)cvr_numel(4, a->outputs[0]->shape) * (double)attrs->kernel_size[0] * (double)attrs->kernel_size[1];
}

static double avg_flops(const cvr_infer_args *a) {
    const cvr_avg_pool2d_attrs *attrs = a->attrs;
    return (double)cvr_numel(4, a->outputs[0]->shape) * (double)attrs->kernel_size[0] * (double)attrs->kernel_size[1];
}

/* One for every element that is read or written. */
static double element_flops(const cvr_infer_args *a) {
    const double in = (double)cvr_numel(4, a->inputs[0]->shape), out = (double)cvr_numel(4, a->outputs[0]->shape);
    return in > out ? in : out;
}

const cvr_reference_op pool_ops[POOL_OPS] = {
    {.op = {.struct_size = sizeof(cvr_op_desc),
            .name = "max_pool2d",
            .version = 1,
            .trait = pool_max_traits,
            .min_inputs = 1,
            .max_inputs = 1,
            .n_outputs = 2,
            .n_attrs = 5,
            .attrs = max_attrs,
            .infer = max_infer,
            .grad = max_grad,
            .flops = max_flops,
            .doc = "largest element of every window, and its place in the window "
                   "(torch.nn.functional.max_pool2d)"},
     .reference = {sizeof(cvr_cpu_fn), pool_max_run}},
    {.op = {.struct_size = sizeof(cvr_op_desc),
            .name = "max_pool2d_backward",
            .version = 1,
            .trait = cvr_traits_mixed,
            .min_inputs = 2,
            .max_inputs = 2,
            .n_outputs = 1,
            .n_attrs = 6,
            .attrs = max_attrs,
            .infer = max_backward_infer,
            .flops = element_flops,
            .doc = "grad goes to the winner of each window"},
     .reference = {sizeof(cvr_cpu_fn), pool_max_backward_run}},
    {.op = {.struct_size = sizeof(cvr_op_desc),
            .name = "avg_pool2d",
            .version = 1,
            .trait = pool_avg_traits,
            .min_inputs = 1,
            .max_inputs = 1,
            .n_outputs = 1,
            .n_attrs = 6,
            .attrs = avg_attrs,
            .infer = avg_infer,
            .grad = avg_grad,
            .flops = avg_flops,
            .doc = "mean of every window (torch.nn.functional.avg_pool2d)"},
     .reference = {sizeof(cvr_cpu_fn), pool_avg_run}},
    {.op = {.struct_size = sizeof(cvr_op_desc),
            .name = "avg_pool2d_backward",
            .version = 1,
            .trait = cvr_traits_mixed,
            .min_inputs = 1,
            .max_inputs = 1,
            .n_outputs = 1,
            .n_attrs = 7,
            .attrs = avg_attrs,
            .infer = avg_backward_infer,
            .flops = element_flops,
            .doc = "grad / divisor goes to every element of each window"},
     .reference = {sizeof(cvr_cpu_fn), pool_avg_backward_run}},
    {.op = {.struct_size = sizeof(cvr_op_desc),
            .name = "adaptive_avg_pool2d",
            .version = 1,
            .trait = pool_adaptive_traits,
            .min_inputs = 1,
            .max_inputs = 1,
            .n_outputs = 1,
            .n_attrs = 1,
            .attrs = adaptive_attrs,
            .infer = adaptive_infer,
            .grad = adaptive_grad,
            .flops = element_flops,
            .doc = "means of windows that lead to a given size "
                   "(torch.nn.functional.adaptive_avg_pool2d)"},
     .reference = {sizeof(cvr_cpu_fn), pool_adaptive_run}},
    {.op = {.struct_size = sizeof(cvr_op_desc),
            .name = "adaptive_avg_pool2d_backward",
            .version = 1,
            .trait = cvr_traits_mixed,
            .min_inputs = 1,
            .max_inputs = 1,
            .n_outputs = 1,
            .n_attrs = 1,
            .attrs = adaptive_backward_attrs,
            .infer = adaptive_infer,
            .flops = element_flops,
            .doc = "grad / size of the window goes to its elements"},
     .reference = {sizeof(cvr_cpu_fn), pool_adaptive_backward_run}},
};
