/* Reference kernels of layer and group normalisation, in double. Formulas in ops/norm.h. */
#include "norm_family.h"

/* Where an element lies in x and in weight and bias, in floats, and which group it belongs to. */
typedef struct place {
    int64_t x, weight, group;
} place;

/* Axes as a set: bit k stands for axis k. */
static uint32_t axes_within(const norm_walk *w) {
    return (1u << w->end) - (1u << w->begin);
}

static uint32_t axes_outside(const norm_walk *w) {
    return ((1u << w->rank) - 1) & ~axes_within(w);
}

/* How many indices the axes have together. */
static int64_t count(const norm_walk *w, uint32_t axes) {
    int64_t n = 1;
    for (int64_t k = 0; k < w->rank; k++)
        if (axes >> k & 1) n *= w->shape[k];
    return n;
}

/* What index i of the axes adds to an element's place; the last axis is the fastest. */
static place place_of(const norm_walk *w, uint32_t axes, int64_t i) {
    const uint32_t outside = axes_outside(w);
    int64_t group_step = 1;
    place p = {0, 0, 0};
    for (int64_t k = w->rank - 1; k >= 0; k--) {
        const int64_t index = axes >> k & 1 ? i % w->shape[k] : 0;
        if (axes >> k & 1) i /= w->shape[k];
        p.x += index * w->step[k];
        p.weight += index * w->weight_step[k];
        if (!(outside >> k & 1)) continue;
        p.group += index * group_step;
        group_step *= w->shape[k];
    }
    return p;
}

void norm_walk_run(const cvr_kernel_args *a, const norm_walk *w, double eps) {
    const uint32_t within = axes_within(w), outside = axes_outside(w);
    const int64_t size = count(w, within);
    const float *weight = norm_in(a, 1), *bias = norm_in(a, 2);
    for (int64_t g = 0; g < count(w, outside); g++) {
        const place start = place_of(w, outside, g);
        const float *x = (const float *)a->inputs[0]->data + start.x;
        float *y = (float *)a->outputs[0]->data + start.x;
        double sum = 0, square = 0;
        for (int64_t e = 0; e < size; e++) sum += x[place_of(w, within, e).x];
        const double mean = sum / (double)size;
        for (int64_t e = 0; e < size; e++) {
            const double d = x[place_of(w, within, e).x] - mean;
            square += d * d;
        }
        const double invstd = 1 / sqrt(square / (double)size + eps);
        ((float *)a->outputs[1]->data)[g] = (float)mean;
        ((float *)a->outputs[2]->data)[g] = (float)invstd;
        for (int64_t e = 0; e < size; e++) {
            const place p = place_of(w, within, e);
            const int64_t k = start.weight + p.weight;
            y[p.x] = (float)((x[p.x] - mean) * invstd * (weight ? weight[k] : 1) + (bias ? bias[k] : 0));
        }
    }
}

/* dx = invstd * (e - mean(e) - xhat * mean(e * xhat)), e = grad * weight, of one group */
static void backward_group(const cvr_kernel_args *a, const norm_walk *w, int64_t g) {
    const uint32_t within = axes_within(w);
    const int64_t size = count(w, within);
    const place start = place_of(w, axes_outside(w), g);
    const float *x = (const float *)a->inputs[0]->data + start.x, *dy = (const float *)a->inputs[1]->data + start.x,
                *weight = norm_in(a, 2);
    const double mean = norm_in(a, 3)[g], invstd = norm_in(a, 4)[g];
    float *dx = (float *)a->outputs[0]->data + start.x;
    double sum = 0, dot = 0;
    for (int64_t e = 0; e < size; e++) {
        const place p = place_of(w, within, e);
        const double scaled = dy[p.x] * (weight ? (double)weight[start.weight + p.weight] : 1);
        sum += scaled;
        dot += scaled * (x[p.x] - mean) * invstd;
    }
    for (int64_t e = 0; e < size; e++) {
        const place p = place_of(w, within, e);
        const double scaled = dy[p.x] * (weight ? (double)weight[start.weight + p.weight] : 1),
                     xhat = (x[p.x] - mean) * invstd;
        dx[p.x] = (float)(invstd * (scaled - (sum + xhat * dot) / (double)size));
    }
}

/* dweight = sum of grad * xhat, dbias = sum of grad, over the axes that weight does not have; dx may be x or grad. */
void norm_walk_backward(const cvr_kernel_args *a, const norm_walk *w) {
    const float *x = a->inputs[0]->data, *dy = a->inputs[1]->data, *mean = norm_in(a, 3), *invstd = norm_in(a, 4);
    uint32_t of_weight = 0;
    for (int64_t k = 0; k < w->rank; k++)
        if (w->weight_step[k] != 0) of_weight |= 1u << k;
    const uint32_t summed = ((1u << w->rank) - 1) & ~of_weight;
    for (int64_t i = 0; i < count(w, of_weight); i++) {
        const place p = place_of(w, of_weight, i);
        double dweight = 0, dbias = 0;
        for (int64_t k = 0; k < count(w, summed); k++) {
            const place q = place_of(w, summed, k);
            const int64_t at = p.x + q.x, g = p.group + q.group;
            dbias += dy[at];
            dweight += (double)dy[at] * ((x[at] - (double)mean[g]) * invstd[g]);
        }
        ((float *)a->outputs[1]->data)[p.weight] = (float)dweight;
        ((float *)a->outputs[2]->data)[p.weight] = (float)dbias;
    }
    for (int64_t g = 0; g < count(w, axes_outside(w)); g++) backward_group(a, w, g);
}
