/* Where the samples of rois lie, for all rois at once (emit_roi.c; formulas in ops/roi_math.h). */
#ifndef PJRT_EMIT_ROI_H
#define PJRT_EMIT_ROI_H

#include "../hlo.h"
#include <cvr/plugin/ops/detect.h>

/* One axis of the rois of all pictures: a number for each bin, (N,R,B). */
typedef struct roi_axis {
    hlo_value start, bin, grid, first; /* of bin b: where it starts, how long it is, samples, which one is the first */
    hlo_value n;                       /* samples that are looked at, i32 */
    hlo_value size;                    /* of the map, f32 */
} roi_axis;

/* low, high, scale, size (N,R); `bins` along the axis. */
roi_axis roi_axis_of(hlo *h, const hlo_value ends[2], hlo_value scale, hlo_value size, const cvr_roi_align_attrs *a,
                     int64_t bins);
/* What goes into a loop, and how it comes out of it. */
#define ROI_CARRIED 6u
void roi_axis_put(const roi_axis *axis, hlo_value *carried);
roi_axis roi_axis_get(const hlo_value *carried);
/* Sample `i` (a scalar i32) of each bin: the pixel below it, i32, and the weights of that and of the next one, f32. 0
 * for what is off the map. */
void roi_sample(hlo *h, const roi_axis *axis, hlo_value i, hlo_value *pixel, hlo_value weight[2]);

#endif
