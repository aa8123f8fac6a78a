/* What is used of cuBLASLt, as a table of functions: cuda.so loads where it is not, and tests can stand in for it. */
#ifndef CUBLASLT_TABLE_H
#define CUBLASLT_TABLE_H

#include <cublasLt.h>
#include <cvr/plugin/abi.h>

typedef struct cublaslt_table {
    size_t (*version)(void);
    const char *(*status_name)(cublasStatus_t status);
    cublasStatus_t (*create)(cublasLtHandle_t *handle);
    cublasStatus_t (*destroy)(cublasLtHandle_t handle);
    cublasStatus_t (*desc_create)(cublasLtMatmulDesc_t *d, cublasComputeType_t compute, cudaDataType_t scale);
    cublasStatus_t (*desc_destroy)(cublasLtMatmulDesc_t d);
    cublasStatus_t (*desc_set)(cublasLtMatmulDesc_t d, cublasLtMatmulDescAttributes_t a, const void *value, size_t n);
    cublasStatus_t (*layout_create)(cublasLtMatrixLayout_t *l, cudaDataType_t type, uint64_t rows, uint64_t columns,
                                    int64_t leading);
    cublasStatus_t (*layout_destroy)(cublasLtMatrixLayout_t l);
    cublasStatus_t (*layout_set)(cublasLtMatrixLayout_t l, cublasLtMatrixLayoutAttribute_t a, const void *value,
                                 size_t n);
    cublasStatus_t (*wish_create)(cublasLtMatmulPreference_t *p);
    cublasStatus_t (*wish_destroy)(cublasLtMatmulPreference_t p);
    cublasStatus_t (*wish_set)(cublasLtMatmulPreference_t p, cublasLtMatmulPreferenceAttributes_t a, const void *value,
                               size_t n);
    cublasStatus_t (*heuristic)(cublasLtHandle_t handle, cublasLtMatmulDesc_t d, cublasLtMatrixLayout_t a,
                                cublasLtMatrixLayout_t b, cublasLtMatrixLayout_t c, cublasLtMatrixLayout_t to,
                                cublasLtMatmulPreference_t wish, int room, cublasLtMatmulHeuristicResult_t *results,
                                int *n);
    cublasStatus_t (*algo_get)(const cublasLtMatmulAlgo_t *algo, cublasLtMatmulAlgoConfigAttributes_t a, void *value,
                               size_t room, size_t *n);
    cublasStatus_t (*matmul)(cublasLtHandle_t handle, cublasLtMatmulDesc_t d, const void *alpha, const void *a,
                             cublasLtMatrixLayout_t a_layout, const void *b, cublasLtMatrixLayout_t b_layout,
                             const void *beta, const void *c, cublasLtMatrixLayout_t c_layout, void *to,
                             cublasLtMatrixLayout_t to_layout, const cublasLtMatmulAlgo_t *algo, void *workspace,
                             size_t workspace_bytes, cudaStream_t stream);
} cublaslt_table;

/* The library that is installed, opened once for the process; NULL with an error where there is none. */
const cublaslt_table *cublaslt_table_open(cvr_error *err);

/* Puts a table in its place, or takes it away again (NULL). For tests. */
void cublaslt_table_stand_in(const cublaslt_table *table);

int32_t cublaslt_check(const cublaslt_table *t, cublasStatus_t status, const char *what, cvr_error *err);

#endif
