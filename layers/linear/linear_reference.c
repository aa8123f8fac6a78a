/* The dense ops as their formulas say them (<cvr/plugin/ops/linear.h>), summed in double. */
#include "linear_family.h"

static int64_t rows_of(const cvr_tensor *t) {
    return cvr_numel(t->rank - 1, t->shape);
}

static int64_t columns_of(const cvr_tensor *t) {
    return t->shape[t->rank - 1];
}

/* A matrix in memory: element (i, j) is data[i * row + j * column]. */
typedef struct matrix {
    const float *data;
    int64_t row, column;
} matrix;

/* y (m,n) = a (m,k) b (k,n) + bias */
static void product(float *y, const int64_t mnk[3], matrix a, matrix b, const float *bias) {
    for (int64_t i = 0; i < mnk[0]; i++)
        for (int64_t j = 0; j < mnk[1]; j++) {
            double sum = bias ? (double)bias[j] : 0.0;
            for (int64_t k = 0; k < mnk[2]; k++)
                sum += (double)a.data[i * a.row + k * a.column] * (double)b.data[k * b.row + j * b.column];
            y[i * mnk[1] + j] = (float)sum;
        }
}

/* y[...,o] = bias[o] + sum over i of x[...,i] * weight[o,i] */
static int32_t forward(const cvr_kernel_args *a, cvr_error *err) {
    const cvr_tensor *x = a->inputs[0], *weight = a->inputs[1];
    const int64_t in = weight->shape[1], out = weight->shape[0];
    const float *bias = a->n_inputs > 2 && a->inputs[2] ? a->inputs[2]->data : NULL;
    (void)err;
    product(a->outputs[0]->data, (const int64_t[]){rows_of(x), out, in}, (matrix){x->data, in, 1},
            (matrix){weight->data, 1, in}, bias);
    return CVR_OK;
}

/* dx[...,i] = sum over o of grad[...,o] * weight[o,i] */
static int32_t backward_input(const cvr_kernel_args *a, cvr_error *err) {
    const cvr_tensor *grad = a->inputs[0], *weight = a->inputs[1];
    const int64_t in = weight->shape[1], out = weight->shape[0];
    (void)err;
    product(a->outputs[0]->data, (const int64_t[]){rows_of(grad), in, out}, (matrix){grad->data, out, 1},
            (matrix){weight->data, in, 1}, NULL);
    return CVR_OK;
}

/* dweight[o,i] = sum over ... of grad[...,o] * x[...,i] */
static int32_t backward_weight(const cvr_kernel_args *a, cvr_error *err) {
    const cvr_tensor *x = a->inputs[0], *grad = a->inputs[1];
    const int64_t in = columns_of(x), out = columns_of(grad);
    (void)err;
    product(a->outputs[0]->data, (const int64_t[]){out, in, rows_of(x)}, (matrix){grad->data, 1, out},
            (matrix){x->data, in, 1}, NULL);
    return CVR_OK;
}

/* dbias[o] = sum over ... of grad[...,o] */
static int32_t backward_bias(const cvr_kernel_args *a, cvr_error *err) {
    const cvr_tensor *grad = a->inputs[0];
    const int64_t out = columns_of(grad);
    (void)err;
    for (int64_t o = 0; o < out; o++) {
        double sum = 0;
        for (int64_t i = 0; i < rows_of(grad); i++) sum += (double)((const float *)grad->data)[i * out + o];
        ((float *)a->outputs[0]->data)[o] = (float)sum;
    }
    return CVR_OK;
}

/* y[...,m,n] = sum over k of a[...,m,k] * b[...,k,n] */
static int32_t matmul(const cvr_kernel_args *args, cvr_error *err) {
    const cvr_matmul_attrs *attrs = args->attrs;
    const cvr_tensor *a = args->inputs[0], *b = args->inputs[1], *y = args->outputs[0];
    const int64_t m = y->shape[y->rank - 2], n = columns_of(y);
    const int64_t k = attrs->transpose_a ? a->shape[a->rank - 2] : columns_of(a);
    (void)err;
    for (int64_t i = 0; i < cvr_numel(y->rank - 2, y->shape); i++) {
        matrix left = {(const float *)a->data + i * m * k, k, 1}, right = {(const float *)b->data + i * k * n, n, 1};
        if (attrs->transpose_a) left.row = 1, left.column = m;
        if (attrs->transpose_b) right.row = 1, right.column = k;
        product((float *)y->data + i * m * n, (const int64_t[]){m, n, k}, left, right, NULL);
    }
    return CVR_OK;
}

static const cvr_cpu_fn forward_fn = {sizeof(cvr_cpu_fn), forward};
static const cvr_cpu_fn input_fn = {sizeof(cvr_cpu_fn), backward_input};
static const cvr_cpu_fn weight_fn = {sizeof(cvr_cpu_fn), backward_weight};
static const cvr_cpu_fn bias_fn = {sizeof(cvr_cpu_fn), backward_bias};
static const cvr_cpu_fn matmul_fn = {sizeof(cvr_cpu_fn), matmul};

/* What all reference kernels have in common. */
#define REFERENCE(op_name, fn)                                                                                         \
    {                                                                                                                  \
        .struct_size = sizeof(cvr_kernel_desc), .op = op_name, .backend = "reference",                                 \
        .payload_kind = CVR_PAYLOAD_CPU_FN, .payload = &(fn), .isa = "", .op_version = 1,                              \
        .flags = CVR_KERNEL_DETERMINISTIC | CVR_KERNEL_RECORDABLE                                                      \
    }

static const cvr_kernel_desc linear = REFERENCE("linear", forward_fn);
static const cvr_kernel_desc linear_input = REFERENCE("linear_backward_input", input_fn);
static const cvr_kernel_desc linear_weight = REFERENCE("linear_backward_weight", weight_fn);
static const cvr_kernel_desc linear_bias = REFERENCE("linear_backward_bias", bias_fn);
static const cvr_kernel_desc matmul_kernel = REFERENCE("matmul", matmul_fn);

const cvr_kernel_desc *const linear_reference_kernels[LINEAR_OPS] = {&linear, &linear_input, &linear_weight,
                                                                     &linear_bias, &matmul_kernel};
