/*
 * The reference kernels of lovasz_loss (formulas in ops/loss.h). Errors of a class are sorted by their bits: keys hold
 * the error above and the position below, and go through four passes of a stable radix sort.
 */
#include "lovasz.h"

typedef struct lovasz {
    loss_scores s;
    const float *x;
    const int64_t *target;
    int64_t ignore_index;
    float *slope;           /* like x */
    uint64_t *keys, *other; /* (positions) each */
    float *lse;             /* (positions) */
} lovasz;

uint64_t loss_lovasz_workspace(const cvr_signature *sig) {
    const cvr_tensor *const target = sig->inputs[1];
    return (uint64_t)cvr_numel(target->rank, target->shape) * (2 * sizeof(uint64_t) + sizeof(float));
}

static lovasz lovasz_open(const cvr_kernel_args *a) {
    lovasz l = {.s = loss_scores_of(a->inputs[0]),
                .x = a->inputs[0]->data,
                .target = a->inputs[1]->data,
                .ignore_index = ((const cvr_lovasz_attrs *)a->attrs)->ignore_index,
                .slope = a->outputs[1]->data,
                .keys = a->workspace};
    const int64_t n = l.s.n * l.s.positions;
    l.other = l.keys + n;
    l.lse = (float *)(l.other + n);
    return l;
}

/* Larger errors have smaller keys. */
static uint64_t key_of(float error, int64_t position) {
    return (uint64_t)cvr_falling_bits(error) << 32 | (uint64_t)position;
}

/* By the upper 32 bits; an even number of passes ends where it began. */
static void sort_keys(uint64_t *keys, uint64_t *other, int64_t n) {
    for (uint32_t shift = 32; shift < 64; shift += 8) {
        int64_t start[257] = {0};
        for (int64_t i = 0; i < n; i++) start[(keys[i] >> shift & 255) + 1]++;
        for (int i = 0; i < 256; i++) start[i + 1] += start[i];
        for (int64_t i = 0; i < n; i++) other[start[keys[i] >> shift & 255]++] = keys[i];
        uint64_t *const swap = keys;
        keys = other;
        other = swap;
    }
}

static const float *scores_at(const lovasz *l, int64_t p) {
    return l->x + loss_position_at(&l->s, p);
}

static double probability(const lovasz *l, int64_t p, int64_t c) {
    return exp(scores_at(l, p)[c * l->s.step] - (double)l->lse[p]);
}

/* |[target = c] - p_c|, or with one class 1 - x * (2 * target - 1) */
static float error_of(const lovasz *l, int64_t p, int64_t c) {
    const int is = loss_is_class(l->target[p], c, l->s.classes);
    if (l->s.classes == 1) return (float)(1 - (double)*scores_at(l, p) * (is ? 1 : -1));
    return (float)fabs(is - probability(l, p, c));
}

/* Keys of all positions that count, in order; `truth`: how many of them are the class. */
static int64_t gather(const lovasz *l, int64_t c, int64_t *truth) {
    int64_t n = 0;
    *truth = 0;
    for (int64_t p = 0; p < l->s.n * l->s.positions; p++) {
        if (l->target[p] == l->ignore_index) continue;
        l->keys[n++] = key_of(error_of(l, p, c), p);
        *truth += loss_is_class(l->target[p], c, l->s.classes);
    }
    return n;
}

/*
 * The class's loss. Position by position the Jaccard loss 1 - (T - right) / (T + wrong) grows, where `right` of the
 * class and `wrong` of all others have been passed; slopes are by p_c, with one class by x.
 */
static double class_loss(const lovasz *l, int64_t c, int64_t n, int64_t truth) {
    const int hinge = l->s.classes == 1;
    double before = 0, loss = 0;
    int64_t passed = 0, wrong = 0;
    sort_keys(l->keys, l->other, n);
    for (int64_t i = 0; i < n; i++) {
        const int64_t p = (int64_t)(l->keys[i] & UINT32_MAX);
        const int is = loss_is_class(l->target[p], c, l->s.classes);
        const double error = cvr_of_falling_bits((uint32_t)(l->keys[i] >> 32));
        passed += is;
        wrong += !is;
        const double jaccard = 1 - (double)(truth - passed) / (double)(truth + wrong), growth = jaccard - before;
        before = jaccard;
        if (hinge && error <= 0) continue;
        loss += error * growth;
        l->slope[loss_position_at(&l->s, p) + c * l->s.step] = (float)(is ? -growth : growth);
    }
    return loss;
}

/* Slopes by p become slopes by x: dx_c = p_c * (d_c - sum of p_k * d_k). */
static void through_softmax(const lovasz *l, double scale) {
    for (int64_t p = 0; p < l->s.n * l->s.positions; p++) {
        float *d = l->slope + loss_position_at(&l->s, p);
        double mean = 0;
        for (int64_t c = 0; c < l->s.classes; c++) mean += probability(l, p, c) * d[c * l->s.step];
        for (int64_t c = 0; c < l->s.classes; c++)
            d[c * l->s.step] = (float)(scale * probability(l, p, c) * (d[c * l->s.step] - mean));
    }
}

int32_t loss_lovasz_run(const cvr_kernel_args *a, cvr_error *err) {
    const lovasz l = lovasz_open(a);
    const float *weight = loss_optional(a, 2);
    double loss = 0, weights = 0;
    CVR_TRY(loss_check_targets("lovasz_loss", a, l.ignore_index, err));
    memset(l.slope, 0, (uint64_t)(l.s.n * l.s.positions * l.s.classes) * sizeof(float));
    for (int64_t p = 0; p < l.s.n * l.s.positions; p++) l.lse[p] = (float)loss_normaliser(scores_at(&l, p), &l.s);
    for (int64_t c = 0; c < l.s.classes; c++) {
        int64_t truth;
        const double w = loss_weight_of(weight, c);
        const int64_t n = gather(&l, c, &truth);
        if (l.s.classes > 1 && truth == 0) continue;
        loss += w * class_loss(&l, c, n, truth);
        weights += w;
        for (int64_t p = 0; w != 1 && p < l.s.n * l.s.positions; p++)
            l.slope[loss_position_at(&l.s, p) + c * l.s.step] *= (float)w;
    }
    const double scale = weights > 0 ? 1 / weights : 0;
    if (l.s.classes > 1)
        through_softmax(&l, scale);
    else
        for (int64_t i = 0; i < l.s.n * l.s.positions; i++) l.slope[i] *= (float)scale;
    *(float *)a->outputs[0]->data = (float)(scale * loss);
    return CVR_OK;
}

int32_t loss_lovasz_backward_run(const cvr_kernel_args *a, cvr_error *err) {
    const float *slope = a->inputs[0]->data, grad = *(const float *)a->inputs[1]->data;
    float *dx = a->outputs[0]->data;
    const int64_t n = cvr_numel(a->inputs[0]->rank, a->inputs[0]->shape);
    (void)err;
    for (int64_t i = 0; i < n; i++) dx[i] = grad * slope[i];
    return CVR_OK;
}
