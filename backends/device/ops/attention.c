/*
 * Scaled dot-product attention as products and softmax, with the scores of all heads in the workspace: two (or backward
 * four) products for every head of every sample in one dispatch each. Heads lie side by side in (N,L,D).
 */
#include "device_ops.h"

#include <cvr/plugin/ops/attention.h>

/* q (N,L,D), k and v (N,S,D), heads of E = D / heads numbers. */
typedef struct attention {
    uint32_t n, heads, l, s, d, e;
    cvr_tensor p, t; /* (N,heads,L,S) f32 in the workspace; t backward only */
    void *rest;      /* of the workspace */
} attention;

static cvr_tensor scores_at(const attention *o, void *data) {
    return (cvr_tensor){.struct_size = sizeof(cvr_tensor),
                        .dtype = CVR_F32,
                        .rank = 3,
                        .shape = {(int64_t)o->n * o->heads, o->l, o->s, 1, 1, 1},
                        .data = data};
}

static uint64_t scores_bytes(const attention *o) {
    return device_padded(UINT64_C(4) * o->n * o->heads * o->l * o->s);
}

static attention attention_of(const void *attrs, const cvr_tensor *q, const cvr_tensor *k, char *workspace) {
    attention o = {.n = (uint32_t)q->shape[0],
                   .heads = (uint32_t)((const cvr_attention_attrs *)attrs)->num_heads,
                   .l = (uint32_t)q->shape[1],
                   .s = (uint32_t)k->shape[1],
                   .d = (uint32_t)q->shape[2]};
    o.e = o.d / o.heads;
    o.p = scores_at(&o, workspace);
    o.t = scores_at(&o, workspace ? workspace + scores_bytes(&o) : NULL);
    o.rest = workspace ? workspace + 2 * scores_bytes(&o) : NULL;
    return o;
}

/* ---- the four products ---- */

static void set_heads(const attention *o, device_product *d) {
    d->p.batches = o->n;
    d->p.zs = o->heads;
}

/* (L,S) scores = factor * x y^T over E, x (N,L,D), y (N,S,D) */
static device_product scores(const attention *o, const cvr_tensor *x, const cvr_tensor *y, const cvr_tensor *to,
                             double factor) {
    device_product d = device_product_of(x, y, to);
    product_params *p = &d.p;
    set_heads(o, &d);
    d.a_along_depth = d.b_along_depth = 1;
    p->rows = o->l, p->columns = o->s, p->depth = o->e;
    p->a_pixel = o->d, p->a_z = o->e, p->a_batch = o->l * o->d;
    p->b_column = o->d, p->b_channel = 1, p->b_z = o->e, p->b_batch = o->s * o->d;
    p->c_row = o->s, p->c_z = o->l * o->s, p->c_batch = o->heads * o->l * o->s;
    p->factor = (float)factor;
    device_product_plan(&d);
    return d;
}

/* (L,E) rows of `to` = factor * scores x over S, x (N,S,D); or with `turned` (S,E) = factor * scores^T x over L. */
static device_product mixed(const attention *o, const cvr_tensor *weights, const cvr_tensor *x, const cvr_tensor *to,
                            int turned, double factor) {
    device_product d = device_product_of(weights, x, to);
    product_params *p = &d.p;
    set_heads(o, &d);
    d.a_along_depth = !turned;
    p->rows = turned ? o->s : o->l, p->columns = o->e, p->depth = turned ? o->l : o->s;
    p->a_pixel = turned ? 1 : o->s, p->a_channel = turned ? o->s : 1;
    p->a_z = o->l * o->s, p->a_batch = o->heads * o->l * o->s;
    p->b_channel = o->d, p->b_z = o->e, p->b_batch = p->depth * o->d;
    p->c_row = o->d, p->c_z = o->e, p->c_batch = p->rows * o->d;
    p->factor = (float)factor;
    device_product_plan(&d);
    return d;
}

/* ---- forward ---- */

static double scale_of(const attention *o) {
    return 1 / sqrt((double)o->e);
}

static uint64_t larger(uint64_t a, uint64_t b) {
    return a > b ? a : b;
}

static uint64_t forward_workspace(const cvr_signature *sig) {
    const attention o = attention_of(sig->attrs, sig->inputs[0], sig->inputs[1], NULL);
    const device_product s = scores(&o, sig->inputs[0], sig->inputs[1], &o.p, 1);
    const device_product y = mixed(&o, &o.p, sig->inputs[2], sig->outputs[0], 0, 1);
    return 2 * scores_bytes(&o) + larger(device_product_workspace(&s), device_product_workspace(&y));
}

/* q, k, v -> y, lse */
static int32_t record_forward(const cvr_kernel_args *a, const cvr_recorder *r, cvr_error *err) {
    const attention o = attention_of(a->attrs, a->inputs[0], a->inputs[1], (char *)a->workspace);
    device_product s = scores(&o, a->inputs[0], a->inputs[1], &o.p, scale_of(&o));
    device_product y = mixed(&o, &o.p, a->inputs[2], a->outputs[0], 0, 1);
    CVR_TRY(device_product_run(&s, r, o.rest, err));
    CVR_TRY(device_softmax_run(r, &o.p, NULL, &o.p, ROWS_SOFTMAX, a->outputs[1], err));
    return device_product_run(&y, r, o.rest, err);
}

/* ---- backward ---- */

static uint64_t backward_workspace(const cvr_signature *sig) {
    const attention o = attention_of(sig->attrs, sig->inputs[0], sig->inputs[1], NULL);
    const cvr_tensor *const *in = sig->inputs, *const *out = sig->outputs;
    const device_product all[] = {scores(&o, in[0], in[1], &o.p, 1), scores(&o, in[5], in[2], &o.t, 1),
                                  mixed(&o, &o.t, in[1], out[0], 0, 1), mixed(&o, &o.t, in[0], out[1], 1, 1),
                                  mixed(&o, &o.p, in[5], out[2], 1, 1)};
    uint64_t most = 0;
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) most = larger(most, device_product_workspace(&all[i]));
    return 2 * scores_bytes(&o) + most;
}

/* p = exp(s - lse) */
static int32_t probabilities(const attention *o, const cvr_tensor *lse, const cvr_recorder *r, cvr_error *err) {
    device_program p = device_program_begin();
    cvr_tensor rows = *lse;
    rows.rank = 3;
    rows.shape[0] = o->p.shape[0], rows.shape[1] = o->l, rows.shape[2] = 1;
    const uint32_t s = device_input(&p, &o->p);
    const uint32_t less = cvr_step2(&p.steps, CVR_STEP_SUB, s, device_input(&p, &rows));
    (void)cvr_step1(&p.steps, CVR_STEP_EXP, less);
    return device_program_run(&p, r, &o->p, err);
}

/* q, k, v, y, lse, grad -> dq, dk, dv: with g = grad v^T, t = p * (g - sum of p * g) */
static int32_t record_backward(const cvr_kernel_args *a, const cvr_recorder *r, cvr_error *err) {
    const cvr_tensor *q = a->inputs[0], *k = a->inputs[1], *v = a->inputs[2], *grad = a->inputs[5];
    const attention o = attention_of(a->attrs, q, k, (char *)a->workspace);
    device_product s = scores(&o, q, k, &o.p, scale_of(&o)), g = scores(&o, grad, v, &o.t, 1);
    device_product dq = mixed(&o, &o.t, k, a->outputs[0], 0, scale_of(&o));
    device_product dk = mixed(&o, &o.t, q, a->outputs[1], 1, scale_of(&o));
    device_product dv = mixed(&o, &o.p, grad, a->outputs[2], 1, 1);
    CVR_TRY(device_product_run(&s, r, o.rest, err));
    CVR_TRY(probabilities(&o, a->inputs[4], r, err));
    CVR_TRY(device_product_run(&g, r, o.rest, err));
    CVR_TRY(device_softmax_run(r, &o.p, &o.t, &o.t, ROWS_SOFTMAX_BACKWARD, NULL, err));
    CVR_TRY(device_product_run(&dq, r, o.rest, err));
    CVR_TRY(device_product_run(&dk, r, o.rest, err));
    return device_product_run(&dv, r, o.rest, err);
}

/* Scores are counted as any tensor. */
static int32_t scores_fit(const cvr_signature *sig, cvr_error *reason) {
    const attention o = attention_of(sig->attrs, sig->inputs[0], sig->inputs[1], NULL);
    if ((double)o.n * o.heads * o.l * o.s > INT32_MAX)
        return cvr_fail(reason, CVR_ERR_UNSUPPORTED, "more than 2^31 scores");
    return device_supports(sig, reason);
}

const device_op device_attention_ops[] = {
    DEVICE_OP("scaled_dot_product_attention", record_forward, .supports = scores_fit, .workspace = forward_workspace),
    DEVICE_OP("scaled_dot_product_attention_backward", record_backward, .supports = scores_fit,
              .workspace = backward_workspace),
    {.op = NULL}};
