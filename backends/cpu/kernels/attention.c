/*
 * Attention on the CPU (see <cvr/plugin/ops/attention.h>): a block of queries at a time against all keys, by matrix
 * products; the scores of a block are the only ones that ever exist (Dao et al., "FlashAttention", 2022).
 */
#include "cpu_loops.h"
#include "cpu_math.h"
#include "dense.h"

#include <cvr/plugin/ops/attention.h>

#define ROWS 64 /* queries of a block */

typedef struct attention_job {
    const float *q, *k, *v, *y, *lse, *grad;
    float *out[3];  /* y and, unused, NULL; or dq, dk, dv */
    float *out_lse; /* (N,heads,L) */
    float *scratch;
    int64_t scratch_floats; /* of a worker */
    int64_t n, l, s, d, e, heads, blocks;
    float scale;
} attention_job;

static attention_job shape_of(const cvr_attention_attrs *attrs, const cvr_tensor *q, const cvr_tensor *k) {
    attention_job j = {.heads = attrs->num_heads, .n = q->shape[0], .l = q->shape[1], .s = k->shape[1]};
    j.d = q->shape[2];
    j.e = j.d / j.heads;
    j.blocks = cpu_ceil_div(j.l, ROWS);
    j.scale = (float)(1 / sqrt((double)j.e));
    return j;
}

static attention_job job_of(const cvr_kernel_args *a) {
    attention_job j = shape_of(a->attrs, a->inputs[0], a->inputs[1]);
    j.q = a->inputs[0]->data;
    j.k = a->inputs[1]->data;
    j.v = a->inputs[2]->data;
    j.scratch = a->workspace;
    return j;
}

/* scores (rows,S) = a (rows,E) b (S,E)^T, where a and b are rows of d floats */
static cpu_gemm scores_of(const attention_job *j, int64_t rows) {
    return (cpu_gemm){.m = rows, .n = j->s, .k = j->e, .lda = j->d, .ldb = j->d, .ldc = j->s, .batch = 1, .trans_b = 1};
}

/* y (rows,E) = p (rows,S) b (S,E) */
static cpu_gemm weighed(const attention_job *j, int64_t rows) {
    return (cpu_gemm){.m = rows, .n = j->e, .k = j->s, .lda = j->s, .ldb = j->d, .ldc = j->d, .batch = 1};
}

/* y (S,E) += p (rows,S)^T a (rows,E); the first block of queries sets it */
static cpu_gemm gathered(const attention_job *j, int64_t rows, int first) {
    return (cpu_gemm){.m = j->s,
                      .n = j->e,
                      .k = rows,
                      .lda = j->s,
                      .ldb = j->d,
                      .ldc = j->d,
                      .batch = 1,
                      .trans_a = 1,
                      .add = !first};
}

static void product(cpu_gemm g, const float *a, const float *b, float *c, float *scratch) {
    g.a = a;
    g.b = b;
    g.c = c;
    cpu_gemm_run(&g, NULL, scratch);
}

/* Floats of a worker: `n` matrices of scores, then what any of the products needs. */
static int64_t scratch_of(const attention_job *j, int64_t n) {
    uint64_t most = 0;
    for (int64_t rows = 1; rows <= cpu_min(ROWS, j->l); rows++) { /* the last block has fewer than the others */
        const cpu_gemm all[] = {scores_of(j, rows), weighed(j, rows), gathered(j, rows, 1)};
        for (int i = 0; i < 3; i++) {
            const uint64_t bytes = cpu_gemm_workspace(&all[i], 1);
            most = bytes > most ? bytes : most;
        }
    }
    return cpu_line_up(n * cpu_line_up(ROWS * j->s) + (int64_t)(most / sizeof(float)));
}

/* x: n scores, not yet scaled -> their softmax; returns the logarithm of its sum. */
static float softmax_row(float *x, int64_t n, float scale) {
    for (int64_t k = 0; k < n; k++) x[k] *= scale;
    const float max = cpu_max_of(x, n);
    CPU_INDEPENDENT
    for (int64_t k = 0; k < n; k++) x[k] = cpu_exp(x[k] - max);
    const double sum = cpu_sum(x, n);
    const float share = (float)(1 / sum);
    for (int64_t k = 0; k < n; k++) x[k] *= share;
    return (float)(max + log(sum));
}

/* x: n scores -> p = exp(scale * x - lse), g -> p * (g - d) * scale */
static void gradient_row(float *x, float *g, int64_t n, float scale, float lse, float d) {
    CPU_INDEPENDENT
    for (int64_t k = 0; k < n; k++) {
        x[k] = cpu_exp(x[k] * scale - lse);
        g[k] = x[k] * (g[k] - d) * scale;
    }
}

/* A task is a block of queries of one head of one sample. */
static void forward_task(void *ctx, uint64_t task, uint32_t worker) {
    const attention_job *j = ctx;
    const int64_t i = (int64_t)task / j->blocks, first = (int64_t)task % j->blocks * ROWS;
    const int64_t rows = cpu_min(ROWS, j->l - first), column = i % j->heads * j->e;
    const int64_t at = (i / j->heads * j->l + first) * j->d + column, keys = i / j->heads * j->s * j->d + column;
    float *p = j->scratch + worker * j->scratch_floats; /* (rows,S) */
    float *rest = p + cpu_line_up(ROWS * j->s);
    product(scores_of(j, rows), j->q + at, j->k + keys, p, rest);
    for (int64_t r = 0; r < rows; r++) {
        j->out_lse[i * j->l + first + r] = softmax_row(p + r * j->s, j->s, j->scale);
    }
    product(weighed(j, rows), p, j->v + keys, j->out[0] + at, rest);
}

/* p = exp(s - lse), t = p * (t - d) * scale with t = grad v^T at entry; `at` is the first query's place. The share
 * of a single key is always 1: t is 0, and no rounding may say otherwise. */
static void score_gradients(const attention_job *j, const float *lse, int64_t at, int64_t rows, float *p, float *t) {
    for (int64_t r = 0; r < rows; r++) {
        float *x = p + r * j->s, *g = t + r * j->s;
        const float d = (float)cpu_dot(j->grad + at + r * j->d, j->y + at + r * j->d, j->e);
        gradient_row(x, g, j->s, j->scale, lse[r], d);
        if (j->s == 1) g[0] = 0;
    }
}

/* A task is one head of one sample: dk and dv are sums over its queries, block by block. */
static void backward_task(void *ctx, uint64_t task, uint32_t worker) {
    const attention_job *j = ctx;
    const int64_t i = (int64_t)task, column = i % j->heads * j->e, keys = i / j->heads * j->s * j->d + column;
    float *p = j->scratch + worker * j->scratch_floats, *t = p + cpu_line_up(ROWS * j->s); /* (rows,S) each */
    float *rest = t + cpu_line_up(ROWS * j->s);
    for (int64_t first = 0; first < j->l; first += ROWS) {
        const int64_t rows = cpu_min(ROWS, j->l - first), at = (i / j->heads * j->l + first) * j->d + column;
        product(scores_of(j, rows), j->q + at, j->k + keys, p, rest);
        product(scores_of(j, rows), j->grad + at, j->v + keys, t, rest);
        score_gradients(j, j->lse + i * j->l + first, at, rows, p, t);
        product(weighed(j, rows), t, j->k + keys, j->out[0] + at, rest);
        product(gathered(j, rows, first == 0), t, j->q + at, j->out[1] + keys, rest);
        product(gathered(j, rows, first == 0), p, j->grad + at, j->out[2] + keys, rest);
    }
}

static int32_t forward_run(const cvr_kernel_args *a, cvr_error *err) {
    (void)err;
    attention_job j = job_of(a);
    j.out[0] = a->outputs[0]->data;
    j.out_lse = a->outputs[1]->data;
    j.scratch_floats = scratch_of(&j, 1);
    cpu_run(a->pool, j.n * j.heads * j.blocks, forward_task, &j);
    return CVR_OK;
}

static int32_t backward_run(const cvr_kernel_args *a, cvr_error *err) {
    (void)err;
    attention_job j = job_of(a);
    j.y = a->inputs[3]->data;
    j.lse = a->inputs[4]->data;
    j.grad = a->inputs[5]->data;
    for (int i = 0; i < 3; i++) j.out[i] = a->outputs[i]->data;
    j.scratch_floats = scratch_of(&j, 2);
    if (j.l == 0) { /* no query: nothing is asked of any key */
        for (int i = 1; i < 3; i++) memset(j.out[i], 0, (size_t)cpu_numel(a->outputs[i]) * sizeof(float));
        return CVR_OK;
    }
    cpu_run(a->pool, j.n * j.heads, backward_task, &j);
    return CVR_OK;
}

static uint64_t forward_workspace(const cvr_signature *sig) {
    const attention_job j = shape_of(sig->attrs, sig->inputs[0], sig->inputs[1]);
    return sig->n_workers * (uint64_t)scratch_of(&j, 1) * sizeof(float);
}

static uint64_t backward_workspace(const cvr_signature *sig) {
    const attention_job j = shape_of(sig->attrs, sig->inputs[0], sig->inputs[1]);
    return sig->n_workers * (uint64_t)scratch_of(&j, 2) * sizeof(float);
}

static const cpu_kernel kernels[] = {
    {"scaled_dot_product_attention", forward_run, forward_workspace, NULL, 0, CPU_KERNEL_FLAGS, 1},
    {"scaled_dot_product_attention_backward", backward_run, backward_workspace, NULL, 0, CPU_KERNEL_FLAGS, 1},
};
const cpu_kernel_table cpu_attention_kernels = {kernels, sizeof kernels / sizeof *kernels};
