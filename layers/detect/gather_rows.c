/* Rows of each picture by their numbers: torch.gather along axis 1, whole rows at a time. */
#include "detect_family.h"

static const cvr_attr_desc shared_attr =
    CVR_ATTR_INIT(BOOL, "shared", "no", "the rows are the same for all pictures: they have no axis for them");
static const cvr_attr_desc *const gather_attrs[] = {&shared_attr};
static const cvr_attr_desc *const backward_attrs[] = {
    CVR_ATTR(INT, "rows", NULL, "that can be named", CVR_ATTR_AT_LEAST(0)),
    &shared_attr,
};

/* x (N,P), (N,P,K), shared: (P), (P,K); index (N,B) i32 -> (N,B), (N,B,K) */
static int32_t gather_infer(const cvr_infer_args *a, cvr_error *err) {
    static const int64_t any[2] = {-1, -1};
    const int64_t shared = ((const cvr_gather_attrs *)a->attrs)->shared;
    const cvr_type *x = a->inputs[0], *index = a->inputs[1];
    CVR_TRY(detect_check("gather_rows", a, 1, CVR_I32, 2, any, err));
    const uint32_t rows = shared ? 0 : 1;
    if (x->rank < rows + 1 || x->rank > rows + 2 || (!shared && x->shape[0] != index->shape[0]))
        return cvr_fail(err, CVR_ERR_INVALID, "gather_rows: the rows are %s for numbers of shape %s; they must be %s",
                        cvr_shape_of(x).text, cvr_shape_of(index).text, shared ? "(P) or (P,K)" : "(N,P) or (N,P,K)");
    const int64_t shape[3] = {index->shape[0], index->shape[1], x->rank == rows + 2 ? x->shape[rows + 1] : 1};
    cvr_type_set(a->outputs[0], x->dtype, x->rank + 1 - rows, shape);
    return detect_check_rows("gather_rows", x->shape[rows], err);
}

/* grad (N,B) or (N,B,K), index (N,B) i32 -> dx */
static int32_t backward_infer(const cvr_infer_args *a, cvr_error *err) {
    const cvr_gather_rows_attrs *attrs = a->attrs;
    const cvr_type *grad = a->inputs[0];
    if (grad->rank < 2 || grad->rank > 3 || grad->dtype != CVR_F32)
        return cvr_fail(err, CVR_ERR_INVALID,
                        "gather_rows_backward: the gradient is %s; it must be f32, (N,B) or "
                        "(N,B,K)",
                        cvr_shape_of(grad).text);
    CVR_TRY(detect_check("gather_rows_backward", a, 1, CVR_I32, 2, grad->shape, err));
    const int64_t shape[3] = {grad->shape[0], attrs->rows, grad->rank == 3 ? grad->shape[2] : 1};
    cvr_type_set(a->outputs[0], CVR_F32, grad->rank - (attrs->shared ? 1 : 0), attrs->shared ? shape + 1 : shape);
    return detect_check_rows("gather_rows_backward", attrs->rows, err);
}

static int32_t gather_grad(const cvr_builder *b, cvr_grad_args *a, cvr_error *err) {
    const int64_t shared = ((const cvr_gather_attrs *)a->attrs)->shared;
    const cvr_gather_rows_attrs attrs = {b->type(b, a->inputs[0])->shape[shared ? 0 : 1], shared};
    const cvr_value in[2] = {a->grad_outputs[0], a->inputs[1]};
    if (!a->needs[0] || a->grad_outputs[0] == CVR_NONE) return CVR_OK;
    return cvr_emit(b, "gather_rows_backward", &attrs, sizeof attrs, in, 2, &a->grad_inputs[0], err);
}

static int32_t check_index(const char *op, int32_t index, int64_t rows, cvr_error *err) {
    if (index < rows) return CVR_OK;
    return cvr_fail(err, CVR_ERR_INVALID, "%s: row %d of %lld", op, index, (long long)rows);
}

static int32_t gather_run(const cvr_kernel_args *a, cvr_error *err) {
    const cvr_tensor *x = a->inputs[0];
    const int64_t *shape = a->inputs[1]->shape, shared = ((const cvr_gather_attrs *)a->attrs)->shared;
    const int64_t rows = x->shape[shared ? 0 : 1], columns = a->outputs[0]->rank == 3 ? a->outputs[0]->shape[2] : 1;
    const size_t size = (size_t)columns * cvr_dtype_size(x->dtype);
    const int32_t *index = a->inputs[1]->data;
    for (int64_t i = 0; i < shape[0] * shape[1]; i++) {
        char *out = (char *)a->outputs[0]->data + (size_t)i * size;
        CVR_TRY(check_index("gather_rows", index[i], rows, err));
        const int64_t from = (shared ? 0 : i / shape[1] * rows) + index[i];
        if (index[i] < 0)
            memset(out, 0, size);
        else
            memcpy(out, (const char *)x->data + (size_t)from * size, size);
    }
    return CVR_OK;
}

/* dx[index[i]] += grad[i], in rising order of i */
static int32_t backward_run(const cvr_kernel_args *a, cvr_error *err) {
    const cvr_gather_rows_attrs *attrs = a->attrs;
    const int64_t *shape = a->inputs[0]->shape, columns = a->inputs[0]->rank == 3 ? shape[2] : 1;
    const int32_t *index = a->inputs[1]->data;
    const float *grad = a->inputs[0]->data;
    float *dx = a->outputs[0]->data;
    memset(dx, 0, (size_t)cvr_numel(a->outputs[0]->rank, a->outputs[0]->shape) * sizeof *dx);
    for (int64_t i = 0; i < shape[0] * shape[1]; i++) {
        const int64_t to = (attrs->shared ? 0 : i / shape[1] * attrs->rows) + index[i];
        CVR_TRY(check_index("gather_rows_backward", index[i], attrs->rows, err));
        for (int64_t k = 0; k < columns && index[i] >= 0; k++) dx[to * columns + k] += grad[i * columns + k];
    }
    return CVR_OK;
}

static double backward_flops(const cvr_infer_args *a) {
    return (double)cvr_numel(a->inputs[0]->rank, a->inputs[0]->shape);
}

static const cvr_counts_trait gather_counts = {sizeof gather_counts, 1u, 0};
CVR_DEFINE_TRAITS(gather_traits, {CVR_TRAIT_PRECISION, &cvr_precision_none}, {CVR_TRAIT_COUNTS, &gather_counts},
                  {CVR_TRAIT_ONNX, &detect_gather_onnx})

static const cvr_reference_op ops[] = {
    {.op = {.struct_size = sizeof(cvr_op_desc),
            .name = "gather_rows",
            .version = 1,
            .trait = gather_traits,
            .min_inputs = 2,
            .max_inputs = 2,
            .n_outputs = 1,
            .n_attrs = 1,
            .attrs = gather_attrs,
            .infer = gather_infer,
            .grad = gather_grad,
            .doc = "y[n,i] = x[n,index[n,i]], 0 where the index is negative"},
     .reference = {sizeof(cvr_cpu_fn), gather_run}},
    {.op = {.struct_size = sizeof(cvr_op_desc),
            .name = "gather_rows_backward",
            .version = 1,
            .trait = cvr_traits_mixed_f32,
            .min_inputs = 2,
            .max_inputs = 2,
            .n_outputs = 1,
            .n_attrs = 2,
            .attrs = backward_attrs,
            .infer = backward_infer,
            .flops = backward_flops,
            .doc = "dx[n,index[n,i]] += grad[n,i]"},
     .reference = {sizeof(cvr_cpu_fn), backward_run}},
};

const detect_family detect_gather_rows = DETECT_FAMILY(ops);
