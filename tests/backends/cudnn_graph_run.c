/* See cudnn_graph_run.h. Plain loops over small tensors; every tensor is held in f32 while the graph runs. */
#include "cudnn_graph_run.h"

#include <criterion/criterion.h>
#include <cvr/plugin/bf16.h>
#include <cvr/plugin/f16.h>
#include <stdlib.h>

/* A tensor's numbers, by (n, c, h, w), in NHWC order. An axis of size 1 repeats. */
typedef struct numbers {
    const int64_t *dims;
    float *data;
} numbers;

static int64_t count(const int64_t *dims) {
    return dims[0] * dims[1] * dims[2] * dims[3];
}

static float *at(const numbers *x, int64_t n, int64_t c, int64_t h, int64_t w) {
    const int64_t *d = x->dims;
    n = d[0] == 1 ? 0 : n, c = d[1] == 1 ? 0 : c, h = d[2] == 1 ? 0 : h, w = d[3] == 1 ? 0 : w;
    return &x->data[((n * d[2] + h) * d[3] + w) * d[1] + c];
}

static void load(const numbers *x, const cudnn_tensor *t, const void *from) {
    for (int64_t i = 0; i < count(t->dims); i++) {
        const uint16_t half = t->dtype == CVR_F32 ? 0 : ((const uint16_t *)from)[i];
        x->data[i] = t->dtype == CVR_F32   ? ((const float *)from)[i]
                     : t->dtype == CVR_F16 ? cvr_f32_of_f16(half)
                                           : cvr_f32_of_bf16(half);
    }
}

/* Also what passes on is rounded, where it is not f32. */
static void store(const numbers *x, const cudnn_tensor *t, void *to) {
    for (int64_t i = 0; i < count(t->dims); i++) {
        if (t->dtype == CVR_F32) ((float *)to)[i] = x->data[i];
        if (t->dtype == CVR_F16) ((uint16_t *)to)[i] = cvr_f16_of_f32(x->data[i]);
        if (t->dtype == CVR_BF16) ((uint16_t *)to)[i] = cvr_bf16_of_f32(x->data[i]);
    }
}

/* One multiply-add of a convolution: which of the three tensors it goes to says the kind. */
static void add_product(uint32_t kind, float *x, float *weight, float *y) {
    if (kind == CUDNN_CONV) *y += *x * *weight;
    if (kind == CUDNN_CONV_DATA) *x += *y * *weight;
    if (kind == CUDNN_CONV_WEIGHT) *weight += *x * *y;
}

/* All taps and channels of one result position. */
static void conv_position(const cudnn_step *s, const numbers t[3], const int64_t p[4]) {
    const int64_t *weight = t[1].dims, groups = t[0].dims[1] / weight[1],
                  first = p[1] / (weight[0] / groups) * weight[1];
    for (int64_t r = 0; r < weight[2]; r++) {
        for (int64_t q = 0; q < weight[3]; q++) {
            const int64_t h = p[2] * s->stride[0] - s->padding[0] + r * s->dilation[0];
            const int64_t w = p[3] * s->stride[1] - s->padding[1] + q * s->dilation[1];
            if (h < 0 || w < 0 || h >= t[0].dims[2] || w >= t[0].dims[3]) continue;
            for (int64_t c = 0; c < weight[1]; c++)
                add_product(s->kind, at(&t[0], p[0], first + c, h, w),
                            &t[1].data[((p[1] * weight[2] + r) * weight[3] + q) * weight[1] + c],
                            at(&t[2], p[0], p[1], p[2], p[3]));
        }
    }
}

/* Calls fn for each position of a tensor of these sizes. */
static void each(const int64_t *dims, void (*fn)(const cudnn_step *, const numbers *, const int64_t *),
                 const cudnn_step *s, const numbers *t) {
    int64_t p[4];
    for (p[0] = 0; p[0] < dims[0]; p[0]++)
        for (p[2] = 0; p[2] < dims[2]; p[2]++)
            for (p[3] = 0; p[3] < dims[3]; p[3]++)
                for (p[1] = 0; p[1] < dims[1]; p[1]++) fn(s, t, p);
}

static void run_conv(const cudnn_step *s, const numbers t[3]) {
    static const int made[] = {[CUDNN_CONV] = 2, [CUDNN_CONV_DATA] = 0, [CUDNN_CONV_WEIGHT] = 1};
    const numbers *to = &t[made[s->kind]];
    memset(to->data, 0, (size_t)count(to->dims) * 4);
    each(t[2].dims, conv_position, s, t);
}

static void pointwise_position(const cudnn_step *s, const numbers *t, const int64_t *p) {
    const float a = *at(&t[0], p[0], p[1], p[2], p[3]);
    const float b = s->tensors[1] == NO_TENSOR ? 0 : *at(&t[1], p[0], p[1], p[2], p[3]);
    float v = a;
    if (s->mode == CUDNN_POINTWISE_ADD) v = a + b;
    if (s->mode == CUDNN_POINTWISE_SUB) v = a - b;
    if (s->mode == CUDNN_POINTWISE_MUL) v = a * b;
    if (s->mode == CUDNN_POINTWISE_RELU_BWD) v = b > 0 && (s->upper <= 0 || b < s->upper) ? a : 0;
    if (s->mode == CUDNN_POINTWISE_RELU_FWD) v = a < 0 ? 0 : s->upper > 0 && a > s->upper ? s->upper : a;
    *at(&t[2], p[0], p[1], p[2], p[3]) = v;
}

static void stats_position(const cudnn_step *s, const numbers *t, const int64_t *p) {
    const float v = *at(&t[0], p[0], p[1], p[2], p[3]);
    (void)s;
    *at(&t[1], 0, p[1], 0, 0) += v;
    *at(&t[2], 0, p[1], 0, 0) += v * v;
}

static void sum_position(const cudnn_step *s, const numbers *t, const int64_t *p) {
    (void)s;
    *at(&t[1], 0, p[1], 0, 0) += *at(&t[0], p[0], p[1], p[2], p[3]);
}

static void run_step(const cudnn_step *s, const numbers t[3]) {
    if (s->kind <= CUDNN_CONV_WEIGHT) {
        run_conv(s, t);
    } else if (s->kind == CUDNN_POINTWISE) {
        each(t[2].dims, pointwise_position, s, t);
    } else if (s->kind == CUDNN_SUM) {
        memset(t[1].data, 0, (size_t)count(t[1].dims) * 4);
        each(t[0].dims, sum_position, s, t);
    } else {
        for (int i = 1; i < 3; i++) memset(t[i].data, 0, (size_t)count(t[i].dims) * 4);
        each(t[0].dims, stats_position, s, t);
    }
}

void cudnn_graph_run(const cudnn_graph *g, void *const *addresses) {
    numbers all[CUDNN_GRAPH_TENSORS];
    uint32_t n = 0;
    for (uint32_t i = 0; i < g->n_tensors; i++) {
        all[i] = (numbers){g->tensors[i].dims, malloc((size_t)count(g->tensors[i].dims) * 4)};
        cr_assert(all[i].data);
        if (g->tensors[i].place != CUDNN_AT_NONE) load(&all[i], &g->tensors[i], addresses[n++]);
    }
    for (uint32_t i = 0; i < g->n_steps; i++) {
        numbers t[3] = {{NULL, NULL}};
        for (int k = 0; k < 3; k++)
            if (g->steps[i].tensors[k] != NO_TENSOR) t[k] = all[g->steps[i].tensors[k]];
        run_step(&g->steps[i], t);
    }
    n = 0;
    for (uint32_t i = 0; i < g->n_tensors; i++) {
        if (g->tensors[i].place != CUDNN_AT_NONE) store(&all[i], &g->tensors[i], addresses[n++]);
        free(all[i].data);
    }
}
