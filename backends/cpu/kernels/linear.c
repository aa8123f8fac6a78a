/*
 * Dense products on the CPU: linear, its gradients, and batched matmul (see <cvr/plugin/ops/linear.h>):
 *     y = x weight^T + bias,  dx = grad weight,  dweight = grad^T x,  dbias = the column sums of grad (column_sum.c)
 * All axes of x but the last are the rows of one product; dense.c has the loops.
 */
#include "dense.h"

#include <cvr/plugin/ops/linear.h>

/* Elements of all axes but the last, and of the last. */
static int64_t rows_of(const cvr_tensor *t) {
    return cvr_numel(t->rank - 1, t->shape);
}

static int64_t columns_of(const cvr_tensor *t) {
    return t->shape[t->rank - 1];
}

/* Which operands of a product of bf16 are f32: weights, and their gradients. */
static void set_types(cpu_gemm *g, const cvr_tensor *b, const cvr_tensor *c) {
    g->b = b->data;
    g->c = c->data;
    g->b_float = CPU_BF16 && b->dtype == CVR_F32;
    g->c_float = CPU_BF16 && c->dtype == CVR_F32;
}

/* x (...,I), weight (O,I), [bias (O)] -> y (...,O):  y = x weight^T + bias */
static cpu_gemm forward_of(const cvr_tensor *x, const cvr_tensor *weight) {
    const int64_t in = weight->shape[1], out = weight->shape[0];
    return (cpu_gemm){.m = rows_of(x), .n = out, .k = in, .lda = in, .ldb = in, .ldc = out, .batch = 1, .trans_b = 1};
}

static uint64_t forward_workspace(const cvr_signature *sig) {
    cpu_gemm g = forward_of(sig->inputs[0], sig->inputs[1]);
    set_types(&g, sig->inputs[1], sig->outputs[0]);
    return cpu_gemm_workspace(&g, sig->n_workers);
}

static int32_t forward_run(const cvr_kernel_args *a, cvr_error *err) {
    const cvr_tensor *bias = a->n_inputs > 2 ? a->inputs[2] : NULL;
    cpu_gemm g = forward_of(a->inputs[0], a->inputs[1]);
    (void)err;
    g.a = a->inputs[0]->data;
    g.bias = bias ? bias->data : NULL;
    set_types(&g, a->inputs[1], a->outputs[0]);
    cpu_gemm_run(&g, a->pool, a->workspace);
    return CVR_OK;
}

/* grad (...,O), weight (O,I) -> dx (...,I):  dx = grad weight */
static cpu_gemm backward_input_of(const cvr_tensor *grad, const cvr_tensor *weight) {
    const int64_t in = weight->shape[1], out = weight->shape[0];
    return (cpu_gemm){.m = rows_of(grad), .n = in, .k = out, .lda = out, .ldb = in, .ldc = in, .batch = 1};
}

static uint64_t backward_input_workspace(const cvr_signature *sig) {
    cpu_gemm g = backward_input_of(sig->inputs[0], sig->inputs[1]);
    set_types(&g, sig->inputs[1], sig->outputs[0]);
    return cpu_gemm_workspace(&g, sig->n_workers);
}

static int32_t backward_input_run(const cvr_kernel_args *a, cvr_error *err) {
    cpu_gemm g = backward_input_of(a->inputs[0], a->inputs[1]);
    (void)err;
    g.a = a->inputs[0]->data;
    set_types(&g, a->inputs[1], a->outputs[0]);
    cpu_gemm_run(&g, a->pool, a->workspace);
    return CVR_OK;
}

/* x (...,I), grad (...,O) -> dweight (O,I):  dweight = grad^T x */
static cpu_gemm backward_weight_of(const cvr_tensor *x, const cvr_tensor *grad) {
    const int64_t in = columns_of(x), out = columns_of(grad);
    return (cpu_gemm){.m = out, .n = in, .k = rows_of(x), .lda = out, .ldb = in, .ldc = in, .batch = 1, .trans_a = 1};
}

static uint64_t backward_weight_workspace(const cvr_signature *sig) {
    cpu_gemm g = backward_weight_of(sig->inputs[0], sig->inputs[1]);
    set_types(&g, sig->inputs[0], sig->outputs[0]);
    return cpu_gemm_workspace(&g, sig->n_workers);
}

static int32_t backward_weight_run(const cvr_kernel_args *a, cvr_error *err) {
    cpu_gemm g = backward_weight_of(a->inputs[0], a->inputs[1]);
    (void)err;
    g.a = a->inputs[1]->data;
    set_types(&g, a->inputs[0], a->outputs[0]);
    cpu_gemm_run(&g, a->pool, a->workspace);
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
static cpu_gemm matmul_of(const cvr_matmul_attrs *attrs, const cvr_tensor *x, const cvr_tensor *w,
                          const cvr_tensor *y) {
    const int64_t m = y->shape[y->rank - 2], n = columns_of(y);
    const int64_t k = attrs->transpose_a ? x->shape[x->rank - 2] : columns_of(x);
    return (cpu_gemm){.m = m,
                      .n = n,
                      .k = k,
                      .lda = columns_of(x),
                      .ldb = columns_of(w),
                      .ldc = n,
                      .batch = cvr_numel(y->rank - 2, y->shape),
                      .stride_a = m * k,
                      .stride_b = k * n,
                      .stride_c = m * n,
                      .trans_a = attrs->transpose_a != 0,
                      .trans_b = attrs->transpose_b != 0};
}

static uint64_t matmul_workspace(const cvr_signature *sig) {
    cpu_gemm g = matmul_of(sig->attrs, sig->inputs[0], sig->inputs[1], sig->outputs[0]);
    set_types(&g, sig->inputs[1], sig->outputs[0]);
    return cpu_gemm_workspace(&g, sig->n_workers);
}

static int32_t matmul_run(const cvr_kernel_args *a, cvr_error *err) {
    cpu_gemm g = matmul_of(a->attrs, a->inputs[0], a->inputs[1], a->outputs[0]);
    (void)err;
    g.a = a->inputs[0]->data;
    set_types(&g, a->inputs[1], a->outputs[0]);
    cpu_gemm_run(&g, a->pool, a->workspace);
    return CVR_OK;
}

static const cpu_kernel kernels[] = {
    {"linear", forward_run, forward_workspace, CPU_LOW_SUPPORTS(cpu_bf16_supports_dense), 0, CPU_PRODUCT_FLAGS, NULL},
    {"linear_backward_input", backward_input_run, backward_input_workspace, CPU_LOW_SUPPORTS(cpu_bf16_supports_dense),
     0, CPU_PRODUCT_FLAGS, NULL},
    {"linear_backward_weight", backward_weight_run, backward_weight_workspace,
     CPU_LOW_SUPPORTS(cpu_bf16_supports_dense), 0, CPU_PRODUCT_FLAGS, NULL},
    {"linear_backward_bias", backward_bias_run, bias_workspace, CPU_LOW_SUPPORTS(cpu_bf16_supports_sum), 0,
     CPU_PRODUCT_FLAGS, NULL},
    {"matmul", matmul_run, matmul_workspace, CPU_LOW_SUPPORTS(cpu_bf16_supports_dense), 0, CPU_PRODUCT_FLAGS, NULL},
};
const cpu_kernel_table cpu_linear_kernels = {kernels, sizeof kernels / sizeof *kernels};
