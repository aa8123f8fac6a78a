/*
 * NVIDIA's dense products as kernels, as far as it goes without a GPU: how products are put to cuBLASLt, which is a
 * stand-in of plain loops here. The library's own planner needs a device.
 */
#include "cublaslt_stand_in.h"

#include "cuda/cublaslt_gemm.h"
#include "cuda/library_kernels.h"
#include <criterion/criterion.h>
#include <cvr/plugin/bf16.h>
#include <cvr/plugin/f16.h>
#include <cvr/plugin/ops/linear.h>
#include <math.h>
#include <stdlib.h>

static const uint32_t types[] = {CVR_F32, CVR_F16, CVR_BF16};
static const cudaDataType_t data_types[] = {CUDA_R_32F, CUDA_R_16F, CUDA_R_16BF};

/* An op on tensors of which the last ones are made. */
typedef struct dense {
    const char *op;
    cvr_matmul_attrs attrs;
    uint32_t n_inputs, rank;
    int64_t shapes[4][3];
} dense;

static const dense cases[] = {{"linear", {0, 0}, 3, 2, {{5, 7}, {3, 7}, {3, 1}, {5, 3}}},
                              {"linear", {0, 0}, 2, 3, {{2, 5, 7}, {3, 7, 1}, {2, 5, 3}}},
                              {"linear_backward_input", {0, 0}, 2, 2, {{5, 3}, {3, 7}, {5, 7}}},
                              {"linear_backward_weight", {0, 0}, 2, 2, {{5, 7}, {5, 3}, {3, 7}}},
                              {"linear_backward_weight_bias", {0, 0}, 2, 2, {{5, 7}, {5, 3}, {3, 7}, {3}}},
                              {"linear_backward_weight_bias", {0, 0}, 2, 3, {{2, 5, 7}, {2, 5, 3}, {3, 7, 1}, {3}}},
                              {"matmul", {0, 0}, 2, 3, {{2, 5, 7}, {2, 7, 3}, {2, 5, 3}}},
                              {"matmul", {1, 0}, 2, 3, {{2, 7, 5}, {2, 7, 3}, {2, 5, 3}}},
                              {"matmul", {0, 1}, 2, 3, {{2, 5, 7}, {2, 3, 7}, {2, 5, 3}}},
                              {"matmul", {1, 1}, 2, 3, {{2, 7, 5}, {2, 3, 7}, {2, 5, 3}}}};
#define CASES (sizeof cases / sizeof *cases)

typedef struct node {
    cvr_tensor tensors[4];
    const cvr_tensor *inputs[3], *outputs[2];
    cvr_tensor *made[2];
    cvr_signature sig;
    const cublaslt_op *op;
} node;

static uint64_t bytes_of(const cvr_tensor *t) {
    return (uint64_t)cvr_numel(t->rank, t->shape) * cvr_dtype_size(t->dtype);
}

static float element(const cvr_tensor *t, const void *data, int64_t i) {
    if (t->dtype == CVR_F32) return ((const float *)data)[i];
    const uint16_t half = ((const uint16_t *)data)[i];
    return t->dtype == CVR_F16 ? cvr_f32_of_f16(half) : cvr_f32_of_bf16(half);
}

/* Whole numbers: sums are exact in all types. */
static void fill(const cvr_tensor *t, uint32_t seed) {
    for (int64_t i = 0; i < cvr_numel(t->rank, t->shape); i++) {
        seed = seed * 1664525u + 1013904223u;
        const float v = (float)(int)(seed >> 29) - 3;
        if (t->dtype == CVR_F32) ((float *)t->data)[i] = v;
        if (t->dtype == CVR_F16) ((uint16_t *)t->data)[i] = cvr_f16_of_f32(v);
        if (t->dtype == CVR_BF16) ((uint16_t *)t->data)[i] = cvr_bf16_of_f32(v);
    }
}

/* Outputs besides the first. */
static uint32_t more_outputs(const dense *d) {
    return strcmp(d->op, "linear_backward_weight_bias") == 0;
}

static int is_gradient(const dense *d) {
    return strncmp(d->op, "linear_backward_weight", 22) == 0;
}

/* As in mixed precision: activations have the type, weights, biases and their gradients are f32. */
static uint32_t type_of(const dense *d, uint32_t i, uint32_t dtype) {
    const int weight = strncmp(d->op, "linear", 6) == 0 && (i == 1 || i == 2) && i < d->n_inputs;
    return (is_gradient(d) ? i >= 2 : weight) ? CVR_F32 : dtype;
}

static void make_node(node *n, const dense *d, uint32_t dtype, uint32_t math) {
    *n = (node){.sig = {.struct_size = sizeof n->sig,
                        .attrs = &d->attrs,
                        .inputs = n->inputs,
                        .outputs = n->outputs,
                        .n_inputs = d->n_inputs,
                        .n_outputs = 1 + more_outputs(d),
                        .n_workers = 1,
                        .math = math,
                        .device = &stand.info}};
    for (uint32_t i = 0; i <= d->n_inputs + more_outputs(d); i++) {
        cvr_tensor *t = &n->tensors[i];
        *t = (cvr_tensor){
            .struct_size = sizeof *t, .dtype = type_of(d, i, dtype), .rank = d->rank, .shape = {1, 1, 1, 1, 1, 1}};
        if (strncmp(d->op, "linear", 6) == 0 && i == (is_gradient(d) ? 2 : 1)) t->rank = 2;
        if (i == (d->n_inputs == 3 ? 2 : 3)) t->rank = 1; /* a bias, or its gradient */
        memcpy(t->shape, d->shapes[i], t->rank * sizeof *t->shape);
        t->data = malloc(bytes_of(t));
        fill(t, i + 1);
        if (i < d->n_inputs)
            n->inputs[i] = t;
        else
            n->outputs[i - d->n_inputs] = n->made[i - d->n_inputs] = t;
    }
    for (n->op = cublaslt_ops; strcmp(n->op->op.op, d->op) != 0;) n->op++;
}

static void free_node(node *n) {
    for (int i = 0; i < 4; i++) free(n->tensors[i].data);
}

static cvr_kernel_desc kernels[64];
static uint32_t n_kernels;

static int32_t take_kernel(const cvr_registrar *r, const char *kind, const void *desc, cvr_error *err) {
    (void)r, (void)kind, (void)err;
    cr_assert_lt(n_kernels, 64);
    kernels[n_kernels++] = *(const cvr_kernel_desc *)desc;
    return CVR_OK;
}

static const cvr_kernel_desc *kernel_for(const node *n, cvr_error *why) {
    const cvr_registrar r = {.struct_size = sizeof r, .add = take_kernel};
    if (!n_kernels) cr_assert_eq(cuda_libraries_add_kernels(&r, why), CVR_OK);
    for (uint32_t i = 0; i < n_kernels; i++)
        if (strcmp(kernels[i].op, n->op->op.op) == 0 && kernels[i].supports(&n->sig, why) == CVR_OK) return &kernels[i];
    return NULL;
}

static cvr_kernel_args args_of(const node *n, void *workspace, uint64_t bytes) {
    return (cvr_kernel_args){.struct_size = sizeof(cvr_kernel_args),
                             .attrs = n->sig.attrs,
                             .inputs = n->inputs,
                             .outputs = n->made,
                             .workspace = workspace,
                             .workspace_size = bytes,
                             .n_inputs = n->sig.n_inputs,
                             .n_outputs = n->sig.n_outputs,
                             .device = &stand.info};
}

static void open_stand_in(void) {
    cvr_error err = CVR_ERROR_INIT;
    cublaslt_stand_in_begin();
    cr_assert_eq(cuda_libraries_open(&case_host, &stand.info, &stand.lab, &err), CVR_OK);
}

static void close_stand_in(void) {
    cuda_libraries_close(&stand.info);
    cublaslt_stand_in_end();
}

/* The kernel's result is that of the device kernel. */
static void check(node *n) {
    cvr_error err = CVR_ERROR_INIT;
    const cvr_kernel_desc *k = kernel_for(n, &err);
    cr_assert(k, "%s: %s", n->op->op.op, err.message);
    const uint64_t bytes = k->workspace(&n->sig);
    void *workspace = malloc(bytes + 64), *given[2];
    cvr_kernel_args a = args_of(n, workspace, bytes);
    for (uint32_t o = 0; o < n->sig.n_outputs; o++) memset(n->made[o]->data, 0xff, bytes_of(n->made[o]));
    cr_assert_eq(((const cvr_cuda_launch *)k->payload)->launch(&a, &stand, &err), CVR_OK, "%s", err.message);
    for (uint32_t o = 0; o < n->sig.n_outputs; o++) {
        given[o] = n->made[o]->data;
        n->made[o]->data = malloc(bytes_of(n->made[o]));
    }
    a.workspace = realloc(workspace, n->op->op.plain_workspace(&n->op->op, &n->sig) + 64);
    cr_assert_eq(n->op->op.plain(&n->op->op, &a, stand.lab.recorder(NULL, &stand), &err), CVR_OK, "%s", err.message);
    for (uint32_t o = 0; o < n->sig.n_outputs; o++) {
        const cvr_tensor *y = n->outputs[o];
        for (int64_t i = 0; i < cvr_numel(y->rank, y->shape); i++)
            cr_assert(element(y, given[o], i) == element(y, y->data, i), "%s %s: output %u, element %lld: %g, not %g",
                      n->op->op.op, cvr_dtype_name(n->inputs[0]->dtype), o, (long long)i,
                      (double)element(y, given[o], i), (double)element(y, y->data, i));
        free(given[o]);
    }
    free(a.workspace);
}

Test(cublaslt, products_in_all_types) {
    open_stand_in();
    for (size_t t = 0; t < 3; t++) {
        for (size_t i = 0; i < CASES; i++) {
            node n;
            make_node(&n, &cases[i], types[t], CVR_MATH_F32);
            check(&n);
            cr_expect_eq(cublaslt_seen_last.a, data_types[t]);
            cr_expect_eq(cublaslt_seen_last.compute, CUBLAS_COMPUTE_32F);
            cr_expect_eq(cublaslt_seen_last.to, is_gradient(&cases[i]) ? CUDA_R_32F : data_types[t]);
            cr_expect_eq(cublaslt_seen_last.epilogue, cases[i].n_inputs == 3    ? CUBLASLT_EPILOGUE_BIAS
                                                      : more_outputs(&cases[i]) ? CUBLASLT_EPILOGUE_BGRADB
                                                                                : CUBLASLT_EPILOGUE_DEFAULT);
            if (cases[i].n_inputs == 3) cr_expect_eq(cublaslt_seen_last.bias, data_types[t]);
            free_node(&n);
        }
    }
    /* sums split by depth are added up in f32, and not with atomics */
    cr_expect_eq(cublaslt_seen_last.schemes, CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE);
    cr_expect_eq(cublaslt_seen_last.most_workspace, 32u << 20);
    close_stand_in();
}

Test(cublaslt, tf32_is_for_those_who_ask) {
    node n;
    open_stand_in();
    make_node(&n, &cases[0], CVR_F32, CVR_MATH_TF32);
    check(&n);
    cr_expect_eq(cublaslt_seen_last.compute, CUBLAS_COMPUTE_32F_FAST_TF32);
    free_node(&n);
    make_node(&n, &cases[0], CVR_BF16, CVR_MATH_TF32);
    check(&n);
    cr_expect_eq(cublaslt_seen_last.compute, CUBLAS_COMPUTE_32F);
    free_node(&n);
    close_stand_in();
}

/* The first algorithm is wrong, so the second is taken, which has a workspace. */
Test(cublaslt, the_workspace_is_the_nodes) {
    node n;
    cvr_error why = CVR_ERROR_INIT;
    open_stand_in();
    stand.wrong_plans = 1;
    make_node(&n, &cases[0], CVR_F32, CVR_MATH_F32);
    const cvr_kernel_desc *k = kernel_for(&n, &why);
    cr_assert(k, "%s", why.message);
    cr_expect_eq(k->workspace(&n.sig), STAND_IN_WORKSPACE);
    cr_expect(strstr(case_log, "cublaslt plan `algorithm 0 7 7 7 7 7 7 7 7` is not used (it gives 9999"), "%s",
              case_log);
    stand.wrong_plans = 0;
    check(&n);
    free_node(&n);
    close_stand_in();
}

Test(cublaslt, what_it_does_not_take_is_said) {
    node n;
    cvr_error why = CVR_ERROR_INIT;
    open_stand_in();
    make_node(&n, &cases[0], CVR_F32, CVR_MATH_F32);
    n.tensors[3].dtype = CVR_F16;
    cr_expect_eq(n.op->op.takes(&n.sig, &why), CVR_ERR_UNSUPPORTED);
    cr_expect_str_eq(why.message, "f32 times f32 to f16");
    n.tensors[3].dtype = CVR_F32;
    n.tensors[1].dtype = CVR_I8;
    cr_expect_eq(n.op->op.takes(&n.sig, &why), CVR_ERR_UNSUPPORTED);
    free_node(&n);
    close_stand_in();
}

Test(cublaslt, a_device_that_it_refuses_is_told) {
    node n;
    cvr_error why = CVR_ERROR_INIT;
    cublaslt_stand_in_begin();
    stand.refuses = 1;
    cr_assert_eq(cuda_libraries_open(&case_host, &stand.info, &stand.lab, &why), CVR_OK);
    cr_expect(strstr(case_log, "cuda: cublaslt is not used, device kernels compute instead: cuBLASLt: cublasLtCreate: "
                               "CUBLAS_STATUS_NOT_INITIALIZED"),
              "%s", case_log);
    make_node(&n, &cases[0], CVR_F32, CVR_MATH_F32);
    cr_expect(!kernel_for(&n, &why));
    free_node(&n);
    close_stand_in();
}
