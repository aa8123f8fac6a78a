/*
 * Bilinear resampling of what lies in memory as (H, W, C), with torch's rule for align_corners = False and no
 * antialiasing: place d of the output is place (d + 1/2) * in / out - 1/2 of the input, and the border holds outside.
 */
#ifndef CVR_RESAMPLE_H
#define CVR_RESAMPLE_H

#include <cvr/base.h>

/* Where one row or column of the output comes from: (1 - share) of `first` and `share` of `second`. */
typedef struct sample_at {
    int64_t first, second;
    float share;
} sample_at;
sample_at resample_at(int64_t place, int64_t in, int64_t out);

/* Row `y` of an output of height x width, of f32 values (h, w, c): `row` has room for width * c. */
typedef struct plane {
    const float *data;
    int64_t height, width, channels;
} plane;
void resample_row(const plane *in, int64_t height, int64_t width, int64_t y, float *row);

/* Pixels of a picture, u8 or f32, with `pitch` of them from row to row. */
typedef struct pixels {
    uint32_t dtype;
    const void *data;
    int64_t height, width, pitch, channels;
} pixels;
/* All of a picture as height x width, rows dense; u8 is rounded to the nearest level. */
void resample_pixels(const pixels *in, void *to, int64_t height, int64_t width);

#endif
