/* One axis of a region of interest as lists of taps (see <cvr/plugin/ops/roi_math.h>), in a worker's scratch. */
#ifndef CVR_BACKENDS_CPU_ROI_TAPS_H
#define CVR_BACKENDS_CPU_ROI_TAPS_H

#include <cvr/plugin/ops/roi_math.h>

/* The taps of all bins of one axis; bin b has n[b] from taps + b * most on. */
typedef struct axis_taps {
    cvr_roi_tap *taps;
    int32_t *n;
    int64_t bins, most;
} axis_taps;

static inline uint64_t axis_bytes(int64_t bins, int64_t most) {
    return ((uint64_t)bins * ((uint64_t)most * sizeof(cvr_roi_tap) + sizeof(int32_t)) + 63) / 64 * 64;
}

static inline axis_taps taps_of(const cvr_roi_axis *axis, int64_t bins, int64_t sampling_ratio, char *memory) {
    axis_taps t = {
        .taps = (cvr_roi_tap *)(void *)memory, .bins = bins, .most = cvr_roi_most_taps(sampling_ratio, axis->size)};
    t.n = (int32_t *)(void *)(memory + (uint64_t)(bins * t.most) * sizeof(cvr_roi_tap));
    for (int64_t b = 0; b < bins; b++) t.n[b] = (int32_t)cvr_roi_taps(axis, b, t.taps + b * t.most, t.most);
    return t;
}

#endif
