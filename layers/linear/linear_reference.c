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
int32_t linear_run(const cvr_kernel_args *a, cvr_error *err) {
    const cvr_tensor *x = a->inputs[0], *weight = a->inputs[1];
    const int64_t in = weight->shape[1], out = weight->shape[0];
    const float *bias = a->n_inputs > 2 && a->inputs[2] ? a->inputs[2]->data : NULL;
    (void)err;
    product(a->outputs[0]->data, (const int64_t[]){rows_of(x), out, in}, (matrix){x->data, in, 1},
            (matrix){weight->data, 1, in}, bias);
    return CVR_OK;
}

/* dx[...,i] = sum over o of grad[...,o] * weight[o,i] */
int32_t linear_backward_input_run(const cvr_kernel_args *a, cvr_error *err) {
    const cvr_tensor *grad = a->inputs[0], *weight = a->inputs[1];
    const int64_t in = weight->shape[1], out = weight->shape[0];
    (void)err;
    product(a->outputs[0]->data, (const int64_t[]){rows_of(grad), in, out}, (matrix){grad->data, out, 1},
            (matrix){weight->data, in, 1}, NULL);
    return CVR_OK;
}

/* dweight[o,i] = sum over ... of grad[...,o] * x[...,i] */
int32_t linear_backward_weight_run(const cvr_kernel_args *a, cvr_error *err) {
    const cvr_tensor *x = a->inputs[0], *grad = a->inputs[1];
    const int64_t in = columns_of(x), out = columns_of(grad);
    (void)err;
    product(a->outputs[0]->data, (const int64_t[]){out, in, rows_of(x)}, (matrix){grad->data, 1, out},
            (matrix){x->data, in, 1}, NULL);
    return CVR_OK;
}

/* dbias[o] = sum over ... of grad[...,o] */
int32_t linear_backward_bias_run(const cvr_kernel_args *a, cvr_error *err) {
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
int32_t linear_matmul_run(const cvr_kernel_args *args, cvr_error *err) {
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
