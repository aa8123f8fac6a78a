/* The libraries that this build knows. */
#include "library_kernels.h"

#if CUDA_HAS_CUDNN
#include "cudnn_form.h"
#endif
#if CUDA_HAS_CUBLASLT
#include "cublaslt_gemm.h"
#endif

const library_desc *const library_all[] = {
#if CUDA_HAS_CUDNN
    &cudnn_library,
#endif
#if CUDA_HAS_CUBLASLT
    &cublaslt_library,
#endif
    NULL};

const library_kernels library_all_kernels[] = {
#if CUDA_HAS_CUDNN
    {cudnn_kernels, CUDNN_KERNELS, 0},
#endif
#if CUDA_HAS_CUBLASLT
    {cublaslt_kernels, CUBLASLT_KERNELS, 0},
#endif
    {NULL, 0, 0}};
