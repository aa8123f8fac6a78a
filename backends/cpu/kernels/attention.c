/*
 * Attention on the CPU (see <cvr/plugin/ops/attention.h>): a block of queries at a time against all keys, by matrix
 * products; the scores of a block are the only ones that ever exist (Dao et al., "FlashAttention", 2022). bf16
 * is widened to a worker's own floats, a head's keys and a block of its queries at a time.
 */
#include "cpu_math.h"
#include "cpu_rows.h"
#include "dense.h"

#include <cvr/plugin/ops/attention.h>

#define ROWS 64 /* queries of a block */

typedef struct attention_job {
    const void *q, *k, *v, *y, *grad;
    const float *lse;
    void *out[3]; /* y and, unused, NULL; or dq, dk, dv */
    int bf16;
    int64_t ld;     /* floats from row to row of what is multiplied: d, or e where it was widened */
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
    j.bf16 = q->dtype == CVR_BF16;
    j.ld = j.bf16 ? j.e : j.d;
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

/* scores (rows,S) = a (rows,E) b (S,E)^T, where a and b are rows, ld apart */
static cpu_gemm scores_of(const attention_job *j, int64_t rows) {
    return (cpu_gemm){
        .m = rows, .n = j->s, .k = j->e, .lda = j->ld, .ldb = j->ld, .ldc = j->s, .batch = 1, .trans_b = 1, .alone = 1};
}

/* y (rows,E) = p (rows,S) b (S,E) */
static cpu_gemm weighed(const attention_job *j, int64_t rows) {
    return (cpu_gemm){.m = rows, .n = j->e, .k = j->s, .lda = j->s, .ldb = j->ld, .ldc = j->ld, .batch = 1, .alone = 1};
}

/* y (S,E) += p (rows,S)^T a (rows,E); the first block of queries sets it */
static cpu_gemm gathered(const attention_job *j, int64_t rows, int first) {
    return (cpu_gemm){.m = j->s,
                      .n = j->e,
                      .k = rows,
                      .lda = j->s,
                      .ldb = j->ld,
                      .ldc = j->ld,
                      .batch = 1,
                      .trans_a = 1,
                      .add = !first,
                      .alone = 1};
}

static void product(cpu_gemm g, const float *a, const float *b, float *c, float *scratch) {
    g.a = a;
    g.b = b;
    g.c = c;
    cpu_gemm_run(&g, NULL, scratch);
}

/* ---- rows of a head, e of each d elements, as floats ---- */

/* Where `count` rows from element `at` on can be read; bf16 is widened to `room`, which moves on. */
static const float *rows_in(const attention_job *j, const void *data, int64_t at, int64_t count, float **room) {
    float *dense = *room;
    if (!j->bf16) return (const float *)data + at;
    for (int64_t r = 0; r < count; r++) (void)cpu_row_read(data, 1, at + r * j->d, j->e, dense + r * j->e);
    *room += cpu_line_up(count * j->e);
    return dense;
}

/* Where `count` rows can be computed, until rows_home(). */
static float *rows_out(const attention_job *j, void *data, int64_t at, int64_t count, float **room) {
    float *dense = *room;
    if (!j->bf16) return (float *)data + at;
    *room += cpu_line_up(count * j->e);
    return dense;
}

static void rows_home(const attention_job *j, void *data, int64_t at, int64_t count, const float *dense) {
    for (int64_t r = 0; r < count && j->bf16; r++) cpu_row_store(data, 1, at + r * j->d, j->e, dense + r * j->e);
}

/* Floats of a worker for `blocks` blocks of queries and `heads` heads of keys. */
static int64_t wide_floats(const attention_job *j, int64_t blocks, int64_t heads) {
    if (!j->bf16) return 0;
    return blocks * cpu_line_up(cpu_min(ROWS, j->l) * j->e) + heads * cpu_line_up(j->s * j->e);
}

/* Floats of a worker: `n` matrices of scores, `wide` for rows, then what any of the products needs. */
static int64_t scratch_of(const attention_job *j, int64_t n, int64_t wide) {
    uint64_t most = 0;
    for (int64_t rows = 1; rows <= cpu_min(ROWS, j->l); rows++) { /* the last block has fewer than the others */
        const cpu_gemm all[] = {scores_of(j, rows), weighed(j, rows), gathered(j, rows, 1)};
        for (int i = 0; i < 3; i++) {
            const uint64_t bytes = cpu_gemm_workspace(&all[i], 1);
            most = bytes > most ? bytes : most;
        }
    }
    return cpu_line_up(n * cpu_line_up(ROWS * j->s) + wide + (int64_t)(most / sizeof(float)));
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
    float *room = p + cpu_line_up(ROWS * j->s);
    const float *q = rows_in(j, j->q, at, rows, &room), *k = rows_in(j, j->k, keys, j->s, &room);
    const float *v = rows_in(j, j->v, keys, j->s, &room);
    float *y = rows_out(j, j->out[0], at, rows, &room);
    product(scores_of(j, rows), q, k, p, room);
    for (int64_t r = 0; r < rows; r++) {
        j->out_lse[i * j->l + first + r] = softmax_row(p + r * j->s, j->s, j->scale);
    }
    product(weighed(j, rows), p, v, y, room);
    rows_home(j, j->out[0], at, rows, y);
}

/* p = exp(s - lse), t = p * (t - d) * scale with t = grad v^T at entry. The share of a single key is always 1: t is 0,
 * and no rounding may say otherwise. */
static void score_gradients(const attention_job *j, const float *lse, const float *grad, const float *y, int64_t rows,
                            float *p, float *t) {
    for (int64_t r = 0; r < rows; r++) {
        float *x = p + r * j->s, *g = t + r * j->s;
        const float d = (float)cpu_dot(grad + r * j->ld, y + r * j->ld, j->e);
        gradient_row(x, g, j->s, j->scale, lse[r], d);
        if (j->s == 1) g[0] = 0;
    }
}

/* A head's keys in the backward pass. */
typedef struct head_keys {
    const float *k, *v;
    float *dk, *dv;
} head_keys;

/* Queries [first, first + rows) of head i, from element `at` on. `p`: two matrices of scores; `room`: what is left. */
static void backward_block(const attention_job *j, const head_keys *h, int64_t i, int64_t first, int64_t at, float *p,
                           float *room) {
    const int64_t rows = cpu_min(ROWS, j->l - first);
    float *t = p + cpu_line_up(ROWS * j->s);
    const float *q = rows_in(j, j->q, at, rows, &room), *grad = rows_in(j, j->grad, at, rows, &room);
    const float *y = rows_in(j, j->y, at, rows, &room);
    float *dq = rows_out(j, j->out[0], at, rows, &room);
    product(scores_of(j, rows), q, h->k, p, room);
    product(scores_of(j, rows), grad, h->v, t, room);
    score_gradients(j, j->lse + i * j->l + first, grad, y, rows, p, t);
    product(weighed(j, rows), t, h->k, dq, room);
    product(gathered(j, rows, first == 0), t, q, h->dk, room);
    product(gathered(j, rows, first == 0), p, grad, h->dv, room);
    rows_home(j, j->out[0], at, rows, dq);
}

/* A task is one head of one sample: dk and dv are sums over its queries, block by block. */
static void backward_task(void *ctx, uint64_t task, uint32_t worker) {
    const attention_job *j = ctx;
    const int64_t i = (int64_t)task, column = i % j->heads * j->e, keys = i / j->heads * j->s * j->d + column;
    float *p = j->scratch + worker * j->scratch_floats;
    float *room = p + 2 * cpu_line_up(ROWS * j->s);
    head_keys h;
    h.k = rows_in(j, j->k, keys, j->s, &room);
    h.v = rows_in(j, j->v, keys, j->s, &room);
    h.dk = rows_out(j, j->out[1], keys, j->s, &room);
    h.dv = rows_out(j, j->out[2], keys, j->s, &room);
    for (int64_t first = 0; first < j->l; first += ROWS)
        backward_block(j, &h, i, first, (i / j->heads * j->l + first) * j->d + column, p, room);
    rows_home(j, j->out[1], keys, j->s, h.dk);
    rows_home(j, j->out[2], keys, j->s, h.dv);
}

/* Forward: queries, output, keys and values; backward: queries, output, two gradients; keys, values, their gradients.
 */
static int64_t forward_scratch(const attention_job *j) {
    return scratch_of(j, 1, wide_floats(j, 2, 2));
}

static int64_t backward_scratch(const attention_job *j) {
    return scratch_of(j, 2, wide_floats(j, 4, 4));
}

static int32_t forward_run(const cvr_kernel_args *a, cvr_error *err) {
    (void)err;
    attention_job j = job_of(a);
    j.out[0] = a->outputs[0]->data;
    j.out_lse = a->outputs[1]->data;
    j.scratch_floats = forward_scratch(&j);
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
    j.scratch_floats = backward_scratch(&j);
    if (j.l == 0) { /* no query: nothing is asked of any key */
        for (int i = 1; i < 3; i++)
            memset(j.out[i], 0, (size_t)cpu_numel(a->outputs[i]) * (j.bf16 ? sizeof(uint16_t) : sizeof(float)));
        return CVR_OK;
    }
    cpu_run(a->pool, j.n * j.heads, backward_task, &j);
    return CVR_OK;
}

static uint64_t forward_workspace(const cvr_signature *sig) {
    const attention_job j = shape_of(sig->attrs, sig->inputs[0], sig->inputs[1]);
    return sig->n_workers * (uint64_t)forward_scratch(&j) * sizeof(float);
}

static uint64_t backward_workspace(const cvr_signature *sig) {
    const attention_job j = shape_of(sig->attrs, sig->inputs[0], sig->inputs[1]);
    return sig->n_workers * (uint64_t)backward_scratch(&j) * sizeof(float);
}

/* Queries, keys, values and what is like them are f32 or bf16 alike; lse, the backward pass's input 4, is f32. */
static int32_t supports(const cvr_signature *sig, cvr_error *reason) {
    const uint32_t dtype = sig->inputs[0]->dtype;
    int one = (dtype == CVR_F32 || dtype == CVR_BF16) && sig->outputs[0]->dtype == dtype;
    for (uint32_t i = 0; i < sig->n_inputs; i++)
        one = one && sig->inputs[i]->dtype == (i == 4 ? (uint32_t)CVR_F32 : dtype);
    return one ? CVR_OK : cvr_fail(reason, CVR_ERR_UNSUPPORTED, "tensors of other or several element types");
}

#define ATTENTION_FLAGS (CPU_KERNEL_FLAGS | CVR_KERNEL_BF16)
static const cpu_kernel kernels[] = {
    {"scaled_dot_product_attention", forward_run, forward_workspace, supports, 0, ATTENTION_FLAGS, NULL},
    {"scaled_dot_product_attention_backward", backward_run, backward_workspace, supports, 0, ATTENTION_FLAGS, NULL},
};
const cpu_kernel_table cpu_attention_kernels = {kernels, sizeof kernels / sizeof *kernels};
