/*
 * The geometry of roi_align and its gradient (ops/detect.h), for every backend: which map a roi reads, and what each
 * pixel of it counts.
 *
 * A bin is the mean of grid_y * grid_x samples, and each sample is interpolated between 2 * 2 pixels. Whether a sample
 * lies on the map and what its pixels weigh is settled for each axis by itself. So a bin is a sum over rows and columns
 * of weight[row] * weight[column] * pixel, and one axis of a roi is a list of taps (pixel, weight) for each bin, in
 * which equal pixels of several samples are one.
 */
#ifndef CVR_PLUGIN_OPS_ROI_MATH_H
#define CVR_PLUGIN_OPS_ROI_MATH_H

#include <cvr/plugin/ops/detect.h>

#include <math.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct cvr_roi_tap {
    int32_t at; /* row or column of the map */
    float weight;
} cvr_roi_tap;

/* One axis of a roi on its map, in pixels of the map. f32, as torchvision computes it: whether a sample lies on the map
 * may hang on the last bit. */
typedef struct cvr_roi_axis {
    int64_t size;     /* of the map */
    float start, bin; /* where the roi starts, how long a bin is */
    float grid, step; /* samples of a bin, 0: none; how far apart they are */
} cvr_roi_axis;

static inline cvr_roi_axis cvr_roi_axis_of(float low, float high, double scale, int64_t aligned, int64_t bins,
                                           int64_t sampling_ratio, int64_t size) {
    const float offset = aligned ? 0.5f : 0.0f, start = low * (float)scale - offset;
    float length = high * (float)scale - offset - start;
    if (!aligned && !(length > 1.0f)) length = 1.0f; /* NaN is 1 pixel long, and starts nowhere */
    const float bin = length / (float)bins;
    const float grid = sampling_ratio > 0 ? (float)sampling_ratio : ceilf(bin);
    cvr_roi_axis axis = {size, start, bin, 0, 0};
    if (!(grid >= 1 && isfinite(grid) && isfinite(start) && isfinite(bin))) return axis;
    axis.grid = grid;
    axis.step = bin / grid;
    return axis;
}

/* Samples are at start + b * bin + (i + 0.5) * bin / grid. */
static inline float cvr_roi_sample_at(const cvr_roi_axis *axis, int64_t b, float i) {
    return axis->start + (float)b * axis->bin + (i + 0.5f) * axis->bin / axis->grid;
}

/* Adds to a pixel's weight: a neighbouring sample's pixels are among the last three. */
static inline int64_t cvr_roi_tap_add(cvr_roi_tap *taps, int64_t n, int64_t most, int64_t at, float weight) {
    for (int64_t i = n; i > 0 && i > n - 3; i--)
        if (taps[i - 1].at == at) {
            taps[i - 1].weight += weight;
            return n;
        }
    if (weight == 0 || n == most) return n;
    taps[n].at = (int32_t)at;
    taps[n].weight = weight;
    return n + 1;
}

/* Room for the taps of one bin, on an axis of `size` pixels. */
static inline int64_t cvr_roi_most_taps(int64_t sampling_ratio, int64_t size) {
    return sampling_ratio > 0 ? 2 * sampling_ratio : size + 4;
}

/* A number of samples from a position, kept within the bin. */
static inline float cvr_roi_bound(float i, float grid) {
    return i > 0 ? (i < grid ? i : grid) : 0.0f;
}

/*
 * Fills the taps of bin b and returns how many there are. Samples past -1 or `size` are 0. The weights already have
 * the mean over the axis's samples in them. A roi that is far longer than the map costs no more than the map's pixels:
 * samples off the map are not visited.
 */
static inline int64_t cvr_roi_taps(const cvr_roi_axis *axis, int64_t b, cvr_roi_tap *taps, int64_t most) {
    const float size = (float)axis->size;
    float first = 0, end = axis->grid;
    int64_t n = 0;
    if (axis->grid > 64) {
        const float from = axis->start + (float)b * axis->bin;
        first = cvr_roi_bound(floorf((-1 - from) / axis->step) - 2, axis->grid);
        end = cvr_roi_bound(ceilf((size - from) / axis->step) + 2, axis->grid);
    }
    for (int64_t i = 0, count = (int64_t)fminf(end - first, 4 * size + 256); i < count; i++) {
        float at = cvr_roi_sample_at(axis, b, first + (float)i);
        if (!(at >= -1.0f && at <= size)) continue;
        if (at < 0) at = 0;
        int64_t low = (int64_t)at;
        if (low >= axis->size - 1) at = (float)(low = axis->size - 1);
        const float part = at - (float)low;
        n = cvr_roi_tap_add(taps, n, most, low, (1.0f - part) / axis->grid);
        if (low + 1 < axis->size) n = cvr_roi_tap_add(taps, n, most, low + 1, part / axis->grid);
    }
    return n;
}

/* Which of the maps a roi reads. Two maps of one scale are told apart by nothing: then the first is read. */
static inline int64_t cvr_roi_level(const cvr_roi_align_attrs *a, const float *roi) {
    if (a->n_scales < 2) return 0;
    const float area = (roi[2] - roi[0]) * (roi[3] - roi[1]);
    const float least = -log2f((float)a->scales[0]), most = -log2f((float)a->scales[a->n_scales - 1]);
    const float k = floorf(4.0f + log2f(sqrtf(area) / 224.0f) + 1e-6f);
    const float level = (k > least ? k < most ? k : most : least) - least; /* NaN, of a side below 0: the first */
    return level < (float)(a->n_scales - 1) ? (int64_t)level : a->n_scales - 1;
}

#ifdef __cplusplus
}
#endif

CVR_STATIC_ASSERT(sizeof(cvr_roi_tap) == 8, "cvr_roi_tap has padding");
CVR_STATIC_ASSERT(sizeof(cvr_roi_axis) == 24, "cvr_roi_axis has padding");

#endif
