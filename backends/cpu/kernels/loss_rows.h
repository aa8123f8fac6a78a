/*
 * What kernels of losses over classes share: a row of scores for every position, side by side, and its target (see
 * <cvr/plugin/ops/loss.h>). Blocks of rows are tasks.
 */
#ifndef CVR_BACKENDS_CPU_LOSS_ROWS_H
#define CVR_BACKENDS_CPU_LOSS_ROWS_H

#include "cpu_loops.h"
#include "cpu_math.h"

#define LOSS_MOST_CLASSES 1024 /* a row's numbers on a stack */

typedef struct loss_rows {
    int64_t n, classes, block, blocks;
    int64_t ignore_index;
    const float *x, *weight; /* (n, classes); (classes), or NULL */
    const int64_t *target;   /* (n) */
} loss_rows;

/* Sizes alone. */
static inline loss_rows loss_rows_of(const cvr_tensor *x) {
    loss_rows r = {.classes = x->shape[1]};
    r.n = cpu_numel(x) / r.classes;
    r.block = cpu_max(1, CPU_SPAN / r.classes);
    r.blocks = cpu_ceil_div(r.n, r.block);
    return r;
}

static inline loss_rows loss_rows_open(const cvr_kernel_args *a, int64_t ignore_index) {
    loss_rows r = loss_rows_of(a->inputs[0]);
    r.x = a->inputs[0]->data;
    r.target = a->inputs[1]->data;
    r.ignore_index = ignore_index;
    return r;
}

static inline int64_t loss_rows_end(const loss_rows *r, uint64_t task) {
    return cpu_min(((int64_t)task + 1) * r->block, r->n);
}

/* The class's place in a row; with one class, where the target is 0 or 1, there is one place. */
static inline int64_t loss_place(const loss_rows *r, int64_t target) {
    return r->classes == 1 ? 0 : target;
}

static inline float loss_weight(const loss_rows *r, int64_t c) {
    return r->weight ? r->weight[c] : 1;
}

/* Before any score is read by it, every target is known to be a class, one of `classes`. */
static inline int32_t loss_rows_check(const char *op, const int64_t *target, int64_t n, int64_t classes,
                                      int64_t ignore_index, cvr_error *err) {
    for (int64_t p = 0; p < n; p++) {
        const int64_t t = target[p];
        if ((t < 0 || t >= classes) && t != ignore_index)
            return cvr_fail(
                err, CVR_ERR_INVALID,
                "%s: target %lld at position %lld, but there are %lld classes (0 to %lld); check the labels", op,
                (long long)t, (long long)p, (long long)classes, (long long)classes - 1);
    }
    return CVR_OK;
}

static inline int32_t loss_rows_check_all(const char *op, const loss_rows *r, cvr_error *err) {
    return loss_rows_check(op, r->target, r->n, r->classes == 1 ? 2 : r->classes, r->ignore_index, err);
}

/* Rows side by side, and not too long for a stack: `supports` of these kernels. */
static inline int32_t loss_rows_support(const cvr_signature *sig, cvr_error *reason) {
    const cvr_tensor *const x = sig->inputs[0];
    if (x->rank != 3 && x->shape[1] <= LOSS_MOST_CLASSES) return CVR_OK;
    return cvr_fail(reason, CVR_ERR_UNSUPPORTED, "scores of (N, C, L), or more than %d classes", LOSS_MOST_CLASSES);
}

/* log(1 + exp(x)) */
static inline double loss_softplus(float x) {
    return log1p(exp(-fabs((double)x))) + (x > 0 ? (double)x : 0);
}

/* log(sum of exp(x)), with one class log(1 + exp(x)) */
static inline double loss_row_lse(const float *x, int64_t n) {
    if (n == 1) return loss_softplus(*x);
    const float max = cpu_max_of(x, n);
    return (double)max + log(cpu_sum_exp(x, max, n));
}

/* Scores that are looked at at once: all of a few rows, in one loop however short a row is. */
#define LOSS_SPAN 2048

static inline int64_t loss_span_rows(const loss_rows *r) {
    return LOSS_SPAN / r->classes;
}

/* p: softmax of rows `from` to `to`, exp(x - lse), where lse has a number for each row of all. May be x's own memory.
 */
static inline void loss_rows_softmax(const loss_rows *r, int64_t from, int64_t to, const float *lse, float *p) {
    const int64_t classes = r->classes, n = (to - from) * classes;
    const float *const x = r->x + from * classes;
    for (int64_t i = 0; i < to - from; i++) {
        const float shift = lse[from + i];
        CPU_INDEPENDENT
        for (int64_t c = 0; c < classes; c++) p[i * classes + c] = x[i * classes + c] - shift;
    }
    for (int64_t k = 0; k < n; k++) p[k] = cpu_exp(p[k]);
}

#endif
