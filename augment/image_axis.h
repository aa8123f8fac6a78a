/*
 * One axis of a resampling: which inputs make each output, and with what weights.
 */
#ifndef CVR_AUGMENT_IMAGE_AXIS_H
#define CVR_AUGMENT_IMAGE_AXIS_H

#include "image_view.h"

/* Output i is the sum over k < count[i] of weight[i * taps + k] * input[first[i] + k]. `taps` is a multiple of four,
 * and the weights of `fixed` at and past count[i] are 0, so that they can be taken in pairs and fours. */
typedef struct image_axis {
    int64_t out, taps;      /* outputs that are wanted */
    int64_t *first, *count; /* (out); `first` counts from where memory begins */
    double *exact;          /* (out, taps), every row sums to 1 */
    int16_t *fixed;         /* the same times 2^bits */
    float *real;
    int32_t bits;
    int32_t reserved;
} image_axis;

/* One of the spans of `how`. */
int32_t image_axis_make(cvr_sample *s, const image_span *span, const image_resize *how, uint32_t dtype, image_axis *a,
                        cvr_error *err);
/* floor(i * in / out) in float, as torch's "nearest" has it. */
int64_t image_nearest(int64_t i, int64_t in, int64_t out);

#endif
