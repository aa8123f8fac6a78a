/* See cublaslt_gemm.h. The meanings are in ops/linear.h. */
#include "cublaslt_gemm.h"

#include "../device/ops/device_ops.h"
#include "plain.h"

#include <cvr/plugin/ops/linear.h>

static uint64_t numel(const cvr_tensor *t) {
    return (uint64_t)cvr_numel(t->rank, t->shape);
}

/* A tensor whose innermost axis has `rows` elements. */
static gemm_matrix matrix(const cvr_tensor *t, uint64_t rows, uint32_t dtype, uint32_t input) {
    return (gemm_matrix){.rows = rows, .columns = numel(t) / rows, .dtype = dtype, .input = input};
}

static uint64_t last_axis(const cvr_tensor *t) {
    return (uint64_t)t->shape[t->rank - 1];
}

/* y^T (O, rows) = weight (O, I) x^T (I, rows) + bias (O) */
static gemm linear(const cvr_signature *s) {
    const uint32_t dtype = s->inputs[0]->dtype;
    const uint64_t in = (uint64_t)s->inputs[1]->shape[1];
    return (gemm){.a = matrix(s->inputs[1], in, dtype, 1),
                  .b = matrix(s->inputs[0], in, dtype, 0),
                  .to = matrix(s->outputs[0], last_axis(s->outputs[0]), s->outputs[0]->dtype, 0),
                  .turn_a = 1,
                  .batch = 1,
                  .bias = s->n_inputs > 2 && s->inputs[2] ? 2 : 0};
}

/* dx^T (I, rows) = weight^T (I, O) grad^T (O, rows) */
static gemm linear_backward_input(const cvr_signature *s) {
    const uint32_t dtype = s->inputs[0]->dtype;
    const uint64_t in = (uint64_t)s->inputs[1]->shape[1], out = (uint64_t)s->inputs[1]->shape[0];
    return (gemm){.a = matrix(s->inputs[1], in, dtype, 1),
                  .b = matrix(s->inputs[0], out, dtype, 0),
                  .to = matrix(s->outputs[0], in, s->outputs[0]->dtype, 0),
                  .batch = 1};
}

/* dweight^T (I, O) = x^T (I, rows) grad (rows, O) */
static gemm linear_backward_weight(const cvr_signature *s) {
    const uint32_t dtype = s->inputs[0]->dtype;
    const uint64_t in = (uint64_t)s->outputs[0]->shape[1], out = (uint64_t)s->outputs[0]->shape[0];
    return (gemm){.a = matrix(s->inputs[0], in, dtype, 0),
                  .b = matrix(s->inputs[1], out, dtype, 1),
                  .to = matrix(s->outputs[0], in, s->outputs[0]->dtype, 0),
                  .turn_b = 1,
                  .batch = 1};
}

/* The same, with dbias (O) = the sums of grad over its rows. */
static gemm linear_backward_weight_bias(const cvr_signature *s) {
    gemm g = linear_backward_weight(s);
    g.sums = 1;
    return g;
}

/* One of a batch of matrices, whose last two axes are (M, N). */
static gemm_matrix matrix_of_batch(const cvr_tensor *t, uint32_t dtype, uint32_t input) {
    const uint64_t rows = last_axis(t), columns = (uint64_t)t->shape[t->rank - 2];
    return (gemm_matrix){rows, columns, (int64_t)(rows * columns), dtype, input};
}

/* y^T = b^T a^T */
static gemm matmul(const cvr_signature *s) {
    const cvr_matmul_attrs *attrs = (const cvr_matmul_attrs *)s->attrs;
    const uint32_t dtype = s->inputs[0]->dtype;
    gemm g = {.a = matrix_of_batch(s->inputs[1], dtype, 1),
              .b = matrix_of_batch(s->inputs[0], dtype, 0),
              .to = matrix_of_batch(s->outputs[0], s->outputs[0]->dtype, 0),
              .turn_a = attrs->transpose_b != 0,
              .turn_b = attrs->transpose_a != 0};
    g.batch = (int32_t)(numel(s->outputs[0]) / (g.to.rows * g.to.columns));
    return g;
}

/* ---- what is taken ---- */

static int32_t takes_tensor(const cvr_tensor *t, cvr_error *reason) {
    if (t->dtype != CVR_F32 && t->dtype != CVR_F16 && t->dtype != CVR_BF16)
        return cvr_fail(reason, CVR_ERR_UNSUPPORTED, "cuBLASLt is used for f32, f16 and bf16, not %s",
                        cvr_dtype_name(t->dtype));
    if (numel(t) == 0 || numel(t) > INT32_MAX)
        return cvr_fail(reason, CVR_ERR_UNSUPPORTED, "a tensor is empty, or has more than 2^31 elements");
    return CVR_OK;
}

/* Results are f32 or of the activations' type: input 0's. */
static int32_t takes(const cvr_signature *s, cvr_error *reason) {
    for (uint32_t i = 0; i < s->n_inputs; i++)
        if (s->inputs[i]) CVR_TRY(takes_tensor(s->inputs[i], reason));
    CVR_TRY(takes_tensor(s->outputs[0], reason));
    if (s->outputs[0]->dtype == CVR_F32 || s->outputs[0]->dtype == s->inputs[0]->dtype) return CVR_OK;
    return cvr_fail(reason, CVR_ERR_UNSUPPORTED, "%s times %s to %s", cvr_dtype_name(s->inputs[0]->dtype),
                    cvr_dtype_name(s->inputs[1]->dtype), cvr_dtype_name(s->outputs[0]->dtype));
}

#define GEMM_OP(name_, attrs_size_)                                                                                    \
    {                                                                                                                  \
        .op = {.op = #name_,                                                                                           \
               .library = &cublaslt_library,                                                                           \
               .attrs_size = attrs_size_,                                                                              \
               .takes = takes,                                                                                         \
               .plain = library_plain,                                                                                 \
               .plain_workspace = library_plain_workspace},                                                            \
        .of = name_                                                                                                    \
    }

/* ---- both gradients by their device kernels, one after the other ---- */

static uint64_t both_workspace(const library_op *op, const cvr_signature *sig) {
    const device_op *weight = device_find("linear_backward_weight"), *bias = device_find("linear_backward_bias");
    cvr_signature one = *sig, two = *sig;
    (void)op;
    one.n_outputs = two.n_inputs = two.n_outputs = 1;
    two.inputs++;
    two.outputs++;
    const uint64_t n = weight->workspace(&one), m = bias->workspace ? bias->workspace(&two) : 0;
    return n > m ? n : m;
}

static int32_t both_plain(const library_op *op, const cvr_kernel_args *a, const cvr_recorder *r, cvr_error *err) {
    cvr_kernel_args one = *a, two = *a;
    (void)op;
    one.n_outputs = two.n_inputs = two.n_outputs = 1;
    two.inputs++;
    two.outputs++;
    CVR_TRY(device_find("linear_backward_weight")->fn.record(&one, r, err));
    return device_find("linear_backward_bias")->fn.record(&two, r, err);
}

static int32_t takes_both(const cvr_signature *s, cvr_error *reason) {
    if (s->inputs[0]->dtype != s->inputs[1]->dtype)
        return cvr_fail(reason, CVR_ERR_UNSUPPORTED, "x is %s and grad is %s", cvr_dtype_name(s->inputs[0]->dtype),
                        cvr_dtype_name(s->inputs[1]->dtype));
    return takes(s, reason);
}

const cublaslt_op cublaslt_ops[CUBLASLT_OPS] = {GEMM_OP(linear, 0),
                                                GEMM_OP(linear_backward_input, 0),
                                                GEMM_OP(linear_backward_weight, 0),
                                                GEMM_OP(matmul, sizeof(cvr_matmul_attrs)),
                                                {.op = {.op = "linear_backward_weight_bias",
                                                        .library = &cublaslt_library,
                                                        .takes = takes_both,
                                                        .plain = both_plain,
                                                        .plain_workspace = both_workspace},
                                                 .of = linear_backward_weight_bias}};
