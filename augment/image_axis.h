/*
 * One axis of a resampling: which inputs make each output, and with what weights; and the loops for u8 over it.
 */
#ifndef CVR_AUGMENT_IMAGE_AXIS_H
#define CVR_AUGMENT_IMAGE_AXIS_H

#include "image.h"

/* Output i is the sum over k < count[i] of weight[i * taps + k] * input[first[i] + k]. `taps` is even, and the weights
 * at and past count[i] are 0, so that they can be taken in pairs. */
typedef struct image_axis {
    int64_t in, out, taps;
    int64_t *first, *count; /* (out) */
    double *exact;          /* (out, taps), every row sums to 1 */
    int16_t *fixed;         /* the same times 2^bits */
    float *real;
    int32_t bits;
    int32_t reserved;
} image_axis;

/* from: (in,C) u8, to: (out,C) u8 */
void image_columns_u8(uint8_t *to, const uint8_t *from, int64_t channels, const image_axis *a);

/* One output row of `n` values from `count` input rows that lie `row` apart, with weights w and 2^bits.
 * from: (count, row) u8, to: (n) u8 */
typedef struct image_rows {
    const int16_t *w;
    int64_t count, row, n;
    int32_t bits;
} image_rows;
void image_rows_u8(uint8_t *to, const uint8_t *from, const image_rows *r);

#endif
