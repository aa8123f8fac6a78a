/*
 * scaled_dot_product_attention_int8. Keys are filters for the first product and values for the second, of queries and
 * of weights as pixels. Both are packed once for each head, as bytes minus 128, which makes i8 of them:
 *     sum of (q - zero) * (k - zero) = sum of q * (k - 128) - zero * sum of (k - zero) + (128 - zero) * sum of q
 *     sum of p * (v - zero) = sum of p * (v - 128) + (128 - zero) * sum of p
 * Of the first line the middle is a bias of the key, and the last is one number for a whole row, on which no difference
 * within the row depends. A task has up to 48 queries of a head, from their sums to their results.
 */
#include "int8.h"

typedef struct attention {
    const cvr_kernel_args *a;
    cvr_requant q;
    int64_t n, l, s, d, heads, e;   /* as in ops/attention.h; e: features of a head */
    int64_t e_fours, s_fours;       /* rounded up to fours, */
    int64_t e_filters, s_filters;   /* and to vectors */
    int64_t blocks;                 /* of queries */
    int64_t keys, values, biases;   /* bytes of a head's packs */
    char *packed, *scratch;         /* by head and by worker */
    int64_t queries, sums, weights; /* bytes of a worker's parts, behind its pointers (block) */
} attention;

#define POINTERS ((int64_t)(2 * INT8_BLOCK * sizeof(void *)))

static int64_t up(int64_t n, int64_t to) {
    return cpu_ceil_div(n, to) * to;
}

static attention attention_of(const void *attributes, const cvr_tensor *const *inputs) {
    const cvr_attention_int8_attrs *attrs = attributes;
    const cvr_tensor *q = inputs[0];
    attention t = {.q = attrs->q,
                   .n = q->shape[0],
                   .l = q->shape[1],
                   .s = inputs[1]->shape[1],
                   .d = q->shape[2],
                   .heads = attrs->attention.num_heads,
                   .e = q->shape[2] / attrs->attention.num_heads};
    t.e_fours = up(t.e, 4);
    t.s_fours = up(t.s, 4);
    t.e_filters = up(t.e, INT8_LANES);
    t.s_filters = up(t.s, INT8_LANES);
    t.blocks = cpu_ceil_div(t.l, INT8_BLOCK);
    t.keys = up(t.e_fours * t.s_filters, 64);
    t.values = up(t.s_fours * t.e_filters, 64);
    t.biases = up((t.s_filters > t.e_filters ? t.s_filters : t.e_filters) * 4, 64);
    t.queries = up(INT8_BLOCK * t.e_fours, 64);
    t.sums = up(INT8_BLOCK * (t.s_filters > t.e_filters ? t.s_filters : t.e_filters) * 4, 64);
    t.weights = up(INT8_BLOCK * t.s_fours, 64);
    return t;
}

static int64_t head_bytes(const attention *t) {
    return t->keys + t->values + 2 * t->biases;
}

static int64_t worker_bytes(const attention *t) {
    return POINTERS + t->queries + t->sums + t->weights + 64;
}

/* A head's packs, one after the other. */
typedef struct packs {
    int8_t *keys, *values;
    int32_t *key_bias, *value_bias; /* the latter 0 */
} packs;

static packs packs_of(const attention *t, int64_t head) {
    char *at = t->packed + head * head_bytes(t);
    return (packs){(int8_t *)at, (int8_t *)at + t->keys, (int32_t *)(void *)(at + t->keys + t->values),
                   (int32_t *)(void *)(at + t->keys + t->values + t->biases)};
}

/* ---- packing ---- */

/* Of `filters` rows with `depth` bytes each, which are `row` and `step` apart, in panels (int8.h). */
static void pack_panels(const uint8_t *from, int64_t filters, int64_t depth, int64_t row, int64_t step, int8_t *to) {
    const int64_t padded = up(filters, INT8_LANES);
    for (int64_t first = 0; first < padded; first += INT8_PANEL)
        for (int64_t at = 0; at < depth; at += 4)
            for (int64_t k = first; k < cpu_min(first + INT8_PANEL, padded); k++)
                for (int64_t b = at; b < at + 4; b++)
                    *to++ = k < filters && b < depth ? (int8_t)((int32_t)from[k * row + b * step] - 128) : 0;
}

static void pack_head(void *ctx, uint64_t task, uint32_t worker) {
    const attention *t = ctx;
    const packs p = packs_of(t, (int64_t)task);
    const int64_t first = (int64_t)task / t->heads * t->s * t->d + (int64_t)task % t->heads * t->e;
    const uint8_t *k = (const uint8_t *)t->a->inputs[1]->data + first,
                  *v = (const uint8_t *)t->a->inputs[2]->data + first;
    const int32_t zero = (int32_t)t->q.x_zero;
    (void)worker;
    pack_panels(k, t->s, t->e, t->d, 1, p.keys);
    pack_panels(v, t->e, t->s, 1, t->d, p.values);
    for (int64_t j = 0; j < t->s_filters; j++) {
        int32_t sum = 0;
        for (int64_t e = 0; e < t->e && j < t->s; e++) sum += (int32_t)k[j * t->d + e] - zero;
        p.key_bias[j] = -zero * sum;
    }
    memset(p.value_bias, 0, (size_t)t->biases);
}

/* ---- products ---- */

/* What a worker has for m queries of a head. */
typedef struct block {
    const uint8_t **x; /* (m): rows of the first operand: queries, then weights */
    int32_t **sums;    /* (m): where the results of a panel go */
    uint8_t *queries;  /* (m, e_fours) */
    int32_t *products; /* (m, s_filters), then (m, e_filters) */
    uint8_t *weights;  /* (m, s_fours) */
} block;

static block block_of(const attention *t, uint32_t worker) {
    char *at = t->scratch + worker * worker_bytes(t);
    uint8_t *queries = (uint8_t *)at + POINTERS;
    return (block){.x = (const uint8_t **)(void *)at,
                   .sums = (int32_t **)(void *)(at + POINTERS / 2),
                   .queries = queries,
                   .products = (int32_t *)(void *)(queries + t->queries),
                   .weights = queries + t->queries + t->sums};
}

/* products (m, filters) = x (m, depth) times the panels, one after the other; x's rows are whole fours. */
static void multiply(const block *b, const int8_t *panels, const int32_t *bias, int64_t filters, int64_t depth,
                     int64_t m) {
    int8_tile t = {.taps = 1, .quads = depth / 4};
    for (int64_t first = 0; first < filters; first += INT8_PANEL) {
        const int64_t width = cpu_min(INT8_PANEL, filters - first);
        const int32_t vectors = (int32_t)(width / INT8_LANES), tall = cpu_int8_micro.rows[vectors - 1];
        t.weights = panels + first * depth;
        t.bias = bias + first;
        t.n = width;
        for (int64_t i = 0; i < m; i++) b->sums[i] = b->products + i * filters + first;
        for (int64_t i = 0; i < m; i += tall) {
            t.x = b->x + i;
            t.sums = b->sums + i;
            t.m = (int32_t)cpu_min(tall, m - i);
            cpu_int8_micro.tile(&t, vectors);
        }
    }
}

/* A row of sums as weights; returns their sum. */
static int32_t weigh(const int32_t *sums, int64_t n, float decay, uint8_t *p) {
    int32_t most = INT32_MIN, all = 0;
    for (int64_t j = 0; j < n; j++) most = sums[j] > most ? sums[j] : most;
    CPU_INDEPENDENT
    for (int64_t j = 0; j < n; j++) p[j] = cvr_attention_int8_weight(most - sums[j], decay);
    for (int64_t j = 0; j < n; j++) all += p[j];
    return all;
}

/* products = queries times keys; the queries are copied, so that their rows are whole fours. */
static void score(const attention *t, const block *b, const packs *p, const uint8_t *q, int64_t m) {
    for (int64_t i = 0; i < m; i++) {
        uint8_t *row = b->queries + i * t->e_fours;
        memcpy(row, q + i * t->d, (size_t)t->e);
        memset(row + t->e, 0, (size_t)(t->e_fours - t->e));
        b->x[i] = row;
    }
    multiply(b, p->keys, p->key_bias, t->s_filters, t->e_fours, m);
}

/* products = weights, made of the products before, times values; totals (m) = the weights' sums. */
static void mix(const attention *t, const block *b, const packs *p, int64_t m, int32_t *totals) {
    const float decay = cvr_attention_int8_decay(&t->q, t->e);
    for (int64_t i = 0; i < m; i++) {
        uint8_t *row = b->weights + i * t->s_fours;
        totals[i] = weigh(b->products + i * t->s_filters, t->s, decay, row);
        memset(row + t->s, 0, (size_t)(t->s_fours - t->s));
        b->x[i] = row;
    }
    multiply(b, p->values, p->value_bias, t->e_filters, t->s_fours, m);
}

static void attend(void *ctx, uint64_t task, uint32_t worker) {
    const attention *t = ctx;
    const int64_t head = (int64_t)task / t->blocks, first = (int64_t)task % t->blocks * INT8_BLOCK,
                  m = cpu_min(INT8_BLOCK, t->l - first),
                  at = (head / t->heads * t->l + first) * t->d + head % t->heads * t->e;
    uint8_t *y = (uint8_t *)t->a->outputs[0]->data + at;
    const packs p = packs_of(t, head);
    const block b = block_of(t, worker);
    const float ratio = (float)t->q.x_scale / (float)t->q.y_scale;
    const int32_t shift = 128 - (int32_t)t->q.x_zero;
    int32_t totals[INT8_BLOCK];
    score(t, &b, &p, (const uint8_t *)t->a->inputs[0]->data + at, m);
    mix(t, &b, &p, m, totals);
    for (int64_t i = 0; i < m; i++)
        for (int64_t e = 0; e < t->e; e++)
            y[i * t->d + e] = int8_requantise(b.products[i * t->e_filters + e] + shift * totals[i],
                                              ratio / (float)totals[i], (int32_t)t->q.y_zero);
    if (cpu_int8_micro.done) cpu_int8_micro.done();
}

static int32_t run(const cvr_kernel_args *a, cvr_error *err) {
    attention t = attention_of(a->attrs, a->inputs);
    (void)err;
    t.a = a;
    t.packed = a->workspace;
    t.scratch = t.packed + t.n * t.heads * head_bytes(&t);
    cpu_run(a->pool, t.n * t.heads, pack_head, &t);
    cpu_run(a->pool, t.n * t.heads * t.blocks, attend, &t);
    return CVR_OK;
}

static uint64_t workspace(const cvr_signature *sig) {
    const attention t = attention_of(sig->attrs, sig->inputs);
    return (uint64_t)(t.n * t.heads * head_bytes(&t) + (int64_t)sig->n_workers * worker_bytes(&t));
}

static const cpu_kernel kernels[] = {
    {"scaled_dot_product_attention_int8", run, workspace, NULL, 0, CPU_KERNEL_FLAGS, NULL},
};
const cpu_kernel_table cpu_int8_attention_kernels = {kernels, sizeof kernels / sizeof *kernels};
