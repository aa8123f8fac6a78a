/* The dense ops: shape rules, gradients, descriptors. Their meanings are in ops/linear.h. */
#include "linear_family.h"

static int32_t check_input(const cvr_infer_args *a, uint32_t i, const char *what, cvr_error *err) {
    const cvr_type *t = i < a->n_inputs ? a->inputs[i] : NULL;
    if (!t) return cvr_fail(err, CVR_ERR_INVALID, "%s is missing", what);
    if (t->dtype != CVR_F32)
        return cvr_fail(err, CVR_ERR_INVALID, "%s is %s; dense ops take f32", what, cvr_dtype_name(t->dtype));
    return CVR_OK;
}

/* Input i has rows and a last axis that is innermost in memory. */
static int32_t check_rows(const cvr_infer_args *a, uint32_t i, const char *what, cvr_error *err) {
    CVR_TRY(check_input(a, i, what, err));
    if (a->inputs[i]->rank < 2 || a->inputs[i]->rank == 4)
        return cvr_fail(err, CVR_ERR_INVALID,
                        "%s has shape %s; it must have 2, 3, 5 or 6 axes (flatten pictures first)", what,
                        cvr_shape_of(a->inputs[i]).text);
    return CVR_OK;
}

static int32_t check_weight(const cvr_infer_args *a, uint32_t i, cvr_error *err) {
    CVR_TRY(check_input(a, i, "weight", err));
    if (a->inputs[i]->rank != 2)
        return cvr_fail(err, CVR_ERR_INVALID, "weight has shape %s; it must have 2 axes, (out,in)",
                        cvr_shape_of(a->inputs[i]).text);
    return CVR_OK;
}

static int same_order(const int64_t a[3], const int64_t b[3]) {
    return a[0] == b[0] && a[1] == b[1] && a[2] == b[2];
}

static int64_t last_axis(const cvr_type *t) {
    return t->shape[t->rank - 1];
}

/* out = rows, with `last` as its last axis and another order. */
static void with_last_axis(cvr_type *out, const cvr_type *rows, int64_t last, const int64_t order[3]) {
    cvr_type_set(out, CVR_F32, rows->rank, rows->shape);
    out->shape[rows->rank - 1] = last;
    memcpy(out->order, order, sizeof out->order);
}

static const int64_t no_order[3];

/* x (...,I), weight (O,I), [bias (O)] -> (...,O) */
static int32_t linear_infer(const cvr_infer_args *a, cvr_error *err) {
    CVR_TRY(check_rows(a, 0, "x", err));
    CVR_TRY(check_weight(a, 1, err));
    const cvr_type *x = a->inputs[0], *weight = a->inputs[1];
    if (last_axis(x) != weight->shape[1])
        return cvr_fail(err, CVR_ERR_INVALID, "weight %s takes %lld features, x %s has %lld", cvr_shape_of(weight).text,
                        (long long)weight->shape[1], cvr_shape_of(x).text, (long long)last_axis(x));
    if (a->n_inputs > 2 && a->inputs[2]) {
        CVR_TRY(check_input(a, 2, "bias", err));
        if (a->inputs[2]->rank != 1 || a->inputs[2]->shape[0] != weight->shape[0])
            return cvr_fail(err, CVR_ERR_INVALID, "bias %s does not fit weight %s", cvr_shape_of(a->inputs[2]).text,
                            cvr_shape_of(weight).text);
    }
    if (!same_order(weight->order, x->rank == 2 ? x->order : no_order))
        return cvr_fail(err, CVR_ERR_INVALID,
                        "x %s and weight %s have their features in different orders in memory; "
                        "declare the weight with the order of x",
                        cvr_shape_of(x).text, cvr_shape_of(weight).text);
    with_last_axis(a->outputs[0], x, weight->shape[0], x->rank == 2 ? no_order : x->order);
    return CVR_OK;
}

/* grad (...,O), weight (O,I) -> (...,I) */
static int32_t backward_input_infer(const cvr_infer_args *a, cvr_error *err) {
    CVR_TRY(check_rows(a, 0, "grad", err));
    CVR_TRY(check_weight(a, 1, err));
    const cvr_type *grad = a->inputs[0], *weight = a->inputs[1];
    if (last_axis(grad) != weight->shape[0] || (grad->rank == 2 && !same_order(grad->order, no_order)))
        return cvr_fail(err, CVR_ERR_INVALID, "grad %s is not what a linear with weight %s makes",
                        cvr_shape_of(grad).text, cvr_shape_of(weight).text);
    with_last_axis(a->outputs[0], grad, weight->shape[1], grad->rank == 2 ? weight->order : grad->order);
    return CVR_OK;
}

/* x (...,I), grad (...,O) -> (O,I) */
int32_t linear_backward_weight_infer(const cvr_infer_args *a, cvr_error *err) {
    CVR_TRY(check_rows(a, 0, "x", err));
    CVR_TRY(check_rows(a, 1, "grad", err));
    const cvr_type *x = a->inputs[0], *grad = a->inputs[1];
    int fits = x->rank == grad->rank && same_order(grad->order, x->rank == 2 ? no_order : x->order);
    for (uint32_t i = 0; fits && i + 1 < x->rank; i++) fits = x->shape[i] == grad->shape[i];
    if (!fits)
        return cvr_fail(err, CVR_ERR_INVALID, "grad %s is not what a linear of x %s makes", cvr_shape_of(grad).text,
                        cvr_shape_of(x).text);
    cvr_type_set(a->outputs[0], CVR_F32, 2, (const int64_t[]){last_axis(grad), last_axis(x)});
    if (x->rank == 2) memcpy(a->outputs[0]->order, x->order, sizeof x->order);
    return CVR_OK;
}

/* grad (...,O) -> (O) */
static int32_t backward_bias_infer(const cvr_infer_args *a, cvr_error *err) {
    CVR_TRY(check_rows(a, 0, "grad", err));
    cvr_type_set(a->outputs[0], CVR_F32, 1, (const int64_t[]){last_axis(a->inputs[0])});
    return CVR_OK;
}

/* a (...,M,K) or (...,K,M), b (...,K,N) or (...,N,K) -> (...,M,N) */
static int32_t matmul_infer(const cvr_infer_args *a, cvr_error *err) {
    const cvr_matmul_attrs *attrs = a->attrs;
    CVR_TRY(check_rows(a, 0, "a", err));
    CVR_TRY(check_rows(a, 1, "b", err));
    const cvr_type *x = a->inputs[0], *y = a->inputs[1];
    int fits = x->rank == y->rank;
    for (uint32_t i = 0; fits && i + 2 < x->rank; i++) fits = x->shape[i] == y->shape[i];
    if (!fits)
        return cvr_fail(err, CVR_ERR_INVALID, "a %s and b %s must agree in all axes but the last two",
                        cvr_shape_of(x).text, cvr_shape_of(y).text);
    const uint32_t row = x->rank - 2, column = x->rank - 1;
    const int64_t k_a = x->shape[attrs->transpose_a ? row : column];
    const int64_t k_b = y->shape[attrs->transpose_b ? column : row];
    if (k_a != k_b)
        return cvr_fail(err, CVR_ERR_INVALID, "a %s%s has %lld columns, b %s%s has %lld rows; they must be as many",
                        cvr_shape_of(x).text, attrs->transpose_a ? " transposed" : "", (long long)k_a,
                        cvr_shape_of(y).text, attrs->transpose_b ? " transposed" : "", (long long)k_b);
    cvr_type_set(a->outputs[0], CVR_F32, x->rank, x->shape);
    a->outputs[0]->shape[row] = x->shape[attrs->transpose_a ? column : row];
    a->outputs[0]->shape[column] = y->shape[attrs->transpose_b ? row : column];
    return CVR_OK;
}

/* dx = grad weight, dweight = grad^T x, dbias = the columns' sums of grad */
static int32_t linear_grad(const cvr_builder *b, cvr_grad_args *a, cvr_error *err) {
    const cvr_value x = a->inputs[0], weight = a->inputs[1], grad = a->grad_outputs[0];
    if (grad == CVR_NONE) return CVR_OK;
    if (a->needs[0])
        CVR_TRY(cvr_emit(b, "linear_backward_input", NULL, 0, (const cvr_value[]){grad, weight}, 2, &a->grad_inputs[0],
                         err));
    if (a->needs[1])
        CVR_TRY(
            cvr_emit(b, "linear_backward_weight", NULL, 0, (const cvr_value[]){x, grad}, 2, &a->grad_inputs[1], err));
    if (a->n_inputs > 2 && a->needs[2])
        CVR_TRY(cvr_emit(b, "linear_backward_bias", NULL, 0, &grad, 1, &a->grad_inputs[2], err));
    return CVR_OK;
}

static int32_t emit_matmul(const cvr_builder *b, cvr_value x, int64_t transpose_x, cvr_value y, int64_t transpose_y,
                           cvr_value *out, cvr_error *err) {
    const cvr_matmul_attrs attrs = {transpose_x, transpose_y};
    return cvr_emit(b, "matmul", &attrs, sizeof attrs, (const cvr_value[]){x, y}, 2, out, err);
}

/*
 * With A and B as they stand after their transpositions: dA = dY B^T and dB = A^T dY; where a was given transposed, its
 * gradient is dA^T = B dY^T, and likewise dB^T = dY^T A.
 */
static int32_t matmul_grad(const cvr_builder *b, cvr_grad_args *a, cvr_error *err) {
    const cvr_matmul_attrs *attrs = a->attrs;
    const cvr_value x = a->inputs[0], y = a->inputs[1], grad = a->grad_outputs[0];
    const int64_t tx = attrs->transpose_a != 0, ty = attrs->transpose_b != 0;
    if (grad == CVR_NONE) return CVR_OK;
    if (a->needs[0])
        CVR_TRY(tx ? emit_matmul(b, y, ty, grad, 1, &a->grad_inputs[0], err)
                   : emit_matmul(b, grad, 0, y, !ty, &a->grad_inputs[0], err));
    if (a->needs[1])
        CVR_TRY(ty ? emit_matmul(b, grad, 1, x, tx, &a->grad_inputs[1], err)
                   : emit_matmul(b, x, !tx, grad, 0, &a->grad_inputs[1], err));
    return CVR_OK;
}

static double numel(const cvr_type *t) {
    return (double)cvr_numel(t->rank, t->shape);
}

/* Two for every multiply-add: each output element is a sum over the features of input 0. */
static double flops_by_output(const cvr_infer_args *a) {
    return 2.0 * numel(a->outputs[0]) * (double)last_axis(a->inputs[0]);
}

double linear_flops_of_weight(const cvr_infer_args *a) {
    return 2.0 * numel(a->inputs[0]) * (double)last_axis(a->inputs[1]);
}

static double flops_of_bias(const cvr_infer_args *a) {
    return numel(a->inputs[0]);
}

static double flops_of_matmul(const cvr_infer_args *a) {
    const cvr_matmul_attrs *attrs = a->attrs;
    const cvr_type *x = a->inputs[0];
    return 2.0 * numel(a->outputs[0]) * (double)x->shape[attrs->transpose_a ? x->rank - 2 : x->rank - 1];
}

static const cvr_attr_desc transpose_a = CVR_ATTR_INIT(BOOL, "transpose_a", "no", "swap the last two axes of a");
static const cvr_attr_desc transpose_b = CVR_ATTR_INIT(BOOL, "transpose_b", "no", "swap the last two axes of b");
static const cvr_attr_desc *const matmul_attrs[] = {&transpose_a, &transpose_b};

const cvr_reference_op linear_ops[LINEAR_OPS] = {
    {.op = {.struct_size = sizeof(cvr_op_desc),
            .name = "linear",
            .version = 1,
            .flags = CVR_OP_ORDER_AWARE,
            .trait = linear_traits,
            .min_inputs = 2,
            .max_inputs = 3,
            .n_outputs = 1,
            .optional = 4,
            .infer = linear_infer,
            .grad = linear_grad,
            .flops = flops_by_output,
            .doc = "y = x weight^T + bias over the last axis (torch.nn.functional.linear)"},
     .reference = {sizeof(cvr_cpu_fn), linear_run}},
    {.op = {.struct_size = sizeof(cvr_op_desc),
            .name = "linear_backward_input",
            .version = 1,
            .flags = CVR_OP_ORDER_AWARE,
            .trait = cvr_traits_mixed,
            .min_inputs = 2,
            .max_inputs = 2,
            .n_outputs = 1,
            .infer = backward_input_infer,
            .flops = flops_by_output,
            .doc = "dx = grad weight"},
     .reference = {sizeof(cvr_cpu_fn), linear_backward_input_run}},
    {.op = {.struct_size = sizeof(cvr_op_desc),
            .name = "linear_backward_weight",
            .version = 1,
            .flags = CVR_OP_ORDER_AWARE,
            .trait = cvr_traits_mixed_f32,
            .min_inputs = 2,
            .max_inputs = 2,
            .n_outputs = 1,
            .infer = linear_backward_weight_infer,
            .flops = linear_flops_of_weight,
            .doc = "dweight = grad^T x, summed over all axes but the last"},
     .reference = {sizeof(cvr_cpu_fn), linear_backward_weight_run}},
    {.op = {.struct_size = sizeof(cvr_op_desc),
            .name = "linear_backward_bias",
            .version = 1,
            .trait = cvr_traits_column_sum,
            .min_inputs = 1,
            .max_inputs = 1,
            .n_outputs = 1,
            .infer = backward_bias_infer,
            .flops = flops_of_bias,
            .doc = "dbias = grad summed over all axes but the last"},
     .reference = {sizeof(cvr_cpu_fn), linear_backward_bias_run}},
    {.op = {.struct_size = sizeof(cvr_op_desc),
            .name = "matmul",
            .version = 1,
            .trait = matmul_traits,
            .min_inputs = 2,
            .max_inputs = 2,
            .n_outputs = 1,
            .n_attrs = 2,
            .attrs = matmul_attrs,
            .infer = matmul_infer,
            .grad = matmul_grad,
            .flops = flops_of_matmul,
            .doc = "y = a b over the last two axes (torch.matmul of equal leading axes)"},
     .reference = {sizeof(cvr_cpu_fn), linear_matmul_run}},
};
