/*
 * The dense ops as products of matrices for cuBLASLt, which counts matrices by columns: what lies in memory as rows is
 * its transpose there. So y = x weight^T in rows is y^T = weight x^T in columns, where the first operand is the
 * weight's memory, turned, and the second one x's memory as it is.
 */
#ifndef CUBLASLT_GEMM_H
#define CUBLASLT_GEMM_H

#include "cublaslt_table.h"
#include "library.h"

/* One matrix as it lies in memory, by columns: `rows` numbers, then the next column. */
typedef struct gemm_matrix {
    uint64_t rows, columns;
    int64_t stride; /* elements to the next product's matrix */
    uint32_t dtype;
    uint32_t input; /* the node's input; of the result: its output */
} gemm_matrix;

/* to = op(a) op(b) + bias, for each of a batch; and the sums over op(b)'s rows, as many as `to` has columns, in f32. */
typedef struct gemm {
    gemm_matrix a, b, to;
    int turn_a, turn_b;
    int32_t batch;
    uint32_t bias; /* the input that is added to each column, or 0: none */
    uint32_t sums; /* the output that gets the sums, or 0: none */
} gemm;

typedef struct cublaslt_op {
    library_op op;
    gemm (*of)(const cvr_signature *sig); /* for a signature that `op.takes` */
} cublaslt_op;

#define CUBLASLT_OPS 5
#define CUBLASLT_KERNELS 10
extern const cublaslt_op cublaslt_ops[CUBLASLT_OPS];
extern const cvr_kernel_desc cublaslt_kernels[CUBLASLT_KERNELS];
extern const library_desc cublaslt_library;

#endif
