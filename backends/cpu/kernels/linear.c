/* Dense products on the CPU: linear, its gradients, and batched matmul (see <cvr/plugin/ops/linear.h>). */
#include "blas.h"
#include "kernels.h"

#include <cvr/plugin/ops/linear.h>

/* Elements of all axes but the last, and of the last. */
static int64_t rows_of(const cvr_tensor *t) {
    return cvr_numel(t->rank - 1, t->shape);
}

static int64_t columns_of(const cvr_tensor *t) {
    return t->shape[t->rank - 1];
}

static int32_t fits(const cvr_signature *sig, cvr_error *reason) {
    for (uint32_t i = 0; i < sig->n_inputs + sig->n_outputs; i++) {
        const cvr_tensor *t = i < sig->n_inputs ? sig->inputs[i] : sig->outputs[i - sig->n_inputs];
        if (t && t->rank > 1 && (!cpu_fits_blas(rows_of(t)) || !cpu_fits_blas(columns_of(t))))
            return cvr_fail(reason, CVR_ERR_UNSUPPORTED,
                            "a matrix has more than 2^31 rows or columns: too many for "
                            "32-bit BLAS");
    }
    return CVR_OK;
}

/* x (...,I), weight (O,I), [bias (O)] -> y (...,O):  y = x weight^T + bias */
static int32_t forward_run(const cvr_kernel_args *a, cvr_error *err) {
    const cvr_tensor *x = a->inputs[0], *weight = a->inputs[1], *bias = a->n_inputs > 2 ? a->inputs[2] : NULL;
    const int64_t in = weight->shape[1], out = weight->shape[0];
    const cpu_gemm_batch b = {.one = {.m = rows_of(x),
                                      .n = out,
                                      .k = in,
                                      .a = x->data,
                                      .b = weight->data,
                                      .c = a->outputs[0]->data,
                                      .lda = in,
                                      .ldb = in,
                                      .ldc = out,
                                      .trans_b = 1},
                              .batch = 1,
                              .bias = bias ? bias->data : NULL};
    (void)err;
    cpu_gemm_batch_run(a->pool, &b);
    return CVR_OK;
}

/* grad (...,O), weight (O,I) -> dx (...,I):  dx = grad weight */
static int32_t backward_input_run(const cvr_kernel_args *a, cvr_error *err) {
    const cvr_tensor *grad = a->inputs[0], *weight = a->inputs[1];
    const int64_t in = weight->shape[1], out = weight->shape[0];
    const cpu_gemm_batch b = {.one = {.m = rows_of(grad),
                                      .n = in,
                                      .k = out,
                                      .a = grad->data,
                                      .b = weight->data,
                                      .c = a->outputs[0]->data,
                                      .lda = out,
                                      .ldb = in,
                                      .ldc = in},
                              .batch = 1};
    (void)err;
    cpu_gemm_batch_run(a->pool, &b);
    return CVR_OK;
}

/* x (...,I), grad (...,O) -> dweight (O,I):  dweight = grad^T x */
static int32_t backward_weight_run(const cvr_kernel_args *a, cvr_error *err) {
    const cvr_tensor *x = a->inputs[0], *grad = a->inputs[1];
    const int64_t in = columns_of(x), out = columns_of(grad);
    const cpu_gemm_batch b = {.one = {.m = out,
                                      .n = in,
                                      .k = rows_of(x),
                                      .a = grad->data,
                                      .b = x->data,
                                      .c = a->outputs[0]->data,
                                      .lda = out,
                                      .ldb = in,
                                      .ldc = in,
                                      .trans_a = 1},
                              .batch = 1};
    (void)err;
    cpu_gemm_batch_run(a->pool, &b);
    return CVR_OK;
}

/* grad (...,O) -> dbias (O) */
static uint64_t bias_workspace(const cvr_signature *sig) {
    return cpu_column_sum_workspace(rows_of(sig->inputs[0]), columns_of(sig->inputs[0]));
}

static int32_t backward_bias_run(const cvr_kernel_args *a, cvr_error *err) {
    const cvr_tensor *grad = a->inputs[0];
    (void)err;
    cpu_column_sum(a->pool, grad->data, rows_of(grad), columns_of(grad), a->outputs[0]->data, a->workspace);
    return CVR_OK;
}

/* a (...,M,K) or (...,K,M), b (...,K,N) or (...,N,K) -> (...,M,N) */
static int32_t matmul_run(const cvr_kernel_args *a, cvr_error *err) {
    const cvr_matmul_attrs *attrs = a->attrs;
    const cvr_tensor *x = a->inputs[0], *w = a->inputs[1], *y = a->outputs[0];
    const int64_t m = y->shape[y->rank - 2], n = columns_of(y);
    const int64_t k = attrs->transpose_a ? x->shape[x->rank - 2] : columns_of(x);
    const cpu_gemm_batch b = {.one = {.m = m,
                                      .n = n,
                                      .k = k,
                                      .a = x->data,
                                      .b = w->data,
                                      .c = y->data,
                                      .lda = columns_of(x),
                                      .ldb = columns_of(w),
                                      .ldc = n,
                                      .trans_a = attrs->transpose_a != 0,
                                      .trans_b = attrs->transpose_b != 0},
                              .batch = cvr_numel(y->rank - 2, y->shape),
                              .stride_a = m * k,
                              .stride_b = k * n,
                              .stride_c = m * n};
    (void)err;
    cpu_gemm_batch_run(a->pool, &b);
    return CVR_OK;
}

static const cpu_kernel kernels[] = {
    {"linear", forward_run, NULL, fits, 0, CPU_KERNEL_FLAGS, 1},
    {"linear_backward_input", backward_input_run, NULL, fits, 0, CPU_KERNEL_FLAGS, 1},
    {"linear_backward_weight", backward_weight_run, NULL, fits, 0, CPU_KERNEL_FLAGS, 1},
    {"linear_backward_bias", backward_bias_run, bias_workspace, fits, 0, CPU_KERNEL_FLAGS, 1},
    {"matmul", matmul_run, NULL, fits, 0, CPU_KERNEL_FLAGS, 1},
};
const cpu_kernel_table cpu_linear_kernels = {kernels, sizeof kernels / sizeof *kernels};
