/* Reference kernels of attention: ops/attention.h as it stands there, in double. */
#include "attention.h"

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
static int32_t forward_run(const cvr_kernel_args *a, cvr_error *err) {
    (void)err;
    const int64_t heads = ((const cvr_attention_attrs *)a->attrs)->num_heads;
    for (int64_t i = 0; i < a->inputs[0]->shape[0] * heads; i++) {
        const head t = head_of(a, i / heads, i % heads);
        const int64_t at = i / heads * t.l * t.d + i % heads * t.e;
        forward_head(&t, (float *)a->outputs[0]->data + at, (float *)a->outputs[1]->data + i * t.l);
    }
    return CVR_OK;
}

/* What backward reads and writes beside q, k and v: rows of d floats, too; lse dense. */
typedef struct head_back {
    const float *y, *lse, *grad;
    float *dq, *dk, *dv;
} head_back;

/* t[l,j] = p[l,j] * (grad[l] . v[j] - grad[l] . y[l]) * scale; *p gets p[l,j] */
static double score_gradient(const head *t, const head_back *b, int64_t l, int64_t j, double *p) {
    const float *grad = b->grad + l * t->d;
    *p = exp(score(t, l, j) - b->lse[l]);
    return *p * (dot(grad, t->v + j * t->d, t->e) - dot(grad, b->y + l * t->d, t->e)) * t->scale;
}

static void backward_head(const head *t, const head_back *b) {
    double p;
    for (int64_t l = 0; l < t->l; l++) {
        for (int64_t e = 0; e < t->e; e++) {
            double dq = 0;
            for (int64_t j = 0; j < t->s; j++) dq += score_gradient(t, b, l, j, &p) * t->k[j * t->d + e];
            b->dq[l * t->d + e] = (float)dq;
        }
    }
    for (int64_t j = 0; j < t->s; j++) {
        for (int64_t e = 0; e < t->e; e++) {
            double dk = 0, dv = 0;
            for (int64_t l = 0; l < t->l; l++) {
                dk += score_gradient(t, b, l, j, &p) * t->q[l * t->d + e];
                dv += p * b->grad[l * t->d + e];
            }
            b->dk[j * t->d + e] = (float)dk;
            b->dv[j * t->d + e] = (float)dv;
        }
    }
}

static int32_t backward_run(const cvr_kernel_args *a, cvr_error *err) {
    (void)err;
    const int64_t heads = ((const cvr_attention_attrs *)a->attrs)->num_heads;
    for (int64_t i = 0; i < a->inputs[0]->shape[0] * heads; i++) {
        const head t = head_of(a, i / heads, i % heads);
        const int64_t rows = i / heads * t.l * t.d + i % heads * t.e, keys = i / heads * t.s * t.d + i % heads * t.e;
        const head_back b = {(const float *)a->inputs[3]->data + rows, (const float *)a->inputs[4]->data + i * t.l,
                             (const float *)a->inputs[5]->data + rows, (float *)a->outputs[0]->data + rows,
                             (float *)a->outputs[1]->data + keys,      (float *)a->outputs[2]->data + keys};
        backward_head(&t, &b);
    }
    return CVR_OK;
}

static const cvr_cpu_fn forward_fn = {sizeof forward_fn, forward_run};
static const cvr_cpu_fn backward_fn = {sizeof backward_fn, backward_run};
static const cvr_kernel_desc forward_kernel = {.struct_size = sizeof forward_kernel,
                                               .op = "scaled_dot_product_attention",
                                               .backend = "reference",
                                               .payload_kind = CVR_PAYLOAD_CPU_FN,
                                               .payload = &forward_fn,
                                               .op_version = 1,
                                               .flags = CVR_KERNEL_DETERMINISTIC | CVR_KERNEL_RECORDABLE};
static const cvr_kernel_desc backward_kernel = {.struct_size = sizeof backward_kernel,
                                                .op = "scaled_dot_product_attention_backward",
                                                .backend = "reference",
                                                .payload_kind = CVR_PAYLOAD_CPU_FN,
                                                .payload = &backward_fn,
                                                .op_version = 1,
                                                .flags = CVR_KERNEL_DETERMINISTIC | CVR_KERNEL_RECORDABLE};
const cvr_kernel_desc *const attention_reference_kernels[ATTENTION_OPS] = {&forward_kernel, &backward_kernel};
