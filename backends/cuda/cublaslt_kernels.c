/* cuBLASLt's ops as kernels. */
#include "cublaslt_gemm.h"
#include "library_kernels.h"

LIBRARY_KERNELS(linear, &cublaslt_ops[0].op)
LIBRARY_KERNELS(linear_backward_input, &cublaslt_ops[1].op)
LIBRARY_KERNELS(linear_backward_weight, &cublaslt_ops[2].op)
LIBRARY_KERNELS(matmul, &cublaslt_ops[3].op)
LIBRARY_KERNELS(linear_backward_weight_bias, &cublaslt_ops[4].op)

#define WEIGHT CVR_KERNEL_CASTS(1)
const cvr_kernel_desc cublaslt_kernels[CUBLASLT_KERNELS] = {
    LIBRARY_DESCS(linear, WEIGHT), LIBRARY_DESCS(linear_backward_input, WEIGHT),
    LIBRARY_DESCS(linear_backward_weight, 0), LIBRARY_DESCS(matmul, 0), LIBRARY_DESCS(linear_backward_weight_bias, 0)};
