/* See cublaslt_stand_in.h. */
#include "cublaslt_stand_in.h"

#include <criterion/criterion.h>
#include <cvr/plugin/bf16.h>
#include <cvr/plugin/f16.h>
#include <stdlib.h>

cublaslt_seen cublaslt_seen_last;
#define SEEN cublaslt_seen_last

/* What the opaque objects are here. */
typedef struct desc {
    cublasComputeType_t compute;
    cublasOperation_t turn_a, turn_b;
    cublasLtEpilogue_t epilogue;
    cudaDataType_t bias_type;
    const void *bias;
} desc;

typedef struct layout {
    cudaDataType_t type;
    uint64_t rows, columns;
    int64_t leading, stride;
    int32_t batch;
} layout;

static int a_handle;

static size_t version(void) {
    return 130100;
}

static const char *status_name(cublasStatus_t status) {
    return status == CUBLAS_STATUS_NOT_INITIALIZED ? "CUBLAS_STATUS_NOT_INITIALIZED" : "another status";
}

static cublasStatus_t create(cublasLtHandle_t *handle) {
    *handle = (cublasLtHandle_t)(void *)&a_handle;
    return stand.refuses ? CUBLAS_STATUS_NOT_INITIALIZED : CUBLAS_STATUS_SUCCESS;
}

static cublasStatus_t destroy(cublasLtHandle_t handle) {
    return (void *)handle == &a_handle ? CUBLAS_STATUS_SUCCESS : CUBLAS_STATUS_INVALID_VALUE;
}

static void *new_object(size_t bytes) {
    void *p = calloc(1, bytes);
    cr_assert(p);
    SEEN.objects++;
    return p;
}

static cublasStatus_t delete_object(void *p) {
    SEEN.objects--;
    free(p);
    return CUBLAS_STATUS_SUCCESS;
}

static cublasStatus_t desc_create(cublasLtMatmulDesc_t *out, cublasComputeType_t compute, cudaDataType_t scale) {
    desc *d = new_object(sizeof *d);
    cr_expect_eq(scale, CUDA_R_32F);
    d->compute = compute;
    *out = (cublasLtMatmulDesc_t)(void *)d;
    return CUBLAS_STATUS_SUCCESS;
}

static cublasStatus_t desc_destroy(cublasLtMatmulDesc_t d) {
    return delete_object(d);
}

static cublasStatus_t desc_set(cublasLtMatmulDesc_t to, cublasLtMatmulDescAttributes_t a, const void *value, size_t n) {
    desc *d = (desc *)(void *)to;
    const struct {
        cublasLtMatmulDescAttributes_t name;
        void *to;
        size_t n;
    } known[] = {{CUBLASLT_MATMUL_DESC_TRANSA, &d->turn_a, sizeof d->turn_a},
                 {CUBLASLT_MATMUL_DESC_TRANSB, &d->turn_b, sizeof d->turn_b},
                 {CUBLASLT_MATMUL_DESC_EPILOGUE, &d->epilogue, sizeof d->epilogue},
                 {CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE, &d->bias_type, sizeof d->bias_type},
                 {CUBLASLT_MATMUL_DESC_BIAS_POINTER, &d->bias, sizeof d->bias}};
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        if (known[i].name != a) continue;
        cr_expect_eq(n, known[i].n);
        memcpy(known[i].to, value, n);
        return CUBLAS_STATUS_SUCCESS;
    }
    return CUBLAS_STATUS_INVALID_VALUE;
}

static cublasStatus_t layout_create(cublasLtMatrixLayout_t *out, cudaDataType_t type, uint64_t rows, uint64_t columns,
                                    int64_t leading) {
    layout *l = new_object(sizeof *l);
    *l = (layout){type, rows, columns, leading, 0, 1};
    *out = (cublasLtMatrixLayout_t)(void *)l;
    return CUBLAS_STATUS_SUCCESS;
}

static cublasStatus_t layout_destroy(cublasLtMatrixLayout_t l) {
    return delete_object(l);
}

static cublasStatus_t layout_set(cublasLtMatrixLayout_t to, cublasLtMatrixLayoutAttribute_t a, const void *value,
                                 size_t n) {
    layout *l = (layout *)(void *)to;
    if (a == CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT && n == sizeof l->batch) memcpy(&l->batch, value, n);
    if (a == CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET && n == sizeof l->stride) memcpy(&l->stride, value, n);
    return CUBLAS_STATUS_SUCCESS;
}

static cublasStatus_t wish_create(cublasLtMatmulPreference_t *out) {
    *out = (cublasLtMatmulPreference_t)new_object(8);
    return CUBLAS_STATUS_SUCCESS;
}

static cublasStatus_t wish_destroy(cublasLtMatmulPreference_t p) {
    return delete_object(p);
}

static cublasStatus_t wish_set(cublasLtMatmulPreference_t p, cublasLtMatmulPreferenceAttributes_t a, const void *value,
                               size_t n) {
    (void)p;
    if (a == CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES) memcpy(&SEEN.most_workspace, value, n);
    if (a == CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK) memcpy(&SEEN.schemes, value, n);
    return CUBLAS_STATUS_SUCCESS;
}

/* Sizes of op(a) op(b) and of the result have to fit, as the library wants it. */
static int fits(const desc *d, const layout *a, const layout *b, const layout *to) {
    const uint64_t m = d->turn_a == CUBLAS_OP_T ? a->columns : a->rows, k = a->rows * a->columns / m;
    const uint64_t n = d->turn_b == CUBLAS_OP_T ? b->rows : b->columns, k_b = b->rows * b->columns / n;
    return k == k_b && to->rows == m && to->columns == n && a->leading >= (int64_t)a->rows &&
           b->leading >= (int64_t)b->rows && to->leading >= (int64_t)to->rows && a->batch == to->batch &&
           b->batch == to->batch && a->type == b->type;
}

static cublasStatus_t heuristic(cublasLtHandle_t handle, cublasLtMatmulDesc_t desc_, cublasLtMatrixLayout_t a_,
                                cublasLtMatrixLayout_t b_, cublasLtMatrixLayout_t c_, cublasLtMatrixLayout_t to_,
                                cublasLtMatmulPreference_t wish, int room, cublasLtMatmulHeuristicResult_t *results,
                                int *n) {
    const desc *d = (const desc *)(void *)desc_;
    const layout *a = (const layout *)(void *)a_, *b = (const layout *)(void *)b_, *to = (const layout *)(void *)to_;
    (void)wish;
    cr_expect_eq(c_, to_);
    if (destroy(handle) != CUBLAS_STATUS_SUCCESS || !fits(d, a, b, to)) return CUBLAS_STATUS_INVALID_VALUE;
    SEEN.compute = d->compute;
    SEEN.epilogue = d->epilogue;
    SEEN.a = a->type, SEEN.b = b->type, SEEN.to = to->type, SEEN.bias = d->bias_type;
    *n = room < 3 ? room : 3;
    for (int i = 0; i < *n; i++) {
        results[i] = (cublasLtMatmulHeuristicResult_t){.workspaceSize = i == 1 ? STAND_IN_WORKSPACE : 0,
                                                       .state = CUBLAS_STATUS_SUCCESS};
        results[i].algo.data[0] = (uint64_t)i;
    }
    return CUBLAS_STATUS_SUCCESS;
}

static cublasStatus_t algo_get(const cublasLtMatmulAlgo_t *algo, cublasLtMatmulAlgoConfigAttributes_t a, void *value,
                               size_t room, size_t *n) {
    const uint32_t v = a == CUBLASLT_ALGO_CONFIG_ID ? (uint32_t)algo->data[0] : 7;
    memcpy(value, &v, room);
    *n = room;
    return CUBLAS_STATUS_SUCCESS;
}

/* ---- the product ---- */

static float get(const void *from, cudaDataType_t type, int64_t i) {
    if (type == CUDA_R_32F) return ((const float *)from)[i];
    const uint16_t half = ((const uint16_t *)from)[i];
    return type == CUDA_R_16F ? cvr_f32_of_f16(half) : cvr_f32_of_bf16(half);
}

static void put(void *to, cudaDataType_t type, int64_t i, float v) {
    if (type == CUDA_R_32F) ((float *)to)[i] = v;
    if (type == CUDA_R_16F) ((uint16_t *)to)[i] = cvr_f16_of_f32(v);
    if (type == CUDA_R_16BF) ((uint16_t *)to)[i] = cvr_bf16_of_f32(v);
}

/* Element (row, column) of op(x) of product z. */
static float element(const void *x, const layout *l, cublasOperation_t turned, int64_t z, int64_t row, int64_t column) {
    const int64_t r = turned == CUBLAS_OP_T ? column : row, c = turned == CUBLAS_OP_T ? row : column;
    return get(x, l->type, z * l->stride + c * l->leading + r);
}

static cublasStatus_t matmul(cublasLtHandle_t handle, cublasLtMatmulDesc_t desc_, const void *alpha, const void *a,
                             cublasLtMatrixLayout_t a_, const void *b, cublasLtMatrixLayout_t b_, const void *beta,
                             const void *c, cublasLtMatrixLayout_t c_, void *to, cublasLtMatrixLayout_t to_,
                             const cublasLtMatmulAlgo_t *algo, void *workspace, size_t bytes, cudaStream_t stream) {
    const desc *d = (const desc *)(void *)desc_;
    const layout *la = (const layout *)(void *)a_, *lb = (const layout *)(void *)b_, *l = (const layout *)(void *)to_;
    const int64_t depth = (int64_t)(d->turn_a == CUBLAS_OP_T ? la->rows : la->columns);
    (void)c, (void)c_;
    cr_expect(*(const float *)alpha == 1 && *(const float *)beta == 0);
    cr_expect_eq((void *)stream, &stand);
    stand.executions++;
    stand.seconds = 1e-3 * (double)(algo->data[0] + 1);
    if (bytes != (algo->data[0] == 1 ? STAND_IN_WORKSPACE : 0)) return CUBLAS_STATUS_INVALID_VALUE;
    if (bytes) memset(workspace, 0xee, bytes);
    for (int32_t z = 0; z < l->batch; z++) {
        for (int64_t n = 0; n < (int64_t)l->columns; n++) {
            for (int64_t m = 0; m < (int64_t)l->rows; m++) {
                float v = 0;
                for (int64_t k = 0; k < depth; k++)
                    v += element(a, la, d->turn_a, z, m, k) * element(b, lb, d->turn_b, z, k, n);
                if (d->epilogue == CUBLASLT_EPILOGUE_BIAS) v += get(d->bias, d->bias_type, m);
                put(to, l->type, z * l->stride + n * l->leading + m, v);
            }
        }
    }
    if (d->epilogue == CUBLASLT_EPILOGUE_BGRADB) {
        for (int64_t n = 0; n < (int64_t)l->columns; n++) {
            float sum = 0;
            for (int64_t k = 0; k < depth; k++) sum += element(b, lb, d->turn_b, 0, k, n);
            ((float *)(uintptr_t)d->bias)[n] = sum;
        }
        cr_expect_eq(d->bias_type, CUDA_R_32F);
    }
    if (algo->data[0] < stand.wrong_plans) put(to, l->type, 0, 9999);
    return destroy(handle);
}

static const cublaslt_table table = {version,  status_name,   create,         destroy,    desc_create, desc_destroy,
                                     desc_set, layout_create, layout_destroy, layout_set, wish_create, wish_destroy,
                                     wish_set, heuristic,     algo_get,       matmul};

void cublaslt_stand_in_begin(void) {
    stand_in_begin();
    SEEN = (cublaslt_seen){.objects = 0};
    cublaslt_table_stand_in(&table);
}

void cublaslt_stand_in_end(void) {
    cr_expect_eq(SEEN.objects, 0);
    cublaslt_table_stand_in(NULL);
    stand_in_end();
}
