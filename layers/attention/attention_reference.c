/* Reference kernels of attention: ops/attention.h as it stands there, in double. */
#include "attention_family.h"

/* One head of one sample: rows of `d` floats, of which the head has `e`. */
typedef struct head {
    int64_t l, s, d, e;
    const float *q, *k, *v;
    double scale;
} head;

static head head_of(const cvr_kernel_args *a, int64_t n, int64_t h) {
    const cvr_tensor *q = a->inputs[0], *k = a->inputs[1], *v = a->inputs[2];
    const int64_t d = q->shape[2], e = d / ((const cvr_attention_attrs *)a->attrs)->num_heads, s = k->shape[1];
    return (head){q->shape[1],
                  s,
                  d,
                  e,
                  (const float *)q->data + n * q->shape[1] * d + h * e,
                  (const float *)k->data + n * s * d + h * e,
                  (const float *)v->data + n * s * d + h * e,
                  1 / sqrt((double)e)};
}

static double dot(const float *x, const float *y, int64_t n) {
    double sum = 0;
    for (int64_t i = 0; i < n; i++) sum += (double)x[i] * y[i];
    return sum;
}

static double score(const head *t, int64_t l, int64_t j) {
    return dot(t->q + l * t->d, t->k + j * t->d, t->e) * t->scale;
}

/* log(sum of exp(s)), from the largest */
static double log_sum_exp(const head *t, int64_t l) {
    double max = score(t, l, 0), sum = 0;
    for (int64_t j = 1; j < t->s; j++) {
        const double s = score(t, l, j);
        max = s > max ? s : max;
    }
    for (int64_t j = 0; j < t->s; j++) sum += exp(score(t, l, j) - max);
    return max + log(sum);
}

static void forward_head(const head *t, float *y, float *lse) {
    for (int64_t l = 0; l < t->l; l++) {
        const double whole = log_sum_exp(t, l);
        lse[l] = (float)whole;
        for (int64_t e = 0; e < t->e; e++) {
            double sum = 0;
            for (int64_t j = 0; j < t->s; j++) sum += exp(score(t, l, j) - whole) * t->v[j * t->d + e];
            y[l * t->d + e] = (float)sum;
        }
    }
}

/* y: (N,L,D), lse: (N,heads,L) */
int32_t attention_run(const cvr_kernel_args *a, cvr_error *err) {
    (void)err;
    const int64_t heads = ((const cvr_attention_attrs *)a->attrs)->num_heads;
    for (int64_t i = 0; i < a->inputs[0]->shape[0] * heads; i++) {
        const head t = head_of(a, i / heads, i % heads);
        const int64_t at = i / heads * t.l * t.d + i % heads * t.e;
        forward_head(&t, (float *)a->outputs[0]->data + at, (float *)a->outputs[1]->data + i * t.l);
    }
    return CVR_OK;
}

/* What backward reads and writes beside q, k and v: rows of d floats, too. */
typedef struct head_back {
    const float *grad;
    float *dq, *dk, *dv;
    double *p, *t; /* (L,S) */
} head_back;

/* p, and t[l,j] = p[l,j] * (g[l,j] - d[l]) * scale with g = grad v^T, d[l] = sum over j of p[l,j] * g[l,j] */
static void score_gradients(const head *t, const head_back *b) {
    for (int64_t l = 0; l < t->l; l++) {
        const double whole = log_sum_exp(t, l);
        double *p = b->p + l * t->s, *g = b->t + l * t->s, d = 0;
        for (int64_t j = 0; j < t->s; j++) {
            p[j] = exp(score(t, l, j) - whole);
            g[j] = dot(b->grad + l * t->d, t->v + j * t->d, t->e);
            d += p[j] * g[j];
        }
        for (int64_t j = 0; j < t->s; j++) g[j] = p[j] * (g[j] - d) * t->scale;
    }
}

static void backward_head(const head *t, const head_back *b) {
    score_gradients(t, b);
    for (int64_t e = 0; e < t->e; e++) {
        for (int64_t l = 0; l < t->l; l++) {
            double dq = 0;
            for (int64_t j = 0; j < t->s; j++) dq += b->t[l * t->s + j] * t->k[j * t->d + e];
            b->dq[l * t->d + e] = (float)dq;
        }
        for (int64_t j = 0; j < t->s; j++) {
            double dk = 0, dv = 0;
            for (int64_t l = 0; l < t->l; l++) {
                dk += b->t[l * t->s + j] * t->q[l * t->d + e];
                dv += b->p[l * t->s + j] * b->grad[l * t->d + e];
            }
            b->dk[j * t->d + e] = (float)dk;
            b->dv[j * t->d + e] = (float)dv;
        }
    }
}

int32_t attention_backward_run(const cvr_kernel_args *a, cvr_error *err) {
    (void)err;
    const int64_t heads = ((const cvr_attention_attrs *)a->attrs)->num_heads;
    for (int64_t i = 0; i < a->inputs[0]->shape[0] * heads; i++) {
        const head t = head_of(a, i / heads, i % heads);
        const int64_t rows = i / heads * t.l * t.d + i % heads * t.e, keys = i / heads * t.s * t.d + i % heads * t.e;
        double *p = a->workspace;
        const head_back b = {(const float *)a->inputs[5]->data + rows,
                             (float *)a->outputs[0]->data + rows,
                             (float *)a->outputs[1]->data + keys,
                             (float *)a->outputs[2]->data + keys,
                             p,
                             p + t.l * t.s};
        backward_head(&t, &b);
    }
    return CVR_OK;
}

/* p and t of one head. */
uint64_t attention_backward_workspace(const cvr_signature *sig) {
    return 2 * (uint64_t)sig->inputs[0]->shape[1] * (uint64_t)sig->inputs[1]->shape[1] * sizeof(double);
}
