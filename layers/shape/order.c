/* Between the order in which `flatten` leaves elements, (H, W, C), and logical order, (C, H, W). */
#include "shape_family.h"

static const cvr_attr_desc order_attr = CVR_ATTR_INIT(INT, "order", NULL, "channels, height, width", .count = 3);
static const cvr_attr_desc *const from_attrs[] = {&order_attr};

int32_t shape_plain(const cvr_builder *b, cvr_value *x, cvr_error *err) {
    const cvr_value in = *x;
    if (b->type(b, in)->order[0] == 0) return CVR_OK;
    return cvr_emit(b, "to_logical", NULL, 0, &in, 1, x, err);
}

static int32_t to_infer(const cvr_infer_args *a, cvr_error *err) {
    const cvr_type *x = a->inputs[0];
    if (x->order[0] == 0) return cvr_fail(err, CVR_ERR_INVALID, "to_logical: the input is in logical order already");
    *a->outputs[0] = *x;
    memset(a->outputs[0]->order, 0, sizeof x->order);
    return CVR_OK;
}

static int32_t from_infer(const cvr_infer_args *a, cvr_error *err) {
    const cvr_unflatten_attrs *attrs = a->attrs;
    const cvr_type *x = a->inputs[0];
    if (x->order[0] != 0 || x->rank < 2 || attrs->chw[0] * attrs->chw[1] * attrs->chw[2] != x->shape[1])
        return cvr_fail(err, CVR_ERR_INVALID,
                        "from_logical: axis 1 of the input does not have C*H*W elements in order");
    *a->outputs[0] = *x;
    memcpy(a->outputs[0]->order, attrs->chw, sizeof x->order);
    return CVR_OK;
}

static int32_t to_grad(const cvr_builder *b, cvr_grad_args *a, cvr_error *err) {
    cvr_unflatten_attrs attrs;
    memcpy(attrs.chw, b->type(b, a->inputs[0])->order, sizeof attrs.chw);
    return cvr_emit(b, "from_logical", &attrs, sizeof attrs, &a->grad_outputs[0], 1, &a->grad_inputs[0], err);
}

/* A gradient that is in logical order already stays as it is. */
static int32_t from_grad(const cvr_builder *b, cvr_grad_args *a, cvr_error *err) {
    a->grad_inputs[0] = a->grad_outputs[0];
    return shape_plain(b, &a->grad_inputs[0], err);
}

/* x: (outer, rows, cols, inner) -> y: (outer, cols, rows, inner), with elements of `inner` bytes */
static void transpose(const char *x, char *y, int64_t outer, int64_t rows, int64_t cols, size_t inner) {
    for (int64_t o = 0; o < outer; o++)
        for (int64_t r = 0; r < rows; r++)
            for (int64_t c = 0; c < cols; c++)
                memcpy(y + (size_t)((o * cols + c) * rows + r) * inner, x + (size_t)((o * rows + r) * cols + c) * inner,
                       inner);
}

/* Bytes behind one index of axis 1. */
static size_t inner_bytes(const cvr_tensor *x) {
    size_t inner = cvr_dtype_size(x->dtype);
    for (uint32_t i = 2; i < x->rank; i++) inner *= (size_t)x->shape[i];
    return inner;
}

static int32_t to_run(const cvr_kernel_args *a, cvr_error *err) {
    (void)err;
    const cvr_tensor *x = a->inputs[0];
    transpose(x->data, a->outputs[0]->data, x->shape[0], x->order[1] * x->order[2], x->order[0], inner_bytes(x));
    return CVR_OK;
}

static int32_t from_run(const cvr_kernel_args *a, cvr_error *err) {
    (void)err;
    const cvr_unflatten_attrs *attrs = a->attrs;
    const cvr_tensor *x = a->inputs[0];
    transpose(x->data, a->outputs[0]->data, x->shape[0], attrs->chw[0], attrs->chw[1] * attrs->chw[2], inner_bytes(x));
    return CVR_OK;
}

CVR_AXES_AND(to_traits, shape_to_logical_axes, cvr_traits_mixed)
CVR_AXES_AND(from_traits, shape_from_logical_axes, cvr_traits_mixed)

static const cvr_reference_op ops[] = {
    {.op = {.struct_size = sizeof(cvr_op_desc),
            .name = "to_logical",
            .version = 1,
            .flags = CVR_OP_ORDER_AWARE,
            .trait = to_traits,
            .min_inputs = 1,
            .max_inputs = 1,
            .n_outputs = 1,
            .infer = to_infer,
            .grad = to_grad,
            .doc = "the elements of a flattened value in logical order"},
     .reference = {sizeof(cvr_cpu_fn), to_run}},
    {.op = {.struct_size = sizeof(cvr_op_desc),
            .name = "from_logical",
            .version = 1,
            .flags = CVR_OP_ORDER_AWARE,
            .trait = from_traits,
            .min_inputs = 1,
            .max_inputs = 1,
            .n_outputs = 1,
            .n_attrs = 1,
            .attrs = from_attrs,
            .infer = from_infer,
            .grad = from_grad,
            .doc = "elements in logical order as flatten would leave them"},
     .reference = {sizeof(cvr_cpu_fn), from_run}},
};

const shape_family shape_order = {ops, NULL, sizeof ops / sizeof *ops, 0};
