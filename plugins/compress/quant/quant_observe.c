/*
 * The range that 256 integers are spread over. Least and greatest; their moving average; or, of a histogram, the range
 * with the least mean squared error, that without the outermost values, or that whose 256 levels tell the least of the
 * histogram apart (Migacz, 8-bit Inference with TensorRT, 2017).
 */
#include "quant.h"

#include <math.h>

#define LEVELS 256
#define CANDIDATES 96

static double middle(const quant_value *v, int bin) {
    return v->min + (v->max - v->min) * ((double)bin + 0.5) / QUANT_BINS;
}

/* Sum of squared errors where [low, high] has all the levels. Values within a bin are taken to be spread evenly, so
 * that what rounding costs is a twelfth of a step's square. */
static double squared_error(const quant_value *v, double low, double high) {
    const double step = (high - low) / (LEVELS - 1), rounding = step * step / 12;
    double sum = 0;
    for (int i = 0; i < QUANT_BINS; i++) {
        const double x = middle(v, i), beyond = x < low ? low - x : x > high ? x - high : 0;
        sum += (double)v->bins[i] * (beyond > 0 ? beyond * beyond : rounding);
    }
    return sum;
}

/* Each end is drawn in by itself, in turn, while the error falls. */
static void least_error(const quant_value *v, double *low, double *high) {
    const double least = v->min < 0 ? v->min : 0, most = v->max > 0 ? v->max : 0;
    double best;
    *low = least;
    *high = most;
    best = squared_error(v, least, most);
    for (int turn = 0; turn < 2; turn++) {
        for (int i = CANDIDATES / 5; i <= CANDIDATES && most > 0; i++) {
            const double end = most * i / CANDIDATES, error = squared_error(v, *low, end);
            if (error < best) best = error, *high = end;
        }
        for (int i = CANDIDATES / 5; i <= CANDIDATES && least < 0; i++) {
            const double end = least * i / CANDIDATES, error = squared_error(v, end, *high);
            if (error < best) best = error, *low = end;
        }
    }
}

/* Leaves out (1 - share) / 2 of the values at either end, where there are values of that sign. */
static void without_outermost(const quant_value *v, double percentile, double *low, double *high) {
    uint64_t all = 0, below = 0;
    for (int i = 0; i < QUANT_BINS; i++) all += v->bins[i];
    const double tail = (double)all * (1 - percentile / 100) / (v->min < 0 && v->max > 0 ? 2 : 1);
    const double width = (v->max - v->min) / QUANT_BINS;
    *low = v->min;
    *high = v->max;
    for (int i = 0; i < QUANT_BINS; i++) {
        below += v->bins[i];
        if ((double)below > tail) {
            if (v->min < 0) *low = v->min + width * i;
            break;
        }
    }
    below = 0;
    for (int i = QUANT_BINS; i-- > 0;) {
        below += v->bins[i];
        if ((double)below > tail) {
            if (v->max > 0) *high = v->min + width * (i + 1);
            break;
        }
    }
}

/* KL divergence of the first n bins of |x|, what lies beyond added to the last, from what `levels` merged ones tell.
 * The latter stand for their own share alone, so that what is cut off costs something also where the last bin is full.
 */
static double divergence(const double *bins, int n, int levels, double beyond, double total) {
    double sum = 0;
    for (int k = 0; k < levels; k++) {
        const int first = (int)((int64_t)n * k / levels), end = (int)((int64_t)n * (k + 1) / levels);
        double mass = 0;
        int filled = 0;
        for (int i = first; i < end; i++) {
            mass += bins[i];
            filled += bins[i] > 0;
        }
        for (int i = first; i < end; i++) {
            const double p = (bins[i] + (i == n - 1 ? beyond : 0)) / total;
            const double q = filled && bins[i] > 0 ? mass / filled / total : 0;
            if (p > 0) sum += q > 0 ? p * log(p / q) : p * 20; /* what no level stands for costs dearly */
        }
    }
    return sum;
}

static void least_divergence(const quant_value *v, double *low, double *high) {
    const double reach = fmax(fabs(v->min), fabs(v->max));
    const int levels = v->min < 0 && v->max > 0 ? LEVELS / 2 : LEVELS; /* of one sign */
    double bins[QUANT_BINS] = {0}, total = 0, best = INFINITY, beyond = 0;
    int at = QUANT_BINS;
    for (int i = 0; i < QUANT_BINS; i++) {
        const double x = fabs(middle(v, i));
        const int to = reach > 0 ? (int)(x / reach * QUANT_BINS) : 0;
        bins[to < QUANT_BINS ? to : QUANT_BINS - 1] += (double)v->bins[i];
        total += (double)v->bins[i];
    }
    bins[0] = bins[1]; /* exact zeros, of which ReLU leaves many, are no sign of small values */
    total = 0;
    for (int i = 0; i < QUANT_BINS; i++) total += bins[i];
    for (int n = QUANT_BINS; n >= levels && total > 0; n--) {
        const double d = total > beyond ? divergence(bins, n, levels, beyond, total) : INFINITY;
        if (d < best) best = d, at = n;
        beyond += bins[n - 1];
    }
    *low = fmax(v->min, -reach * at / QUANT_BINS);
    *high = fmin(v->max, reach * at / QUANT_BINS);
}

void quant_choose_range(const quant_settings *s, const quant_value *v, double *low, double *high) {
    *low = v->min;
    *high = v->max;
    if (s->observer == QUANT_AVERAGE) {
        *low = v->low;
        *high = v->high;
    }
    if (!v->bins || v->max <= v->min) return; /* one value alone has no histogram */
    if (s->observer == QUANT_HISTOGRAM) least_error(v, low, high);
    if (s->observer == QUANT_PERCENTILE) without_outermost(v, s->percentile, low, high);
    if (s->observer == QUANT_ENTROPY) least_divergence(v, low, high);
}
