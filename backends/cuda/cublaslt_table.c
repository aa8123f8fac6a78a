/* See cublaslt_table.h. */
#include "cublaslt_table.h"

#include "dynamic_library.h"

#define NAME_OF(text_) #text_
#define LIBRARY_OF(major_) "libcublasLt.so." NAME_OF(major_)

static const cublaslt_table *standing_in;

void cublaslt_table_stand_in(const cublaslt_table *table) {
    standing_in = table;
}

const cublaslt_table *cublaslt_table_open(cvr_error *err) {
    static cublaslt_table t;
    const dynamic_function functions[] = {{"cublasLtGetVersion", &t.version},
                                          {"cublasLtGetStatusName", &t.status_name},
                                          {"cublasLtCreate", &t.create},
                                          {"cublasLtDestroy", &t.destroy},
                                          {"cublasLtMatmulDescCreate", &t.desc_create},
                                          {"cublasLtMatmulDescDestroy", &t.desc_destroy},
                                          {"cublasLtMatmulDescSetAttribute", &t.desc_set},
                                          {"cublasLtMatrixLayoutCreate", &t.layout_create},
                                          {"cublasLtMatrixLayoutDestroy", &t.layout_destroy},
                                          {"cublasLtMatrixLayoutSetAttribute", &t.layout_set},
                                          {"cublasLtMatmulPreferenceCreate", &t.wish_create},
                                          {"cublasLtMatmulPreferenceDestroy", &t.wish_destroy},
                                          {"cublasLtMatmulPreferenceSetAttribute", &t.wish_set},
                                          {"cublasLtMatmulAlgoGetHeuristic", &t.heuristic},
                                          {"cublasLtMatmulAlgoConfigGetAttribute", &t.algo_get},
                                          {"cublasLtMatmul", &t.matmul},
                                          {NULL, NULL}};
    if (standing_in) return standing_in;
    return dynamic_library_open(LIBRARY_OF(CUBLAS_VER_MAJOR), functions, err) == CVR_OK ? &t : NULL;
}

int32_t cublaslt_check(const cublaslt_table *t, cublasStatus_t status, const char *what, cvr_error *err) {
    if (status == CUBLAS_STATUS_SUCCESS) return CVR_OK;
    return cvr_fail(err, CVR_ERR_UNSUPPORTED, "cuBLASLt: %s: %s", what, t->status_name(status));
}
