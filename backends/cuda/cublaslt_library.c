/*
 * cuBLASLt as a library of choose.c. A plan is an algorithm for one product. Sums are f32, split ones as well; no
 * algorithm adds up with atomics, or in less than f32; the workspace is the node's own. Operands that are of another
 * type than the activations (weights in mixed precision, biases) are cast into the workspace before.
 */
#include "cublaslt_gemm.h"
#include "plain.h"

#define WORKSPACE (UINT64_C(32) << 20) /* bytes, at most: what the library recommends for sm_90 */
#define ALIGNED 256u                   /* as device memory is, and parts of a workspace are */

typedef struct cublaslt {
    library_place place;
    const cublaslt_table *table;
    cublasLtHandle_t handle;
    char version[32];
} cublaslt;

/* A matrix where the library can read it: in its input, or in the workspace after a cast. */
typedef struct operand {
    uint32_t input, casts, dtype, reserved;
    uint64_t at; /* bytes of the workspace, where it is cast */
} operand;

/* What the library needs to know of a product. */
typedef struct product {
    gemm g;
    cublasLtMatmulDesc_t desc;
    cublasLtMatrixLayout_t a, b, to;
    operand from_a, from_b, bias;
    uint64_t scratch; /* bytes of casts, before the library's own workspace */
} product;

typedef struct cublaslt_plan {
    product p;
    cublasLtMatmulAlgo_t algo;
    uint64_t workspace;
} cublaslt_plan;

/* ---- opening ---- */

static void close_cublaslt(void *self) {
    cublaslt *c = (cublaslt *)self;
    if (c->handle) (void)c->table->destroy(c->handle);
    c->place.host->free(c->place.host, c);
}

static int32_t open_cublaslt(const library_place *place, void **self, cvr_error *err) {
    if (place->json)
        return cvr_fail(err, CVR_ERR_UNSUPPORTED, "cuBLASLt plans on a device alone, and this one is only described");
    const cublaslt_table *table = cublaslt_table_open(err);
    if (!table) return CVR_ERR_NOTFOUND;
    cublaslt *c = (cublaslt *)place->host->alloc(place->host, sizeof *c, 16);
    if (!c) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    const size_t v = table->version();
    *c = (cublaslt){.place = *place, .table = table};
    (void)snprintf(c->version, sizeof c->version, "cublaslt %zu.%zu.%zu", v / 10000, v / 100 % 100, v % 100);
    const int32_t status = cublaslt_check(table, table->create(&c->handle), "cublasLtCreate", err);
    if (status != CVR_OK) {
        c->handle = NULL;
        close_cublaslt(c);
        return status;
    }
    *self = c;
    return CVR_OK;
}

static const char *version_of(const void *self) {
    return ((const cublaslt *)self)->version;
}

/* ---- a product in the library's words ---- */

static cudaDataType_t data_type(uint32_t dtype) {
    return dtype == CVR_F16 ? CUDA_R_16F : dtype == CVR_BF16 ? CUDA_R_16BF : CUDA_R_32F;
}

static operand operand_of(product *p, const cvr_signature *sig, uint32_t input, uint32_t dtype) {
    const cvr_tensor *t = sig->inputs[input];
    const operand o = {.input = input, .casts = t->dtype != dtype, .dtype = dtype, .at = p->scratch};
    const uint64_t bytes = (uint64_t)cvr_numel(t->rank, t->shape) * cvr_dtype_size(dtype);
    if (o.casts) p->scratch += (bytes + ALIGNED - 1) / ALIGNED * ALIGNED;
    return o;
}

static int32_t make_layout(const cublaslt *c, const gemm *g, const gemm_matrix *m, cublasLtMatrixLayout_t *out,
                           cvr_error *err) {
    const cublaslt_table *t = c->table;
    CVR_TRY(cublaslt_check(t, t->layout_create(out, data_type(m->dtype), m->rows, m->columns, (int64_t)m->rows),
                           "layout", err));
    CVR_TRY(cublaslt_check(t, t->layout_set(*out, CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT, &g->batch, sizeof g->batch),
                           "layout", err));
    return cublaslt_check(
        t, t->layout_set(*out, CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET, &m->stride, sizeof m->stride), "layout",
        err);
}

static int32_t set(const cublaslt *c, cublasLtMatmulDesc_t d, cublasLtMatmulDescAttributes_t a, const void *value,
                   size_t n, cvr_error *err) {
    return cublaslt_check(c->table, c->table->desc_set(d, a, value, n), "descriptor", err);
}

static int32_t make_desc(const cublaslt *c, product *p, uint32_t math, cvr_error *err) {
    const cublasComputeType_t compute = math == CVR_MATH_TF32 ? CUBLAS_COMPUTE_32F_FAST_TF32 : CUBLAS_COMPUTE_32F;
    const cublasOperation_t turned[] = {CUBLAS_OP_N, CUBLAS_OP_T};
    const cublasLtEpilogue_t epilogue = p->g.bias   ? CUBLASLT_EPILOGUE_BIAS
                                        : p->g.sums ? CUBLASLT_EPILOGUE_BGRADB
                                                    : CUBLASLT_EPILOGUE_DEFAULT;
    const cudaDataType_t bias = p->g.sums ? CUDA_R_32F : data_type(p->g.to.dtype);
    CVR_TRY(cublaslt_check(c->table, c->table->desc_create(&p->desc, compute, CUDA_R_32F), "descriptor", err));
    CVR_TRY(set(c, p->desc, CUBLASLT_MATMUL_DESC_TRANSA, &turned[p->g.turn_a], sizeof *turned, err));
    CVR_TRY(set(c, p->desc, CUBLASLT_MATMUL_DESC_TRANSB, &turned[p->g.turn_b], sizeof *turned, err));
    CVR_TRY(set(c, p->desc, CUBLASLT_MATMUL_DESC_EPILOGUE, &epilogue, sizeof epilogue, err));
    if (epilogue == CUBLASLT_EPILOGUE_DEFAULT) return CVR_OK;
    return set(c, p->desc, CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE, &bias, sizeof bias, err);
}

static void free_product(const cublaslt *c, const product *p) {
    const cublaslt_table *t = c->table;
    if (p->a) (void)t->layout_destroy(p->a);
    if (p->b) (void)t->layout_destroy(p->b);
    if (p->to) (void)t->layout_destroy(p->to);
    if (p->desc) (void)t->desc_destroy(p->desc);
}

/* free_product() in any case. */
static int32_t make_product(const cublaslt *c, const library_node *node, product *p, cvr_error *err) {
    const cvr_signature *sig = node->sig;
    *p = (product){.g = ((const cublaslt_op *)node->op)->of(sig)}; /* the struct's first member */
    p->from_a = operand_of(p, sig, p->g.a.input, p->g.a.dtype);
    p->from_b = operand_of(p, sig, p->g.b.input, p->g.b.dtype);
    if (p->g.bias) p->bias = operand_of(p, sig, p->g.bias, p->g.to.dtype);
    CVR_TRY(make_layout(c, &p->g, &p->g.a, &p->a, err));
    CVR_TRY(make_layout(c, &p->g, &p->g.b, &p->b, err));
    CVR_TRY(make_layout(c, &p->g, &p->g.to, &p->to, err));
    return make_desc(c, p, sig->math, err);
}

/* ---- offers ---- */

/* "algo 21 tile 20 split 1 ...": the algorithm's number and settings. */
static void name_algo(const cublaslt *c, const cublasLtMatmulAlgo_t *algo, char *name) {
    static const cublasLtMatmulAlgoConfigAttributes_t settings[] = {CUBLASLT_ALGO_CONFIG_ID,
                                                                    CUBLASLT_ALGO_CONFIG_TILE_ID,
                                                                    CUBLASLT_ALGO_CONFIG_SPLITK_NUM,
                                                                    CUBLASLT_ALGO_CONFIG_REDUCTION_SCHEME,
                                                                    CUBLASLT_ALGO_CONFIG_CTA_SWIZZLING,
                                                                    CUBLASLT_ALGO_CONFIG_CUSTOM_OPTION,
                                                                    CUBLASLT_ALGO_CONFIG_STAGES_ID,
                                                                    CUBLASLT_ALGO_CONFIG_INNER_SHAPE_ID,
                                                                    CUBLASLT_ALGO_CONFIG_CLUSTER_SHAPE_ID};
    (void)snprintf(name, LIBRARY_NAME, "algorithm");
    for (size_t i = 0; i < sizeof settings / sizeof *settings; i++) {
        uint32_t value = 0; /* two of them have 16 bits */
        size_t n;
        const size_t at = strlen(name), size = settings[i] >= CUBLASLT_ALGO_CONFIG_INNER_SHAPE_ID ? 2 : 4;
        (void)c->table->algo_get(algo, settings[i], &value, size, &n);
        (void)snprintf(name + at, LIBRARY_NAME - at, " %u", value);
    }
}

/* Split sums are added up in f32, in the workspace, after all of them are there. */
static int32_t ask(const cublaslt *c, const product *p, cublasLtMatmulHeuristicResult_t *results, int *n,
                   cvr_error *err) {
    const cublaslt_table *t = c->table;
    const uint64_t most = WORKSPACE;
    const uint32_t schemes = CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE;
    cublasLtMatmulPreference_t wish;
    CVR_TRY(cublaslt_check(t, t->wish_create(&wish), "preference", err));
    int32_t status = cublaslt_check(t, t->wish_set(wish, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, &most, sizeof most),
                                    "preference", err);
    if (status == CVR_OK)
        status =
            cublaslt_check(t, t->wish_set(wish, CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK, &schemes, sizeof schemes),
                           "preference", err);
    if (status == CVR_OK)
        status = cublaslt_check(
            t, t->heuristic(c->handle, p->desc, p->a, p->b, p->to, p->to, wish, LIBRARY_CANDIDATES, results, n),
            "heuristic", err);
    (void)t->wish_destroy(wish);
    return status;
}

/* A product of its own for each plan, so that plans can be released one by one. */
static int32_t add_plan(cublaslt *c, const library_node *node, const cublasLtMatmulHeuristicResult_t *r,
                        library_offer *out, cvr_error *err) {
    char name[LIBRARY_NAME];
    name_algo(c, &r->algo, name);
    if (node->only && strcmp(node->only, name) != 0) return CVR_OK;
    cublaslt_plan *plan = (cublaslt_plan *)c->place.host->alloc(c->place.host, sizeof *plan, 16);
    library_candidate *to = &out->candidates[out->n];
    if (!plan) return cvr_fail(err, CVR_ERR_NOMEM, "out of memory");
    *plan = (cublaslt_plan){.algo = r->algo, .workspace = r->workspaceSize};
    const int32_t status = make_product(c, node, &plan->p, err);
    if (status != CVR_OK) {
        free_product(c, &plan->p);
        c->place.host->free(c->place.host, plan);
        return status;
    }
    to->plan = plan;
    to->workspace = plan->p.scratch + plan->workspace;
    memcpy(to->name, name, sizeof to->name);
    out->n++;
    return CVR_OK;
}

static int32_t offer(void *self, const library_node *node, library_offer *out, cvr_error *err) {
    cublaslt *c = (cublaslt *)self;
    cublasLtMatmulHeuristicResult_t results[LIBRARY_CANDIDATES];
    product p;
    cvr_error why = CVR_ERROR_INIT;
    int n = 0;
    int32_t status = make_product(c, node, &p, &why);
    if (status == CVR_OK && p.scratch < LIBRARY_WORKSPACE - WORKSPACE) status = ask(c, &p, results, &n, &why);
    free_product(c, &p);
    if (status != CVR_OK) {
        out->refused++;
        (void)snprintf(out->reason, sizeof out->reason, "%.150s", why.message);
        return CVR_OK;
    }
    for (int i = 0; i < n; i++)
        if (results[i].state == CUBLAS_STATUS_SUCCESS && results[i].workspaceSize <= WORKSPACE)
            CVR_TRY(add_plan(c, node, &results[i], out, err));
    return CVR_OK;
}

static void release(void *self, void *plan) {
    cublaslt *c = (cublaslt *)self;
    free_product(c, &((const cublaslt_plan *)plan)->p);
    c->place.host->free(c->place.host, plan);
}

/* ---- running ---- */

static int32_t bring(const operand *o, const cvr_kernel_args *a, const cvr_recorder *r, const void **out,
                     cvr_error *err) {
    const cvr_tensor *from = a->inputs[o->input];
    cvr_tensor to = *from;
    *out = from->data;
    if (!o->casts) return CVR_OK;
    to.dtype = o->dtype;
    to.data = (char *)a->workspace + o->at;
    *out = to.data;
    return library_cast(from, &to, r, err);
}

static int32_t enqueue(void *self, void *plan, const cvr_kernel_args *a, void *stream, cvr_error *err) {
    const cublaslt *c = (const cublaslt *)self;
    const cublaslt_plan *l = (const cublaslt_plan *)plan;
    const product *p = &l->p;
    const cvr_recorder *r = c->place.lab->recorder(c->place.lab->ctx, stream);
    const float one = 1, zero = 0;
    const void *from_a, *from_b, *bias;
    void *to = a->outputs[0]->data;
    CVR_TRY(bring(&p->from_a, a, r, &from_a, err));
    CVR_TRY(bring(&p->from_b, a, r, &from_b, err));
    if (p->g.bias) {
        CVR_TRY(bring(&p->bias, a, r, &bias, err));
        CVR_TRY(set(c, p->desc, CUBLASLT_MATMUL_DESC_BIAS_POINTER, &bias, sizeof bias, err));
    }
    if (p->g.sums) {
        bias = a->outputs[p->g.sums]->data;
        CVR_TRY(set(c, p->desc, CUBLASLT_MATMUL_DESC_BIAS_POINTER, &bias, sizeof bias, err));
    }
    return cublaslt_check(c->table,
                          c->table->matmul(c->handle, p->desc, &one, from_a, p->a, from_b, p->b, &zero, to, p->to, to,
                                           p->to, &l->algo, (char *)a->workspace + p->scratch, l->workspace,
                                           (cudaStream_t)stream),
                          "product", err);
}

const library_desc cublaslt_library = {.name = "cublaslt",
                                       .open = open_cublaslt,
                                       .close = close_cublaslt,
                                       .version = version_of,
                                       .offer = offer,
                                       .release = release,
                                       .enqueue = enqueue};
