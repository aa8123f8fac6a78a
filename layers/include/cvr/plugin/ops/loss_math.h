/*
 * The scalar parts of losses, for every backend: what is done once a class or once a position. Formulas in ops/loss.h.
 */
#ifndef CVR_PLUGIN_OPS_LOSS_MATH_H
#define CVR_PLUGIN_OPS_LOSS_MATH_H

#include <cvr/plugin/ops/loss.h>

#include <math.h>

#ifdef __cplusplus
extern "C" {
#endif

#define CVR_OVERLAP_LEAST 1e-7 /* what a score of overlap_loss, and what it is divided by, is held above */

/* At least so much; what is no number stays so, that the loss tells of it. */
static inline double cvr_overlap_floor(double x, double least) {
    return x < least ? least : x;
}

/* One class of overlap_loss, of its I, P and T: l_c; slopes: how it moves with I and with P. */
static inline double cvr_overlap_class(const cvr_overlap_attrs *a, double both, double predicted, double truth,
                                       double slopes[2]) {
    slopes[0] = slopes[1] = 0;
    if (truth == 0) return 0;
    const double top = both + a->smooth, whole = top + a->alpha * (predicted - both) + a->beta * (truth - both);
    const double bottom = cvr_overlap_floor(whole, CVR_OVERLAP_LEAST), score = top / bottom;
    const double kept = cvr_overlap_floor(score, CVR_OVERLAP_LEAST);
    /* What is held does not move. */
    const double moves = whole > CVR_OVERLAP_LEAST ? score / bottom : 0;
    const double slope = !a->log_loss ? -1 : score > CVR_OVERLAP_LEAST ? -1 / score : 0;
    slopes[0] = slope * (1 / bottom - moves * (1 - a->alpha - a->beta));
    slopes[1] = slope * -moves * a->alpha;
    return a->log_loss ? -log(kept) : 1 - score;
}

/*
 * The end of overlap_loss: sums has I of all classes, then P, then T; `weight` may be NULL. Fills slopes, (2,C), and
 * returns the loss.
 */
static inline float cvr_overlap_end(const cvr_overlap_attrs *a, const double *sums, const float *weight,
                                    int64_t classes, float *slopes) {
    double mean = 0, all = 0, d[2];
    for (int64_t c = 0; c < classes; c++) all += weight ? (double)weight[c] : 1;
    for (int64_t c = 0; c < classes; c++)
        mean += (weight ? (double)weight[c] : 1) / all *
                cvr_overlap_class(a, sums[c], sums[classes + c], sums[2 * classes + c], d);
    /* A power below 1 has no slope at 0 that a number could hold. */
    const double outer = a->gamma == 1 ? 1 : mean > 0 ? a->gamma * pow(mean, a->gamma - 1) : 0;
    for (int64_t c = 0; c < classes; c++) {
        const double share = outer * (weight ? (double)weight[c] : 1) / all;
        (void)cvr_overlap_class(a, sums[c], sums[classes + c], sums[2 * classes + c], d);
        slopes[c] = (float)(share * d[0]);
        slopes[classes + c] = (float)(share * d[1]);
    }
    return (float)(a->gamma == 1 ? mean : pow(cvr_overlap_floor(mean, 0), a->gamma));
}

/* (1 - p)^gamma, with `rest` = 1 - p */
static inline double cvr_focal_easy(double rest, double gamma) {
    return gamma == 0 ? 1 : gamma == 2 ? rest * rest : pow(rest, gamma);
}

/* d/dlog p of -(1 - p)^gamma * log p. Where p is 1 the first term is 0 for every gamma, as log p vanishes with 1 - p.
 */
static inline double cvr_focal_slope(double log_p, double rest, double gamma) {
    const double first = gamma == 0 || rest <= 0 ? 0 : gamma * exp(log_p) * pow(rest, gamma - 1) * log_p;
    return first - cvr_focal_easy(rest, gamma);
}

/* Bits that grow as a number gets smaller, and back. */
static inline uint32_t cvr_falling_bits(float x) {
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits >> 31 ? bits : ~(bits | 0x80000000u);
}

static inline float cvr_of_falling_bits(uint32_t falling) {
    const uint32_t bits = falling >> 31 ? falling : ~falling & 0x7fffffffu;
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

/* The k-th smallest, k from 1, of n numbers from 0 to 2: the least float that k of them do not exceed, found bit by
 * bit, as bits of floats that are not negative grow with the number. */
static inline float cvr_kth_smallest(const float *x, int64_t n, int64_t k) {
    uint32_t low = 0, high = 0x40000000u; /* 2 */
    float at;
    while (low < high) {
        const uint32_t middle = low + (high - low) / 2;
        int64_t count = 0;
        memcpy(&at, &middle, sizeof at);
        for (int64_t i = 0; i < n; i++) count += x[i] <= at;
        if (count >= k)
            high = middle;
        else
            low = middle + 1;
    }
    memcpy(&at, &low, sizeof at);
    return at;
}

#ifdef __cplusplus
}
#endif

#endif
