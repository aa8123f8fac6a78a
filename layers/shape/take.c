/* Rows of a table by their numbers: torch.index_select on axis 0, or table[index]. */
#include "shape_family.h"
#include <cvr/plugin/ops/check.h>

static const cvr_attr_desc *const backward_attrs[] = {
    CVR_ATTR(INT, "rows", NULL, "of the table", CVR_ATTR_AT_LEAST(0))};

static int32_t check(const cvr_type *rows, const cvr_type *index, cvr_error *err) {
    if (rows->rank == 2 && rows->dtype == CVR_F32 && rows->order[0] == 0 && index->rank == 1 && index->dtype == CVR_I64)
        return CVR_OK;
    return cvr_fail(err, CVR_ERR_INVALID,
                    "it takes a table (rows,C) of f32 and (M) numbers of i64; these are %s and %s",
                    cvr_shape_of(rows).text, cvr_shape_of(index).text);
}

/* x (R,C), index (M) -> (M,C) */
static int32_t infer(const cvr_infer_args *a, cvr_error *err) {
    const int64_t shape[2] = {a->inputs[1]->shape[0], a->inputs[0]->shape[1]};
    cvr_type_set(a->outputs[0], CVR_F32, 2, shape);
    return check(a->inputs[0], a->inputs[1], err);
}

/* grad (M,C), index (M) -> (R,C) */
static int32_t backward_infer(const cvr_infer_args *a, cvr_error *err) {
    const cvr_take_rows_attrs *attrs = a->attrs;
    const int64_t shape[2] = {attrs->rows, a->inputs[0]->shape[1]};
    cvr_type_set(a->outputs[0], CVR_F32, 2, shape);
    CVR_TRY(check(a->inputs[0], a->inputs[1], err));
    if (a->inputs[0]->shape[0] == a->inputs[1]->shape[0]) return CVR_OK;
    return cvr_fail(err, CVR_ERR_INVALID, "take_rows: a gradient of %lld rows for %lld numbers",
                    (long long)a->inputs[0]->shape[0], (long long)a->inputs[1]->shape[0]);
}

static int32_t grad(const cvr_builder *b, cvr_grad_args *a, cvr_error *err) {
    const cvr_take_rows_attrs attrs = {b->type(b, a->inputs[0])->shape[0]};
    const cvr_value inputs[2] = {a->grad_outputs[0], a->inputs[1]};
    if (!a->needs[0] || a->grad_outputs[0] == CVR_NONE) return CVR_OK;
    return cvr_emit(b, "take_rows_backward", &attrs, sizeof attrs, inputs, 2, &a->grad_inputs[0], err);
}

static int32_t run(const cvr_kernel_args *a, cvr_error *err) {
    const cvr_tensor *x = a->inputs[0], *index = a->inputs[1];
    const size_t row = (size_t)x->shape[1] * sizeof(float);
    for (int64_t i = 0; i < index->shape[0]; i++) {
        const int64_t r = ((const int64_t *)index->data)[i];
        CVR_TRY(cvr_check_row(r, x->shape[0], err));
        memcpy((char *)a->outputs[0]->data + (size_t)i * row, (const char *)x->data + (size_t)r * row, row);
    }
    return CVR_OK;
}

/* Sums in double, one element of the table after the other. */
static int32_t backward_run(const cvr_kernel_args *a, cvr_error *err) {
    const cvr_tensor *grad_ = a->inputs[0], *dx = a->outputs[0];
    const int64_t *index = a->inputs[1]->data, n = a->inputs[1]->shape[0], columns = dx->shape[1];
    for (int64_t i = 0; i < n; i++) CVR_TRY(cvr_check_row(index[i], dx->shape[0], err));
    for (int64_t k = 0; k < dx->shape[0] * columns; k++) {
        double sum = 0;
        for (int64_t i = 0; i < n; i++)
            if (index[i] == k / columns) sum += ((const float *)grad_->data)[i * columns + k % columns];
        ((float *)dx->data)[k] = (float)sum;
    }
    return CVR_OK;
}

static int32_t build(const cvr_builder *b, const void *attrs, const cvr_value *in, uint32_t n_in, cvr_value *out,
                     cvr_error *err) {
    (void)attrs;
    return cvr_emit(b, "take_rows", NULL, 0, in, n_in, out, err);
}

static const cvr_reference_op ops[] = {
    {.op = {.struct_size = sizeof(cvr_op_desc),
            .name = "take_rows",
            .trait = shape_take_rows_traits,
            .version = 1,
            .min_inputs = 2,
            .max_inputs = 2,
            .n_outputs = 1,
            .infer = infer,
            .grad = grad,
            .doc = "y[i] = x[index[i]]"},
     .reference = {sizeof(cvr_cpu_fn), run}},
    {.op = {.struct_size = sizeof(cvr_op_desc),
            .name = "take_rows_backward",
            .version = 1,
            .min_inputs = 2,
            .max_inputs = 2,
            .n_outputs = 1,
            .n_attrs = 1,
            .attrs = backward_attrs,
            .infer = backward_infer,
            .doc = "dx[index[i]] += grad[i]"},
     .reference = {sizeof(cvr_cpu_fn), backward_run}},
};

static const cvr_layer_desc layers[] = {
    {.struct_size = sizeof(cvr_layer_desc),
     .name = "take_rows",
     .doc = "rows of a table by their numbers: table, numbers -> rows (torch.index_select)",
     .min_inputs = 2,
     .max_inputs = 2,
     .n_outputs = 1,
     .build = build},
};

const shape_family shape_take = {ops, layers, sizeof ops / sizeof *ops, sizeof layers / sizeof *layers};
