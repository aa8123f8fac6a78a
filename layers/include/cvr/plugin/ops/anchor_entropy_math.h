/*
 * The parts of anchor_cross_entropy (ops/detect_loss.h) that every backend shares, so that all keep the same rows to
 * the bit: the loss of a row, and which rows of background are the hardest of a picture. Compile with
 * -ffp-contract=off: a fused product would round otherwise.
 */
#ifndef CVR_PLUGIN_OPS_ANCHOR_ENTROPY_MATH_H
#define CVR_PLUGIN_OPS_ANCHOR_ENTROPY_MATH_H

#include <cvr/plugin/ops/detect_loss.h>

#include <math.h>
#include <string.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ---- one row ---- */

#define CVR_ENTROPY_LANES 8
#define CVR_ENTROPY_SHIFT 6755399441055744.0 /* 1.5 * 2^52: what is added to it is rounded to a whole number */

/*
 * exp(x) of an x <= 0, NaN for NaN, without a branch, so that loops over it vectorise: x = n * ln 2 + r, and the Taylor
 * series of exp(r), |r| <= ln 2 / 2. The relative error is below 1e-11, a thousandth of what an f32 can hold. Below
 * -708 it is 0.
 */
static inline double cvr_entropy_exp(double x) {
    const double held = x < -708 ? -708 : x, shifted = held * 1.4426950408889634 + CVR_ENTROPY_SHIFT;
    const double n = shifted - CVR_ENTROPY_SHIFT;
    const double r = held - n * 0.6931471803691238 - n * 1.9082149292705877e-10;
    const double high = 1.0 / 720 + r * (1.0 / 5040 + r * (1.0 / 40320 + r * (1.0 / 362880)));
    const double p = 1 + r * (1 + r * (1.0 / 2 + r * (1.0 / 6 + r * (1.0 / 24 + r * (1.0 / 120 + r * high)))));
    uint64_t bits;
    double power;
    memcpy(&bits, &shifted, sizeof bits);
    bits = (bits + 1023) << 52; /* 2^n: the last bits of `shifted` are n */
    memcpy(&power, &bits, sizeof power);
    return x < -708 ? 0 : p * power;
}

/* log(sum of exp(x)). Sums are kept in lanes, so that their order is the same for any instruction set. */
static inline double cvr_entropy_log_sum_exp(const float *x, int64_t n) {
    const int64_t whole = n / CVR_ENTROPY_LANES * CVR_ENTROPY_LANES;
    float most[CVR_ENTROPY_LANES], rest[CVR_ENTROPY_LANES];
    double lane[CVR_ENTROPY_LANES], max, sum = 0;
    for (int k = 0; k < CVR_ENTROPY_LANES; k++) {
        most[k] = rest[k] = -INFINITY;
        lane[k] = 0;
    }
    for (int64_t i = whole; i < n; i++) rest[i - whole] = x[i];
    for (int64_t i = 0; i < whole; i += CVR_ENTROPY_LANES)
        for (int k = 0; k < CVR_ENTROPY_LANES; k++) most[k] = x[i + k] > most[k] ? x[i + k] : most[k];
    max = -INFINITY;
    for (int k = 0; k < CVR_ENTROPY_LANES; k++) {
        max = most[k] > max ? most[k] : max;
        max = rest[k] > max ? rest[k] : max;
    }
    if (max == -INFINITY) max = 0; /* nothing above it: -inf, or NaN, comes out by itself */
    for (int64_t i = 0; i < whole; i += CVR_ENTROPY_LANES)
        for (int k = 0; k < CVR_ENTROPY_LANES; k++) lane[k] += cvr_entropy_exp(x[i + k] - max);
    for (int k = 0; k < CVR_ENTROPY_LANES; k++) lane[k] += cvr_entropy_exp(rest[k] - max);
    for (int k = 0; k < CVR_ENTROPY_LANES; k++) sum += lane[k];
    return max + log(sum);
}

/* A whole number that grows with the loss; NaN above all, as it has to be seen. 0 is no row of background. */
static inline uint32_t cvr_entropy_hardness(float loss) {
    uint32_t bits;
    if (loss != loss) return UINT32_MAX;
    memcpy(&bits, &loss, sizeof bits);
    return bits >> 31 ? (~bits ? ~bits : 1) : bits | 0x80000000u;
}

/* dx_k = scale * keep * (exp(x_k - lse) - [k = target]) of a row that counts `keep` times */
static inline void cvr_entropy_slope(const float *x, int64_t classes, int64_t target, float lse, int keep, double scale,
                                     float *dx) {
    scale *= keep;
    for (int64_t k = 0; k < classes; k++) dx[k] = keep ? (float)(scale * (exp(x[k] - (double)lse) - (k == target))) : 0;
}

/* ---- the rows of a picture ---- */

/* The k-th largest of n numbers, k from 1: the largest that k of them reach, bit by bit from the highest. */
static inline uint32_t cvr_entropy_kth_largest(const uint32_t *x, int64_t n, int64_t k) {
    uint32_t bound = 0;
    for (uint32_t bit = 1u << 31; bit; bit >>= 1) {
        int64_t count = 0;
        for (int64_t i = 0; i < n; i++) count += x[i] >= (bound | bit);
        if (count >= k) bound |= bit;
    }
    return bound;
}

/*
 * keep = 1 for the `wanted` hardest rows of background, equal ones by row; all where `wanted` is below 0. Rows with an
 * object have 1 before. Those past the background's number are taken from them, the first ones, which so count twice:
 * torchvision's loss sorts them behind the background.
 */
static inline void cvr_entropy_keep_hardest(const uint32_t *hard, int64_t rows, int64_t wanted, uint8_t *keep) {
    int64_t background = 0, above = 0, equal;
    for (int64_t i = 0; i < rows; i++) background += hard[i] > 0;
    for (int64_t i = 0, missing = wanted - background; i < rows && missing > 0; i++)
        if (keep[i]) keep[i] = 2, missing--;
    if (wanted < 0 || wanted > background) wanted = background;
    if (wanted < 1) return;
    const uint32_t bound = cvr_entropy_kth_largest(hard, rows, wanted);
    for (int64_t i = 0; i < rows; i++) above += hard[i] > bound;
    equal = wanted - above;
    for (int64_t i = 0; i < rows; i++) {
        if (hard[i] < bound || (hard[i] == bound && equal-- <= 0)) continue;
        keep[i] = 1;
    }
}

/* Rows `from` to `to` of all: what each has to say before its picture decides which are kept. */
static inline void cvr_entropy_open_rows(const float *x, const int64_t *target, int64_t from, int64_t to,
                                         int64_t classes, float *lse, uint8_t *keep, uint32_t *hard) {
    for (int64_t i = from; i < to; i++) {
        lse[i] = (float)cvr_entropy_log_sum_exp(x + i * classes, classes);
        keep[i] = target[i] > 0;
        hard[i] = target[i] == 0 ? cvr_entropy_hardness(lse[i] - x[i * classes]) : 0;
    }
}

/* One picture: how often each row counts; returns its sum, and how many rows have an object. x (A,K) */
static inline double cvr_entropy_picture(const float *x, const int64_t *target, int64_t rows, int64_t classes,
                                         double negatives, const float *lse, const uint32_t *hard, uint8_t *keep,
                                         int64_t *positives) {
    double sum = 0;
    *positives = 0;
    for (int64_t i = 0; i < rows; i++) *positives += target[i] > 0;
    const double most = negatives < 0 ? -1 : ceil(fmin(negatives * (double)*positives, (double)rows));
    cvr_entropy_keep_hardest(hard, rows, (int64_t)most, keep);
    for (int64_t i = 0; i < rows; i++)
        if (keep[i]) sum += keep[i] * ((double)lse[i] - x[i * classes + target[i]]);
    return sum;
}

#ifdef __cplusplus
}
#endif

#endif
