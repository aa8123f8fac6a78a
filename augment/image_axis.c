/*
 * The weights of a bilinear or bicubic resampling, as torch and Pillow have them: a filter that antialias widens.
 */
#include "image_axis.h"
#include <math.h>

/* The triangle filter. */
static double hat(double x) {
    const double a = fabs(x);
    return a < 1 ? 1 - a : 0;
}

/* Keys' cubic with a = -1/2. */
static double cubic(double x) {
    const double a = fabs(x);
    if (a < 1) return (1.5 * a - 2.5) * a * a + 1;
    return a < 2 ? ((-0.5 * a + 2.5) * a - 4) * a + 2 : 0;
}

/* With antialias the filter is stretched by the step between outputs, where that is more than a pixel. */
static double stretch_of(const image_span *s) {
    const double scale = s->length / (double)s->out;
    return scale >= 1 ? scale : 1;
}

/* How far the filter reaches to either side, in pixels. */
static double support_of(const image_span *s, int64_t interpolation) {
    return stretch_of(s) * (interpolation == INTERPOLATION_BICUBIC ? 2 : 1);
}

/* The inputs under the filter of output i, which is centred on `*center`. */
static void antialias_range(const image_span *s, int64_t interpolation, int64_t i, double *center, int64_t *lo,
                            int64_t *hi) {
    const double support = support_of(s, interpolation);
    *center = s->start + s->length / (double)s->out * ((double)i + 0.5);
    *lo = (int64_t)(*center - support + 0.5);
    *hi = (int64_t)(*center + support + 0.5);
    if (*lo < 0) *lo = 0;
    if (*hi > s->in) *hi = s->in;
    if (*lo >= s->in) *lo = s->in - 1;
}

static void antialias_row(image_axis *a, const image_span *s, int64_t interpolation, int64_t i) {
    double (*const filter)(double) = interpolation == INTERPOLATION_BICUBIC ? cubic : hat;
    const double stretch = stretch_of(s);
    double *const w = a->exact + i * a->taps;
    double sum = 0, center;
    int64_t lo, hi;
    antialias_range(s, interpolation, i, &center, &lo, &hi);
    if (hi - lo > a->taps) hi = lo + a->taps;
    a->first[i] = lo;
    a->count[i] = hi - lo;
    for (int64_t k = 0; k < hi - lo; k++) sum += w[k] = filter(((double)(lo + k) - center + 0.5) / stretch);
    for (int64_t k = 0; k < hi - lo && sum != 0; k++) w[k] /= sum;
}

/* Without: the two neighbours of the centre, held inside the picture. */
static double linear_at(const image_span *s, int64_t i) {
    return fmax((double)s->in / (double)s->out * ((double)i + 0.5) - 0.5, 0);
}

static int64_t linear_first(const image_span *s, int64_t i) {
    const int64_t at = (int64_t)linear_at(s, i);
    return at < s->in - 1 ? at : s->in - 1;
}

static void linear_row(image_axis *a, const image_span *s, int64_t i) {
    const int64_t lo = linear_first(s, i);
    const double right = fmin(linear_at(s, i) - (double)lo, 1);
    double *const w = a->exact + i * a->taps;
    a->first[i] = lo;
    a->count[i] = lo + 1 < s->in ? 2 : 1;
    w[0] = a->count[i] == 2 ? 1 - right : 1;
    if (a->count[i] == 2) w[1] = right;
}

int64_t image_nearest(int64_t i, int64_t in, int64_t out) {
    if (in == out) return i;
    if (out == 2 * in) return i / 2;
    const int64_t at = (int64_t)floorf((float)i * ((float)in / (float)out));
    return at < in - 1 ? at : in - 1;
}

image_span image_span_all(int64_t in, int64_t out) {
    return (image_span){0, (double)in, in, 0, out, 0, out};
}

void image_span_source(const image_span *s, int64_t interpolation, int64_t antialias, int64_t *lo, int64_t *hi) {
    const int64_t last = s->from + s->n - 1;
    double center;
    int64_t unused;
    if (s->in == s->out && s->start == 0) {
        *lo = s->from;
        *hi = last + 1;
    } else if (interpolation == INTERPOLATION_NEAREST) {
        *lo = image_nearest(s->from, s->in, s->out);
        *hi = image_nearest(last, s->in, s->out) + 1;
    } else if (antialias) {
        antialias_range(s, interpolation, s->from, &center, lo, &unused);
        antialias_range(s, interpolation, last, &center, &unused, hi);
    } else {
        const int64_t at = linear_first(s, last);
        *lo = linear_first(s, s->from);
        *hi = at + 1 < s->in ? at + 2 : at + 1;
    }
}

/* As many fractional bits as keep the largest weight within 16 bits; as Pillow, and torch after it, choose them. All
 * outputs count, wanted or not. */
static void make_fixed(image_axis *a) {
    double top = 0;
    for (int64_t i = 0; i < a->out; i++) {
        for (int64_t k = 0; k < a->count[i]; k++) top = fmax(top, a->exact[i * a->taps + k]);
    }
    for (a->bits = 0; a->bits < 22; a->bits++) {
        if ((int64_t)(0.5 + top * (double)(1 << (a->bits + 1))) >= 1 << 15) break;
    }
    for (int64_t i = 0; i < a->out; i++) {
        for (int64_t k = 0; k < a->count[i]; k++) {
            const double w = a->exact[i * a->taps + k] * (double)(1 << a->bits);
            a->fixed[i * a->taps + k] = (int16_t)(w < 0 ? w - 0.5 : w + 0.5);
        }
    }
}

int32_t image_axis_make(cvr_sample *s, const image_span *span, const image_resize *how, uint32_t dtype, image_axis *a,
                        cvr_error *err) {
    const double support = support_of(span, how->interpolation);
    memset(a, 0, sizeof *a);
    a->out = span->out;
    a->taps = how->antialias && support > 1 ? (2 * (int64_t)ceil(support) + 5) / 4 * 4 : 4;
    const uint64_t n = (uint64_t)a->out, m = n * (uint64_t)a->taps;
    a->first = s->alloc(s, n * sizeof *a->first);
    a->count = s->alloc(s, n * sizeof *a->count);
    a->exact = s->alloc(s, m * sizeof *a->exact);
    a->fixed = s->alloc(s, m * sizeof *a->fixed);
    a->real = s->alloc(s, m * sizeof *a->real);
    if (!a->first || !a->count || !a->exact || !a->fixed || !a->real)
        return cvr_fail(err, CVR_ERR_NOMEM, "out of memory for resizing a picture");
    for (int64_t i = 0; i < a->out; i++) {
        if (how->antialias)
            antialias_row(a, span, how->interpolation, i);
        else
            linear_row(a, span, i);
        for (int64_t k = 0; k < a->count[i]; k++) a->real[i * a->taps + k] = (float)a->exact[i * a->taps + k];
        a->first[i] += span->at;
    }
    memset(a->fixed, 0, m * sizeof *a->fixed);
    if (dtype == CVR_U8) make_fixed(a);
    a->out = span->n;
    a->first += span->from;
    a->count += span->from;
    a->exact += span->from * a->taps;
    a->fixed += span->from * a->taps;
    a->real += span->from * a->taps;
    return CVR_OK;
}
