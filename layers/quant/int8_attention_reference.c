/* scaled_dot_product_attention_int8 as <cvr/plugin/ops/quant.h> says it, row by row. */
#include "quant_family.h"

/* One query of a head: rows of `d` bytes, of which the head has `e`. */
typedef struct query {
    const uint8_t *q, *k, *v;
    int64_t s, d, e;
    int32_t zero;
    float decay, ratio;
} query;

/* The sums of the row, and the largest. */
static int32_t scores_of(const query *t, int32_t *scores) {
    int32_t most = INT32_MIN;
    for (int64_t j = 0; j < t->s; j++) {
        int32_t sum = 0;
        for (int64_t e = 0; e < t->e; e++)
            sum += ((int32_t)t->q[e] - t->zero) * ((int32_t)t->k[j * t->d + e] - t->zero);
        scores[j] = sum;
        most = sum > most ? sum : most;
    }
    return most;
}

static void attend(const query *t, int32_t *scores, int64_t y_zero, uint8_t *y) {
    const int32_t most = scores_of(t, scores);
    int32_t all = 0;
    for (int64_t j = 0; j < t->s; j++) {
        scores[j] = cvr_attention_int8_weight(most - scores[j], t->decay);
        all += scores[j];
    }
    for (int64_t e = 0; e < t->e; e++) {
        int32_t sum = 0;
        for (int64_t j = 0; j < t->s; j++) sum += scores[j] * ((int32_t)t->v[j * t->d + e] - t->zero);
        y[e] = cvr_requant_round((float)sum * (t->ratio / (float)all), y_zero);
    }
}

int32_t int8_attention_run(const cvr_kernel_args *a, cvr_error *err) {
    const cvr_attention_int8_attrs *attrs = a->attrs;
    const int64_t *shape = a->inputs[0]->shape, heads = attrs->attention.num_heads, s = a->inputs[1]->shape[1];
    query t = {.s = s,
               .d = shape[2],
               .e = shape[2] / heads,
               .zero = (int32_t)attrs->q.x_zero,
               .decay = cvr_attention_int8_decay(&attrs->q, shape[2] / heads),
               .ratio = (float)attrs->q.x_scale / (float)attrs->q.y_scale};
    (void)err;
    for (int64_t n = 0; n < shape[0]; n++)
        for (int64_t l = 0; l < shape[1]; l++)
            for (int64_t h = 0; h < heads; h++) {
                const int64_t at = (n * shape[1] + l) * t.d + h * t.e, keys = n * s * t.d + h * t.e;
                t.q = (const uint8_t *)a->inputs[0]->data + at;
                t.k = (const uint8_t *)a->inputs[1]->data + keys;
                t.v = (const uint8_t *)a->inputs[2]->data + keys;
                attend(&t, a->workspace, attrs->q.y_zero, (uint8_t *)a->outputs[0]->data + at);
            }
    return CVR_OK;
}

uint64_t int8_attention_workspace(const cvr_signature *sig) {
    return (uint64_t)sig->inputs[1]->shape[1] * sizeof(int32_t);
}
